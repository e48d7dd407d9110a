//! The tables of contents: a root that lists groups, and a table per group that lists its entries and frames.
//!
//! Both are canonical JSON: the reader writes what it read again and compares the bytes, so that there is one text per
//! meaning; doubled keys, other number forms, unknown fields, white space or trailing data are refused that way.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame;
use super::policy::Kind;
use crate::digest::Digest;

/// The archive form this program writes; a higher one is refused by name.
pub const FORMAT: u32 = 1;
/// Most groups: a real site has about 200.
pub const MAX_GROUPS: usize = 20_000;
/// Most compressed bytes of a root: [`MAX_GROUPS`] groups at about 150 bytes.
pub const MAX_ROOT: u64 = 4 * 1024 * 1024;
/// Most decompressed bytes of a root or a table: what a node will hold in memory for one of them (about 200,000 entries).
pub const MAX_PLAIN: u64 = 32 * 1024 * 1024;
/// zstd level for tables: half of their bytes are digests that no level makes smaller.
const TABLE_LEVEL: i32 = 12;

/// How often a group changes, and so where it lies: stable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Folders that several groups share.
    Folders,
    /// The bundled interpreter.
    Interpreter,
    /// A dependency: its wheel and what it installed.
    Dependency,
    /// The rest of the virtual environment.
    Glue,
    /// Collected static files.
    Static,
    /// The site's own code.
    App,
    /// What the release says of itself.
    Release,
    /// The last member.
    Complete,
}

/// What changes together and is described by one table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// How often it changes.
    pub class: Class,
    /// Which one of its class: "django", "admin"; may be empty.
    pub name: String,
}

/// The root table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// See [`FORMAT`].
    pub format: u32,
    /// What compressed the frames, "zstd 1.5.7 level 9": the same bytes need the same encoder.
    pub encoder: String,
    /// All groups in archive order.
    pub groups: Vec<GroupRow>,
}

/// One group in the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRow {
    /// How often it changes.
    pub class: Class,
    /// Which one of its class.
    pub name: String,
    /// Bytes of its frames together.
    pub length: u64,
    /// Its table.
    pub table: TableRow,
}

impl GroupRow {
    /// Which group it is.
    pub fn group(&self) -> Group {
        Group { class: self.class, name: self.name.clone() }
    }
}

/// Where a group's table is proven: its place follows from the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRow {
    /// Compressed length in bytes.
    pub length: u64,
    /// Decompressed length in bytes.
    pub plain: u64,
    /// SHA-256 of the compressed bytes.
    pub sha256: Digest,
}

/// A group's table. Its part of the tar stream is: folders, files, links, each in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Paths of folders, mode 0755.
    pub folders: Vec<String>,
    /// Regular files.
    pub files: Vec<FileRow>,
    /// Symlinks.
    pub links: Vec<LinkRow>,
    /// The frames that hold them, in order.
    pub frames: Vec<FrameRow>,
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRow {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// True: mode 0755, else 0644.
    #[serde(default, skip_serializing_if = "is_false")]
    pub executable: bool,
    /// SHA-256 of its content.
    pub sha256: Digest,
}

impl FileRow {
    /// Its permission bits.
    pub fn mode(&self) -> u32 {
        if self.executable { 0o755 } else { 0o644 }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// A symlink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRow {
    /// Its path.
    pub path: String,
    /// Where it points, relative to its folder.
    pub target: String,
}

/// One data frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRow {
    /// Compressed length in bytes.
    pub length: u64,
    /// Decompressed length in bytes.
    pub plain: u64,
    /// SHA-256 of the compressed bytes.
    pub sha256: Digest,
}

impl Table {
    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.folders.len() + self.files.len() + self.links.len()
    }

    /// Its entries in archive order, as the policy looks at them.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Kind<'_>)> {
        let folders = self.folders.iter().map(|path| (path.as_str(), Kind::Folder));
        let files = self.files.iter().map(|file| (file.path.as_str(), Kind::File(file.size)));
        let links = self.links.iter().map(|link| (link.path.as_str(), Kind::Link(link.target.as_str())));
        folders.chain(files).chain(links)
    }
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its frame is not what it should be.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// It is longer than a table may be.
    #[error("it has {plain} bytes decompressed, more than the {MAX_PLAIN} allowed")]
    TooLarge {
        /// What the row above it says.
        plain: u64,
    },
    /// It is not JSON of the expected form.
    #[error("it is not a table of contents")]
    Form(#[source] serde_json::Error),
    /// It is not in the one form a meaning is written in.
    #[error("it is not in canonical form")]
    NotCanonical,
    /// A later form.
    #[error("it has archive format {0}, this program knows {FORMAT}: a newer Pannier wrote it")]
    Newer(u32),
}

/// Writes a table: its compressed bytes and its decompressed length.
pub fn encode<T: Serialize>(table: &T) -> Result<(Vec<u8>, u64), Error> {
    let json = serde_json::to_vec(table).map_err(Error::Form)?;
    if json.len() as u64 > MAX_PLAIN {
        return Err(Error::TooLarge { plain: json.len() as u64 });
    }
    let frame = frame::encode(&json, TABLE_LEVEL)?;
    Ok((frame, json.len() as u64))
}

/// Reads a group's table whose compressed bytes are already proven.
pub fn decode_table(compressed: &[u8], plain: u64) -> Result<Table, Error> {
    decode(compressed, plain)
}

/// Reads a root whose compressed bytes are already proven.
pub fn decode_root(compressed: &[u8]) -> Result<Root, Error> {
    let plain = frame::content_size(compressed)?;
    let root: Root = decode(compressed, plain)?;
    if root.format > FORMAT { Err(Error::Newer(root.format)) } else { Ok(root) }
}

fn decode<T: Serialize + DeserializeOwned>(compressed: &[u8], plain: u64) -> Result<T, Error> {
    if plain > MAX_PLAIN {
        return Err(Error::TooLarge { plain });
    }
    let json = frame::decode(compressed, plain)?;
    let value: T = serde_json::from_slice(&json).map_err(|error| newer(&json).unwrap_or(Error::Form(error)))?;
    let again = serde_json::to_vec(&value).map_err(Error::Form)?;
    if again == json { Ok(value) } else { Err(Error::NotCanonical) }
}

/// A form this program cannot read may say that it is a newer one.
fn newer(json: &[u8]) -> Option<Error> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(json).ok()?;
    (form.format > FORMAT).then_some(Error::Newer(form.format))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Root, Error> {
        decode_root(&frame::encode(json.as_bytes(), 3)?)
    }

    #[test]
    fn only_the_canonical_text_is_read() {
        assert!(read(r#"{"format":1,"encoder":"e","groups":[]}"#).is_ok());
        for bad in [
            r#"{"format":1,"encoder":"e","groups":[]} "#,
            r#"{"format":1,"encoder":"e","groups":[],"groups":[]}"#,
            r#"{"format":1e0,"encoder":"e","groups":[]}"#,
            r#"{"encoder":"e","format":1,"groups":[]}"#,
            r#"{"format":1,"encoder":"\u0065","groups":[]}"#,
            r#"{"format":1,"encoder":"e","groups":[],"x":1}"#,
            r#"{"format":1,"encoder":"e","groups":[]}x"#,
            "\u{feff}{\"format\":1,\"encoder\":\"e\",\"groups\":[]}",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_newer_form_is_named() {
        let error = read(r#"{"format":9,"something":"else"}"#).unwrap_err();
        assert!(matches!(error, Error::Newer(9)), "{error}");
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        assert!(read(&"[".repeat(1_000_000)).is_err());
    }
}
