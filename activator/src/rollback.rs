//! Goes back to a release that was healthy here, by the same table as every activation.

use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, Version};
use tokio::runtime::Runtime;

use crate::activate::{self, Activated, OnBad, OnSchema, Request, activate};
use crate::age::OnOlder;
use crate::node::{Node, NotHere};
use crate::state::{Direction, Standing};

/// A rollback that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No other release was healthy here.
    #[error("`{app}` has no healthy release to go back to")]
    NoneHealthy {
        /// The app.
        app: AppName,
    },
    /// The release asked for is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// The release asked for was never healthy here.
    #[error("`{version}` of `{app}` was never healthy here: it is {standing}")]
    NeverHealthy {
        /// The app.
        app: AppName,
        /// The release.
        version: Version,
        /// How it stands.
        standing: Standing,
    },
    /// The activation failed.
    #[error(transparent)]
    Failed(#[from] Box<activate::Failure>),
}

/// What a rollback did.
#[derive(Debug)]
pub struct RolledBack {
    /// The release that serves now.
    pub version: Version,
    /// What came of activating it.
    pub activated: Activated,
}

/// Goes back to `to`, or to the last healthy release before the one that serves; `schema` is what to do when a database has
/// more than it knows.
pub fn rollback(
    node: &mut Node,
    to: Option<&Version>,
    schema: OnSchema,
    runtime: &Runtime,
    sink: &dyn Sink,
) -> Result<RolledBack, Error> {
    let version = match to {
        Some(version) => named(node, version)?,
        None => node.state.previous().cloned().ok_or_else(|| Error::NoneHealthy { app: node.app.clone() })?,
    };
    let (bad, older) = (OnBad::Refuse, OnOlder::Allow);
    let request = Request { version: version.clone(), direction: Direction::Back, bad, older, schema, gate: None };
    let activated = activate(node, &request, runtime, sink)?;
    Ok(RolledBack { version, activated })
}

fn named(node: &Node, version: &Version) -> Result<Version, Error> {
    match node.state.standing(version) {
        Some(Standing::Healthy) => Ok(version.clone()),
        Some(standing) => Err(Error::NeverHealthy { app: node.app.clone(), version: version.clone(), standing }),
        None => Err(NotHere::of(&node.app, version, &node.state).into()),
    }
}
