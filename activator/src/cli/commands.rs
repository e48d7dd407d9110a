//! One function for each command: opens what it needs, calls the library, gives what came of it.

use std::path::Path;
use std::time::Duration;

use pannier_activator::activate::{Activated, OnBad, OnSchema, Request, activate};
use pannier_activator::age::{self, OnOlder};
use pannier_activator::agent::origin::Origins;
use pannier_activator::agent::{self, Setup};
use pannier_activator::config::{self, App, Config};
use pannier_activator::doctor::{self, Examined, Trouble};
use pannier_activator::fetch::{Origin, fetch, fetch_unless_older};
use pannier_activator::migrate::{self, Leasing, Migrated, Way, migrate};
use pannier_activator::node::{self, Node, NotHere, View};
use pannier_activator::plan::forecast::forecast;
use pannier_activator::prune::{decide, prune, prune_afterwards};
use pannier_activator::recover::Migrations;
use pannier_activator::releases;
use pannier_activator::repair::{repair, start_again};
use pannier_activator::resolve::What;
use pannier_activator::rollback::rollback;
use pannier_activator::run;
use pannier_activator::state::Direction;
use pannier_activator::status::status;
use pannier_activator::steps::start;
use pannier_activator::units::of_release::units;
use pannier_activator::verify::{verify, verify_all};
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, Version};
use pannier_shared::published::Published;
use pannier_shared::signature::Trust;
use pannier_shared::store::location::Location;
use pannier_shared::store::wire::Patience;
use pannier_shared::store::{self, Store};
use pannier_shared::sys::clock;
use pannier_shared::sys::notify::Notify;
use tokio::runtime::{Builder, Runtime};

use super::args::{Back, Command, Common, Forward};
use super::failure::Error;
use super::output::{Output, Switched};

mod recover;

/// What every command works with.
pub struct Session<'a> {
    config: Config,
    common: &'a Common,
    runtime: Runtime,
    sink: &'a dyn Sink,
}

/// What is done after a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Nothing,
    Restart,
}

/// Whether a lease is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lease {
    AsConfigured,
    None,
}

/// What is done when code and databases do not fit each other; a change, with the store of its lease if it takes one.
enum Schema {
    Refuse,
    Accept,
    Change(Option<Box<dyn Store>>),
}

impl Schema {
    fn policy(&self, wait: Duration) -> OnSchema<'_> {
        match self {
            Schema::Refuse => OnSchema::Refuse,
            Schema::Accept => OnSchema::Accept,
            Schema::Change(_) => OnSchema::Change(self.leasing(wait)),
        }
    }

    fn leasing(&self, wait: Duration) -> Leasing<'_> {
        match self {
            Schema::Change(Some(store)) => Leasing::Store(store.as_ref(), wait),
            _ => Leasing::DatabaseOnly,
        }
    }
}

/// Where releases come from, opened.
struct Opened {
    store: Box<dyn Store>,
    trust: Trust,
}

/// Does what was typed. A doctor is also there for a configuration that cannot be used, and a recovery writes one.
pub fn perform(common: &Common, command: &Command, sink: &dyn Sink) -> Result<Output, Error> {
    match Session::begin(common, sink) {
        Err(Error::Config(error)) if matches!(command, Command::Doctor { .. }) => {
            let trouble = Trouble::of(&error, error.hint());
            Ok(Output::doctor(vec![doctor::without_configuration(trouble)]))
        }
        Err(Error::Config(config::Error::Read(error)))
            if matches!(command, Command::Recover { .. }) && error.is_not_found() =>
        {
            Session::with(Config::parse("", &common.config)?, common, sink)?.run(command)
        }
        session => session?.run(command),
    }
}

impl<'a> Session<'a> {
    /// Reads the configuration and makes the runtime: one thread, since what takes time has threads of its own.
    fn begin(common: &'a Common, sink: &'a dyn Sink) -> Result<Self, Error> {
        Self::with(Config::load(&common.config)?, common, sink)
    }

