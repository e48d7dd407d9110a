//! What can be typed: clap only, nothing is looked up here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pannier_builder::command_line::CommandLine;
use pannier_builder::keys::{KeyName, Role};
use pannier_builder::moving::DAYS;
use pannier_builder::rollout::{Strategy, Wanted};
use pannier_builder::settings::{self, Encoding, Settings};
use pannier_shared::id::{AppName, ChannelName, FleetName, NodeName, Target, Version};
use pannier_shared::statement::{Deadlines, Policy};

mod suite;

pub use suite::Suite;

/// Packs a Django site once into a signed release, and publishes it for every node.
///
/// Exit statuses: 0 done, 1 unexpected, 2 usage or configuration, 3 not found, 4 verification failed, 5 refused, 6
/// somebody else's rollout holds the fleet, 7 store, 8 this machine (disk, permissions), 9 a program failed (pip, uv, the
/// project's own code), 10 a rollout was taken back, 11 a person is needed, 12 what was built again differs from what is
/// published.
#[derive(Debug, Parser)]
#[command(name = "pannier", version)]
pub struct Typed {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Print one JSON object per line: events, then the result
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but warnings, errors and the result
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a signed release from a Django project
    Build(Box<Build>),
    /// Put a built release into the store, where it is never changed again
    Publish(Publish),
    /// Point a channel at a published version
    Promote(Promote),
    /// List what is published of an app
    Releases(Releases),
    /// Say what is inside a release: sizes, dependencies, where it came from
    Show(Show),
    /// Say how two releases differ, and what a node will fetch
    Diff(Diff),
    /// Set, look at and copy suites: what the nodes of a role run
    #[command(subcommand)]
    Suite(Suite),
    /// Bring a release to all nodes of a fleet, and let them switch together
    #[command(subcommand)]
    Rollout(RolloutCommand),
    /// Look at the nodes of a fleet
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Make and look at signing keys
    #[command(subcommand)]
    Keys(Keys),
    /// Say which version of Pannier this is
    Version,
}

/// `pannier build`.
#[derive(Debug, Args)]
pub struct Build {
    /// The folder of the project
    #[arg(default_value = ".")]
    pub project: PathBuf,
    /// The app's name; `app` in pannier.toml
    #[arg(long)]
    pub app: Option<AppName>,
    /// The release's version
    #[arg(long, required_unless_present = "verify_against")]
    pub version: Option<Version>,
    /// Build this published version again and say whether it is the same; nothing is signed or kept
    #[arg(long, value_name = "VERSION", conflicts_with = "version", requires = "trust")]
    pub verify_against: Option<Version>,
    /// The store, for --verify-against
    #[arg(long, env = "PANNIER_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The file of trusted keys, for --verify-against
    #[arg(long, env = "PANNIER_TRUST", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The folder that gets APP-VERSION-TARGET/
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub out: PathBuf,
    /// Make frames, compressed twins and byte code anew, rather than taking them from the cache; implied by --verify-against
    #[arg(long)]
    pub no_cache: bool,
    /// Refuse a working tree that differs from its commit
    #[arg(long)]
    pub release: bool,
    /// The private key that signs; an encrypted one is opened with PANNIER_KEY_PASSPHRASE
    #[arg(long, env = "PANNIER_KEY", value_name = "FILE", required_unless_present = "verify_against")]
    pub key: Option<PathBuf>,
    /// The settings module, such as mysite.settings.production; `settings` in pannier.toml
    #[arg(long, value_name = "MODULE")]
    pub settings: Option<String>,
    /// Where manage.py lies below the project; `manage` in pannier.toml
    #[arg(long, value_name = "PATH")]
    pub manage: Option<String>,
    /// The interpreter, as a path, a command or a version; `python` in pannier.toml
    #[arg(long)]
    pub python: Option<String>,
    /// The kind of machine the release is for, such as aarch64-linux-gnu; `target` in pannier.toml
    #[arg(long)]
    pub target: Option<Target>,
    /// The file that lists the dependencies; `requirements` in pannier.toml
    #[arg(long, value_name = "FILE")]
    pub requirements: Option<String>,
    /// An extra of the project that belongs to the release (repeatable); `extras` in pannier.toml
    #[arg(long = "extra", value_name = "NAME")]
    pub extras: Vec<String>,
    /// A dependency group that belongs to the release (repeatable); `groups` in pannier.toml
    #[arg(long = "group", value_name = "NAME")]
    pub groups: Vec<String>,
    /// Whose package indexes count; `index` in pannier.toml
    #[arg(long, value_name = "WHOSE")]
    pub index: Option<Index>,
    /// What to do about static files; `static` in pannier.toml
    #[arg(long = "static", value_name = "WHAT")]
    pub static_files: Option<StaticFiles>,
    /// Leave out what matches (repeatable); `exclude` in pannier.toml
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Pack what matches although it looks like a secret or is too large (repeatable); `allow` in pannier.toml
    #[arg(long, value_name = "PATTERN")]
    pub allow: Vec<String>,
    /// The largest file that is packed without being allowed, in MiB; `largest_file` in pannier.toml
    #[arg(long, value_name = "MIB")]
    pub largest_file: Option<u64>,
    /// A command after collectstatic, such as "manage.py compress" (repeatable); `commands` of `[build]` in pannier.toml
    #[arg(long = "command", value_name = "COMMAND")]
    pub commands: Vec<CommandLine>,
    /// Who resolves and installs; `installer` of `[build]` in pannier.toml
    #[arg(long, value_name = "WHO")]
    pub installer: Option<Installer>,
    /// The pre-compressed twins of static files to make; `compress` in pannier.toml
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub compress: Option<Vec<Compress>>,
    /// A placeholder for a variable the settings want (repeatable); `[build.env]` in pannier.toml
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub placeholders: Vec<(String, String)>,
}

