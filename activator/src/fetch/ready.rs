//! Before the first file is made: what is here already, and whether there is room for the rest.
//!
//! Room is made where it is short: first of what an interrupted fetch left, then of releases that need not stay
//! (`prune`), the one that is missed least first, and no more of them than it takes. When all of that would not do, nothing
//! is removed.

use pannier_shared::report::human;
use pannier_shared::steps::Done;
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::fs;

use super::{Bringing, Error};
use crate::leftover;
use crate::plan::{Kept, Kind, Plan};
use crate::prune::{self, decide, freed, remove_one};
use crate::steps::reuse::Method;
use crate::steps::room::{self as room_step, NoRoom};

/// The releases that files are taken from stay while this fetch holds the app's lock.
pub(super) fn plan(run: &mut Bringing) -> Result<Done, Error> {
    let node = &run.node;
    let kept = Kept::all(&node.root, &node.state, run.origin.trust, run.sink);
    let method = Method::of(&Dir::open(&node.root.staging())?);
    let plan = run.plan.insert(Plan::make(&run.origin, &run.subject.statement, kept, method, run.sink)?);
    Ok(said(plan))
}

/// What a plan found, in a line.
pub(super) fn said(plan: &Plan) -> Done {
    let todo = plan.todo(None);
    let (here, files) = (human::number(todo.reused_files), human::number(todo.files));
    Done::said(format!("{here} of {files} files are here")).moved(plan.taken().bytes, 0)
}

pub(super) fn room(run: &mut Bringing) -> Result<Done, Error> {
    let (bytes, free) = match measure(run)? {
        Ok(room) => room,
        Err(short) => make_room(run, short)?,
    };
    Ok(Done::said(format!("{} of {} free", human::bytes(bytes), human::bytes(free.bytes))))
}

/// The bytes that are needed, and what is free.
pub(super) type Room = (u64, fs::Room);

pub(super) fn measure(run: &Bringing) -> Result<Result<Room, Box<NoRoom>>, Error> {
    let needs = run.plan.as_ref().ok_or(Error::NoPlan)?.needs();
    let (path, free) = (run.node.root.path(), fs::room(run.node.root.path())?);
    Ok(room_step::check(path, needs, free).map(|bytes| (bytes, free)))
}

fn make_room(run: &mut Bringing, mut short: Box<NoRoom>) -> Result<Room, Error> {
    if has_leftover(run) {
        leftover::clear(&run.node.root, None)?;
        plan(run)?;
        match measure(run)? {
            Ok(room) => return Ok(room),
            Err(still) => short = still,
        }
    }
    let root = &run.node.root;
    let decisions = decide(root, &run.node.state, run.node.config.keep)?;
    let spare = decisions.into_iter().filter(|it| it.verdict.goes() && it.version != run.version);
    let spare: Vec<_> = spare.map(|it| it.version).collect();
    let trees: Vec<_> = spare.iter().map(|version| root.release(version)).collect();
    if short.would_be_over_with(freed(trees.iter().map(|tree| tree.as_path()))?) {
        for version in &spare {
            remove_one(run.node, version, run.sink)?;
            if measure(run)?.is_err() {
                continue;
            }
            // What it took from that release is to be fetched now.
            plan(run)?;
            match measure(run)? {
                Ok(room) => return Ok(room),
                Err(still) => short = still,
            }
        }
    }
    short.removable = prune::others(&run.node.root, &run.node.state)?;
    Err(short.into())
}

fn has_leftover(run: &Bringing) -> bool {
    let kept = run.plan.as_ref().map_or(&[][..], Plan::kept);
    kept.iter().any(|kept| kept.kind == Kind::Leftover)
}
