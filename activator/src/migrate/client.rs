//! Starts a release's Python with our text (`client.py`) and hears what it has to say of the release's databases.
//!
//! It runs where the release's own commands run, with the same variables and as the same user (see `launch`), plus
//! `PANNIER_FENCE`, the number of the lease that it works under. What it says are lines of JSON behind a mark; all others
//! are what Django and the project print, and are kept in a log without the secrets.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use pannier_shared::id::{MigrationId, Version};
use pannier_shared::sys::account::Account;
use pannier_shared::sys::talk::{self, Heard, Talk};
use pannier_shared::sys::{clock, fs, process};
use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::config::App;
use crate::described::described;
use crate::environment::Secrets;
use crate::identity;
use crate::launch::{Launch, Place};
use crate::layout::Root;
use crate::steps::restart::variables_of;

const TEXT: &str = include_str!("client.py");

/// What a line of ours begins with: no program prints it by itself.
const MARK: &str = "\u{1e}pannier ";

/// How long one step of listening takes at most: what the caller has to do meanwhile (a lease to renew) is done as often.
const BEAT: Duration = Duration::from_millis(500);

/// So many bytes of what was printed last are kept for an error.
const SHOWN: usize = 16 * 1024;

/// So many bytes of it are written down.
const WRITTEN: usize = 16 << 20;

/// What an error calls it.
const NAME: &str = "python";

/// What the release's Python is started for.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// To say what is applied and what is pending.
    Look,
    /// To apply what is pending.
    Forward,
    /// To take back, as this text says.
    Back(&'a str),
}

impl<'a> Mode<'a> {
    fn arguments(self) -> impl Iterator<Item = &'a str> {
        let (mode, more) = match self {
            Mode::Look => ("look", None),
            Mode::Forward => ("forward", None),
            Mode::Back(how) => ("back", Some(how)),
        };
        [mode].into_iter().chain(more)
    }
}

/// One run of it.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What for.
    pub mode: Mode<'a>,
    /// The number of the lease that it works under.
    pub fence: Option<u64>,
    /// How long it may take.
    pub limit: Duration,
    /// Where what it prints is written to.
    pub log: Option<&'a Path>,
}

/// Is told each word, and `None` at least twice a second; what it gives is said to the program, and an error ends it.
pub type On<'a> = &'a mut dyn FnMut(Option<Word>) -> Result<Option<&'static str>, Error>;

/// What it says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// What a database has.
    Database {
        /// Its alias in the settings.
        alias: String,
        /// Its kind, as Django calls it.
        vendor: String,
        /// What is applied, names that no release can have left out.
        #[serde(deserialize_with = "ids")]
        applied: Vec<MigrationId>,
        /// What the release would apply, in order.
        #[serde(deserialize_with = "ids")]
        pending: Vec<MigrationId>,
    },
    /// A database does not answer.
    Unreachable {
        /// Its driver's words.
        why: String,
    },
    /// Somebody else migrates this database; it waits.
    Waiting {
        /// Which.
        alias: String,
    },
    /// It wants leave to change this database.
    Ready {
        /// Which.
        alias: String,
        /// Whether the database itself keeps others away meanwhile.
        guarded: bool,
    },
    /// A migration was applied.
    Applied(Moved),
    /// A migration was taken back.
    Reversed(Moved),
    /// What would be taken back is not what should be.
    Differs {
        /// In which database.
        alias: String,
        /// What it would be.
        found: Vec<String>,
    },
}

/// A migration that was applied or taken back.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct Moved {
    /// The database's alias.
    pub alias: String,
    /// Which.
    pub migration: String,
    /// How long it took.
    pub seconds: f64,
}

/// Rows that nothing of ours wrote can have any names.
fn ids<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<MigrationId>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// A release whose Python can be started.
#[derive(Clone)]
pub struct Client {
    version: Version,
    place: Place,
    account: Option<Account>,
    variables: Vec<(String, String)>,
    secrets: Secrets,
}

impl Client {
    /// Of a release on this node; `env_file` has the app's variables.
    pub fn of(root: &Root, config: &App, version: &Version, env_file: Option<&Path>) -> Result<Self, Error> {
        let description = described(&root.release(version))?.ok_or_else(|| Error::NotDescribed(version.clone()))?;
        Ok(Self {
            version: version.clone(),
            place: Place::new(root, version, &description)?,
            account: identity::of(config.user.as_deref())?,
            variables: env_file.map(variables_of).transpose().map_err(Error::Env)?.unwrap_or_default(),
            secrets: Secrets::of(env_file),
        })
    }

    /// The release.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// A text without the secrets that may be in it.
    pub fn harmless(&self, text: String) -> String {
        self.secrets.hide(text)
    }

    /// Starts it, and hears it to its end.
    pub fn run(&self, job: &Job, on: On) -> Result<(), Error> {
        let failed = |source| Error::Program { version: self.version.clone(), source };
        let mut talk = talk::begin(self.account.as_ref(), &mut self.command(job)).map_err(failed)?;
        let mut printed = Printed::to(job.log);
        let ended = self.hear(&mut talk, job.limit, &mut printed, on)?;
        let (program, limit, output) = (NAME.to_owned(), job.limit, printed.last);
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(failed(process::Error::Failed { program, status, output })),
            None => Err(failed(process::Error::TooSlow { program, limit, output })),
        }
    }

    fn hear(
        &self,
        talk: &mut Talk,
        limit: Duration,
        printed: &mut Printed,
        on: On,
    ) -> Result<Option<ExitStatus>, Error> {
        let end = clock::monotonic() + limit;
        while clock::monotonic() < end {
            let word = match talk.hear(BEAT) {
                Heard::Ended(status) => return Ok(Some(status)),
                Heard::Nothing => None,
                Heard::Line(line) => match word_of(&line) {
                    Some(word) => Some(word),
                    None => {
                        printed.take(self.secrets.hide(line));
                        continue;
                    }
                },
            };
            if let Some(said) = on(word)? {
                talk.say(said);
            }
        }
        Ok(None)
    }

    fn command(&self, job: &Job) -> Command {
        let arguments = ["-c", TEXT].into_iter().chain(job.mode.arguments()).map(str::to_owned).collect();
        let launch = Launch { program: self.place.python().to_string_lossy().into_owned(), arguments };
        let mut command = self.place.command(&launch, &self.variables, self.account.as_ref());
        command.envs(job.fence.map(|fence| ("PANNIER_FENCE", fence.to_string())));
        command
    }
}

fn word_of(line: &str) -> Option<Word> {
    serde_json::from_str(line.strip_prefix(MARK)?).ok()
}

/// What Django and the project print. A log that cannot be written is no reason to stop a migration.
struct Printed {
    log: Option<File>,
    written: usize,
    last: String,
}

impl Printed {
    fn to(log: Option<&Path>) -> Self {
        let made = |log: &Path| {
            log.parent().map(fs::create_dir_all).transpose()?;
            let file = fs::create_new(log)?;
            fs::set_mode(log, 0o600).map(|()| file)
        };
        Self { log: log.and_then(|log| made(log).ok()), written: 0, last: String::new() }
    }

    fn take(&mut self, mut line: String) {
        line.push('\n');
        self.written += line.len();
        if let Some(log) = self.log.as_mut().filter(|_| self.written < WRITTEN) {
            let _ = log.write_all(line.as_bytes());
        }
        self.last.push_str(&line);
        if self.last.len() > 2 * SHOWN {
            let cut = self.last.char_indices().map(|(at, _)| at).find(|at| *at >= SHOWN);
            self.last.drain(..cut.unwrap_or_default());
        }
    }
}
