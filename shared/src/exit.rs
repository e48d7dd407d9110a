//! Exit statuses: an interface, the same for both programs. Each says what is true now.

use crate::{published, store};

/// One reason to end a program, with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or there was nothing to do.
    Done = 0,
    /// Something unexpected: a bug, an error no other status names, or all is done and the result could not be written
    /// to stdout. Nothing was changed that is not said.
    Unexpected = 1,
    /// The command line or a configuration file is wrong; nothing was changed.
    Usage = 2,
    /// What was asked for does not exist (app, version, channel, release); nothing was changed.
    NotFound = 3,
    /// Verification failed: signature, digest, format; nothing was changed.
    Verification = 4,
    /// Refused by policy: wrong target or interpreter, version already published, input not allowed; nothing was
    /// changed.
    Refused = 5,
    /// Somebody else holds the lock; nothing was changed.
    Locked = 6,
    /// The store could not be reached or refused access; nothing was changed.
    Store = 7,
    /// The machine's own file system refused: no room, no permission, an I/O error; what was begun was undone.
    Machine = 8,
    /// A program Pannier ran failed (pip, manage.py, a restart command) and what was begun was undone.
    Program = 9,
    /// The new release failed its check and was taken back: the old release serves.
    RolledBack = 10,
    /// Something could not be undone: a person is needed.
    Mixed = 11,
    /// What was built again is not what was published; nothing was changed.
    Differs = 12,
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<&store::Error> for Exit {
    fn from(error: &store::Error) -> Self {
        use store::Error as E;
        match error {
            E::NotFound { .. } => Exit::NotFound,
            E::AlreadyExists { .. } | E::Changed { .. } | E::Denied { .. } => Exit::Store,
            E::Unavailable { .. } | E::WrongAnswer { .. } => Exit::Store,
            E::Unsupported { .. } => Exit::Usage,
            E::Fs(_) | E::FileChanged { .. } => Exit::Machine,
        }
    }
}

impl From<&published::Error> for Exit {
    fn from(error: &published::Error) -> Self {
        use published::Error as E;
        match error {
            E::Store(error) => Exit::from(error),
            E::UnknownApp { .. } | E::UnknownVersion { .. } => Exit::NotFound,
            E::UnknownChannel { .. } | E::UnknownSuite { .. } => Exit::NotFound,
            E::OtherTargets { .. } => Exit::Refused,
            E::Refused { .. } | E::Misplaced { .. } | E::NotTheNamed { .. } => Exit::Verification,
        }
    }
}
