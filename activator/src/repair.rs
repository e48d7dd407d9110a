//! Mends a damaged release: compares it with what was signed, and has all that differs made anew (see `fetch::mend`).
//!
//! Where releases share files by hard links, they share damage. So the others that have a damaged file are named, and mended
//! in their turn, each by an operation of its own, from what the first one holds by then.
//!
//! The statement is the root of all proof. One that does not hold is replaced by the store's, if that is the very one that
//! the release came with. A release is mended by name: `current` and the record stay as they are. Processes that run keep
//! the old files until they are started again, which is asked for (`--restart`) and not done by itself: a mend may be done
//! at any time, a restart not.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::published::{self, Published};
use pannier_shared::signature::Verified;
use pannier_shared::statement::Statement;
use pannier_shared::steps;
use pannier_shared::sys::{clock, fs};
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::fetch::{self, Damaged, Mended, Origin, mend};
use crate::layout::Root;
use crate::node::{Node, NotHere};
use crate::resolve::{AnotherHere, already_here};
use crate::state::{Release, State};
use crate::statics;
use crate::steps::{confirm, start};
use crate::verify::{self, Finding, kept_statement, verify_in};

/// Why a release is not mended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// No release was named, and none serves.
    #[error("nothing of `{0}` serves, so there is no release to mend")]
    NothingServes(AppName),
    /// The store's statement is needed, and cannot be had.
    #[error(transparent)]
    Published(Box<published::Error>),
    /// The store's statement is of another release.
    #[error(transparent)]
    AnotherHere(#[from] AnotherHere),
    /// It could not be made anew.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A failed repair; what could be undone was undone.
#[derive(Debug, thiserror::Error)]
#[error("failed to repair `{}` of `{app}`", .version.as_ref().map_or("what serves", Version::as_str))]
pub struct Failure {
    /// The app.
    pub app: AppName,
    /// The release; none when it was not named and none serves.
    pub version: Option<Version>,
    /// Why.
    pub source: Error,
    /// What could not be undone.
    pub left: Vec<steps::NotUndone<fetch::Error>>,
}

/// The app was mended, and could not be started again.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// By the restart command, or by systemd.
    #[error("the release is mended, but `{version}` could not be started again")]
    Restart {
        /// What serves.
        version: Version,
        /// Why.
        source: start::Error,
    },
    /// It is not healthy.
    #[error("the release is mended, but `{version}` is not healthy after its restart")]
    Health {
        /// What serves.
        version: Version,
        /// Why.
        source: confirm::Error,
    },
}

impl NotStarted {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            NotStarted::Restart { source, .. } => source.hint(),
            NotStarted::Health { .. } => None,
        }
    }
}

/// What was done with one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// The release.
    pub version: Version,
    /// What was wrong with its files; nothing when it was as it was signed.
    pub damaged: Vec<Finding>,
    /// What was wrong with what proves it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<String>,
    /// Bytes that came from the store.
    pub bytes: u64,
    /// Requests it took.
    pub requests: u64,
    /// Processes that still run from the files that were replaced.
    pub users: Vec<String>,
}

impl Repaired {
    /// Whether there was anything to mend.
    pub fn was_damaged(&self) -> bool {
        !self.damaged.is_empty() || self.records.is_some()
    }
}

/// Mends a release, or with none named the one that serves, and all that share its damage.
pub fn repair(
    node: &mut Node,
    version: Option<&Version>,
    origin: Origin,
    sink: &dyn Sink,
) -> Result<Vec<Repaired>, Box<Failure>> {
    let app = node.app.clone();
    let failed = |version: Option<&Version>, why: NotMended| {
        let (source, left) = *why;
        Box::new(Failure { app: app.clone(), version: version.cloned(), source, left })
    };
    let Some(first) = version.or(node.state.live_version()).cloned() else {
        return Err(failed(None, Box::new((Error::NothingServes(app.clone()), Vec::new()))));
    };
    let (mut todo, mut done) = (VecDeque::from([first]), Vec::<Repaired>::new());
    while let Some(version) = todo.pop_front() {
        let sound = done.iter().map(|repaired| repaired.version.clone()).collect();
        let (repaired, sharing) =
            one(node, &version, sound, origin, sink).map_err(|why| failed(Some(&version), why))?;
        done.push(repaired);
        let is_new = |other: &Version| !todo.contains(other) && !done.iter().any(|it| it.version == *other);
        let new: Vec<Version> = sharing.into_iter().filter(is_new).collect();
        todo.extend(new);
    }
    statics::tidy(&node.root, &node.state, sink);
    Ok(done)
}

