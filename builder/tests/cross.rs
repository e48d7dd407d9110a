//! Releases for another kind of machine than the one that builds them: which wheels are chosen, what runs meanwhile, and
//! what is said where it cannot be. The wheels of the other machine hold real libraries for it, a few hundred bytes each.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod desk;
mod interpreters;
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

use desk::{Desk, listed};
use insta::assert_snapshot;
use site::Site;
use walkdir::WalkDir;

/// The processor that this machine does not have.
fn there() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "x86_64" } else { "aarch64" }
}

fn target() -> String {
    format!("{}-linux-gnu", there())
}

fn feature() -> String {
    let said = Command::new("python3").args(["-c", "import sys; print('cp%d%d' % sys.version_info[:2])"]).output();
    String::from_utf8(said.unwrap().stdout).unwrap().trim().to_owned()
}

/// The wheel of a package with a library, for a machine.
fn file(name: &str, machine: &str) -> String {
    let feature = feature();
    format!("{name}-1.0-{feature}-{feature}-manylinux_2_17_{machine}.whl")
}

/// A requirement with the hashes of both machines' wheels.
fn both(name: &str) -> String {
    let hash = |machine| format!(" --hash=sha256:{{{}}}", file(name, machine));
    format!("{name}==1.0{}{}\n", hash("x86_64"), hash("aarch64"))
}

fn for_target(desk: Desk) -> Desk {
    desk.with("pannier.toml", &format!("target = \"{}\"\n", target()))
}

/// What is said, with the machines' and the interpreter's names made the same.
fn refused(desk: &Desk) -> String {
    let (here, feature) = (std::env::consts::ARCH, feature());
    let text = desk.refused().replace("MACHINE-linux-gnu", "HERE-linux-gnu");
    let text = text
        .replace(&format!("lib/python3.{}/", &feature[3..]), "lib/python3.X/")
        .replace(here, "HERE")
        .replace(there(), "THERE")
        .replace(&feature, "cpX");
    let newest = text.split_once("_17_THERE to manylinux_2_").and_then(|(_, rest)| rest.split('_').next());
    newest.map_or(text.clone(), |minor| text.replace(&format!("to manylinux_2_{minor}_"), "to manylinux_2_N_"))
}

#[test]
fn wheels_and_markers_are_those_of_the_target() {
    let text = both("fast")
        + "alpha==1.0 --hash=sha256:{alpha-1.0-py3-none-any.whl}\n\
           beta==1.5 --hash=sha256:{beta-1.5-py3-none-any.whl}\n\
           tree==0.2 --hash=sha256:{tree-0.2.tar.gz}\n\
           ./packages/inner\n"
        + &format!("opt==2.0 ; platform_machine == '{}' --hash=sha256:{{opt-2.0-py3-none-any.whl}}\n", there())
        + &format!(
            "worker==1.0 ; platform_machine == '{}' --hash=sha256:{{worker-1.0-py3-none-any.whl}}\n",
            std::env::consts::ARCH
        );
    let desk = for_target(listed("requirements.txt", &text));
    assert_eq!(desk.build(), format!("alpha-1.0 beta-1.5 {} inner-0.3 opt-2.0 tree-0.2", file("fast", there())));
    assert_eq!(desk.build().matches("worker").count(), 0);
}

#[test]
fn versions_are_chosen_for_the_target_too() {
    let desk = for_target(Desk::new().with("requirements.txt", "fast\nalpha\n"));
    assert_eq!(desk.build(), format!("alpha-1.0 beta-1.5 {}", file("fast", there())));
    assert!(desk.resolved().contains("fast==1.0"), "{}", desk.resolved());
}

