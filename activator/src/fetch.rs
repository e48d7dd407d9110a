//! Brings a release to the node: from a name to a complete, verified tree under `releases/`, which nothing uses yet.
//!
//! Two tables. [`find::find`] decides and moves nothing: what was asked for, and whether it can run here. [`bring`] acts,
//! and each row says what takes it back. What the node has already is not fetched (see `plan` and `steps::reuse`). Until
//! `commit` renames it, all there is of a release lies in one folder below `.pannier/staging`, which `stage` makes and its
//! undo removes, or keeps for the next fetch where it is of use to that (see `leftover`); after it, the release is whole
//! and durable: every byte was synced before the rename (one `syncfs`, measured at 0.2 s where an fsync per file takes a
//! minute). The release's records are renamed before its tree, so that a tree without its proof cannot be.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::report::human;
use pannier_shared::signature::{Trust, Verified};
use pannier_shared::statement::Statement;
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::store::Store;
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::fs::FileSystem;
use pannier_shared::sys::{clock, fs};
use tokio::runtime::Runtime;

use crate::age::OnOlder;
use crate::journal::{Ongoing, Operation, Outcome};
use crate::ledger::{Ledger, Rehash};
use crate::leftover;
use crate::node::Node;
use crate::plan::Plan;
use crate::record;
use crate::resolve::{What, already_here};
use crate::state::{Release, State};
use crate::statics;
use crate::steps::ahead::{Ahead, fetch_ahead};
use crate::steps::fetch::{self as transfer_step, Transferred};
use crate::steps::reuse::{self as reuse_step, Method, Reused};
use crate::steps::share;

#[cfg(test)]
mod broken;
mod error;
mod find;
mod mend;
mod ready;

pub use error::{Error, Failure};
use find::{Finding, find};
use mend::Mending;
pub use mend::{Damaged, Mended, mend};
use ready::{plan, room};

/// The steps that act.
fn bring<'a>() -> [Step<Bringing<'a>, Error>; 9] {
    let staged = || Undo::Nothing("`stage` removes all that was staged");
    [
        Step { name: "plan", does: "see what is here already", run: plan, undo: Undo::Nothing("it only looks") },
        Step {
            name: "room",
            does: "see whether there is room, or make it",
            run: room,
            undo: Undo::Nothing("what it prunes is needless anyway"),
        },
        Step { name: "stage", does: "make a staging folder", run: stage, undo: Undo::By(unstage) },
        Step { name: reuse_step::STEP, does: "check and share what is here", run: reuse, undo: staged() },
        Step { name: transfer_step::STEP, does: "fetch, verify and unpack the rest", run: transfer, undo: staged() },
        Step { name: "link", does: "make the links that are the node's", run: link, undo: staged() },
        Step { name: "seal", does: "make it durable", run: seal, undo: staged() },
        Step { name: "commit", does: "put it under `releases/`", run: commit, undo: Undo::By(withdraw) },
        Step { name: "remember", does: "record it as prepared", run: remember, undo: Undo::By(forget) },
    ]
}

/// Where releases come from, and whom to believe.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// What the store's calls run on.
    pub runtime: &'a Runtime,
}

/// What came of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The release.
    pub version: Version,
    /// What was moved; nothing when the release was here already.
    pub moved: Option<Transferred>,
}

/// Brings `what` to the node, unless it is here already.
pub fn fetch(node: &mut Node, what: &What, origin: Origin, sink: &dyn Sink) -> Result<Fetched, Box<Failure>> {
    fetch_unless_older(node, what, OnOlder::Allow, origin, sink)
}

/// Like [`fetch`], for who means to activate it: what that would refuse as `older` than what serves is not brought here.
pub fn fetch_unless_older(
    node: &mut Node,
    what: &What,
    older: OnOlder,
    origin: Origin,
    sink: &dyn Sink,
) -> Result<Fetched, Box<Failure>> {
    let app = node.app.clone();
    let failed = |source, left| Box::new(Failure { app, what: what.clone(), source, left });
    let mut finding = Finding { node, what, older, origin, sink, statement: None, python: None };
    if let Err(failure) = steps::run(&find(), &mut finding, sink) {
        return Err(failed(failure.error, failure.left));
    }
    let Finding { node, statement, python, .. } = finding;
    // Without a statement `resolve` would have failed.
    let Some(statement) = statement else { return Err(failed(Error::NotComplete, Vec::new())) };
    match already_here(&node.state, &statement) {
        Ok(Some(version)) => return Ok(Fetched { version, moved: None }),
        Ok(None) => {}
        Err(error) => return Err(failed(error.into(), Vec::new())),
    }
    let record = record_of(&statement);
    let mut run = match Bringing::begin(Operation::Fetch, node, Subject { statement, python, record }, origin, sink) {
        Ok(run) => run,
        Err(error) => return Err(failed(error.into(), Vec::new())),
    };
    let ran = steps::run_noted(&bring(), &mut run, sink, |run, step, phase| Ok(run.ongoing.note(step, phase)?));
    let fetched = Fetched { version: run.version.clone(), moved: run.moved };
    run.end(&ran);
    match ran {
        Ok(()) => {
            // A node that has switched already renders pages whose files another one may be asked for.
            statics::lay_ahead(&node.root, &fetched.version, sink);
            Ok(fetched)
        }
        Err(steps::Failure { error, left, .. }) => Err(failed(error, left)),
    }
}

