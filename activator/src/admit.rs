//! Whether a release can run on this machine at all: asked before its first byte is fetched.
//!
//! That it is for this kind of machine is settled before: it is looked for under this machine's target only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::report::human;
use pannier_shared::statement::{Description, InterpreterOrigin};
use pannier_shared::sys::process;

use crate::interpreter;
use crate::steps::restart::PATH;

/// How long a program may take to say which C library there is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names of the two C libraries.
const GLIBC: &str = "glibc";
const MUSL: &str = "musl";

/// A release that cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's interpreter does not fit.
    #[error("the release has no interpreter for this node")]
    Interpreter(#[from] interpreter::Error),
    /// The C library is too old.
    #[error("the release needs {needed}, this node has {found}")]
    OldLibc {
        /// What the release needs.
        needed: Needed,
        /// What the node has.
        found: String,
    },
    /// The C library is another one.
    #[error("the release needs {needed}, this node has {found}")]
    OtherLibc {
        /// What the release needs.
        needed: Needed,
        /// What the node has: "musl 1.2.4".
        found: Library,
    },
    /// The C library does not say which it is.
    #[error("the release needs {needed}, and this node's C library cannot be found out")]
    UnknownLibc {
        /// What the release needs.
        needed: Needed,
    },
}

/// The C library that a release needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Which, and the oldest version.
    pub library: Library,
    /// The file in the release that asks for it, where the release says.
    pub file: Option<String>,
}

/// A C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// "glibc" or "musl".
    pub name: &'static str,
    /// Its version, "2.36".
    pub version: String,
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or newer", self.library)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " (for `{}`)", human::harmless(file)))
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, human::harmless(&self.version))
    }
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Interpreter(error) => error.hint(),
            Error::OldLibc { needed, found } => Some(format!(
                "build the release on a system with {} {found} or older, or upgrade this node",
                needed.library.name
            )),
            Error::OtherLibc { found, .. } => Some(format!(
                "build the release for {}, or run a pannier-activator that is for this node's C library",
                found.name
            )),
            Error::UnknownLibc { .. } => Some("see what `getconf GNU_LIBC_VERSION` and `ldd --version` say".to_owned()),
        }
    }
}

/// Refuses what cannot run here; gives the interpreter of the node that the release will use, if it brings none.
pub fn admit(release: &Description, python: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(needed) = needed(release) {
        fits(needed, library())?;
    }
    Ok(match release.interpreter.origin {
        InterpreterOrigin::Bundled => None,
        InterpreterOrigin::System => Some(interpreter::find(&release.interpreter, python)?),
    })
}

fn needed(release: &Description) -> Option<Needed> {
    let name = if release.target.as_str().ends_with("-musl") { MUSL } else { GLIBC };
    let library = Library { name, version: release.libc_floor.clone()? };
    Some(Needed { library, file: release.libc_floor_of.clone() })
}

/// The node's C library, by its own words: `getconf` has them of glibc, `ldd` of both, on one output or the other.
fn library() -> Option<Library> {
    of_getconf(&said_by("getconf", "GNU_LIBC_VERSION")).or_else(|| of_ldd(&said_by("ldd", "--version")))
}

/// What a program prints, however it ends: musl's `ldd` fails whatever it is asked.
fn said_by(program: &str, argument: &str) -> String {
    let mut command = process::program(program);
    command.arg(argument).env("PATH", PATH);
    match process::run(&mut command, PATIENCE) {
        Ok(printed) => String::from_utf8_lossy(&printed.stdout).into_owned(),
        Err(process::Error::Failed { output, .. }) => output,
        Err(_) => String::new(),
    }
}

/// "glibc 2.36".
fn of_getconf(text: &str) -> Option<Library> {
    Some(Library { name: GLIBC, version: text.trim().strip_prefix("glibc ")?.to_owned() })
}

