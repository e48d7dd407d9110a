//! Removes releases that the node need not keep.
//!
//! What may go is decided by the record ([`choose`]), and then by what is true on the machine: whatever `current` resolves
//! to stays, and so does what a process uses (`sys::in_use`), and what is leased: whoever holds a lock on a release's folder
//! (`flock --shared /srv/polls/releases/v1 some-command`) keeps it for as long as the lock is held.
//!
//! [`table`] removes one release, as an operation of its own. First its hashed static files are led to other releases, and
//! the names that only it has are taken away, so that no name leads nowhere (see `statics`). A release leaves `releases/` in one step, so that what is there
//! is always whole, and only then the processes are looked at once more: nobody can find it any more, and who found it
//! before is seen. Up to there all is taken back when something fails. Once the record has forgotten it, it stays away, and
//! `heal` goes on where an interrupted removal ended (see [`tidy`]).

use std::ffi::OsString;
use std::path::PathBuf;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, Version};
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::sys::lock::{self, Lock};
use pannier_shared::sys::{fs, in_use};

use crate::activate::one_line;
use crate::environment;
use crate::journal::{Ongoing, Operation, Outcome};
use crate::node::Node;
use crate::state::State;
use crate::statics;

mod choose;
mod decide;
mod size;
mod tidy;

pub use choose::{Keep, Unseen, Wanted};
pub use decide::{Decision, Stay, Verdict, decide, others};
pub use size::{Size, freed};
pub use tidy::tidy;

/// The steps that remove one release.
fn table<'a>() -> [Step<Removal<'a>, Error>; 5] {
    [
        Step { name: "static", does: "leave its hashed static files", run: leave, undo: Undo::By(come_back) },
        Step { name: "hide", does: "take it out of `releases/`", run: hide, undo: Undo::By(show) },
        Step { name: "look", does: "see that nobody uses it", run: look, undo: Undo::Nothing("it only looks") },
        Step { name: "forget", does: "take it out of the record", run: forget, undo: Undo::By(recall) },
        Step {
            name: "remove",
            does: "remove its files",
            run: remove,
            undo: Undo::Nothing("what could not be removed is out of sight, and the next command goes on with it"),
        },
    ]
}

/// Why a release is not removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something keeps it.
    #[error("`{version}` stays: {stay}")]
    Stays {
        /// The release.
        version: Version,
        /// What keeps it.
        stay: Stay,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A prune that failed; what could be undone was undone, and what was removed before is removed.
#[derive(Debug, thiserror::Error)]
#[error("failed to prune `{app}`")]
pub struct Failure {
    /// The app.
    pub app: AppName,
    /// Why.
    pub source: Error,
    /// What could not be undone.
    pub left: Vec<steps::NotUndone<Error>>,
}

impl Failure {
    fn new(node: &Node, source: impl Into<Error>) -> Box<Self> {
        Box::new(Self { app: node.app.clone(), source: source.into(), left: Vec::new() })
    }
}

/// Removes all that need not stay; gives what came of each release.
pub fn prune(node: &mut Node, sink: &dyn Sink) -> Result<Vec<Decision>, Box<Failure>> {
    let decided = decide(&node.root, &node.state, node.config.keep);
    let mut decisions = decided.map_err(|error| Failure::new(node, error))?;
    for decision in decisions.iter_mut().filter(|decision| decision.verdict.goes()) {
        decision.verdict = remove_one(node, &decision.version, sink)?;
    }
    Ok(decisions)
}

/// Prunes after something else was done that stands whatever comes of this: failures are warnings.
pub fn prune_afterwards(node: &mut Node, sink: &dyn Sink) {
    let warn = |text| sink.emit(Event::Warning { text });
    match prune(node, sink) {
        Err(failure) => warn(format!("older releases were not removed: {}", one_line(failure.as_ref()))),
        Ok(decisions) => {
            let is_unseen = |it: &&Decision| matches!(it.verdict, Verdict::Stays(Stay::Unseen { .. }));
            if let Some(Decision { version, verdict }) = decisions.iter().find(is_unseen) {
                warn(format!("`{version}` {verdict}"));
            }
        }
    }
}

/// Removes one release, unless something keeps it by now.
pub fn remove_one(node: &mut Node, version: &Version, sink: &dyn Sink) -> Result<Verdict, Box<Failure>> {
    let mut run = match Removal::begin(node, version, sink) {
        Ok(run) => run,
        Err(error) => return Err(Failure::new(node, error)),
    };
    let ran = steps::run_noted(&table(), &mut run, sink, |run, step, phase| Ok(run.ongoing.note(step, phase)?));
    let freed = run.freed;
    run.end(&ran);
    match ran.map_err(|failure| (failure.error, failure.left)) {
        Ok(()) => Ok(Verdict::Removed(freed)),
        Err((Error::Stays { stay, .. }, left)) if left.is_empty() => Ok(Verdict::Stays(stay)),
        Err((source, left)) => Err(Box::new(Failure { app: node.app.clone(), source, left })),
    }
}

/// One removal under way.
struct Removal<'a> {
    node: &'a mut Node,
    sink: &'a dyn Sink,
    version: Version,
    ongoing: Ongoing,
    /// The record that undoing returns to.
    before: State,
    /// Its name below `removed/`.
    name: OsString,
    /// Held from before it is hidden.
    lock: Option<Lock>,
    freed: Size,
}