/// The key that signs.
#[derive(Debug, Args)]
pub struct Key {
    /// The private key that signs; an encrypted one is opened with PANNIER_KEY_PASSPHRASE
    #[arg(long = "key", env = "PANNIER_KEY", value_name = "FILE")]
    pub file: PathBuf,
}

/// The store, and whose signatures count.
#[derive(Debug, Args)]
pub struct Place {
    /// The store: file:///path, s3://bucket/prefix or https://host/path; `store` in pannier.toml
    #[arg(long, env = "PANNIER_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The file of trusted keys
    #[arg(long, env = "PANNIER_TRUST", value_name = "FILE")]
    pub trust: PathBuf,
}

/// `pannier publish`.
#[derive(Debug, Args)]
pub struct Publish {
    /// The folder that `pannier build` made; the only one below `dist` when not given
    pub folder: Option<PathBuf>,
    #[command(flatten)]
    pub place: Place,
    /// Where browsers get static files: s3://bucket/prefix or file:///path, or none; `static` of `[publish]` in pannier.toml
    #[arg(long = "static", env = "PANNIER_STATIC", value_name = "URL")]
    pub static_host: Option<String>,
    /// Static files whose names change with their content although Django's manifest has them not (repeatable); `immutable` of
    /// `[publish]` in pannier.toml
    #[arg(long, value_name = "PATTERN")]
    pub immutable: Vec<String>,
}

impl Publish {
    /// The flags as a layer of settings.
    pub fn settings(&self) -> Settings {
        let publish = settings::Publish { static_host: self.static_host.clone(), immutable: self.immutable.clone() };
        Settings { store: self.place.store.clone(), publish, ..Settings::default() }
    }
}

/// `pannier promote`.
#[derive(Debug, Args)]
pub struct Promote {
    /// The app
    pub app: AppName,
    /// The version
    pub version: Version,
    /// The channel, such as production; it is made when it does not exist
    #[arg(long = "to", value_name = "CHANNEL")]
    pub channel: ChannelName,
    /// Why, for those who read the pointer
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Who does it; the key's comment when not given
    #[arg(long)]
    pub who: Option<String>,
    /// For how many days the pointer is fresh
    #[arg(long, default_value_t = DAYS)]
    pub days: u32,
    #[command(flatten)]
    pub key: Key,
    #[command(flatten)]
    pub place: Place,
}

/// `pannier releases`.
#[derive(Debug, Args)]
pub struct Releases {
    /// The app
    pub app: AppName,
    #[command(flatten)]
    pub place: Place,
}

/// Which release is meant.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The app; `app` in pannier.toml
    #[arg(long)]
    pub app: Option<AppName>,
    /// The kind of machine, such as x86_64-linux-gnu, where there are several
    #[arg(long)]
    pub target: Option<Target>,
    #[command(flatten)]
    pub place: Place,
}

