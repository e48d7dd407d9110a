//! A file on its way into a store: read in pieces and measured while it is sent.
//!
//! The last piece is held back until the whole file was found to be what it was measured to be. So a file that
//! changed meanwhile never arrives whole, whatever the store checks by itself.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::{Error, Etag, Key, Result};
use crate::digest::{Digest, Hasher};
use crate::sys::fs;

/// How much is read, and in memory, at once.
const PIECE: usize = 256 * 1024;

/// A file to send, as it was measured.
#[derive(Debug, Clone)]
pub struct Upload {
    path: PathBuf,
    size: u64,
    digest: Digest,
    shared: Vec<Shared>,
    /// Why the last stream broke off, if it was because of the file.
    failed: Arc<Mutex<Option<Error>>>,
}

/// A range of a file that lies in the store already, as a part of another object: so it was found to be, which proves
/// nothing before the store has said what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The range of the file.
    pub range: Range<u64>,
    /// The object that has it too.
    pub source: Key,
    /// That object's content.
    pub etag: Etag,
    /// Where the range begins there.
    pub from: u64,
}

/// A stream that breaks off because of its file; [`Upload::failure`] says why.
#[derive(Debug, thiserror::Error)]
#[error("the file to upload cannot be sent")]
pub struct Unsendable;

impl Upload {
    /// The file at `path`, which was measured to have this size and digest.
    pub fn new(path: &Path, size: u64, digest: Digest) -> Self {
        Self { path: path.to_owned(), size, digest, shared: Vec::new(), failed: Arc::default() }
    }

    /// Adds what of it lies in the store already, in the order of the file.
    pub fn sharing(mut self, shared: Vec<Shared>) -> Self {
        self.shared = shared;
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What of it lies in the store already, in the order of the file.
    pub fn shared(&self) -> &[Shared] {
        &self.shared
    }

    /// How many bytes will be sent.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of what will be sent.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Why the last stream broke off, if it was because of the file.
    pub fn failure(&self) -> Option<Error> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The file's bytes from the start.
    pub fn stream(&self) -> impl Stream<Item = std::result::Result<Bytes, Unsendable>> + Send + 'static {
        let reading = Reading { upload: self.clone(), file: None, hasher: Hasher::default(), is_done: false };
        try_unfold(reading, |reading| async {
            tokio::task::spawn_blocking(move || reading.next()).await.map_err(|_| Unsendable)?
        })
    }

    fn fail(&self, error: Error) -> Unsendable {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Unsendable
    }
}

struct Reading {
    upload: Upload,
    file: Option<File>,
    hasher: Hasher,
    /// Everything was read and is as measured.
    is_done: bool,
}

impl Reading {
    fn next(mut self) -> std::result::Result<Option<(Bytes, Self)>, Unsendable> {
        if self.is_done {
            return Ok(None);
        }
        match self.piece() {
            Ok(piece) if piece.is_empty() => Ok(None),
            Ok(piece) => Ok(Some((piece, self))),
            Err(error) => Err(self.upload.fail(error)),
        }
    }

    /// The next piece; the last one only if everything before and in it is as measured.
    fn piece(&mut self) -> Result<Bytes> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => fs::open(&self.upload.path)?,
        };
        let mut piece = BytesMut::zeroed(PIECE);
        let length = fill(&mut file, &mut piece).map_err(fs::failed("read", &self.upload.path))?;
        piece.truncate(length);
        self.hasher.update(&piece);
        if length < PIECE || self.hasher.length() >= self.upload.size {
            self.check(&mut file)?;
            self.is_done = true;
        }
        self.file = Some(file);
        Ok(piece.freeze())
    }

    fn check(&mut self, file: &mut File) -> Result<()> {
        let mut more = [0];
        let length = fill(file, &mut more).map_err(fs::failed("read", &self.upload.path))?;
        self.hasher.update(&more[..length]);
        let found = (self.hasher.clone().finish(), self.hasher.length());
        let expected = (self.upload.digest, self.upload.size);
        if found != expected {
            return Err(Error::file_changed(&self.upload.path, expected, found));
        }
        Ok(())
    }
}

/// Reads until the buffer is full or the file ends; gives how much was read.
pub fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    fn sent(content: &[u8], size: u64, digest: Digest) -> (std::result::Result<Vec<u8>, Unsendable>, Upload) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, content).unwrap();
        let upload = Upload::new(&path, size, digest);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let collected = upload.stream().try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        (runtime.block_on(collected), upload)
    }

    #[test]
    fn every_length_arrives_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE] {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let (all, upload) = sent(&content, length as u64, Digest::of(&content));
            assert_eq!(all.unwrap(), content, "{length}");
            assert!(upload.failure().is_none());
        }
    }

    #[test]
    fn what_differs_never_arrives_whole() {
        let content = vec![1; 2 * PIECE];
        let size = content.len() as u64;
        for (size, digest) in [
            (size, Digest::of(b"other")),
            (size - 1, Digest::of(&content[1..])),
            (size + 1, Digest::of(&content)),
            (PIECE as u64, Digest::of(&content[..PIECE])),
            (0, Digest::of(b"")),
        ] {
            let (all, upload) = sent(&content, size, digest);
            assert!(all.is_err(), "{size}");
            assert!(matches!(upload.failure(), Some(Error::FileChanged { .. })));
        }
    }

    #[test]
    fn a_file_that_is_gone_is_said_to_be() {
        let upload = Upload::new(Path::new("/nothing/here"), 1, Digest::of(b""));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(upload.stream().try_collect::<Vec<_>>()).unwrap_err();
        assert!(matches!(upload.failure(), Some(Error::Fs(_))));
    }
}