/// "ldd (Debian GLIBC 2.36-9) 2.36", or "musl libc (x86_64)" and "Version 1.2.4" below it.
fn of_ldd(text: &str) -> Option<Library> {
    let mut lines = text.lines();
    let first = lines.next()?;
    let (name, version) = if first.starts_with("musl") {
        (MUSL, lines.next()?.strip_prefix("Version ")?)
    } else {
        (GLIBC, first.strip_prefix("ldd ").and(first.rsplit(' ').next())?)
    };
    Some(Library { name, version: version.to_owned() })
}

fn fits(needed: Needed, found: Option<Library>) -> Result<(), Error> {
    let Some(found) = found else { return Err(Error::UnknownLibc { needed }) };
    if found.name != needed.library.name {
        return Err(Error::OtherLibc { needed, found });
    }
    match (number(&found.version), number(&needed.library.version)) {
        (Some(has), Some(floor)) if has >= floor => Ok(()),
        (Some(_), Some(_)) => Err(Error::OldLibc { needed, found: found.version }),
        _ => Err(Error::UnknownLibc { needed }),
    }
}

/// "2.36" as something that can be compared; of three numbers two tell.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library_of(name: &'static str, version: &str) -> Library {
        Library { name, version: version.to_owned() }
    }

    fn refused(needs: Library, found: Option<Library>) -> Error {
        fits(Needed { library: needs, file: Some("venv/lib/fast.so".to_owned()) }, found).unwrap_err()
    }

    #[test]
    fn the_libc_must_be_as_new_as_the_floor() {
        for (floor, found) in [("2.28", "2.36"), ("2.36", "2.36"), ("2.9", "2.17"), ("2.17", "3.0"), ("1.2", "1.2.4")] {
            let needed = Needed { library: library_of(GLIBC, floor), file: None };
            fits(needed, Some(library_of(GLIBC, found))).unwrap();
        }
        let error = refused(library_of(GLIBC, "2.38"), Some(library_of(GLIBC, "2.36")));
        insta::assert_snapshot!(error, @"the release needs glibc 2.38 or newer (for `venv/lib/fast.so`), this node has 2.36");
        insta::assert_snapshot!(error.hint().unwrap(), @"build the release on a system with glibc 2.36 or older, or upgrade this node");
        let error = refused(library_of(GLIBC, "2.38"), None);
        insta::assert_snapshot!(error, @"the release needs glibc 2.38 or newer (for `venv/lib/fast.so`), and this node's C library cannot be found out");
    }

    #[test]
    fn another_c_library_is_named() {
        let error = refused(library_of(GLIBC, "2.28"), Some(library_of(MUSL, "1.2.4")));
        insta::assert_snapshot!(error, @"the release needs glibc 2.28 or newer (for `venv/lib/fast.so`), this node has musl 1.2.4");
        insta::assert_snapshot!(error.hint().unwrap(), @"build the release for musl, or run a pannier-activator that is for this node's C library");
        assert!(matches!(refused(library_of(MUSL, "1.2"), Some(library_of(MUSL, "1.1.24"))), Error::OldLibc { .. }));
    }

    #[test]
    fn the_words_of_both_libraries_are_understood() {
        assert_eq!(of_getconf("glibc 2.36\n"), Some(library_of(GLIBC, "2.36")));
        assert_eq!(of_getconf("getconf: Unrecognized variable `GNU_LIBC_VERSION'\n"), None);
        assert_eq!(of_ldd("ldd (Debian GLIBC 2.36-9+deb12u9) 2.36\nCopyright\n"), Some(library_of(GLIBC, "2.36")));
        assert_eq!(
            of_ldd("musl libc (x86_64)\nVersion 1.2.4\nDynamic Program Loader\n"),
            Some(library_of(MUSL, "1.2.4"))
        );
        assert_eq!((of_ldd(""), of_ldd("sh: ldd: not found")), (None, None));
    }

    #[test]
    fn this_machine_says_which_libc_it_has() {
        if cfg!(target_env = "gnu") {
            let found = library().unwrap();
            assert!(found.name == GLIBC && number(&found.version).unwrap() >= (2, 0), "{found}");
            assert_eq!(of_ldd(&said_by("ldd", "--version")), Some(found));
        }
    }
}
