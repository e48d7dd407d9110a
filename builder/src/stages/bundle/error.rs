//! Why an interpreter is not packed, and what to type about it.

use std::path::PathBuf;

use pannier_shared::id::Target;
use pannier_shared::sys::{fs, process};

use super::locate::{Prefix, uv_platform};
use crate::stages::elf;

/// How many of the things that hold an interpreter in its place are told.
const TOLD: usize = 5;

/// The version to install where none is asked for.
const NEWEST: &str = "3.13";

/// An interpreter that cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A file of it cannot be read as what it is.
    #[error(transparent)]
    Elf(#[from] elf::Error),
    /// Its library cannot be walked.
    #[error("failed to walk the interpreter's library")]
    Walk(#[from] walkdir::Error),
    /// Nothing is there.
    #[error("there is no interpreter at `{}`", .0.display())]
    Missing(PathBuf),
    /// No version was installed by uv.
    #[error("there is no Python{} to pack in `{}`", .wanted.as_ref().map(|wanted| format!(" {wanted}")).unwrap_or_default(), .folder.display())]
    NoneInstalled {
        /// The version that was asked for.
        wanted: Option<String>,
        /// What it should be for.
        target: Target,
        /// Where uv keeps interpreters.
        folder: PathBuf,
    },
    /// It is an environment on top of another one.
    #[error("`{}` is a virtual environment, not an interpreter: it has a `pyvenv.cfg`", .0.display())]
    Environment(PathBuf),
    /// It lacks what makes an interpreter.
    #[error("`{}` is not an interpreter's folder: it has no `{missing}`", .folder.display())]
    NoPrefix {
        /// The folder.
        folder: PathBuf,
        /// What is not there.
        missing: String,
    },
    /// It is a version that does not work when moved, or that was not tried.
    #[error("the interpreter in `{}` is Python {}: {}", .0.root.display(), .0.python, why_not(&.0.python))]
    Version(Box<Prefix>),
    /// It is for another machine or C library.
    #[error("the interpreter in `{}` does not run on this machine: `{program}` is for {found}, this is {here}", .prefix.root.display())]
    Foreign {
        /// Which.
        prefix: Box<Prefix>,
        /// Its program.
        program: String,
        /// What it is for.
        found: String,
        /// What this machine is.
        here: String,
    },
    /// It is for another kind of machine than the release.
    #[error("the interpreter in `{}` is not for {target}: `{program}` is for {found}", .prefix.root.display())]
    NotForTarget {
        /// Which.
        prefix: Box<Prefix>,
        /// Its program.
        program: String,
        /// What it is for.
        found: String,
        /// What the release is for.
        target: Target,
    },
    /// Extensions for it have another name than those of the release.
    #[error("the interpreter in `{}` has the ABI `{found}`, and the release's extensions are for `{wanted}`", .prefix.root.display())]
    AnotherAbi {
        /// Which.
        prefix: Box<Prefix>,
        /// Its ABI.
        found: String,
        /// The release's.
        wanted: String,
    },
    /// It works only where it lies.
    #[error("the interpreter in `{}` is not relocatable: {}", .prefix.root.display(), some(.found))]
    Fixed {
        /// Which.
        prefix: Box<Prefix>,
        /// Which file names which path, all of them.
        found: Vec<String>,
    },
    /// It lacks a part of the standard library that every site needs.
    #[error("the interpreter in `{}` has no `{}`, which every Django site needs", .prefix.root.display(), .modules.join("`, no `"))]
    Lacks {
        /// Which.
        prefix: Box<Prefix>,
        /// The modules.
        modules: Vec<String>,
    },
    /// It lacks a part that this site needs.
    #[error("the site needs `{module}`, which the interpreter in `{}` has not", .prefix.root.display())]
    Needed {
        /// Which.
        prefix: Box<Prefix>,
        /// The module.
        module: &'static str,
    },
    /// It cannot say which modules it has.
    #[error("the interpreter in `{}` cannot be asked for its modules", .prefix.root.display())]
    Silent {
        /// Which.
        prefix: Box<Prefix>,
        /// Why.
        source: process::Error,
    },
}

fn why_not(version: &str) -> &'static str {
    if version == "3.10" {
        "moved, it reports a wrong base prefix; releases are built for 3.11 to 3.14"
    } else {
        "releases are built for 3.11 to 3.14"
    }
}

/// What uv installs an interpreter by: the version alone where it is for this machine.
fn uv_name(version: &str, target: &Target) -> String {
    if *target == Target::host() { version.to_owned() } else { format!("cpython-{version}-{}", uv_platform(target)) }
}

fn some(found: &[String]) -> String {
    let shown = found[..found.len().min(TOLD)].join("; ");
    if found.len() > TOLD { format!("{shown}; and {} more", found.len() - TOLD) } else { shown }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        let install = |version: &str| {
            format!("take one that can be moved: `uv python install {version}`, then `python = \"bundled:{version}\"`")
        };
        Some(match self {
            Self::NoneInstalled { wanted, target, .. } => format!(
                "install it: `uv python install {}`, or name a folder: `python = \"bundled:/opt/python\"`",
                uv_name(wanted.as_deref().unwrap_or(NEWEST), target)
            ),
            Self::Missing(_) | Self::NoPrefix { .. } | Self::Environment(_) => {
                "name the folder that holds `bin/python3` and `lib/python3.X`: `python = \"bundled:/opt/python\"`"
                    .to_owned()
            }
            Self::Version(_) => install(NEWEST),
            Self::Fixed { prefix, .. } | Self::Lacks { prefix, .. } | Self::Needed { prefix, .. } => {
                install(&prefix.python)
            }
            Self::Foreign { prefix, .. } => format!("build on such a machine, or {}", install(&prefix.python)),
            Self::NotForTarget { prefix, target, .. } => format!(
                "name the folder of one that is: `uv python install {}`, then `python = \"bundled:{}\"`",
                uv_name(&prefix.python, target),
                prefix.python
            ),
            Self::AnotherAbi { .. } => {
                "name the folder of a plain build, without debugging and with the global lock".to_owned()
            }
            Self::Fs(_) | Self::Elf(_) | Self::Walk(_) | Self::Silent { .. } => return None,
        })
    }
}
