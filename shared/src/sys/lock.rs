//! One lock file per app root, or a folder as its own lock: held through `flock`, so it is free again the moment its holder dies.
//!
//! The file's content says who holds it, why and since when; it is only for people. The kernel's lock decides.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{clock, fs};
use crate::report::human;

/// How long to wait before asking for a held lock again: a tenth of what a person notices.
const PAUSE: Duration = Duration::from_millis(50);

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
    /// Somebody else holds it, and did not let go of it in time.
    #[error("the lock is held by {} and was waited for {}", describe(.holder), human::duration(*.waited))]
    StillHeld {
        /// Who holds it now; it may have been another one before.
        holder: Option<Holder>,
        /// For how long it was waited for.
        waited: Duration,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Who holds a lock, in words: "process 12 (activate v2) since 2026-11-20T12:00:00Z".
pub fn describe(holder: &Option<Holder>) -> String {
    match holder {
        Some(h) => format!("process {} ({}) since {:.0}", h.pid, h.reason, h.since),
        None => "another process".to_owned(),
    }
}

/// A held lock; dropping it, or dying, frees it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Said, and not left to the closing of the file: a program that is just being started shares the handle until it runs.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
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
    Ok(Lock { file })
}

/// Takes the lock at `path` like [`acquire`], and waits for it for at most `limit`. Whom it waits for is told to `waits`,
/// once for each holder. The kernel frees the lock of a process that dies, so nobody waits for a dead one.
pub fn acquire_within(
    path: &Path,
    reason: &str,
    limit: Duration,
    waits: &mut dyn FnMut(&Option<Holder>),
) -> Result<Lock, Error> {
    let began = clock::monotonic();
    let mut told = None;
    loop {
        let holder = match acquire(path, reason) {
            Err(Error::Held(holder)) => holder,
            done => return done,
        };
        let waited = began.elapsed();
        if waited >= limit {
            return Err(Error::StillHeld { holder, waited: limit });
        }
        if told.as_ref() != Some(&holder) {
            waits(&holder);
            told = Some(holder);
        }
        clock::sleep(PAUSE.min(limit - waited));
    }
}

/// Who holds the lock at `path` now; none when it is free, or was never made. To try it would be to hold it for a moment,
/// and to be in the way of somebody; so the kernel is asked which locks there are. One that is held by a process that
/// cannot be seen from here (in another container) counts as free.
pub fn held_by(path: &Path) -> fs::Result<Option<Holder>> {
    let Some(mut file) = fs::if_there(fs::open(path))? else { return Ok(None) };
    let inode = file.metadata().map_err(fs::failed("look at", path))?.ino();
    let locks = fs::read_text(Path::new("/proc/locks"), 16 << 20)?;
    Ok(holder(&mut file).filter(|holder| locks.lines().any(|line| is_lock_of(line, holder.pid, inode))))
}

/// Whether a line of `/proc/locks` ("1: FLOCK  ADVISORY  WRITE 735 fe:00:131082 0 EOF") is this one. File systems differ in
/// what they say of the device, so that is not compared.
fn is_lock_of(line: &str, pid: u32, inode: u64) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", of, at, ..] = fields[..] else { return false };
    of == pid.to_string() && at.rsplit(':').next() == Some(inode.to_string().as_str())
}

/// Waits for the lock at `path`, which nobody may hold for longer than some milliseconds: it has no holder's name and
/// no time limit.
pub fn wait(path: &Path) -> fs::Result<Lock> {
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = open.map_err(fs::failed("open the lock", path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fs::failed("lock", path)(errno.into()))?;
    Ok(Lock { file })
}

/// Takes the lock of a folder itself now; None when somebody holds it. Nothing is written into it, and no name is kept.
pub fn try_folder(folder: &Path) -> fs::Result<Option<Lock>> {
    let file = fs::open(folder)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(fs::failed("lock", folder)(errno.into())),
    }
}

/// Waits for the lock of a folder itself, which nobody may hold for long.
pub fn wait_folder(folder: &Path) -> fs::Result<Lock> {
    let file = fs::open(folder)?;
    flock(&file, FlockOperation::LockExclusive).map_err(|errno| fs::failed("lock", folder)(errno.into()))?;
    Ok(Lock { file })
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

    #[test]
    fn who_waits_is_told_for_whom_once_and_gets_it_when_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = acquire(&path, "activate v2").unwrap();
        let mut told = Vec::new();
        let (mut first, limit) = (Some(first), Duration::from_secs(60));
        acquire_within(&path, "fetch v3", limit, &mut |holder| {
            told.push(holder.as_ref().unwrap().reason.clone());
            first.take();
        })
        .unwrap();
        assert_eq!(told, ["activate v2"]);
    }

    #[test]
    fn waiting_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _first = acquire(&path, "activate v2").unwrap();
        let waited = acquire_within(&path, "fetch v3", Duration::from_millis(60), &mut |_| ()).unwrap_err();
        let text = waited.to_string();
        assert!(text.contains("(activate v2)") && text.ends_with("and was waited for 60 ms"), "{text}");
    }

    #[test]
    fn looking_at_who_holds_it_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(held_by(&path).unwrap(), None);
        let first = acquire(&path, "activate v2").unwrap();
        assert_eq!(held_by(&path).unwrap().unwrap().reason, "activate v2");
        drop(first);
        assert_eq!(held_by(&path).unwrap(), None);
    }
}
