//! Unpack: proven frames become files in a staging folder.
//!
//! Folders were made before (`reuse`) and links are made last, so that frames can be written in any order by any number
//! of threads and no file is ever written through a link. All goes through one directory handle that nothing can leave.
//! Only the wanted files of a frame are written; the others are there already. Each file is hashed against its row: a
//! digest that others will rely on when they reuse the file is never taken on trust.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use pannier_shared::archive::frame::Decoder;
use pannier_shared::archive::read::{self, Body, Contents, Frame};
use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest::Digest;
use pannier_shared::sys::clock;
use pannier_shared::sys::dir::{Cursor, Dir};
use pannier_shared::sys::fs;
use pannier_shared::sys::look::Look;

use crate::ledger::Hashed;
use crate::plan::Wanted;

mod split;

use split::Split;

/// A file whose content is not what its row says.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` has another content than its table says: expected sha256 {expected}, found {found}")]
pub struct WrongContent {
    /// The file.
    pub path: String,
    /// From the table.
    pub expected: Digest,
    /// Of what the frames hold.
    pub found: Digest,
}

/// Why a frame was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The frame is not what the table says.
    #[error(transparent)]
    Archive(#[from] read::Error),
    /// A file in it is not what the table says.
    #[error(transparent)]
    Content(WrongContent),
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Writes one release's tree.
pub struct Unpacker<'a> {
    staging: &'a Dir,
    contents: &'a Contents,
    wanted: &'a Wanted,
    /// Files whose frames have not all come yet.
    open: Mutex<HashMap<String, Arc<Split>>>,
    /// When this is, for the ledger.
    now: i64,
    hashed: Mutex<Vec<Hashed>>,
}

impl<'a> Unpacker<'a> {
    /// Will write the wanted files below `staging`, which has all folders and all other files.
    pub fn new(staging: &'a Dir, contents: &'a Contents, wanted: &'a Wanted) -> Self {
        let now = clock::now().as_second();
        let hashed = Mutex::new(Vec::with_capacity(wanted.count()));
        Self { staging, contents, wanted, open: Mutex::default(), now, hashed }
    }

    /// Where it writes.
    pub fn staging(&self) -> &Dir {
        self.staging
    }

    /// The files it writes.
    pub fn wanted(&self) -> &Wanted {
        self.wanted
    }

    /// A writer of frames; each thread has its own.
    pub fn writer(&self) -> Writer<'_> {
        Writer { unpacker: self, cursor: self.staging.cursor(), decoder: Decoder::default() }
    }

    /// Makes the links; the tree is then whole. Gives what the ledger should know of its files.
    pub fn end(self) -> Result<Vec<Hashed>, Error> {
        let mut cursor = self.staging.cursor();
        for link in self.contents.links() {
            cursor.create_symlink(&link.target, &link.path)?;
        }
        Ok(self.hashed.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn body(&self, body: &Body, cursor: &mut Cursor) -> Result<(), Error> {
        let row = body.file;
        if body.bytes.len() as u64 == row.size {
            let mut file = cursor.create(&row.path, row.mode())?;
            file.write_all(body.bytes).map_err(self.failed("write", row))?;
            return self.check(row, &file, Digest::of(body.bytes));
        }
        let split = self.split(row, cursor)?;
        if let Some(found) = split.write(body.bytes, body.offset).map_err(self.failed("write", row))? {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(row.path.as_str());
            self.check(row, split.file(), found)?;
        }
        Ok(())
    }

    /// Holds what was written against the file's row, and remembers how it looks.
    fn check(&self, row: &FileRow, file: &File, found: Digest) -> Result<(), Error> {
        if found != row.sha256 {
            return Err(Error::Content(WrongContent { path: row.path.clone(), expected: row.sha256, found }));
        }
        let look = Look::of(file).map_err(self.failed("look at", row))?;
        let hashed = Hashed { look, sha256: row.sha256, at: self.now };
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).push(hashed);
        Ok(())
    }

    /// The open file of a row that is spread over frames; the first part to come makes it.
    fn split(&self, row: &FileRow, cursor: &mut Cursor) -> Result<Arc<Split>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(split) = open.get(row.path.as_str()) {
            return Ok(split.clone());
        }
        let split = Arc::new(Split::new(cursor.create(&row.path, row.mode())?, row.size));
        open.insert(row.path.clone(), split.clone());
        Ok(split)
    }

    fn failed(&self, op: &'static str, row: &FileRow) -> impl FnOnce(std::io::Error) -> fs::Error {
        let path = self.staging.path().join(&row.path);
        move |source| fs::Error { op, path, source }
    }
}

/// Writes frames of one release, one after the other.
pub struct Writer<'a> {
    unpacker: &'a Unpacker<'a>,
    cursor: Cursor<'a>,
    decoder: Decoder,
}

impl Writer<'_> {
    /// Proves and decodes a frame and writes what it holds. Any thread, any order, each frame once.
    pub fn frame(&mut self, frame: &Frame, compressed: &[u8]) -> Result<(), Error> {
        let Self { unpacker, cursor, decoder } = self;
        let open = unpacker.contents.open_frame(frame, compressed, decoder)?;
        open.bodies()
            .filter(|body| unpacker.wanted.contains(body.number))
            .try_for_each(|body| unpacker.body(&body, cursor))
    }
}
