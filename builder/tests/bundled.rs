//! Releases that bring their interpreter: a real CPython, packed, moved and run with nothing of its origin in sight.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]

mod interpreters;
mod site;

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use interpreters::{environment_with_uv, relocatable};
use pannier_shared::archive::toc::Class;
use pannier_shared::statement::InterpreterOrigin;
use site::Site;
use walkdir::WalkDir;

/// A project whose releases bring a copy of [`relocatable`], which lies beside it and which `change` may change.
fn bundling(change: impl Fn(&Path)) -> Site {
    let mut files = site::files();
    files.insert("pannier.toml", "python = \"bundled:../python\"\n".to_owned());
    let site = Site { env: environment_with_uv, ..Site::of(&files) };
    let python = site.dir.path().join("python");
    let copied = Command::new("cp").arg("-a").arg(relocatable()).arg(&python).status().unwrap();
    assert!(copied.success());
    change(&python);
    site
}

fn paths(root: &Path) -> BTreeSet<PathBuf> {
    WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.unwrap().into_path().strip_prefix(root).unwrap().to_owned())
        .collect()
}

/// A folder with the only programs that a release needs of a node.
fn bare(dir: &Path) -> PathBuf {
    let bare = dir.join("bare");
    std::fs::create_dir(&bare).unwrap();
    for program in ["sh", "realpath", "dirname", "basename"] {
        let found =
            ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program)).into_iter().find(|path| path.exists());
        symlink(found.unwrap(), bare.join(program)).unwrap();
    }
    bare
}

/// What a program prints, run with nothing but a bare PATH.
fn run(program: impl AsRef<std::ffi::OsStr>, args: &[&str], bare: &Path, changed: impl Fn(&mut Command)) -> String {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", bare).env("DJANGO_SETTINGS_MODULE", "mini.settings").args(args);
    changed(&mut command);
    let printed = command.output().unwrap();
    let said = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.status.success(), "{said}{}", String::from_utf8_lossy(&printed.stderr));
    said
}

/// Everything that the interpreter has, each on a line: all of it must lie in the release.
const PLACES: &str = "
import os, subprocess, sys, sysconfig, ssl, sqlite3, ctypes, zlib, django
places = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, django.__file__, ssl.__file__, *filter(None, sys.path)]
places += sysconfig.get_paths().values()
child = [sys.executable, '-c', 'import sys; print(sys.prefix); print(sys.base_prefix)']
places += subprocess.run(child, capture_output=True, text=True, check=True).stdout.split('\\n')[:2]
lines = [line.rstrip('\\n').split(None, 5) for line in open('/proc/self/maps')]
places += [line[5] for line in lines if len(line) > 5 and 'python' in line[5]]
print('\\n'.join(os.path.realpath(place) for place in places))
";

fn all_inside(said: &str, release: &Path) {
    let release = std::fs::canonicalize(release).unwrap();
    assert!(said.lines().count() > 15, "{said}");
    for place in said.lines() {
        assert!(Path::new(place).starts_with(&release), "`{place}` is not in {}", release.display());
    }
}

