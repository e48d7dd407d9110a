//! What removing releases would give back to the disk: a file that another release shares by a hard link gives nothing.
//!
//! Blocks that clones share (XFS, btrfs) are counted as if they were free then, because only the file system knows: it is
//! an upper bound there, and exact elsewhere.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use pannier_shared::report::human;
use pannier_shared::sys::fs;
use serde::Serialize;

/// Room on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Bytes, in whole blocks.
    pub bytes: u64,
    /// Files, folders and links.
    pub inodes: u64,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes and {} files", human::number(self.bytes), human::number(self.inodes))
    }
}

/// What is free once all of `trees` are gone, that is not now.
pub fn freed<'a>(trees: impl IntoIterator<Item = &'a Path>) -> fs::Result<Size> {
    let mut size = Size::default();
    // Names found so far of each file that has more than one.
    let mut shared: HashMap<u64, u64> = HashMap::new();
    let mut folders: Vec<PathBuf> = trees.into_iter().map(Path::to_owned).collect();
    while let Some(folder) = folders.pop() {
        size.add(fs::lstat(&folder)?.blocks());
        for name in fs::list(&folder)? {
            let path = folder.join(name);
            let meta = fs::lstat(&path)?;
            if meta.is_dir() {
                folders.push(path);
            } else {
                let names = shared.entry(meta.ino()).or_default();
                *names += 1;
                if *names == meta.nlink() {
                    size.add(meta.blocks());
                }
            }
        }
    }
    Ok(size)
}

impl Size {
    /// Adds one file of so many blocks of 512 bytes.
    fn add(&mut self, blocks: u64) {
        *self = Self { bytes: self.bytes + blocks * 512, inodes: self.inodes + 1 };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests lay out trees by hand")]

    use super::*;

    #[test]
    fn what_is_shared_with_what_stays_frees_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        for tree in [&a, &b] {
            std::fs::create_dir(tree).unwrap();
            std::fs::write(tree.join("own"), [1; 5000]).unwrap();
        }
        std::fs::write(a.join("shared"), [1; 5000]).unwrap();
        std::fs::hard_link(a.join("shared"), b.join("shared")).unwrap();
        let blocks = |path: &Path| path.symlink_metadata().unwrap().blocks() * 512;
        let of = |trees: &[&PathBuf]| freed(trees.iter().map(|tree| tree.as_path())).unwrap();
        assert_eq!(of(&[&a]), Size { bytes: blocks(&a) + blocks(&a.join("own")), inodes: 2 });
        let both = of(&[&a]).bytes + of(&[&b]).bytes + blocks(&a.join("shared"));
        assert_eq!(of(&[&a, &b]), Size { bytes: both, inodes: 5 });
        assert_eq!(Size { bytes: 1_234_567, inodes: 1_000 }.to_string(), "1,234,567 bytes and 1,000 files");
    }
}
