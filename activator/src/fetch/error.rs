//! Why a fetch failed, and what a person can type about it.

use std::path::PathBuf;

use pannier_shared::archive::COMPLETE;
use pannier_shared::archive::policy::Refused;
use pannier_shared::id::AppName;
use pannier_shared::steps;
use pannier_shared::sys::fs;

use crate::admit;
use crate::age::Older;
use crate::prune;
use crate::resolve::{self, AnotherHere, What};
use crate::steps::fetch as transfer_step;
use crate::steps::room::NoRoom;

/// Why a release is not brought here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not found, or not to be believed.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// It cannot run here.
    #[error(transparent)]
    Admit(#[from] admit::Error),
    /// It is older than what serves, and was to be activated.
    #[error(transparent)]
    Older(#[from] Older),
    /// Another release of that version is here.
    #[error(transparent)]
    AnotherHere(#[from] AnotherHere),
    /// Something lies where the release should go.
    #[error("`{}` is there already, and no fetch has put it there", .0.display())]
    InTheWay(PathBuf),
    /// Something is mounted in the release that is to be replaced.
    #[error("something is mounted at `{}`", .0.display())]
    Mounted(PathBuf),
    /// The disk is too full.
    #[error(transparent)]
    NoRoom(#[from] Box<NoRoom>),
    /// What need not stay could not be removed to make room.
    #[error("no room could be made")]
    Prune(#[from] Box<prune::Failure>),
    /// It could not be transferred.
    #[error(transparent)]
    Transfer(#[from] transfer_step::Error),
    /// Its tree has something where a shared path should be, or leads through one.
    #[error("the release names a shared path that its tree has no place for")]
    Shared(#[from] Refused),
    /// A step ran before the one it stands on: a bug.
    #[error("there is no plan to follow")]
    NoPlan,
    /// The tree lacks its last file.
    #[error("the release has no `{}`: it is not whole", COMPLETE)]
    NotComplete,
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Resolve(error) => error.hint(),
            Error::Admit(error) => error.hint(),
            Error::Older(error) => Some(error.hint()),
            Error::AnotherHere(_) => Some("what is published never changes: find out who replaced it".to_owned()),
            Error::InTheWay(path) => {
                let path = path.display();
                Some(format!("if it is not needed, move it away: `mv {path} {path}.old`"))
            }
            Error::Mounted(path) => Some(format!("unmount it first: `umount {}`", path.display())),
            Error::NoRoom(error) => Some(error.hint()),
            Error::Shared(_) => {
                Some("nothing is wrong with this node: whoever signed the release has to build it again".to_owned())
            }
            Error::Prune(_) | Error::Transfer(_) | Error::NoPlan | Error::NotComplete | Error::Fs(_) => None,
        }
    }
}

/// A failed fetch; what could be undone was undone.
#[derive(Debug, thiserror::Error)]
#[error("failed to fetch `{what}` of `{app}`")]
pub struct Failure {
    /// The app.
    pub app: AppName,
    /// What was asked for.
    pub what: What,
    /// Why it is not here.
    pub source: Error,
    /// What could not be undone.
    pub left: Vec<steps::NotUndone<Error>>,
}
