//! Why migrations were not applied or taken back, or could not be asked for, and what a person can type about it.

use std::path::PathBuf;

use pannier_shared::id::{AppName, Version};
use pannier_shared::sys::{fs, process};

use super::lease;
use crate::described;
use crate::identity;
use crate::launch::BadFolder;
use crate::node::NotHere;
use crate::steps::restart;

/// Why nothing, or not all, came of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// Its tree lacks its last file.
    #[error("`{0}` is not complete on the disk")]
    Incomplete(Version),
    /// It has no description, so that nobody knows where its manage.py lies.
    #[error("`{0}` does not say of itself how it is run: it was put there by hand")]
    NotDescribed(Version),
    /// Its description cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// Its description is wrong.
    #[error(transparent)]
    Folder(#[from] BadFolder),
    /// The app's user cannot be used.
    #[error("the app's user cannot be used")]
    User(#[from] identity::Error),
    /// The environment file cannot be used.
    #[error("the app's variables cannot be read")]
    Env(#[source] restart::Error),
    /// A database does not answer.
    #[error("a database does not answer to `{version}`: {why}")]
    Unreachable {
        /// The release that asked.
        version: Version,
        /// The driver's words.
        why: String,
    },
    /// Django, or a migration, failed.
    #[error("the code of `{version}` failed")]
    Program {
        /// Whose code.
        version: Version,
        /// How, with what was printed last.
        source: process::Error,
    },
    /// What would be taken back is not what is ahead.
    #[error("taking back what is ahead in `{alias}` would take back other migrations than that: {}", .found.join(", "))]
    Differs {
        /// The database.
        alias: String,
        /// What it would take back.
        found: Vec<String>,
    },
    /// The lease could not be had or kept.
    #[error(transparent)]
    Lease(#[from] lease::Error),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// A failed run of migrations. What was applied before stays applied; what serves was not touched.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} the databases of `{app}` with `{version}`{}", after(.moved))]
pub struct Failure {
    /// Migrate or reverse.
    pub operation: crate::journal::Operation,
    /// The app.
    pub app: AppName,
    /// The release whose code ran.
    pub version: Version,
    /// Why.
    pub source: Error,
    /// How many migrations were applied, or taken back, before.
    pub moved: usize,
    /// Where all that was printed lies.
    pub log: Option<PathBuf>,
}

fn after(moved: &usize) -> String {
    match moved {
        0 => String::new(),
        1 => ", after 1 migration".to_owned(),
        count => format!(", after {count} migrations"),
    }
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self, app: &AppName) -> Option<String> {
        match self {
            Error::NotHere(error) => Some(error.hint()),
            Error::Incomplete(_) => Some(format!("look at it: `pannier-activator verify {app}`")),
            Error::User(error) => error.hint(),
            Error::Env(_) => Some("see to `env_file` in the app's configuration".to_owned()),
            Error::Unreachable { .. } => {
                Some("see to the database, and to its address in the app's `env_file`".to_owned())
            }
            Error::Lease(lease::Error::Held { .. }) => Some("wait longer with `--wait=1h`".to_owned()),
            Error::Lease(lease::Error::Store(_)) => Some(
                "a node must be allowed to write below `<app>/leases/`; or trust the database's own lock: `--without-lease`, or `lease = \"none\"` in the app's `migrate` table"
                    .to_owned(),
            ),
            Error::Lease(lease::Error::Form { .. }) => Some("look at it, and remove it by hand".to_owned()),
            Error::Lease(lease::Error::Lost(_)) | Error::Differs { .. } | Error::Program { .. } => None,
            Error::NotDescribed(_) | Error::Described(_) | Error::Folder(_) | Error::Fs(_) => None,
        }
    }
}

impl Failure {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        let log = self.log.as_ref().map(|log| format!("all that was printed: {}", log.display()));
        self.source.hint(&self.app).or(log)
    }
}
