//! Where things lie below an app's root on the node, and whether that root is fit to be worked in.
//!
//! ```text
//! <root>/releases/<version>/     a release: complete or absent, never half
//! <root>/current                 link to `releases/<version>`: what serves
//! <root>/shared/                 the app's own writable files, which live across releases
//! <root>/static/                 the hashed static files of all of them, as links (see `statics`)
//! <root>/.pannier/state.json     what the node knows of its releases (see `state`)
//! <root>/.pannier/journal.jsonl  what was begun and ended (see `journal`)
//! <root>/.pannier/lock           held by whoever changes anything here
//! <root>/.pannier/staging/       releases in the making; whatever is here at start is a leftover (see `leftover`)
//! <root>/.pannier/removed/       releases on their way out (see `prune`)
//! <root>/.pannier/failed/<version>/ what is kept of a failed activation (see `evidence`)
//! <root>/.pannier/toc/<version>/ the release's signed statement, tables of contents and record
//! <root>/.pannier/ledger         which files were hashed, and how they looked then (see `ledger`)
//! <root>/.pannier/env/           the variables of activations (see `environment`)
//! <root>/.pannier/journal/       what hooks printed, a file for each run (see `steps::hook`)
//! <root>/.pannier/restart.log    what the last restart command, and what it left running, printed
//! ```
//!
//! The root belongs to the user that runs the activator. Another owner could replace a folder by a link between two
//! of our calls, and files made here would belong to the wrong user; so another owner is refused, also for root.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pannier_shared::id::Version;
use pannier_shared::sys::account::{self, Account};
use pannier_shared::sys::look::Look;
use pannier_shared::sys::{fs, process};

/// A root that cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing yet.
    #[error("the root `{}` is not there", .0.display())]
    Missing(PathBuf),
    /// It, or a folder in it, belongs to another user.
    #[error("`{}` belongs to {owner}, but this runs as {us}", .path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: User,
        /// Who we are.
        us: User,
    },
    /// Something that must be a folder is not one.
    #[error("`{}` is {found}, not a folder", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// A folder of the root is on another file system, so that nothing can be renamed into place.
    #[error("`{}` is on another file system than `{}`", .path.display(), .root.display())]
    OtherDisk {
        /// The folder.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// `current` is not a link.
    #[error("`{}` is {found}, not a link to a release", .path.display())]
    CurrentNotALink {
        /// The path.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// `current` leads somewhere else than into `releases/`.
    #[error("`{}` leads to `{}`, which is not a release of this root", .path.display(), .target.display())]
    CurrentElsewhere {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        let us = User(process::user());
        match self {
            Error::Missing(_) => None,
            Error::Owner { path, owner, us } => {
                let path = path.display();
                Some(format!("run this as {owner}, or give the folder to {us}: `chown -R {} {path}`", us.name()))
            }
            Error::NotAFolder { path, .. } | Error::CurrentNotALink { path, .. } => {
                let path = path.display();
                Some(format!("look at it, then move it away: `mv {path} {path}.old`"))
            }
            Error::OtherDisk { root, .. } => Some(format!("keep all of `{}` on one file system", root.display())),
            Error::CurrentElsewhere { path, .. } => {
                let releases = path.with_file_name("releases");
                Some(format!("see what is there with `ls {}`, then `rm {}`", releases.display(), path.display()))
            }
            Error::Fs(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => {
                let folder = error.path.display();
                Some(format!("let root make it for you: `sudo install -d -o {} {folder}`", us.name()))
            }
            Error::Fs(_) => None,
        }
    }
}

/// A user of the machine, by number; shown with its name where `/etc/passwd` has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User(pub u32);

impl User {
    fn name(self) -> String {
        account::name_of(self.0).unwrap_or_else(|| self.0.to_string())
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.name())
    }
}

/// Where `current` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Current {
    /// There is no such link: nothing was activated yet.
    Absent,
    /// To `releases/<version>`; whether that is there is another question.
    Release(Version),
}

impl Current {
    /// The version it leads to, if it leads anywhere.
    pub fn version(&self) -> Option<&Version> {
        match self {
            Current::Release(version) => Some(version),
            Current::Absent => None,
        }
    }
}

