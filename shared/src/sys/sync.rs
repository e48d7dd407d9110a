//! Sync: what was written is on the disk, or somebody is told that it is not. Once: a kernel that could not write a page
//! reports that one time and may then take the page for clean, so that a second sync says nothing of it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::fs::{Result, failed, open};

/// `fsync`. `File::sync_all` makes an interrupted one again, which is then told nothing of an error that the first one has
/// used up.
pub(super) fn flush(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fsync(file)?)
}

/// `fdatasync`.
pub(super) fn flush_data(file: &File) -> io::Result<()> {
    Ok(rustix::fs::fdatasync(file)?)
}

/// Makes the entries of a directory durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    flush(&open(dir)?).map_err(failed("fsync", dir))
}

/// A file system, held from before the first write that is to be durable. One that is only opened for the sync is not told
/// of an error that a sync by somebody else on the machine was told of before.
#[derive(Debug)]
pub struct FileSystem {
    handle: File,
    path: PathBuf,
}

impl FileSystem {
    /// The one that `path` lies on.
    pub fn of(path: &Path) -> Result<Self> {
        Ok(Self { handle: open(path)?, path: path.to_owned() })
    }

    /// Makes everything on it durable: one `syncfs` instead of an fsync per file (measured: 2 s against 93 s for 11,000 files
    /// on ext4). Kernels since 5.8 report write errors here, each of them once.
    pub fn sync(&self) -> Result<()> {
        let synced = rustix::fs::syncfs(&self.handle);
        synced.map_err(|errno| failed("sync the file system of", &self.path)(errno.into()))
    }
}
