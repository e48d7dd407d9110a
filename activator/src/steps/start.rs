//! Starts a release in the way that is configured: by a command (`restart`) or by systemd (`supervise`). The one place
//! through which activation, undo, heal and repair start anything.

use std::path::Path;
use std::time::Duration;

use pannier_shared::id::{AppName, Version};
use pannier_shared::statement::Process;
use pannier_shared::sys::fs;

use super::restart::{self, Restart, restart};
use super::supervise::{self, supervise};
use crate::config::App;
use crate::described::{self, described};
use crate::environment::{self, Secrets};
use crate::launch::{BadFolder, Place};
use crate::node::Node;
use crate::units::{self, Units};

/// An app whose processes systemd keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supervised {
    /// Its units.
    pub units: Units,
    /// How long each process may take to stop and to start.
    pub timeout: Duration,
    /// For how long they must have stayed before the release is confirmed.
    pub steady: Duration,
}

/// How much is wanted of what was printed: always the end.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Bytes of the restart command's log.
    pub bytes: u64,
    /// Lines of the log of each process under systemd.
    pub lines: u32,
}

/// Enough to see what the matter was.
pub const SHOWN: Extent = Extent { bytes: 16 * 1024, lines: supervise::LINES };

/// A release that was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By the command.
    #[error(transparent)]
    Command(#[from] restart::Error),
    /// By systemd.
    #[error(transparent)]
    Systemd(#[from] supervise::Error),
    /// What the release says of itself cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// What it says of itself is wrong.
    #[error(transparent)]
    Folder(#[from] BadFolder),
}

impl Error {
    /// Whether anything was begun. If not, the processes are as they were, and what is at fault is the configuration or the
    /// machine, not the release.
    pub fn had_begun(&self) -> bool {
        match self {
            Error::Command(error) => error.had_begun(),
            Error::Systemd(error) => error.had_begun(),
            Error::Described(_) | Error::Folder(_) => false,
        }
    }

    fn hidden(self, secrets: &Secrets) -> Self {
        match self {
            Error::Command(restart::Error::Command(error)) => {
                restart::Error::Command(error.with_output(|text| secrets.hide(text))).into()
            }
            Error::Systemd(error) => error.with_log(|text| secrets.hide(text)).into(),
            other => other,
        }
    }

    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Systemd(error) => error.hint(),
            Error::Command(error) if !error.had_begun() => {
                error.hint().or_else(|| Some("see to `restart` and `env_file` in the app's configuration".to_owned()))
            }
            _ => None,
        }
    }
}

/// What is started, for a person; nothing when nothing is configured.
pub fn said(node: &Node) -> Option<String> {
    match (&node.config.restart, &node.config.supervised) {
        (Some(how), _) => Some(how.command.join(" ")),
        (None, Some(_)) => Some("by systemd".to_owned()),
        (None, None) => None,
    }
}

/// Starts a release that is on the node, with the variables that belong to it.
pub fn start(node: &Node, version: &Version) -> Result<(), Error> {
    let env_file = environment::file_of(&node.root, &node.state, &node.config, version);
    start_with(node, version, env_file.as_deref()).map_err(|error| error.hidden(&Secrets::of(env_file.as_deref())))
}

fn start_with(node: &Node, version: &Version, env_file: Option<&Path>) -> Result<(), Error> {
    match (&node.config.restart, &node.config.supervised) {
        (Some(how), _) => {
            let how = Restart { env_file: env_file.map(Path::to_owned), ..how.clone() };
            Ok(restart(&how, &node.app, version, &node.root)?)
        }
        (None, Some(Supervised { units, timeout, .. })) => {
            let (place, processes) = place(node, version)?;
            Ok(supervise(units, &place, &processes, env_file, *timeout)?)
        }
        (None, None) => Ok(()),
    }
}

/// Looks whether what was started stays, and is of this release, where that can be known.
pub fn look(node: &Node, version: &Version) -> Result<(), Error> {
    let Some(supervised) = &node.config.supervised else { return Ok(()) };
    let (place, processes) = place(node, version)?;
    let looked = supervise::look(&place, &processes, supervised.steady);
    looked.map_err(|error| Error::from(error).hidden(&secrets(node, version)))
}

/// What a person types to start again what serves; nothing when nothing is configured.
pub fn by_hand(app: &AppName, config: &App) -> Option<String> {
    match (&config.restart, &config.supervised) {
        (Some(how), _) => Some(how.command.join(" ")),
        (None, Some(_)) => Some(format!("systemctl restart '{}'", units::services(app))),
        (None, None) => None,
    }
}

/// What must not be shown of what a release prints.
pub fn secrets(node: &Node, version: &Version) -> Secrets {
    Secrets::of(environment::file_of(&node.root, &node.state, &node.config, version).as_deref())
}

/// What the processes of a release printed last, ready to be shown; nothing when it cannot be read, because it only adorns
/// an error.
pub fn printed(node: &Node, version: &Version, Extent { bytes, lines }: Extent) -> String {
    secrets(node, version).hide(match (&node.config.supervised, place(node, version)) {
        (None, _) => {
            let printed = fs::read_tail(&node.root.restart_log(), bytes).unwrap_or_default();
            String::from_utf8_lossy(&printed).into_owned()
        }
        (Some(_), Ok((place, processes))) => supervise::logs(&place, &processes, lines),
        (Some(_), Err(_)) => String::new(),
    })
}

fn place(node: &Node, version: &Version) -> Result<(Place, Vec<Process>), Error> {
    match described(&node.root.release(version))? {
        Some(description) => Ok((Place::new(&node.root, version, &description)?, description.running.processes)),
        None => Err(supervise::Error::NoProcesses.into()),
    }
}