#[test]
fn a_dependency_without_a_wheel_for_the_target() {
    let here = file("homely", std::env::consts::ARCH);
    let hashed = format!("homely==1.0 --hash=sha256:{{{here}}}\n");
    assert_snapshot!(refused(&for_target(listed("requirements.txt", &hashed))), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt: homely==1.0 has no wheel for Python 3.X on THERE-linux-gnu and no source archive; it has `homely-1.0-cpX-cpX-manylinux_2_17_HERE.whl`; wanted is one for any machine or for manylinux_2_17_THERE to manylinux_2_N_THERE

    hint: build on a machine that is `THERE-linux-gnu`, without `--target`; or lock a version that has such a wheel; or make the wheel there and serve it with `PIP_FIND_LINKS`
    ");
    let pylock = format!(
        "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"homely\"\nversion = \"1.0\"\n\
         wheels = [{{ path = \"../links/{here}\", hashes = {{ sha256 = \"{{{here}}}\" }} }}]\n"
    );
    assert_snapshot!(refused(&for_target(listed("pylock.toml", &pylock))), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: pylock.toml: homely: homely 1.0 has no wheel for Python 3.X on THERE-linux-gnu and no source archive; it has `homely-1.0-cpX-cpX-manylinux_2_17_HERE.whl`; wanted is one for any machine or for manylinux_2_17_THERE to manylinux_2_N_THERE

    hint: build on a machine that is `THERE-linux-gnu`, without `--target`; or lock a version that has such a wheel; or make the wheel there and serve it with `PIP_FIND_LINKS`
    ");
}

#[test]
fn what_only_compiles_here() {
    let text = "broken==1.0 --hash=sha256:{broken-1.0.tar.gz}\n";
    assert_snapshot!(refused(&for_target(listed("requirements.txt", text))), @r"
    exit 9
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt: no wheel could be built of broken-1.0.tar.gz
      | building 'broken._speed' extension
      | error: command '/nowhere/cc' failed: No such file or directory

    hint: build on a machine that is `THERE-linux-gnu`, without `--target`; or lock a version that has such a wheel; or make the wheel there and serve it with `PIP_FIND_LINKS`
    ");
    let desk = listed("requirements.txt", "native==1.0 --hash=sha256:{native-1.0.tar.gz}\n");
    assert_snapshot!(refused(&for_target(desk)), @r"
    exit 5
    error: failed to fetch the dependencies as wheels
      caused by: requirements.txt:1: native 1.0 is there as source only, and what it builds here is `native-1.0-cpX-cpX-linux_HERE.whl`, which does not run on THERE-linux-gnu; wanted is one for any machine or for manylinux_2_17_THERE to manylinux_2_N_THERE

    hint: build on a machine that is `THERE-linux-gnu`, without `--target`; or lock a version that has such a wheel; or make the wheel there and serve it with `PIP_FIND_LINKS`
    ");
}

#[test]
fn a_wheel_that_says_another_machine_than_it_is_for() {
    assert_snapshot!(refused(&for_target(listed("requirements.txt", &both("mistaken")))), @r"
    exit 5
    error: failed to install the dependencies into an environment
      caused by: `mistaken-1.0-cpX-cpX-manylinux_2_17_THERE.whl` says that it is for THERE-linux-gnu, but `lib/python3.X/site-packages/mistaken/_speed.so` in it is for HERE

    hint: tell those who made `mistaken-1.0-cpX-cpX-manylinux_2_17_THERE.whl`; lock another version, or build it from source on such a machine and serve it with `PIP_FIND_LINKS`
    ");
}

#[test]
fn a_target_that_nothing_is_known_of() {
    let desk = Desk::new().with("requirements.txt", "alpha\n").with("pannier.toml", "target = \"sparc64-linux-gnu\"\n");
    assert_snapshot!(refused(&desk), @r"
    exit 5
    error: failed to ask the interpreter what it is
      caused by: a release for `sparc64-linux-gnu` cannot be built on `HERE-linux-gnu`

    hint: build on a machine that is `sparc64-linux-gnu`, without `--target`; from here one can build for `HERE-linux-gnu`, `HERE-linux-musl`, `THERE-linux-gnu`, `THERE-linux-musl`
    ");
}

/// A project that needs libraries for its machine, with their wheels beside it.
fn site_for_target() -> (Site, Desk) {
    let desk = Desk::new();
    let mut files = site::files();
    let list = format!("--find-links {}\n", desk.links().display()) + &desk.fill(&(both("fast") + &both("hasty")));
    files.insert("requirements.txt", site::REQUIREMENTS.to_owned() + &list);
    files.insert("pannier.toml", format!("target = \"{}\"\n", target()));
    // Settings that load a library of this machine's: they run here.
    let settings = files["mini/settings.py"].clone() + "import fast, hasty, platform\nassert platform.machine()\n";
    files.insert("mini/settings.py", settings);
    (Site::of(&files), desk)
}

fn files(root: &Path) -> Vec<PathBuf> {
    let all = WalkDir::new(root).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    all.map(|entry| entry.path().strip_prefix(root).unwrap().to_owned()).collect()
}

#[test]
fn a_release_for_the_other_machine() {
    let (site, _desk) = site_for_target();
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    let release = &tree.description;
    assert_eq!(release.target.as_str(), target());
    assert_eq!(release.built_on.as_ref().unwrap().as_str(), format!("{}-linux-gnu", std::env::consts::ARCH));
    assert!(release.interpreter.abi.ends_with(&target()), "{:?}", release.interpreter);
    // The tag says 2.17, the library in the wheel says more, and the statement says which.
    let site_packages = format!("venv/lib/python{}/site-packages", release.interpreter.python);
    assert_eq!(release.libc_floor.as_deref(), Some("2.34"));
    assert_eq!(release.libc_floor_of.as_deref(), Some(format!("{site_packages}/hasty/_speed.so").as_str()));
    let files = files(&tree.root);
    let wheels: Vec<_> = release.dependencies.iter().map(|dependency| dependency.wheel.as_str()).collect();
    assert!(wheels.contains(&file("fast", there()).as_str()) && wheels.len() == 5, "{wheels:?}");
    for end in ["mini/urls.cpython-", "fast/__pycache__/__init__.cpython-"] {
        let end = end.replace("mini/", "app/mini/__pycache__/");
        assert!(files.iter().any(|path| path.to_string_lossy().contains(&end)), "no byte code {end}");
    }
    assert!(files.iter().any(|path| path.starts_with("static/mini")));
    // Nothing of this machine's is packed.
    for path in &files {
        let bytes = std::fs::read(tree.root.join(path)).unwrap();
        let machine = bytes.starts_with(b"\x7fELF").then(|| u16::from_le_bytes([bytes[18], bytes[19]]));
        assert!(machine.is_none_or(|number| number == if there() == "aarch64" { 183 } else { 62 }), "{path:?}");
    }
    assert!(!tree.root.join("venv/bin/python").exists());
    assert!(site.said().contains("nothing that the release has for"), "{}", site.said());
}

/// A folder that looks like an interpreter for a machine: a program for it, a library, a header.
fn interpreter(folder: &Path, machine: &str, abi: &str) {
    let desk = Desk::new();
    let python = format!("python3.{}", &feature()[3..]);
    let wheel = desk.links().join(file("fast", machine));
    let library = folder.join("lib").join(&python);
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    std::fs::create_dir_all(&library).unwrap();
    let script = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read('fast/_speed.so'))";
    let program = Command::new("python3").args(["-c", script]).arg(&wheel).output().unwrap().stdout;
    std::fs::write(folder.join("bin").join(&python), program).unwrap();
    std::fs::write(library.join("os.py"), "# the landmark\n").unwrap();
    std::fs::write(library.join("_sysconfigdata__linux.py"), format!("build_time_vars = {{'SOABI': '{abi}'}}\n"))
        .unwrap();
    let headers = folder.join("include").join(&python);
    std::fs::create_dir_all(&headers).unwrap();
    let version = format!("#define PY_VERSION              \"3.{}.99\"\n", &feature()[3..]);
    std::fs::write(headers.join("patchlevel.h"), version).unwrap();
}

fn abi_there() -> String {
    format!("cpython-{}-{}", &feature()[2..], target())
}

#[test]
fn an_interpreter_for_the_target_is_packed_and_not_run() {
    let (site, _desk) = site_for_target();
    let site = Site { env: interpreters::environment_with_uv, ..site };
    let settings = format!("target = \"{}\"\npython = \"bundled:../python\"\n", target());
    std::fs::write(site.project().join("pannier.toml"), settings).unwrap();
    interpreter(&site.dir.path().join("python"), there(), &abi_there());
    let build = site.build_to("prove").unwrap_or_else(|error| panic!("{error:#?}"));
    drop(build);
    let said = site.said();
    assert!(said.contains(&format!("is for {} and cannot be run here", target())), "{said}");
    assert!(said.contains(&format!("not done: it is for {}", target())), "{said}");
    let work = std::fs::read_dir(site.dir.path().join("out")).unwrap().next().unwrap().unwrap().path();
    let python = format!("python3.{}", &feature()[3..]);
    let link = std::fs::read_link(work.join("tree/venv/bin/python")).unwrap();
    assert_eq!(link, Path::new("../../python/bin").join(&python));
    let byte_code = format!("tree/python/lib/{python}/__pycache__/os.cpython-{}.pyc", &feature()[2..]);
    assert!(work.join(&byte_code).exists(), "{byte_code}");
}

#[test]
fn interpreters_that_are_not_for_the_target() {
    let told = |machine: &str, abi: &str| {
        let desk = Desk::new().with("requirements.txt", "alpha\n");
        interpreter(&desk.project("../python"), machine, abi);
        let settings = format!("target = \"{}\"\npython = \"bundled:../python\"\n", target());
        let said = refused(&desk.with("pannier.toml", &settings));
        let said = said.replace(&format!("3.{}", &feature()[3..]), "3.X").replace(&feature()[2..], "3X");
        said.replace("cpython-HERE", "cpython-3X").to_owned()
    };
    assert_snapshot!(told(std::env::consts::ARCH, &abi_there()), @r#"
    exit 5
    error: failed to ask the interpreter what it is
      caused by: the interpreter in `/DESK/python` is not for THERE-linux-gnu: `bin/python3.X` is for HERE

    hint: name the folder of one that is: `uv python install cpython-3.X-linux-THERE-gnu`, then `python = "bundled:3.X"`
    "#);
    assert_snapshot!(told(there(), "cpython-xd-other"), @r"
    exit 5
    error: failed to ask the interpreter what it is
      caused by: the interpreter in `/DESK/python` has the ABI `cpython-xd-other`, and the release's extensions are for `cpython-3X-THERE-linux-gnu`

    hint: name the folder of a plain build, without debugging and with the global lock
    ");
}
