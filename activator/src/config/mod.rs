//! What the node is told: which store and whom to trust, and per app where it lives and how it is started and checked.
//!
//! ```toml
//! store = "s3://releases/prod"            # optional: without it only what is prepared here can be activated
//! trust = "/etc/pannier/trust"            # keys in allowed_signers form; this is the default
//!
//! [network]                               # how long the store may keep us waiting; these are the defaults
//! connect = "5s"
//! answer = "15s"                          # for the first byte of an answer
//! stall = "10s"                           # for each further piece of it
//! slow = "30s"                            # an answer that comes slower than 8 KiB/s for so long is given up
//! retry = "120s"                          # no further attempt begins after this
//!
//! [fleet]                                 # for `agent`; see docs/fleet.md
//! name = "shop-production"
//! node = "web-1"                          # the machine's own name when not given
//! interval = "5s"                         # how often it looks for an order
//! busy = "1s"                             # the same while a rollout is under way
//! heartbeat = "60s"                       # how often it says at least that it is there
//! state = "/var/lib/pannier"              # what it must not forget
//!
//! [apps.polls]
//! root = "/srv/polls"                     # this is the default: /srv/NAME
//! channel = "production"                  # for `status` and the agent; optional
//! restart = ["systemctl", "restart", "polls"]
//! restart_timeout = "60s"                 # or, instead of a command: restart = "systemd", and then
//! units = "/etc/systemd/system"           # where the units are written to; this is the default
//! steady = "2s"                           # for so long all processes must stay before a release is healthy
//! listen = { web = "127.0.0.1:8000" }     # where a process with a socket is reached; /run/pannier-NAME.PROCESS.sock
//! python = "/usr/bin/python3.11"          # for releases without an interpreter of their own; found when not given
//! rehash = "weekly"                       # or "always": see `ledger`
//! env_file = "/etc/polls.env"             # NAME=VALUE lines for the restart command or the processes
//! user = "polls"                          # whom the app's commands, hooks and processes run as; else who runs the activator
//! keep = 5                                # healthy releases that stay here; see `prune`
//! keep_failed = 2                         # failed ones, which take no place of a healthy one
//! unseen = "may-use"                      # or "use-nothing": processes that cannot be looked at, when releases are removed
//!
//! [apps.polls.migrate]                    # see `migrate`
//! environment = "production"              # whose databases they are; the channel when not given, else "default"
//! lease = "60s"                           # how long a lease is good after each renewal; or "none"
//! timeout = "1h"                          # for all migrations together
//! pending = "refuse"                      # or "ignore": what an activation does about migrations that are not applied
//!
//! [apps.polls.health]
//! url = "http://127.0.0.1:8000/healthz"
//! status = 200
//! host = "polls.example.org"              # the Host header; of the url when not given
//! headers = { X-Forwarded-Proto = "https" }
//! contains = "ok"
//! deadline = "60s"
//! interval = "500ms"
//! timeout = "5s"
//! successes = 1
//! ```
//!
//! Where the app listens and how it is asked is the node's business; what the app itself knows travels in the release.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id::{AppName, ChannelName, near};
use pannier_shared::store::wire::Patience;
use pannier_shared::sys::fs;
use reqwest::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use crate::ledger::Rehash;
use crate::migrate::Manner;
use crate::prune::Keep;
use crate::steps::confirm::Health;
use crate::steps::restart::Restart;
use crate::steps::start::Supervised;

mod fleet;
mod section;
mod supervised;

pub use fleet::Fleet;
use section::Section;

/// Where the configuration lies when nothing else is said.
pub const DEFAULT: &str = "/etc/pannier/activator.toml";

