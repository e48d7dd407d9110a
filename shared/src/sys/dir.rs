//! A folder to make files in that nothing can be made outside of, whatever else happens on the disk; new files, and files
//! that share what others hold.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Gid, Uid, geteuid};

use super::fs::{Error, Result, failed};
use super::look::Look;

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
        let handle = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()));
        let handle = handle.map_err(|errno| failed("open the folder", path)(errno.into()))?;
        Ok(Self { handle, path: path.to_owned() })
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A cursor that makes and opens files below it.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { dir: self, folders: VecDeque::new() }
    }

    /// Whether files below it can share their blocks (XFS, btrfs): tried with two files that have no name.
    pub fn can_clone(&self) -> bool {
        let anonymous = || {
            let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
            open_beneath(self.handle.as_fd(), ".", flags, Mode::from_raw_mode(0o600)).map(File::from)
        };
        let (Ok(mut from), Ok(to)) = (anonymous(), anonymous()) else { return false };
        from.write_all(&[1; 4096]).is_ok() && rustix::fs::ioctl_ficlone(&to, &from).is_ok()
    }

    fn failed(&self, op: &'static str, relative: &str, errno: Errno) -> Error {
        failed(op, &self.path.join(relative))(errno.into())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Makes and opens files below a [`Dir`], each thread with its own. It keeps the last folders open, because paths that
/// follow each other mostly share them: resolving whole paths was a third of the time of linking 25,000 files.
#[derive(Debug)]
pub struct Cursor<'a> {
    dir: &'a Dir,
    /// The last used first.
    folders: VecDeque<(String, OwnedFd)>,
}

/// A module and its bytecode lie beside each other in an archive, in two folders.
const FOLDERS: usize = 4;

