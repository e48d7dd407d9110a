//! requirements.txt: pip's form as far as it matters here: continued lines, comments, includes, constraints, hashes,
//! indexes, and folders and commits of the project's own.

use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;

use super::pin::{self, Pin, Source};
use super::{Ask, Error, LIMIT, Required, Scene, Wanted, Why, applies, index, normalise};

/// How many files deep includes may go: more is a circle.
pub(super) const DEPTH: usize = 16;

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Normalised project name (PEP 503); empty where only its source says.
    pub name: String,
    /// Name, extras, version and marker as written, without hashes.
    pub text: String,
    /// "sha256:..." as written; empty when it has none.
    pub hashes: Vec<String>,
    /// Where it stands: "requirements.txt:12".
    pub at: String,
    /// Where it comes from, when not from an index.
    origin: Option<Origin>,
}

/// A requirement that names its place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Path(String),
    Url(String),
    Git(String),
}

/// All requirements of a file and of those that it includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// The file they were read from first, relative to the project.
    pub file: String,
    /// In the order they were read, included files in their place.
    pub list: Vec<Requirement>,
    /// Lines of constraint files, in the same form.
    pub constraints: Vec<Requirement>,
    /// Lines that name indexes and folders of links, with where they stood.
    pub(super) indexes: Vec<(String, String)>,
    /// Options that have no meaning here, with where they stood.
    pub(super) passed_over: Vec<String>,
}

/// Reads a list: locked when every requirement has its hashes.
pub(super) fn read(ask: &Ask<'_>) -> Result<Required, Error> {
    let mut all = List { file: ask.file.to_owned(), ..List::default() };
    all.read(&ask.text()?, &ask.project.join(ask.file), ask.file, DEPTH, Role::Requirements)?;
    all.hashed_or_not()?;
    let mut indexes = index::of_uv(ask)?;
    for (at, line) in &all.indexes {
        indexes.push(index::with_variables(line, at, ask.tools)?);
    }
    let notes = all.passed_over.iter().map(|line| format!("not followed: {line}")).collect();
    let wanted =
        if all.is_locked() { Wanted::Pinned(all.pins(ask.project, &ask.scene(&[]))?) } else { Wanted::Open(all) };
    Ok(Required { file: ask.file.to_owned(), wanted, indexes, notes })
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy)]
enum Role {
    Requirements,
    Constraints,
}

impl List {
    /// Reads one more text of the form that pip reads.
    pub fn of_text(text: &str, file: &str) -> Result<Self, Error> {
        let mut all = Self { file: file.to_owned(), ..Self::default() };
        all.read(text, Path::new(file), file, 0, Role::Requirements)?;
        Ok(all)
    }

    /// The requirements that apply, each with the bytes it may be.
    pub fn pins(&self, project: &Path, scene: &Scene) -> Result<Vec<Pin>, Error> {
        let pins = self.list.iter().map(|one| one.pin(project, scene));
        pins.filter_map(Result::transpose).collect()
    }

    /// Adds a line; for lists that stand in other files.
    pub(super) fn add(&mut self, line: &str, at: String) -> Result<(), Error> {
        self.list.push(requirement(line, at)?);
        Ok(())
    }

    /// True when nothing is left to resolve. A commit and a folder of the project are their own proof.
    pub(super) fn is_locked(&self) -> bool {
        let mut hashed = self.list.iter().filter(|one| one.needs_hash());
        let any = self.list.iter().any(|one| !one.hashes.is_empty());
        (any || self.list.is_empty()) && hashed.all(|one| !one.hashes.is_empty())
    }

    fn read(&mut self, text: &str, path: &Path, file: &str, depth: usize, to: Role) -> Result<(), Error> {
        for (number, line) in logical_lines(text) {
            let at = format!("{file}:{number}");
            match Line::of(&line) {
                Line::Include(other) => self.include(other, path, &at, depth, to)?,
                Line::Constraint(other) => self.include(other, path, &at, depth, Role::Constraints)?,
                Line::Index => self.indexes.push((at, index::line(&line, path))),
                Line::Editable => return Err(refused(&at, &line, Why::Editable)),
                Line::Option => self.passed_over.push(format!("{at}: {line}")),
                Line::Requirement => match to {
                    Role::Requirements => self.add(&line, at)?,
                    Role::Constraints => self.constraints.push(requirement(&line, at)?),
                },
            }
        }
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
        let mut bare = self.list.iter().filter(|one| one.needs_hash() && one.hashes.is_empty());
        match bare.next() {
            Some(bare) if hashed => {
                let file = self.file.clone();
                Err(Error::HashMissing { at: bare.at.clone(), text: bare.text.clone(), file })
            }
            _ => Ok(()),
        }
    }
}

impl Requirement {
    fn needs_hash(&self) -> bool {
        !matches!(self.origin, Some(Origin::Path(_) | Origin::Git(_)))
    }

