//! The documents in a build's folder, as the statement names them.

use std::path::Path;

use pannier_shared::digest::Digest;
use pannier_shared::id::DocumentName;
use pannier_shared::statement::{DOCUMENT_LIMIT, Statement};
use pannier_shared::sys::fs;

use super::{Error, words};

/// Reads one that the statement names; one with other bytes is refused.
pub fn read(folder: &Path, statement: &Statement, name: &DocumentName) -> Result<Vec<u8>, Error> {
    let path = folder.join(name.as_str());
    let bytes = fs::read(&path, DOCUMENT_LIMIT)?;
    let Some(said) = statement.documents.get(name) else { return Ok(bytes) };
    let (size, sha256) = (bytes.len() as u64, Digest::of(&bytes));
    if (size, sha256) == (said.size, said.sha256) {
        return Ok(bytes);
    }
    let (expected, found) = (words(said.size, &said.sha256), words(size, &sha256));
    Err(Error::Document { path, expected, found })
}
