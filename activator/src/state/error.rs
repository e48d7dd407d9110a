//! Why a state file cannot be used, and what a person can type about it.

use std::path::PathBuf;

use pannier_shared::id::AppName;
use pannier_shared::sys::fs;

use super::SCHEMA;

/// A state file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It is not what a state file is.
    #[error("the state file `{}` is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A newer program wrote it.
    #[error("the state file `{}` has schema {found}, this program knows up to {SCHEMA}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// Another app lives in this root.
    #[error("the root belongs to the app `{found}`, not to `{wanted}` (`{}`)", .path.display())]
    OtherApp {
        /// The file.
        path: PathBuf,
        /// Whose root it is.
        found: AppName,
        /// Whose it should be.
        wanted: AppName,
    },
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Damaged { path, .. } => {
                let path = path.display();
                Some(format!(
                    "move it away: `mv {path} {path}.damaged`; the next command learns it anew from the releases"
                ))
            }
            Error::Newer { .. } => Some("use the newer pannier-activator that wrote it".to_owned()),
            Error::OtherApp { .. } => Some("give every app a `root` of its own in the configuration".to_owned()),
            Error::Fs(_) => None,
        }
    }
}
