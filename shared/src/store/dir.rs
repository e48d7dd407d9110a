//! A directory as a store: `file:///srv/store`. An object is the file of its key's name.
//!
//! The demo's store, a backup, a mounted disk: what `cp -r` copies here is a store again. Everything is made under a
//! temporary name in [`WORK`], fsynced, and then renamed:
//!
//! * [`Condition::Absent`] is a rename that never replaces, so that the kernel picks the one winner;
//! * [`Condition::Unchanged`] compares and renames under one `flock` for the whole store. Writers on several machines
//!   are held apart as far as the file system's `flock` reaches (NFS since version 4: yes).
//!
//! A crash leaves no half object. It may leave a temporary, swept when a file is stored a day later, and an empty
//! folder, which [`Store::list`] shows: a release is what has a statement, not what has a folder.
//!
//! Where S3 lets `a` and `a/b` both be objects, here the second is refused: no key of Pannier's needs it.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::upload::Upload;
use super::{Condition, Error, Etag, Glance, Key, Meta, Object, Result, Store, Stored, check_range, names};
use crate::digest::{Digest, Hasher};
use crate::sys::{clock, fs, lock};

/// The folder for temporaries and the lock. `~` is in no key, so no object can have this name, and no list shows it.
const WORK: &str = ".pannier~";

/// Up to this size a file's content is its etag, so that a pointer that returns to an earlier content is that content
/// again; above, hashing would cost more than the read it guards, and size, time and inode tell contents apart.
const HASHED: u64 = 1024 * 1024;

/// A temporary that nobody wrote to for this long belongs to a process that is gone.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A store in a directory.
#[derive(Debug, Clone)]
pub struct DirStore {
    files: Arc<Files>,
}

impl DirStore {
    /// The store in `root`, an absolute path. The first write makes the folder where it is missing (but not the one
    /// above it: that is more likely a mistyped path, or a disk that is not mounted).
    pub fn new(root: &Path) -> Self {
        let location = super::location::Location::Dir(root.to_owned()).to_string();
        Self { files: Arc::new(Files { root: root.to_owned(), location }) }
    }

    /// Does blocking work where it does not stop the other tasks.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Files) -> Result<T> + Send + 'static) -> Result<T> {
        let files = Arc::clone(&self.files);
        match tokio::task::spawn_blocking(move || work(&files)).await {
            Ok(result) => result,
            Err(ended) => {
                Err(Error::Unavailable { store: self.location().to_owned(), detail: format!("its worker {ended}") })
            }
        }
    }
}

#[async_trait]
impl Store for DirStore {
    fn location(&self) -> &str {
        &self.files.location
    }

    async fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        let key = key.clone();
        self.blocking(move |files| files.get(&key, limit)).await
    }

    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance> {
        let object = self.get(key, limit).await?;
        Ok(Glance { object: Some(object).filter(|object| Some(&object.etag) != known), date: None })
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let key = key.clone();
        self.blocking(move |files| files.head(&key)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        check_range(self.location(), &range)?;
        let (key, pin) = (key.clone(), pin.cloned());
        self.blocking(move |files| files.get_range(&key, range, pin)).await
    }

    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> Result<Etag> {
        let key = key.clone();
        self.blocking(move |files| files.put(&key, &bytes, &condition)).await
    }

    async fn put_file(&self, key: &Key, upload: &Upload) -> Result<Stored> {
        let (key, upload) = (key.clone(), upload.clone());
        let etag = self.blocking(move |files| files.put_file(&key, &upload)).await?;
        Ok(Stored { etag, copied: 0 })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let prefix = prefix.to_owned();
        self.blocking(move |files| files.list(&prefix)).await
    }
}

#[derive(Debug)]
struct Files {
    root: PathBuf,
    location: String,
}

