//! `pannier-activator agent`: follows the orders of a fleet.
//!
//! Nodes pull. The agent looks at one object in the store, its fleet's order, with a question that costs no body while nothing
//! changed, does what [`decide`] says of it on a thread of its own ([`work`]), and says in its receipt how far it has come
//! ([`tell`]). It keeps serving whatever happens to the store: an order that cannot be read or believed changes nothing.
//!
//! It may be killed at any time. What it must not forget is in [`memory`], what was begun on a root is in that root's journal,
//! and what is to be done follows from these and the order, so that it is simply asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::AppName;
use pannier_shared::receipt::Serving;
use pannier_shared::statement::{Phase, Rollout};
use pannier_shared::store::Store;
use pannier_shared::store::location::BadLocation;
use pannier_shared::store::wire::Patience;
use pannier_shared::sys::notify::Notify;
use pannier_shared::sys::{clock, fs, lock};
use tokio::runtime::Runtime;

use crate::activate::one_line;
use crate::config::{Config, Fleet};

pub mod decide;
mod job;
mod latch;
mod look;
mod memory;
mod offset;
pub mod origin;
mod say;
mod tell;
mod watch;
mod work;

use decide::{Job, Known};
use latch::Latch;
use memory::Memory;
use offset::Offset;
use origin::Origins;
use tell::Teller;
use watch::{Watch, Watched};
use work::News;

