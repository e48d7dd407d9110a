//! The release statement: everything a node must know before it fetches the first byte of an artifact.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Document, Migrations, Running};
use crate::digest::Digest;
use crate::id::{AppName, DocumentName, Target, Version};

/// The version of the statement's form that this program writes; a higher one is refused by name.
pub const FORMAT: u32 = 1;

/// The most bytes of a document beside an archive: a bill of materials of 10,000 parts has half of it.
pub const DOCUMENT_LIMIT: u64 = 16 * 1024 * 1024;

/// `<app>/releases/<version>/<target>/release.json`: never changed once published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Always "release".
    #[serde(rename = "type")]
    pub kind: ReleaseType,
    /// Form of this document, see [`FORMAT`].
    pub format: u32,
    /// What the release says of itself.
    pub release: Description,
    /// The archive that holds it.
    pub artifact: Artifact,
    /// What is published beside the archive for others to read, by file name. Nodes do without, so that a name that is
    /// new changes nothing for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<DocumentName, Attached>,
}

impl Document for Statement {
    const NAMESPACE: &'static str = "release@pannier";
    const NAME: &'static str = "release statement";
    /// 1,000 dependencies and 2,000 migrations at about 200 bytes, with room to spare.
    const LIMIT: u64 = 1024 * 1024;
}

/// The one value of a release statement's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseType {
    /// "release".
    Release,
}

/// What a release says of itself; the same text lies in the tree as `.pannier/release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The app.
    pub app: AppName,
    /// The version.
    pub version: Version,
    /// The machine kind it runs on.
    pub target: Target,
    /// The machine kind it was built on, where that is another one: then nothing of what is for `target` alone (extension
    /// modules, a bundled interpreter) was run by the build. Absent in a release that was built on its own kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_on: Option<Target>,
    /// The source it was built from; absent outside of git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The interpreter it runs with.
    pub interpreter: Interpreter,
    /// The oldest C library it runs on, "2.28" of glibc or "1.2" of musl, whichever the target has; absent when nothing in
    /// it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libc_floor: Option<String>,
    /// The file in the release that asks for that one, "wheels/NAME.whl" or a library; for a person to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libc_floor_of: Option<String>,
    /// Every vendored wheel, sorted by name.
    pub dependencies: Vec<Dependency>,
    /// What Django said of the project.
    pub django: Django,
    /// How it is run on a node; absent in a release that leaves that to the node.
    #[serde(default, skip_serializing_if = "Running::is_empty")]
    pub running: Running,
    /// The migrations of every installed app; absent in a release that was built before they were noted.
    #[serde(default, skip_serializing_if = "Migrations::is_empty")]
    pub migrations: Migrations,
    /// The Pannier version that built it.
    pub built_by: String,
}

/// Where the code came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The git commit, full hash.
    pub commit: String,
    /// True when tracked files differed from that commit.
    pub dirty: bool,
    /// When that commit was made, by the committer's clock: what tells nodes which of two releases is the older one.
    /// Absent in what was built before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Timestamp>,
}

/// Which Python runs the release, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// Bundled or the node's own.
    pub origin: InterpreterOrigin,
    /// Which Python it is (`sys.implementation.name`), "cpython": must match exactly.
    pub implementation: String,
    /// Its feature version, "3.11": must match exactly.
    pub python: String,
    /// Its full version at the build, "3.11.7". A node's own may be another one of the same feature version.
    pub version: String,
    /// Its extension ABI (`SOABI`), "cpython-311-x86_64-linux-gnu": must match exactly.
    pub abi: String,
    /// What its byte code is called (`sys.implementation.cache_tag`), "cpython-311": must match exactly, or the release's
    /// would not be used and could not be written anew.
    pub cache_tag: String,
    /// The link in the tree that must lead to it, "venv/bin/python". With `origin: system` this one entry is not in the
    /// archive: the node makes it, an absolute link to its own interpreter.
    pub link: String,
}

/// Where the interpreter comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InterpreterOrigin {
    /// It is in the release, under `python/`.
    Bundled,
    /// The node provides it.
    System,
}

/// One vendored wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Normalised project name (PEP 503).
    pub name: String,
    /// Its version.
    pub version: String,
    /// The wheel's file name under `wheels/`.
    pub wheel: String,
    /// The wheel's digest.
    pub sha256: Digest,
}

/// What the build learned from the project's Django settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Django {
    /// `DJANGO_SETTINGS_MODULE`.
    pub settings: String,
    /// Folder of manage.py below `app/`; "." for the top.
    pub folder: String,
    /// The WSGI callable as servers take it, "mysite.wsgi:application"; absent when the project has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wsgi: Option<String>,
    /// The ASGI callable; absent when the project has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asgi: Option<String>,
    /// `STATIC_URL`.
    pub static_url: String,
    /// True when the static storage gives files hashed names.
    pub static_hashed: bool,
    /// The storage's list of these names, below `static/`; absent where it is called as Django calls it, and in a release that
    /// was built before this was noted.
    #[serde(default = "usual_manifest", skip_serializing_if = "is_usual_manifest")]
    pub static_manifest: String,
}

/// What Django calls that list (`ManifestFilesMixin.manifest_name`).
pub const USUAL_MANIFEST: &str = "staticfiles.json";

fn usual_manifest() -> String {
    USUAL_MANIFEST.to_owned()
}

fn is_usual_manifest(name: &str) -> bool {
    name == USUAL_MANIFEST
}

/// A document beside the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// Its size in bytes, at most [`DOCUMENT_LIMIT`].
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
}

/// The archive file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Size of `artifact.tar.zst` in bytes.
    pub size: u64,
    /// SHA-256 of the whole file: what `sha256sum` prints.
    pub sha256: Digest,
    /// Where in it the table of contents lies.
    pub toc: TocRef,
    /// How many entries the tree has (files, folders, links; COMPLETE included).
    pub entries: u64,
    /// Bytes of all files, unpacked.
    pub unpacked: u64,
}

/// Where the root table of contents lies in an artifact, and its digest: the next link of the chain of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TocRef {
    /// First byte of the zstd-compressed JSON (behind the skippable frame's 8-byte header).
    pub offset: u64,
    /// Its compressed length in bytes.
    pub length: u64,
    /// SHA-256 of the compressed bytes.
    pub sha256: Digest,
}
