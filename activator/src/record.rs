//! What is kept beside a release in `.pannier/toc/<version>/`: its signed statement, its tables of contents (the
//! transfer writes them) and its record.
//!
//! The record is what the state file will say of the release. It is staged with the tree and lies under its final name
//! *before* the tree does, so that a release that was committed just before the power went, and that the state file
//! does not know yet, can be taken up instead of being fetched again; and a lost state file can be learnt anew.

use std::path::{Path, PathBuf};

use pannier_shared::archive::COMPLETE;
use pannier_shared::sys::fs;

use crate::state::Release;

/// Where the signed statement lies in a release's folder of records.
pub fn statement(folder: &Path) -> PathBuf {
    folder.join("release.json")
}

fn record(folder: &Path) -> PathBuf {
    folder.join("record.json")
}

/// Writes the record and the statement into the staged folder; what makes them durable is the one sync of the whole
/// stage.
pub fn write(folder: &Path, release: &Release, signed: &[u8]) -> fs::Result<()> {
    fs::write(&statement(folder), signed)?;
    // Plain fields always have a JSON form.
    fs::write(&record(folder), &serde_json::to_vec_pretty(release).unwrap_or_default())
}

/// Reads a record; none, or one that cannot be read, is `None`: then the release is not taken up.
pub fn read(folder: &Path) -> Option<Release> {
    let bytes = fs::read(&record(folder), 64 * 1024).ok()?;
    fs::exists(&statement(folder)).then_some(())?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether a release's tree was written to its end: its last file is there.
pub fn is_complete(tree: &Path) -> bool {
    fs::lstat(&tree.join(COMPLETE)).is_ok_and(|meta| meta.is_file())
}
