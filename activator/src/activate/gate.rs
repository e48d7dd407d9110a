//! The row in which a node waits for the others: all that can refuse has not, and `current` does not move yet.
//!
//! A plain activation has no gate, and the row says nothing. An agent's tells the fleet that this node is armed, and gets the
//! instant at which all switch. The last moments of the wait are spent in the `switch` row, after the state file was written
//! and before `current` moves: what takes long and differs from disk to disk is then over.

use std::fmt::Debug;

use jiff::{SignedDuration, Timestamp};
use pannier_shared::steps::Done;
use pannier_shared::sys::clock;

use super::{Activation, Error};

/// How long before the instant the state file is written: a durable write of a few kilobytes, on a slow disk.
const AHEAD: SignedDuration = SignedDuration::from_millis(250);

/// Who says when.
pub trait Gate: Debug + Sync {
    /// The node is armed. Returns when it is known at which instant it is to switch, or that it is not.
    fn armed(&self) -> Result<Timestamp, Closed>;

    /// `current` has led to the release since this instant.
    fn switched(&self, at: Timestamp);
}

/// It is not to switch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not switched to: {0}")]
pub struct Closed(pub String);

pub(super) fn wait(run: &mut Activation) -> Result<Done, Error> {
    let Some(gate) = run.gate else { return Ok(Done::said("for nobody")) };
    let instant = gate.armed()?;
    run.instant = Some(instant);
    clock::sleep_until(instant - AHEAD);
    Ok(Done::said(format!("until {instant}")))
}

impl Activation<'_> {
    /// Waits for the rest of the time; called right before `current` moves.
    pub(super) fn until_the_instant(&self) {
        if let Some(instant) = self.instant {
            clock::sleep_until(instant);
        }
    }

    /// Says when `current` moved.
    pub(super) fn tell_switched(&self) {
        if let Some(gate) = self.gate {
            gate.switched(self.node.root.switched().unwrap_or_else(clock::now));
        }
    }
}
