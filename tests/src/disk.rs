//! Disks of a few MiB, mounted for one test: a tmpfs, or an ext4 or XFS in a file. Mounting takes root; elsewhere a test
//! that needs one says that it is skipped.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pannier_shared::sys::fs;

use crate::said;

/// A mounted disk; it is unmounted when dropped.
#[derive(Debug)]
pub struct Disk(PathBuf);

/// A file system that a power cut can be played on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4, which has no clones.
    Ext4,
    /// XFS, which has.
    Xfs,
}

impl Kind {
    /// Its name, as `mount` knows it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext4 => "ext4",
            Kind::Xfs => "xfs",
        }
    }
}

/// A disk in a file, that can be mounted again and again.
#[derive(Debug)]
pub struct Image {
    file: PathBuf,
    kind: Kind,
}

impl Image {
    /// Makes an empty disk of `mib` MiB in `file`; `more` goes to `mkfs`. XFS wants 300 MiB.
    pub fn make(file: &Path, kind: Kind, mib: u64, more: &[&str]) -> Result<Self, String> {
        std::fs::File::create(file).unwrap().set_len(mib << 20).unwrap();
        let mut command = Command::new(format!("/usr/sbin/mkfs.{}", kind.name()));
        // Nothing is left for `mount` to do in the background.
        let quick: &[&str] = if kind == Kind::Ext4 { &["-E", "lazy_itable_init=0,lazy_journal_init=0"] } else { &[] };
        done(command.arg("-q").args(quick).args(more).arg(file))?;
        Ok(Self::of(file, kind))
    }

    /// The disk that lies in `file` already.
    pub fn of(file: &Path, kind: Kind) -> Self {
        Self { file: file.to_owned(), kind }
    }

    /// Mounts it.
    pub fn mount(&self, at: &Path) -> Result<Disk, String> {
        std::fs::create_dir_all(at).unwrap();
        done(Command::new("mount").args(["-o", "loop", "-t", self.kind.name()]).arg(&self.file).arg(at))?;
        Ok(Disk(at.to_owned()))
    }
}

impl Disk {
    /// A tmpfs with these options; none, with a word about it, where mounting is not permitted.
    pub fn tmpfs(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        match done(Command::new("mount").args(["-t", "tmpfs", "-o", options, "pannier-test"]).arg(at)) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(why) => {
                // Not by `println`, which nobody sees of a test that passes.
                let _ = writeln!(std::io::stderr(), "skipped: a tmpfs cannot be mounted here: {why}");
                None
            }
        }
    }

    /// Takes room until so many bytes are left.
    pub fn leave_bytes(&self, bytes: u64) {
        let free = fs::room(&self.0).unwrap().bytes;
        let length = free.saturating_sub(bytes);
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        std::io::copy(&mut std::io::repeat(0).take(length), &mut file).unwrap();
    }

    /// Takes inodes until so many are left.
    pub fn leave_inodes(&self, inodes: u64) {
        let folder = self.0.join("fillers");
        std::fs::create_dir(&folder).unwrap();
        let free = fs::room(&self.0).unwrap().inodes;
        (0..free.saturating_sub(inodes))
            .for_each(|at| drop(std::fs::File::create(folder.join(at.to_string())).unwrap()));
    }

    /// Takes all room that is left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Takes all inodes that are left.
    pub fn fill_inodes(&self) {
        let folder = self.0.join("fillers");
        let _ = std::fs::create_dir(&folder);
        (0u32..).take_while(|at| std::fs::File::create(folder.join(at.to_string())).is_ok()).for_each(drop);
    }

    /// Gives back what was taken.
    pub fn relieve(&self) {
        let _ = std::fs::remove_file(self.0.join("filler"));
        let _ = std::fs::remove_dir_all(self.0.join("fillers"));
    }

    /// Cuts the power: what the disk does not have by now it never gets. With `log` the file system's own log still
    /// goes out, without the data that it speaks of.
    pub fn cut(&self, log: Log) -> Result<(), String> {
        let shutdown = if log == Log::Flushed { "shutdown -f" } else { "shutdown" };
        done(Command::new("/usr/sbin/xfs_io").args(["-x", "-c", shutdown]).arg(&self.0))
    }

    /// Unmounts it, which must succeed: nothing may use it any more.
    pub fn unmount(self) -> Result<(), String> {
        let at = self.0.clone();
        std::mem::forget(self);
        for _ in 0..200 {
            if done(Command::new("umount").arg(&at)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        done(Command::new("umount").arg(&at))
    }
}

/// What becomes of a file system's log in a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// It reaches the disk.
    Flushed,
    /// It is lost.
    Lost,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn done(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", said(&output))),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}