/// `pannier show`.
#[derive(Debug, Args)]
pub struct Show {
    /// A published version, or a folder that `pannier build` made
    #[arg(value_name = "VERSION|FOLDER")]
    pub release: String,
    #[command(flatten)]
    pub chosen: Chosen,
}

/// `pannier diff`.
#[derive(Debug, Args)]
pub struct Diff {
    /// A published version, or a folder that `pannier build` made
    #[arg(value_name = "VERSION|FOLDER")]
    pub from: String,
    /// The other one
    #[arg(value_name = "VERSION|FOLDER")]
    pub to: String,
    /// Name the files that differ
    #[arg(long)]
    pub files: bool,
    #[command(flatten)]
    pub chosen: Chosen,
}

/// `pannier rollout`.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Begin a rollout and drive it to its end
    Start(Box<RolloutStart>),
    /// Say how the last rollout stands; nothing is moved on
    Status {
        /// The fleet
        fleet: FleetName,
        #[command(flatten)]
        place: Place,
    },
    /// Go on with a rollout that somebody began
    Resume {
        /// The fleet
        fleet: FleetName,
        #[command(flatten)]
        hand: Hand,
    },
    /// End a rollout: before the switch nothing changes, after it all nodes go back
    Abort {
        /// The fleet
        fleet: FleetName,
        /// Why, for those who read the order
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        hand: Hand,
    },
}

/// Who moves a rollout on.
#[derive(Debug, Args)]
pub struct Hand {
    /// Who does it; the key's comment when not given
    #[arg(long)]
    pub who: Option<String>,
    /// How long before it the nodes are told their instant: longer than their looks at the order are apart
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub lead: u32,
    #[command(flatten)]
    pub key: Key,
    #[command(flatten)]
    pub place: Place,
}

/// `pannier rollout start`.
#[derive(Debug, Args)]
pub struct RolloutStart {
    /// The fleet
    pub fleet: FleetName,
    /// The app
    pub app: AppName,
    /// A published version
    pub version: Version,
    /// A node (repeatable, or with commas); all that have the app and were heard of when not given
    #[arg(long = "node", value_name = "NODE", value_delimiter = ',')]
    pub nodes: Vec<NodeName>,
    /// Not this node (repeatable, or with commas)
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub without: Vec<NodeName>,
    /// So many nodes may stay behind
    #[arg(long, value_name = "COUNT", conflicts_with = "at_least")]
    pub all_but: Option<u32>,
    /// So many nodes must come along
    #[arg(long, value_name = "COUNT")]
    pub at_least: Option<u32>,
    /// This node goes first, the others after it is healthy (repeatable, or with commas)
    #[arg(long, value_name = "NODE", value_delimiter = ',', conflicts_with = "batches")]
    pub canary: Vec<NodeName>,
    /// So many nodes at a time
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub batches: Option<u32>,
    /// Wait so long after a canary or a batch
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub pause: u32,
    /// How long bringing the release to the disks may take
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().prepare)]
    pub prepare_within: u32,
    /// How long the migrations may take
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().migrate)]
    pub migrate_within: u32,
    /// How long making ready may take
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().arm)]
    pub arm_within: u32,
    /// How long becoming healthy may take; and going back
    #[arg(long, value_name = "SECONDS", default_value_t = Deadlines::default().confirm)]
    pub confirm_within: u32,
    /// Why, for those who read the order
    #[arg(long, default_value = "")]
    pub reason: String,
    #[command(flatten)]
    pub hand: Hand,
}

impl RolloutStart {
    /// What is meant by the flags.
    pub fn wanted(&self) -> Wanted {
        let strategy = match self.batches {
            Some(size) => Strategy::Batches(size as usize),
            None if self.canary.is_empty() => Strategy::AllAtOnce,
            None => Strategy::Canary(self.canary.iter().cloned().collect()),
        };
        Wanted {
            app: self.app.clone(),
            version: self.version.clone(),
            nodes: self.nodes.iter().cloned().collect(),
            without: self.without.iter().cloned().collect(),
            policy: match (self.all_but, self.at_least) {
                (Some(count), _) => Policy::AllBut(count),
                (None, Some(count)) => Policy::AtLeast(count),
                (None, None) => Policy::All,
            },
            strategy,
            deadlines: Deadlines {
                prepare: self.prepare_within,
                migrate: self.migrate_within,
                arm: self.arm_within,
                confirm: self.confirm_within,
                pause: self.pause,
            },
            reason: self.reason.clone(),
        }
    }
}

