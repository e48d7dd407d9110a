//! Whether the disk has room for a release: asked before the first file is made, so that a full disk changes nothing.

use std::path::{Path, PathBuf};

use pannier_shared::report::human;
use pannier_shared::sys::fs;

use crate::plan::Needs;

/// The disk is too full.
#[derive(Debug, thiserror::Error)]
#[error("not enough room: {needed} needed, {free} free on the file system of `{}`", .path.display())]
pub struct NoRoom {
    /// A path on it.
    pub path: PathBuf,
    /// Bytes or files.
    pub needed: String,
    /// Bytes or files.
    pub free: String,
}

impl NoRoom {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        format!("see what takes it: `df -h {0}; df -i {0}`", self.path.display())
    }
}

/// Compares what is needed, and 3 % more for the file system's own books, with what is `free` where `path` lies; gives
/// the bytes it counted with.
pub fn check(path: &Path, needs: Needs, free: fs::Room) -> Result<u64, NoRoom> {
    let more = |needed: u64| needed.saturating_add(needed / 32);
    let (bytes, inodes) = (more(needs.bytes), more(needs.inodes).saturating_add(16));
    let no_room = |needed, free| Err(NoRoom { path: path.to_owned(), needed, free });
    let files = |count| format!("{} files", human::number(count));
    if free.bytes < bytes {
        no_room(human::bytes(bytes), human::bytes(free.bytes))
    } else if free.inodes < inodes {
        no_room(files(inodes), files(free.inodes))
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_says_what_is_needed() {
        let needs = Needs { bytes: 1_000_000, inodes: 100 };
        let check = |bytes, inodes| check(Path::new("/srv/polls"), needs, fs::Room { bytes, inodes });
        assert_eq!(check(2_000_000, u64::MAX).unwrap(), 1_031_250);
        insta::assert_snapshot!(check(900_000, 500).unwrap_err(), @"not enough room: 1.0 MB needed, 900.0 kB free on the file system of `/srv/polls`");
        insta::assert_snapshot!(check(2_000_000, 100).unwrap_err(), @"not enough room: 119 files needed, 100 files free on the file system of `/srv/polls`");
    }
}
