//! Applies a prepared release's migrations, or takes them back by the newer release's code. A verb of its own: what serves
//! is not touched, and a failure leaves it serving.
//!
//! [`table`] is the operation. Once for each environment: under a lease in the store, and under the database's own lock where
//! it has one. `client` is the release's Python, `schema` says what its answers mean.
//!
//! A kill ends the Python too, and the database takes back what is open; a migration and its record are one transaction where
//! the database can do that. So nothing is to be healed here: the next run sees in the database how far this one came.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{ChannelName, Version};
use pannier_shared::statement::Migrations;
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::store::Store;
use pannier_shared::sys::{fs, host};
use tokio::runtime::Runtime;

use crate::activate::one_line;
use crate::described::described;
use crate::journal::{Ongoing, Operation, Outcome};
use crate::layout::Root;
use crate::node::{Node, NotHere};
use crate::record;

mod ask;
mod client;
mod error;
pub mod lease;
pub mod schema;

pub use ask::ask;
pub use client::{Client, Moved};
pub use error::{Error, Failure};

use client::{Job, Mode, Word};
use lease::{Lease, Wanted};
use schema::{Database, WayBack};

/// How an app's databases are migrated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// What shares the databases; none: the app's channel, or else `default`.
    pub environment: Option<ChannelName>,
    /// How long the lease is good after each renewal; none: no lease is taken.
    pub lease: Option<Duration>,
    /// How long all of it may take.
    pub timeout: Duration,
    /// What an activation does when something is pending.
    pub pending: OnPending,
}

impl Default for Manner {
    fn default() -> Self {
        let (lease, timeout) = (Some(Duration::from_secs(60)), Duration::from_secs(3600));
        Self { environment: None, lease, timeout, pending: OnPending::Refuse }
    }
}

/// What an activation does when something is pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnPending {
    /// Refuse.
    #[default]
    Refuse,
    /// Not even ask.
    Ignore,
}

impl std::str::FromStr for OnPending {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "refuse" => Ok(Self::Refuse),
            "ignore" => Ok(Self::Ignore),
            _ => Err("it must be `refuse` or `ignore`"),
        }
    }
}

/// What keeps other nodes away.
#[derive(Clone, Copy)]
pub enum Leasing<'a> {
    /// A lease in this store, waited for at most so long.
    Store(&'a dyn Store, Duration),
    /// The database's own lock alone, where it has one.
    DatabaseOnly,
}

impl std::fmt::Debug for Leasing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Leasing::Store(store, wait) => write!(f, "Store({}, {wait:?})", store.location()),
            Leasing::DatabaseOnly => f.write_str("DatabaseOnly"),
        }
    }
}

/// Which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Apply what is pending.
    Forward,
    /// Take back, by database.
    Back(BTreeMap<String, WayBack>),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The release whose code does it.
    pub version: Version,
    /// Which way.
    pub way: Way,
    /// What keeps other nodes away.
    pub leasing: Leasing<'a>,
    /// The app's variables.
    pub env_file: Option<PathBuf>,
}

/// What was done.
#[derive(Debug, Clone)]
pub struct Migrated {
    /// What was applied, or taken back, in order; nothing when nothing was pending.
    pub moved: Vec<Moved>,
}

/// The steps, in order, each with what takes it back.
fn table<'a>() -> [Step<Migration<'a>, Error>; 4] {
    let nothing = Undo::Nothing;
    [
        Step { name: "ask", does: "ask the databases what is applied", run: look, undo: nothing("it only asks") },
        Step { name: "lease", does: "keep other nodes away", run: take_lease, undo: Undo::By(give_lease_back) },
        Step {
            name: "migrate",
            does: "run the release's migrations",
            run: migrate_all,
            undo: nothing("what was applied is for the next run to go on from"),
        },
        Step { name: "release", does: "let other nodes in", run: let_go, undo: nothing("it is the last") },
    ]
}

/// Applies a release's migrations, or takes some back.
pub fn migrate(
    node: &mut Node,
    request: &Request,
    runtime: &Runtime,
    sink: &dyn Sink,
) -> Result<Migrated, Box<Failure>> {
    let operation = match request.way {
        Way::Forward => Operation::Migrate,
        Way::Back(_) => Operation::Reverse,
    };
    let (app, version) = (node.app.clone(), request.version.clone());
    let failure = |source, moved, log| Box::new(Failure { operation, app, version, source, moved, log });
    let mut run = match Migration::begin(operation, node, request, runtime, sink) {
        Ok(run) => run,
        Err(error) => return Err(failure(error, 0, None)),
    };
    let ran = steps::run_noted(&table(), &mut run, sink, |run, step, phase| Ok(run.ongoing.note(step, phase)?));
    let (moved, log) = (std::mem::take(&mut run.moved), run.log());
    run.end(&ran);
    match ran {
        Ok(()) => Ok(Migrated { moved }),
        Err(steps::Failure { error, .. }) => Err(failure(error, moved.len(), Some(log).filter(|log| fs::exists(log)))),
    }
}