/// An app's root whose folders were looked at and are ours.
#[derive(Debug, Clone)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Opens a root that exists, only to look at it: whose it is does not matter.
    pub fn look(path: &Path) -> Result<Self, Error> {
        match fs::if_there(fs::canonical(path))? {
            Some(path) => Ok(Self { path }),
            None => Err(Error::Missing(path.to_owned())),
        }
    }

    /// Opens a root to change things in it, and makes what is missing.
    pub fn prepare(path: &Path) -> Result<Self, Error> {
        Self::prepare_for(path, None)
    }

    /// Like [`Self::prepare`]; where `shared/` has to be made, it belongs to the app's user, who writes there.
    pub fn prepare_for(path: &Path, user: Option<&Account>) -> Result<Self, Error> {
        if !fs::exists(path) {
            fs::create_dir_all(path)?;
            fs::set_mode(path, 0o755)?;
        }
        let root = Self::look(path)?;
        root.check(&root.path)?;
        if let Some(Account { uid, gid, .. }) = user.filter(|_| !fs::exists(&root.shared())) {
            make_folder(&root.shared())?;
            fs::give(&root.shared(), *uid, *gid)?;
        }
        for folder in [root.releases(), root.shared(), root.own(), root.staging(), root.removed(), root.tocs()] {
            make_folder(&folder)?;
        }
        root.examine()?;
        Ok(root)
    }

    /// Whether what is there of the root is fit to be worked in; changes nothing. `shared/` may belong to the app's user and
    /// lie on another disk: nothing is renamed into it.
    pub fn examine(&self) -> Result<(), Error> {
        let device = self.check(&self.path)?;
        let folders = [self.releases(), self.own(), self.staging(), self.removed(), self.tocs()];
        for folder in folders.into_iter().filter(|folder| fs::exists(folder)) {
            if self.check(&folder)? != device {
                return Err(Error::OtherDisk { path: folder, root: self.path.clone() });
            }
        }
        Ok(())
    }

    /// Whether a folder is a folder and ours; gives its device.
    fn check(&self, path: &Path) -> Result<u64, Error> {
        let meta = fs::lstat(path)?;
        if !meta.is_dir() {
            return Err(Error::NotAFolder { path: path.to_owned(), found: Look::from(&meta).kind().to_owned() });
        }
        let us = process::user();
        if meta.uid() != us {
            return Err(Error::Owner { path: path.to_owned(), owner: User(meta.uid()), us: User(us) });
        }
        Ok(meta.dev())
    }

    /// The root itself, every link on the way resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of all releases.
    pub fn releases(&self) -> PathBuf {
        self.path.join("releases")
    }

    /// One release's tree.
    pub fn release(&self, version: &Version) -> PathBuf {
        self.releases().join(version.as_str())
    }

    /// The link to what serves.
    pub fn current(&self) -> PathBuf {
        self.path.join("current")
    }

    /// The app's own writable files.
    pub fn shared(&self) -> PathBuf {
        self.path.join("shared")
    }

    /// The names of the hashed static files of all releases (see `statics`).
    pub fn static_files(&self) -> PathBuf {
        self.path.join("static")
    }

    /// Whether that folder, where it is there, is fit to be worked in.
    pub fn check_static_files(&self) -> Result<(), Error> {
        if fs::exists(&self.static_files()) { self.check(&self.static_files()).map(|_| ()) } else { Ok(()) }
    }

    /// Makes that folder where it is missing. Not with the others: an app without hashed static files has none, and one that
    /// somebody else made is no reason to do nothing at all.
    pub fn prepare_static_files(&self) -> Result<(), Error> {
        make_folder(&self.static_files())?;
        self.check_static_files()
    }

    /// What Pannier keeps for itself.
    pub fn own(&self) -> PathBuf {
        self.path.join(".pannier")
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.own().join("state.json")
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.own().join("journal.jsonl")
    }

    /// The lock.
    pub fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    /// See the module.
    pub fn ledger(&self) -> PathBuf {
        self.own().join("ledger")
    }

    /// What the last restart command printed.
    pub fn restart_log(&self) -> PathBuf {
        self.own().join("restart.log")
    }

    /// The variables of activations (see `environment`).
    pub fn envs(&self) -> PathBuf {
        self.own().join("env")
    }

    /// What the hooks of an operation printed.
    pub fn hook_logs(&self) -> PathBuf {
        self.own().join("journal")
    }

    /// Releases in the making.
    pub fn staging(&self) -> PathBuf {
        self.own().join("staging")
    }

    /// Releases on their way out.
    pub fn removed(&self) -> PathBuf {
        self.own().join("removed")
    }

    /// What is kept of failed activations.
    pub fn failed(&self) -> PathBuf {
        self.own().join("failed")
    }

    /// What is kept beside the releases.
    pub fn tocs(&self) -> PathBuf {
        self.own().join("toc")
    }

    /// What is kept beside one release: statement, tables of contents, record.
    pub fn toc(&self, version: &Version) -> PathBuf {
        self.tocs().join(version.as_str())
    }

    /// Whether `current` leads to this release, by whatever way.
    pub fn is_current(&self, version: &Version) -> bool {
        let target = fs::canonical(&self.current()).ok();
        target.is_some_and(|target| fs::canonical(&self.release(version)).is_ok_and(|tree| target.starts_with(tree)))
    }

    /// Where `current` leads. A person may have made the link by hand, so an absolute one is understood too.
    pub fn where_current_leads(&self) -> Result<Current, Error> {
        let path = self.current();
        let Some(meta) = fs::if_there(fs::lstat(&path))? else { return Ok(Current::Absent) };
        if !meta.is_symlink() {
            return Err(Error::CurrentNotALink { path, found: Look::from(&meta).kind() });
        }
        let target = fs::read_link(&path)?;
        let inside = target.strip_prefix(&self.path).unwrap_or(&target);
        let version = inside.strip_prefix("releases").ok().and_then(Path::to_str);
        match version.and_then(|name| name.trim_end_matches('/').parse().ok()) {
            Some(version) => Ok(Current::Release(version)),
            None => Err(Error::CurrentElsewhere { path, target }),
        }
    }

    /// When `current` came to lead where it leads, by the kernel: the rename over it is the last change of its inode. None
    /// where that cannot be found out.
    pub fn switched(&self) -> Option<Timestamp> {
        let meta = fs::lstat(&self.current()).ok()?;
        Timestamp::new(meta.ctime(), i32::try_from(meta.ctime_nsec()).ok()?).ok()
    }
}

