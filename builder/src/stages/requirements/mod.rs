//! Requirements: what a project depends on, out of whichever file says it.
//!
//! [`TABLE`] lists the files that are known; a row names a file and its reader. Every reader gives the same form: either
//! [`Pin`]s (one exact version each, the digests its file may have, decided for the interpreter), or an open list that uv
//! still has to resolve. A lock is the truth: nothing in it is resolved anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;

use super::interpreter::Interpreter;
use super::platform::Platform;
use super::tools::Tools;
use crate::settings::Index;

mod error;
mod index;
mod list;
mod lock_hash;
mod marker;
mod pin;
mod pipfile;
mod poetry;
mod pylock;
mod pyproject;
mod uv;

pub use error::{Error, Why};
pub use list::{List, Requirement, print};
pub use marker::Scene;
pub use pin::{Pin, Source};

/// A hand-written or generated list; 16 MiB are some 80,000 hashed requirements.
const LIMIT: u64 = 16 * 1024 * 1024;

/// A file that can list dependencies.
pub struct Format {
    /// Its name; for one that was named in pannier.toml, see `fits`.
    name: &'static str,
    /// True when a file name given by hand is of this kind.
    fits: fn(&str) -> bool,
    /// Whether it was written by a tool that resolved everything.
    rank: Rank,
    /// Reads it.
    read: fn(&Ask<'_>) -> Result<Required, Error>,
}

/// Which file counts when several are there: the lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Written by a tool: two of them are one too many.
    Lock,
    /// Written by hand or by a tool.
    List,
    /// Written by hand.
    Project,
}

/// Every input, in the order of precedence. A file that is named by hand is of the first kind that fits.
pub const TABLE: &[Format] = &[
    Format { name: "uv.lock", fits: |name| name == "uv.lock", rank: Rank::Lock, read: uv::read },
    Format { name: "pylock.toml", fits: pylock::fits, rank: Rank::Lock, read: pylock::read },
    Format { name: "poetry.lock", fits: |name| name == "poetry.lock", rank: Rank::Lock, read: poetry::read },
    Format { name: "Pipfile.lock", fits: |name| name == "Pipfile.lock", rank: Rank::Lock, read: pipfile::read },
    Format { name: "pyproject.toml", fits: |name| name.ends_with(".toml"), rank: Rank::Project, read: pyproject::read },
    Format { name: "requirements.txt", fits: |_| true, rank: Rank::List, read: list::read },
];

/// Which part of the dependencies a release gets, and who says where they are fetched.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Extras of the project.
    pub extras: Vec<String>,
    /// Dependency groups (Poetry's groups, Pipfile's categories) besides the production set.
    pub groups: Vec<String>,
    /// Whose package indexes count.
    pub index: Option<Index>,
}

/// What a reader is told.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The project's folder, absolute.
    pub project: &'a Path,
    /// The folder of manage.py below the project; empty for its top.
    pub folder: &'a str,
    /// The file to read, below the project.
    pub file: &'a str,
    /// Extras, groups, indexes.
    pub choice: &'a Choice,
    /// The release's interpreter.
    pub python: &'a Interpreter,
    /// What markers and tags hold there.
    pub platform: &'a Platform,
    /// uv, and the variables that readers may look at.
    pub tools: &'a Tools,
}

/// What a project requires.
#[derive(Debug)]
pub struct Required {
    /// The file that says so, below the project.
    pub file: String,
    /// The dependencies.
    pub wanted: Wanted,
    /// Where they are fetched, as lines of a requirements file; those of the build machine come on top.
    pub indexes: Vec<String>,
    /// What a person should know: something was passed over.
    pub notes: Vec<String>,
}

impl Required {
    /// Nothing yet, out of `file`.
    fn new(file: &str) -> Self {
        let wanted = Wanted::Pinned(Vec::new());
        Self { file: file.to_owned(), wanted, indexes: Vec::new(), notes: Vec::new() }
    }
}

/// The dependencies, pinned or not yet.
#[derive(Debug)]
pub enum Wanted {
    /// A lock.
    Pinned(Vec<Pin>),
    /// A list to be resolved.
    Open(List),
}

/// A file to read.
pub struct Found {
    /// Below the project.
    pub file: String,
    format: &'static Format,
    passed_over: Vec<String>,
}

