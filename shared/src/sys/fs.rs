//! The file system: every call names its path when it fails, and durability is decided here.
//!
//! What the functions promise after a power cut is in their own words below; [`write_durably`], [`swap_symlink`] and
//! [`commit_dir`] contain the directory fsync, so that nobody can forget it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

pub use super::sync::{FileSystem, sync_dir};
use super::sync::{flush, flush_data};

/// A file-system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {op} `{}`", .path.display())]
pub struct Error {
    /// What was tried: "open", "rename".
    pub op: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Error {
    /// True when the thing is not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// True when the thing is there already.
    pub fn is_already_there(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// True when the disk, its inodes or the quota are used up.
    pub fn is_no_room(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Result of a file-system call.
pub type Result<T> = std::result::Result<T, Error>;

/// Makes the closure that turns an [`io::Error`] into ours: `.map_err(failed("read", path))`.
pub fn failed(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error { op, path, source }
}

/// Reads a whole file of at most `limit` bytes; a longer one is an error, not a short answer.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = open(path)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        let text = format!("it is larger than {limit} bytes");
        return Err(failed("read", path)(io::Error::new(io::ErrorKind::FileTooLarge, text)));
    }
    Ok(bytes)
}

/// Reads the last `most` bytes of a file, or all of a shorter one.
pub fn read_tail(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    let length = file.metadata().map_err(failed("look at", path))?.len();
    let start = SeekFrom::Start(length.saturating_sub(most));
    let read = file.seek(start).and_then(|_| file.take(most).read_to_end(&mut bytes));
    read.map_err(failed("read", path))?;
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes).map_err(|_| failed("read", path)(io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")))
}

/// Like `result`, but a thing that is not there is `None`.
pub fn if_there<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(failed("open", path))
}

/// Opens an existing file for reading and writing.
pub fn open_for_change(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).open(path).map_err(failed("open", path))
}

/// Creates a new file that must not exist yet, mode 0644 less the umask.
pub fn create_new(path: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(failed("create", path))
}

/// Writes a file anew, replacing what is there. Not durable: for build folders and reports.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(failed("write", path))
}

/// Appends to a file (made when missing) and fsyncs it: after `Ok` the bytes survive a power cut, and a crash before
/// leaves at worst a cut last line.
pub fn append_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    let mut file = file.map_err(failed("open", path))?;
    file.write_all(bytes).and_then(|()| flush_data(&file)).map_err(failed("append to", path))
}

/// Replaces a file in one step: temporary sibling, fsync, rename, fsync of the directory. At every instant, also
/// after a power cut, a reader sees the old content or the new, whole; after `Ok` always the new.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = sibling(path);
    let written = create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| flush(&file)).map_err(failed("write", &temporary)));
    let renamed = written.and_then(|()| rename(&temporary, path));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    renamed?;
    sync_dir(parent(path))
}

/// Writes a new file that must not exist yet, with exactly this mode, and makes it durable together with its name. When
/// that fails it is not left behind. Its content is never readable by more than `mode` allows.
pub fn write_new_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(path);
    let mut file = file.map_err(failed("create", path))?;
    let permissions = std::fs::Permissions::from_mode(mode);
    let filled = file.write_all(bytes).and_then(|()| file.set_permissions(permissions)).and_then(|()| flush(&file));
    if let Err(error) = filled {
        let _ = std::fs::remove_file(path);
        return Err(failed("write", path)(error));
    }
    sync_dir(parent(path))
}

/// Renames within a file system, replacing a file of that name. Not durable by itself.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(failed("rename", from))
}

/// Makes a prepared directory visible under its final name: rename that never replaces anything (RENAME_NOREPLACE),
/// then fsync of the directory that holds it. The content must have been synced before (see [`FileSystem`]).
pub fn commit_dir(staged: &Path, to: &Path) -> Result<()> {
    let rename = rustix::fs::renameat_with(CWD, staged, CWD, to, RenameFlags::NOREPLACE);
    rename.map_err(|errno| failed("rename into place as", to)(errno.into()))?;
    sync_dir(parent(to))
}

/// Lets two directories change places in one step (RENAME_EXCHANGE), then fsyncs the directories that hold them: at every
/// instant, also after a power cut, each name leads to the one or the other, whole. False, and nothing done, where the file
/// system cannot do that.
pub fn exchange(one: &Path, other: &Path) -> Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(false),
        Err(errno) => return Err(failed("exchange with another", one)(errno.into())),
    }
    sync_dir(parent(one))?;
    sync_dir(parent(other))?;
    Ok(true)
}

/// Points the symlink `link` at `target` in one step: new link under a temporary name beside it, rename over it,
/// fsync of the directory. At every instant, also after a power cut, the link is the old one or the new one.
pub fn swap_symlink(target: &Path, link: &Path) -> Result<()> {
    let temporary = sibling(link);
    symlink(target, &temporary)?;
    if let Err(error) = rename(&temporary, link) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_dir(parent(link))
}

