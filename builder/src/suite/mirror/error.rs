//! Why a copy was not made, or not wholly, and what to do about it.

use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::published;
use pannier_shared::store::{self, Key};
use pannier_shared::sys::fs;

use crate::publish;

/// A copy that was not made, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The suite, or what it names, cannot be read or believed.
    #[error("the source cannot be copied")]
    Source(#[from] published::Error),
    /// What the copy has cannot be read or believed.
    #[error("the copy cannot be compared")]
    Copy(#[source] published::Error),
    /// The copy has another release of that name.
    #[error("the copy has another `{app}` {version} for `{target}`: a published version is never changed")]
    Different {
        /// The app.
        app: AppName,
        /// The version.
        version: Version,
        /// The kind of machine.
        target: Target,
    },
    /// The copy is ahead of the source, or beside it.
    #[error("{what} has the serial {there} in the copy and {here} in the source: it would go back")]
    Ahead {
        /// "the channel `production` of `polls`".
        what: String,
        /// What the source shows.
        here: u64,
        /// What the copy shows.
        there: u64,
    },
    /// Two documents of one serial.
    #[error("{what} has the serial {serial} in the copy too, with other content")]
    Forked {
        /// "the channel `production` of `polls`".
        what: String,
        /// The serial.
        serial: u64,
    },
    /// Somebody else moves the copy's pointers.
    #[error("{what} was moved in the copy meanwhile")]
    Overtaken {
        /// "the suite `production`".
        what: String,
    },
    /// A part of a release cannot be fetched.
    #[error("failed to fetch `{key}`")]
    Fetch {
        /// What.
        key: Key,
        /// Why.
        source: store::Error,
    },
    /// A release cannot be put into the copy.
    #[error("failed to copy `{app}` {version}")]
    Publish {
        /// The app.
        app: AppName,
        /// The version.
        version: Version,
        /// Why.
        source: Box<publish::Error>,
    },
    /// The copy cannot be written.
    #[error("failed to write to the copy")]
    Store(#[source] store::Error),
    /// This machine's file system failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Copy(published::Error::Store(store::Error::Unavailable { store, .. }))
                if store.starts_with("file:") =>
            {
                Some("mount the disk, or make the folder: a copy must not go to where a disk should be".to_owned())
            }
            Self::Source(error) | Self::Copy(error) => error.hint(),
            Self::Different { .. } | Self::Forked { .. } => {
                Some("one of the two stores is not what it should be: give the copy a place of its own".to_owned())
            }
            Self::Ahead { .. } => Some(
                "the source may be stale, or was restored from a backup: look at both before anything is moved"
                    .to_owned(),
            ),
            Self::Overtaken { .. } => Some("run it again".to_owned()),
            Self::Fetch { source, .. } | Self::Store(source) => source.hint(),
            Self::Publish { source, .. } => source.hint(),
            Self::Fs(_) => None,
        }
    }
}