impl Files {
    fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        let (file, meta) = self.open(key)?;
        if meta.len() > limit {
            let detail = format!("it has {} bytes where at most {limit} are expected", meta.len());
            return Err(self.wrong(key, detail));
        }
        let bytes = self.read_at(key, &file, 0..meta.len())?;
        Ok(Object { etag: self.etag(key, &file)?, bytes })
    }

    fn head(&self, key: &Key) -> Result<Meta> {
        let (file, meta) = self.open(key)?;
        Ok(Meta { size: meta.len(), etag: self.etag(key, &file)? })
    }

    fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<Etag>) -> Result<Bytes> {
        let (file, meta) = self.open(key)?;
        if let Some(pin) = pin
            && pin != self.etag(key, &file)?
        {
            return Err(Error::Changed { store: self.location.clone(), key: key.to_string() });
        }
        if range.end > meta.len() {
            let detail = format!("asked for bytes {}-{}, and it has {}", range.start, range.end - 1, meta.len());
            return Err(self.wrong(key, detail));
        }
        self.read_at(key, &file, range)
    }

    fn put(&self, key: &Key, bytes: &[u8], condition: &Condition) -> Result<Etag> {
        self.prepare()?;
        let mut staged = fs::Staged::new_in(&self.work())?;
        staged.file().write_all(bytes).map_err(fs::failed("write", &self.path(key)))?;
        let etag = self.etag(key, staged.file())?;
        match condition {
            Condition::Absent => self.commit_new(key, staged)?,
            Condition::Unchanged(expected) => self.commit_over(key, staged, expected)?,
        }
        Ok(etag)
    }

    fn put_file(&self, key: &Key, upload: &Upload) -> Result<Etag> {
        let (source, size, digest) = (upload.path(), upload.size(), upload.digest());
        self.prepare()?;
        self.sweep()?;
        if fs::exists(&self.path(key)) {
            return Err(self.exists(key));
        }
        let mut staged = fs::Staged::new_in(&self.work())?;
        let found = copy(source, staged.file(), size)?;
        if found != (digest, size) {
            return Err(Error::file_changed(source, (digest, size), found));
        }
        let etag = self.etag(key, staged.file())?;
        self.commit_new(key, staged)?;
        Ok(etag)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        if !prefix.is_empty() && prefix.parse::<Key>().is_err() {
            return Ok(Vec::new());
        }
        let found = match fs::list(&self.root.join(prefix)) {
            Ok(found) => found,
            Err(error) if is_not_there(&error) => {
                self.check_root()?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(self.denied_or(error, prefix)),
        };
        // What is no key was not put here by a store: the work folder, a file manager's droppings.
        Ok(found
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| names::is_component(name))
            .collect())
    }

    /// Opens an object. The file is never changed again, only replaced: what one handle says is one content.
    fn open(&self, key: &Key) -> Result<(File, Metadata)> {
        let path = self.path(key);
        // Looked at first: opening a pipe would wait for a writer.
        let opened = fs::stat(&path).and_then(|meta| match meta.is_file() {
            true => fs::open(&path).map(Some),
            false => Ok(None),
        });
        let not_found = || Error::NotFound { store: self.location.clone(), key: key.to_string() };
        match opened {
            Ok(Some(file)) => {
                let meta = file.metadata().map_err(fs::failed("look at", &path))?;
                Ok((file, meta))
            }
            Ok(None) => Err(not_found()),
            Err(error) if is_not_there(&error) => Err(self.check_root().err().unwrap_or_else(not_found)),
            Err(error) => Err(self.denied_or(error, key.as_str())),
        }
    }

    fn read_at(&self, key: &Key, file: &File, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start).map_err(fs::failed("read", &self.path(key)))?;
        Ok(bytes.into())
    }

    fn etag(&self, key: &Key, file: &File) -> Result<Etag> {
        let path = self.path(key);
        let meta = file.metadata().map_err(fs::failed("look at", &path))?;
        if meta.len() <= HASHED {
            return Ok(Etag(Digest::of(&self.read_at(key, file, 0..meta.len())?).to_string()));
        }
        Ok(Etag(format!("{:x}-{:x}-{:x}-{:x}", meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino())))
    }

    fn commit_new(&self, key: &Key, staged: fs::Staged) -> Result<()> {
        let path = self.path(key);
        let committed = fs::create_dir_all(above(&path)).and_then(|()| staged.commit_new(&path));
        match committed {
            Err(error) if error.is_already_there() => Err(self.exists(key)),
            Err(error) => Err(self.denied_or(error, key.as_str())),
            Ok(()) => self.sync_above(&path),
        }
    }

    fn commit_over(&self, key: &Key, staged: fs::Staged, expected: &Etag) -> Result<()> {
        let _one_at_a_time = lock::wait(&self.work().join("lock"))?;
        if self.head(key)?.etag != *expected {
            return Err(Error::Changed { store: self.location.clone(), key: key.to_string() });
        }
        staged.commit_over(&self.path(key)).map_err(|error| self.denied_or(error, key.as_str()))
    }

    /// Makes the folders between the root and a new object durable, also those that another writer just made.
    fn sync_above(&self, path: &Path) -> Result<()> {
        for folder in path.ancestors().skip(2).take_while(|folder| folder.starts_with(&self.root)) {
            fs::sync_dir(folder)?;
        }
        Ok(())
    }

    fn prepare(&self) -> Result<()> {
        for folder in [&self.root, &self.work()] {
            match fs::create_dir(folder) {
                Err(error) if error.is_already_there() => {}
                Err(error) if error.is_not_found() => return Err(error.into()),
                Err(error) => return Err(self.denied_or(error, "")),
                Ok(()) => fs::sync_dir(above(folder))?,
            }
        }
        Ok(())
    }

    /// Removes the temporaries of writers that are gone.
    fn sweep(&self) -> Result<()> {
        let now = clock::now();
        for name in fs::list(&self.work())? {
            let path = self.work().join(&name);
            let Some(meta) = fs::if_there(fs::lstat(&path))? else { continue };
            let written = jiff::Timestamp::from_second(meta.mtime()).unwrap_or(now);
            if name != "lock" && now.duration_since(written).unsigned_abs() > STALE {
                fs::if_there(fs::remove_file(&path))?;
            }
        }
        Ok(())
    }

    /// A store that is not there at all is another thing than a key that is not in it.
    fn check_root(&self) -> Result<()> {
        match fs::stat(&self.root) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err(self.unavailable("it is not a folder")),
            Err(error) if is_not_there(&error) => Err(self.unavailable("there is no such folder")),
            Err(error) => Err(self.denied_or(error, "")),
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn work(&self) -> PathBuf {
        self.root.join(WORK)
    }

    fn exists(&self, key: &Key) -> Error {
        Error::AlreadyExists { store: self.location.clone(), key: key.to_string() }
    }

    fn wrong(&self, key: &Key, detail: String) -> Error {
        Error::WrongAnswer { store: self.location.clone(), key: key.to_string(), detail }
    }

    fn unavailable(&self, detail: &str) -> Error {
        Error::Unavailable { store: self.location.clone(), detail: detail.to_owned() }
    }

    fn denied_or(&self, error: fs::Error, key: &str) -> Error {
        match error.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::Denied {
                store: self.location.clone(),
                key: key.to_owned(),
                detail: format!("{error}: {}", error.source),
            },
            _ => error.into(),
        }
    }
}

