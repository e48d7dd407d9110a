//! What a release on this node says of itself: its own copy, `.pannier/release.json`.
//!
//! The signed statement decides whether a release is unpacked at all; from then on its tree is as trustworthy as the code
//! in it, which this text is one file of (`verify` hashes it like any other). So it is there too for a release that a
//! person unpacked with `tar`.

use std::path::{Path, PathBuf};

use pannier_shared::statement::Description;
use pannier_shared::sys::fs;

/// Where it lies in a release.
const FILE: &str = ".pannier/release.json";

/// The most bytes it may have: as much as the signed statement that has the same in it.
const LIMIT: u64 = 1024 * 1024;

/// A description that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It is not what the build wrote, or a newer one wrote it.
    #[error("`{}` cannot be understood", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Reads what the release in `tree` says of itself; nothing where it has no such file.
pub fn described(tree: &Path) -> Result<Option<Description>, Error> {
    let path = tree.join(FILE);
    let Some(bytes) = fs::if_there(fs::read(&path, LIMIT))? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| Error::Form { path, source })
}
