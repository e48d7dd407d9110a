//! Rehearsal: a table broken on purpose, at every step, for the tests that hold each table against what its disk was like
//! before.

use std::fmt::Display;

use super::{NotUndone, Step, undo};
use crate::event::Sink;

/// Where an operation breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// At this step, which did nothing.
    Before(usize),
    /// At this step, which did all that it does.
    After(usize),
}

impl Break {
    /// Every place where a table of so many steps can break.
    pub fn all(steps: usize) -> impl Iterator<Item = Self> {
        (0..steps).flat_map(|at| [Self::Before(at), Self::After(at)])
    }

    /// How many steps act.
    fn acting(self) -> usize {
        match self {
            Self::Before(at) => at,
            Self::After(at) => at + 1,
        }
    }

    /// How many steps are undone.
    fn undone(self) -> usize {
        match self {
            Self::Before(at) | Self::After(at) => at + 1,
        }
    }
}

/// Runs `table` until it breaks, and undoes it twice over, as the first and a second run after a crash would. Gives what
/// could not be undone; the error is that of a step that failed by itself.
pub fn rehearse<C, E: Display>(
    table: &[Step<C, E>],
    context: &mut C,
    at: Break,
    sink: &dyn Sink,
) -> Result<Vec<NotUndone<E>>, E> {
    for step in &table[..at.acting()] {
        (step.run)(context)?;
    }
    let mut left = undo(&table[..at.undone()], context, sink);
    left.extend(undo(&table[..at.undone()], context, sink));
    Ok(left)
}
