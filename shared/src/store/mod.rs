//! The store: where releases meet nodes. A directory (`file://`), S3 (`s3://`) or a web server (`https://`, read-only).
//!
//! Few methods, each opening with its guarantee, and errors that say what it means rather than a status code. There
//! is no unconditional write: what is published is never changed, and pointers move by compare-and-swap only. Every
//! backend passes [`conformance`], which is how a new one is known to be done.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::digest::Digest;
use location::Location;
use upload::Upload;

pub mod conformance;
pub mod credentials;
pub mod dir;
mod gather;
mod hedge;
pub mod http;
pub mod location;
pub mod names;
pub mod reading;
mod retry;
pub mod s3;
pub mod upload;
pub mod wire;
mod xml;

/// The most bytes one range request may ask for: what the callers' memory is planned with.
pub const MAX_RANGE: u64 = 16 * 1024 * 1024;

/// The largest file that goes up in one piece: S3's own limit for one PUT, 5 GiB.
pub const MAX_FILE: u64 = 5 * 1024 * 1024 * 1024;

/// Opens the store at a location; for S3, credentials and the rest come from `env`. A directory is there or not, but
/// for a remote store nothing is asked yet.
pub async fn open(location: &Location, env: &dyn Fn(&str) -> Option<String>) -> Result<Box<dyn Store>> {
    open_with(location, env, wire::Patience::default()).await
}

/// Like [`open`], with another patience than the usual one.
pub async fn open_with(
    location: &Location,
    env: &dyn Fn(&str) -> Option<String>,
    patience: wire::Patience,
) -> Result<Box<dyn Store>> {
    Ok(match location {
        Location::Dir(path) => Box::new(dir::DirStore::new(path)),
        Location::S3(bucket) => {
            let options = s3::S3Options { patience, ..s3::S3Options::from_env(bucket.clone(), env)? };
            Box::new(s3::S3Store::new(options)?)
        }
        Location::Web(url) => Box::new(http::WebStore::new(url.clone(), patience)?),
    })
}

/// A key in the store: `/`-separated components of letters, digits and `.`, `_`, `+`, `-`; never a `.` or `..` component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// A text that is not a key.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a valid store key")]
pub struct BadKey(String);

impl Key {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = BadKey;
    fn from_str(text: &str) -> std::result::Result<Self, BadKey> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
        let component = |c: &str| !c.is_empty() && c != "." && c != ".." && c.chars().all(allowed);
        if text.len() <= 512 && text.split('/').all(component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadKey(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one content of a key; opaque, only good for comparing and for conditional requests to the same store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub String);

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its size in bytes.
    pub size: u64,
    /// Its current content's name.
    pub etag: Etag,
}

/// A small object, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Bytes,
    /// The content's name, for a later compare-and-swap.
    pub etag: Etag,
}

/// What a look at a small object came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// The object, if it is another one than the one known.
    pub object: Option<Object>,
    /// What time it was by the store's clock, to the second below; none where it does not say.
    pub date: Option<jiff::Timestamp>,
}

/// What [`Store::put_file`] stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub etag: Etag,
    /// How many of its bytes the store copied from what it had; the others were sent.
    pub copied: u64,
}

/// On what condition a write happens. There is no "always".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Only if the key does not exist.
    Absent,
    /// Only if the key still holds this content.
    Unchanged(Etag),
}

/// What a store says when it cannot do what was asked. Messages never hold credentials or signed query strings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such key. A store that is not there at all is [`Error::Unavailable`].
    #[error("`{key}` is not in the store {store}")]
    NotFound {
        /// The store.
        store: String,
        /// The key.
        key: String,
    },
    /// [`Condition::Absent`] was not met: the key exists.
    #[error("`{key}` exists already in the store {store}")]
    AlreadyExists {
        /// The store.
        store: String,
        /// The key.
        key: String,
    },
    /// [`Condition::Unchanged`], or a pinned read, was not met: the content is another one now.
    #[error("`{key}` was changed by somebody else in the store {store}")]
    Changed {
        /// The store.
        store: String,
        /// The key.
        key: String,
    },
    /// Credentials are missing, wrong or not allowed to do this.
    #[error("the store {store} denied access to `{key}`: {detail}")]
    Denied {
        /// The store.
        store: String,
        /// The key, or what else was asked for.
        key: String,
        /// The store's own code and words: "SignatureDoesNotMatch".
        detail: String,
    },
    /// The store could not be reached, or answered with a passing error, after all retries.
    #[error("the store {store} is unavailable: {detail}")]
    Unavailable {
        /// The store.
        store: String,
        /// What happened, on which address.
        detail: String,
    },
    /// The store answered something that breaks the protocol (a 200 for a range, a body too short or too long).
    #[error("the store {store} gave a wrong answer for `{key}`: {detail}")]
    WrongAnswer {
        /// The store.
        store: String,
        /// The key.
        key: String,
        /// Expected and found.
        detail: String,
    },
    /// This kind of store cannot do this.
    #[error("the store {store} cannot {what}")]
    Unsupported {
        /// The store.
        store: String,
        /// What was asked: "be written to".
        what: &'static str,
    },
    /// The file to upload is not, or no longer, what it was measured to be. Nothing was stored.
    #[error("`{file}` changed while it was stored: expected {expected}, found {found}")]
    FileChanged {
        /// The file.
        file: String,
        /// Size and digest it was measured to have.
        expected: String,
        /// What was read, or what the store said.
        found: String,
    },
    /// The machine's own file system failed (a directory store, or the file to upload).
    #[error(transparent)]
    Fs(#[from] crate::sys::fs::Error),
}