/// One run.
struct Migration<'a> {
    node: &'a Node,
    request: &'a Request<'a>,
    runtime: &'a Runtime,
    sink: &'a dyn Sink,
    ongoing: Ongoing,
    client: Client,
    databases: Vec<Database>,
    lease: Option<Lease<'a>>,
    moved: Vec<Moved>,
}

impl<'a> Migration<'a> {
    fn begin(
        operation: Operation,
        node: &'a Node,
        request: &'a Request<'a>,
        runtime: &'a Runtime,
        sink: &'a dyn Sink,
    ) -> Result<Self, Error> {
        let version = &request.version;
        node.state.release(version).ok_or_else(|| NotHere::of(&node.app, version, &node.state))?;
        if !record::is_complete(&node.root.release(version)) {
            return Err(Error::Incomplete(version.clone()));
        }
        let client = Client::of(&node.root, &node.config, version, request.env_file.as_deref())?;
        let ongoing = node.journal.begin(operation, version, node.state.live_version())?;
        let (databases, moved) = (Vec::new(), Vec::new());
        Ok(Self { node, request, runtime, sink, ongoing, client, databases, lease: None, moved })
    }

    /// Where what is printed goes: as long as the journal's end tells of the operation (see `steps::hook`).
    fn log(&self) -> PathBuf {
        self.node.root.hook_logs().join(format!("{}-migrate.log", self.ongoing.id()))
    }

    fn is_needed(&self) -> bool {
        match &self.request.way {
            Way::Forward => self.databases.iter().any(|database| !database.pending.is_empty()),
            Way::Back(ways) => !ways.is_empty(),
        }
    }

    fn wanted(&self, good_for: Duration, wait: Duration) -> fs::Result<Wanted> {
        let (node, version) = (self.node, &self.request.version);
        let verb = match self.request.way {
            Way::Forward => "migrate to",
            Way::Back(_) => "take back migrations of",
        };
        Ok(Wanted {
            app: node.app.clone(),
            environment: environment(node),
            owner: format!("{}, process {}", host::name(), std::process::id()),
            root: host::mark_of(node.root.path())?,
            reason: format!("{verb} {version}"),
            good_for,
            wait,
        })
    }

    /// What comes of a word, and of none. The lease is proven before leave is given.
    fn hear(&mut self, word: Option<Word>, guarded: &mut bool) -> Result<Option<&'static str>, Error> {
        match word {
            None => self.keep_lease(*guarded)?,
            Some(Word::Ready { guarded: is_guarded, .. }) => {
                *guarded = is_guarded;
                if let Some(lease) = &mut self.lease {
                    lease.renew()?;
                }
                return Ok(Some("go"));
            }
            Some(Word::Waiting { alias }) => self.note(format!("somebody else migrates `{alias}`: waiting")),
            Some(Word::Applied(moved)) => self.was_moved("applied", moved)?,
            Some(Word::Reversed(moved)) => self.was_moved("took back", moved)?,
            Some(Word::Differs { alias, found }) => return Err(Error::Differs { alias, found }),
            Some(Word::Database { .. } | Word::Unreachable { .. }) => {}
        }
        Ok(None)
    }

    /// A store that is away stops nothing while the database keeps others out, or until the lease is over.
    fn keep_lease(&mut self, guarded: bool) -> Result<(), Error> {
        let Some(lease) = &mut self.lease else { return Ok(()) };
        match lease.keep() {
            Err(lease::Error::Store(_)) if guarded || !lease.is_over() => Ok(()),
            other => Ok(other?),
        }
    }

    fn was_moved(&mut self, what: &str, moved: Moved) -> fs::Result<()> {
        let Moved { alias, migration, seconds } = &moved;
        let text = format!("{what} {migration} in `{alias}` within {seconds:.2} s");
        self.ongoing.say(&text)?;
        self.note(text);
        self.moved.push(moved);
        Ok(())
    }

    fn note(&self, text: String) {
        self.sink.emit(Event::Note { text });
    }

    /// The outcome stands even if its line cannot be written: the next command writes it.
    fn end(self, ran: &Result<(), steps::Failure<Error>>) {
        let (outcome, detail) = match ran {
            Ok(()) => (Outcome::Done, String::new()),
            Err(failure) => (Outcome::Undone, one_line(&failure.error)),
        };
        if let Err(error) = self.ongoing.end(outcome, &detail) {
            let text = format!("the journal's last line is missing: {}", one_line(&error));
            self.sink.emit(Event::Warning { text });
        }
    }
}