fn record_of(statement: &Verified<Statement>) -> Release {
    let artifact = &statement.artifact;
    let committed = statement.release.source.as_ref().and_then(|source| source.committed);
    Release::prepared(statement.digest(), artifact.unpacked, artifact.entries, clock::now()).of_source(committed)
}

/// What is brought: a release that was proven and can run here.
struct Subject {
    statement: Verified<Statement>,
    python: Option<PathBuf>,
    /// What the state file says of it, or will say.
    record: Release,
}

/// One release on its way.
struct Bringing<'a> {
    node: &'a mut Node,
    origin: Origin<'a>,
    sink: &'a dyn Sink,
    ongoing: Ongoing,
    version: Version,
    subject: Subject,
    /// Its own folder below `staging`, with `tree` and `records` in it.
    staged: PathBuf,
    /// What it lies on, held since before the first write.
    disk: Option<FileSystem>,
    /// Whether `commit` was begun: only then something of ours may lie under `releases/`.
    committed: bool,
    ledger: Ledger,
    /// Whether the next fetch can go on from what is staged.
    is_of_use: bool,
    plan: Option<Plan>,
    reused: Option<Reused>,
    ahead: Option<Ahead>,
    moved: Option<Transferred>,
    mending: Mending,
}

impl<'a> Bringing<'a> {
    fn begin(
        operation: Operation,
        node: &'a mut Node,
        subject: Subject,
        origin: Origin<'a>,
        sink: &'a dyn Sink,
    ) -> fs::Result<Self> {
        let version = subject.statement.release.version.clone();
        let ongoing = node.journal.begin(operation, &version, node.state.live_version())?;
        let staged = leftover::new_stage(&node.root, &version);
        let ledger = match node.config.rehash {
            Rehash::Weekly => Ledger::load(&node.root.ledger(), clock::now()),
            Rehash::Always => Ledger::default(),
        };
        Ok(Self {
            node,
            origin,
            sink,
            ongoing,
            version,
            subject,
            staged,
            disk: None,
            committed: false,
            ledger,
            is_of_use: false,
            plan: None,
            reused: None,
            ahead: None,
            moved: None,
            mending: Mending::default(),
        })
    }

    fn tree(&self) -> PathBuf {
        leftover::tree(&self.staged)
    }

    fn records(&self) -> PathBuf {
        leftover::records(&self.staged)
    }

    /// Writes down how it ended; a missing line only makes the next command look for leftovers, as it does anyway.
    fn end(self, ran: &Result<(), steps::Failure<Error>>) {
        let (outcome, detail) = match ran {
            Ok(()) => (Outcome::Done, String::new()),
            Err(failure) if failure.left.is_empty() => (Outcome::Undone, failure.error.to_string()),
            Err(failure) => (Outcome::Mixed, failure.error.to_string()),
        };
        if let Err(error) = self.ongoing.end(outcome, &detail) {
            self.sink.emit(Event::Warning { text: format!("the journal's last line is missing: {error}") });
        }
    }
}

fn stage(run: &mut Bringing) -> Result<Done, Error> {
    let place = run.node.root.release(&run.version);
    if fs::exists(&place) {
        return Err(Error::InTheWay(place));
    }
    make_stage(run)
}

fn make_stage(run: &mut Bringing) -> Result<Done, Error> {
    run.disk = Some(FileSystem::of(&run.node.root.staging())?);
    for folder in [run.staged.clone(), run.tree(), run.records()] {
        fs::create_dir(&folder)?;
        fs::set_mode(&folder, 0o755)?;
    }
    Ok(Done::default())
}

/// What the store's failure left is kept in the place of an older leftover, of which it has all that is of use. On a
/// full or broken disk nothing is.
fn unstage(run: &mut Bringing) -> Result<(), Error> {
    if run.is_of_use {
        return Ok(leftover::clear(&run.node.root, Some(&run.staged))?);
    }
    Ok(fs::remove_tree(&run.staged)?)
}

fn reuse(run: &mut Bringing) -> Result<Done, Error> {
    let tree = Dir::open(&run.tree())?;
    let plan = run.plan.as_ref().ok_or(Error::NoPlan)?;
    let (reused, ahead) = reuse_and_fetch_ahead(plan, run, &tree);
    let mut reused = reused?;
    run.ahead = Some(ahead);
    run.ledger.add(std::mem::take(&mut reused.hashed));
    let reused = run.reused.insert(reused);
    let said = match plan.method() {
        Method::Clone => "cloned",
        Method::Link => "linked",
    };
    let said = format!("{said}, {} hashed again", human::number(reused.read));
    Ok(Done::said(said).moved(reused.bytes, reused.files))
}

