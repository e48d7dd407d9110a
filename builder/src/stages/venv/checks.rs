//! What would break when the environment is moved: absolute links, `.pth` lines and script headers.

use std::io::Read;
use std::path::Path;

use pannier_shared::sys::fs;
use walkdir::WalkDir;

use super::{Error, Venv};

/// A script's header is at most this long on Linux.
const HEADER: u64 = 256;

/// A `.pth` file holds a few lines.
const PTH_LIMIT: u64 = 1024 * 1024;

/// Refuses an environment that works only where it was made, naming everything that holds it there.
pub fn movable(venv: &Venv) -> Result<(), Error> {
    let mut found = Vec::new();
    links(venv, &mut found)?;
    scripts(venv, &mut found)?;
    path_files(venv, &mut found)?;
    if found.is_empty() { Ok(()) } else { Err(Error::Fixed(found)) }
}

fn links(venv: &Venv, found: &mut Vec<String>) -> Result<(), Error> {
    for entry in WalkDir::new(&venv.root).sort_by_file_name() {
        let entry = entry.map_err(Error::Walk)?;
        if !entry.path_is_symlink() || entry.path() == venv.python() {
            continue;
        }
        let target = fs::read_link(entry.path())?;
        let depth = entry.depth() - 1;
        if target.is_absolute() || climbs_more_than(&target, depth) {
            found.push(format!("`{}` is a link to `{}`", below(venv, entry.path()), target.display()));
        }
    }
    Ok(())
}

fn climbs_more_than(target: &Path, depth: usize) -> bool {
    let mut depth = depth as isize;
    target.components().any(|part| {
        depth += if part.as_os_str() == ".." { -1 } else { 1 };
        depth < 0
    })
}

fn scripts(venv: &Venv, found: &mut Vec<String>) -> Result<(), Error> {
    let bin = venv.root.join("bin");
    for name in fs::list(&bin)? {
        let path = bin.join(&name);
        if !fs::lstat(&path)?.is_file() {
            continue;
        }
        let mut header = Vec::new();
        fs::open(&path)?.take(HEADER).read_to_end(&mut header).map_err(fs::failed("read", &path))?;
        if let Some(interpreter) = foreign_interpreter(&header) {
            found.push(format!("`{}` starts `{interpreter}`", below(venv, &path)));
        }
    }
    Ok(())
}

/// The Python that a script names by a path of this machine. `/bin/sh` and `/usr/bin/env` are everywhere.
fn foreign_interpreter(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header);
    let line = text.strip_prefix("#!")?.lines().next()?;
    let program = line.split_whitespace().next()?;
    let is_fine = matches!(program, "/usr/bin/env" | "/bin/sh" | "/bin/bash");
    (!is_fine).then(|| program.to_owned())
}

fn path_files(venv: &Venv, found: &mut Vec<String>) -> Result<(), Error> {
    let site = venv.root.join(&venv.site);
    for name in fs::list(&site)? {
        let path = site.join(&name);
        if path.extension().is_none_or(|end| end != "pth") {
            continue;
        }
        let text = fs::read(&path, PTH_LIMIT)?;
        let text = String::from_utf8_lossy(&text);
        for line in text.lines().filter(|line| line.starts_with('/')) {
            found.push(format!("`{}` adds `{line}`", below(venv, &path)));
        }
    }
    Ok(())
}

fn below(venv: &Venv, path: &Path) -> String {
    path.strip_prefix(&venv.root).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their files with std")]

    use std::os::unix::fs::symlink;

    use super::*;
    use crate::stages::venv::Link;
    use crate::testing::told;

    fn venv(dir: &Path) -> Venv {
        let site = "lib/python3.11/site-packages".to_owned();
        std::fs::create_dir_all(dir.join(&site)).unwrap();
        std::fs::create_dir_all(dir.join("bin")).unwrap();
        Venv { root: dir.to_owned(), site, link: Link::Node }
    }

    #[test]
    fn trampolines_and_links_inside_are_fine() {
        let dir = tempfile::tempdir().unwrap();
        let venv = venv(dir.path());
        std::fs::write(dir.path().join("bin/x"), "#!/bin/sh\n'''exec' ...").unwrap();
        symlink("/usr/bin/python3", dir.path().join("bin/python")).unwrap();
        symlink("python", dir.path().join("bin/python3")).unwrap();
        symlink("lib", dir.path().join("lib64")).unwrap();
        movable(&venv).unwrap();
    }

    #[test]
    fn everything_that_holds_it_in_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let venv = venv(dir.path());
        std::fs::write(dir.path().join("bin/x"), "#!/build/venv/bin/python\n").unwrap();
        std::fs::write(dir.path().join(&venv.site).join("e.pth"), "import x\n/build/src\n").unwrap();
        symlink("../../out", dir.path().join("bin/out")).unwrap();
        symlink("/etc", dir.path().join("etc")).unwrap();
        insta::assert_snapshot!(told(&movable(&venv).unwrap_err()), @"the virtual environment cannot be moved: `bin/out` is a link to `../../out`; `etc` is a link to `/etc`; `bin/x` starts `/build/venv/bin/python`; `lib/python3.11/site-packages/e.pth` adds `/build/src`");
    }
}
