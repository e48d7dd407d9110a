//! Brings a node back from nothing: reads the suite, writes the node's configuration, and brings all apps of its role, in
//! parallel, each to the point where it serves and is healthy.
//!
//! [`table`] is the operation. None of its steps is taken back: what is there of a recovery is what the next run goes on
//! from, and nothing of it is fetched twice. An app that fails stops no other one; what came of each is the result.
//!
//! A drill is the same with another [`Place`]: roots, configuration and what is remembered lie below one folder, and what
//! would touch the machine (units, restart, users, variables, health, hooks, databases) is left out. Instead, every file is
//! read back and compared with what was signed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, RoleName, SuiteName, near};
use pannier_shared::published::{self, Published};
use pannier_shared::report::human;
use pannier_shared::signature::Verified;
use pannier_shared::statement::suite::Role;
use pannier_shared::statement::{Document, Suite};
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::sys::{clock, fs};

use crate::config::{self, Config};
use crate::fetch::Origin;

mod app;
mod apps;
mod configure;
mod drill;
mod remember;

pub use app::{Came, Damaged, Recovered, Trouble};
pub use drill::NotAside;
pub use remember::WentBack;

const GOES_ON: &str = "the next run goes on from it";

/// The steps, in order.
fn table<'a>() -> [Step<Recovering<'a>, Error>; 4] {
    let stays = || Undo::Nothing(GOES_ON);
    [
        Step { name: "suite", does: "read and remember the suite", run: read, undo: stays() },
        Step { name: "configure", does: "write the node's configuration", run: configure::configure, undo: stays() },
        Step { name: apps::STEP, does: "bring all apps back", run: apps::bring, undo: stays() },
        Step { name: "report", does: "write the drill's report", run: drill::report, undo: stays() },
    ]
}

/// What is to be brought back, and how.
#[derive(Clone)]
pub struct Request<'a> {
    /// The suite.
    pub suite: SuiteName,
    /// What this node is for.
    pub role: RoleName,
    /// Where the releases come from.
    pub origin: Origin<'a>,
    /// How the store is written into the configuration, where that names none.
    pub store: &'a str,
    /// How the trust file is written into the configuration, where that names none.
    pub trust: PathBuf,
    /// What the node was told so far; empty on a bare one.
    pub config: &'a Config,
    /// Where it goes.
    pub place: Place,
    /// What is done about migrations that are not applied.
    pub migrations: Migrations,
    /// How long an app's lock is waited for; without anything to wait for, being refused is at once.
    pub wait: Duration,
    /// How long a lease is waited for.
    pub lease: Duration,
}

/// Where a recovery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This node: the roots of the suite, and the configuration's own file.
    Node,
    /// A folder, for a drill.
    Scratch(PathBuf),
}

/// What is done about migrations that are not applied. In a recovery the database is usually there, and has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// The app is not activated, and they are named.
    Refuse,
    /// They are applied first.
    Apply,
    /// Nobody asks.
    Ignore,
}

/// What came of a recovery.
#[derive(Debug)]
pub struct Recovery {
    /// The suite's serial.
    pub serial: u64,
    /// Its apps, in the order in which they were brought back.
    pub apps: Vec<Recovered>,
    /// How long all of it took.
    pub took: Duration,
    /// The drill's report.
    pub report: Option<PathBuf>,
}

/// A recovery that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The suite cannot be found or believed.
    #[error(transparent)]
    Published(#[from] Box<published::Error>),
    /// It has no such role.
    #[error("the suite `{suite}` has no role `{role}`")]
    UnknownRole {
        /// The suite.
        suite: SuiteName,
        /// The role asked for.
        role: RoleName,
        /// Roles that come close, or else all.
        known: Vec<String>,
    },
    /// It is older than one that this node has seen.
    #[error(transparent)]
    WentBack(#[from] WentBack),
    /// The drill's folder is not out of the way.
    #[error(transparent)]
    NotAside(#[from] NotAside),
    /// The configuration cannot be completed.
    #[error("the node's configuration cannot be completed")]
    Config(#[from] config::Error),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A step that should have run did not: a bug.
    #[error("the suite was not read")]
    NotRead,
}

impl From<published::Error> for Error {
    fn from(error: published::Error) -> Self {
        Error::Published(Box::new(error))
    }
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Published(error) => error.hint(),
            Error::UnknownRole { known, .. } => Some(format!("it has `{}`", known.join("`, `"))),
            Error::WentBack(error) => Some(error.hint()),
            Error::NotAside(error) => Some(error.hint()),
            Error::Config(error) => error.hint(),
            Error::Fs(_) | Error::NotRead => None,
        }
    }
}

/// One recovery under way.
struct Recovering<'a> {
    request: &'a Request<'a>,
    sink: &'a dyn Sink,
    began: Instant,
    suite: Option<Verified<Suite>>,
    /// What each app of the role is told.
    told: BTreeMap<AppName, config::App>,
    /// Why it cannot be told.
    unfit: BTreeMap<AppName, config::Error>,
    apps: Vec<Recovered>,
    report: Option<PathBuf>,
}

impl Recovering<'_> {
    /// The apps of the role.
    fn members(&self) -> Result<&Role, Error> {
        self.suite.as_ref().and_then(|suite| suite.roles.get(&self.request.role)).ok_or(Error::NotRead)
    }

    /// The file of the node's configuration.
    fn config_file(&self) -> PathBuf {
        match &self.request.place {
            Place::Node => self.request.config.file.clone(),
            Place::Scratch(folder) => folder.join("activator.toml"),
        }
    }

    /// Where the suite is remembered: beside the configuration.
    fn remembered(&self) -> PathBuf {
        let folder = self.config_file().parent().map(Path::to_owned).unwrap_or_default();
        folder.join("suites").join(format!("{}.json", self.request.suite))
    }
}

/// Brings the role's apps back. An app that fails is a result, see [`Recovered::came`].
pub fn recover(request: &Request, sink: &dyn Sink) -> Result<Recovery, Error> {
    let (told, unfit, began) = (BTreeMap::new(), BTreeMap::new(), clock::monotonic());
    let mut run = Recovering { request, sink, began, suite: None, told, unfit, apps: Vec::new(), report: None };
    steps::run(&table(), &mut run, sink).map_err(|failure| failure.error)?;
    let serial = run.suite.as_ref().ok_or(Error::NotRead)?.serial;
    Ok(Recovery { serial, apps: run.apps, took: began.elapsed(), report: run.report })
}

fn read(run: &mut Recovering) -> Result<Done, Error> {
    let Request { suite, role, origin: Origin { store, trust, runtime }, .. } = run.request;
    let published = Published { store: *store, trust, now: clock::now() };
    let document = runtime.block_on(published.suite(suite))?.document;
    let Some(members) = document.roles.get(role) else {
        let all = || document.roles.keys().map(RoleName::as_str);
        let close = near(role.as_str(), all());
        let known = if close.is_empty() { all().collect() } else { close };
        let known = known.into_iter().map(str::to_owned).collect();
        return Err(Error::UnknownRole { suite: suite.clone(), role: role.clone(), known });
    };
    if let Place::Scratch(folder) = &run.request.place {
        drill::see_that_it_is_aside(folder, run.request.config, members)?;
    }
    remember::remember(&run.remembered(), &document, &published, run.sink)?;
    let (size, serial) = (human::bytes(document.bytes().len() as u64), document.serial);
    let said = format!("serial {serial}, {} apps for `{role}`, {size} of {}", members.len(), Suite::NAME);
    run.suite = Some(document);
    Ok(Done::said(said))
}