/// An agent that must not be kept waiting looks again soon: one try, and a few seconds for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// It says that it works at least this often, however long it waits: `WatchdogSec` of its unit is four times as long.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// The agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no fleet to follow.
    #[error("no fleet is configured")]
    NoFleet,
    /// No store is configured.
    #[error("no store is configured")]
    NoStore,
    /// The store's address is none.
    #[error("the store cannot be opened")]
    Location(#[from] BadLocation),
    /// The store or the keys cannot be opened.
    #[error(transparent)]
    Origin(#[from] origin::Error),
    /// Another agent runs.
    #[error("another agent of this node runs already")]
    Lock(#[from] lock::Error),
    /// What it must not forget cannot be read or written.
    #[error("the agent's memory cannot be used")]
    Memory(#[from] memory::Error),
    /// The same.
    #[error("the agent's memory cannot be used")]
    Fs(#[from] fs::Error),
    /// The runtime cannot be made.
    #[error("the program could not start its runtime")]
    Runtime(#[source] std::io::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoFleet => "add a table `[fleet]` with a `name` to the configuration",
            Self::NoStore => "name one by `store` in the configuration, by `--store` or by `PANNIER_STORE`",
            Self::Memory(memory::Error::Form { .. }) => {
                "move the file away: what was seen is then learnt anew from the store, which could show an older order"
            }
            Self::Fs(error) if error.is_not_found() => "make the folder, or name another by `state` in `[fleet]`",
            Self::Origin(origin::Error::Trust(_)) => {
                "put the lines that `pannier keys new` printed into it, or name another one by `--trust`"
            }
            Self::Lock(_) => "see `systemctl status pannier-agent`",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What an agent is started with.
pub struct Setup<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where orders and releases come from.
    pub origins: Origins<'a>,
    /// Whom to tell that it works.
    pub notify: Notify,
    /// Who draws.
    pub sink: &'a dyn Sink,
}

/// Follows orders until the process ends.
pub fn run(setup: Setup) -> Result<std::convert::Infallible, Error> {
    let fleet = setup.config.fleet.as_ref().ok_or(Error::NoFleet)?;
    fs::create_dir_all(&fleet.state)?;
    let path = Memory::file(&fleet.state, &fleet.name);
    let _lock = lock::acquire(&path.with_extension("lock"), "agent")?;
    let memory = Memory::load(&path, &fleet.name)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let patience = Patience { attempts: 1, first_byte: PATIENCE, total: PATIENCE, ..setup.origins.patience.clone() };
    let store = setup.origins.store(&runtime, patience)?;
    setup.origins.trust()?;
    setup.notify.ready();
    std::thread::scope(|scope| {
        let (sender, news) = channel();
        let agent = Agent {
            fleet,
            setup: &setup,
            runtime: &runtime,
            store: store.as_ref(),
            scope,
            sender,
            news,
            watch: Watch::new(&fleet.name),
            teller: Teller::new(&fleet.name, &fleet.node, fleet),
            offset: Offset::default(),
            instance: format!("{} {}", fs::random_name(), std::process::id()),
            path,
            memory,
            order: None,
            seen_at: clock::monotonic(),
            trouble: None,
            working: None,
            lapsed: None,
            not_before: None,
            failures: 0,
            errors: BTreeMap::new(),
            unhealthy: BTreeMap::new(),
            untold: None,
        };
        agent.run()
    })
}

/// A worker, and where it waits.
struct Working<'scope> {
    job: Job,
    /// Of which rollout.
    id: u64,
    latch: Arc<Latch>,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// All that an agent knows.
struct Agent<'scope, 'env> {
    fleet: &'env Fleet,
    setup: &'env Setup<'env>,
    runtime: &'env Runtime,
    store: &'env dyn Store,
    scope: &'scope Scope<'scope, 'env>,
    sender: Sender<News>,
    news: Receiver<News>,
    watch: Watch,
    teller: Teller,
    offset: Offset,
    instance: String,
    path: std::path::PathBuf,
    memory: Memory,
    order: Option<Arc<Rollout>>,
    /// When the order was first seen, by a clock that nobody sets.
    seen_at: Instant,
    /// What keeps it from following orders.
    trouble: Option<String>,
    working: Option<Working<'scope>>,
    lapsed: Option<u64>,
    /// When a decision is tried to be followed again.
    not_before: Option<Instant>,
    /// How many looks in a row came to nothing.
    failures: u32,
    errors: BTreeMap<AppName, String>,
    unhealthy: BTreeMap<AppName, String>,
    /// Why the receipt could not be written.
    untold: Option<String>,
}

impl Agent<'_, '_> {
    fn run(mut self) -> Result<std::convert::Infallible, Error> {
        let mut look = clock::monotonic();
        loop {
            if clock::monotonic() >= look {
                self.look();
                look = clock::monotonic() + self.pause();
            }
            self.step()?;
            self.setup.notify.alive(&self.now_doing());
            match self.news.recv_timeout(look.saturating_duration_since(clock::monotonic()).min(SIGN_OF_LIFE)) {
                Ok(news) => self.hear(news)?,
                Err(RecvTimeoutError::Timeout) => {}
                // Never: a sender is ours.
                Err(RecvTimeoutError::Disconnected) => clock::sleep(self.fleet.interval),
            }
        }
    }

    /// How long until the next look at the order. Once the instant is known nothing can change it: until then the machine is
    /// left to what is to happen at it.
    fn pause(&self) -> Duration {
        let instant = self.order.as_ref().filter(|order| order.phase == Phase::Switch).and_then(|it| it.switch_at);
        let until = instant.and_then(|instant| Duration::try_from(instant.duration_since(clock::now())).ok());
        until.filter(|_| self.working.is_some()).unwrap_or_default() + self.usual_pause()
    }

    fn usual_pause(&self) -> Duration {
        let is_busy = self.working.is_some() || self.order.as_ref().is_some_and(|order| !order.phase.is_over());
        let usual = if is_busy { self.fleet.busy } else { self.fleet.interval };
        let most = usual.max(if is_busy { Duration::from_secs(5) } else { Duration::from_secs(60) });
        clock::jittered(usual.saturating_mul(1 << self.failures.min(6)).min(most))
    }

    /// Looks at the order.
    fn look(&mut self) {
        let origins = &self.setup.origins;
        let looked = self.watch.look(self.store, origins, self.memory.seen, self.runtime, &mut self.offset);
        let trouble = match looked {
            Ok(Watched::Same | Watched::None) => None,
            Ok(Watched::New(order)) => self.take(*order).err().map(|error| one_line(&error)),
            Err(error) => Some(one_line(&error)),
        };
        self.failures = if trouble.is_some() { self.failures + 1 } else { 0 };
        if let Some(text) = trouble.clone().filter(|_| trouble != self.trouble) {
            self.warn(text);
        }
        self.trouble = trouble;
    }

    /// Remembers an order before it is acted on.
    fn take(&mut self, order: Rollout) -> fs::Result<()> {
        self.memory.seen = Some(watch::position(&order));
        if let Err(error) = self.save() {
            self.watch.forget();
            return Err(error);
        }
        self.note(format!(
            "the order is now: {} of {} {} (serial {})",
            order.phase, order.app, order.version, order.serial
        ));
        self.seen_at = clock::monotonic();
        self.order = Some(Arc::new(order));
        Ok(())
    }

    /// Does what is to be done, and says how far it has come.
    fn step(&mut self) -> Result<(), Error> {
        self.mind_worker()?;
        let apps = self.look_at_apps();
        if self.working.is_none()
            && let Some(order) = self.order.clone()
            && let Some(job) = self.next(&order, &apps)
        {
            self.begin(order, job, &apps)?;
        }
        self.tell(apps);
        Ok(())
    }

    fn next(&self, order: &Rollout, apps: &BTreeMap<AppName, Serving>) -> Option<Job> {
        let known = Known {
            order,
            node: &self.fleet.node,
            progress: self.memory.progress.as_ref(),
            apps,
            lapsed: self.lapsed,
            followed: &self.memory.followed,
        };
        let is_too_soon = self.not_before.is_some_and(|time| clock::monotonic() < time);
        known.job().filter(|job| !(matches!(job, Job::Follow(_)) && is_too_soon))
    }

    fn save(&self) -> fs::Result<()> {
        self.memory.save(&self.path)
    }

    fn note(&self, text: String) {
        self.setup.sink.emit(Event::Note { text });
    }

    fn warn(&self, text: String) {
        self.setup.sink.emit(Event::Warning { text });
    }
}
