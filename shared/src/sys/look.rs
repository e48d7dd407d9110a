//! What the file system says of a file without reading it; enough to see later that nobody wrote to it.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{FileType, Stat};

/// Seconds since 1970 and nanoseconds, as the file system keeps them.
pub type Moment = (i64, u32);

/// How a file looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Its number on its file system.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Its kind and permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
    /// When its content was last written, or what somebody set this to.
    pub modified: Moment,
    /// When anything of it last changed: content, mode, owner, names, and the moment above. The kernel sets it; nobody
    /// else can without setting the clock.
    pub changed: Moment,
}

impl Look {
    /// Of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self::from(&meta))
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }

    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match FileType::from_raw_mode(self.mode) {
            FileType::Symlink => "a link",
            FileType::Directory => "a folder",
            FileType::RegularFile => "a file",
            _ => "something special",
        }
    }

    /// Its permission bits.
    pub fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }
}

impl From<&Metadata> for Look {
    fn from(meta: &Metadata) -> Self {
        Self {
            inode: meta.ino(),
            size: meta.size(),
            mode: meta.mode(),
            owner: meta.uid(),
            modified: (meta.mtime(), meta.mtime_nsec() as u32),
            changed: (meta.ctime(), meta.ctime_nsec() as u32),
        }
    }
}

// The widths of the fields differ between machines.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<&Stat> for Look {
    fn from(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mode: stat.st_mode as u32,
            owner: stat.st_uid,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::super::dir::Dir;
    use super::super::fs::{set_mode, symlink};
    use super::*;

    #[test]
    fn both_ways_of_looking_see_the_same() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let mut file = dir.cursor().create("f", 0o644).unwrap();
        file.write_all(b"content").unwrap();
        let look = Look::of(&file).unwrap();
        assert_eq!(dir.cursor().look("f").unwrap(), look);
        assert!(look.is_file());
        assert_eq!((look.size, look.permissions()), (7, 0o644));
        symlink(std::path::Path::new("f"), &root.path().join("l")).unwrap();
        assert!(!dir.cursor().look("l").unwrap().is_file());
    }

    #[test]
    fn a_write_shows_even_if_the_time_of_writing_is_set_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let mut file = dir.cursor().create("f", 0o644).unwrap();
        file.write_all(b"one").unwrap();
        let before = Look::of(&file).unwrap();
        let meta = file.metadata().unwrap();
        // Kernels before 6.13 count these times in steps of up to 10 ms.
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::os::unix::fs::FileExt::write_all_at(&file, b"two", 0).unwrap();
        file.set_modified(meta.modified().unwrap()).unwrap();
        let after = Look::of(&file).unwrap();
        assert_eq!((after.size, after.modified), (before.size, before.modified));
        assert_ne!(after.changed, before.changed);
        set_mode(&root.path().join("f"), 0o600).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, Look::of(&file).unwrap().permissions());
    }
}