/// `pannier fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetCommand {
    /// Say what every node serves, and whether that is what was decided
    Status {
        /// The fleet
        fleet: FleetName,
        /// Show it again and again, until it is ended
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// `pannier keys`.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; prints the line to put into trust files
    New {
        /// Its name: of its file, and in trust files
        name: KeyName,
        /// What it may sign: release, channel, suite, rollout (repeatable, or with commas)
        #[arg(long = "for", value_name = "ROLE", value_delimiter = ',', required = true)]
        roles: Vec<Role>,
        /// The folder that gets its two files
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Say which key a file holds
    Show {
        /// A private or a public key
        file: PathBuf,
    },
}

/// What to do about static files, as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StaticFiles {
    /// Run collectstatic and pack its output
    Collect,
    /// Pack those that are committed in STATIC_ROOT
    Committed,
    /// Leave them alone
    None,
}

/// A kind of pre-compressed twins, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// gzip
    Gz,
    /// brotli
    Br,
    /// zstd
    Zst,
    /// None at all
    None,
}

impl Compress {
    fn encoding(self) -> Option<Encoding> {
        match self {
            Self::Gz => Some(Encoding::Gz),
            Self::Br => Some(Encoding::Br),
            Self::Zst => Some(Encoding::Zst),
            Self::None => None,
        }
    }
}

/// Whose package indexes count, as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Index {
    /// Those that the project's files name, beside the build machine's
    Project,
    /// The build machine's alone
    Machine,
}

/// Who resolves and installs, as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Installer {
    /// uv, fetched where it is not there
    Uv,
    /// pip alone
    Pip,
}

impl Build {
    /// The flags as a layer of settings.
    pub fn settings(&self) -> Settings {
        let static_files = self.static_files.map(|what| match what {
            StaticFiles::Collect => settings::StaticFiles::Collect,
            StaticFiles::Committed => settings::StaticFiles::Committed,
            StaticFiles::None => settings::StaticFiles::None,
        });
        let compress = self.compress.as_ref().map(|kinds| kinds.iter().filter_map(|kind| kind.encoding()).collect());
        Settings {
            app: self.app.clone(),
            store: None,
            settings: self.settings.clone(),
            manage: self.manage.clone(),
            python: self.python.clone(),
            target: self.target.clone(),
            requirements: self.requirements.clone(),
            extras: self.extras.clone(),
            groups: self.groups.clone(),
            index: self.index.map(|whose| match whose {
                Index::Project => settings::Index::Project,
                Index::Machine => settings::Index::Machine,
            }),
            static_files,
            compress,
            exclude: self.exclude.clone(),
            allow: self.allow.clone(),
            largest_file: self.largest_file,
            build: settings::Build {
                env: self.placeholders.iter().cloned().collect(),
                commands: self.commands.clone(),
                installer: self.installer.map(|who| match who {
                    Installer::Uv => settings::Installer::Uv,
                    Installer::Pip => settings::Installer::Pip,
                }),
            },
            ..Settings::default()
        }
    }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Typed::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let typed = "pannier build site --app polls --version v1 --key k --env A=b=c --static none --compress gz,zst \
                     --command manage.py --group workers --index machine --installer pip --target aarch64-linux-gnu";
        let typed = typed.split_whitespace();
        let Command::Build(build) = Typed::parse_from(typed).command else { panic!("it is a build") };
        let settings = build.settings();
        assert_eq!(settings.app.unwrap().as_str(), "polls");
        assert_eq!(settings.static_files, Some(settings::StaticFiles::None));
        assert_eq!(settings.compress, Some(vec![Encoding::Gz, Encoding::Zst]));
        assert!(settings.build.commands[0].is_manage());
        assert_eq!((settings.groups, settings.index), (vec!["workers".to_owned()], Some(settings::Index::Machine)));
        assert_eq!(settings.build.env["A"], "b=c");
        assert_eq!(settings.build.installer, Some(settings::Installer::Pip));
        assert_eq!(settings.target.unwrap().as_str(), "aarch64-linux-gnu");
    }
}
