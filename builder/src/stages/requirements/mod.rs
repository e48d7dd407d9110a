//! Requirements: the dependencies as a project lists them, read into one flat list.
//!
//! The parser knows pip's file form as far as it matters here: continued lines, comments, includes, constraints, hashes.
//! What would make a build depend on another index or on code that no hash can hold is dropped (index options) or
//! refused by file and line (URLs, version control, local paths, editable installs).

use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;
use serde::Deserialize;

/// A hand-written or generated list; 4 MiB are some 20,000 hashed requirements.
const LIMIT: u64 = 4 * 1024 * 1024;

/// How many files deep includes may go: more is a circle.
const DEPTH: usize = 16;

/// Options that name an index: that is the build machine's business, configured as for pip.
const INDEX_OPTIONS: &[&str] =
    &["-i", "--index-url", "--pypi-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--trusted-host"];

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Normalised project name (PEP 503).
    pub name: String,
    /// Name, extras, version and marker as written, without hashes.
    pub text: String,
    /// "sha256:..." as written; empty when it has none.
    pub hashes: Vec<String>,
    /// Where it stands: "requirements.txt:12".
    pub at: String,
}

/// All requirements of a project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The file they were read from first, relative to the project.
    pub file: String,
    /// In the order they were read, included files in their place.
    pub list: Vec<Requirement>,
    /// Lines of constraint files, in the same form.
    pub constraints: Vec<Requirement>,
    /// Index options that were dropped, with where they stood.
    pub dropped: Vec<String>,
}

/// Requirements that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// There is no file that lists dependencies.
    #[error("the project lists no dependencies: looked for {}", .0.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", "))]
    None(Vec<String>),
    /// An included file is not there.
    #[error("{at}: the file `{file}` is not there")]
    NotThere {
        /// Where it is included.
        at: String,
        /// The file, as written.
        file: String,
    },
    /// Includes go round in a circle.
    #[error("`{0}` is included by itself, or more than {DEPTH} files deep")]
    Circle(String),
    /// A requirement that no hash can hold.
    #[error("{at}: `{text}` {why}")]
    Refused {
        /// Where it stands.
        at: String,
        /// The line.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Some requirements have hashes and this one has none.
    #[error("{at}: `{text}` has no hash, but others in `{file}` have one")]
    HashMissing {
        /// Where it stands.
        at: String,
        /// The requirement.
        text: String,
        /// The list.
        file: String,
    },
    /// pyproject.toml is not valid.
    #[error("`{file}` is not valid")]
    Toml {
        /// The file.
        file: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// pyproject.toml does not list the dependencies itself.
    #[error("`{file}` has no `[project] dependencies`{}", if *.dynamic { ": they are declared `dynamic`" } else { "" })]
    NotInProject {
        /// The file.
        file: String,
        /// True when it says that a build backend knows them.
        dynamic: bool,
    },
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::None(_) | Self::NotInProject { .. } => {
                Some("name the file in pannier.toml: `requirements = \"requirements/production.txt\"`".to_owned())
            }
            Self::HashMissing { .. } => {
                Some("write the list anew, for example with `uv pip compile --generate-hashes`".to_owned())
            }
            Self::Refused { .. } => Some("depend on a released version by name".to_owned()),
            _ => None,
        }
    }
}

/// Finds and reads the list: the configured file, else requirements.txt or pyproject.toml beside manage.py or at the top.
pub fn find(project: &Path, folder: &str, configured: Option<&str>) -> Result<Requirements, Error> {
    let candidates = configured.map_or_else(|| candidates(folder), |file| vec![file.to_owned()]);
    let found = candidates.iter().find(|file| fs::exists(&project.join(file)));
    let Some(file) = found else { return Err(Error::None(candidates)) };
    let text = fs::read_text(&project.join(file), LIMIT)?;
    let mut all = Requirements { file: file.clone(), ..Requirements::default() };
    if file.ends_with(".toml") {
        let lines = project_dependencies(&text, file)?;
        lines.iter().try_for_each(|line| all.add(line, file.clone()))?;
    } else {
        all.read(&text, &project.join(file), file, DEPTH, Role::Requirements)?;
    }
    all.hashed_or_not()?;
    Ok(all)
}

fn candidates(folder: &str) -> Vec<String> {
    let folders = if folder.is_empty() { vec![String::new()] } else { vec![format!("{folder}/"), String::new()] };
    let files = ["requirements.txt", "pyproject.toml"];
    folders.iter().flat_map(|folder| files.map(|file| format!("{folder}{file}"))).collect()
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy)]
enum Role {
    Requirements,
    Constraints,
}

impl Requirements {
    /// True when every requirement has a hash, so that the list is a lock as it stands.
    pub fn are_locked(&self) -> bool {
        self.list.iter().all(|requirement| !requirement.hashes.is_empty())
    }

    /// Reads one more text of the form that pip reads.
    pub fn of_text(text: &str, file: &str) -> Result<Self, Error> {
        let mut all = Self { file: file.to_owned(), ..Self::default() };
        all.read(text, Path::new(file), file, 0, Role::Requirements)?;
        Ok(all)
    }

