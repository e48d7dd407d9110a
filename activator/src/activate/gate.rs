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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::activate::{Activated, Failure, OnBad, OnSchema, Request, activate};
    use crate::age::OnOlder;
    use crate::state::{Direction, Standing};
    use crate::testing::{Fixture, runtime, v};

    #[derive(Debug)]
    struct Known {
        decision: Result<Timestamp, Closed>,
        switched: Mutex<Option<Timestamp>>,
    }

    impl Known {
        fn new(decision: Result<Timestamp, Closed>) -> Self {
            Self { decision, switched: Mutex::new(None) }
        }
    }

    impl Gate for Known {
        fn armed(&self) -> Result<Timestamp, Closed> {
            self.decision.clone()
        }

        fn switched(&self, at: Timestamp) {
            *self.switched.lock().unwrap() = Some(at);
        }
    }

    fn activate_through(gate: &Known, fixture: &Fixture) -> Result<Activated, Box<Failure>> {
        let (direction, bad, older) = (Direction::Forward, OnBad::Refuse, OnOlder::Refuse);
        let request = Request { version: v("v2"), direction, bad, older, schema: OnSchema::Refuse, gate: Some(gate) };
        activate(&mut fixture.open().unwrap(), &request, &runtime(), &fixture.told)
    }

    #[test]
    fn a_closed_gate_leaves_all_as_it_is() {
        let fixture = Fixture::with(&["v1", "v2"]);
        fixture.activate("v1").unwrap();
        let gate = Known::new(Err(Closed("the others are late".to_owned())));
        let failure = activate_through(&gate, &fixture).unwrap_err();
        insta::assert_snapshot!(failure.source, @"it is not switched to: the others are late");
        assert!(!failure.tried && failure.left.is_empty() && gate.switched.lock().unwrap().is_none());
        assert_eq!(fixture.current().as_deref(), Some("v1"));
        assert_eq!(fixture.open().unwrap().state.standing(&v("v2")), Some(Standing::Prepared));
    }

    #[test]
    fn it_is_switched_at_the_instant_and_the_kernel_says_when() {
        let fixture = Fixture::with(&["v1", "v2"]);
        fixture.activate("v1").unwrap();
        let instant = clock::now() + SignedDuration::from_millis(300);
        let gate = Known::new(Ok(instant));
        activate_through(&gate, &fixture).unwrap();
        // The kernel's time of a change is that of its last tick.
        let tick = SignedDuration::from_millis(20);
        assert!(gate.switched.lock().unwrap().unwrap() + tick >= instant);
        assert_eq!(fixture.current().as_deref(), Some("v2"));
    }
}