/// Why one was not mended, and what could not be undone.
type NotMended = Box<(Error, Vec<steps::NotUndone<fetch::Error>>)>;

/// Mends one release; gives the others that share its damage, too.
fn one(
    node: &mut Node,
    version: &Version,
    sound: Vec<Version>,
    origin: Origin,
    sink: &dyn Sink,
) -> Result<(Repaired, BTreeSet<Version>), NotMended> {
    let plainly = |error: Error| Box::new((error, Vec::new()));
    let not_here = || plainly(NotHere::of(&node.app, version, &node.state).into());
    let release = node.state.release(version).ok_or_else(not_here)?.clone();
    let (damaged, records) = match verify_in(&node.root, version, &release, origin.trust, sink) {
        Ok(report) => (report.damaged, None),
        Err(error) => (Vec::new(), Some(crate::activate::one_line(&error))),
    };
    let mut repaired =
        Repaired { version: version.clone(), damaged, records, bytes: 0, requests: 0, users: Vec::new() };
    if !repaired.was_damaged() {
        return Ok((repaired, BTreeSet::new()));
    }
    let sharing = share(&node.root, &node.state, &repaired, sink).map_err(|error| plainly(error.into()))?;
    let statement = statement(node, version, &release, origin).map_err(plainly)?;
    let ran = mend(node, Damaged { statement, record: release, sound }, origin, sink);
    let Mended { moved, users } = ran.map_err(|failure| Box::new((failure.error.into(), failure.left)))?;
    (repaired.bytes, repaired.requests, repaired.users) = (moved.bytes, moved.requests, users);
    Ok((repaired, sharing))
}

/// The statement kept of a release, or else the store's, which must be the same.
fn statement(node: &Node, version: &Version, release: &Release, origin: Origin) -> Result<Verified<Statement>, Error> {
    if let Ok(statement) = kept_statement(&node.root, version, release, origin.trust) {
        return Ok(statement);
    }
    let published = Published { store: origin.store, trust: origin.trust, now: clock::now() };
    let statement = origin.runtime.block_on(published.statement(&node.app, version, &Target::host()));
    let statement = statement.map_err(|error| Error::Published(Box::new(error)))?;
    already_here(&node.state, &statement)?;
    Ok(statement)
}

/// The other releases that have one of the damaged files, which are named.
fn share(root: &Root, state: &State, repaired: &Repaired, sink: &dyn Sink) -> fs::Result<BTreeSet<Version>> {
    let tree = root.release(&repaired.version);
    let damaged: HashSet<u64> = repaired.damaged.iter().filter_map(|it| shared_number(&tree.join(&it.path))).collect();
    let mut sharing = BTreeSet::new();
    let others = state.releases().map(|(version, _)| version).filter(|version| **version != repaired.version);
    for version in others.filter(|_| !damaged.is_empty()) {
        let shared = verify::files(&root.release(version))?;
        let mut shared = shared.into_iter().filter(|(_, number)| damaged.contains(number));
        if let Some((path, _)) = shared.next() {
            let more = match shared.count() {
                0 => String::new(),
                more => format!(", and {more} more files"),
            };
            sink.emit(Event::Warning { text: format!("`{version}` shares the damaged file `{path}`{more}") });
            sharing.insert(version.clone());
        }
    }
    Ok(sharing)
}

/// The number of a file that has more than one name.
fn shared_number(path: &Path) -> Option<u64> {
    fs::lstat(path).ok().filter(|meta| meta.is_file() && meta.nlink() > 1).map(|meta| meta.ino())
}

/// Starts what serves again, in the configured way, asks whether it is healthy, and looks whether it stays.
pub fn start_again(node: &Node, runtime: &Runtime) -> Result<(), Box<NotStarted>> {
    let Some(version) = node.state.live_version() else { return Ok(()) };
    let not_started = |source| NotStarted::Restart { version: version.clone(), source };
    start::start(node, version).map_err(not_started)?;
    if let Some(health) = &node.config.health {
        let unhealthy = |source: confirm::Error| {
            let source = source.with_body(|text| start::secrets(node, version).hide(text));
            NotStarted::Health { version: version.clone(), source }
        };
        confirm::confirm(health, runtime).map_err(unhealthy)?;
    }
    Ok(start::look(node, version).map_err(not_started)?)
}
