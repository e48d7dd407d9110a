//! Whether a release can run on this machine at all: asked before its first byte is fetched.
//!
//! That it is for this kind of machine is settled before: it is looked for under this machine's target only.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::statement::{Description, InterpreterOrigin};
use pannier_shared::sys::process;

use crate::interpreter;
use crate::steps::restart::PATH;

/// A release that cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's interpreter does not fit.
    #[error("the release has no interpreter for this node")]
    Interpreter(#[from] interpreter::Error),
    /// The C library is too old.
    #[error("the release needs glibc {floor} or newer, this node has {found}")]
    OldLibc {
        /// What the release needs.
        floor: String,
        /// What the node has.
        found: String,
    },
    /// The C library does not say which it is.
    #[error("the release needs glibc {floor} or newer, and this node's cannot be found out")]
    UnknownLibc {
        /// What the release needs.
        floor: String,
    },
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Interpreter(error) => error.hint(),
            Error::OldLibc { found, .. } => {
                Some(format!("build the release on a system with glibc {found} or older, or upgrade this node"))
            }
            Error::UnknownLibc { .. } => Some("see what `getconf GNU_LIBC_VERSION` says".to_owned()),
        }
    }
}

/// Refuses what cannot run here; gives the interpreter of the node that the release will use, if it brings none.
pub fn admit(release: &Description, python: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(floor) = &release.libc_floor {
        libc(floor, libc_version().as_deref())?;
    }
    Ok(match release.interpreter.origin {
        InterpreterOrigin::Bundled => None,
        InterpreterOrigin::System => Some(interpreter::find(&release.interpreter, python)?),
    })
}

/// The node's glibc, "2.36".
fn libc_version() -> Option<String> {
    let mut command = process::program("getconf");
    command.arg("GNU_LIBC_VERSION").env("PATH", PATH);
    let printed = process::run(&mut command, Duration::from_secs(10)).ok()?;
    let text = String::from_utf8(printed.stdout).ok()?;
    text.trim().strip_prefix("glibc ").map(str::to_owned)
}

fn libc(floor: &str, found: Option<&str>) -> Result<(), Error> {
    let unknown = || Error::UnknownLibc { floor: floor.to_owned() };
    let found = found.ok_or_else(unknown)?;
    if number(found).ok_or_else(unknown)? >= number(floor).ok_or_else(unknown)? {
        return Ok(());
    }
    Err(Error::OldLibc { floor: floor.to_owned(), found: found.to_owned() })
}

/// "2.36" as something that can be compared.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libc_must_be_as_new_as_the_floor() {
        for (floor, found) in [("2.28", "2.36"), ("2.36", "2.36"), ("2.9", "2.17"), ("2.17", "3.0")] {
            libc(floor, Some(found)).unwrap();
        }
        insta::assert_snapshot!(libc("2.38", Some("2.36")).unwrap_err(), @"the release needs glibc 2.38 or newer, this node has 2.36");
        insta::assert_snapshot!(libc("2.38", None).unwrap_err(), @"the release needs glibc 2.38 or newer, and this node's cannot be found out");
    }

    #[test]
    fn this_machine_says_which_libc_it_has() {
        if cfg!(target_env = "gnu") {
            assert!(number(&libc_version().unwrap()).unwrap() >= (2, 0));
        }
    }
}
