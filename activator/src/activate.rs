//! Makes a prepared release the one that serves, sees that it does, and goes back when it does not.
//!
//! [`table`] is the operation. The undo of a failed run goes through it from the bottom: first `switch` points back,
//! then `keep` starts the old release again, then the release's own `on_failure` is told. That is why starting the old one
//! is the undo of a row above `switch` and not of `restart`: a restart command may well start what `current` leads to, so
//! `current` must be right before it runs.
//!
//! A first activation that fails has nothing to go back to: `current` is removed again, so that it never leads to a
//! release that is known to be bad, and the outcome says that nothing serves and a person is needed.

use std::path::PathBuf;

use jiff::Timestamp;
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::statement::Description;
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::sys::{clock, fs, process};
use tokio::runtime::Runtime;

use crate::age::OnOlder;
use crate::environment::{self, EnvId};
use crate::evidence;
use crate::journal::{Ongoing, Operation, Outcome};
use crate::node::{Node, NotHere};
use crate::record;
use crate::state::{Direction, Standing, State};
use crate::steps::confirm::{self, confirm};
use crate::steps::start;
use crate::steps::switch::{switch, switch_when};

mod error;
mod gate;
mod hooks;
mod migrations;
mod shared;
mod statics;

pub use error::{Error, Failure};
pub use gate::{Closed, Gate};
pub use migrations::{OnSchema, Unfit};

/// The steps, in order, each with what takes it back.
fn table<'a>() -> [Step<Activation<'a>, Error>; 14] {
    let nothing = Undo::Nothing;
    [
        Step { name: "hooks", does: "read the release's hooks", run: hooks::read, undo: Undo::By(hooks::on_failure) },
        Step { name: "keep", does: "note what serves now", run: keep, undo: Undo::By(start_old_again) },
        Step {
            name: "environment",
            does: "keep a copy of the app's variables",
            run: keep_environment,
            undo: Undo::By(drop_environment),
        },
        Step {
            name: "shared",
            does: "see that its shared paths are there",
            run: shared::make_ready,
            undo: nothing("an empty folder is in nobody's way"),
        },
        Step {
            name: "migrations",
            does: "see that code and databases fit",
            run: migrations::fit,
            undo: Undo::By(migrations::undo),
        },
        Step {
            name: "static",
            does: "keep its hashed static files servable",
            run: statics::keep,
            undo: Undo::By(statics::give_back),
        },
        Step {
            name: "before_switch",
            does: "run the release's hook",
            run: hooks::before_switch,
            undo: nothing("nothing was changed for it"),
        },
        Step { name: "wait", does: "wait for the other nodes", run: gate::wait, undo: nothing("it only waits") },
        Step { name: "switch", does: "point `current` at the release", run: to_new, undo: Undo::By(back_to_old) },
        Step {
            name: "restart",
            does: "start the app",
            run: start_new,
            undo: nothing("`keep` starts the old one again"),
        },
        Step { name: "confirm", does: "ask whether it is healthy", run: ask, undo: nothing("it only asks") },
        Step {
            name: "after_switch",
            does: "run the release's hook",
            run: hooks::after_switch,
            undo: nothing("what it did is for `on_failure`"),
        },
        Step {
            name: "settle",
            does: "record it as healthy",
            run: settle,
            undo: nothing("`switch` writes the old state"),
        },
        Step {
            name: "after_rollback",
            does: "run the release's hook",
            run: hooks::after_rollback,
            undo: nothing("it is the last and cannot fail"),
        },
    ]
}

/// What is to be activated, and how.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The release.
    pub version: Version,
    /// Forward, or back by rollback.
    pub direction: Direction,
    /// What to do when it is known to be bad.
    pub bad: OnBad,
    /// What to do when it is older than what serves.
    pub older: OnOlder,
    /// What to do when it and the databases do not fit each other.
    pub schema: OnSchema<'a>,
    /// Who says when to switch; at once where nobody does.
    pub gate: Option<&'a dyn Gate>,
}