impl Cursor<'_> {
    /// The path of the directory it works below, for messages.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a new file with exactly this mode, whatever the umask.
    pub fn create(&mut self, relative: &str, mode: u32) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.open(relative, flags, Mode::from_raw_mode(mode))?;
        self.set_mode(&file, relative, mode)?;
        Ok(file)
    }

    /// Opens a regular file for reading.
    pub fn open_file(&mut self, relative: &str) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        self.open(relative, flags, Mode::empty())
    }

    /// Makes a new directory, mode 0755 whatever the umask.
    pub fn create_dir(&mut self, relative: &str) -> Result<()> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let mode = Mode::from_raw_mode(0o755);
        let made = rustix::fs::mkdirat(within, name, mode);
        made.map_err(|errno| dir.failed("create the folder", relative, errno))?;
        let set = rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW).and_then(|stat| {
            if is_exactly(&stat, mode) { Ok(()) } else { rustix::fs::chmodat(within, name, mode, AtFlags::empty()) }
        });
        set.map_err(|errno| dir.failed("set the mode of", relative, errno))
    }

    /// Makes a new directory, mode 0755 whatever the umask, where others than we may write, gives it to `owner`, a user and
    /// a group, and makes it durable. They can put another one in its place at any time: what is not empty, or not ours, is not given away.
    pub fn create_dir_for(&mut self, relative: &str, owner: Option<(u32, u32)>) -> Result<()> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let failed = |errno| dir.failed("create the folder", relative, errno);
        rustix::fs::mkdirat(within, name, Mode::from_raw_mode(0o700)).map_err(failed)?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let made = open_beneath(within, name, flags, Mode::empty()).map_err(failed)?;
        if !is_new(&made).map_err(failed)? {
            let error = io::Error::other("another one was put in its place");
            return Err(super::fs::failed("create the folder", &dir.path.join(relative))(error));
        }
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755)).map_err(failed)?;
        if let Some((uid, gid)) = owner {
            rustix::fs::fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed)?;
        }
        let above = open_beneath(within, ".", flags, Mode::empty());
        let synced = rustix::fs::fsync(&made).and_then(|()| rustix::fs::fsync(above?));
        synced.map_err(|errno| dir.failed("fsync", relative, errno))
    }

    /// Makes a new symlink.
    pub fn create_symlink(&mut self, target: &str, relative: &str) -> Result<()> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let made = rustix::fs::symlinkat(target, within, name);
        made.map_err(|errno| dir.failed("make the link", relative, errno))
    }

    /// Points a symlink at `target` in one step, in the place of the link or file that has the name: at every instant it is
    /// the old one or the new one. Not durable by itself.
    pub fn swap_symlink(&mut self, target: &str, relative: &str) -> Result<()> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let temporary = super::fs::temporary(name);
        let made = rustix::fs::symlinkat(target, within, temporary.as_str());
        made.map_err(|errno| dir.failed("make the link", relative, errno))?;
        rustix::fs::renameat(within, temporary.as_str(), within, name).map_err(|errno| {
            let _ = rustix::fs::unlinkat(within, temporary.as_str(), AtFlags::empty());
            dir.failed("put a link in the place of", relative, errno)
        })
    }

    /// Gives an open file another name: the very file that `file` is, whatever its old name means by now. False
    /// when such a link is not possible here: another file system, one without links, or one link too many.
    pub fn link_file(&mut self, file: &File, relative: &str) -> Result<bool> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        linked(link(file, within, name), |errno| dir.failed("make the hard link", relative, errno))
    }

    /// Gives the file that has the name `from` below `source` another name here, unopened: whoever relies on what it is
    /// must look at it afterwards. False when such a link is not possible here.
    pub fn link_name(&mut self, source: &mut Cursor, from: &str, relative: &str) -> Result<bool> {
        let dir = self.dir;
        let (there, name) = source.at(from)?;
        let (within, new) = self.at(relative)?;
        linked(rustix::fs::linkat(there, name, within, new, AtFlags::empty()), |errno| {
            dir.failed("make the hard link", relative, errno)
        })
    }

    /// How a file looks; a link is not followed.
    pub fn look(&mut self, relative: &str) -> Result<Look> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let stat = rustix::fs::statat(within, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map(|stat| Look::from(&stat)).map_err(|errno| dir.failed("look at", relative, errno))
    }

    /// Makes a new file with exactly this mode that shares its blocks with `file` until one of them is written to.
    pub fn clone_file(&mut self, file: &File, relative: &str, mode: u32) -> Result<()> {
        let made = self.create(relative, mode)?;
        rustix::fs::ioctl_ficlone(&made, file).map_err(|errno| {
            let _ = self.remove_file(relative);
            self.dir.failed("share blocks with", relative, errno)
        })
    }

    /// Removes a file.
    pub fn remove_file(&mut self, relative: &str) -> Result<()> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let removed = rustix::fs::unlinkat(within, name, AtFlags::empty());
        removed.map_err(|errno| dir.failed("remove", relative, errno))
    }

    /// Removes a folder that is empty; false where it is not.
    pub fn remove_empty_dir(&mut self, relative: &str) -> Result<bool> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let removed = rustix::fs::unlinkat(within, name, AtFlags::REMOVEDIR);
        self.folders.retain(|(folder, _)| folder != relative);
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            Err(errno) => Err(dir.failed("remove the folder", relative, errno)),
        }
    }

    fn open(&mut self, relative: &str, flags: OFlags, mode: Mode) -> Result<File> {
        let dir = self.dir;
        let (within, name) = self.at(relative)?;
        let opened = open_beneath(within, name, flags, mode);
        opened.map(File::from).map_err(|errno| dir.failed("open", relative, errno))
    }

    fn set_mode(&self, file: &File, relative: &str, mode: u32) -> Result<()> {
        let mode = Mode::from_raw_mode(mode);
        let set = rustix::fs::fstat(file)
            .and_then(|stat| if is_exactly(&stat, mode) { Ok(()) } else { rustix::fs::fchmod(file, mode) });
        set.map_err(|errno| self.dir.failed("set the mode of", relative, errno))
    }

    /// The folder that holds `relative`, and its last name.
    fn at<'p>(&mut self, relative: &'p str) -> Result<(BorrowedFd<'_>, &'p str)> {
        let (above, name) = split(relative);
        let known = self.folders.iter().position(|(folder, _)| folder == above);
        let found = match known.and_then(|at| self.folders.remove(at)) {
            Some(found) => found,
            None => (above.to_owned(), self.folder(above, relative)?),
        };
        self.folders.truncate(FOLDERS - 1);
        self.folders.push_front(found);
        Ok((self.folders.front().map_or(self.dir.handle.as_fd(), |(_, handle)| handle.as_fd()), name))
    }

    fn folder(&self, above: &str, relative: &str) -> Result<OwnedFd> {
        let above = if above.is_empty() { "." } else { above };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let opened = open_beneath(self.dir.handle.as_fd(), above, flags, Mode::empty());
        opened.map_err(|errno| self.dir.failed("open", relative, errno))
    }
}

/// Setting a mode costs the file system a journal entry, looking at it nothing; and the umask seldom takes a bit away.
fn is_exactly(stat: &rustix::fs::Stat, mode: Mode) -> bool {
    Mode::from_raw_mode(stat.st_mode) & Mode::from_raw_mode(0o7777) == mode
}

/// Whether a folder can be one that we have just made.
fn is_new(folder: &OwnedFd) -> rustix::io::Result<bool> {
    let is_ours = rustix::fs::fstat(folder)?.st_uid == geteuid().as_raw();
    let entries = rustix::fs::Dir::read_from(folder)?.collect::<rustix::io::Result<Vec<_>>>()?;
    Ok(is_ours && entries.iter().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

/// Opens a path that cannot lead out of `within`, nor through a link.
fn open_beneath(within: BorrowedFd<'_>, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| rustix::fs::openat2(within, path, flags, mode, resolve))
}

/// Whether a link was made; some reasons only mean that it cannot be made here.
fn linked(done: rustix::io::Result<()>, failed: impl FnOnce(Errno) -> Error) -> Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed(errno)),
    }
}

