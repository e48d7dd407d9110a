//! Whether the disk has room for a release: asked before the first file is made, so that a full disk changes nothing.

use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;

use crate::plan::Needs;
use crate::prune::{Decision, Size, Verdict};

/// The disk is too full.
#[derive(Debug, thiserror::Error)]
#[error("not enough room on the file system of `{}`: {needed} needed, {free} free", .path.display())]
pub struct NoRoom {
    /// A path on it.
    pub path: PathBuf,
    /// What is needed.
    pub needed: Size,
    /// What is free.
    pub free: Size,
    /// Releases that a person may remove: nothing uses them.
    pub removable: Vec<Decision>,
}

impl NoRoom {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        let removable = self.removable.iter().filter_map(|decision| match &decision.verdict {
            Verdict::Goes(size) => Some(format!("`{}` ({size})", decision.version)),
            _ => None,
        });
        let removable = removable.collect::<Vec<_>>().join(", ");
        let path = self.path.display();
        let look = format!("see what takes it: `df -h {path}; df -i {path}`");
        match removable.is_empty() {
            true => look,
            false => format!("remove by hand, below `{path}/releases`, what is not needed of {removable}; or {look}"),
        }
    }

    /// Whether there is enough when this is free too.
    pub fn would_be_over_with(&self, more: Size) -> bool {
        let bytes = self.free.bytes.saturating_add(more.bytes);
        let inodes = self.free.inodes.saturating_add(more.inodes);
        bytes >= self.needed.bytes && inodes >= self.needed.inodes
    }
}

/// Compares what is needed, and 3 % more for the file system's own books, with what is `free` where `path` lies; gives
/// the bytes it counted with.
pub fn check(path: &Path, needs: Needs, free: fs::Room) -> Result<u64, Box<NoRoom>> {
    let more = |needed: u64| needed.saturating_add(needed / 32);
    let needed = Size { bytes: more(needs.bytes), inodes: more(needs.inodes).saturating_add(16) };
    if free.bytes >= needed.bytes && free.inodes >= needed.inodes {
        return Ok(needed.bytes);
    }
    let free = Size { bytes: free.bytes, inodes: free.inodes };
    Err(Box::new(NoRoom { path: path.to_owned(), needed, free, removable: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_says_what_is_needed() {
        let needs = Needs { bytes: 1_000_000, inodes: 100 };
        let check = |bytes, inodes| check(Path::new("/srv/polls"), needs, fs::Room { bytes, inodes });
        assert_eq!(check(2_000_000, u64::MAX).unwrap(), 1_031_250);
        insta::assert_snapshot!(check(900_000, 500).unwrap_err(), @"not enough room on the file system of `/srv/polls`: 1,031,250 bytes and 119 files needed, 900,000 bytes and 500 files free");
        let mut few = check(2_000_000, 100).unwrap_err();
        insta::assert_snapshot!(few, @"not enough room on the file system of `/srv/polls`: 1,031,250 bytes and 119 files needed, 2,000,000 bytes and 100 files free");
        assert!(
            !few.would_be_over_with(Size { bytes: 0, inodes: 18 })
                && few.would_be_over_with(Size { bytes: 0, inodes: 19 })
        );
        insta::assert_snapshot!(few.hint(), @"see what takes it: `df -h /srv/polls; df -i /srv/polls`");
        let verdict = Verdict::Goes(Size { bytes: 4096, inodes: 1 });
        few.removable = vec![Decision { version: "v1".parse().unwrap(), verdict }];
        insta::assert_snapshot!(few.hint(), @"remove by hand, below `/srv/polls/releases`, what is not needed of `v1` (4,096 bytes and 1 files); or see what takes it: `df -h /srv/polls; df -i /srv/polls`");
    }
}
