//! Step tables: an operation is a list of steps, each with its undo beside it, and one function runs any list.
//!
//! The table is the operation: it drives execution, the order of undoing (always the reverse, never written by
//! hand), progress and the fault tests. When step *k* fails, the undo of *k* itself runs first (it may have acted in
//! part), then those of *k-1* ... 0; so every undo must accept that its step did nothing, or that it ran before. An
//! undo that fails is reported and the rest still runs.

use crate::event::{Amount, Event, Sink};
use crate::sys::clock;

pub mod rehearsal;

/// What a step has to say when it ended well.
#[derive(Debug, Default)]
pub struct Done {
    /// What it moved.
    pub moved: Amount,
    /// One line for a person; may be empty.
    pub said: String,
}

impl Done {
    /// Ended well, with one line for a person.
    pub fn said(text: impl Into<String>) -> Self {
        Self { said: text.into(), ..Self::default() }
    }

    /// Adds what was moved.
    pub fn moved(mut self, bytes: u64, items: u64) -> Self {
        self.moved = Amount { bytes, items };
        self
    }
}

/// One row of a table.
pub struct Step<C, E> {
    /// Its short name, as events and the journal carry it.
    pub name: &'static str,
    /// What it does, as a phrase that completes "to ...".
    pub does: &'static str,
    /// Does it.
    pub run: fn(&mut C) -> Result<Done, E>,
    /// Takes it back.
    pub undo: Undo<C, E>,
}

/// How a step is taken back.
pub enum Undo<C, E> {
    /// Nothing to take back, and why.
    Nothing(&'static str),
    /// Calls this; it accepts that the step never ran, ran in part, or was undone before.
    By(fn(&mut C) -> Result<(), E>),
}

/// What could not be taken back.
#[derive(Debug)]
pub struct NotUndone<E> {
    /// The step whose undo failed.
    pub step: &'static str,
    /// Why.
    pub error: E,
}

/// An operation that failed; everything that could be undone has been.
#[derive(Debug)]
pub struct Failure<E> {
    /// The step that failed.
    pub step: &'static str,
    /// Why.
    pub error: E,
    /// What is left behind because undoing it failed too; empty when the world is as it was.
    pub left: Vec<NotUndone<E>>,
}

/// What is about to happen to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is run.
    Run,
    /// It is undone.
    Undo,
}

/// Is told of every step before it acts: how an operation journals. When it fails before a run, the step counts as
/// failed and does not run; before an undo it only causes a warning, because undoing matters more than its record.
pub type Note<C, E> = fn(&mut C, &'static str, Phase) -> Result<(), E>;

/// Runs a table to its end, or undoes what it began.
pub fn run<C, E: std::fmt::Display>(table: &[Step<C, E>], context: &mut C, sink: &dyn Sink) -> Result<(), Failure<E>> {
    run_noted(table, context, sink, |_, _, _| Ok(()))
}

/// Like [`run`], and tells `note` of each step before it acts.
pub fn run_noted<C, E: std::fmt::Display>(
    table: &[Step<C, E>],
    context: &mut C,
    sink: &dyn Sink,
    note: Note<C, E>,
) -> Result<(), Failure<E>> {
    for (at, step) in table.iter().enumerate() {
        sink.emit(Event::Started { step: step.name, does: step.does });
        let began = clock::monotonic();
        match note(context, step.name, Phase::Run).and_then(|()| (step.run)(context)) {
            Ok(done) => sink.emit(Event::Finished {
                step: step.name,
                took: began.elapsed(),
                moved: done.moved,
                said: done.said,
            }),
            Err(error) => {
                sink.emit(Event::Failed { step: step.name, error: error.to_string() });
                let left = undo_noted(&table[..=at], context, sink, note);
                return Err(Failure { step: step.name, error, left });
            }
        }
    }
    Ok(())
}

/// Undoes the steps of `table` in reverse and goes on after an error.
pub fn undo<C, E: std::fmt::Display>(table: &[Step<C, E>], context: &mut C, sink: &dyn Sink) -> Vec<NotUndone<E>> {
    undo_noted(table, context, sink, |_, _, _| Ok(()))
}

fn undo_noted<C, E: std::fmt::Display>(
    table: &[Step<C, E>],
    context: &mut C,
    sink: &dyn Sink,
    note: Note<C, E>,
) -> Vec<NotUndone<E>> {
    let mut left = Vec::new();
    for step in table.iter().rev() {
        let Undo::By(undo) = step.undo else { continue };
        if let Err(error) = note(context, step.name, Phase::Undo) {
            sink.emit(Event::Warning { text: format!("undoing `{}` goes on without a record: {error}", step.name) });
        }
        let error = undo(context).err();
        sink.emit(Event::Undone { step: step.name, error: error.as_ref().map(E::to_string) });
        left.extend(error.map(|error| NotUndone { step: step.name, error }));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    #[derive(Default)]
    struct World {
        facts: Vec<&'static str>,
        fail_at: &'static str,
        fail_undo: &'static str,
    }

    fn act(world: &mut World, name: &'static str) -> Result<Done, String> {
        world.facts.push(name);
        if world.fail_at == name { Err(format!("{name} broke")) } else { Ok(Done::default()) }
    }

    fn back(world: &mut World, name: &'static str) -> Result<(), String> {
        if world.fail_undo == name {
            return Err(format!("{name} stuck"));
        }
        world.facts.retain(|fact| *fact != name);
        Ok(())
    }

    const TABLE: &[Step<World, String>] = &[
        Step { name: "a", does: "do a", run: |w| act(w, "a"), undo: Undo::By(|w| back(w, "a")) },
        Step { name: "b", does: "do b", run: |w| act(w, "b"), undo: Undo::By(|w| back(w, "b")) },
        Step { name: "c", does: "do c", run: |w| act(w, "c"), undo: Undo::Nothing("it only looks") },
    ];

    #[test]
    fn runs_in_order() {
        let mut world = World::default();
        run(TABLE, &mut world, &Silent).unwrap();
        assert_eq!(world.facts, ["a", "b", "c"]);
    }

    #[test]
    fn any_failure_undoes_what_was_begun_including_the_failed_step() {
        for (at, name) in ["a", "b"].into_iter().enumerate() {
            let mut world = World { fail_at: name, ..World::default() };
            let failure = run(TABLE, &mut world, &Silent).unwrap_err();
            assert_eq!((failure.step, failure.left.len()), (name, 0));
            assert!(world.facts.is_empty(), "step {at} left {:?}", world.facts);
        }
    }

    #[test]
    fn a_step_that_cannot_be_noted_does_not_run_but_undoing_goes_on() {
        let note: Note<World, String> = |_, step, _| match step {
            "b" => Err("no room for the note".to_owned()),
            _ => Ok(()),
        };
        let mut world = World::default();
        let failure = run_noted(TABLE, &mut world, &Silent, note).unwrap_err();
        assert_eq!((failure.step, failure.left.len()), ("b", 0));
        assert!(world.facts.is_empty(), "{:?}", world.facts);
    }

    #[test]
    fn undoing_goes_on_after_an_error_and_says_what_is_left() {
        let mut world = World { fail_at: "c", fail_undo: "b", ..World::default() };
        let failure = run(TABLE, &mut world, &Silent).unwrap_err();
        assert_eq!(failure.left.iter().map(|l| l.step).collect::<Vec<_>>(), ["b"]);
        assert_eq!(world.facts, ["b", "c"]);
    }
}
