//! One file of a release on the node, given to the new one: seen or hashed, then shared.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;

use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest::{self, Digest, HashingWriter};
use pannier_shared::sys::dir::Cursor;
use pannier_shared::sys::fs::{self, Tail};
use pannier_shared::sys::look::Look;

use super::{LARGE, Method, Task};
use crate::ledger::{Hashed, Ledger};
use crate::plan::Kind;
use crate::verify::Damage;

/// Why a file was not shared.
#[derive(Debug)]
pub enum NotShared {
    /// The source does not hold what its table says.
    Damage(Damage),
    /// The new file could not be made.
    Fs(fs::Error),
    /// Its folder could not be made, which is said elsewhere.
    NoFolders,
}

impl From<fs::Error> for NotShared {
    fn from(error: fs::Error) -> Self {
        Self::Fs(error)
    }
}

impl From<Damage> for NotShared {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A source that looks like what its table says.
pub enum Source {
    /// Hashed before, and unchanged since: how it looks, and when it was hashed.
    Known(Look, i64),
    /// To be hashed.
    Open(File, Look),
}

/// What each thread has of its own.
pub struct Hands<'a> {
    /// Where files are made.
    pub staging: Cursor<'a>,
    /// The releases' trees, to look for sources in.
    pub trees: Vec<Option<Cursor<'a>>>,
    /// The same, to link from: sources are looked for some time before they are used, and each has its own folder open.
    pub sources: Vec<Option<Cursor<'a>>>,
    /// How they are shared.
    pub method: Method,
    /// Set when the folders are made, or cannot be.
    pub folders: &'a OnceLock<bool>,
    /// What was hashed before.
    pub ledger: &'a Ledger,
    /// Whose the files must be.
    pub user: u32,
    /// What is hashed now is hashed at this time.
    pub now: i64,
    /// To read through.
    pub buffer: Vec<u8>,
    /// How many files were hashed.
    pub read: u64,
    /// What was found to be right.
    pub hashed: Vec<Hashed>,
}

