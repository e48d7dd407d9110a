//! One artifact in the store, read range by range, with a count of what was taken from it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use pannier_shared::keys;
use pannier_shared::statement::Description;
use pannier_shared::store::{Key, MAX_RANGE, Store};

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
        if range.end - range.start <= MAX_RANGE {
            return self.request(range).await;
        }
        let mut all = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + MAX_RANGE);
            all.extend_from_slice(&self.request(at..end).await?);
            at = end;
        }
        Ok(all.into())
    }

    async fn request(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let failed = |source| Error::Store { key: self.key.to_string(), source };
        let bytes = self.store.get_range(&self.key, range, None).await.map_err(failed)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// What was read so far.
    pub fn taken(&self) -> Taken {
        Taken { bytes: self.bytes.load(Ordering::Relaxed), requests: self.requests.load(Ordering::Relaxed) }
    }
}

/// What was taken from the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Bytes.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
}
