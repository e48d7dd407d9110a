//! Sign: what the release says of itself, and what archive and documents measure, become the signed statement.

use std::collections::BTreeMap;
use std::path::Path;

use pannier_shared::digest::Digest;
use pannier_shared::id::DocumentName;
use pannier_shared::signature::{SignError, SigningKey, sign};
use pannier_shared::statement::{Artifact, Attached, Description, FORMAT, ReleaseType, Statement};
use pannier_shared::sys::fs;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document could not be signed.
    #[error("failed to sign the release")]
    Sign(#[from] SignError),
    /// The file could not be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Writes the signed statement to `out`; gives its digest. The same input and key give the same bytes.
pub fn write(
    release: Description,
    artifact: Artifact,
    documents: BTreeMap<DocumentName, Attached>,
    key: &SigningKey,
    out: &Path,
) -> Result<Digest, Error> {
    let statement = Statement { kind: ReleaseType::Release, format: FORMAT, release, artifact, documents };
    let bytes = sign(&statement, key)?;
    fs::write(out, &bytes)?;
    Ok(Digest::of(&bytes))
}
