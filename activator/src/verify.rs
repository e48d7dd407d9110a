//! Compares a release on the disk with what was signed: every file hashed again, every mode and link looked at.
//!
//! The proof starts where it started when the release was fetched: the kept statement must be the very file the state
//! remembers and be signed by a trusted key, the kept tables must have the digests it names. (Whether the key was
//! valid is asked for the time of the fetch: a key that expired since does not make an old release false.) All damage
//! is named, not only the first.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_shared::archive::read::Contents;
use pannier_shared::digest::{self, Digest};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::signature::{self, Trust, Verified, VerifyError};
use pannier_shared::statement::{Document, Interpreter, InterpreterOrigin, Statement};
use pannier_shared::sys::fs;
use pannier_shared::sys::look::Look;
use serde::Serialize;

use crate::interpreter;
use crate::layout::{Root, User};
use crate::node::{NotHere, View};
use crate::record;
use crate::state::Release;
use crate::steps::fetch::{self, kept_contents};

/// The name of this step in its events.
const STEP: &str = "verify";

/// A release that cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// No release was named, and none serves.
    #[error("nothing of `{0}` serves, so there is no release to verify")]
    NothingServes(pannier_shared::id::AppName),
    /// The kept statement is not to be believed.
    #[error("the statement kept of `{version}` does not hold")]
    Statement {
        /// The release.
        version: Version,
        /// Why.
        source: VerifyError,
    },
    /// The kept statement is not the one the release came with.
    #[error("the statement kept of `{version}` was replaced: expected sha256:{expected}, found sha256:{found}")]
    Replaced {
        /// The release.
        version: Version,
        /// From the state file.
        expected: Digest,
        /// Of the file.
        found: Digest,
    },
    /// The kept tables do not hold.
    #[error("the tables kept of `{version}` do not hold")]
    Tables {
        /// The release.
        version: Version,
        /// Why.
        source: Box<fetch::Error>,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// One thing that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where, below the release.
    pub path: String,
    /// What.
    #[serde(flatten)]
    pub damage: Damage,
}

/// How something differs from what was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// It is not there.
    Missing,
    /// Nothing of that name was signed.
    Extra,
    /// A file's content is another one.
    Changed,
    /// A file cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
    /// It is something else: a link where a file should be, and so on.
    Kind {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// It belongs to somebody else.
    Owner {
        /// The number of that user.
        uid: u32,
    },
    /// Its permission bits are others.
    Mode {
        /// What they should be, octal.
        expected: String,
        /// What they are, octal.
        found: String,
    },
    /// A link leads elsewhere.
    Link {
        /// Where it should lead.
        expected: String,
        /// Where it leads.
        found: String,
    },
    /// The link to the node's interpreter does not lead to one that fits.
    Interpreter {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Missing => f.write_str("missing"),
            Damage::Extra => f.write_str("extra"),
            Damage::Changed => f.write_str("changed"),
            Damage::Unreadable { why } => write!(f, "unreadable: {why}"),
            Damage::Kind { expected, found } => write!(f, "{found} instead of {expected}"),
            Damage::Owner { uid } => write!(f, "belongs to {}", User(*uid)),
            Damage::Mode { expected, found } => write!(f, "mode {found} instead of {expected}"),
            Damage::Link { expected, found } => write!(f, "leads to `{found}` instead of `{expected}`"),
            Damage::Interpreter { why } => write!(f, "interpreter: {why}"),
        }
    }
}

impl Damage {
    /// Permission bits that are others.
    pub fn mode(expected: u32, found: u32) -> Self {
        let octal = |mode| format!("{mode:04o}");
        Damage::Mode { expected: octal(expected), found: octal(found) }
    }
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The release.
    pub version: Version,
    /// Entries compared.
    pub entries: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// All damage, by path.
    pub damaged: Vec<Finding>,
}

/// Compares a release, or with none named the one that serves.
pub fn verify(view: &View, version: Option<&Version>, trust: &Trust, sink: &dyn Sink) -> Result<Report, Error> {
    let version = version.or(view.state.live_version()).ok_or_else(|| Error::NothingServes(view.app.clone()))?;
    let not_here = || NotHere::of(&view.app, version, &view.state);
    let root = view.root.as_ref().ok_or_else(not_here)?;
    sink.emit(Event::Started { step: STEP, does: "compare the release with what was signed" });
    let began = pannier_shared::sys::clock::monotonic();
    let release = view.state.release(version).ok_or_else(not_here)?;
    let statement = kept_statement(root, version, release, trust)?;
    let contents = kept_contents(&statement, &root.toc(version))
        .map_err(|source| Error::Tables { version: version.clone(), source: source.into() })?;
    let report = compare(&root.release(version), version, &contents, &statement.release.interpreter, sink)?;
    let moved = Amount { bytes: report.bytes, items: report.entries };
    let said = match report.damaged.len() {
        0 => "as it was signed".to_owned(),
        count => format!("{count} damaged"),
    };
    sink.emit(Event::Finished { step: STEP, took: began.elapsed(), moved, said });
    Ok(report)
}

