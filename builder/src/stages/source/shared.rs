//! Shared paths: what the project has of them stays behind, for the node makes a link there.
//!
//! A placeholder that keeps an empty folder in git is left out without a word. Anything else is refused by name: left out
//! silently it would be missed on the node, and packed it would be in the link's way.

use std::path::Path;

use pannier_shared::statement::Shared;
use pannier_shared::sys::fs;

use super::Error;

/// Files that only keep a folder in git.
const PLACEHOLDERS: &[&str] = &[".gitkeep", ".gitignore", ".keep"];

/// Whether a file of the project only keeps a shared folder in git.
pub fn is_placeholder(shared: &Shared, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    PLACEHOLDERS.contains(&name) && shared.folders().iter().any(|folder| folder.is_above(path))
}

/// Refuses files that are, lie in, or stand above a shared path.
pub fn check(shared: &Shared, paths: &[String]) -> Result<(), Error> {
    let is_in_the_way = |path: &&String| {
        let above = format!("{path}/");
        shared.paths().any(|own| own.as_str() == *path || own.is_above(path) || own.as_str().starts_with(&above))
    };
    let found: Vec<String> = paths.iter().filter(is_in_the_way).cloned().collect();
    if found.is_empty() { Ok(()) } else { Err(Error::Shared(found)) }
}

/// Makes the folders that the links will lie in.
pub fn make_parents(shared: &Shared, app: &Path) -> fs::Result<()> {
    let mut folders = shared.paths().filter_map(|path| path.as_str().rsplit_once('/'));
    folders.try_for_each(|(folder, _)| fs::create_dir_all(&app.join(folder)))
}