    fn read(&mut self, text: &str, path: &Path, file: &str, depth: usize, to: Role) -> Result<(), Error> {
        for (number, line) in logical_lines(text) {
            let at = format!("{file}:{number}");
            match Line::of(&line) {
                Line::Include(other) => self.include(other, path, &at, depth, to)?,
                Line::Constraint(other) => self.include(other, path, &at, depth, Role::Constraints)?,
                Line::Index => self.dropped.push(format!("{at}: {line}")),
                Line::Editable => return Err(refused(&at, &line, "is an editable install")),
                Line::Option => {}
                Line::Requirement => match to {
                    Role::Requirements => self.add(&line, at)?,
                    Role::Constraints => self.constraints.push(requirement(&line, at)?),
                },
            }
        }
        Ok(())
    }

    fn add(&mut self, line: &str, at: String) -> Result<(), Error> {
        self.list.push(requirement(line, at)?);
        Ok(())
    }

    fn include(&mut self, other: &str, from: &Path, at: &str, depth: usize, to: Role) -> Result<(), Error> {
        let depth = depth.checked_sub(1).ok_or_else(|| Error::Circle(other.to_owned()))?;
        let path: PathBuf = from.with_file_name(other);
        let name = at.rsplit_once('/').map_or_else(|| other.to_owned(), |(folder, _)| format!("{folder}/{other}"));
        let missing = || Error::NotThere { at: at.to_owned(), file: other.to_owned() };
        let text = fs::if_there(fs::read_text(&path, LIMIT))?.ok_or_else(missing)?;
        self.read(&text, &path, &name, depth, to)
    }

    fn hashed_or_not(&self) -> Result<(), Error> {
        let hashed = self.list.iter().any(|requirement| !requirement.hashes.is_empty());
        match self.list.iter().find(|requirement| requirement.hashes.is_empty()) {
            Some(bare) if hashed => {
                let file = self.file.clone();
                Err(Error::HashMissing { at: bare.at.clone(), text: bare.text.clone(), file })
            }
            _ => Ok(()),
        }
    }
}

/// The text of a list, one requirement with its hashes per line, as pip and uv read it.
pub fn print<'a>(list: impl IntoIterator<Item = &'a Requirement>) -> String {
    let hash = |hash: &String| format!(" --hash={hash}");
    list.into_iter().map(|one| format!("{}{}\n", one.text, one.hashes.iter().map(hash).collect::<String>())).collect()
}

/// A project name as the index compares it (PEP 503).
pub fn normalise(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// Lines with their numbers: comments off, continued lines joined, empty ones left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = without_comment(line).trim_end();
        let (line, continued) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match lines.last_mut() {
            Some((_, last)) if open => *last = format!("{} {}", last.trim_end(), line.trim()),
            _ => lines.push((number, line.trim().to_owned())),
        }
        open = continued;
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// A `#` begins a comment at the start of a line or after a blank.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    line.match_indices('#').find(begins).map_or(line, |(at, _)| &line[..at])
}

/// What kind of line it is.
enum Line<'a> {
    Include(&'a str),
    Constraint(&'a str),
    Index,
    Editable,
    Option,
    Requirement,
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        if !line.starts_with('-') {
            return Self::Requirement;
        }
        let end = line.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(line.len());
        let value = line[end..].trim_start_matches('=').trim();
        match &line[..end] {
            "-r" | "--requirement" => Self::Include(value),
            "-c" | "--constraint" => Self::Constraint(value),
            "-e" | "--editable" => Self::Editable,
            option if INDEX_OPTIONS.contains(&option) => Self::Index,
            _ if line.starts_with("-r") => Self::Include(line[2..].trim()),
            _ if line.starts_with("-c") => Self::Constraint(line[2..].trim()),
            _ => Self::Option,
        }
    }
}

fn requirement(line: &str, at: String) -> Result<Requirement, Error> {
    let (text, options) = line.split_once(" --").map_or((line, ""), |(text, options)| (text.trim_end(), options));
    let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let after = text[name.len()..].trim_start();
    let is_path = text.contains("://") || text.starts_with(['.', '/']) || after.starts_with('/');
    if is_path || after.starts_with('@') || text.ends_with(".whl") || text.ends_with(".tar.gz") {
        return Err(refused(&at, text, "is a URL, a path or a checkout, not a release from an index"));
    }
    if name.is_empty() {
        return Err(refused(&at, text, "is not a requirement"));
    }
    let words = options.split_whitespace().filter_map(|word| word.trim_start_matches("--").strip_prefix("hash="));
    let hashes = words.map(str::to_owned).collect();
    Ok(Requirement { name: normalise(&name), text: text.to_owned(), hashes, at })
}

fn refused(at: &str, text: &str, why: &'static str) -> Error {
    Error::Refused { at: at.to_owned(), text: text.to_owned(), why }
}

/// `[project] dependencies` of a pyproject.toml.
fn project_dependencies(text: &str, file: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct PyProject {
        project: Option<Project>,
    }
    #[derive(Deserialize)]
    struct Project {
        dependencies: Option<Vec<String>>,
        #[serde(default)]
        dynamic: Vec<String>,
    }
    let read: PyProject = toml::from_str(text).map_err(|source| Error::Toml { file: file.to_owned(), source })?;
    let dynamic =
        read.project.as_ref().is_some_and(|project| project.dynamic.iter().any(|name| name == "dependencies"));
    let listed = read.project.and_then(|project| project.dependencies);
    listed.ok_or_else(|| Error::NotInProject { file: file.to_owned(), dynamic })
}

#[cfg(test)]
mod tests;