/// Where the trusted keys lie when nothing else is said.
pub const DEFAULT_TRUST: &str = "/etc/pannier/trust";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the configuration cannot be read")]
    Read(#[from] fs::Error),
    /// It is not TOML.
    #[error("{} is not valid TOML:\n{}", .file.display(), .why.trim_end())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Line, column and reason.
        why: String,
    },
    /// A key nobody knows.
    #[error("{}: unknown key `{key}`", .file.display())]
    Unknown {
        /// The file.
        file: PathBuf,
        /// The key's path.
        key: String,
        /// What may have been meant.
        near: Vec<String>,
    },
    /// A key with a value it cannot have, or without one it must have.
    #[error("{}: `{key}`: {why}", .file.display())]
    Wrong {
        /// The file.
        file: PathBuf,
        /// The key's path.
        key: String,
        /// What it should be.
        why: String,
    },
    /// An app the configuration does not have.
    #[error("the app `{app}` is not in {}", .file.display())]
    NoApp {
        /// The file.
        file: PathBuf,
        /// The app.
        app: AppName,
        /// What may have been meant.
        near: Vec<String>,
    },
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Read(error) if error.is_not_found() => {
                Some("write it, or name another one with `--config` or `PANNIER_CONFIG`".to_owned())
            }
            Error::Unknown { near, .. } | Error::NoApp { near, .. } if !near.is_empty() => {
                Some(format!("did you mean `{}`?", near.join("` or `")))
            }
            Error::NoApp { file, app, .. } => Some(format!("add a table `[apps.{app}]` to {}", file.display())),
            _ => None,
        }
    }
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it was read from.
    pub file: PathBuf,
    /// The store's URL; parsed when it is opened.
    pub store: Option<String>,
    /// The file of trusted keys.
    pub trust: PathBuf,
    /// How long the store may keep us waiting.
    pub network: Patience,
    /// How it takes part in a fleet, if it does.
    pub fleet: Option<Fleet>,
    /// The apps of this node.
    pub apps: BTreeMap<AppName, App>,
}

/// One app of the node.
#[derive(Debug, Clone, Default)]
pub struct App {
    /// Its root.
    pub root: PathBuf,
    /// The channel it follows.
    pub channel: Option<ChannelName>,
    /// The command that starts it; see [`App::supervised`].
    pub restart: Option<Restart>,
    /// How systemd starts it; without this and a command nothing is started.
    pub supervised: Option<Supervised>,
    /// `NAME=VALUE` lines for what the app runs.
    pub env_file: Option<PathBuf>,
    /// Whom its commands, hooks and processes run as; who runs the activator, when not given.
    pub user: Option<String>,
    /// The interpreter for releases without one; looked for when not given.
    pub python: Option<PathBuf>,
    /// When files that look unchanged are hashed again before they are reused.
    pub rehash: Rehash,
    /// How many of its releases stay here.
    pub keep: Keep,
    /// How its databases are migrated.
    pub migrate: Manner,
    /// How it is asked whether it is healthy; not asked when not given.
    pub health: Option<Health>,
}

impl Config {
    /// Reads the configuration.
    pub fn load(file: &Path) -> Result<Self, Error> {
        Self::parse(&fs::read_text(file, 1 << 20)?, file)
    }