/// Finds the file that counts: the one named in pannier.toml, else the highest in [`TABLE`]'s order, beside manage.py or
/// else at the top.
pub fn find(project: &Path, folder: &str, configured: Option<&str>) -> Result<Found, Error> {
    if let Some(file) = configured {
        let there = fs::exists(&project.join(file));
        let found = || Found { file: file.to_owned(), format: format_of(file), passed_over: Vec::new() };
        return there.then(found).ok_or_else(|| Error::None { files: vec![file.to_owned()], folder: String::new() });
    }
    let folders = if folder.is_empty() { vec![String::new()] } else { vec![format!("{folder}/"), String::new()] };
    for folder in &folders {
        if let Some(found) = find_in(project, folder)? {
            return Ok(found);
        }
    }
    let files = TABLE.iter().map(|format| format.name.to_owned()).collect();
    Err(Error::None { files, folder: folder.to_owned() })
}

fn find_in(project: &Path, folder: &str) -> Result<Option<Found>, Error> {
    let there = |format: &&Format| fs::exists(&project.join(format!("{folder}{}", format.name)));
    let mut there: Vec<&'static Format> = TABLE.iter().filter(there).collect();
    there.sort_by_key(|format| format.rank);
    let name = |format: &&Format| format!("{folder}{}", format.name);
    let locks: Vec<String> = there.iter().filter(|format| format.rank == Rank::Lock).map(name).collect();
    if locks.len() > 1 {
        return Err(Error::ManyLocks(locks));
    }
    let Some((format, others)) = there.split_first() else { return Ok(None) };
    // pyproject.toml is what the lock was made from, not another list.
    let passed_over = others.iter().filter(|other| other.rank == Rank::List).map(name).collect();
    Ok(Some(Found { file: name(format), format, passed_over }))
}

fn format_of(file: &str) -> &'static Format {
    let name = file.rsplit('/').next().unwrap_or(file);
    TABLE.iter().find(|format| (format.fits)(name)).unwrap_or(&TABLE[TABLE.len() - 1])
}

impl Found {
    /// Reads it; `ask.file` is this one's.
    pub fn read(&self, ask: &Ask<'_>) -> Result<Required, Error> {
        let mut required = (self.format.read)(ask)?;
        let over = |other: &String| format!("`{other}` is not read: `{}` is the lock", self.file);
        required.notes.extend(self.passed_over.iter().map(over));
        if ask.choice.index == Some(Index::Machine) {
            let dropped =
                |line: &String| format!("not followed, `index = \"machine\"`: {}", index::without_secret(line));
            let dropped: Vec<String> = required.indexes.iter().map(dropped).collect();
            required.notes.extend(dropped);
            required.indexes.clear();
        }
        Ok(required)
    }
}

impl Ask<'_> {
    /// The file's text.
    fn text(&self) -> Result<String, Error> {
        Ok(fs::read_text(&self.project.join(self.file), LIMIT)?)
    }

    /// The absolute path of a file beside this one.
    fn beside(&self, name: &str) -> PathBuf {
        self.project.join(self.file).with_file_name(name)
    }

    /// The name, below the project, of a file beside this one.
    fn name_beside(&self, name: &str) -> String {
        self.file.rsplit_once('/').map_or_else(|| name.to_owned(), |(folder, _)| format!("{folder}/{name}"))
    }

    /// The text of a file beside this one, when there is one.
    fn text_beside(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(fs::if_there(fs::read_text(&self.beside(name), LIMIT))?)
    }

    /// What markers are asked against; `groups` are those of the production set.
    fn scene(&self, groups: &[String]) -> Scene {
        let set = |names: &[String]| names.iter().map(|name| normalise(name)).collect::<BTreeSet<_>>();
        let groups = set(groups).into_iter().chain(set(&self.choice.groups)).collect();
        Scene { variables: self.platform.markers.clone(), extras: set(&self.choice.extras), groups }
    }

    /// Refuses an extra or a group that was chosen and does not exist.
    fn all_known(&self, kind: &'static str, chosen: &[String], known: &[String]) -> Result<(), Error> {
        let is_known = |name: &&String| known.iter().any(|other| normalise(other) == normalise(name));
        match chosen.iter().find(|name| !is_known(name)) {
            Some(name) => {
                Err(Error::NoSuch { file: self.file.to_owned(), kind, name: name.clone(), known: known.to_vec() })
            }
            None => Ok(()),
        }
    }
}

/// True when a dependency with this marker applies.
fn applies(marker: &str, scene: &Scene, at: &str) -> Result<bool, Error> {
    marker::holds(marker, scene).map_err(|source| Error::Marker {
        at: at.to_owned(),
        marker: marker.to_owned(),
        source,
    })
}

/// A project name as the index compares it (PEP 503).
pub fn normalise(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn toml_of<T: serde::de::DeserializeOwned>(text: &str, file: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|source| Error::Toml { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests;
