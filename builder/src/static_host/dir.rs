//! Static files in a folder that a web server hands out: `file:///srv/www/static`.
//!
//! A file appears under its name whole and durable, or not at all, and never in another's place: it is written under a
//! temporary name in [`WORK`], fsynced and renamed. A folder holds no headers, so the web server has to send them; the
//! twins are what `gzip_static` and its like look for.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pannier_shared::digest::{self, Hasher};
use pannier_shared::store;
use pannier_shared::store::location::Location;
use pannier_shared::sys::{clock, fs};

use super::{Asset, Body, Host, Put, Result, There};

/// The folder for temporaries: on the same file system, and out of the way of names that pages have.
const WORK: &str = ".pannier~";

/// A temporary that nobody wrote to for this long belongs to a process that is gone.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder.
#[derive(Debug, Clone)]
pub struct DirHost {
    root: PathBuf,
    location: String,
}

impl DirHost {
    /// The first file makes the folder where it is missing, but not the one above it: that is more likely a mistyped path.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), location: Location::Dir(root.to_owned()).to_string() }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let host = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&host)).await;
        done.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }

    fn look(&self, name: &str) -> Result<Option<There>> {
        match fs::stat(&self.root.join(name)) {
            Ok(meta) => Ok(Some(There { size: meta.size(), md5: None })),
            Err(error) if error.is_not_found() || error.source.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(self.denied_or(error, name)),
        }
    }

    fn store(&self, asset: &Asset, body: &Body) -> Result<Put> {
        let path = self.root.join(&asset.name);
        let prepared = [&self.root, &self.root.join(WORK)].into_iter().try_for_each(|folder| made(folder));
        let staged = prepared.and_then(|()| fs::Staged::new_in(&self.root.join(WORK)));
        let mut staged = staged.map_err(|error| self.denied_or(error, &asset.name))?;
        let mut hasher = Hasher::default();
        for piece in pieces(body) {
            let piece = piece?;
            hasher.update(&piece);
            staged.file().write_all(&piece).map_err(fs::failed("write", &path))?;
        }
        let length = hasher.length();
        let (expected, found) = ((asset.sha256, asset.size), (hasher.finish(), length));
        if found != expected {
            return Err(store::Error::file_changed(Path::new(&asset.name), expected, found).into());
        }
        match fs::create_dir_all(above(&path)).and_then(|()| staged.commit_new(&path)) {
            Ok(()) => self.sync_above(&path).map(|()| Put::Stored),
            Err(error) if error.is_already_there() && fs::exists(&path) => Ok(Put::Taken),
            Err(error) => Err(self.denied_or(error, &asset.name)),
        }
    }

    /// Makes the folders between the root and a new file durable, also those that another publisher just made.
    fn sync_above(&self, path: &Path) -> Result<()> {
        let mut folders = path.ancestors().skip(2).take_while(|folder| folder.starts_with(&self.root));
        Ok(folders.try_for_each(fs::sync_dir)?)
    }

    /// Removes the temporaries of publishers that are gone.
    fn sweep(&self) -> fs::Result<()> {
        let (work, now) = (self.root.join(WORK), clock::now());
        for name in fs::if_there(fs::list(&work))?.unwrap_or_default() {
            let Some(meta) = fs::if_there(fs::lstat(&work.join(&name)))? else { continue };
            let written = jiff::Timestamp::from_second(meta.mtime()).unwrap_or(now);
            if meta.is_file() && now.duration_since(written).unsigned_abs() > STALE {
                fs::if_there(fs::remove_file(&work.join(&name)))?;
            }
        }
        Ok(())
    }

    fn denied_or(&self, error: fs::Error, name: &str) -> super::Error {
        match error.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let detail = format!("{error}: {}", error.source);
                store::Error::Denied { store: self.location.clone(), key: name.to_owned(), detail }.into()
            }
            _ => error.into(),
        }
    }
}

#[async_trait]
impl Host for DirHost {
    fn location(&self) -> &str {
        &self.location
    }

    async fn find(&self, names: &Arc<HashSet<String>>) -> Result<HashMap<String, There>> {
        let names = Arc::clone(names);
        self.blocking(move |host| {
            host.sweep().map_err(|error| host.denied_or(error, WORK))?;
            let looked = names.iter().map(|name| Ok(host.look(name)?.map(|there| (name.clone(), there))));
            looked.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn put(&self, asset: &Asset, body: &Body) -> Result<Put> {
        let (asset, body) = (asset.clone(), body.clone());
        self.blocking(move |host| host.store(&asset, &body)).await
    }

    async fn holds(&self, asset: &Asset) -> Result<bool> {
        let asset = asset.clone();
        self.blocking(move |host| {
            let path = host.root.join(&asset.name);
            if !fs::stat(&path)?.is_file() {
                return Ok(false);
            }
            let read = fs::open(&path).and_then(|file| digest::of_reader(file).map_err(fs::failed("read", &path)));
            Ok(read.map_err(|error| host.denied_or(error, &asset.name))? == (asset.sha256, asset.size))
        })
        .await
    }
}

/// A body piece by piece.
fn pieces(body: &Body) -> Box<dyn Iterator<Item = Result<Bytes>> + '_> {
    match body {
        Body::Whole(bytes) => Box::new(std::iter::once(Ok(bytes.clone()))),
        Body::Frames(large) => Box::new((0..large.pieces()).map(|at| Ok(large.piece(at)?))),
    }
}

fn made(folder: &Path) -> fs::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => fs::sync_dir(above(folder)),
        Err(error) if error.is_already_there() => Ok(()),
        Err(error) => Err(error),
    }
}

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
