//! The files of a project that is not in git: all of them, less what is never part of an app.

use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::fs;
use walkdir::{DirEntry, WalkDir};

use super::{Error, Listing, secrets};

/// Folders that tools make.
const FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    ".idea",
    ".vscode",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    "__pycache__",
    "node_modules",
];

/// Files that are made, local or both, by the end of their names.
const ENDINGS: &[&str] =
    &[".pyc", ".pyo", ".sqlite3", ".sqlite3-journal", ".sqlite3-shm", ".sqlite3-wal", ".DS_Store", ".swp"];

/// Lists a folder; `own_folders` are the build's own, which may lie in it.
pub fn walk(project: &Path, own_folders: &[PathBuf], sink: &dyn Sink) -> Result<Listing, Error> {
    let walk = WalkDir::new(project).min_depth(1).sort_by_file_name();
    let mut paths = Vec::new();
    let mut left_out = Vec::new();
    let wanted = |entry: &DirEntry| {
        let ignored = is_ignored(entry) || own_folders.iter().any(|own| own == entry.path());
        if ignored && !is_commonplace(entry) {
            left_out.push(entry.path().strip_prefix(project).unwrap_or(entry.path()).display().to_string());
        }
        !ignored
    };
    for entry in walk.into_iter().filter_entry(wanted) {
        let entry = entry.map_err(|source| Error::Walk { folder: project.to_owned(), source })?;
        if !entry.file_type().is_dir() {
            paths.push(relative(project, entry.path())?);
        }
    }
    if !left_out.is_empty() {
        sink.emit(Event::Note { text: format!("left out: {}", left_out.join(", ")) });
    }
    paths.sort();
    Ok(Listing { paths, source: None, changed: Vec::new() })
}

fn relative(project: &Path, path: &Path) -> Result<String, Error> {
    let below = path.strip_prefix(project).unwrap_or(path);
    let text = below.to_str().ok_or_else(|| Error::NotUtf8(below.display().to_string()))?;
    Ok(text.to_owned())
}

fn is_ignored(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if entry.file_type().is_dir() {
        return FOLDERS.contains(&&*name) || fs::exists(&entry.path().join("pyvenv.cfg"));
    }
    is_commonplace(entry) || ENDINGS.iter().any(|end| name.ends_with(end)) || secrets::is_environment_file(&name)
}

/// Not worth a word when it is left out.
fn is_commonplace(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    FOLDERS.contains(&&*name) || name.ends_with(".pyc")
}