/// Makes a symlink that must not exist yet.
pub fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link).map_err(failed("make the link", link))
}

/// Where a symlink points, unresolved.
pub fn read_link(link: &Path) -> Result<PathBuf> {
    std::fs::read_link(link).map_err(failed("read the link", link))
}

/// The absolute path with every symlink resolved.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(failed("resolve", path))
}

/// Makes one directory that must not exist yet (mode 0755 less the umask).
pub fn create_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir(dir).map_err(failed("create the folder", dir))
}

/// Makes a directory and its parents where missing.
pub fn create_dir_all(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(failed("create the folder", dir))
}

/// What `path` is, without following a last symlink.
pub fn lstat(path: &Path) -> Result<Metadata> {
    std::fs::symlink_metadata(path).map_err(failed("look at", path))
}

/// What `path` is, following symlinks.
pub fn stat(path: &Path) -> Result<Metadata> {
    std::fs::metadata(path).map_err(failed("look at", path))
}

/// True when something is there, a dangling symlink included.
pub fn exists(path: &Path) -> bool {
    lstat(path).is_ok()
}

/// The names in a directory, sorted by their bytes.
pub fn list(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = open_again(|| std::fs::read_dir(dir)).map_err(failed("list", dir))?;
    let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|e| e.file_name())).collect();
    let mut names = names.map_err(failed("list", dir))?;
    names.sort();
    Ok(names)
}

/// The names in a directory and what has each, a link not followed; in no order.
pub fn entries(dir: &Path) -> Result<Vec<(std::ffi::OsString, std::fs::FileType)>> {
    let entries = open_again(|| std::fs::read_dir(dir)).map_err(failed("list", dir))?;
    let entries: io::Result<Vec<_>> =
        entries.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?)))).collect();
    entries.map_err(failed("list", dir))
}

/// Opens again when that was interrupted: std does so with files, and not with folders.
fn open_again<T>(open: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            opened => return opened,
        }
    }
}

/// Sets permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(path, permissions).map_err(failed("set the mode of", path))
}

/// Gives a file or folder, not what it may lead to, to a user and a group.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(failed("give away", path))
}

/// Says that a file was written just now, which its content was not.
pub fn touch(path: &Path) -> Result<()> {
    let now = std::time::SystemTime::now();
    File::options().append(true).open(path).and_then(|file| file.set_modified(now)).map_err(failed("touch", path))
}

/// Removes a file or a symlink (not what it points at).
pub fn remove_file(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(failed("remove", path))
}

/// Removes a directory tree, never following symlinks, whatever modes its folders have; nothing there is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let remove = || if_there(std::fs::remove_dir_all(path).map_err(failed("remove", path))).map(|_| ());
    match remove() {
        Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => open_up(path).and_then(|()| remove()),
        done => done,
    }
}

