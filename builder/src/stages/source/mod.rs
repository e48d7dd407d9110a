//! Source: which files of the project are the app, and their copy in the tree of the release.
//!
//! In a git checkout that is what git tracks, as it lies in the working tree; elsewhere every file less an ignore list.
//! Nothing is copied before every file has been looked at: no private key, no environment file and no database is
//! packed by accident, and no symlink leads out of the project.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::statement;
use pannier_shared::sys::{fs, process};

use crate::environment::Ambient;

mod git;
mod ignore;
mod manage;
mod patterns;
mod secrets;

pub use patterns::Patterns;

/// What is asked of this stage.
#[derive(Debug)]
pub struct Request<'a> {
    /// The project's folder, resolved.
    pub project: &'a Path,
    /// Path of manage.py below it, where it is configured.
    pub manage: Option<&'a str>,
    /// Files to leave out.
    pub exclude: &'a Patterns,
    /// Files to pack although they look like secrets.
    pub allow: &'a Patterns,
    /// Folders of the build itself, which may lie in the project.
    pub own_folders: &'a [PathBuf],
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
    /// Files that must not be in a release.
    #[error("{} would be packed that must not be in a release:{}", count(.0.len()), .0.iter().map(|s| format!("\n  {s}")).collect::<String>())]
    Secrets(Vec<String>),
}

fn count(n: usize) -> String {
    if n == 1 { "a file".to_owned() } else { format!("{n} files") }
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
                Some(format!("leave it out in pannier.toml with `exclude = [\"{first}\"]`, or, where it is no secret, pack it with `allow = [\"{first}\"]`"))
            }
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
    let paths: Vec<String> = listing.paths.into_iter().filter(|path| !request.exclude.matches(path)).collect();
    let manage = manage::find(&paths, request.manage, request.project, looked)?;
    check(request, &paths)?;
    let bytes = copy_all(request.project, &paths, to)?;
    sink.emit(Event::Note { text: format!("{} files{taken}", paths.len()) });
    Ok(Staged { source: listing.source, manage, files: paths.len() as u64, bytes })
}

/// Looks at every file before anything is copied.
fn check(request: &Request<'_>, paths: &[String]) -> Result<(), Error> {
    let mut found = Vec::new();
    for path in paths {
        let full = request.project.join(path);
        let kind = fs::lstat(&full)?.file_type();
        if kind.is_symlink() {
            check_link(path, &fs::read_link(&full)?)?;
        } else if !kind.is_file() {
            return Err(Error::NotAFile(path.clone()));
        } else if !request.allow.matches(path)
            && let Some(what) = secrets::recognise(path, &head(&full)?)
        {
            found.push(format!("{path}: {what}"));
        }
    }
    if found.is_empty() { Ok(()) } else { Err(Error::Secrets(found)) }
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
