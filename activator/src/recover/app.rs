//! One app of a recovery: fetched, and then activated; in a drill, compared with what was signed.

use std::time::{Duration, Instant};

use pannier_shared::digest::Digest;
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, Version};
use pannier_shared::report::human;
use pannier_shared::statement::suite::Runs;
use pannier_shared::sys::{clock, fs};

use super::{Migrations, Place, Request};
use crate::activate::{self, Activated, OnBad, OnSchema, activate};
use crate::age::{self, OnOlder};
use crate::config::{self, App};
use crate::fetch::{self, Fetched, fetch_unless_older};
use crate::migrate::Leasing;
use crate::node::{self, Node};
use crate::prune::prune_afterwards;
use crate::resolve::What;
use crate::state::Direction;
use crate::steps::fetch::Transferred;
use crate::steps::switch::switch;
use crate::verify::{self, verify_in};

/// What came of one app.
#[derive(Debug)]
pub struct Recovered {
    /// The app.
    pub app: AppName,
    /// What the suite says that it runs.
    pub runs: Runs,
    /// Its release, once that was known.
    pub version: Option<Version>,
    /// SHA-256 of that release's statement.
    pub statement: Option<Digest>,
    /// What was fetched; nothing when all of it was here.
    pub moved: Option<Transferred>,
    /// How long the fetch took, once it was its turn.
    pub fetching: Duration,
    /// How long it took from then on until it served.
    pub took: Duration,
    /// What is true of it now, or what went wrong.
    pub came: Result<Came, Trouble>,
}

impl Recovered {
    /// Before anything was moved.
    pub fn nothing(app: &AppName, runs: &Runs, came: Result<Came, Trouble>) -> Self {
        let (fetching, took) = (Duration::ZERO, Duration::ZERO);
        let (app, runs) = (app.clone(), runs.clone());
        Self { app, runs, version: None, statement: None, moved: None, fetching, took, came }
    }
}

/// What is true of an app that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It serves now.
    Serves,
    /// It served already.
    Served,
    /// It lies in a drill's folder, and so many bytes of it are what was signed.
    Proven(u64),
}

/// What went wrong with an app.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The suite says something of it that no node can do.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Its root cannot be worked on.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// Its release did not come.
    #[error(transparent)]
    Fetch(#[from] Box<fetch::Failure>),
    /// It does not serve.
    #[error(transparent)]
    Activate(#[from] Box<activate::Failure>),
    /// What was written cannot be compared.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// What was written is not what was signed.
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

impl From<fs::Error> for Trouble {
    fn from(error: fs::Error) -> Self {
        Trouble::Node(error.into())
    }
}

/// A release that is not on the disk as it was fetched.
#[derive(Debug, thiserror::Error)]
#[error("`{version}` of `{app}` is damaged in {count} places after it was written, first in `{first}`")]
pub struct Damaged {
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// How many places.
    pub count: usize,
    /// The first of them, by path.
    pub first: String,
}

/// One app on its way.
pub struct Bringing<'a> {
    request: &'a Request<'a>,
    sink: &'a dyn Sink,
    began: Instant,
    recovered: Recovered,
    node: Option<Node>,
}

/// The app's own words, with its name before them; its steps are not told, ten at once say nothing.
struct Named<'a>(&'a AppName, &'a dyn Sink);

impl Sink for Named<'_> {
    fn emit(&self, event: Event) {
        let Self(app, sink) = self;
        match event {
            Event::Note { text } => sink.emit(Event::Note { text: format!("{app}: {text}") }),
            Event::Warning { text } => sink.emit(Event::Warning { text: format!("{app}: {text}") }),
            _ => {}
        }
    }
}

impl<'a> Bringing<'a> {
    /// Brings the release here.
    pub fn fetch(request: &'a Request<'a>, app: &AppName, runs: &Runs, config: &App, sink: &'a dyn Sink) -> Self {
        let (began, recovered) = (clock::monotonic(), Recovered::nothing(app, runs, Ok(Came::Served)));
        let mut bringing = Self { request, sink, began, recovered, node: None };
        let fetched = bringing.open_and_fetch(config);
        bringing.recovered.fetching = began.elapsed();
        bringing.recovered.came = fetched.map(|()| Came::Served);
        bringing
    }

