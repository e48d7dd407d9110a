//! What decides before anything is moved: which release was asked for, and whether it can run here.

use std::path::PathBuf;

use pannier_shared::event::Sink;
use pannier_shared::published::Published;
use pannier_shared::signature::Verified;
use pannier_shared::statement::{Description, Statement};
use pannier_shared::steps::{Done, Step, Undo};
use pannier_shared::sys::clock;

use super::{Error, Origin};
use crate::admit::admit;
use crate::age::{self, OnOlder};
use crate::node::Node;
use crate::resolve::{What, resolve};

/// The steps that decide.
pub(super) fn find<'a>() -> [Step<Finding<'a>, Error>; 3] {
    let nothing = Undo::Nothing;
    [
        Step {
            name: "resolve",
            does: "find the release",
            run: find_statement,
            undo: nothing("what was seen stays seen"),
        },
        Step {
            name: "compare",
            does: "see that it is not older than what serves",
            run: compare,
            undo: nothing("it only looks"),
        },
        Step {
            name: "admit",
            does: "see whether it can run here",
            run: find_interpreter,
            undo: nothing("it only looks"),
        },
    ]
}

/// What is being decided.
pub(super) struct Finding<'a> {
    pub(super) node: &'a mut Node,
    pub(super) what: &'a What,
    pub(super) older: OnOlder,
    pub(super) origin: Origin<'a>,
    pub(super) sink: &'a dyn Sink,
    pub(super) statement: Option<Verified<Statement>>,
    pub(super) python: Option<PathBuf>,
}

fn find_statement(run: &mut Finding) -> Result<Done, Error> {
    let Origin { store, trust, runtime } = run.origin;
    let published = Published { store, trust, now: clock::now() };
    let statement = resolve(run.node, &published, run.what, runtime, run.sink)?;
    let (version, signer) = (&statement.release.version, statement.signer());
    let said = format!("`{version}`, signed by {signer}, in {}", store.location());
    run.statement = Some(statement);
    Ok(Done::said(said))
}

/// Asked before anything is moved, though `activate` asks again: what will not be activated need not be here.
fn compare(run: &mut Finding) -> Result<Done, Error> {
    let (state, app) = (&run.node.state, &run.node.app);
    let Some(Description { version, source, .. }) = run.statement.as_ref().map(|statement| &statement.release) else {
        return Ok(Done::default());
    };
    let committed = source.as_ref().and_then(|source| source.committed);
    age::consent(state, run.what, run.older).check(state, app, version, committed)?;
    Ok(Done::default())
}

fn find_interpreter(run: &mut Finding) -> Result<Done, Error> {
    let Some(statement) = &run.statement else { return Ok(Done::default()) };
    run.python = admit(&statement.release, run.node.config.python.as_deref())?;
    Ok(Done::said(match &run.python {
        Some(python) => format!("with the node's {}", python.display()),
        None => "with its own interpreter".to_owned(),
    }))
}
