//! Shared paths of a release: the links in its tree, made when it is fetched, and what they lead to, made or asked for before
//! it serves.
//!
//! What is below `shared/` belongs to the app, and the app's user can put a link anywhere there. So nothing is made or given
//! away behind one: folders are made below an open folder that no link leads out of. Only to look whether something is there
//! links are followed, since an operator may have made one, to a mount.

use std::path::{Path, PathBuf};

use pannier_shared::archive::policy::{self, Refused};
use pannier_shared::archive::read::Contents;
use pannier_shared::archive::toc::Table;
use pannier_shared::statement::{Shared, SharedPath};
use pannier_shared::sys::account::Account;
use pannier_shared::sys::dir::{Cursor, Dir};
use pannier_shared::sys::fs;
use pannier_shared::sys::look::Look;

use crate::fetch;
use crate::layout::Root;

/// A shared path that is not as the release needs it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is not there, and only a person knows what is in it.
    #[error("the shared file `{}` is not there", .0.display())]
    Missing(PathBuf),
    /// It is something else.
    #[error("the release shares `{}` as {expected}, but it is {found}", .path.display())]
    Kind {
        /// Where.
        path: PathBuf,
        /// "a file".
        expected: &'static str,
        /// "a folder".
        found: &'static str,
    },
    /// A folder is missing where a link leads, and is not made there.
    #[error("the shared folder `{}` is not there, and is not made behind the link `{}`", .path.display(), .link.display())]
    BehindALink {
        /// The folder.
        path: PathBuf,
        /// The link.
        link: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Missing(path) => Some(format!(
                "put it there, for the app's user to read: `install -D -o USER -m 0600 FILE {}`",
                path.display()
            )),
            Error::Kind { path, .. } => {
                let path = path.display();
                Some(format!("look at it, then move it away: `mv {path} {path}.old`"))
            }
            Error::BehindALink { path, .. } => {
                Some(format!("make it, and give it to the app's user: `mkdir -p {}`", path.display()))
            }
            Error::Fs(_) => None,
        }
    }
}

/// Makes the links of a release in its `tree`, if what the archive holds leaves room for them.
pub fn link(tree: &Dir, contents: &Contents, shared: &Shared) -> Result<(), fetch::Error> {
    if shared.is_empty() {
        return Ok(());
    }
    let links = shared.links();
    let entries = contents.tables().iter().flat_map(Table::kinds);
    policy::check_ways_out(entries, &links).map_err(|refused: Refused| fetch::Error::Shared(refused))?;
    let mut cursor = tree.cursor();
    Ok(links.iter().try_for_each(|(path, target)| cursor.create_symlink(target, path))?)
}

/// The first thing that is not as the release needs it; a folder that is not there counts only for [`missing`].
pub fn check(root: &Root, shared: &Shared) -> Result<(), Error> {
    for path in shared.files() {
        let path = root.shared().join(path.as_str());
        if !is("a file", &path)? {
            return Err(Error::Missing(path));
        }
    }
    missing(root, shared).map(|_| ())
}

/// The folders that are not there.
pub fn missing<'a>(root: &Root, shared: &'a Shared) -> Result<Vec<&'a SharedPath>, Error> {
    let mut missing = Vec::new();
    for path in shared.folders() {
        if !is("a folder", &root.shared().join(path.as_str()))? {
            missing.push(path);
        }
    }
    Ok(missing)
}

/// Whether it is there; an error where it is something else.
fn is(expected: &'static str, path: &Path) -> Result<bool, Error> {
    let found = match (fs::if_there(fs::stat(path))?, fs::exists(path)) {
        (Some(meta), _) => Look::from(&meta).kind(),
        (None, true) => "a link that leads nowhere",
        (None, false) => return Ok(false),
    };
    if found == expected { Ok(true) } else { Err(Error::Kind { path: path.to_owned(), expected, found }) }
}

/// Sees that everything is there, and only then makes the folders that are missing, which `owner` gets. Says how many.
pub fn make_ready(root: &Root, shared: &Shared, owner: Option<&Account>) -> Result<u64, Error> {
    check(root, shared)?;
    let dir = Dir::open(&root.shared())?;
    let owner = owner.map(|account| (account.uid, account.gid));
    let mut made = 0;
    for path in missing(root, shared)? {
        made += make(&mut dir.cursor(), path.as_str(), owner)?;
    }
    Ok(made)
}

/// Makes a folder and those above it, as far as they are missing.
fn make(cursor: &mut Cursor<'_>, path: &str, owner: Option<(u32, u32)>) -> Result<u64, Error> {
    let shared = cursor.path().to_owned();
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut made = 0;
    for part in ends.map(|end| &path[..end]) {
        match fs::if_there(cursor.look(part))?.map(|look| look.kind()) {
            Some("a folder") => {}
            Some("a link") => {
                return Err(Error::BehindALink { path: shared.join(path), link: shared.join(part) });
            }
            Some(found) => return Err(Error::Kind { path: shared.join(part), expected: "a folder", found }),
            None => {
                cursor.create_dir_for(part, owner)?;
                made += 1;
            }
        }
    }
    Ok(made)
}