    fn with(config: Config, common: &'a Common, sink: &'a dyn Sink) -> Result<Self, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
        Ok(Self { config, common, runtime, sink })
    }

    /// Does what was typed.
    fn run(&self, command: &Command) -> Result<Output, Error> {
        match command {
            Command::Fetch { app, what } => self.fetch(app, what),
            Command::Plan { app, what } => self.plan(app, what),
            Command::Activate { app, what, even_if_bad, downgrade, schema } => {
                let bad = if *even_if_bad { OnBad::TryAgain } else { OnBad::Refuse };
                let older = if *downgrade { OnOlder::Allow } else { OnOlder::Refuse };
                self.activate(app, what, bad, older, &self.forward(app, schema)?)
            }
            Command::Rollback { app, to, schema } => self.rollback(app, to.as_ref(), &self.back(app, schema)?),
            Command::Migrate { app, what, without_lease } => {
                let change = self.change(app, if *without_lease { Lease::None } else { Lease::AsConfigured })?;
                self.migrate(app, what, &change)
            }
            Command::Run { app, release, command } => self.run_command(app, release.as_ref(), command),
            Command::Agent => self.agent(),
            Command::Status { app } => self.status(app.as_ref()),
            Command::Releases { app, published: false } => self.releases(app),
            Command::Releases { app, published: true } => self.published(app),
            Command::Doctor { app } => self.doctor(app.as_ref()),
            Command::Verify { app, all: true, .. } => self.verify_all(app),
            Command::Verify { app, version, .. } => self.verify(app, version.as_ref()),
            Command::Repair { app, version, restart } => {
                let afterwards = if *restart { Afterwards::Restart } else { Afterwards::Nothing };
                self.repair(app, version.as_ref(), afterwards)
            }
            Command::Prune { app, dry_run: true } => self.would_prune(app),
            Command::Prune { app, dry_run: false } => self.prune(app),
            Command::Recover { suite, role, root, migrate, pending_ok, .. } => {
                let migrations = match (migrate, pending_ok) {
                    (true, _) => Migrations::Apply,
                    (_, true) => Migrations::Ignore,
                    _ => Migrations::Refuse,
                };
                self.recover(suite, role, root.as_deref(), migrations)
            }
            Command::Units { app, version, write } => self.units(app, version.as_ref(), write.as_deref()),
        }
    }

    fn fetch(&self, app: &AppName, what: &What) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let opened = self.open_store()?;
        let mut node = self.open_node(app, config, &format!("fetch {what}"))?;
        let fetched = fetch(&mut node, what, self.origin(&opened), self.sink)?;
        Ok(Output::fetched(app.clone(), fetched))
    }

    fn plan(&self, app: &AppName, what: &What) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let opened = self.open_store()?;
        let view = View::open(app, config)?;
        let forecast = forecast(&view, config, what, self.origin(&opened), self.sink)?;
        Ok(Output::Plan { app: app.clone(), forecast })
    }

    fn activate(
        &self,
        app: &AppName,
        what: &What,
        bad: OnBad,
        older: OnOlder,
        schema: &Schema,
    ) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let mut node = self.open_node(app, config, &format!("activate {what}"))?;
        let version = self.prepared(&mut node, what, older)?;
        let older = age::consent(&node.state, what, older);
        let (direction, schema) = (Direction::Forward, schema.policy(self.patience()));
        let request = Request { version: version.clone(), direction, bad, older, schema, gate: None };
        let activated = activate(&mut node, &request, &self.runtime, self.sink)?;
        if activated != Activated::Already {
            prune_afterwards(&mut node, self.sink);
        }
        Ok(Output::Activate(Switched::to(app.clone(), version, activated)))
    }

    /// The version of `what`, fetched if it is not here. One that is here needs no store: it can be activated while the
    /// store is away.
    fn prepared(&self, node: &mut Node, what: &What, older: OnOlder) -> Result<Version, Error> {
        match what {
            What::Version(version) if node.state.release(version).is_some() => return Ok(version.clone()),
            What::Version(version) if self.location().is_none() => {
                return Err(NotHere::of(&node.app, version, &node.state).into());
            }
            _ => {}
        }
        let opened = self.open_store()?;
        Ok(fetch_unless_older(node, what, older, self.origin(&opened), self.sink)?.version)
    }

    fn rollback(&self, app: &AppName, to: Option<&Version>, schema: &Schema) -> Result<Output, Error> {
        let mut node = self.open_node(app, self.config.app(app)?, "rollback")?;
        let back = rollback(&mut node, to, schema.policy(self.patience()), &self.runtime, self.sink)?;
        Ok(Output::Rollback(Switched::to(app.clone(), back.version, back.activated)))
    }

    fn migrate(&self, app: &AppName, what: &What, change: &Schema) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let mut node = self.open_node(app, config, &format!("migrate {what}"))?;
        let version = self.prepared(&mut node, what, OnOlder::Allow)?;
        let (way, leasing) = (Way::Forward, change.leasing(self.patience()));
        let request = migrate::Request { version: version.clone(), way, leasing, env_file: config.env_file.clone() };
        let Migrated { moved } = migrate(&mut node, &request, &self.runtime, self.sink)?;
        Ok(Output::Migrate { app: app.clone(), version, applied: moved })
    }

    fn run_command(&self, app: &AppName, release: Option<&Version>, command: &[String]) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let of_terminal = |name| Some((name, std::env::var(name).ok()?));
        let terminal = run::OF_TERMINAL.into_iter().filter_map(of_terminal).collect();
        match run::run(&View::open(app, config)?, config, release, command, terminal)? {}
    }

    fn agent(&self) -> Result<Output, Error> {
        let variables = |name: &str| std::env::var(name).ok();
        let origins = Origins {
            location: self.location().ok_or(agent::Error::NoStore)?.parse().map_err(agent::Error::from)?,
            trust: self.trust_file(),
            patience: self.config.network.clone(),
            variables: &variables,
        };
        let notify = Notify::to(variables("NOTIFY_SOCKET").as_deref());
        match agent::run(Setup { config: &self.config, origins, notify, sink: self.sink })? {}
    }

    fn forward(&self, app: &AppName, typed: &Forward) -> Result<Schema, Error> {
        match typed {
            Forward { pending_ok: true, .. } => Ok(Schema::Accept),
            Forward { migrate: true, without_lease: true, .. } => self.change(app, Lease::None),
            Forward { migrate: true, .. } => self.change(app, Lease::AsConfigured),
            _ => Ok(Schema::Refuse),
        }
    }

    fn back(&self, app: &AppName, typed: &Back) -> Result<Schema, Error> {
        match typed {
            Back { schema_ahead_ok: true, .. } => Ok(Schema::Accept),
            Back { reverse_migrations: true, without_lease: true, .. } => self.change(app, Lease::None),
            Back { reverse_migrations: true, .. } => self.change(app, Lease::AsConfigured),
            _ => Ok(Schema::Refuse),
        }
    }

    fn change(&self, app: &AppName, lease: Lease) -> Result<Schema, Error> {
        let configured = self.config.app(app)?.migrate.lease;
        Ok(match configured.filter(|_| lease == Lease::AsConfigured) {
            Some(_) => Schema::Change(Some(self.store(self.config.network.clone())?)),
            None => Schema::Change(None),
        })
    }

    /// How long a lease is waited for.
    fn patience(&self) -> Duration {
        self.common.wait.unwrap_or(Duration::from_secs(600))
    }

    fn status(&self, app: Option<&AppName>) -> Result<Output, Error> {
        let apps = match app {
            Some(app) => vec![(app, self.config.app(app)?)],
            None => self.config.apps.iter().collect(),
        };
        let look = |(app, config): (&AppName, &App)| Ok(status(&View::open(app, config)?));
        Ok(Output::Status { apps: apps.into_iter().map(look).collect::<Result<_, Error>>()? })
    }

    fn doctor(&self, app: Option<&AppName>) -> Result<Output, Error> {
        app.map(|app| self.config.app(app)).transpose()?;
        let store = match self.location() {
            // Who waits for an answer wants to hear that there is none, not how often it was asked for.
            Some(_) => self
                .store(Patience { attempts: 2, ..self.config.network.clone() })
                .map(Some)
                .map_err(|error| Trouble::of(&error, error.hint())),
            None => Ok(None),
        };
        let (config, runtime, now) = (&self.config, &self.runtime, clock::now());
        let examined = Examined { config, trust: Trust::load(self.trust_file()), store, runtime, now };
        Ok(Output::doctor(doctor::examine(&examined, app)))
    }

    fn releases(&self, app: &AppName) -> Result<Output, Error> {
        let view = View::open(app, self.config.app(app)?)?;
        Ok(Output::Releases { app: app.clone(), releases: releases::here(&view) })
    }

    fn published(&self, app: &AppName) -> Result<Output, Error> {
        let view = View::open(app, self.config.app(app)?)?;
        let Opened { store, trust } = self.open_store()?;
        let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
        let versions = self.runtime.block_on(published.versions(app)).map_err(Box::new)?;
        Ok(Output::Published { app: app.clone(), releases: releases::published(versions, &view) })
    }

    fn verify(&self, app: &AppName, version: Option<&Version>) -> Result<Output, Error> {
        let view = View::open(app, self.config.app(app)?)?;
        let report = verify(&view, version, &self.trust()?, self.sink)?;
        Ok(Output::Verify { app: app.clone(), report })
    }

    fn verify_all(&self, app: &AppName) -> Result<Output, Error> {
        let view = View::open(app, self.config.app(app)?)?;
        let releases = verify_all(&view, &self.trust()?, self.sink);
        Ok(Output::VerifyAll { app: app.clone(), releases })
    }

    fn repair(&self, app: &AppName, version: Option<&Version>, afterwards: Afterwards) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let opened = self.open_store()?;
        let mut node = self.open_node(app, config, "repair")?;
        let repaired = repair(&mut node, version, self.origin(&opened), self.sink)?;
        let mended = repaired.iter().find(|it| it.was_damaged() && Some(&it.version) == node.state.live_version());
        let is_needed = mended.is_some_and(|it| !it.users.is_empty());
        if mended.is_some() && afterwards == Afterwards::Restart {
            start_again(&node, &self.runtime)?;
        } else if is_needed {
            self.say_restart(app, config);
        }
        Ok(Output::Repair { app: app.clone(), releases: repaired })
    }

    fn say_restart(&self, app: &AppName, config: &App) {
        let how = match start::by_hand(app, config) {
            Some(how) => format!("`{how}`, or the next time `pannier-activator repair {app} --restart`"),
            None => "by the program that runs it".to_owned(),
        };
        let text = format!("the app still runs from the files that were replaced; start it again: {how}");
        self.sink.emit(Event::Warning { text });
    }

    fn prune(&self, app: &AppName) -> Result<Output, Error> {
        let mut node = self.open_node(app, self.config.app(app)?, "prune")?;
        let releases = prune(&mut node, self.sink)?;
        Ok(Output::Prune { app: app.clone(), releases })
    }

    fn would_prune(&self, app: &AppName) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let view = View::open(app, config)?;
        let decided = view.root.as_ref().map(|root| decide(root, &view.state, config.keep)).transpose();
        let releases = decided.map_err(node::Error::from)?.unwrap_or_default();
        Ok(Output::Prune { app: app.clone(), releases })
    }

    fn units(&self, app: &AppName, version: Option<&Version>, folder: Option<&Path>) -> Result<Output, Error> {
        let config = self.config.app(app)?;
        let units = units(&View::open(app, config)?, config, version, folder)?;
        Ok(Output::Units { app: app.clone(), units })
    }

    fn open_node(&self, app: &AppName, config: &App, reason: &str) -> Result<Node, Error> {
        Ok(Node::open_within(app, config, reason, self.common.wait.unwrap_or_default(), self.sink)?)
    }

    fn location(&self) -> Option<&str> {
        self.common.store.as_deref().or(self.config.store.as_deref())
    }

    fn open_store(&self) -> Result<Opened, Error> {
        Ok(Opened { store: self.store(self.config.network.clone())?, trust: self.trust()? })
    }

    fn store(&self, patience: Patience) -> Result<Box<dyn Store>, Error> {
        let location: Location = self.location().ok_or(Error::NoStore)?.parse()?;
        let environment = |name: &str| std::env::var(name).ok();
        Ok(self.runtime.block_on(store::open_with(&location, &environment, patience))?)
    }

    fn trust(&self) -> Result<Trust, Error> {
        Ok(Trust::load(self.trust_file())?)
    }

    fn trust_file(&self) -> &Path {
        self.common.trust.as_deref().unwrap_or(&self.config.trust)
    }

    fn origin<'b>(&'b self, opened: &'b Opened) -> Origin<'b> {
        Origin { store: opened.store.as_ref(), trust: &opened.trust, runtime: &self.runtime }
    }
}
