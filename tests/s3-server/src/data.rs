//! The bytes of an object or a part: in memory, or in a file of the server's directory.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{S3Error, S3Result};

use crate::checksums::{self, Sums};

/// How much is read at once.
pub(crate) const CHUNK: u64 = 256 * 1024;

/// Where bytes are kept.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Memory,
    Folder(PathBuf),
}

/// Bytes that were stored. A file goes when [`Data::remove`] is called, not before: it may belong to the next start.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Memory(Bytes),
    File(PathBuf, u64),
}

impl Data {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// A way to read it that stays good when it is removed.
    pub(crate) fn open(&self) -> S3Result<Source> {
        match self {
            Self::Memory(bytes) => Ok(Source::Memory(bytes.clone())),
            Self::File(path, _) => File::open(path).map(Source::File).map_err(S3Error::internal_error),
        }
    }

    pub(crate) fn remove(&self) {
        if let Self::File(path, _) = self {
            // What is left is never read again: no record names it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Stored bytes being read.
#[derive(Debug)]
pub(crate) enum Source {
    Memory(Bytes),
    File(File),
}

impl Source {
    /// The bytes from `at`, at most `length` of them.
    pub(crate) fn read(&self, at: u64, length: u64) -> io::Result<Bytes> {
        match self {
            Self::Memory(bytes) => Ok(bytes.slice(at as usize..(at + length) as usize)),
            Self::File(file) => {
                let mut buffer = BytesMut::zeroed(length as usize);
                file.read_exact_at(&mut buffer, at)?;
                Ok(buffer.freeze())
            }
        }
    }
}

/// Bytes on their way in: kept and hashed. Dropped before [`Spool::finish`], they are gone.
pub(crate) struct Spool {
    kept: Kept,
    md5: Md5,
    sums: ChecksumHasher,
    size: u64,
}

enum Kept {
    Memory(BytesMut),
    File(Unfinished),
}

struct Unfinished {
    file: File,
    path: Option<PathBuf>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What came in.
pub(crate) struct Spooled {
    pub(crate) data: Data,
    pub(crate) md5: [u8; 16],
    pub(crate) sums: Sums,
}

impl Spool {
    pub(crate) fn new(place: &Place, sums: ChecksumHasher) -> S3Result<Self> {
        let kept = match place {
            Place::Memory => Kept::Memory(BytesMut::new()),
            Place::Folder(folder) => {
                let path = folder.join(fresh_name());
                let file = File::create_new(&path).map_err(S3Error::internal_error)?;
                Kept::File(Unfinished { file, path: Some(path) })
            }
        };
        Ok(Self { kept, md5: Md5::new(), sums, size: 0 })
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> S3Result<()> {
        self.md5.update(bytes);
        self.sums.update(bytes);
        self.size += bytes.len() as u64;
        match &mut self.kept {
            Kept::Memory(kept) => kept.extend_from_slice(bytes),
            Kept::File(unfinished) => unfinished.file.write_all(bytes).map_err(S3Error::internal_error)?,
        }
        Ok(())
    }

    /// Appends a range of stored bytes.
    pub(crate) fn push_range(&mut self, source: &Source, mut range: std::ops::Range<u64>) -> S3Result<()> {
        while !range.is_empty() {
            let bytes =
                source.read(range.start, CHUNK.min(range.end - range.start)).map_err(S3Error::internal_error)?;
            self.push(&bytes)?;
            range.start += bytes.len() as u64;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Spooled {
        let data = match self.kept {
            Kept::Memory(kept) => Data::Memory(kept.freeze()),
            Kept::File(mut unfinished) => Data::File(unfinished.path.take().unwrap_or_default(), self.size),
        };
        Spooled { data, md5: self.md5.finalize(), sums: checksums::found(self.sums) }
    }
}

/// A name that no other start and no other call uses.
pub(crate) fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{now:x}-{:x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
