//! All that lies in a release's tree, as the file system tells it without reading.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;

use super::{Damage, Finding};

/// What a walk through a tree found.
pub(super) struct Walked {
    /// Everything below it, by its path there.
    pub(super) found: BTreeMap<String, Metadata>,
    /// What could not be looked at.
    pub(super) damaged: Vec<Finding>,
}

/// Walks through a tree; links are not followed.
pub(super) fn walk(tree: &Path) -> fs::Result<Walked> {
    let mut walked = Walked { found: BTreeMap::new(), damaged: Vec::new() };
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        match entries(tree, &folder) {
            Ok(entries) => {
                folders.extend(entries.iter().filter(|(_, meta)| meta.is_dir()).map(|(path, _)| path.clone()));
                let text = |(path, meta): (PathBuf, Metadata)| (path.to_string_lossy().into_owned(), meta);
                walked.found.extend(entries.into_iter().map(text));
            }
            Err(error) if folder.as_os_str().is_empty() => return Err(error),
            Err(error) => {
                let damage = Damage::Unreadable { why: error.source.to_string() };
                walked.damaged.push(Finding { path: folder.to_string_lossy().into_owned(), damage });
            }
        }
    }
    Ok(walked)
}

/// The files of a tree and the number of each on its file system.
pub fn files(tree: &Path) -> fs::Result<Vec<(String, u64)>> {
    let found = walk(tree)?.found.into_iter().filter(|(_, meta)| meta.is_file());
    Ok(found.map(|(path, meta)| (path, meta.ino())).collect())
}

/// What is in one folder of a tree, by its path there.
fn entries(tree: &Path, folder: &Path) -> fs::Result<Vec<(PathBuf, Metadata)>> {
    let look = |name| {
        let path = folder.join(name);
        Ok((path.clone(), fs::lstat(&tree.join(path))?))
    };
    fs::list(&tree.join(folder))?.into_iter().map(look).collect()
}