/// Links an open file itself: directly where the kernel lets whoever opened it (6.10), else through /proc.
fn link(file: &File, within: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::linkat(file, "", within, name, AtFlags::EMPTY_PATH) {
        Err(Errno::NOENT) => {
            let open = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, open, within, name, AtFlags::SYMLINK_FOLLOW)
        }
        done => done,
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
        let file = dir.cursor().open_file("a").unwrap();
        write(&root.path().join("b"), b"two").unwrap();
        rename(&root.path().join("b"), &root.path().join("a")).unwrap();
        // A file whose last name is gone cannot be linked again.
        assert!(!dir.cursor().link_file(&file, "c").unwrap());
        assert!(dir.cursor().link_file(&dir.cursor().open_file("a").unwrap(), "c").unwrap());
        assert_eq!(read(&root.path().join("c"), 9).unwrap(), b"two");
        assert!(dir.cursor().link_file(&dir.cursor().open_file("a").unwrap(), "c").unwrap_err().is_already_there());
        assert!(dir.cursor().link_file(&dir.cursor().open_file("a").unwrap(), "../d").is_err());
    }

    #[test]
    fn a_clone_is_made_where_it_can_be() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        write(&root.path().join("a"), b"one").unwrap();
        let cloned = dir.cursor().clone_file(&dir.cursor().open_file("a").unwrap(), "b", 0o755);
        assert_eq!(cloned.is_ok(), dir.can_clone());
        if dir.can_clone() {
            remove_file(&root.path().join("a")).unwrap();
            assert_eq!(read(&root.path().join("b"), 9).unwrap(), b"one");
        }
        assert_eq!(dir.cursor().remove_file("b").is_ok(), dir.can_clone());
        assert!(dir.cursor().remove_file("b").unwrap_err().is_not_found());
    }

    #[test]
    fn nothing_leaves_a_dir_handle() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        symlink(outside.path(), &inside.path().join("out")).unwrap();
        let dir = Dir::open(inside.path()).unwrap();
        for path in ["../x", "out/x", "/tmp/pannier-escape", "a/../../x"] {
            assert!(dir.cursor().create(path, 0o644).is_err(), "{path}");
            assert!(dir.cursor().create_dir(path).is_err(), "{path}");
            assert!(dir.cursor().create_symlink("t", path).is_err(), "{path}");
            assert!(dir.cursor().create_dir_for(path, None).is_err(), "{path}");
        }
        assert!(dir.cursor().create("out", 0o644).is_err());
        assert!(list(outside.path()).unwrap().is_empty());
    }

    #[test]
    fn a_link_is_swapped_and_only_an_empty_folder_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let mut cursor = dir.cursor();
        cursor.create_dir("d").unwrap();
        for target in ["one", "two"] {
            cursor.swap_symlink(target, "d/link").unwrap();
            assert_eq!(super::super::fs::read_link(&root.path().join("d/link")).unwrap(), Path::new(target));
        }
        assert_eq!(list(&root.path().join("d")).unwrap(), ["link"]);
        assert!(!cursor.remove_empty_dir("d").unwrap());
        cursor.remove_file("d/link").unwrap();
        assert!(cursor.remove_empty_dir("d").unwrap());
        // A folder of the same name is another one, and is opened anew.
        cursor.create_dir("d").unwrap();
        cursor.create_symlink("one", "d/link").unwrap();
        assert!(cursor.remove_empty_dir("e").unwrap_err().is_not_found());
    }

    #[test]
    fn a_folder_that_is_given_away_is_new_empty_and_ours() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let owner = (geteuid().as_raw() == 0).then_some((4711, 4712));
        dir.cursor().create_dir_for("a", owner).unwrap();
        dir.cursor().create_dir_for("a/b", owner).unwrap();
        assert!(dir.cursor().create_dir_for("a", owner).unwrap_err().is_already_there());
        let is_new = |name: &str| is_new(&OwnedFd::from(File::open(root.path().join(name)).unwrap())).unwrap();
        assert_eq!((is_new("a"), is_new("a/b")), (false, owner.is_none()));
        let meta = stat(&root.path().join("a/b")).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
        let found = (std::os::unix::fs::MetadataExt::uid(&meta), std::os::unix::fs::MetadataExt::gid(&meta));
        assert!(owner.is_none_or(|owner| owner == found), "{found:?}");
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        dir.cursor().create_dir("d").unwrap();
        dir.cursor().create("d/f", 0o755).unwrap();
        assert_eq!(stat(&root.path().join("d/f")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(stat(&root.path().join("d")).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