    fn open_and_fetch(&mut self, config: &App) -> Result<(), Trouble> {
        let (app, what) = (self.recovered.app.clone(), self.what());
        let sink = Named(&app, self.sink);
        let node = Node::open_within(&app, config, &format!("recover {what}"), self.request.wait, &sink)?;
        let node = self.node.insert(node);
        let fetched = fetch_unless_older(node, &what, OnOlder::Refuse, self.request.origin, &sink)?;
        let Fetched { version, moved } = fetched;
        self.recovered.statement = node.state.release(&version).map(|release| release.statement);
        (self.recovered.version, self.recovered.moved) = (Some(version), moved);
        Ok(())
    }

    fn what(&self) -> What {
        match &self.recovered.runs {
            Runs::Channel(channel) => What::Channel(channel.clone()),
            Runs::Version(version) => What::Version(version.clone()),
        }
    }

    /// Makes it serve, if it came.
    pub fn finish(mut self) -> Recovered {
        let (node, version) = (self.node.take(), self.recovered.version.clone());
        if let (Ok(_), Some(mut node), Some(version)) = (&self.recovered.came, node, version) {
            let app = self.recovered.app.clone();
            let sink = Named(&app, self.sink);
            self.recovered.came = match self.request.place {
                Place::Node => self.activate(&mut node, version, &sink),
                Place::Scratch(_) => self.prove(&mut node, &version, &sink),
            };
        }
        self.recovered.took = self.began.elapsed();
        self.say();
        self.recovered
    }

    /// What failed before is tried again where nothing serves: that is what a second recovery is for.
    fn activate(&self, node: &mut Node, version: Version, sink: &dyn Sink) -> Result<Came, Trouble> {
        let Request { origin, migrations, lease, .. } = self.request;
        let schema = match migrations {
            Migrations::Refuse => OnSchema::Refuse,
            Migrations::Apply => OnSchema::Change(Leasing::Store(origin.store, *lease)),
            Migrations::Ignore => OnSchema::Accept,
        };
        let bad = if node.state.live().is_none() { OnBad::TryAgain } else { OnBad::Refuse };
        let older = age::consent(&node.state, &self.what(), OnOlder::Refuse);
        let wanted = activate::Request { version, direction: Direction::Forward, bad, older, schema, gate: None };
        match activate(node, &wanted, origin.runtime, sink)? {
            Activated::Already => Ok(Came::Served),
            Activated::Now { .. } => {
                prune_afterwards(node, sink);
                Ok(Came::Serves)
            }
        }
    }

    /// Reads all of it back. `current` is made to lead to it by the one function that does that, but no code of it is run.
    fn prove(&self, node: &mut Node, version: &Version, sink: &dyn Sink) -> Result<Came, Trouble> {
        let release = node
            .state
            .release(version)
            .ok_or_else(|| verify::Error::from(node::NotHere::of(&node.app, version, &node.state)))?;
        let report = verify_in(&node.root, version, release, self.request.origin.trust, sink)?;
        if let Some(first) = report.damaged.first() {
            let (app, count) = (node.app.clone(), report.damaged.len());
            return Err(Damaged { app, version: version.clone(), count, first: first.path.clone() }.into());
        }
        node.state.switch_to(version, clock::now());
        node.state.confirm(Direction::Forward, clock::now());
        switch(&node.root, &node.state)?;
        Ok(Came::Proven(report.bytes))
    }

    fn say(&self) {
        let Recovered { app, version, moved, took, came, .. } = &self.recovered;
        let bytes = human::bytes(moved.map_or(0, |moved| moved.bytes));
        let version = version.as_ref().map_or_else(String::new, Version::to_string);
        let text = match came {
            Ok(Came::Serves) => format!("{app}: {version} serves ({bytes} in {})", human::duration(*took)),
            Ok(Came::Served) => format!("{app}: {version} served already"),
            Ok(Came::Proven(_)) => format!("{app}: {version} is here ({bytes} in {})", human::duration(*took)),
            Err(trouble) => {
                let text = format!("{app}: {}", activate::one_line(trouble));
                return self.sink.emit(Event::Warning { text });
            }
        };
        self.sink.emit(Event::Note { text });
    }
}