    /// As uv can read it from another folder: a path is made absolute.
    pub fn anywhere(&self, project: &Path) -> Result<String, Error> {
        let Some(Origin::Path(path)) = &self.origin else { return Ok(self.text.clone()) };
        match Source::of_path(path, project, project, &self.at)? {
            Source::Folder(real) | Source::File(real) => {
                Ok(self.text.replacen(path.as_str(), &real.to_string_lossy(), 1))
            }
            _ => Ok(self.text.clone()),
        }
    }

    fn pin(&self, project: &Path, scene: &Scene) -> Result<Option<Pin>, Error> {
        let (text, marker) = without_marker(&self.text);
        if !applies(marker, scene, &self.at)? {
            return Ok(None);
        }
        let source = match &self.origin {
            None => Source::Index,
            Some(Origin::Git(line)) => Source::of_git_line(line, &self.at)?,
            Some(Origin::Path(path)) => Source::of_path(path, project, project, &self.at)?,
            Some(Origin::Url(url)) => Source::Url(url.clone()),
        };
        let version = if source == Source::Index { Some(self.version(text)?) } else { None };
        let hashes = pin::sha256s(&self.hashes);
        if hashes.is_empty() && self.needs_hash() {
            return Err(refused(&self.at, text, Why::NoHash));
        }
        let name = if self.name.is_empty() { text.to_owned() } else { self.name.clone() };
        Ok(Some(Pin { name, version, hashes, files: Vec::new(), source, at: self.at.clone() }))
    }

    fn version(&self, text: &str) -> Result<String, Error> {
        let after = text.find("==").map(|at| text[at..].trim_start_matches('=').trim());
        let exact = after.filter(|version| !version.is_empty() && !version.contains(['*', ',', ' ', '<', '>']));
        exact.map(str::to_owned).ok_or_else(|| refused(&self.at, text, Why::Range))
    }
}

/// The text of a list, one requirement with its hashes per line, as pip and uv read it.
pub fn print<'a>(list: impl IntoIterator<Item = &'a Requirement>) -> String {
    let hash = |hash: &String| format!(" --hash={hash}");
    list.into_iter().map(|one| format!("{}{}\n", one.text, one.hashes.iter().map(hash).collect::<String>())).collect()
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
            option if index::OPTIONS.contains(&option) => Self::Index,
            _ if line.starts_with("-r") => Self::Include(line[2..].trim()),
            _ if line.starts_with("-c") => Self::Constraint(line[2..].trim()),
            _ => Self::Option,
        }
    }
}

fn requirement(line: &str, at: String) -> Result<Requirement, Error> {
    let (text, options) = line.split_once(" --").map_or((line, ""), |(text, options)| (text.trim_end(), options));
    let words = options.split_whitespace().filter_map(|word| word.trim_start_matches("--").strip_prefix("hash="));
    let hashes = words.map(str::to_owned).collect();
    let (bare, _) = without_marker(text);
    let (name, target) = name_and_target(bare);
    let origin = target.map(|target| origin(target, &at)).transpose()?;
    if name.is_empty() && origin.is_none() {
        return Err(refused(&at, text, Why::Nothing));
    }
    Ok(Requirement { name, text: text.to_owned(), hashes, at, origin })
}

/// The marker begins at `;`; in an address only after a blank.
fn without_marker(text: &str) -> (&str, &str) {
    let cut = if text.contains("://") { text.find(" ;") } else { text.find(';') };
    cut.map_or((text, ""), |at| (text[..at].trim_end(), text[at..].trim_start_matches([' ', ';'])))
}

/// The project's name, and the place it is taken from when the line says one.
fn name_and_target(text: &str) -> (String, Option<&str>) {
    let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    let after = text[name.len()..].trim_start();
    let after =
        after.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(after, |(_, rest)| rest.trim_start());
    if let Some(target) = after.strip_prefix('@') {
        return (normalise(&name), Some(target.trim()));
    }
    let is_archive = [".whl", ".tar.gz", ".zip"].iter().any(|end| text.ends_with(end));
    if text.contains("://") || text.starts_with(['.', '/']) || after.starts_with('/') || is_archive {
        let egg = text.split_once("#egg=").or_else(|| text.split_once("&egg=")).map(|(_, egg)| egg);
        let egg = egg.and_then(|egg| egg.split(['&', '[']).next()).unwrap_or_default();
        return (normalise(egg), Some(text));
    }
    (normalise(&name), None)
}

fn origin(target: &str, at: &str) -> Result<Origin, Error> {
    let scheme = target.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        None | Some("file") => Ok(Origin::Path(target.to_owned())),
        Some("http" | "https") => Ok(Origin::Url(target.to_owned())),
        Some(scheme) if scheme.starts_with("git+") => Ok(Origin::Git(target.to_owned())),
        Some(_) => Err(refused(at, target, Why::OtherVcs)),
    }
}

fn refused(at: &str, text: &str, why: Why) -> Error {
    Error::Refused { at: at.to_owned(), text: text.to_owned(), why }
}