impl Error {
    /// For a file of which `found` was read where `expected` was measured.
    pub fn file_changed(file: &Path, expected: (Digest, u64), found: (Digest, u64)) -> Self {
        let words = |(digest, size): (Digest, u64)| format!("{size} bytes with sha256 {digest}");
        Self::FileChanged { file: file.display().to_string(), expected: words(expected), found: words(found) }
    }

    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Denied { store, .. } if store.starts_with("s3://") => {
                "check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine"
            }
            Self::Unavailable { .. } => "check the address and the network, then type it again",
            Self::Unsupported { store, .. } if store.starts_with("https://") => {
                "a web server is only read from, and by name: use the address `s3://` or `file://` of the store"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Refuses a range that no store is asked for: an empty one, and one of more than [`MAX_RANGE`] bytes.
pub fn check_range(store: &str, range: &Range<u64>) -> Result<()> {
    let refused = |what| Err(Error::Unsupported { store: store.to_owned(), what });
    match range.end.checked_sub(range.start) {
        None | Some(0) => refused("read an empty range"),
        Some(length) if length > MAX_RANGE => refused("read more than 16 MiB at once"),
        Some(_) => Ok(()),
    }
}

/// Result of a store call.
pub type Result<T> = std::result::Result<T, Error>;

/// A place that keeps objects. Strongly consistent: after a write returned, every read sees it.
#[async_trait]
pub trait Store: Send + Sync {
    /// How a person names it: the URL it was opened with, without credentials.
    fn location(&self) -> &str;

    /// Reads a small object whole. More than `limit` bytes is [`Error::WrongAnswer`], and no more than that is read.
    async fn get(&self, key: &Key, limit: u64) -> Result<Object>;

    /// Reads like [`Self::get`], unless the object is still the one `known`: then no byte of it is sent.
    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance>;

    /// Size and name of an object.
    async fn head(&self, key: &Key) -> Result<Meta>;

    /// Reads exactly the bytes `range` (not empty, at most [`MAX_RANGE`]). With `pin`, only of that content, else
    /// [`Error::Changed`]. Fewer or more bytes, another range, or the whole object are errors, never data.
    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes>;

    /// Reads like [`Self::get_range`], from the store itself: what a cache on the way may hold is passed by, as far as
    /// caches can be told. For bytes that came damaged.
    async fn get_range_anew(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        self.get_range(key, range, None).await
    }

    /// Writes a small object in one step, on a condition. When several race, exactly one wins and the others get
    /// [`Error::AlreadyExists`] or [`Error::Changed`]. Readers see the old content or the new, never a mix.
    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> Result<Etag>;

    /// Writes a file as a new object, with [`Condition::Absent`]; nothing is visible before all of it is there and was
    /// found to be what it was measured to be. What the file shares with other objects ([`Upload::shared`]) may be
    /// copied by the store instead of sent; it is a hint, and whoever cannot use it sends the whole.
    async fn put_file(&self, key: &Key, upload: &Upload) -> Result<Stored>;

    /// True if [`Self::put_file`] makes use of [`Upload::shared`], so that looking for it is worth the while.
    fn can_copy(&self) -> bool {
        false
    }

    /// How long the line to it takes at least until the first byte of a range, as far as ranges were read lately; `None`
    /// where that is not known, or nothing.
    fn first_byte(&self) -> Option<Duration> {
        None
    }

    /// What time it is by the store's clock, to the second; none of a store that has no clock of its own, or does not say.
    /// Nobody has to be known to the store for that, and it is asked once.
    async fn clock(&self) -> Result<Option<jiff::Timestamp>> {
        Ok(None)
    }

    /// The names directly below `prefix` (a key without a trailing `/`; empty for the top): one component each, sorted,
    /// "folders" and objects alike. A prefix with nothing below it gives an empty list.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;
}