/// What to do when a release is known to be bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBad {
    /// Refuse.
    Refuse,
    /// Try it again.
    TryAgain,
}

/// What came of an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activated {
    /// It served already, and healthy.
    Already,
    /// It serves.
    Now {
        /// What served before.
        before: Option<Version>,
    },
}

/// Activates a release that is prepared on this node.
pub fn activate<'a>(
    node: &'a mut Node,
    request: &Request<'a>,
    runtime: &'a Runtime,
    sink: &'a dyn Sink,
) -> Result<Activated, Box<Failure>> {
    let operation = match request.direction {
        Direction::Forward => Operation::Activate,
        Direction::Back => Operation::Rollback,
    };
    let (app, version) = (node.app.clone(), request.version.clone());
    let failure = |source, left, tried| Box::new(Failure { operation, app, version, source, left, tried });
    match check(node, request) {
        Ok(Standing::Healthy) if node.state.live_version() == Some(&request.version) => return Ok(Activated::Already),
        Ok(_) => {}
        Err(error) => return Err(failure(error, Vec::new(), false)),
    }
    let before = node.state.live_version().cloned();
    let mut run = match Activation::begin(operation, node, request, runtime, sink) {
        Ok(run) => run,
        Err(error) => return Err(failure(error.into(), Vec::new(), false)),
    };
    let ran = steps::run_noted(&table(), &mut run, sink, |run, step, phase| Ok(run.ongoing.note(step, phase)?));
    let tried = run.verdict.is_some();
    run.end(&ran);
    match ran {
        Ok(()) => Ok(Activated::Now { before }),
        Err(steps::Failure { error, left, .. }) => Err(failure(error, left, tried)),
    }
}

/// Looks whether the release can be activated; gives how it stands.
fn check(node: &Node, request: &Request) -> Result<Standing, Error> {
    let (app, version) = (node.app.clone(), request.version.clone());
    let not_here = || NotHere::of(&node.app, &request.version, &node.state);
    let standing = node.state.standing(&version).ok_or_else(not_here)?;
    let release = node.state.release(&version).ok_or_else(not_here)?;
    if standing == Standing::Bad && request.bad == OnBad::Refuse {
        let reason = release.reason.clone().unwrap_or_default();
        return Err(Error::Bad { app, version, since: release.since, reason });
    }
    request.older.check(&node.state, &app, &version, release.committed)?;
    if !record::is_complete(&node.root.release(&version)) {
        return Err(Error::Incomplete { app, version });
    }
    Ok(standing)
}

/// One activation under way.
struct Activation<'a> {
    node: &'a mut Node,
    runtime: &'a Runtime,
    sink: &'a dyn Sink,
    version: Version,
    direction: Direction,
    operation: Operation,
    schema: OnSchema<'a>,
    gate: Option<&'a dyn Gate>,
    /// When to switch, once that is known.
    instant: Option<Timestamp>,
    ongoing: Ongoing,
    /// What the release says of itself, once that was read.
    description: Option<Description>,
    /// The state that undoing returns to; what it says is live is the release to go back to.
    back: State,
    /// Whether the restart command was begun: only then the old release must be started again.
    restarted: bool,
    /// Why the new release is bad, once that is known.
    verdict: Option<String>,
    /// Why the activation fails, where that says nothing of the release.
    reason: Option<String>,
    /// The variables it runs with.
    env: Option<EnvId>,
    /// The release whose migrations were taken back.
    reversed: Option<Version>,
    /// Whether `on_failure` was run.
    failure_told: bool,
    /// Whether a hashed name means one file in it and another in an older release.
    is_ambiguous: bool,
}

