//! One function per command: from what was typed to the library's call, and its answer to an output.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pannier_builder::build::{self, Request, Reuse};
use pannier_builder::environment::Ambient;
use pannier_builder::inside::diff::{Detail, Difference};
use pannier_builder::inside::same::Verdict;
use pannier_builder::inside::show::Summary;
use pannier_builder::inside::{self, Inside};
use pannier_builder::promote::{self, Order};
use pannier_builder::publish::{self, Publication, STATEMENT_FILE};
use pannier_builder::rollout::desk::Desk;
use pannier_builder::stages::source::{Patterns, State};
use pannier_builder::static_host::{self, Hosting};
use pannier_builder::store::open_store;
use pannier_builder::{fleet, keys, releases, rollout, settings};
use pannier_shared::event::Sink;
use pannier_shared::id::FleetName;
use pannier_shared::id::{Target, Version};
use pannier_shared::published::Published;
use pannier_shared::report::Style;
use pannier_shared::signature::{SigningKey, Trust};
use pannier_shared::store::location::Location;
use pannier_shared::store::{self, Store};
use pannier_shared::sys::{clock, fs};
use tokio::runtime::Runtime;

use super::args::{
    self, Build, Chosen, Command, Diff, FleetCommand, Key, Keys, Place, Promote, Publish, Releases, RolloutCommand,
    Show,
};
use super::failure::Error;
use super::live;
use super::output::Output;

mod suite;

/// What every command works with.
pub struct Session {
    pub sink: Arc<dyn Sink>,
    pub env: Ambient,
    /// How results are shown.
    pub style: Style,
}

impl Session {
    /// Does what was typed.
    pub fn run(&self, command: &Command) -> Result<Output, Error> {
        match command {
            Command::Build(typed) => self.build(typed),
            Command::Publish(typed) => self.publish(typed),
            Command::Promote(typed) => self.promote(typed),
            Command::Releases(typed) => self.releases(typed),
            Command::Rollout(typed) => self.rollout(typed),
            Command::Fleet(FleetCommand::Status { fleet, watch: true, place }) => self.watch(fleet, place),
            Command::Fleet(FleetCommand::Status { fleet, place, .. }) => self.fleet(fleet, place),
            Command::Show(typed) => self.show(typed),
            Command::Diff(typed) => self.diff(typed),
            Command::Suite(typed) => self.suite(typed),
            Command::Keys(Keys::New { name, roles, dir }) => Ok(Output::new_key(keys::new(name, roles, dir)?)),
            Command::Keys(Keys::Show { file }) => Ok(Output::shown_key(keys::show(file)?)),
            Command::Version => Ok(Output::version()),
        }
    }

    fn build(&self, typed: &Build) -> Result<Output, Error> {
        match (&typed.verify_against, &typed.trust, &typed.version, &typed.key) {
            (Some(version), Some(trust), ..) => self.verify_against(typed, version, trust),
            (_, _, Some(version), Some(file)) => {
                let request = self.request(typed, version, Some(self.key(&Key { file: file.clone() })?))?;
                Ok(Output::built(build::build(request, &self.sink)?))
            }
            _ => Err(Error::NoVersion),
        }
    }

    /// Looks at what is published before anything is built, which takes minutes.
    fn verify_against(&self, typed: &Build, version: &Version, trust: &Path) -> Result<Output, Error> {
        let mut request = self.request(typed, version, None)?;
        let place = Place { store: typed.store.clone().or(request.settings.store.take()), trust: trust.to_owned() };
        let chosen = Chosen { app: Some(request.app.clone()), target: request.settings.target.clone(), place };
        let runtime = runtime()?;
        let published = self.eyes(&chosen, &runtime)?.find_for_here(version)?;
        let rebuilt = build::rebuild(request, &self.sink)?;
        Ok(Output::verdict(Verdict::of(&published, &rebuilt)))
    }

    fn request(&self, typed: &Build, version: &Version, key: Option<SigningKey>) -> Result<Request, Error> {
        let settings = typed.settings().over(settings::load(&typed.project)?);
        Ok(Request {
            project: typed.project.clone(),
            app: settings.app.clone().ok_or(Error::NoApp)?,
            version: version.clone(),
            settings,
            out: typed.out.clone(),
            reuse: if typed.no_cache || typed.verify_against.is_some() { Reuse::Nothing } else { Reuse::Made },
            state: if typed.release { State::Committed } else { State::Any },
            key,
            env: self.env.clone(),
        })
    }

    fn publish(&self, typed: &Publish) -> Result<Output, Error> {
        let folder = typed.folder.clone().map_or_else(|| only_build(Path::new("dist")), Ok)?;
        let (runtime, trust) = (runtime()?, Trust::load(&typed.place.trust)?);
        let hosting = self.hosting(typed, &runtime)?;
        let store = self.store_to_write(&typed.place, &runtime)?;
        let location = store.location().to_owned();
        let publication = Publication::open(&folder, store, runtime, trust, clock::now())?.hosting(hosting);
        Ok(Output::published(publish::publish(publication, self.sink.as_ref())?, location))
    }