#[test]
fn a_release_with_its_own_interpreter_runs_anywhere() {
    let site = bundling(|_| {});
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    let interpreter = &tree.description.interpreter;
    assert_eq!(interpreter.origin, InterpreterOrigin::Bundled);
    assert!(interpreter.version.starts_with(&format!("{}.", interpreter.python)), "{interpreter:?}");
    let link = format!("../../python/bin/python{}", interpreter.python);
    assert_eq!(std::fs::read_link(tree.root.join("venv/bin/python")).unwrap(), Path::new(&link));
    assert_eq!(
        std::fs::read_to_string(tree.root.join("venv/pyvenv.cfg")).unwrap(),
        "include-system-site-packages = false\n"
    );
    let interpreters = paths(&tree.root).into_iter().filter(|path| path.starts_with("python"));
    assert!(interpreters.into_iter().all(|path| tree.groups.of(path.to_str().unwrap()).class == Class::Interpreter));
    for path in ["test", "idlelib", "tkinter", "ensurepip", "site-packages"] {
        let path = tree.root.join(format!("python/lib/python{}/{path}", interpreter.python));
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(!tree.root.join("python/include").exists());
    // What it was copied from is gone for good.
    std::fs::remove_dir_all(site.dir.path().join("python")).unwrap();
    let node = tempfile::tempdir().unwrap();
    let bare = bare(node.path());
    let mut at = tree.root.clone();
    for place in ["first", "a second/place"] {
        let release = node.path().join(place).join("releases/v1");
        std::fs::create_dir_all(release.parent().unwrap()).unwrap();
        std::fs::rename(&at, &release).unwrap();
        symlink("releases/v1", node.path().join(place).join("current")).unwrap();
        at = release;
        for release in [at.clone(), node.path().join(place).join("current")] {
            works(&release, &bare);
        }
    }
}

/// Every way in which people start Python.
fn works(release: &Path, bare: &Path) {
    let python = release.join("venv/bin/python");
    all_inside(&run(&python, &["-c", PLACES], bare, |_| {}), release);
    let from_root = |command: &mut Command| _ = command.current_dir("/");
    assert_eq!(run(&python, &["-m", "django", "--version"], bare, from_root), "5.2.7\n");
    assert_eq!(run(release.join("venv/bin/django-admin"), &["--version"], bare, from_root), "5.2.7\n");
    let manage = release.join("app/manage.py");
    assert!(run(&python, &[manage.to_str().unwrap(), "check"], bare, |_| {}).contains("no issues"));
    let real = std::fs::canonicalize(release).unwrap();
    let activate = r#". venv/bin/activate; python -c "import sys; print(sys.prefix)"; echo "$VIRTUAL_ENV"; deactivate; echo "${VIRTUAL_ENV-} $PATH""#;
    for shell in ["/bin/sh", "/bin/bash"] {
        let said = run(shell, &["-c", activate], bare, |command| _ = command.current_dir(release));
        let venv = real.join("venv").display().to_string();
        assert_eq!(said, format!("{venv}\n{venv}\n {}\n", bare.display()), "{shell}");
    }
}

#[test]
fn a_plain_shell_elsewhere_is_told_where_to_go() {
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stages/venv/activate.sh");
    let printed =
        Command::new("dash").arg("-c").arg(format!(". {}", script.display())).current_dir(dir.path()).output();
    let Ok(printed) = printed else { return };
    assert!(!printed.status.success());
    insta::assert_snapshot!(String::from_utf8_lossy(&printed.stderr).trim_end(), @"activate: this shell does not say where the script lies; change to the release's folder first");
}

#[test]
fn nothing_is_written_into_a_release_that_runs() {
    let site = bundling(|_| {});
    let build = site.tree().unwrap();
    let root = build.tree().unwrap().root.clone();
    let bare = bare(site.dir.path());
    let before = paths(&root);
    let python = root.join("venv/bin/python");
    // With every right to write: what would be written shows.
    let everything = "import pkgutil, importlib, django, mini.urls, mini.wsgi, email, json, http.server, xml.dom.minidom, unittest.mock\n\
                      import django.core.management as m; m.call_command('check')";
    run(&python, &["-c", everything], &bare, |command| _ = command.current_dir(root.join("app")));
    assert_eq!(paths(&root), before);
    // With no right to, and as somebody else where that is possible.
    for entry in WalkDir::new(&root).into_iter().map(Result::unwrap).filter(|entry| !entry.path_is_symlink()) {
        let mode = if entry.metadata().unwrap().mode() & 0o111 == 0 { 0o444 } else { 0o555 };
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let own = std::fs::metadata(site.dir.path()).unwrap().uid();
    for above in root.ancestors().take_while(|path| path.starts_with(site.dir.path())) {
        let mode = if above == root { 0o555 } else { 0o755 };
        std::fs::set_permissions(above, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    run(&python, &["-c", everything], &bare, |command| {
        command.current_dir(root.join("app"));
        if own == 0 {
            command.uid(65534).gid(65534);
        }
    });
    assert_eq!(paths(&root), before);
    for entry in WalkDir::new(&root).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_dir()) {
        std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Changes bytes of the interpreter's program, whatever its version.
fn change_program(python: &Path, from: &[u8], to: &[u8]) {
    let program = program(python);
    let mut bytes = std::fs::read(&program).unwrap();
    let at = bytes.windows(from.len()).position(|window| window == from).expect("it is there");
    bytes[at..at + to.len()].copy_from_slice(to);
    std::fs::write(&program, bytes).unwrap();
}

fn program(python: &Path) -> PathBuf {
    std::fs::canonicalize(python.join("bin/python3")).unwrap()
}

fn remove_module(python: &Path, name: &str) {
    let is_it = |entry: &walkdir::DirEntry| entry.file_name().to_string_lossy().starts_with(&format!("{name}.cpython"));
    let found = WalkDir::new(python.join("lib")).into_iter().map(Result::unwrap).find(is_it).expect("it is a file");
    std::fs::remove_file(found.path()).unwrap();
}

/// What is said, whatever the version and the machine.
fn failure(change: impl Fn(&Path)) -> String {
    plain(&bundling(change).failure())
}

fn plain(told: &str) -> String {
    let python = program(&relocatable()).file_name().unwrap().to_string_lossy().into_owned();
    let version = python.strip_prefix("python").unwrap();
    let module = told.split_once(".cpython-").and_then(|(_, rest)| rest.split_once(".so"));
    let told = module.map_or(told.to_owned(), |(tag, _)| told.replace(&format!(".cpython-{tag}"), ""));
    told.replace(version, "3.X").replace(std::env::consts::ARCH, "ARCH")
}

#[test]
fn one_that_looks_for_its_library_in_a_fixed_place_is_refused() {
    let told = failure(|python| change_program(python, b"$ORIGIN/../lib", b"/opt/build/lib"));
    insta::assert_snapshot!(told, @r#"
    in interpreter: the interpreter in `/SITE/python` is not relocatable: `bin/python3.X` looks for libraries in `/opt/build/lib`
    hint: take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn one_that_needs_a_library_of_the_machine_is_refused() {
    let told = failure(|python| {
        let libraries = WalkDir::new(python.join("lib")).max_depth(1).into_iter().map(Result::unwrap);
        let sqlite = libraries.into_iter().find(|entry| entry.file_name().to_string_lossy().starts_with("libsqlite3"));
        std::fs::remove_file(sqlite.unwrap().path()).unwrap();
    });
    insta::assert_snapshot!(told, @r#"
    in interpreter: the interpreter in `/SITE/python` is not relocatable: `lib/python3.X/lib-dynload/_sqlite3.so` needs `libsqlite3.so.0`, which it does not find in `/SITE/python`
    hint: take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn a_link_out_of_it_is_refused() {
    let told = failure(|python| {
        let library = python.join("lib").join(program(python).file_name().unwrap());
        symlink("/etc/hostname", library.join("sitecustomize.py")).unwrap();
    });
    insta::assert_snapshot!(told, @r#"
    in interpreter: the interpreter in `/SITE/python` is not relocatable: `lib/python3.X/sitecustomize.py` leads to `/etc/hostname`
    hint: take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn one_that_reaches_out_of_the_release_as_it_runs_is_found_out() {
    let told = failure(|python| {
        let library = python.join("lib").join(program(python).file_name().unwrap());
        let reach = "import sys\nsys.path.append('/opt/elsewhere')\nsys.base_prefix = '/opt'\n";
        std::fs::write(library.join("sitecustomize.py"), reach).unwrap();
    });
    let told = told.split("sys.path[").map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("sys.path["), @"in prove: the bundled interpreter is not all that runs: `sys.base_prefix` is `/opt`, not `python` of the release; `sys.path[]` is `/opt/elsewhere`; `sysconfig include` is `/opt/include/python3.X`; `sysconfig stdlib` is `/opt/lib/python3.X`");
}

#[test]
fn one_for_another_machine_is_refused_before_it_is_run() {
    let told = failure(|python| {
        let other: &[u8] = if cfg!(target_arch = "x86_64") { b"\xb7\0" } else { b"\x3e\0" };
        let program = program(python);
        let mut bytes = std::fs::read(&program).unwrap();
        bytes[18..20].copy_from_slice(other);
        std::fs::write(&program, bytes).unwrap();
    });
    let told = told.replace("aarch64", "OTHER").replace("x86_64", "OTHER");
    insta::assert_snapshot!(told, @r#"
    in interpreter: the interpreter in `/SITE/python` does not run on this machine: `bin/python3.X` is for OTHER, this is ARCH
    hint: build on such a machine, or take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn one_for_another_c_library_is_refused_before_it_is_run() {
    let told = failure(|python| change_program(python, b"/ld-linux", b"/ld-other"));
    let parts = told.split('`').map(|part| if part.contains("/ld-other") { "LOADER" } else { part });
    insta::assert_snapshot!(parts.collect::<Vec<_>>().join("`"), @r#"
    in interpreter: the interpreter in `/SITE/python` does not run on this machine: `bin/python3.X` is for ARCH with the loader `LOADER`, this is ARCH without it
    hint: build on such a machine, or take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn one_that_is_not_there_is_named() {
    let told = failure(|python| std::fs::remove_dir_all(python).unwrap());
    insta::assert_snapshot!(told, @r#"
    in interpreter: there is no interpreter at `/SITE/project/../python`
    hint: name the folder that holds `bin/python3` and `lib/python3.X`: `python = "bundled:/opt/python"`
    "#);
}

#[test]
fn version_3_10_is_refused_by_name() {
    let site = bundling(|python| {
        std::fs::remove_dir_all(python).unwrap();
        for path in ["bin/python3.10", "lib/python3.10/os.py"] {
            std::fs::create_dir_all(python.join(path).parent().unwrap()).unwrap();
            std::fs::write(python.join(path), "").unwrap();
        }
    });
    insta::assert_snapshot!(site.failure(), @r#"
    in interpreter: the interpreter in `/SITE/python` is Python 3.10: moved, it reports a wrong base prefix; releases are built for 3.11 to 3.14
    hint: take one that can be moved: `uv python install 3.13`, then `python = "bundled:3.13"`
    "#);
}

#[test]
fn one_without_ssl_is_refused() {
    let told = failure(|python| remove_module(python, "_ssl"));
    insta::assert_snapshot!(told, @r#"
    in bundle: the interpreter in `/SITE/python` has no `ssl`, which every Django site needs
    hint: take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
}

#[test]
fn one_without_sqlite_is_refused_where_the_site_needs_it() {
    let mut site = bundling(|python| remove_module(python, "_sqlite3"));
    let models = "from django.db import models\nclass Poll(models.Model):\n    pass\n";
    std::fs::write(site.project().join("mini/models.py"), models).unwrap();
    let told = plain(&site.failure());
    assert!(site.said().contains("the interpreter in `/SITE/python` has no `sqlite3`"), "{}", site.said());
    insta::assert_snapshot!(told, @r#"
    in django: the site needs `sqlite3`, which the interpreter in `/SITE/python` has not
    hint: take one that can be moved: `uv python install 3.X`, then `python = "bundled:3.X"`
    "#);
    let settings = std::fs::read_to_string(site.project().join("mini/settings.py")).unwrap();
    let settings = settings.replace("django.db.backends.sqlite3", "django.db.backends.dummy");
    std::fs::write(site.project().join("mini/settings.py"), settings).unwrap();
    site.sink = Default::default();
    assert!(site.tree().is_ok(), "a site with another database does not need it");
}
