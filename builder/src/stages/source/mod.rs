//! Source: which files of the project are the app, and their copy in the tree of the release.
//!
//! In a git checkout that is what git tracks, as it lies in the working tree; elsewhere every file less an ignore list.
//! Nothing is copied before every file has been looked at: no private key, no environment file and no database is
//! packed by accident, and no symlink leads out of the project.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::statement::{self, Shared};
use pannier_shared::sys::{fs, process};

use crate::environment::Ambient;
use crate::settings;

mod git;
mod ignore;
mod manage;
mod patterns;
mod secrets;
mod shared;

pub use patterns::Patterns;

/// How many files an error names.
const LISTED: usize = 20;

const MIB: u64 = 1024 * 1024;

/// What is asked of this stage.
#[derive(Debug)]
pub struct Request<'a> {
    /// The project's folder, resolved.
    pub project: &'a Path,
    /// Path of manage.py below it, where it is configured.
    pub manage: Option<&'a str>,
    /// Files to leave out.
    pub exclude: &'a Patterns,
    /// Files to pack although they look like secrets, or are too large.
    pub allow: &'a Patterns,
    /// The largest file that is packed without being allowed, in bytes.
    pub largest: u64,
    /// Paths that the node links into the release: nothing may be there.
    pub shared: &'a Shared,
    /// Whether the working tree has to be that of a commit.
    pub state: State,
    /// Folders of the build itself, which may lie in the project.
    pub own_folders: &'a [PathBuf],
}

/// How the working tree may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it is; that it differs from the commit is said.
    Any,
    /// That of a commit, for a release that can be built again from it.
    Committed,
}

/// The app in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Commit and state; `None` outside of git, or before the first commit.
    pub source: Option<statement::Source>,
    /// Path of manage.py below the app, "manage.py" or "site/manage.py".
    pub manage: String,
    /// How many files and links were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Staged {
    /// The folder of manage.py below the app; empty for the top.
    pub fn folder(&self) -> &str {
        self.manage.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// The files of a project: sorted relative paths.
struct Listing {
    paths: Vec<String>,
    source: Option<statement::Source>,
    /// Tracked files that are not as they were committed.
    changed: Vec<String>,
}

/// A project whose source cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The project's folder is not there, or not a folder.
    #[error("`{}` is not a folder", .0.display())]
    NoProject(PathBuf),
    /// The tree cannot be walked.
    #[error("failed to walk `{}`", .folder.display())]
    Walk {
        /// The project.
        folder: PathBuf,
        /// Why.
        source: walkdir::Error,
    },
    /// git is there and refuses.
    #[error("git cannot say which files of `{}` it tracks", .folder.display())]
    Git {
        /// The project.
        folder: PathBuf,
        /// Its own words.
        source: process::Error,
    },
    /// A name that is not UTF-8 cannot be packed.
    #[error("the file name `{0}` is not UTF-8: rename it, or leave it out with `exclude` in `pannier.toml`")]
    NotUtf8(String),
    /// There is no manage.py.
    #[error("there is no manage.py in `{}`: looked at its top and two folders deep, in {looked}", .project.display())]
    NoManage {
        /// The project.
        project: PathBuf,
        /// Where it was searched: "what git tracks".
        looked: &'static str,
    },
    /// There are several.
    #[error("there are {} manage.py: {}", .0.len(), .0.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" and "))]
    ManyManage(Vec<String>),
    /// The configured one is not among the files.
    #[error("`{0}`, configured as `manage`, is not among the files of the project")]
    WrongManage(String),
    /// A link leads out of the project.
    #[error("the symlink `{link}` leads out of the project, to `{target}`")]
    LinkOut {
        /// The link.
        link: String,
        /// Where it points, as written.
        target: String,
    },
    /// Neither a file nor a link.
    #[error("`{0}` is neither a file nor a symlink")]
    NotAFile(String),
    /// There is no commit to name.
    #[error("`{}` is not the working tree of a commit, and a release has to be", .0.display())]
    NoCommit(PathBuf),
    /// The working tree is not that of its commit.
    #[error("{} from the commit, and a release has to be built from one:{}", differ(.0.len()), listed(.0))]
    Dirty(Vec<String>),
    /// Files that lie where the node will make the link of a shared path.
    #[error("{} would be packed where `[shared]` of `pannier.toml` has a path that is not in the release:{}", count(.0.len()), listed(.0))]
    Shared(Vec<String>),
    /// Files that must not be in a release.
    #[error("{} would be packed that must not be in a release:{}", count(.0.len()), listed(.0))]
    Secrets(Vec<String>),
}

fn count(n: usize) -> String {
    if n == 1 { "a file".to_owned() } else { format!("{n} files") }
}

fn differ(n: usize) -> String {
    if n == 1 { "a tracked file differs".to_owned() } else { format!("{n} tracked files differ") }
}

/// The first of them, a line each.
fn listed(found: &[String]) -> String {
    let shown: String = found.iter().take(LISTED).map(|line| format!("\n  {line}")).collect();
    let more = found.len().saturating_sub(LISTED);
    if more == 0 { shown } else { format!("{shown}\n  and {more} more") }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoManage { .. } => Some("run `pannier build` with the folder of the Django project, or name the file with `manage = \"PATH\"` in pannier.toml".to_owned()),
            Self::ManyManage(paths) => Some(format!("say which one in pannier.toml: `manage = \"{}\"`", paths.first()?)),
            Self::LinkOut { link, .. } => {
                Some(format!("put a copy in its place, or leave it out in pannier.toml: `exclude = [\"{link}\"]`"))
            }
            Self::Secrets(found) => {
                let first = found.first()?.split(": ").next()?;
                Some(format!("leave it out in pannier.toml with `exclude = [\"{first}\"]`, or, where it belongs there, pack it with `allow = [\"{first}\"]`"))
            }
            Self::Shared(found) => {
                let first = found.first()?;
                Some(format!("leave it out in pannier.toml with `exclude = [\"{first}\"]`, or take the path out of `[shared]`"))
            }
            Self::NoCommit(_) => Some("commit the project, or build without `--release`".to_owned()),
            Self::Dirty(_) => Some("`git commit` or `git stash`, or build without `--release`".to_owned()),
            _ => None,
        }
    }
}

