//! Which static files have names that change with their content: what the storage's manifest says, and never what a name looks
//! like. It is by the manifest that pages come by these names, and it is signed like any file of a release.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The folder of static files in a release.
pub const FOLDER: &str = "static";

/// The most bytes a manifest may have: it has a line for each file, and 64 MiB are those of half a million.
pub const LIMIT: u64 = 64 * 1024 * 1024;

/// The forms of it that are known, which Django itself takes for the same (`ManifestFilesMixin.manifest_version`).
const VERSIONS: &[&str] = &["1.0", "1.1"];

/// What Django's manifest storages write, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    #[serde(default)]
    version: String,
    /// From the plain name to the hashed one.
    #[serde(default)]
    paths: BTreeMap<String, String>,
}

/// A text that is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not one at all.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// It has another form than those that are known.
    #[error("it has version `{}`, known are 1.0 and 1.1", .0.escape_debug())]
    Version(String),
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let manifest: Self = serde_json::from_slice(text)?;
        if VERSIONS.contains(&manifest.version.as_str()) { Ok(manifest) } else { Err(Error::Version(manifest.version)) }
    }

    /// The hashed names. A storage may leave a file its plain name; that one is none, and no other file's that is called so.
    pub fn hashed(&self) -> BTreeSet<&str> {
        self.paths.values().map(String::as_str).filter(|name| !self.paths.contains_key(*name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_plain_name_too_is_not_hashed() {
        let text = br#"{"version": "1.1", "hash": "01", "paths": {"a": "a", "b": "c", "c": "c.01", "d": "d.02"}}"#;
        assert_eq!(Vec::from_iter(Manifest::parse(text).unwrap().hashed()), ["c.01", "d.02"]);
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let refused = |text: &str| Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        insta::assert_snapshot!(refused("<html>"), @"expected value at line 1 column 1");
        insta::assert_snapshot!(refused(r#"{"version": "2\u001b", "paths": {}}"#), @r"it has version `2\u{1b}`, known are 1.0 and 1.1");
    }
}