/// Copies at most one byte more than `size`: enough to know that a file has grown.
fn copy(source: &Path, to: &mut File, size: u64) -> Result<(Digest, u64)> {
    let mut from = fs::open(source)?.take(size.saturating_add(1));
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 1024 * 1024];
    loop {
        let n = from.read(&mut buffer).map_err(fs::failed("read", source))?;
        if n == 0 {
            let length = hasher.length();
            return Ok((hasher.finish(), length));
        }
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n]).map_err(fs::failed("copy", source))?;
    }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Not there, or below something that is a file.
fn is_not_there(error: &fs::Error) -> bool {
    matches!(error.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests look at the directory behind the store's back")]

    use super::*;
    use crate::store::conformance;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn put(store: &DirStore, name: &str, text: &'static str) -> Result<Etag> {
        run(store.put(&key(name), Bytes::from(text), Condition::Absent))
    }

    #[test]
    fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        run(conformance::all(&DirStore::new(&dir.path().join("store"))));
    }

    #[test]
    fn a_missing_folder_is_not_a_missing_key() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(&dir.path().join("gone"));
        for error in [
            run(store.head(&key("a"))).unwrap_err(),
            run(store.get(&key("a/b"), 1)).unwrap_err(),
            run(store.list("")).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        }
    }

    #[test]
    fn the_folder_is_made_but_not_the_one_above_it() {
        let dir = tempfile::tempdir().unwrap();
        put(&DirStore::new(&dir.path().join("store")), "a", "x").unwrap();
        let error = put(&DirStore::new(&dir.path().join("disk/store")), "a", "x").unwrap_err();
        assert!(matches!(error, Error::Fs(_)), "{error}");
        assert!(!dir.path().join("disk").exists());
    }

    #[test]
    fn only_what_is_a_key_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        put(&store, "app/v1", "x").unwrap();
        std::fs::write(dir.path().join("app/no key"), "").unwrap();
        std::fs::write(dir.path().join(WORK).join("leftover"), "").unwrap();
        assert_eq!(run(store.list("")).unwrap(), ["app"]);
        assert_eq!(run(store.list("app")).unwrap(), ["v1"]);
    }

    #[test]
    fn nothing_is_left_behind_by_those_who_lose() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        put(&store, "a", "x").unwrap();
        put(&store, "a", "y").unwrap_err();
        let file = dir.path().join("file");
        std::fs::write(&file, "content").unwrap();
        run(store.put_file(&key("b"), &Upload::new(&file, 7, Digest::of(b"other")))).unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path().join(WORK)).unwrap().count(), 0);
    }

    #[test]
    fn temporaries_of_the_dead_are_swept_and_those_of_the_living_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        put(&store, "a", "x").unwrap();
        let (old, new) = (dir.path().join(WORK).join("old"), dir.path().join(WORK).join("new"));
        std::fs::write(&new, "").unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * STALE;
        File::create(&old).unwrap().set_modified(long_ago).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        run(store.put_file(&key("b"), &Upload::new(&file, 1, Digest::of(b"x")))).unwrap();
        assert_eq!((old.exists(), new.exists()), (false, true));
    }

    #[test]
    fn large_objects_are_told_apart_without_hashing() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        let bytes = Bytes::from(vec![7; HASHED as usize + 1]);
        let etag = run(store.put(&key("a"), bytes.clone(), Condition::Absent)).unwrap();
        assert_eq!(run(store.head(&key("a"))).unwrap().etag, etag);
        let next = run(store.put(&key("a"), bytes, Condition::Unchanged(etag.clone()))).unwrap();
        assert_ne!(next, etag);
    }

    #[test]
    fn an_object_is_readable_for_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        put(&DirStore::new(dir.path()), "a", "x").unwrap();
        let mode = std::fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);
        assert_ne!(mode & 0o777, 0o600, "a node reads what a publisher wrote");
    }

    #[test]
    fn a_refused_swap_leaves_the_lock_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        let first = put(&store, "a", "x").unwrap();
        let swap = |etag: &str| Condition::Unchanged(Etag(etag.to_owned()));
        run(store.put(&key("a"), Bytes::new(), swap("other"))).unwrap_err();
        run(store.put(&key("a"), Bytes::new(), swap(&first.0))).unwrap();
    }

    #[test]
    fn a_key_below_an_object_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        put(&store, "a", "x").unwrap();
        assert!(matches!(run(store.head(&key("a/b"))), Err(Error::NotFound { .. })));
        assert_eq!(run(store.list("a")).unwrap(), Vec::<String>::new());
    }
}