/// What a release here says that it has. One that cannot be read, or was built before migrations were noted, says nothing.
pub fn of_release(root: &Root, version: &Version) -> Option<Migrations> {
    let said = described(&root.release(version)).ok()??;
    Some(said.migrations).filter(|migrations| !migrations.is_empty())
}

/// What shares the databases of an app on this node.
fn environment(node: &Node) -> ChannelName {
    let given = node.config.migrate.environment.as_ref().or(node.config.channel.as_ref()).cloned();
    given.unwrap_or_else(|| "default".parse().unwrap_or_else(|_| unreachable!("it is a name")))
}

/// What is to be taken back was asked for by who wants that.
fn look(run: &mut Migration) -> Result<Done, Error> {
    if let Way::Back(ways) = &run.request.way {
        return Ok(Done::said(counted(ways.values().map(|way| way.expected.len()).sum(), "to take back")));
    }
    run.databases = ask(&run.client)?;
    warn_of_destructive(run);
    let pending = run.databases.iter().map(|database| database.pending.len()).sum();
    Ok(Done::said(counted(pending, "pending")))
}

/// What serves runs on with what is left.
fn warn_of_destructive(run: &Migration) {
    let Some(serving) = run.node.state.live_version().filter(|live| **live != run.request.version) else { return };
    let Some(own) = of_release(&run.node.root, &run.request.version) else { return };
    let pending = run.databases.iter().flat_map(|database| schema::judged(&database.pending, &own));
    for one in pending.filter(schema::Judged::is_destructive) {
        let text = format!("`{serving}` serves on, and may fail without what this takes away: {one}");
        run.sink.emit(Event::Warning { text });
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("nothing is {what}"),
        1 => format!("1 migration {what}"),
        _ => format!("{count} migrations {what}"),
    }
}

fn take_lease(run: &mut Migration) -> Result<Done, Error> {
    let (Leasing::Store(store, wait), Some(good_for)) = (run.request.leasing, run.node.config.migrate.lease) else {
        return Ok(Done::said("no lease is configured"));
    };
    if !run.is_needed() {
        return Ok(Done::said("not needed"));
    }
    let wanted = run.wanted(good_for, wait)?;
    let lease = Lease::take(store, &wanted, run.runtime, run.sink)?;
    let said = format!("the lease of `{}`, number {}", wanted.environment, lease.fence());
    run.lease = Some(lease);
    Ok(Done::said(said))
}

fn give_lease_back(run: &mut Migration) -> Result<(), Error> {
    Ok(run.lease.take().map_or(Ok(()), Lease::give_back)?)
}

fn migrate_all(run: &mut Migration) -> Result<Done, Error> {
    if !run.is_needed() {
        return Ok(Done::said("not needed"));
    }
    let back = match &run.request.way {
        Way::Forward => None,
        Way::Back(ways) => Some(serde_json::to_string(ways).unwrap_or_default()),
    };
    let log = run.log();
    let job = Job {
        mode: back.as_deref().map_or(Mode::Forward, Mode::Back),
        fence: run.lease.as_ref().map(Lease::fence),
        limit: run.node.config.migrate.timeout,
        log: Some(&log),
    };
    let client = run.client.clone();
    let mut guarded = false;
    client.run(&job, &mut |word| run.hear(word, &mut guarded))?;
    let verb = if back.is_some() { "taken back" } else { "applied" };
    Ok(match run.moved.len() {
        0 => Done::said("another node was quicker"),
        count => Done::said(counted(count, verb)).moved(0, count as u64),
    })
}

/// One that cannot be given back runs out by itself.
fn let_go(run: &mut Migration) -> Result<Done, Error> {
    if let Err(error) = give_lease_back(run) {
        run.sink
            .emit(Event::Warning { text: format!("the lease was not given back, and runs out: {}", one_line(&error)) });
    }
    Ok(Done::default())
}
