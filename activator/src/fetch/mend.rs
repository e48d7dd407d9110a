//! Mends one damaged release: builds its tree anew beside it and lets the two change places.
//!
//! The new tree is made as a fetch makes it (the steps are its own), with the damaged release as the first source: each of
//! its files is hashed, what holds is linked or cloned, and only what does not is asked for. What the ledger says counts for
//! nothing here: a disk that loses bits shows no other time. When the kept tables hold, the store is asked for nothing but
//! frames.
//!
//! The trees change places in one step (RENAME_EXCHANGE), also when the release serves: `current` leads to a whole release
//! at every instant, and a process that runs keeps the files it has open. On a file system that cannot exchange (NFS), the
//! damaged tree is moved to `removed/` first, from where `heal` puts it back if it ends there: then the release is absent
//! for the time of two renames.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::signature::Verified;
use pannier_shared::statement::Statement;
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::{fs, in_use};

use super::ready::{room, said};
use super::{Bringing, Error, Origin, Subject, link, make_stage, reuse, reuse_step, seal, transfer, transfer_step};
use crate::activate::one_line;
use crate::admit::admit;
use crate::journal::Operation;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::plan::{Kept, Plan, Proven};
use crate::prune;
use crate::state::Release;
use crate::steps::fetch::Transferred;
use crate::steps::reuse::Method;

/// The steps.
fn table<'a>() -> [Step<Bringing<'a>, Error>; 9] {
    let staged = || Undo::Nothing("`stage` removes all that was staged");
    [
        Step { name: "plan", does: "see what of it can be kept", run: plan, undo: Undo::Nothing("it only looks") },
        Step {
            name: "room",
            does: "see whether there is room, or make it",
            run: room,
            undo: Undo::Nothing("what it prunes is needless anyway"),
        },
        Step { name: "stage", does: "make a staging folder", run: make_stage, undo: Undo::By(unstage) },
        Step { name: reuse_step::STEP, does: "check and share what is sound", run: reuse, undo: staged() },
        Step { name: transfer_step::STEP, does: "fetch, verify and unpack the rest", run: transfer, undo: staged() },
        Step { name: "link", does: "make the links that are the node's", run: link, undo: staged() },
        Step { name: "seal", does: "make it durable", run: seal, undo: staged() },
        Step { name: "swap", does: "put it in the place of the damaged one", run: swap, undo: Undo::By(swap_back) },
        Step {
            name: "remove",
            does: "remove the damaged one",
            run: remove,
            undo: Undo::Nothing("what could not be removed is out of sight, and the next command goes on with it"),
        },
    ]
}

/// A release to be mended.
pub struct Damaged {
    /// What was signed.
    pub statement: Verified<Statement>,
    /// What the state file says of it.
    pub record: Release,
    /// Releases that hold what it should, and are known to be sound.
    pub sound: Vec<Version>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// What was moved.
    pub moved: Transferred,
    /// Processes that still run from the files that were replaced: "gunicorn (4711)".
    pub users: Vec<String>,
}

/// What a mend adds to a fetch.
#[derive(Debug, Default)]
pub(super) struct Mending {
    sound: Vec<Version>,
    /// The number of the new tree, to know it again.
    tree: Option<u64>,
    users: Vec<String>,
}

/// Mends a release that is on the node.
pub fn mend(
    node: &mut Node,
    damaged: Damaged,
    origin: Origin,
    sink: &dyn Sink,
) -> Result<Mended, Box<steps::Failure<Error>>> {
    let failed = |error: Error| Box::new(steps::Failure { step: "plan", error, left: Vec::new() });
    let Damaged { statement, record, sound } = damaged;
    let python = admit(&statement.release, node.config.python.as_deref()).map_err(|error| failed(error.into()))?;
    let subject = Subject { statement, python, record };
    let begun = Bringing::begin(Operation::Repair, node, subject, origin, sink);
    let mut run = begun.map_err(|error| failed(error.into()))?;
    run.ledger = Ledger::default();
    run.mending.sound = sound;
    let ran = steps::run_noted(&table(), &mut run, sink, |run, step, phase| Ok(run.ongoing.note(step, phase)?));
    let mended = Mended { moved: run.moved.unwrap_or_default(), users: std::mem::take(&mut run.mending.users) };
    run.end(&ran);
    ran.map(|()| mended).map_err(Box::new)
}