impl<'a> Activation<'a> {
    /// Writes down that it begins. A release that is live but was never confirmed (its activation was interrupted) is
    /// not one to go back to from itself: then it is the last healthy one.
    fn begin(
        operation: Operation,
        node: &'a mut Node,
        request: &Request<'a>,
        runtime: &'a Runtime,
        sink: &'a dyn Sink,
    ) -> fs::Result<Self> {
        let mut back = node.state.clone();
        if back.live_version() == Some(&request.version) {
            back.return_to(node.state.previous(), clock::now());
        }
        let ongoing = node.journal.begin(operation, &request.version, back.live_version())?;
        let (version, direction) = (request.version.clone(), request.direction);
        Ok(Self {
            node,
            runtime,
            sink,
            version,
            direction,
            operation,
            schema: request.schema,
            gate: request.gate,
            instant: None,
            ongoing,
            description: None,
            back,
            restarted: false,
            verdict: None,
            reason: None,
            env: None,
            reversed: None,
            failure_told: false,
            is_ambiguous: false,
        })
    }

    /// The file of variables that this activation's commands get.
    fn env_file(&self) -> Option<PathBuf> {
        self.env.as_ref().map(|id| id.path(&self.node.root)).or_else(|| self.node.config.env_file.clone())
    }

    /// The file of variables that another release's code gets: what it runs with, or was healthy with.
    fn env_file_of(&self, version: &Version) -> Option<PathBuf> {
        if *version == self.version {
            self.env_file()
        } else {
            environment::file_of(&self.node.root, &self.back, &self.node.config, version)
        }
    }

    /// Remembers for the hook why it fails.
    fn because(&mut self, error: Error) -> Error {
        self.reason.get_or_insert_with(|| one_line(&error));
        error
    }

    /// Writes down how it ended. The outcome stands even if that fails: the next command finds the line missing and
    /// writes it.
    fn end(self, ran: &Result<(), steps::Failure<Error>>) {
        let (outcome, detail) = match ran {
            Ok(()) => (Outcome::Done, String::new()),
            Err(failure) if failure.left.is_empty() => (Outcome::Undone, one_line(&failure.error)),
            Err(failure) => (Outcome::Mixed, one_line(&failure.error)),
        };
        if let Err(error) = self.ongoing.end(outcome, &detail) {
            let text = format!("the journal's last line is missing: {}", one_line(&error));
            self.sink.emit(Event::Warning { text });
        }
    }

    fn start(&self, version: &Version) -> Result<(), Error> {
        let failed = |source: start::Error| Error::Restart { version: version.clone(), source: source.into() };
        start::start(self.node, version).map_err(failed)
    }

    /// How many times it asked until the app was healthy; 0 when nothing is configured to be asked. A process that nobody
    /// asks may have ended meanwhile, so all of them are looked at once more.
    fn ask(&self, version: &Version) -> Result<u32, Error> {
        let asked = self.node.config.health.as_ref().map_or(Ok(0), |health| confirm(health, self.runtime));
        let asked = asked.map_err(|source| self.unhealthy(version, source))?;
        let failed = |source: start::Error| Error::Restart { version: version.clone(), source: source.into() };
        start::look(self.node, version).map_err(failed)?;
        Ok(asked)
    }

    /// The new release is bad, by this error. What is known of it is kept before the old one is started again.
    fn condemn(&mut self, error: &Error) {
        self.verdict = Some(one_line(error));
        let printed = start::printed(self.node, &self.version, evidence::KEPT);
        if let Err(failed) = evidence::keep(&self.node.root, &self.version, error, &printed, clock::now()) {
            let text = format!("what is known of the failure could not be kept: {}", one_line(&failed));
            self.sink.emit(Event::Warning { text });
        }
    }

    fn unhealthy(&self, version: &Version, source: confirm::Error) -> Error {
        let source = source.with_body(|text| start::secrets(self.node, version).hide(text));
        let printed = if self.restarted { start::printed(self.node, version, start::SHOWN) } else { String::new() };
        Error::Health { version: version.clone(), source: source.into(), printed: process::last_lines(&printed) }
    }
}

fn keep(run: &mut Activation) -> Result<Done, Error> {
    Ok(Done::said(match run.back.live_version() {
        Some(version) => format!("`{version}` serves"),
        None => "nothing serves yet".to_owned(),
    }))
}