    /// Parses the configuration's text; `file` is for messages.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| Error::Syntax { file: file.to_owned(), why: error.to_string() })?;
        let top = Section::top(file, &table);
        let store = top.text("store")?.map(str::to_owned);
        let trust = top.path("trust")?.unwrap_or_else(|| DEFAULT_TRUST.into());
        let network = top.section("network")?.map(network).transpose()?.unwrap_or_default();
        let fleet = top.section("fleet")?.map(fleet::read).transpose()?;
        let mut apps = BTreeMap::new();
        if let Some(section) = top.section("apps")? {
            for entry in section.each() {
                let (name, app) = entry?;
                let name: AppName = name
                    .parse()
                    .map_err(|error: pannier_shared::id::BadName| section.wrong(name, error.to_string()))?;
                apps.insert(name.clone(), app_of(&name, app)?);
            }
        }
        top.finish()?;
        Ok(Self { file: file.to_owned(), store, trust, network, fleet, apps })
    }

    /// One app's part.
    pub fn app(&self, name: &AppName) -> Result<&App, Error> {
        self.apps.get(name).ok_or_else(|| Error::NoApp {
            file: self.file.clone(),
            app: name.clone(),
            near: near(name.as_str(), self.apps.keys().map(AppName::as_str)).into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Reads "500ms", "30s", "5m", "1h"; not 0, and at most a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let why = || format!("`{text}` is not a duration: write a number above 0 and `ms`, `s`, `m` or `h`, such as `30s`");
    section::duration(text).ok_or_else(why)
}

fn network(section: Section) -> Result<Patience, Error> {
    let usual = Patience::default();
    let patience = Patience {
        connect: section.duration("connect")?.unwrap_or(usual.connect),
        first_byte: section.duration("answer")?.unwrap_or(usual.first_byte),
        stall: section.duration("stall")?.unwrap_or(usual.stall),
        slow: section.duration("slow")?.unwrap_or(usual.slow),
        total: section.duration("retry")?.unwrap_or(usual.total),
        ..usual
    };
    section.finish()?;
    Ok(patience)
}

fn app_of(name: &AppName, section: Section) -> Result<App, Error> {
    let (user, env_file) = (user(&section)?, section.path("env_file")?);
    let timeout = section.duration("restart_timeout")?.unwrap_or(Duration::from_secs(60));
    let app = App {
        root: section.path("root")?.unwrap_or_else(|| Path::new("/srv").join(name.as_str())),
        channel: section.parsed("channel")?,
        supervised: supervised::read(&section, user.as_deref(), timeout)?,
        restart: restart(&section, user.clone(), env_file.clone(), timeout)?,
        env_file,
        user,
        python: section.path("python")?,
        rehash: section.parsed("rehash")?.unwrap_or_default(),
        keep: keep(&section)?,
        migrate: section.section("migrate")?.map(migrate).transpose()?.unwrap_or_default(),
        health: section.section("health")?.map(health).transpose()?,
    };
    section.finish()?;
    Ok(app)
}

/// One to serve and one to go back to are the least.
fn keep(section: &Section) -> Result<Keep, Error> {
    let usual = Keep::default();
    Ok(Keep {
        healthy: section.number("keep", 2..=1000)?.map_or(usual.healthy, |count| count as usize),
        failed: section.number("keep_failed", 0..=1000)?.map_or(usual.failed, |count| count as usize),
        unseen: section.parsed("unseen")?.unwrap_or(usual.unseen),
    })
}

fn migrate(section: Section) -> Result<Manner, Error> {
    let usual = Manner::default();
    let lease = if section.says("lease", "none") { None } else { section.duration("lease")?.or(usual.lease) };
    let manner = Manner {
        environment: section.parsed("environment")?,
        lease,
        timeout: section.duration("timeout")?.unwrap_or(usual.timeout),
        pending: section.parsed("pending")?.unwrap_or(usual.pending),
    };
    section.finish()?;
    Ok(manner)
}

fn restart(
    section: &Section,
    user: Option<String>,
    env_file: Option<PathBuf>,
    timeout: Duration,
) -> Result<Option<Restart>, Error> {
    if supervised::is_meant(section) {
        return Ok(None);
    }
    Ok(section.words("restart")?.map(|command| Restart { command, timeout, env_file, user }))
}

/// It may stand in a unit, and it is looked for in `/etc/passwd`.
fn user(section: &Section) -> Result<Option<String>, Error> {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    match section.text("user")? {
        Some(name) if !is_name(name) => Err(section.wrong("user", "it must be the name of a user")),
        name => Ok(name.map(str::to_owned)),
    }
}

fn health(section: Section) -> Result<Health, Error> {
    let url: reqwest::Url = section.parsed("url")?.ok_or_else(|| section.wrong("url", "it is missing"))?;
    if url.scheme() != "http" || url.host_str().is_none() {
        return Err(section.wrong("url", "it must be an http:// address of this machine"));
    }
    let health = Health {
        url,
        status: section.number("status", 100..=599)?.map_or(200, |status| status as u16),
        headers: headers(&section)?,
        contains: section.text("contains")?.map(str::to_owned),
        deadline: section.duration("deadline")?.unwrap_or(Duration::from_secs(60)),
        interval: section.duration("interval")?.unwrap_or(Duration::from_millis(500)),
        timeout: section.duration("timeout")?.unwrap_or(Duration::from_secs(5)),
        successes: section.number("successes", 1..=100)?.unwrap_or(1),
    };
    section.finish()?;
    Ok(health)
}

fn headers(section: &Section) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in section.texts("headers")? {
        let header: HeaderName =
            name.parse().map_err(|_| section.wrong("headers", format!("`{name}` is not a header name")))?;
        headers.insert(header, header_value(section, "headers", value)?);
    }
    if let Some(host) = section.text("host")? {
        headers.insert(HOST, header_value(section, "host", host)?);
    }
    Ok(headers)
}

fn header_value(section: &Section, key: &str, value: &str) -> Result<HeaderValue, Error> {
    value.parse().map_err(|_| section.wrong(key, format!("`{}` cannot stand in a header", value.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::OnPending;
    use crate::prune::Unseen;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(text, Path::new("/etc/pannier/activator.toml"))
    }

    fn refused(text: &str) -> String {
        let error = parse(text).unwrap_err();
        let hint = error.hint().map(|hint| format!("\n{hint}")).unwrap_or_default();
        format!("{error}{hint}")
    }

    #[test]
    fn everything_has_a_default_but_the_health_checks_address() {
        let config = parse("[apps.polls.health]\nurl = \"http://127.0.0.1:8000/\"\n").unwrap();
        let app = config.app(&"polls".parse().unwrap()).unwrap();
        assert_eq!((app.root.as_path(), config.trust.as_path()), (Path::new("/srv/polls"), Path::new(DEFAULT_TRUST)));
        let health = app.health.as_ref().unwrap();
        assert_eq!((health.status, health.successes, health.deadline.as_secs()), (200, 1, 60));
        assert!(app.restart.is_none() && config.store.is_none());
        assert_eq!(app.keep, Keep { healthy: 5, failed: 2, unseen: Unseen::MayUse });
    }

    #[test]
    fn everything_can_be_said() {
        let config = parse(
            r#"
            store = "file:///mnt/store"
            trust = "/etc/trust"
            [network]
            connect = "1s"
            answer = "2s"
            stall = "3s"
            slow = "4s"
            retry = "5s"
            [apps.polls]
            root = "/data/polls"
            channel = "production"
            restart = ["systemctl", "restart", "polls"]
            restart_timeout = "5m"
            python = "/opt/python3.12/bin/python3.12"
            env_file = "/etc/polls.env"
            user = "polls"
            keep = 7
            keep_failed = 0
            unseen = "use-nothing"
            migrate = { environment = "eu", lease = "none", timeout = "2h", pending = "ignore" }
            [apps.polls.health]
            url = "http://127.0.0.1:8000/healthz"
            status = 204
            host = "polls.example.org"
            headers = { X-Forwarded-Proto = "https" }
            contains = "ok"
            deadline = "2m"
            interval = "1s"
            timeout = "500ms"
            successes = 3
            "#,
        )
        .unwrap();
        let app = config.app(&"polls".parse().unwrap()).unwrap();
        let (restart, health) = (app.restart.as_ref().unwrap(), app.health.as_ref().unwrap());
        assert_eq!((restart.command.len(), restart.timeout.as_secs()), (3, 300));
        assert_eq!((app.user.as_deref(), restart.user.as_deref()), (Some("polls"), Some("polls")));
        assert_eq!(app.keep, Keep { healthy: 7, failed: 0, unseen: Unseen::UseNothing });
        let Manner { environment, lease, timeout, pending } = &app.migrate;
        assert_eq!((environment.as_ref().map(AsRef::as_ref), *lease), (Some("eu"), None));
        assert_eq!((timeout.as_secs(), *pending), (7200, OnPending::Ignore));
        let Patience { connect, first_byte, stall, slow, total, .. } = config.network;
        assert_eq!([connect, first_byte, stall, slow, total].map(|limit| limit.as_secs()), [1, 2, 3, 4, 5]);
        assert_eq!((health.headers.len(), health.headers[HOST].to_str().unwrap()), (2, "polls.example.org"));
    }

    #[test]
    fn a_node_can_be_one_of_a_fleet() {
        let config = parse("[fleet]\nname = \"shop\"\nnode = \"web-1\"\ninterval = \"500ms\"").unwrap();
        let fleet = config.fleet.unwrap();
        assert_eq!((fleet.name.as_str(), fleet.node.as_str()), ("shop", "web-1"));
        assert_eq!((fleet.interval, fleet.busy), (Duration::from_millis(500), Duration::from_millis(500)));
        insta::assert_snapshot!(refused("[fleet]\nnode = \"web-1\""), @"/etc/pannier/activator.toml: `fleet.name`: it is missing");
        insta::assert_snapshot!(refused("[fleet]\nname = \"shop\"\nnode = \"web/1\""), @"/etc/pannier/activator.toml: `fleet.node`: `web/1` is not a valid node name: only letters, digits and `.`, `-`, `_` are allowed");
    }

    #[test]
    fn an_app_can_be_kept_by_systemd() {
        let listen = "listen = { web = \"127.0.0.1:8000\", api = \"/run/api.sock\" }";
        let config = parse(&format!("[apps.polls]\nrestart = \"systemd\"\nuser = \"polls\"\n{listen}")).unwrap();
        let app = config.app(&"polls".parse().unwrap()).unwrap();
        let supervised = app.supervised.as_ref().unwrap();
        assert_eq!((supervised.units.user.as_deref(), supervised.steady.as_secs()), (Some("polls"), 2));
        assert_eq!((supervised.units.listen.len(), app.restart.is_none()), (2, true));
        let with = |more: &str| refused(&format!("[apps.polls]\nrestart = \"systemd\"\n{more}"));
        insta::assert_snapshot!(with("listen = { web = \"localhost:8000\" }"), @"/etc/pannier/activator.toml: `apps.polls.listen`: `localhost:8000` is not an address such as 127.0.0.1:8000, nor the path of a socket");
        insta::assert_snapshot!(with("listen = { web = \"/run/a b\" }"), @"/etc/pannier/activator.toml: `apps.polls.listen`: `/run/a b` is not an address such as 127.0.0.1:8000, nor the path of a socket");
        insta::assert_snapshot!(with("listen = { Web = \"[::1]:8000\" }"), @"/etc/pannier/activator.toml: `apps.polls.listen`: `Web` is not a valid process name: only lower-case letters, digits and `-` are allowed");
        insta::assert_snapshot!(with("user = \"a\\nUser=root\""), @"/etc/pannier/activator.toml: `apps.polls.user`: it must be the name of a user");
        insta::assert_snapshot!(refused("[apps.polls]\nlisten = { web = \"[::1]:80\" }"), @"/etc/pannier/activator.toml: unknown key `apps.polls.listen`");
    }

    #[test]
    fn unknown_keys_are_named_with_their_path_and_what_may_have_been_meant() {
        insta::assert_snapshot!(refused("stroe = 1"), @"
        /etc/pannier/activator.toml: unknown key `stroe`
        did you mean `store`?
        ");
        insta::assert_snapshot!(refused("[apps.polls]\nrestrat = [\"x\"]"), @"
        /etc/pannier/activator.toml: unknown key `apps.polls.restrat`
        did you mean `restart` or `restart_timeout`?
        ");
        insta::assert_snapshot!(refused("[apps.polls.health]\nurl = \"http://[::1]/\"\nqqq = 1"), @"/etc/pannier/activator.toml: unknown key `apps.polls.health.qqq`");
    }

    #[test]
    fn wrong_values_are_named_with_their_path_and_what_they_should_be() {
        insta::assert_snapshot!(refused("store = 1"), @"/etc/pannier/activator.toml: `store`: expected a text, found a number");
        insta::assert_snapshot!(refused("[apps.polls]\nrestart = \"systemctl restart polls\""), @r#"/etc/pannier/activator.toml: `apps.polls.restart`: expected a list of texts such as ["systemctl", "restart", "polls"], found a text"#);
        insta::assert_snapshot!(refused("[network]\nstall = 10"), @"/etc/pannier/activator.toml: `network.stall`: expected a text, found a number");
        insta::assert_snapshot!(refused("[apps.polls]\nuser = \"\""), @"/etc/pannier/activator.toml: `apps.polls.user`: it must be the name of a user");
        insta::assert_snapshot!(refused("[apps.polls]\nroot = \"srv\""), @"/etc/pannier/activator.toml: `apps.polls.root`: it must be an absolute path");
        insta::assert_snapshot!(refused("[apps.polls]\nrestart_timeout = \"30\""), @"/etc/pannier/activator.toml: `apps.polls.restart_timeout`: `30` is not a duration: write a number above 0 and `ms`, `s`, `m` or `h`, such as `30s`");
        insta::assert_snapshot!(refused("[apps.polls]\nkeep = 1"), @"/etc/pannier/activator.toml: `apps.polls.keep`: 1 is not between 2 and 1000");
        insta::assert_snapshot!(refused("[apps.polls]\nunseen = \"no\""), @"/etc/pannier/activator.toml: `apps.polls.unseen`: `no` is not `may-use` or `use-nothing`");
        insta::assert_snapshot!(refused("[apps.polls.health]\nstatus = 200"), @"/etc/pannier/activator.toml: `apps.polls.health.url`: it is missing");
        insta::assert_snapshot!(refused("[apps.polls.health]\nurl = \"https://example.org/\""), @"/etc/pannier/activator.toml: `apps.polls.health.url`: it must be an http:// address of this machine");
        insta::assert_snapshot!(refused("[apps.polls.health]\nurl = \"http://localhost/\"\nstatus = 7"), @"/etc/pannier/activator.toml: `apps.polls.health.status`: 7 is not between 100 and 599");
        insta::assert_snapshot!(refused("[apps.polls.health]\nurl = \"http://localhost/\"\nhost = \"a\\nb\""), @r"/etc/pannier/activator.toml: `apps.polls.health.host`: `a\nb` cannot stand in a header");
        insta::assert_snapshot!(refused("[apps.Polls]"), @"/etc/pannier/activator.toml: `apps.Polls`: `Polls` is not a valid app name: only lower-case letters, digits and `-` are allowed");
    }

    #[test]
    fn a_syntax_error_shows_its_line() {
        insta::assert_snapshot!(refused("store ="), @"
        /etc/pannier/activator.toml is not valid TOML:
        TOML parse error at line 1, column 8
          |
        1 | store =
          |        ^
        string values must be quoted, expected literal string
        ");
    }

    #[test]
    fn an_unknown_app_comes_with_near_names() {
        let config = parse("[apps.polls]\n[apps.blog]").unwrap();
        let error = config.app(&"pols".parse().unwrap()).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.hint().unwrap()), @"
        the app `pols` is not in /etc/pannier/activator.toml
        did you mean `polls`?
        ");
    }
}