/// The statement kept of a release, proven again.
pub fn kept_statement(
    root: &Root,
    version: &Version,
    release: &Release,
    trust: &Trust,
) -> Result<Verified<Statement>, Error> {
    let bytes = fs::read(&record::statement(&root.toc(version)), Statement::LIMIT)?;
    let found = Digest::of(&bytes);
    if found != release.statement {
        return Err(Error::Replaced { version: version.clone(), expected: release.statement, found });
    }
    let verified = signature::verify(&bytes, trust, release.prepared);
    verified.map_err(|source| Error::Statement { version: version.clone(), source })
}

fn compare(
    tree: &Path,
    version: &Version,
    contents: &Contents,
    interpreter: &Interpreter,
    sink: &dyn Sink,
) -> Result<Report, Error> {
    let mut found = walk(tree)?;
    let mut compared = Compared { tree, sink, done: Amount::default(), damaged: Vec::new() };
    for folder in contents.folders() {
        compared.folder(folder, found.remove(folder));
    }
    for file in contents.files() {
        if let Some(meta) = compared.is("a file", &file.path, found.remove(&file.path)) {
            compared.mode(&file.path, file.mode(), &meta);
            compared.content(&file.path, file.size, file.sha256, &meta);
        }
    }
    for link in contents.links() {
        if compared.is("a link", &link.path, found.remove(&link.path)).is_some() {
            compared.link(&link.path, &link.target);
        }
    }
    if interpreter.origin == InterpreterOrigin::System
        && compared.is("a link", &interpreter.link, found.remove(&interpreter.link)).is_some()
    {
        compared.interpreter(interpreter);
    }
    for path in found.into_keys() {
        compared.say(&path, Damage::Extra);
    }
    let Compared { done, mut damaged, .. } = compared;
    damaged.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Report { version: version.clone(), entries: done.items, bytes: done.bytes, damaged })
}

/// Everything below a folder, by its path there; links are not followed.
fn walk(tree: &Path) -> fs::Result<BTreeMap<String, Metadata>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for name in fs::list(&tree.join(&folder))? {
            let path = folder.join(name);
            let meta = fs::lstat(&tree.join(&path))?;
            if meta.is_dir() {
                folders.push(path.clone());
            }
            found.insert(path.to_string_lossy().into_owned(), meta);
        }
    }
    Ok(found)
}

/// A comparison under way.
struct Compared<'a> {
    tree: &'a Path,
    sink: &'a dyn Sink,
    done: Amount,
    damaged: Vec<Finding>,
}

impl Compared<'_> {
    fn say(&mut self, path: &str, damage: Damage) {
        self.damaged.push(Finding { path: path.to_owned(), damage });
    }

    /// The entry, if it is there and of this kind.
    fn is(&mut self, expected: &'static str, path: &str, found: Option<Metadata>) -> Option<Metadata> {
        self.done.items += 1;
        match found {
            None => self.say(path, Damage::Missing),
            Some(meta) if Look::from(&meta).kind() == expected => return Some(meta),
            Some(meta) => self.say(path, Damage::Kind { expected, found: Look::from(&meta).kind() }),
        }
        None
    }

    fn folder(&mut self, path: &str, found: Option<Metadata>) {
        if let Some(meta) = self.is("a folder", path, found) {
            self.mode(path, 0o755, &meta);
        }
    }

    fn mode(&mut self, path: &str, expected: u32, meta: &Metadata) {
        let found = meta.permissions().mode() & 0o7777;
        if found != expected {
            self.say(path, Damage::mode(expected, found));
        }
    }

    fn content(&mut self, path: &str, size: u64, sha256: Digest, meta: &Metadata) {
        if meta.len() != size {
            return self.say(path, Damage::Changed);
        }
        let full = self.tree.join(path);
        let hashed = fs::open(&full).and_then(|file| digest::of_reader(file).map_err(fs::failed("read", &full)));
        match hashed {
            Ok((found, length)) if (found, length) == (sha256, size) => {}
            Ok(_) => self.say(path, Damage::Changed),
            Err(error) => self.say(path, Damage::Unreadable { why: error.source.to_string() }),
        }
        self.done.bytes += size;
        self.sink.emit(Event::Advanced { step: STEP, done: self.done, total: None });
    }

    fn link(&mut self, path: &str, expected: &str) {
        match fs::read_link(&self.tree.join(path)) {
            Ok(found) if found == Path::new(expected) => {}
            Ok(found) => {
                let found = found.to_string_lossy().into_owned();
                self.say(path, Damage::Link { expected: expected.to_owned(), found });
            }
            Err(error) => self.say(path, Damage::Unreadable { why: error.source.to_string() }),
        }
    }

    /// The one link the node makes itself: absolute, and to the interpreter the release needs.
    fn interpreter(&mut self, wanted: &Interpreter) {
        let why = match fs::read_link(&self.tree.join(&wanted.link)) {
            Ok(target) if !target.is_absolute() => {
                format!("it leads to `{}`, not to an absolute path", target.display())
            }
            Ok(target) => match interpreter::find(wanted, Some(&target)) {
                Ok(_) => return,
                Err(error) => error.to_string(),
            },
            Err(error) => error.source.to_string(),
        };
        self.say(&wanted.link, Damage::Interpreter { why });
    }
}
