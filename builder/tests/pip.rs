//! Building with pip alone: the same dependencies, and the same bytes, as with uv.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod desk;
mod site;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use desk::{ALL, Desk, PYLOCK, PYPROJECT, REQUIREMENTS, listed, pipenv_site, poetry_site, uv_site};
use insta::assert_snapshot;
use pannier_shared::digest::Digest;
use site::Site;
use walkdir::WalkDir;

const PIP: &str = "[build]\ninstaller = \"pip\"\n";

/// With pip, and with a uv that would fail if it was asked anything.
fn by_pip(desk: Desk) -> Desk {
    desk.with("pannier.toml", PIP).variable("PANNIER_UV", "/nowhere/uv")
}

#[test]
fn every_list_and_lock_but_that_of_uv() {
    for desk in [listed("requirements.txt", REQUIREMENTS), listed("pylock.toml", PYLOCK), poetry_site(), pipenv_site()]
    {
        assert_eq!(by_pip(desk).build(), ALL);
    }
}

#[test]
fn what_has_no_hashes_is_resolved() {
    let text = "--no-index\n--find-links ../links\nalpha\ntree>0.1\n./packages/inner\n";
    let desk = by_pip(listed("requirements.txt", text));
    assert_eq!(desk.build(), ALL);
    let pinned = by_pip(Desk::new().with("requirements.txt", &desk.resolved()));
    assert_eq!(pinned.build(), ALL, "{}", desk.resolved());
    assert!(!pinned.said().contains("has no hashes"), "{}", pinned.said());
    let desk = by_pip(listed("pyproject.toml", PYPROJECT));
    assert_eq!(desk.build(), "alpha-1.0 beta-1.5 tree-0.2");
}

#[test]
fn what_pip_cannot_do_is_refused_with_what_can() {
    assert_snapshot!(by_pip(uv_site()).refused(), @r#"
    exit 2
    error: failed to fetch the dependencies as wheels
      caused by: `uv.lock` is read with uv, and pip is to do the work

    hint: write it for pip: `uv export --format pylock.toml --output-file pylock.toml`, and name that with `requirements = "pylock.toml"`; or take `installer = "pip"` out of pannier.toml
    "#);
    let other = if std::env::consts::ARCH == "aarch64" { "x86_64" } else { "aarch64" };
    let desk = by_pip(listed("requirements.txt", REQUIREMENTS));
    let desk = desk.with("pannier.toml", &format!("target = \"{other}-linux-gnu\"\n{PIP}"));
    assert_snapshot!(desk.refused().replace(other, "OTHER"), @r#"
    exit 2
    error: failed to find uv and pip
      caused by: pip does not install for another kind of machine than its own, and the release is for `OTHER-linux-gnu`

    hint: let uv install: take `installer = "pip"` out of pannier.toml, or give `--installer uv`
    "#);
    let unmet = by_pip(Desk::new().with("requirements.txt", "alpha==7\n"));
    let said = unmet.refused();
    for words in ["the requirements in `requirements.txt` do not resolve for Python 3.X", "from versions: 1.0"] {
        assert!(said.contains(words), "{said}");
    }
}

/// Every entry of a tree: what it is, and its bytes.
fn entries(root: &Path) -> BTreeMap<String, String> {
    let told = |entry: walkdir::DirEntry| {
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let told = if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(path).unwrap().display())
        } else if meta.is_file() {
            format!("{} {}", meta.permissions().mode() & 0o100 != 0, Digest::of(&std::fs::read(path).unwrap()))
        } else {
            "folder".to_owned()
        };
        (path.strip_prefix(root).unwrap().display().to_string(), told)
    };
    WalkDir::new(root).into_iter().map(|entry| told(entry.unwrap())).collect()
}

#[test]
fn a_release_is_the_same_whoever_installed() {
    let mut files = site::files();
    let by_uv = Site::of(&files);
    files.insert("pannier.toml", PIP.to_owned());
    let by_pip = Site::of(&files);
    let (uv, pip) = (by_uv.tree().unwrap(), by_pip.tree().unwrap());
    let (uv, pip) = (&uv.tree().unwrap().root, &pip.tree().unwrap().root);
    assert_eq!(std::fs::read_link(pip.join("venv/bin/python3")).unwrap(), Path::new("python"));
    let (of_uv, of_pip) = (entries(uv), entries(pip));
    let differ: Vec<_> =
        of_uv.keys().chain(of_pip.keys()).filter(|path| of_uv.get(*path) != of_pip.get(*path)).collect();
    assert!(differ.is_empty() && of_uv.len() > 3000, "{differ:#?}");
    // What ours say is run by what is beside them, wherever they lie.
    let moved = by_pip.dir.path().join("a place");
    std::fs::rename(pip.join("venv"), &moved).unwrap();
    std::os::unix::fs::symlink(which_python(), moved.join("bin/python")).unwrap();
    let said = Command::new(moved.join("bin/django-admin")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "5.2.7", "{}", String::from_utf8_lossy(&said.stderr));
}

fn which_python() -> String {
    let said = Command::new("python3").args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]).output();
    String::from_utf8(said.unwrap().stdout).unwrap().trim().to_owned()
}