impl<'a> Removal<'a> {
    fn begin(node: &'a mut Node, version: &Version, sink: &'a dyn Sink) -> fs::Result<Self> {
        let ongoing = node.journal.begin(Operation::Prune, version, node.state.live_version())?;
        let (before, version) = (node.state.clone(), version.clone());
        let name = format!("{version}~{}", fs::random_name()).into();
        Ok(Self { node, sink, version, ongoing, before, name, lock: None, freed: Size::default() })
    }

    /// Where it lies under `releases/`, and where out of sight.
    fn places(&self) -> (PathBuf, PathBuf) {
        (self.node.root.release(&self.version), self.node.root.removed().join(&self.name))
    }

    fn stays(&self, stay: Stay) -> Error {
        Error::Stays { version: self.version.clone(), stay }
    }

    /// Writes down how it ended; a missing line only makes the next command write one.
    fn end(self, ran: &Result<(), steps::Failure<Error>>) {
        let (outcome, detail) = match ran {
            Ok(()) => (Outcome::Done, self.freed.to_string()),
            Err(failure) if failure.left.is_empty() => (Outcome::Undone, one_line(&failure.error)),
            Err(failure) => (Outcome::Mixed, one_line(&failure.error)),
        };
        if let Err(error) = self.ongoing.end(outcome, &detail) {
            let text = format!("the journal's last line is missing: {}", one_line(&error));
            self.sink.emit(Event::Warning { text });
        }
    }
}

/// A union that is not ours has no names that lead to it.
fn leave(run: &mut Removal) -> Result<Done, Error> {
    let root = &run.node.root;
    if root.is_current(&run.version) {
        return Err(run.stays(Stay::Current));
    }
    let others: Vec<Version> = statics::kept(&run.before).into_iter().filter(|it| *it != run.version).collect();
    match statics::leave(root, &run.version, &others) {
        Err(statics::Error::Fs(error)) => Err(error.into()),
        left => Ok(Done::default().moved(0, left.unwrap_or_default())),
    }
}

fn come_back(run: &mut Removal) -> Result<(), Error> {
    match statics::set_right(&run.node.root, &statics::kept(&run.before)) {
        Err(statics::Error::Fs(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn hide(run: &mut Removal) -> Result<Done, Error> {
    let (place, away) = run.places();
    run.lock = lock::try_folder(&place)?;
    if run.lock.is_none() {
        return Err(run.stays(Stay::Leased));
    }
    run.freed = freed([place.as_path()])?;
    fs::commit_dir(&place, &away)?;
    fs::sync_dir(&run.node.root.releases())?;
    Ok(Done::default())
}

fn show(run: &mut Removal) -> Result<(), Error> {
    let (place, away) = run.places();
    if fs::exists(&away) && !fs::exists(&place) {
        fs::commit_dir(&away, &place)?;
        fs::sync_dir(&run.node.root.removed())?;
    }
    run.lock = None;
    Ok(())
}

fn look(run: &mut Removal) -> Result<Done, Error> {
    let used = in_use::below(&run.node.root.removed())?;
    match used.of(&run.name) {
        Some(found) => Err(run.stays(Stay::used(found))),
        None => Ok(Done::default()),
    }
}

fn forget(run: &mut Removal) -> Result<Done, Error> {
    let mut state = run.node.state.clone();
    state.forget(&run.version);
    state.save(&run.node.root.state())?;
    run.node.state = state;
    Ok(Done::default())
}

/// What counts is the file: writing it may have failed with the new one in place.
fn recall(run: &mut Removal) -> Result<(), Error> {
    run.node.state = run.before.clone();
    let as_before = State::load(&run.node.root.state(), &run.node.app).is_ok_and(|state| state == run.before);
    if as_before { Ok(()) } else { Ok(run.node.save()?) }
}

/// Never an error: what lies there is forgotten, and must not come back when half of it is gone.
fn remove(run: &mut Removal) -> Result<Done, Error> {
    let (_, away) = run.places();
    let (root, state) = (&run.node.root, &run.node.state);
    let removed = fs::remove_tree(&away).and_then(|()| fs::remove_tree(&root.toc(&run.version)));
    let removed = removed.and_then(|()| environment::tidy(root, state));
    Ok(Done::said(match removed {
        Ok(()) => format!("`{}`: {}", run.version, run.freed),
        Err(error) => {
            let text =
                format!("`{}` is not removed to its end, the next command goes on: {}", run.version, one_line(&error));
            run.sink.emit(Event::Warning { text });
            String::new()
        }
    }))
}

#[cfg(test)]
mod tests;