    /// The place for static files that was typed, else the one of the pannier.toml here.
    fn hosting(&self, typed: &Publish, runtime: &Runtime) -> Result<Option<Hosting>, Error> {
        let publish = typed.settings().over(settings::load(Path::new("."))?).publish;
        let Some(url) = publish.static_host.filter(|url| url != settings::NOWHERE) else { return Ok(None) };
        let (host, store) = (url.parse::<Location>().map_err(Error::HostLocation)?, located(&typed.place)?);
        if static_host::lays_open(&host, &store) {
            return Err(Error::LaidOpen { host: host.to_string(), store: store.to_string() });
        }
        let host = runtime.block_on(static_host::open(&host, &|name| self.variable(name))).map_err(Error::Host)?;
        Ok(Some(Hosting { host, immutable: Patterns::new(&publish.immutable), sink: Arc::clone(&self.sink) }))
    }

    fn promote(&self, typed: &Promote) -> Result<Output, Error> {
        let (runtime, trust, key) = (runtime()?, Trust::load(&typed.place.trust)?, self.key(&typed.key)?);
        let store = self.store_to_write(&typed.place, &runtime)?;
        let order = Order {
            app: typed.app.clone(),
            version: typed.version.clone(),
            channel: typed.channel.clone(),
            reason: typed.reason.clone(),
            who: typed.who.clone().unwrap_or_else(|| key.comment().to_owned()),
            days: typed.days,
        };
        let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
        let promoted = runtime.block_on(promote::promote(&published, &key, &order))?;
        Ok(Output::promoted(promoted))
    }

    fn releases(&self, typed: &Releases) -> Result<Output, Error> {
        let (runtime, trust) = (runtime()?, Trust::load(&typed.place.trust)?);
        let store = self.store(&typed.place, &runtime)?;
        let published = Published { store: store.as_ref(), trust: &trust, now: clock::now() };
        let listing = runtime.block_on(releases::releases(&published, &typed.app)).map_err(Box::new)?;
        Ok(Output::releases(typed.app.clone(), listing))
    }

    fn rollout(&self, typed: &RolloutCommand) -> Result<Output, Error> {
        let runtime = runtime()?;
        let (fleet, place) = match typed {
            RolloutCommand::Start(start) => (&start.fleet, &start.hand.place),
            RolloutCommand::Status { fleet, place } => (fleet, place),
            RolloutCommand::Resume { fleet, hand } | RolloutCommand::Abort { fleet, hand, .. } => (fleet, &hand.place),
        };
        let trust = Trust::load(&place.trust)?;
        let store = self.store_to_write(place, &runtime)?;
        let desk = Desk::new(fleet.clone(), store.as_ref(), &trust);
        let summary = match typed {
            RolloutCommand::Status { .. } => runtime.block_on(rollout::status(&desk)),
            RolloutCommand::Start(start) => {
                let (key, wanted) = (self.key(&start.hand.key)?, start.wanted());
                runtime.block_on(rollout::start(&desk, &wanted, &self.hand(&key, &start.hand)))
            }
            RolloutCommand::Resume { hand, .. } => {
                runtime.block_on(rollout::resume(&desk, &self.hand(&self.key(&hand.key)?, hand)))
            }
            RolloutCommand::Abort { hand, reason, .. } => {
                runtime.block_on(rollout::abort(&desk, reason, &self.hand(&self.key(&hand.key)?, hand)))
            }
        }?;
        Ok(Output::rollout(summary))
    }

    fn fleet(&self, fleet: &FleetName, place: &Place) -> Result<Output, Error> {
        let (runtime, trust) = (runtime()?, Trust::load(&place.trust)?);
        let store = self.store(place, &runtime)?;
        let desk = Desk::new(fleet.clone(), store.as_ref(), &trust);
        Ok(Output::fleet(runtime.block_on(fleet::status(&desk)).map_err(Box::new)?))
    }

    /// Until somebody ends it, or nobody reads it any more.
    fn watch(&self, fleet: &FleetName, place: &Place) -> Result<Output, Error> {
        let (runtime, trust) = (runtime()?, Trust::load(&place.trust)?);
        let store = self.store(place, &runtime)?;
        let desk = Desk::new(fleet.clone(), store.as_ref(), &trust);
        loop {
            let output = Output::fleet(runtime.block_on(fleet::status(&desk)).map_err(Box::new)?);
            if !live::show(&output, self.style) {
                return Ok(output);
            }
            clock::sleep(live::PAUSE);
        }
    }

    fn hand<'a>(&'a self, key: &'a SigningKey, typed: &args::Hand) -> rollout::Hand<'a> {
        let who = typed.who.clone().unwrap_or_else(|| key.comment().to_owned());
        rollout::Hand { key, who, lead: Duration::from_secs(typed.lead.into()), sink: self.sink.as_ref() }
    }

