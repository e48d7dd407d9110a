//! What the file system below a folder can do, tried out there and not guessed from its name.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, StatVfsMountFlags};

use super::dir::Dir;
use super::fs::{self, Result, failed};

/// What was tried, and whether it worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// A rename that never replaces anything.
    pub renames_in_place: bool,
    /// Two names that change places in one step.
    pub exchanges: bool,
    /// A second name for a file.
    pub hard_links: bool,
    /// Files that share their blocks until one is written to.
    pub clones: bool,
    /// Files without a name.
    pub unnamed: bool,
    /// Everything made durable by one call.
    pub syncs: bool,
    /// Programs can be started from it: it is not mounted `noexec`.
    pub executes: bool,
}

/// Tries everything in a folder of its own below `folder`, and removes it again.
pub fn of(folder: &Path) -> Result<Features> {
    let mounted = rustix::fs::statvfs(folder).map_err(|errno| failed("look at the mount of", folder)(errno.into()))?;
    let place = folder.join(format!("probe~{}", fs::random_name()));
    fs::create_dir(&place)?;
    let tried = tried(&place, !mounted.f_flag.contains(StatVfsMountFlags::NOEXEC));
    fs::remove_tree(&place)?;
    tried
}

fn tried(place: &Path, executes: bool) -> Result<Features> {
    let (a, b) = (place.join("a"), place.join("b"));
    for folder in [&a, &b] {
        fs::create_dir(folder)?;
    }
    fs::write(&place.join("file"), b"1")?;
    let dir = Dir::open(place)?;
    let renames_in_place = rename(&a, &place.join("c"), RenameFlags::NOREPLACE).is_ok()
        && rename(&place.join("c"), &b, RenameFlags::NOREPLACE)
            .is_err_and(|e| e.kind() == io::ErrorKind::AlreadyExists);
    Ok(Features {
        renames_in_place,
        exchanges: rename(&place.join("file"), &b, RenameFlags::EXCHANGE).is_ok(),
        hard_links: std::fs::hard_link(place.join("b"), place.join("link")).is_ok(),
        clones: dir.can_clone(),
        unnamed: rustix::fs::openat(dir.as_fd(), ".", OFlags::RDWR | OFlags::TMPFILE, Mode::RUSR).is_ok(),
        syncs: fs::FileSystem::of(place).is_ok_and(|disk| disk.sync().is_ok()),
        executes,
    })
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(CWD, from, CWD, to, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_for_tests_can_do_what_a_node_needs_and_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let found = of(dir.path()).unwrap();
        assert!(found.renames_in_place && found.syncs && found.executes, "{found:?}");
        assert!(fs::list(dir.path()).unwrap().is_empty());
        assert!(of(&dir.path().join("none")).is_err());
    }
}