/// What `current` holds for a version: relative, so that the whole root can be moved or mounted elsewhere.
pub fn link_to(version: &Version) -> PathBuf {
    Path::new("releases").join(version.as_str())
}

/// Makes a folder that everybody may read whatever the umask: the app runs as another user than the activator.
fn make_folder(path: &Path) -> Result<(), Error> {
    if fs::exists(path) {
        return Ok(());
    }
    fs::create_dir(path)?;
    fs::set_mode(path, 0o755)?;
    if let Some(above) = path.parent() {
        fs::sync_dir(above)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests lay out roots by hand")]

    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(&dir.path().join("polls")).unwrap();
        (dir, root)
    }

    fn error(result: Result<impl std::fmt::Debug, Error>, dir: &Path) -> String {
        result.unwrap_err().to_string().replace(dir.to_str().unwrap(), "/srv")
    }

    #[test]
    fn preparing_makes_all_folders_and_can_be_repeated() {
        let (_dir, root) = root();
        let again = Root::prepare(root.path()).unwrap();
        for folder in [again.releases(), again.shared(), again.staging(), again.tocs()] {
            assert!(folder.is_dir(), "{folder:?}");
        }
    }

    #[test]
    fn a_root_may_be_reached_through_a_link_and_is_resolved() {
        let (dir, root) = root();
        symlink(root.path(), dir.path().join("alias")).unwrap();
        assert_eq!(Root::prepare(&dir.path().join("alias")).unwrap().path(), root.path());
    }

    #[test]
    fn a_folder_of_the_root_that_is_a_link_is_refused() {
        let (dir, root) = root();
        std::fs::remove_dir(root.releases()).unwrap();
        symlink("/tmp", root.releases()).unwrap();
        let error = error(Root::prepare(root.path()), dir.path());
        insta::assert_snapshot!(error, @"`/srv/polls/releases` is a link, not a folder");
    }

    #[test]
    fn a_root_of_somebody_else_names_the_owner_and_what_to_type() {
        let (dir, root) = root();
        if process::user() != 0 {
            return; // Only root can give a folder away.
        }
        std::os::unix::fs::chown(root.path(), Some(1), None).unwrap();
        let refused = Root::prepare(root.path()).unwrap_err();
        let text = format!("{refused}\n{}", refused.hint().unwrap()).replace(dir.path().to_str().unwrap(), "/srv");
        insta::assert_snapshot!(text, @"
        `/srv/polls` belongs to `daemon`, but this runs as `root`
        run this as `daemon`, or give the folder to `root`: `chown -R root /srv/polls`
        ");
    }

    #[test]
    fn current_is_read_relative_absolute_and_absent() {
        let (_dir, root) = root();
        let v1: Version = "v1".parse().unwrap();
        assert_eq!(root.where_current_leads().unwrap(), Current::Absent);
        for target in [PathBuf::from("releases/v1"), PathBuf::from("releases/v1/"), root.release(&v1)] {
            let _ = std::fs::remove_file(root.current());
            symlink(target, root.current()).unwrap();
            assert_eq!(root.where_current_leads().unwrap(), Current::Release(v1.clone()));
        }
    }

    #[test]
    fn current_that_leads_elsewhere_is_an_error() {
        let (dir, root) = root();
        symlink("/etc", root.current()).unwrap();
        let elsewhere = error(root.where_current_leads(), dir.path());
        insta::assert_snapshot!(elsewhere, @"`/srv/polls/current` leads to `/etc`, which is not a release of this root");
        std::fs::remove_file(root.current()).unwrap();
        std::fs::create_dir(root.current()).unwrap();
        let folder = error(root.where_current_leads(), dir.path());
        insta::assert_snapshot!(folder, @"`/srv/polls/current` is a folder, not a link to a release");
    }
}