/// Gives the owner of a tree every right to its folders, without which they cannot be emptied.
fn open_up(tree: &Path) -> Result<()> {
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        set_mode(&folder, 0o700)?;
        for name in list(&folder)? {
            let path = folder.join(name);
            if lstat(&path)?.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Copies a file's content and permission bits.
pub fn copy(from: &Path, to: &Path) -> Result<u64> {
    std::fs::copy(from, to).map_err(failed("copy", from))
}

/// Appends bytes `offset .. offset + length` of `file` to `out`; fewer where the file ends. Says how many.
pub fn read_range(file: &File, path: &Path, offset: u64, length: u64, out: &mut Vec<u8>) -> Result<u64> {
    let read = Tail { file, at: offset }.take(length).read_to_end(out);
    read.map(|n| n as u64).map_err(failed("read", path))
}

/// Tells the kernel that the first `length` bytes of a file will be read soon. A hint: nothing depends on it.
pub fn will_read(file: &File, length: u64) {
    let _ = rustix::fs::fadvise(file, 0, std::num::NonZeroU64::new(length), rustix::fs::Advice::WillNeed);
}

/// Reads a file from an offset on, without moving its cursor, so that threads can share it.
#[derive(Debug)]
pub struct Tail<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> Tail<'a> {
    /// Starts at byte `at`.
    pub fn new(file: &'a File, at: u64) -> Self {
        Self { file, at }
    }
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Free room on the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes an ordinary user may still write.
    pub bytes: u64,
    /// Files that can still be made; `u64::MAX` where the file system has no such limit.
    pub inodes: u64,
}

/// How much room the file system that holds `path` has.
pub fn room(path: &Path) -> Result<Room> {
    let stat = rustix::fs::statvfs(path).map_err(|errno| failed("ask for room on", path)(errno.into()))?;
    let inodes = if stat.f_files == 0 { u64::MAX } else { stat.f_favail };
    Ok(Room { bytes: stat.f_bavail.saturating_mul(stat.f_frsize), inodes })
}

/// A file in the making, under a temporary name: it appears under its own name whole and durable, or never. Dropped
/// before that, it is removed; a crash leaves the temporary.
#[derive(Debug)]
pub struct Staged(tempfile::NamedTempFile);

impl Staged {
    /// Makes the temporary in `dir`, which must be on the file system of its final place. Mode 0644 less the umask.
    pub fn new_in(dir: &Path) -> Result<Self> {
        let mode = std::fs::Permissions::from_mode(0o644);
        let made = tempfile::Builder::new().prefix("").rand_bytes(16).permissions(mode).tempfile_in(dir);
        made.map(Self).map_err(failed("create a temporary file in", dir))
    }

    /// The file, to write to.
    pub fn file(&mut self) -> &mut File {
        self.0.as_file_mut()
    }

    /// Gives the file its own name, which must be free: otherwise [`Error::is_already_there`]. When several try at
    /// once, one succeeds.
    pub fn commit_new(self, to: &Path) -> Result<()> {
        flush(self.0.as_file()).map_err(failed("fsync", to))?;
        self.0.persist_noclobber(to).map_err(|refused| failed("create", to)(refused.error))?;
        sync_dir(parent(to))
    }

    /// Gives the file its own name in the place of the file that has it.
    pub fn commit_over(self, to: &Path) -> Result<()> {
        flush(self.0.as_file()).map_err(failed("fsync", to))?;
        self.0.persist(to).map_err(|refused| failed("replace", to)(refused.error))?;
        sync_dir(parent(to))
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// A fresh name beside `path`.
fn sibling(path: &Path) -> PathBuf {
    parent(path).join(temporary(&path.file_name().unwrap_or_default().to_string_lossy()))
}

/// A fresh name for what will be called `name`: hidden, random, recognisable as ours by `.tmp-`.
pub(super) fn temporary(name: &str) -> String {
    format!(".{name}.tmp-{}", random_name())
}

/// Whether a name is one that was made for the time until something gets its own.
pub fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|rest| Some(rest.rsplit_once(".tmp-")?.1));
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Sixteen random hex digits, for temporary names.
pub fn random_name() -> String {
    let mut bytes = [0; 8];
    // Names only need to differ; where the kernel has no randomness to give, O_EXCL still protects us.
    let _ = getrandom::fill(&mut bytes);
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durable_write_replaces_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_durably(&path, b"one").unwrap();
        write_durably(&path, b"two").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(list(dir.path()).unwrap(), ["state.json"]);
    }

    #[test]
    fn reading_stops_at_the_limit_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).is_err());
    }

    #[test]
    fn a_tail_is_the_end_of_a_long_file_and_the_whole_of_a_short_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write(&path, b"12345").unwrap();
        assert_eq!(read_tail(&path, 2).unwrap(), b"45");
        assert_eq!(read_tail(&path, 99).unwrap(), b"12345");
    }

    #[test]
    fn a_link_is_swapped_over_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("current");
        swap_symlink(Path::new("releases/a"), &link).unwrap();
        swap_symlink(Path::new("releases/b"), &link).unwrap();
        assert_eq!(read_link(&link).unwrap(), Path::new("releases/b"));
        assert_eq!(list(dir.path()).unwrap(), ["current"]);
    }

    #[test]
    fn temporary_names_are_known_again() {
        assert!(is_temporary(&temporary("a.tmp-b.css")));
        for other in ["a.css", ".a.css", ".a.tmp-", ".a.tmp-0011", "a.tmp-0011223344556677", ".a.tmp-001122334455667x"]
        {
            assert!(!is_temporary(other), "{other}");
        }
    }

    #[test]
    fn commit_never_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        create_dir(&a).unwrap();
        create_dir(&b).unwrap();
        assert!(commit_dir(&a, &b).unwrap_err().is_already_there());
        commit_dir(&a, &dir.path().join("c")).unwrap();
    }

    #[test]
    fn two_directories_change_places_or_nothing_happens() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        create_dir(&a).unwrap();
        create_dir(&b).unwrap();
        write(&a.join("f"), b"").unwrap();
        let exchanged = exchange(&a, &b).unwrap();
        assert_eq!((exists(&a.join("f")), exists(&b.join("f"))), (!exchanged, exchanged));
        assert!(exchange(&a, &dir.path().join("none")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_staged_file_is_all_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("f");
        let staged = |text: &[u8]| {
            let mut staged = Staged::new_in(dir.path()).unwrap();
            staged.file().write_all(text).unwrap();
            staged
        };
        drop(staged(b"never"));
        staged(b"one").commit_new(&to).unwrap();
        assert!(staged(b"two").commit_new(&to).unwrap_err().is_already_there());
        assert_eq!(read(&to, 10).unwrap(), b"one");
        staged(b"three").commit_over(&to).unwrap();
        assert_eq!(read(&to, 10).unwrap(), b"three");
        assert_eq!(list(dir.path()).unwrap(), ["f"]);
    }
}