    fn show(&self, typed: &Show) -> Result<Output, Error> {
        let runtime = runtime()?;
        let eyes = self.eyes(&typed.chosen, &runtime)?;
        Ok(Output::shown(Summary::of(eyes.look(&typed.release)?)))
    }

    fn diff(&self, typed: &Diff) -> Result<Output, Error> {
        let runtime = runtime()?;
        let eyes = self.eyes(&typed.chosen, &runtime)?;
        let detail = if typed.files { Detail::Files } else { Detail::Counts };
        let difference = Difference::of(&eyes.look(&typed.from)?, &eyes.look(&typed.to)?, detail)?;
        Ok(Output::differing(difference))
    }

    fn eyes<'a>(&'a self, chosen: &'a Chosen, runtime: &'a Runtime) -> Result<Eyes<'a>, Error> {
        Ok(Eyes { session: self, chosen, runtime, trust: Trust::load(&chosen.place.trust)? })
    }

    fn key(&self, typed: &Key) -> Result<SigningKey, Error> {
        let passphrase = self.env.get("PANNIER_KEY_PASSPHRASE").map(|text| text.to_string_lossy());
        Ok(SigningKey::load(&typed.file, passphrase.as_deref())?)
    }

    /// The store that was typed, else the one of the pannier.toml here.
    fn store(&self, place: &Place, runtime: &Runtime) -> Result<Box<dyn Store>, Error> {
        self.open(&located(place)?, runtime)
    }

    /// One that can be written to; said before anything is asked of it.
    fn store_to_write(&self, place: &Place, runtime: &Runtime) -> Result<Box<dyn Store>, Error> {
        match located(place)? {
            Location::Web(url) => {
                Err(store::Error::Unsupported { store: url.to_string(), what: "be written to" }.into())
            }
            location => self.open(&location, runtime),
        }
    }

    fn open(&self, location: &Location, runtime: &Runtime) -> Result<Box<dyn Store>, Error> {
        Ok(runtime.block_on(open_store(location, &|name| self.variable(name)))?)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// What looks into releases: published ones, and those in folders.
struct Eyes<'a> {
    session: &'a Session,
    chosen: &'a Chosen,
    runtime: &'a Runtime,
    trust: Trust,
}

impl Eyes<'_> {
    /// A folder where there is one of that name or the text can be no version, else a published version.
    fn look(&self, release: &str) -> Result<Inside, Error> {
        let folder = Path::new(release);
        let Ok(version) = release.parse() else { return self.look_into(folder) };
        if fs::stat(folder).is_ok_and(|meta| meta.is_dir()) {
            self.look_into(folder)
        } else {
            self.find(&version, self.chosen.target.as_ref())
        }
    }

    fn look_into(&self, folder: &Path) -> Result<Inside, Error> {
        Ok(Inside::of_folder(folder, &self.trust, clock::now())?)
    }

    /// The target that was named, or the only one of a version, or else this machine's.
    fn find_for_here(&self, version: &Version) -> Result<Inside, Error> {
        match self.find(version, self.chosen.target.as_ref()) {
            Err(Error::Inside(inside::Error::ManyTargets { .. })) => self.find(version, Some(&Target::host())),
            found => found,
        }
    }

    fn find(&self, version: &Version, target: Option<&Target>) -> Result<Inside, Error> {
        let app = match &self.chosen.app {
            Some(app) => app.clone(),
            None => settings::load(Path::new("."))?.app.ok_or(Error::NoApp)?,
        };
        let store = self.session.store(&self.chosen.place, self.runtime)?;
        let published = Published { store: store.as_ref(), trust: &self.trust, now: clock::now() };
        let found = Inside::of_store(&published, &app, version, target);
        Ok(self.runtime.block_on(found)?)
    }
}

fn located(place: &Place) -> Result<Location, Error> {
    let configured = || Ok::<_, Error>(settings::load(Path::new("."))?.store);
    let location = place.store.clone().map_or_else(configured, |store| Ok(Some(store)))?;
    Ok(location.ok_or(Error::NoStore)?.parse()?)
}

/// The only folder below `dist` that holds a built release.
fn only_build(dist: &Path) -> Result<PathBuf, Error> {
    let names = fs::if_there(fs::list(dist))?.unwrap_or_default();
    let folders = names.iter().map(|name| dist.join(name));
    let mut built: Vec<PathBuf> = folders.filter(|folder| fs::exists(&folder.join(STATEMENT_FILE))).collect();
    match (built.pop(), built.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::NothingBuilt(dist.to_owned())),
        (Some(last), false) => {
            built.push(last);
            Err(Error::ManyBuilt(built))
        }
    }
}

fn runtime() -> Result<Runtime, Error> {
    multi_thread().map_err(Error::Runtime)
}

fn multi_thread() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
