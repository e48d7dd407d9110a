//! What an error about a suite means for the exit status.

use pannier_builder::suite::{self, mirror};
use pannier_shared::exit::Exit;

use super::{of_publish, of_signing};

pub fn of_suite(error: &suite::Error) -> Exit {
    match error {
        suite::Error::Published(error) => Exit::from(error),
        suite::Error::Unresolved { source, .. } => Exit::from(source.as_ref()),
        suite::Error::NotSigned(error) => of_signing(error),
        suite::Error::Days(_) => Exit::Usage,
        suite::Error::Overtaken { .. } | suite::Error::SerialUsedUp(_) => Exit::Refused,
    }
}

pub fn of_mirror(error: &mirror::Error) -> Exit {
    match error {
        mirror::Error::Source(error) | mirror::Error::Copy(error) => Exit::from(error),
        mirror::Error::Different { .. } | mirror::Error::Ahead { .. } => Exit::Refused,
        mirror::Error::Forked { .. } | mirror::Error::Overtaken { .. } => Exit::Refused,
        mirror::Error::Fetch { source, .. } => match Exit::from(source) {
            // The statement is there and this is not: the source is at fault, not what was asked for.
            Exit::NotFound => Exit::Store,
            other => other,
        },
        mirror::Error::Store(error) => Exit::from(error),
        mirror::Error::Publish { source, .. } => of_publish(source),
        mirror::Error::Fs(_) => Exit::Machine,
    }
}