/// Starts the old release again, and sees that it really serves: "the old release serves" must not be a guess.
fn start_old_again(run: &mut Activation) -> Result<(), Error> {
    if run.verdict.is_none() && !run.restarted {
        return Ok(());
    }
    let version = run.back.live_version().ok_or(Error::NoneBefore)?.clone();
    if !run.restarted {
        return Ok(());
    }
    run.start(&version)?;
    run.ask(&version)?;
    Ok(())
}

/// Going back to a release takes the variables that it was healthy with.
fn keep_environment(run: &mut Activation) -> Result<Done, Error> {
    let (node, file) = (&run.node, run.node.config.env_file.as_ref());
    let earlier = node.state.env_of(&run.version).filter(|_| run.direction == Direction::Back).cloned();
    if let Some(earlier) = earlier.filter(|id| fs::exists(&id.path(&node.root))) {
        run.env = Some(earlier);
        return Ok(Done::said("those that it was healthy with"));
    }
    let Some(file) = file else { return Ok(Done::said("no `env_file` is configured")) };
    run.env = Some(environment::keep(&node.root, file).map_err(|source| Error::Environment { source })?);
    Ok(Done::said(file.display().to_string()))
}

/// Runs after `switch` was undone: what the state does not name then is of no use.
fn drop_environment(run: &mut Activation) -> Result<(), Error> {
    run.env = None;
    Ok(environment::tidy(&run.node.root, &run.node.state)?)
}

fn to_new(run: &mut Activation) -> Result<Done, Error> {
    run.node.state.switch_to(&run.version, clock::now());
    run.node.state.run_with(run.env.clone());
    let switched = switch_when(&run.node.root, &run.node.state, || run.until_the_instant());
    switched.map_err(|error| run.because(error.into()))?;
    run.tell_switched();
    Ok(Done::said(format!("`current` leads to `{}`", run.version)))
}

fn back_to_old(run: &mut Activation) -> Result<(), Error> {
    let mut back = run.back.clone();
    if let Some(reason) = &run.verdict {
        back.mark_bad(&run.version, reason, clock::now());
    }
    let untouched = || State::load(&run.node.root.state(), &run.node.app).is_ok_and(|state| state == back);
    let link = run.node.root.where_current_leads();
    if !(link.is_ok_and(|link| link.version() == back.live_version()) && untouched()) {
        switch(&run.node.root, &back)?;
    }
    run.node.state = back;
    Ok(())
}

fn start_new(run: &mut Activation) -> Result<Done, Error> {
    let Some(said) = start::said(run.node) else { return Ok(Done::said("no restart is configured")) };
    match start::start(run.node, &run.version) {
        Ok(()) => run.restarted = true,
        Err(source) => {
            run.restarted = source.had_begun();
            let error = Error::Restart { version: run.version.clone(), source: source.into() };
            if run.restarted {
                run.condemn(&error);
            }
            return Err(run.because(error));
        }
    }
    Ok(Done::said(said))
}

fn ask(run: &mut Activation) -> Result<Done, Error> {
    match run.ask(&run.version) {
        Ok(0) => Ok(Done::said("no health check is configured")),
        Ok(times) => Ok(Done::said(format!("healthy, asked {times} times")).moved(0, times.into())),
        Err(error) => {
            run.condemn(&error);
            Err(error)
        }
    }
}

fn settle(run: &mut Activation) -> Result<Done, Error> {
    run.node.state.confirm(run.direction, clock::now());
    run.node.save().map_err(|error| run.because(error.into()))?;
    statics::settle(run);
    Ok(Done::said(format!("`{}` is healthy", run.version)))
}

/// The first lines of an error and its causes, joined: for the journal, the state file and a list of errors.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let lines: Vec<String> = chain.filter_map(|error| error.to_string().lines().next().map(str::to_owned)).collect();
    lines.join(": ").chars().take(500).collect()
}

#[cfg(test)]
mod broken;

#[cfg(test)]
mod tests;
