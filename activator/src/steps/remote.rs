//! One artifact in the store, read range by range, with a count of what was taken from it.
//!
//! A part whose digest is wrong may have been spoilt on its way, or lie spoilt in a cache: it is read once more, from the
//! store itself. What is wrong then too is wrong in the store.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pannier_shared::archive::read;
use pannier_shared::keys;
use pannier_shared::statement::Description;
use pannier_shared::store::{Key, MAX_RANGE, Store};

use super::budget;
use super::fetch::Error;

/// The artifact of a release in a store.
pub struct Remote<'a> {
    store: &'a dyn Store,
    key: Key,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl<'a> Remote<'a> {
    /// The artifact of `release`; `taken` is what was read of it before.
    pub fn new(store: &'a dyn Store, release: &Description, taken: Taken) -> Self {
        let key = keys::artifact(&release.app, &release.version, &release.target);
        Self { store, key, bytes: taken.bytes.into(), requests: taken.requests.into() }
    }

    /// Reads a range of any length, in requests of at most [`MAX_RANGE`].
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.read_by(Way::Any, range).await
    }

    /// Reads a range that came damaged again, past what caches hold of it.
    pub async fn read_anew(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.read_by(Way::PastCaches, range).await
    }

    /// Proves the `bytes` that were read of `range`, which are read once more if they were damaged.
    pub async fn proven<T>(
        &self,
        range: Range<u64>,
        bytes: Bytes,
        prove: impl Fn(&[u8]) -> read::Result<T>,
    ) -> Result<(T, Bytes), Error> {
        match prove(&bytes) {
            Ok(proven) => Ok((proven, bytes)),
            Err(error) if is_damage(&error) => {
                let bytes = self.read_anew(range).await?;
                Ok((prove(&bytes)?, bytes))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_by(&self, way: Way, range: Range<u64>) -> Result<Bytes, Error> {
        if range.end - range.start <= MAX_RANGE {
            return self.request(way, range).await;
        }
        let mut all = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + MAX_RANGE);
            all.extend_from_slice(&self.request(way, at..end).await?);
            at = end;
        }
        Ok(all.into())
    }

    async fn request(&self, way: Way, range: Range<u64>) -> Result<Bytes, Error> {
        let _turn = budget::connection().await;
        let read = match way {
            Way::Any => self.store.get_range(&self.key, range, None).await,
            Way::PastCaches => self.store.get_range_anew(&self.key, range).await,
        };
        let bytes = read.map_err(|source| Error::Store { key: self.key.to_string(), source })?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// How long the line takes at least until a first byte, where that is known.
    pub fn first_byte(&self) -> Option<Duration> {
        self.store.first_byte()
    }

    /// What was read so far.
    pub fn taken(&self) -> Taken {
        Taken { bytes: self.bytes.load(Ordering::Relaxed), requests: self.requests.load(Ordering::Relaxed) }
    }
}

/// How a range comes here.
#[derive(Debug, Clone, Copy)]
enum Way {
    Any,
    PastCaches,
}

/// True for bytes that are not those that were signed; everything else that can be wrong was signed so.
pub fn is_damage(error: &read::Error) -> bool {
    matches!(error, read::Error::Digest { .. } | read::Error::Skippable { .. } | read::Error::Footer)
}

/// What was taken from the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}