/// What is known to be missing is fetched meanwhile.
fn reuse_and_fetch_ahead(plan: &Plan, run: &Bringing, tree: &Dir) -> (fs::Result<Reused>, Ahead) {
    let (Origin { store, runtime, .. }, enough) = (run.origin, AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ahead = scope.spawn(|| fetch_ahead(plan, store, runtime, &enough));
        let reused = reuse_step::reuse(plan, &run.ledger, tree, run.sink);
        enough.store(true, Ordering::Relaxed);
        (reused, ahead.join().unwrap_or_else(|why| resume_unwind(why)))
    })
}

fn transfer(run: &mut Bringing) -> Result<Done, Error> {
    let Origin { store, runtime, .. } = run.origin;
    let tree = Dir::open(&run.tree())?;
    let (Some(plan), Some(reused), Some(ahead)) = (&run.plan, &run.reused, run.ahead.take()) else {
        return Err(Error::NoPlan);
    };
    transfer_step::keep(plan, &run.records())?;
    // Last, because it says that the others are there.
    fs::write(&record::statement(&run.records()), run.subject.statement.bytes())?;
    let transferred = transfer_step::transfer(plan, reused, ahead, store, runtime, &tree, run.sink);
    run.is_of_use = transferred.as_ref().is_err_and(transfer_step::Error::is_of_the_store);
    let (moved, hashed) = transferred?;
    run.ledger.add(hashed);
    run.moved = Some(moved);
    Ok(Done::said(moved.to_string()).moved(moved.bytes, 0))
}

/// What leads out of a release is in no archive: links to the node's interpreter, and to shared paths.
fn link(run: &mut Bringing) -> Result<Done, Error> {
    let (tree, release) = (Dir::open(&run.tree())?, &run.subject.statement.release);
    let interpreter = match &run.subject.python {
        None => "it brings its own interpreter".to_owned(),
        Some(python) => {
            let name = &release.interpreter.link;
            tree.cursor().create_symlink(&python.to_string_lossy(), name)?;
            format!("`{name}` leads to {}", python.display())
        }
    };
    let shared = &release.running.shared;
    share::link(&tree, run.plan.as_ref().ok_or(Error::NoPlan)?.contents(), shared)?;
    let count = shared.paths().count();
    let shared = if count == 0 { String::new() } else { format!("; {count} to `shared/`") };
    Ok(Done::said(format!("{interpreter}{shared}")))
}

fn seal(run: &mut Bringing) -> Result<Done, Error> {
    if !record::is_complete(&run.tree()) {
        return Err(Error::NotComplete);
    }
    record::write(&run.records(), &run.subject.record, run.subject.statement.bytes())?;
    if let Err(error) = run.ledger.save(&run.node.root.ledger()) {
        run.sink.emit(Event::Warning { text: format!("the next fetch will hash more than it need: {error}") });
    }
    run.disk.as_ref().ok_or(Error::NoPlan)?.sync()?;
    Ok(Done::default())
}

fn commit(run: &mut Bringing) -> Result<Done, Error> {
    run.committed = true;
    let root = &run.node.root;
    fs::commit_dir(&run.records(), &root.toc(&run.version))?;
    fs::commit_dir(&run.tree(), &root.release(&run.version))?;
    leftover::clear(root, None)?;
    Ok(Done::said(format!("releases/{}", run.version)))
}

/// Moves the release out of sight in one step before it is removed: what lies under `releases/` is never half.
fn withdraw(run: &mut Bringing) -> Result<(), Error> {
    let place = run.node.root.release(&run.version);
    if !run.committed {
        return Ok(());
    }
    if fs::exists(&place) {
        fs::create_dir_all(&run.staged)?;
        fs::rename(&place, &run.staged.join("withdrawn"))?;
        fs::sync_dir(&run.node.root.releases())?;
    }
    Ok(fs::remove_tree(&run.node.root.toc(&run.version))?)
}

fn remember(run: &mut Bringing) -> Result<Done, Error> {
    let mut state = run.node.state.clone();
    state.add(&run.version, run.subject.record.clone());
    state.save(&run.node.root.state())?;
    run.node.state = state;
    Ok(Done::said(format!("`{}` is prepared", run.version)))
}

/// Runs before `withdraw`, so that the state never names a release that is gone. What counts is the file: writing it
/// may have failed with the new one in place.
fn forget(run: &mut Bringing) -> Result<(), Error> {
    run.node.state.forget(&run.version);
    let file = run.node.root.state();
    let named = State::load(&file, &run.node.app).map_or(true, |state| state.release(&run.version).is_some());
    if run.committed && named {
        run.node.save()?;
    }
    Ok(())
}