/// Copies the app into `to`, which is made.
pub fn stage(request: &Request<'_>, to: &Path, env: &Ambient, sink: &dyn Sink) -> Result<Staged, Error> {
    if !fs::stat(request.project).is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::NoProject(request.project.to_owned()));
    }
    let tracked = git::tracked(request.project, request.own_folders, env, sink)?;
    let (listing, looked, taken) = match tracked {
        Some(listing) => (listing, "what git tracks", " that git tracks"),
        None => {
            let listing = ignore::walk(request.project, request.own_folders, sink)?;
            (
                listing,
                "every folder not on the ignore list",
                ": all that the ignore list leaves, for this is no git checkout",
            )
        }
    };
    check_state(request, &listing)?;
    warn_of_idle("exclude", request.exclude, &listing.paths, sink);
    warn_of_idle("allow", request.allow, &listing.paths, sink);
    let placeholder = |path: &str| shared::is_placeholder(request.shared, path);
    let wanted = |path: &String| path != settings::FILE && !request.exclude.matches(path) && !placeholder(path);
    let paths: Vec<String> = listing.paths.into_iter().filter(wanted).collect();
    shared::check(request.shared, &paths)?;
    let manage = manage::find(&paths, request.manage, request.project, looked)?;
    check(request, &paths)?;
    let bytes = copy_all(request.project, &paths, to)?;
    shared::make_parents(request.shared, to)?;
    sink.emit(Event::Note { text: format!("{} files{taken}", paths.len()) });
    Ok(Staged { source: listing.source, manage, files: paths.len() as u64, bytes })
}

fn check_state(request: &Request<'_>, listing: &Listing) -> Result<(), Error> {
    match request.state {
        State::Any => Ok(()),
        State::Committed if listing.source.is_none() => Err(Error::NoCommit(request.project.to_owned())),
        State::Committed if !listing.changed.is_empty() => Err(Error::Dirty(listing.changed.clone())),
        State::Committed => Ok(()),
    }
}

/// A pattern that matches nothing is usually misspelt.
fn warn_of_idle(key: &str, patterns: &Patterns, paths: &[String], sink: &dyn Sink) {
    for pattern in patterns.idle(paths) {
        let text = format!("`{pattern}`, configured in `{key}`, matches no file of the project");
        sink.emit(Event::Warning { text });
    }
}

/// Looks at every file before anything is copied.
fn check(request: &Request<'_>, paths: &[String]) -> Result<(), Error> {
    let mut found = Vec::new();
    for path in paths {
        let full = request.project.join(path);
        let meta = fs::lstat(&full)?;
        let kind = meta.file_type();
        if kind.is_symlink() {
            check_link(path, &fs::read_link(&full)?)?;
        } else if !kind.is_file() {
            return Err(Error::NotAFile(path.clone()));
        } else if !request.allow.matches(path)
            && let Some(what) = unfit(path, &full, meta.len(), request.largest)?
        {
            found.push(format!("{path}: {what}"));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Error::Secrets(found)) }
}

/// Why a file should not be packed, if it should not.
fn unfit(path: &str, full: &Path, size: u64, largest: u64) -> Result<Option<String>, fs::Error> {
    if let Some(what) = secrets::recognise(path, &head(full)?) {
        return Ok(Some(what.to_owned()));
    }
    let too_large = || format!("{} MiB, where {} MiB is the most (`largest_file`)", size.div_ceil(MIB), largest / MIB);
    Ok((size > largest).then(too_large))
}

fn head(path: &Path) -> Result<Vec<u8>, fs::Error> {
    let mut bytes = Vec::new();
    fs::open(path)?.take(secrets::HEAD).read_to_end(&mut bytes).map_err(fs::failed("read", path))?;
    Ok(bytes)
}

/// A link may only be relative and stay inside, read by its text alone: on the node nothing else is known.
fn check_link(link: &str, target: &Path) -> Result<(), Error> {
    let out = || Error::LinkOut { link: link.to_owned(), target: target.display().to_string() };
    let text = target.to_str().ok_or_else(out)?;
    let mut depth = link.matches('/').count();
    if text.starts_with('/') {
        return Err(out());
    }
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or_else(out)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

fn copy_all(project: &Path, paths: &[String], to: &Path) -> Result<u64, fs::Error> {
    fs::create_dir_all(to)?;
    let mut bytes = 0;
    for path in paths {
        let (from, to) = (project.join(path), to.join(path));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        bytes += copy(&from, &to)?;
    }
    Ok(bytes)
}

/// Copies a file or a link; a file's mode becomes 0755 when its owner may execute it, else 0644.
fn copy(from: &Path, to: &Path) -> Result<u64, fs::Error> {
    let meta = fs::lstat(from)?;
    if meta.is_symlink() {
        fs::symlink(&fs::read_link(from)?, to)?;
        return Ok(0);
    }
    let bytes = fs::copy(from, to)?;
    let mode = if meta.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
    fs::set_mode(to, mode)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
