//! What takes long is done on a thread of its own, so that the agent goes on looking at orders meanwhile.
//!
//! A worker is handed one job and tells how it went; it decides nothing. All it calls is what a person can type: `fetch`,
//! `migrate`, `activate`, `rollback`.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use jiff::Timestamp;
use pannier_shared::digest::Digest;
use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::statement::Rollout;
use tokio::runtime::Runtime;

use super::decide::Job;
use super::latch::Latch;
use super::origin::{Opened, Origins};
use crate::activate::{self, Activated, Gate, OnBad, OnSchema, Request, activate};
use crate::age::OnOlder;
use crate::config::App;
use crate::described::described;
use crate::fetch::{Origin, fetch};
use crate::migrate::{self, Leasing, Way, migrate};
use crate::node::Node;
use crate::prune::prune_afterwards;
use crate::resolve::What;
use crate::rollback::{self, rollback};
use crate::state::Direction;

/// How long a worker waits for the app's lock: a person's command may hold it.
const LOCK: Duration = Duration::from_secs(60);

/// What a worker tells.
#[derive(Debug)]
pub enum News {
    /// All that can refuse has not.
    Armed,
    /// `current` leads to the release since this instant.
    Switched(Timestamp),
    /// The job is over.
    Ended(Ended),
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The release is on the disk, proven to be the one with this digest; so many bytes came from the store.
    Prepared(Digest, u64),
    /// So many migrations were applied.
    Migrated(u32),
    /// It serves and is healthy.
    Healthy,
    /// The gate was closed: everything is as before.
    Closed,
    /// What served before serves again.
    WentBack,
    /// What was decided in this rollout serves.
    Followed(u64),
    /// It failed.
    Failed(Failed),
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Why, in one line.
    pub error: String,
    /// What to type on this node.
    pub hint: Option<String>,
    /// What is left behind.
    pub left: Left,
}

/// What a failed job leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Something that a person must see to.
    Something,
}

impl Failed {
    /// For these words.
    pub fn because(error: impl Into<String>) -> Self {
        Self { error: error.into(), hint: None, left: Left::Nothing }
    }

    fn of(error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { hint, ..Self::because(activate::one_line(error)) }
    }

    fn of_activation(failure: &activate::Failure) -> Self {
        let left = if failure.left.is_empty() { Left::Nothing } else { Left::Something };
        Self { left, ..Self::of(failure, failure.hint()) }
    }
}

/// A job, and all it takes.
pub struct Work<'a> {
    /// What is to be done.
    pub job: Job,
    /// By which order.
    pub order: Arc<Rollout>,
    /// The app's part of the configuration; none where the node has no such app.
    pub config: Option<&'a App>,
    /// Where releases come from.
    pub origins: &'a Origins<'a>,
    /// Where to wait.
    pub latch: Arc<Latch>,
    /// Whom to tell.
    pub news: Sender<News>,
    /// Who draws.
    pub sink: &'a dyn Sink,
}

