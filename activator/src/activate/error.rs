//! Why a release is not activated, what could not be undone of it, and what a person can type about either.

use pannier_shared::archive::COMPLETE;
use pannier_shared::id::{AppName, Version};
use pannier_shared::steps;
use pannier_shared::sys::fs;

use super::{Closed, Unfit};
use crate::age::Older;
use crate::described;
use crate::identity;
use crate::journal::Operation;
use crate::launch::BadFolder;
use crate::node::NotHere;
use crate::steps::{confirm, hook, restart, share, start};

/// Why a release is not activated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// It failed before.
    #[error("`{version}` failed when it was activated on {since}: {reason}")]
    Bad {
        /// The app.
        app: AppName,
        /// The release.
        version: Version,
        /// When.
        since: jiff::Timestamp,
        /// Why.
        reason: String,
    },
    /// It is older than what serves.
    #[error(transparent)]
    Older(#[from] Older),
    /// Its tree lacks its last file.
    #[error("`{version}` is not complete on the disk: `{}` is missing", COMPLETE)]
    Incomplete {
        /// The app.
        app: AppName,
        /// The release.
        version: Version,
    },
    /// It could not be started.
    #[error("`{version}` could not be started")]
    Restart {
        /// The release.
        version: Version,
        /// Why.
        source: Box<start::Error>,
    },
    /// It is not healthy.
    #[error("`{version}` is not healthy")]
    Health {
        /// The release.
        version: Version,
        /// Why.
        source: Box<confirm::Error>,
        /// What the restart command, and what it left running, printed last, ready to follow a message.
        printed: String,
    },
    /// No release served before, so there is none to start again.
    #[error("no release served before, so there is none to go back to")]
    NoneBefore,
    /// The environment file cannot be used.
    #[error("the app's variables cannot be kept")]
    Environment {
        /// Why.
        source: restart::Error,
    },
    /// A path that it shares with others is not as it should be.
    #[error(transparent)]
    Shared(#[from] share::Error),
    /// The app's user cannot be used.
    #[error("the app's user cannot be used")]
    User(#[from] identity::Error),
    /// The other nodes do not switch, or not with this one.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// It and the databases do not fit each other.
    #[error(transparent)]
    Schema(#[from] Unfit),
    /// One of its hooks failed.
    #[error(transparent)]
    Hook(#[from] hook::Error),
    /// What it says of itself cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// What it says of itself is wrong.
    #[error(transparent)]
    Folder(#[from] BadFolder),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A failed activation; what could be undone was undone.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.headline())]
pub struct Failure {
    /// Activate or rollback.
    pub operation: Operation,
    /// The app.
    pub app: AppName,
    /// The release that should serve.
    pub version: Version,
    /// Why it does not.
    pub source: Error,
    /// What could not be undone.
    pub left: Vec<steps::NotUndone<Error>>,
    /// True when the release was switched to and failed there: then it is marked as bad.
    pub tried: bool,
}

impl Failure {
    fn headline(&self) -> String {
        let Self { operation, app, version, .. } = self;
        let end = match (self.left.is_empty(), self.tried) {
            (false, _) => ", and not all of it could be undone",
            (true, true) => "; it was taken back",
            (true, false) => "",
        };
        format!("failed to {operation} `{version}` of `{app}`{end}")
    }

    /// What the restart command, and what it left running, printed last; ready to follow a message.
    pub fn printed(&self) -> Option<&str> {
        match &self.source {
            Error::Health { printed, .. } if !printed.is_empty() => Some(printed),
            _ => None,
        }
    }

    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        let app = &self.app;
        match &self.source {
            Error::NotHere(error) => Some(error.hint()),
            Error::Bad { version, .. } => {
                Some(format!("once it is mended: `pannier-activator activate {app} {version} --even-if-bad`"))
            }
            Error::Older(error) => Some(error.hint()),
            Error::Incomplete { .. } => {
                Some(format!("look at it, move it away and fetch it again: `pannier-activator verify {app}`"))
            }
            Error::Restart { source, .. } if !self.tried => source.hint(),
            Error::Environment { .. } => Some("see to `env_file` in the app's configuration".to_owned()),
            Error::Shared(error) => error.hint(),
            Error::User(error) => error.hint(),
            Error::Schema(error) => error.hint(app),
            Error::Hook(error) if !self.tried => error.hint(),
            Error::Restart { .. } | Error::Health { .. } | Error::Hook(_) => {
                Some(format!("once it is mended: `pannier-activator activate {app} {} --even-if-bad`", self.version))
            }
            Error::Described(_) | Error::Folder(_) | Error::NoneBefore | Error::Closed(_) | Error::Fs(_) => None,
        }
    }
}
