//! Where browsers get a release's static files without asking a node: a bucket behind a CDN, or a folder of a web server.
//!
//! It is no store: names are whatever static files are called, not keys; what a browser is told with each file matters, and
//! releases share what they have in common. Only names that change with their content are put here ([`names`]), so nothing
//! is ever replaced, what an older page asks for stays, and several who publish at once meet in the same bytes. What
//! lies there under a name with other bytes is refused by that name: one of the two is not what its name promises, and
//! caches would keep the wrong one for a year.
//!
//! The bytes come out of the artifact, proven like a node's ([`reading`]); a folder beside it is not looked at.

mod dir;
mod media;
mod names;
mod reading;
#[cfg(feature = "aws")]
mod s3;
mod transfer;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use pannier_shared::digest::Digest;
use pannier_shared::store;
use pannier_shared::store::location::Location;
use pannier_shared::sys::fs;

use crate::inside;
pub use names::{Asset, Encoded};
pub use reading::Body;
pub use transfer::{Hosted, Hosting};

/// What every file is sent with: its name changes when its content does, so nobody needs to ask again (RFC 8246).
pub const CACHE_CONTROL: &str = "public, max-age=31536000, immutable";

/// Result of a call to a place.
pub type Result<T> = std::result::Result<T, Error>;

/// What lies under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    /// Its size in bytes.
    pub size: u64,
    /// What may be its MD5: S3's ETag of an object that was sent in one piece and is not encrypted with a key of one's own.
    pub md5: Option<[u8; 16]>,
}

/// What became of a file that was to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there, and was not before.
    Stored,
    /// Something was there already, and is unchanged.
    Taken,
}

/// A place for static files. Strongly consistent, like S3: after a write returned, everybody sees it.
#[async_trait]
pub trait Host: Send + Sync {
    /// How a person names it: the URL it was opened with.
    fn location(&self) -> &str;

    /// What lies there of these names; a name that is missing in the answer is free.
    async fn find(&self, names: &Arc<HashSet<String>>) -> Result<HashMap<String, There>>;

    /// Puts a file under its name, whole, with what browsers are to be told of it, unless something lies there.
    async fn put(&self, asset: &Asset, body: &Body) -> Result<Put>;

    /// Whether what lies under a file's name has its bytes, found out by reading it if need be.
    async fn holds(&self, asset: &Asset) -> Result<bool>;
}

/// Opens a place; for S3 with the AWS SDK, as the store is (see [`crate::store::open_store`]).
pub async fn open(location: &Location, env: &dyn Fn(&str) -> Option<String>) -> store::Result<Box<dyn Host>> {
    let unsupported = |what| store::Error::Unsupported { store: location.to_string(), what };
    match location {
        Location::Dir(path) => Ok(Box::new(dir::DirHost::new(path))),
        Location::Web(_) => Err(unsupported("be written to")),
        #[cfg(feature = "aws")]
        Location::S3(bucket) => {
            let options = store::s3::S3Options::from_env(bucket.clone(), env)?;
            Ok(Box::new(s3::S3Host::new(options).await))
        }
        #[cfg(not(feature = "aws"))]
        Location::S3(_) => {
            let _ = env;
            Err(unsupported("take static files: this program was built without the AWS SDK"))
        }
    }
}

/// Whether who may read everything at `host` may read the store too.
pub fn lays_open(host: &Location, store: &Location) -> bool {
    match (host, store) {
        (Location::Dir(host), Location::Dir(store)) => store.starts_with(host),
        (Location::S3(host), Location::S3(store)) => {
            let below = store.prefix.strip_prefix(host.prefix.as_str());
            let is_below = below.is_some_and(|rest| host.prefix.is_empty() || rest.is_empty() || rest.starts_with('/'));
            host.name == store.name && is_below
        }
        _ => false,
    }
}

/// Why static files were not put where browsers get them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are none.
    #[error("the release holds no static files")]
    None,
    /// No name is known to change with its content.
    #[error("none of the release's {files} static files is known to have a name that changes with its content: {why}")]
    NotHashed {
        /// How many there are.
        files: usize,
        /// What was looked for.
        why: String,
    },
    /// Django's manifest cannot be read.
    #[error("`static/{name}` of the release is no manifest of Django's: {why}")]
    Manifest {
        /// Its name below `static/`.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something else lies under a name.
    #[error("`{name}` lies in {host} with other content: expected {} bytes with sha256 {sha256}, found {found}", .size)]
    Different {
        /// The file's name.
        name: String,
        /// Where.
        host: String,
        /// Its size in this release.
        size: u64,
        /// Its digest in this release.
        sha256: Digest,
        /// What lies there.
        found: String,
    },
    /// The artifact cannot be read.
    #[error(transparent)]
    Artifact(#[from] inside::Error),
    /// The place failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The machine's own file system failed, of a place that is a folder.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::None => Some("publish without them: `--static none`, or no `static` in `[publish]` of pannier.toml".to_owned()),
            Self::NotHashed { .. } => Some(
                "have Django name them by content (`STORAGES = {\"staticfiles\": {\"BACKEND\": \
                 \"django.contrib.staticfiles.storage.ManifestStaticFilesStorage\"}}`), or, where a bundler does, say which with \
                 `immutable = [\"assets/**\"]` in `[publish]` of pannier.toml"
                    .to_owned(),
            ),
            Self::Different { .. } => Some(
                "nothing that is public is replaced: find out which of the two was named without regard to its content (an \
                 `immutable` pattern that is too wide, or a storage with a `file_hash` of its own), or use another prefix"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
            Self::Artifact(error) => error.hint(),
            Self::Manifest { .. } | Self::Fs(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_below_what_everybody_reads_is_seen() {
        let is_open = |host: &str, store: &str| lays_open(&host.parse().unwrap(), &store.parse().unwrap());
        for (host, store) in [
            ("s3://bucket", "s3://bucket/releases"),
            ("s3://bucket/a", "s3://bucket/a"),
            ("s3://bucket/a", "s3://bucket/a/b"),
            ("file:///srv/www", "file:///srv/www/store"),
        ] {
            assert!(is_open(host, store), "{host} {store}");
        }
        for (host, store) in [
            ("s3://bucket/a", "s3://bucket/ab"),
            ("s3://bucket/a", "s3://bucket"),
            ("s3://bucket", "s3://other/a"),
            ("file:///srv/www", "file:///srv/wwwstore"),
            ("file:///srv", "s3://bucket"),
        ] {
            assert!(!is_open(host, store), "{host} {store}");
        }
    }

    #[tokio::test]
    async fn a_web_server_takes_no_files() {
        let error = open(&"https://cdn.example.org".parse().unwrap(), &|_| None).await.err().unwrap();
        insta::assert_snapshot!(error, @"the store https://cdn.example.org/ cannot be written to");
    }
}
