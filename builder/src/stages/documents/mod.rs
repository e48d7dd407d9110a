//! Documents: what others' tools read of a release, written beside the artifact and held to it by the signed statement:
//! a bill of materials (CycloneDX) and a provenance (in-toto, SLSA).
//!
//! There is no time in either, or two builds would differ: when a release was built is no part of what it is, and when it
//! went live the channel's pointer says.

use std::collections::BTreeMap;
use std::path::Path;

use pannier_shared::digest::Digest;
use pannier_shared::id::DocumentName;
use pannier_shared::statement::{Artifact, Attached, Description, InterpreterOrigin};
use pannier_shared::sys::fs;
use serde_json::{Value, json};

mod licence;
mod provenance;
mod sbom;

pub use licence::{Licence, read as licences};

/// The bill of materials' name, as CycloneDX recommends it.
pub const SBOM_FILE: &str = "sbom.cdx.json";
/// The provenance's name.
pub const PROVENANCE_FILE: &str = "provenance.json";

/// What is known of a release once it is packed.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What it says of itself.
    pub release: &'a Description,
    /// Its archive.
    pub artifact: &'a Artifact,
    /// What each dependency says of its licence, by name.
    pub licences: &'a BTreeMap<String, Licence>,
    /// The project's files that decided on the dependencies, by path.
    pub requirements: &'a BTreeMap<String, Digest>,
}

/// Documents that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It cannot be made text.
    #[error("failed to write `{0}`")]
    Text(&'static str, #[source] serde_json::Error),
    /// Its name is none: a bug.
    #[error(transparent)]
    Name(#[from] pannier_shared::id::BadName),
}

/// Writes both into `folder`; gives what the statement has to say of them.
pub fn write(facts: &Facts<'_>, folder: &Path) -> Result<BTreeMap<DocumentName, Attached>, Error> {
    let sbom = put(folder, SBOM_FILE, &sbom::of(facts))?;
    let provenance = put(folder, PROVENANCE_FILE, &provenance::of(facts, &sbom.1))?;
    Ok([sbom, provenance].into())
}

fn put(folder: &Path, name: &'static str, document: &Value) -> Result<(DocumentName, Attached), Error> {
    let mut text = serde_json::to_vec_pretty(document).map_err(|error| Error::Text(name, error))?;
    text.push(b'\n');
    fs::write(&folder.join(name), &text)?;
    Ok((name.parse()?, Attached { size: text.len() as u64, sha256: Digest::of(&text) }))
}

/// A package URL of a project on PyPI; its version in percent-encoding.
fn purl(name: &str, version: &str) -> String {
    format!("pkg:pypi/{name}@{}", version.replace('+', "%2B").replace('!', "%21"))
}

/// The interpreter's package URL and version. Of the node's own only the feature version is known.
fn python(facts: &Facts<'_>) -> (String, String) {
    let interpreter = &facts.release.interpreter;
    let version = match interpreter.origin {
        InterpreterOrigin::Bundled => interpreter.version.clone(),
        InterpreterOrigin::System => interpreter.python.clone(),
    };
    (format!("pkg:generic/python@{version}"), version)
}

/// Name and value, as CycloneDX spells a property.
fn property(name: &str, value: impl ToString) -> Value {
    json!({"name": format!("pannier:{name}"), "value": value.to_string()})
}

#[cfg(test)]
mod tests;