impl Work<'_> {
    /// Does it. An agent that is gone needs not be told.
    pub fn run(self) {
        let ended = self.done().unwrap_or_else(Ended::Failed);
        let _ = self.news.send(News::Ended(ended));
    }

    fn done(&self) -> Result<Ended, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failed::of(&error, None))?;
        match &self.job {
            Job::Prepare => self.prepare(&runtime),
            Job::Migrate => self.migrate(&runtime),
            Job::Switch => self.switch(&runtime),
            Job::Back(before) => self.back(before, &runtime),
            Job::Unmoved => Ok(Ended::WentBack),
            Job::Follow(app) => self.follow(app, &runtime),
        }
    }

    fn prepare(&self, runtime: &Runtime) -> Result<Ended, Failed> {
        let order = &self.order;
        let mut node = self.node(&order.app)?;
        let (digest, bytes) =
            self.bring(&mut node, &order.version, order.statements.get(&Target::host()).copied(), runtime)?;
        Ok(Ended::Prepared(digest, bytes))
    }

    /// Brings exactly the release that the order names: its version alone could be another one's on this node.
    fn bring(
        &self,
        node: &mut Node,
        version: &Version,
        wanted: Option<Digest>,
        runtime: &Runtime,
    ) -> Result<(Digest, u64), Failed> {
        let Some(wanted) = wanted else {
            return Err(Failed::because(format!("the order has nothing for `{}`", Target::host())));
        };
        let here = |node: &Node| node.state.release(version).map(|release| release.statement);
        let mut bytes = 0;
        if here(node) != Some(wanted) {
            let Opened { store, trust } = self.origins.open(runtime).map_err(|error| Failed::of(&error, None))?;
            let origin = Origin { store: store.as_ref(), trust: &trust, runtime };
            let hint = format!("`pannier-activator fetch {} {version}`", node.app);
            let fetched = fetch(node, &What::Version(version.clone()), origin, self.sink)
                .map_err(|failure| Failed::of(&*failure, failure.source.hint().or(Some(hint))))?;
            bytes = fetched.moved.map_or(0, |moved| moved.bytes);
        }
        match here(node) {
            Some(found) if found == wanted => Ok((found, bytes)),
            found => Err(Failed::because(format!(
                "the order names another `{version}`: its statement is sha256:{wanted}, the one here is {}",
                found.map_or("missing".to_owned(), |found| format!("sha256:{found}"))
            ))),
        }
    }

    fn migrate(&self, runtime: &Runtime) -> Result<Ended, Failed> {
        let mut node = self.node(&self.order.app)?;
        let version = &self.order.version;
        let description = described(&node.root.release(version)).map_err(|error| Failed::of(&error, None))?;
        if description.is_none_or(|description| description.migrations.is_empty()) {
            return Ok(Ended::Migrated(0));
        }
        let opened = self.origins.open(runtime).map_err(|error| Failed::of(&error, None))?;
        let leasing = match node.config.migrate.lease {
            Some(_) => Leasing::Store(opened.store.as_ref(), Duration::from_secs(self.order.deadlines.migrate.into())),
            None => Leasing::DatabaseOnly,
        };
        let env_file = node.config.env_file.clone();
        let request = migrate::Request { version: version.clone(), way: Way::Forward, leasing, env_file };
        let migrated = migrate(&mut node, &request, runtime, self.sink)
            .map_err(|failure| Failed::of(&*failure, failure.hint()))?;
        Ok(Ended::Migrated(migrated.moved.len() as u32))
    }

    fn switch(&self, runtime: &Runtime) -> Result<Ended, Failed> {
        let mut node = self.node(&self.order.app)?;
        // Who begins a rollout means it: that the release failed here before is known to him.
        match self.activate(&mut node, &self.order.version, OnBad::TryAgain, Some(self.latch.as_ref()), runtime) {
            // It served already, so it has not come to the gate.
            Ok(Activated::Already) => Ok(self.latch.armed().map_or(Ended::Closed, |_| Ended::Healthy)),
            Ok(Activated::Now { .. }) => {
                prune_afterwards(&mut node, self.sink);
                Ok(Ended::Healthy)
            }
            Err(failure) if matches!(failure.source, activate::Error::Closed(_)) && failure.left.is_empty() => {
                Ok(Ended::Closed)
            }
            Err(failure) => Err(Failed::of_activation(&failure)),
        }
    }

    /// An order is signed by a person's key: an older release is meant, and migrations were seen to.
    fn activate(
        &self,
        node: &mut Node,
        version: &Version,
        bad: OnBad,
        gate: Option<&dyn Gate>,
        runtime: &Runtime,
    ) -> Result<Activated, Box<activate::Failure>> {
        let (direction, older) = (Direction::Forward, OnOlder::Allow);
        let request = Request { version: version.clone(), direction, bad, older, schema: OnSchema::Refuse, gate };
        activate(node, &request, runtime, self.sink)
    }

    fn back(&self, before: &Version, runtime: &Runtime) -> Result<Ended, Failed> {
        let mut node = self.node(&self.order.app)?;
        match rollback(&mut node, Some(before), OnSchema::Refuse, runtime, self.sink) {
            Ok(_) => Ok(Ended::WentBack),
            Err(error) => {
                let hint = match &error {
                    rollback::Error::Failed(failure) => failure.hint(),
                    _ => Some(format!("`pannier-activator rollback {} --to {before}`", node.app)),
                };
                Err(Failed { left: Left::Something, ..Failed::of(&error, hint) })
            }
        }
    }

    fn follow(&self, app: &AppName, runtime: &Runtime) -> Result<Ended, Failed> {
        let Some(decided) = self.order.decided.get(app) else { return Err(Failed::because("nothing was decided")) };
        let mut node = self.node(app)?;
        self.bring(&mut node, &decided.version, decided.statements.get(&Target::host()).copied(), runtime)?;
        self.activate(&mut node, &decided.version, OnBad::Refuse, None, runtime)
            .map_err(|failure| Failed::of_activation(&failure))?;
        prune_afterwards(&mut node, self.sink);
        Ok(Ended::Followed(decided.id))
    }

    fn node(&self, app: &AppName) -> Result<Node, Failed> {
        let Some(config) = self.config else {
            let hint = Some(format!("add a table `[apps.{app}]` to the configuration"));
            return Err(Failed { hint, ..Failed::because(format!("the app `{app}` is not configured on this node")) });
        };
        let reason = format!("rollout {} of {}", self.order.id, self.order.version);
        Node::open_within(app, config, &reason, LOCK, self.sink).map_err(|error| Failed::of(&error, error.hint()))
    }
}