/// The sound releases first: what they hold need not be fetched.
fn plan(run: &mut Bringing) -> Result<Done, Error> {
    // Removing the damaged tree would empty what is mounted in it.
    if let Some(path) = in_use::mounts(&run.node.root.release(&run.version))?.pop() {
        return Err(Error::Mounted(path));
    }
    let Bringing { node, origin, subject, mending, sink, .. } = run;
    let open = |version: &Version| Kept::open(&node.root, version, node.state.release(version)?, origin.trust).ok();
    let kept: Vec<Kept> = mending.sound.iter().chain([&run.version]).filter_map(open).collect();
    let method = Method::of(&Dir::open(&node.root.staging())?);
    let plan = match Proven::kept(&subject.statement.artifact, &node.root.toc(&run.version)) {
        Ok(proven) => Plan::with(&subject.statement, proven, kept, method, *sink),
        Err(_) => Plan::make(origin, &subject.statement, kept, method, *sink)?,
    };
    Ok(said(run.plan.insert(plan)))
}

fn unstage(run: &mut Bringing) -> Result<(), Error> {
    Ok(fs::remove_tree(&run.staged)?)
}

/// The records first: both prove the same release, so that it does not matter which of them lie there.
fn swap(run: &mut Bringing) -> Result<Done, Error> {
    let root = &run.node.root;
    run.mending.tree = Some(number(&run.tree())?);
    change_places(&run.records(), &root.toc(&run.version), &run.staged.join("old-records"))?;
    let away = root.removed().join(format!("{}~{}", run.version, fs::random_name()));
    // Who is not root can only move a folder that it may write to.
    fs::set_mode(&root.release(&run.version), 0o755)?;
    change_places(&run.tree(), &root.release(&run.version), &away)?;
    Ok(Done::said(format!("releases/{}", run.version)))
}

/// Puts `new` in the place of `old`, and `old` in that of `new`, or `away` where the two cannot be exchanged.
fn change_places(new: &Path, old: &Path, away: &Path) -> fs::Result<()> {
    if !fs::exists(old) {
        return fs::commit_dir(new, old);
    }
    if fs::exchange(new, old)? {
        return Ok(());
    }
    fs::commit_dir(old, away)?;
    fs::commit_dir(new, old)
}

fn swap_back(run: &mut Bringing) -> Result<(), Error> {
    let (root, place) = (&run.node.root, run.node.root.release(&run.version));
    let is_new = fs::if_there(number(&place))?.is_some_and(|number| Some(number) == run.mending.tree);
    if is_new && !fs::exists(&run.tree()) {
        fs::commit_dir(&place, &run.tree())?;
    } else if is_new {
        fs::exchange(&run.tree(), &place)?;
    }
    // Where they could not be exchanged, the damaged one lies in `removed/`.
    prune::tidy(root, &run.node.state)?;
    Ok(())
}

fn number(tree: &Path) -> fs::Result<u64> {
    fs::lstat(tree).map(|meta| meta.ino())
}

/// Never an error: the release is mended by now.
fn remove(run: &mut Bringing) -> Result<Done, Error> {
    let root = &run.node.root;
    // It lies in `removed/` where the two could not be exchanged.
    let place = if fs::exists(&run.tree()) { run.staged.clone() } else { root.removed() };
    let used = in_use::below(&place).unwrap_or_default();
    run.mending.users.extend(used.uses.into_iter().map(|found| found.who));
    let removed = fs::remove_tree(&run.staged).and_then(|()| prune::tidy(root, &run.node.state));
    let left = removed.unwrap_or_else(|error| vec![one_line(&error)]);
    for text in left {
        run.sink.emit(Event::Warning { text: format!("the damaged tree is not removed to its end: {text}") });
    }
    Ok(Done::default())
}