impl Hands<'_> {
    /// Looks for a task's source.
    pub fn find(&mut self, task: &Task) -> Result<Source, NotShared> {
        match self.recall(task)? {
            Some(known) => Ok(known),
            None => self.open(task).map(|(file, look)| Source::Open(file, look)),
        }
    }

    /// Makes a task's file from its source.
    pub fn make(&mut self, task: &Task, source: Source) -> Result<(), NotShared> {
        let (file, look) = match source {
            Source::Open(file, look) => (file, look),
            Source::Known(look, at) => {
                self.await_folders()?;
                if self.share_known(task, &look, at)? {
                    return Ok(());
                }
                self.open(task)?
            }
        };
        self.prove(task, &file)?;
        self.await_folders()?;
        match self.share(task, &file)? {
            true if self.note(task, &look, self.now)? => Ok(()),
            // Somebody writes to it.
            true => Err(Damage::Changed.into()),
            false => self.copy(&file, task.row),
        }
    }

    fn await_folders(&self) -> Result<(), NotShared> {
        if *self.folders.wait() { Ok(()) } else { Err(NotShared::NoFolders) }
    }

    fn recall(&mut self, task: &Task) -> Result<Option<Source>, NotShared> {
        let look = tree(&mut self.trees, task)?.look(&task.place.path).map_err(unopened)?;
        self.check(&look, task)?;
        // What a fetch left was not made durable: however it looks, it is read.
        let at = self.ledger.knows(&look, &task.row.sha256).filter(|_| task.kind == Kind::Release);
        Ok(at.map(|at| Source::Known(look, at)))
    }

    fn open(&mut self, task: &Task) -> Result<(File, Look), NotShared> {
        let file = tree(&mut self.trees, task)?.open_file(&task.place.path).map_err(unopened)?;
        let look = Look::of(&file).map_err(unreadable)?;
        self.check(&look, task)?;
        fs::will_read(&file, task.row.size.min(LARGE));
        Ok((file, look))
    }

    /// Kind, mode, owner and size must be what the file's table says.
    fn check(&self, look: &Look, task: &Task) -> Result<(), Damage> {
        if !look.is_file() {
            return Err(Damage::Kind { expected: "a file", found: look.kind() });
        }
        let (expected, found) = (if task.place.executable { 0o755 } else { 0o644 }, look.permissions());
        if found != expected {
            return Err(Damage::mode(expected, found));
        }
        if look.owner != self.user {
            return Err(Damage::Owner { uid: look.owner });
        }
        if look.size == task.row.size { Ok(()) } else { Err(Damage::Changed) }
    }

    /// Proves that an open file has the content its table says.
    fn prove(&mut self, task: &Task, file: &File) -> Result<(), Damage> {
        self.read += 1;
        let content = Tail::new(file, 0).take(task.row.size);
        let found = digest::of_reader_through(content, &mut self.buffer).map_err(unreadable)?;
        if found == (task.row.sha256, task.row.size) { Ok(()) } else { Err(Damage::Changed) }
    }

    /// Shares what need not be read again; false when it must be, because it cannot be shared that way or is no longer
    /// what it was a moment ago.
    fn share_known(&mut self, task: &Task, look: &Look, at: i64) -> Result<bool, NotShared> {
        let Task { row, place, .. } = task;
        let from = tree(&mut self.sources, task)?;
        let shared = match self.method {
            Method::Link => is_linkable(task) && self.staging.link_name(from, &place.path, &row.path)?,
            Method::Clone => {
                let file = from.open_file(&place.path).map_err(unopened)?;
                Look::of(&file).is_ok_and(|now| now == *look)
                    && self.staging.clone_file(&file, &row.path, row.mode()).is_ok()
            }
        };
        Ok(shared && self.note(task, look, at)?)
    }

    fn share(&mut self, task: &Task, file: &File) -> Result<bool, NotShared> {
        let row = task.row;
        match self.method {
            Method::Clone => Ok(self.staging.clone_file(file, &row.path, row.mode()).is_ok()),
            Method::Link if is_linkable(task) => Ok(self.staging.link_file(file, &row.path)?),
            Method::Link => Ok(false),
        }
    }

    /// Remembers how the new file looks; `before` is how its source looked. A link that is not to that very file, or to
    /// one that was written to, is taken away again.
    fn note(&mut self, task: &Task, before: &Look, at: i64) -> Result<bool, NotShared> {
        let look = self.staging.look(&task.row.path)?;
        let same = self.method == Method::Clone || is_still(&look, before);
        match same {
            true => self.hashed.push(Hashed { look, sha256: task.row.sha256, at }),
            false => self.staging.remove_file(&task.row.path)?,
        }
        Ok(same)
    }

    /// Copies a file that cannot be shared. What is copied is hashed once more: it is read a second time.
    fn copy(&mut self, file: &File, row: &FileRow) -> Result<(), NotShared> {
        let path = self.staging.path().join(&row.path);
        let mut out = HashingWriter::new(self.staging.create(&row.path, row.mode())?);
        io::copy(&mut Tail::new(file, 0), &mut out).map_err(fs::failed("copy to", &path))?;
        let found: Digest = out.finish().1;
        if found == row.sha256 {
            return Ok(());
        }
        self.staging.remove_file(&row.path)?;
        Err(Damage::Changed.into())
    }
}

/// The tree that a task's source lies in; one that cannot be opened has none of its files.
fn tree<'t, 'a>(trees: &'t mut [Option<Cursor<'a>>], task: &Task) -> Result<&'t mut Cursor<'a>, Damage> {
    trees[task.place.release].as_mut().ok_or(Damage::Missing)
}

/// The mode belongs to the file and not to its name.
fn is_linkable(task: &Task) -> bool {
    task.place.executable == task.row.executable
}

/// Whether a file that got one more name is the one that looked like `before`, and was not written to.
fn is_still(now: &Look, before: &Look) -> bool {
    Look { changed: before.changed, ..*now } == *before
}

fn unreadable(why: io::Error) -> Damage {
    Damage::Unreadable { why: why.to_string() }
}

fn unopened(error: fs::Error) -> Damage {
    if error.is_not_found() { Damage::Missing } else { unreadable(error.source) }
}
