//! What can be typed: clap only, nothing is looked up here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use pannier_activator::config::{DEFAULT, duration};
use pannier_activator::resolve::What;
use pannier_shared::id::{AppName, RoleName, SuiteName, Version};

/// Fetches, verifies and activates releases on this node.
///
/// Exit statuses: 0 done, 1 unexpected, 2 usage or configuration, 3 not found, 4 verification failed, 5 refused, 6
/// locked, 7 store, 8 this machine (disk, permissions), 9 a program failed, 10 taken back: the old release serves, 11
/// a person is needed.
#[derive(Debug, Parser)]
#[command(name = "pannier-activator", version)]
pub struct Typed {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// The configuration of this node
    #[arg(long, global = true, env = "PANNIER_CONFIG", value_name = "FILE", default_value = DEFAULT)]
    pub config: PathBuf,
    /// The store, instead of the configured one: file:///path, s3://bucket/prefix or https://host/path
    #[arg(long, global = true, env = "PANNIER_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The file of trusted keys, instead of the configured one
    #[arg(long, global = true, env = "PANNIER_TRUST", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Wait while another command works on the app, for at most so long (10 minutes when not said), instead of refusing
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, num_args = 0..=1, require_equals = true, default_missing_value = "10m")]
    pub wait: Option<Duration>,
    /// Print one JSON object per line: events, then the result
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but warnings, errors and the result
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// What is done about migrations on the way forward.
#[derive(Debug, Args)]
pub struct Forward {
    /// Apply its migrations first
    #[arg(long)]
    pub migrate: bool,
    /// Activate it though migrations of it are not applied, and without asking
    #[arg(long, conflicts_with = "migrate")]
    pub pending_ok: bool,
    /// Take no lease in the store: trust the database's own lock
    #[arg(long, requires = "migrate")]
    pub without_lease: bool,
}

/// What is done about migrations on the way back.
#[derive(Debug, Args)]
pub struct Back {
    /// Take back first what newer releases migrated, by their code
    #[arg(long)]
    pub reverse_migrations: bool,
    /// Go back though the older code may fail with what newer releases migrated
    #[arg(long, conflicts_with = "reverse_migrations")]
    pub schema_ahead_ok: bool,
    /// Take no lease in the store: trust the database's own lock
    #[arg(long, requires = "reverse_migrations")]
    pub without_lease: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a release to this node, complete and verified; what serves stays as it is
    Fetch {
        /// The app
        app: AppName,
        /// A version, or @CHANNEL
        #[arg(value_name = "VERSION|@CHANNEL")]
        what: What,
    },
    /// Say what a fetch would do: what is here already, what comes over the wire, what it needs
    Plan {
        /// The app
        app: AppName,
        /// A version, or @CHANNEL
        #[arg(value_name = "VERSION|@CHANNEL")]
        what: What,
    },
    /// Make a release the one that serves (fetched first if needed); go back if it is not healthy
    Activate {
        /// The app
        app: AppName,
        /// A version, or @CHANNEL
        #[arg(value_name = "VERSION|@CHANNEL")]
        what: What,
        /// Try a release again that failed when it was activated before
        #[arg(long)]
        even_if_bad: bool,
        /// Activate a release though it is older than the one that serves
        #[arg(long)]
        downgrade: bool,
        #[command(flatten)]
        schema: Forward,
    },
    /// Make the last healthy release before this one serve again
    Rollback {
        /// The app
        app: AppName,
        /// This release instead, which must have been healthy here
        #[arg(long, value_name = "VERSION")]
        to: Option<Version>,
        #[command(flatten)]
        schema: Back,
    },
    /// Apply a release's migrations (fetched first if needed), once for all nodes; what serves stays as it is
    Migrate {
        /// The app
        app: AppName,
        /// A version, or @CHANNEL
        #[arg(value_name = "VERSION|@CHANNEL")]
        what: What,
        /// Take no lease in the store: trust the database's own lock
        #[arg(long)]
        without_lease: bool,
    },
    /// Run a command with the code, the variables and the user of the release that serves: `run polls -- manage.py shell`
    Run {
        /// The app
        app: AppName,
        /// The code of this release instead, which must be on this node
        #[arg(long, value_name = "VERSION")]
        release: Option<Version>,
        /// The command: `manage.py`, a program of the release's environment, or one of this machine
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Follow the orders of this node's fleet (`[fleet]` in the configuration), until it is ended
    Agent,
    /// Say what serves, and whether all is in order
    Status {
        /// The app; all apps when not given
        app: Option<AppName>,
    },
    /// List the releases on this node
    Releases {
        /// The app
        app: AppName,
        /// List those in the store instead
        #[arg(long)]
        published: bool,
    },
    /// Examine this node: whether all is there that a fetch and an activation need, and what to type where it is not
    Doctor {
        /// The app; all apps when not given
        app: Option<AppName>,
    },
    /// Compare a release on the disk with what was signed
    Verify {
        /// The app
        app: AppName,
        /// The release; the one that serves when not given
        version: Option<Version>,
        /// Compare all that are on this node
        #[arg(long, conflicts_with = "version")]
        all: bool,
    },
    /// Mend a damaged release: fetch what is damaged, keep the rest; others that share the damage are mended as well
    Repair {
        /// The app
        app: AppName,
        /// The release; the one that serves when not given
        version: Option<Version>,
        /// Start the app again if the release that serves was mended
        #[arg(long)]
        restart: bool,
    },
    /// Remove releases that need not stay (see `keep` and `keep_failed` in the configuration)
    Prune {
        /// The app
        app: AppName,
        /// Only say what would be removed, and why the others stay
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring this node back from nothing: all apps of a role, in parallel, each until it serves; type it again after a failure
    Recover {
        /// The suite: what `pannier suite set` stored
        #[arg(long)]
        suite: SuiteName,
        /// What this node is for
        #[arg(long)]
        role: RoleName,
        /// Only a drill: bring all of it into a folder, read it back, and write a dated report; what runs is not touched
        #[arg(long, requires = "root")]
        drill: bool,
        /// The folder of the drill
        #[arg(long, value_name = "DIR", requires = "drill")]
        root: Option<PathBuf>,
        /// Apply migrations first where some are not applied
        #[arg(long, conflicts_with = "drill")]
        migrate: bool,
        /// Activate apps though migrations of them are not applied, and without asking
        #[arg(long, conflicts_with_all = ["migrate", "drill"])]
        pending_ok: bool,
    },
    /// Show the systemd units of a release's processes, or write them
    Units {
        /// The app
        app: AppName,
        /// The release; the one that serves when not given
        version: Option<Version>,
        /// Write them into this folder, such as /etc/systemd/system
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
}

impl Command {
    /// The app it is about, if it is about one.
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Command::Fetch { app, .. }
            | Command::Plan { app, .. }
            | Command::Activate { app, .. }
            | Command::Rollback { app, .. }
            | Command::Migrate { app, .. }
            | Command::Run { app, .. }
            | Command::Releases { app, .. }
            | Command::Repair { app, .. }
            | Command::Prune { app, .. }
            | Command::Verify { app, .. }
            | Command::Units { app, .. } => Some(app),
            Command::Status { app } | Command::Doctor { app } => app.as_ref(),
            Command::Recover { .. } => None,
            Command::Agent => None,
        }
    }
}
