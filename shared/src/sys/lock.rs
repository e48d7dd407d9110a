//! One lock file per app root, or a folder as its own lock: held through `flock`, so it is free again the moment its holder dies.
//!
//! The file's content says who holds it, why and since when; it is only for people. The kernel's lock decides.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{clock, fs};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What it is doing: "activate v2".
    pub reason: String,
    /// Since when (UTC).
    pub since: jiff::Timestamp,
}

/// A lock that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds it.
    #[error("the lock is held by {}", describe(.0))]
    Held(Option<Holder>),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

fn describe(holder: &Option<Holder>) -> String {
    match holder {
        Some(h) => format!("process {} ({}) since {}", h.pid, h.reason, h.since),
        None => "another process".to_owned(),
    }
}

/// A held lock; dropping it, or dying, frees it.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock at `path` now, or says who has it.
pub fn acquire(path: &Path, reason: &str) -> Result<Lock, Error> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(fs::failed("open the lock", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Held(holder(&mut file))),
        Err(errno) => return Err(fs::failed("lock", path)(errno.into()).into()),
    }
    let me = Holder { pid: std::process::id(), reason: reason.to_owned(), since: clock::now() };
    let text = serde_json::to_vec(&me).unwrap_or_default();
    let write = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text));
    write.map_err(fs::failed("write the lock", path))?;
    Ok(Lock { _file: file })
}

/// Waits for the lock at `path`, which nobody may hold for longer than some milliseconds: it has no holder's name and
/// no time limit.
pub fn wait(path: &Path) -> fs::Result<Lock> {
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(fs::failed("open the lock", path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fs::failed("lock", path)(errno.into()))?;
    Ok(Lock { _file: file })
}

/// Takes the lock of a folder itself now; None when somebody holds it. Nothing is written into it, and no name is kept.
pub fn try_folder(folder: &Path) -> fs::Result<Option<Lock>> {
    let file = fs::open(folder)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(fs::failed("lock", folder)(errno.into())),
    }
}

/// Waits for the lock of a folder itself, which nobody may hold for long.
pub fn wait_folder(folder: &Path) -> fs::Result<Lock> {
    let file = fs::open(folder)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fs::failed("lock", folder)(errno.into()))?;
    Ok(Lock { _file: file })
}

fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = acquire(&path, "activate v2").unwrap();
        let error = acquire(&path, "fetch v3").unwrap_err();
        assert!(error.to_string().contains("activate v2"), "{error}");
        drop(first);
        acquire(&path, "fetch v3").unwrap();
    }
}
