//! A folder to make files in that nothing can be made outside of, whatever else happens on the disk; new files, and files
//! that share what others hold.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::fs::{Error, Result, failed};

/// An open directory below which files are made: no path given to it can leave it, and no symlink is ever followed
/// (`openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, O_EXCL and O_NOFOLLOW), whatever else happens on the disk.
#[derive(Debug)]
pub struct Dir {
    handle: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens an existing directory.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
        let handle = rustix::fs::open(path, flags, Mode::empty());
        let handle = handle.map_err(|errno| failed("open the folder", path)(errno.into()))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new file below it with exactly this mode, whatever the umask.
    pub fn create(&self, relative: &str, mode: u32) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(self.open_beneath(relative, flags, Mode::from_raw_mode(mode))?);
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
            .map_err(|e| self.failed("set the mode of", relative, e))?;
        Ok(file)
    }

    /// Opens a regular file below it for reading.
    pub fn open_file(&self, relative: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(self.open_beneath(relative, flags, Mode::empty())?))
    }

    /// Makes a new directory below it, mode 0755 whatever the umask.
    pub fn create_dir(&self, relative: &str) -> Result<()> {
        let (above, name) = split(relative);
        let within = self.dir_beneath(above)?;
        let mode = Mode::from_raw_mode(0o755);
        let made = rustix::fs::mkdirat(&within, name, mode);
        made.map_err(|errno| self.failed("create the folder", relative, errno))?;
        let made = rustix::fs::chmodat(&within, name, mode, AtFlags::empty());
        made.map_err(|errno| self.failed("set the mode of", relative, errno))
    }

    /// Makes a new symlink below it.
    pub fn create_symlink(&self, target: &str, relative: &str) -> Result<()> {
        let (above, name) = split(relative);
        let within = self.dir_beneath(above)?;
        let made = rustix::fs::symlinkat(target, &within, name);
        made.map_err(|errno| self.failed("make the link", relative, errno))
    }

    /// Gives an open file another name below it: the very file that `file` is, whatever its old name means by now. False
    /// when such a link is not possible here: another file system, one without links, or one link too many.
    pub fn link_file(&self, file: &File, relative: &str) -> Result<bool> {
        let (above, name) = split(relative);
        let within = self.dir_beneath(above)?;
        // Linking an open file itself (AT_EMPTY_PATH) needs a capability; through /proc it needs none.
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        match rustix::fs::linkat(CWD, open, &within, name, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOENT) => {
                Ok(false)
            }
            Err(errno) => Err(self.failed("make the hard link", relative, errno)),
        }
    }

    /// Whether files below it can share their blocks (XFS, btrfs): tried with two files that have no name.
    pub fn can_clone(&self) -> bool {
        let anonymous = || {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            self.open_beneath(".", flags, Mode::from_raw_mode(0o600)).map(File::from)
        };
        let (Ok(mut from), Ok(to)) = (anonymous(), anonymous()) else { return false };
        from.write_all(&[1; 4096]).is_ok() && rustix::fs::ioctl_ficlone(&to, &from).is_ok()
    }

    /// Makes a new file with exactly this mode that shares its blocks with `file` until one of them is written to.
    pub fn clone_file(&self, file: &File, relative: &str, mode: u32) -> Result<()> {
        let made = self.create(relative, mode)?;
        rustix::fs::ioctl_ficlone(&made, file).map_err(|errno| {
            let _ = self.remove_file(relative);
            self.failed("share blocks with", relative, errno)
        })
    }

    /// Removes a file below it.
    pub fn remove_file(&self, relative: &str) -> Result<()> {
        let (above, name) = split(relative);
        let within = self.dir_beneath(above)?;
        let removed = rustix::fs::unlinkat(&within, name, AtFlags::empty());
        removed.map_err(|errno| self.failed("remove", relative, errno))
    }

    fn dir_beneath(&self, relative: &str) -> Result<OwnedFd> {
        let relative = if relative.is_empty() { "." } else { relative };
        self.open_beneath(relative, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    }

    fn open_beneath(&self, relative: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = rustix::fs::openat2(self.handle.as_fd(), relative, flags, mode, resolve);
        opened.map_err(|errno| self.failed("open", relative, errno))
    }

    fn failed(&self, op: &'static str, relative: &str, errno: Errno) -> Error {
        failed(op, &self.path.join(relative))(errno.into())
    }
}

fn split(relative: &str) -> (&str, &str) {
    relative.rsplit_once('/').unwrap_or(("", relative))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::fs::{list, read, remove_file, rename, stat, symlink, write};
    use super::*;

    #[test]
    fn a_link_is_to_the_open_file_whatever_its_name_means_by_now() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        write(&root.path().join("a"), b"one").unwrap();
        let file = dir.open_file("a").unwrap();
        write(&root.path().join("b"), b"two").unwrap();
        rename(&root.path().join("b"), &root.path().join("a")).unwrap();
        // A file whose last name is gone cannot be linked again.
        assert!(!dir.link_file(&file, "c").unwrap());
        assert!(dir.link_file(&dir.open_file("a").unwrap(), "c").unwrap());
        assert_eq!(read(&root.path().join("c"), 9).unwrap(), b"two");
        assert!(dir.link_file(&dir.open_file("a").unwrap(), "c").unwrap_err().is_already_there());
        assert!(dir.link_file(&dir.open_file("a").unwrap(), "../d").is_err());
    }

    #[test]
    fn a_clone_is_made_where_it_can_be() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        write(&root.path().join("a"), b"one").unwrap();
        let cloned = dir.clone_file(&dir.open_file("a").unwrap(), "b", 0o755);
        assert_eq!(cloned.is_ok(), dir.can_clone());
        if dir.can_clone() {
            remove_file(&root.path().join("a")).unwrap();
            assert_eq!(read(&root.path().join("b"), 9).unwrap(), b"one");
        }
        assert_eq!(dir.remove_file("b").is_ok(), dir.can_clone());
        assert!(dir.remove_file("b").unwrap_err().is_not_found());
    }

    #[test]
    fn nothing_leaves_a_dir_handle() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), &inside.path().join("out")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        for path in ["../x", "out/x", "/tmp/pannier-escape", "a/../../x"] {
            assert!(dir.create(path, 0o644).is_err(), "{path}");
            assert!(dir.create_dir(path).is_err(), "{path}");
            assert!(dir.create_symlink("t", path).is_err(), "{path}");
        }
        assert!(dir.create("out", 0o644).is_err());
        assert!(list(outside.path()).unwrap().is_empty());
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        dir.create_dir("d").unwrap();
        dir.create("d/f", 0o755).unwrap();
        assert_eq!(stat(&root.path().join("d/f")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(stat(&root.path().join("d")).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
