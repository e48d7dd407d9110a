//! A folder of the project that is a package of its own: copied for its build, and hashed while it is copied.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pannier_shared::digest::{self, Digest};
use pannier_shared::sys::fs;
use walkdir::{DirEntry, WalkDir};

use super::Error;

/// What builds and version control leave in a source folder; none of it is source.
const LEFT_OUT: &[&str] = &[".git", ".hg", ".venv", "venv", "__pycache__", "build", "dist", ".tox", "node_modules"];

/// Copies `from` to `to`, which is made, and gives a hash over paths, modes and contents.
pub fn copy(from: &Path, to: &Path) -> Result<Digest, Error> {
    fs::create_dir_all(to)?;
    let mut listing = String::new();
    for entry in WalkDir::new(from).min_depth(1).sort_by_file_name().into_iter().filter_entry(is_source) {
        let entry = entry.map_err(|source| Error::Walk { folder: from.to_owned(), source })?;
        listing.push_str(&copy_one(&entry, from, to)?);
    }
    Ok(Digest::of(listing.as_bytes()))
}

fn is_source(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    !LEFT_OUT.contains(&name.as_ref()) && !name.ends_with(".egg-info")
}

fn copy_one(entry: &DirEntry, from: &Path, to: &Path) -> Result<String, Error> {
    let path = entry.path();
    let relative = path.strip_prefix(from).unwrap_or(path);
    let target = to.join(relative);
    if entry.file_type().is_dir() {
        fs::create_dir_all(&target)?;
        return Ok(String::new());
    }
    if !fs::stat(path)?.is_file() {
        return Ok(String::new());
    }
    fs::copy(path, &target)?;
    let (sha256, _) = digest::of_reader(fs::open(&target)?).map_err(fs::failed("read", &target))?;
    let runs = fs::stat(&target)?.permissions().mode() & 0o100 != 0;
    Ok(format!("{sha256} {runs} {:?}\n", relative.as_os_str()))
}
