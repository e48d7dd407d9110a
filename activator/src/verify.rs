//! Compares a release on the disk with what was signed: every file hashed again, every mode and link looked at.
//!
//! The proof starts where it started when the release was fetched: the kept statement must be the very file the state
//! remembers and be signed by a trusted key, the kept tables must have the digests it names. (Whether the key was
//! valid is asked for the time of the fetch: a key that expired since does not make an old release false.) All damage
//! is named, not only the first.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use pannier_shared::archive::read::Contents;
use pannier_shared::digest::{self, Digest};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::signature::{self, Trust, Verified, VerifyError};
use pannier_shared::statement::{Description, Document, Interpreter, InterpreterOrigin, Statement};
use pannier_shared::sys::fs;
use pannier_shared::sys::look::Look;
use serde::Serialize;

use crate::activate::one_line;
use crate::interpreter;
use crate::layout::Root;
use crate::node::{NotHere, View};
use crate::plan::Proven;
use crate::record;
use crate::state::Release;
use crate::steps::fetch;

mod damage;
mod walk;

pub use damage::{Damage, Finding};
pub use walk::files;
use walk::{Walked, walk};

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

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The release.
    pub version: Version,
    /// Entries compared.
    pub entries: u64,
    /// Bytes hashed.
    pub bytes: u64,
    /// How many of each kind of damage there are: what a script asks for.
    pub kinds: BTreeMap<&'static str, u64>,
    /// All damage, by path.
    pub damaged: Vec<Finding>,
}

/// What came of one of several releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Compared {
    /// It was compared.
    Report(Report),
    /// What proves it does not hold, or cannot be read.
    Unproven {
        /// The release.
        version: Version,
        /// The error and its causes.
        error: String,
    },
}

/// Compares a release, or with none named the one that serves.
pub fn verify(view: &View, version: Option<&Version>, trust: &Trust, sink: &dyn Sink) -> Result<Report, Error> {
    let version = version.or(view.state.live_version()).ok_or_else(|| Error::NothingServes(view.app.clone()))?;
    let not_here = || NotHere::of(&view.app, version, &view.state);
    let root = view.root.as_ref().ok_or_else(not_here)?;
    let release = view.state.release(version).ok_or_else(not_here)?;
    verify_in(root, version, release, trust, sink)
}

/// Compares all releases on the node; that one cannot be compared does not keep the others from it.
pub fn verify_all(view: &View, trust: &Trust, sink: &dyn Sink) -> Vec<Compared> {
    let Some(root) = &view.root else { return Vec::new() };
    let compare = |(version, release): (&Version, &Release)| match verify_in(root, version, release, trust, sink) {
        Ok(report) => Compared::Report(report),
        Err(error) => Compared::Unproven { version: version.clone(), error: one_line(&error) },
    };
    view.state.releases().map(compare).collect()
}

/// Compares a release of a root.
pub fn verify_in(
    root: &Root,
    version: &Version,
    release: &Release,
    trust: &Trust,
    sink: &dyn Sink,
) -> Result<Report, Error> {
    sink.emit(Event::Started { step: STEP, does: "compare the release with what was signed" });
    let began = pannier_shared::sys::clock::monotonic();
    let statement = kept_statement(root, version, release, trust)?;
    let proven = Proven::kept(&statement.artifact, &root.toc(version))
        .map_err(|source| Error::Tables { version: version.clone(), source: source.into() })?;
    let report = compare(root, version, &proven.contents, &statement.release, sink)?;
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
    root: &Root,
    version: &Version,
    contents: &Contents,
    release: &Description,
    sink: &dyn Sink,
) -> Result<Report, Error> {
    let interpreter = &release.interpreter;
    let tree = root.release(version);
    let owner = fs::lstat(&root.releases())?.uid();
    let Walked { mut found, damaged } = walk(&tree)?;
    let mut compared = Comparison { tree: &tree, owner, sink, done: Amount::default(), damaged };
    compared.mode(".", 0o755, &fs::lstat(&tree)?);
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
    for (path, target) in release.running.shared.links() {
        if compared.is("a link", &path, found.remove(&path)).is_some() {
            compared.link(&path, &target);
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
    let Comparison { done, mut damaged, .. } = compared;
    damaged.sort_by(|a, b| a.path.cmp(&b.path));
    let mut kinds = BTreeMap::new();
    for finding in &damaged {
        *kinds.entry(finding.damage.kind()).or_default() += 1;
    }
    Ok(Report { version: version.clone(), entries: done.items, bytes: done.bytes, kinds, damaged })
}

/// A comparison under way.
struct Comparison<'a> {
    tree: &'a Path,
    /// Whose everything must be.
    owner: u32,
    sink: &'a dyn Sink,
    done: Amount,
    damaged: Vec<Finding>,
}

impl Comparison<'_> {
    fn say(&mut self, path: &str, damage: Damage) {
        self.damaged.push(Finding { path: path.to_owned(), damage });
    }

    /// The entry, if it is there and of this kind.
    fn is(&mut self, expected: &'static str, path: &str, found: Option<Metadata>) -> Option<Metadata> {
        self.done.items += 1;
        match found {
            None => self.say(path, Damage::Missing),
            Some(meta) if Look::from(&meta).kind() == expected => {
                if meta.uid() != self.owner {
                    self.say(path, Damage::Owner { uid: meta.uid() });
                }
                return Some(meta);
            }
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
