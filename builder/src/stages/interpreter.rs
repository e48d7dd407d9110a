//! Interpreter: which Python the release is built for, and what must match on the node.
//!
//! `python` names it in one of two ways ([`Choice`]): the node's own, known here by a like one, or one that the release
//! brings. What was named may be a shim (pyenv) or a virtual environment's link, so it is asked what it is, and the real
//! program behind it is what the build uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id::{self, Target};
use pannier_shared::sys::process;
use serde::Deserialize;

use crate::environment::Ambient;

/// The feature versions a release can be built for. 3.10 and before give a wrong base prefix in a venv without `home`;
/// a version after the last was not tried.
pub const SUPPORTED: std::ops::RangeInclusive<u32> = 11..=14;

/// An interpreter answers in well under a second; a cold shim on a slow disk takes longer.
const LIMIT: Duration = Duration::from_secs(60);

const PROBE: &str = include_str!("../python/interpreter.py");

/// Whose interpreter runs the release, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The node's. The build uses one like it: a path, a command or a version; else `python3`.
    System(Option<String>),
    /// The release's: the one in a folder, or of a version that uv installed; else the newest of those.
    Bundled(Option<String>),
}

impl Choice {
    /// Reads the setting: "bundled", "bundled:3.12", "system:/opt/python3.12/bin/python3"; without the first word it is
    /// the system's.
    pub fn of(setting: Option<&str>) -> Self {
        let (origin, which) = setting.map_or(("", None), |text| match text.split_once(':') {
            Some((origin @ ("bundled" | "system"), which)) => {
                (origin, Some(which.to_owned()).filter(|w| !w.is_empty()))
            }
            None if text == "bundled" || text == "system" => (text, None),
            _ => ("", Some(text.to_owned())),
        });
        if origin == "bundled" { Self::Bundled(which) } else { Self::System(which) }
    }
}

/// A Python that was asked what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The real program, absolute.
    pub executable: PathBuf,
    /// Its feature version, "3.11".
    pub python: String,
    /// Its full version, "3.11.7".
    pub version: String,
    /// Its extension ABI, `SOABI`.
    pub abi: String,
    /// What its byte code is called, "cpython-311".
    pub cache_tag: String,
    /// The machine kind it runs on.
    pub target: Target,
    /// The glibc it was started with, "2.36"; `None` with another libc.
    pub glibc: Option<String>,
}

/// An interpreter that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It does not run.
    #[error("the interpreter `{name}` cannot be asked what it is")]
    Silent {
        /// As it was named.
        name: String,
        /// Why.
        source: process::Error,
    },
    /// It answered something else.
    #[error("the interpreter `{name}` did not answer as a Python does")]
    Strange {
        /// As it was named.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It is a version that releases cannot be built for.
    #[error("the interpreter `{name}` is Python {version}; releases are built for 3.{} to 3.{}", SUPPORTED.start(), SUPPORTED.end())]
    Version {
        /// As it was named.
        name: String,
        /// What it is.
        version: String,
    },
    /// It is not CPython on Linux.
    #[error("the interpreter `{name}` is {found}; releases are built for cpython on linux")]
    Kind {
        /// As it was named.
        name: String,
        /// What it is: "pypy on linux".
        found: String,
    },
    /// Its machine has no valid name.
    #[error("the interpreter `{name}` runs on a machine that has no target name")]
    Machine {
        /// As it was named.
        name: String,
        /// Why.
        source: id::BadName,
    },
}

/// The one implementation that releases are built for.
pub const IMPLEMENTATION: &str = "cpython";

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        matches!(self, Self::Silent { .. } | Self::Version { .. } | Self::Kind { .. }).then(|| {
            "name another one with `--python` or `python = \"...\"` in pannier.toml: a path, a command or a version"
                .to_owned()
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    executable: PathBuf,
    implementation: String,
    version: [u32; 3],
    abi: String,
    cache_tag: String,
    platform: String,
    machine: String,
    glibc: Option<String>,
}

/// Finds the interpreter that was asked for: a path (relative to the project), a command, or a version; else `python3`.
pub fn find(wanted: Option<&str>, project: &Path, env: &Ambient) -> Result<Interpreter, Error> {
    let name = wanted.map_or_else(|| "python3".to_owned(), command_of);
    let program = if name.contains('/') { project.join(&name) } else { PathBuf::from(&name) };
    let answer = process::run(env.local(program).args(["-c", PROBE]), LIMIT);
    let printed = answer.map_err(|source| Error::Silent { name: name.clone(), source })?;
    let answer =
        serde_json::from_slice(&printed.stdout).map_err(|source| Error::Strange { name: name.clone(), source })?;
    accept(name, answer)
}

/// "3.12" names the command `python3.12`; everything else is a command or a path.
fn command_of(wanted: &str) -> String {
    let is_version = wanted.starts_with(|c: char| c.is_ascii_digit()) && !wanted.contains('/');
    let feature = || wanted.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    if is_version { format!("python{}", feature()) } else { wanted.to_owned() }
}

fn accept(name: String, answer: Answer) -> Result<Interpreter, Error> {
    let [major, minor, micro] = answer.version;
    let version = format!("{major}.{minor}.{micro}");
    if answer.implementation != IMPLEMENTATION || answer.platform != "linux" {
        return Err(Error::Kind { name, found: format!("{} on {}", answer.implementation, answer.platform) });
    }
    if major != 3 || !SUPPORTED.contains(&minor) {
        return Err(Error::Version { name, version });
    }
    let libc = if answer.glibc.is_some() { "gnu" } else { "musl" };
    let target = format!("{}-linux-{libc}", answer.machine).parse();
    let target = target.map_err(|source| Error::Machine { name, source })?;
    let python = format!("{major}.{minor}");
    let Answer { executable, abi, cache_tag, glibc, .. } = answer;
    Ok(Interpreter { executable, python, version, abi, cache_tag, target, glibc })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ambient, told};

    fn answer(implementation: &str, version: [u32; 3]) -> Answer {
        Answer {
            executable: "/usr/bin/python3".into(),
            implementation: implementation.to_owned(),
            version,
            abi: "cpython-311-x86_64-linux-gnu".to_owned(),
            cache_tag: "cpython-311".to_owned(),
            platform: "linux".to_owned(),
            machine: "x86_64".to_owned(),
            glibc: Some("2.36".to_owned()),
        }
    }

    #[test]
    fn the_real_one_is_found_behind_whatever_python3_is() {
        let found = find(None, Path::new("/"), &ambient()).unwrap();
        assert!(found.executable.is_absolute() && !found.executable.to_string_lossy().contains("shims"));
        assert!(found.version.starts_with(&found.python) && found.abi.starts_with("cpython-3"));
    }

    #[test]
    fn the_first_word_says_whose_it_is() {
        let which = |text: &str| Some(text.to_owned());
        for (setting, choice) in [
            ("bundled", Choice::Bundled(None)),
            ("bundled:3.12", Choice::Bundled(which("3.12"))),
            ("bundled:/opt/a:b", Choice::Bundled(which("/opt/a:b"))),
            ("system", Choice::System(None)),
            ("system:3.12", Choice::System(which("3.12"))),
            ("3.12", Choice::System(which("3.12"))),
            ("/opt/a:b/bin/python3", Choice::System(which("/opt/a:b/bin/python3"))),
        ] {
            assert_eq!(Choice::of(Some(setting)), choice, "{setting}");
        }
        assert_eq!(Choice::of(None), Choice::System(None));
    }

    #[test]
    fn a_version_names_a_command() {
        assert_eq!(command_of("3.12"), "python3.12");
        assert_eq!(command_of("3.12.1"), "python3.12");
        assert_eq!(command_of("python3"), "python3");
        assert_eq!(command_of("/opt/3.12/bin/python3"), "/opt/3.12/bin/python3");
    }

    #[test]
    fn others_are_refused_by_name() {
        let error = accept("python3".to_owned(), answer("cpython", [3, 10, 13])).unwrap_err();
        insta::assert_snapshot!(told(&error), @"the interpreter `python3` is Python 3.10.13; releases are built for 3.11 to 3.14");
        assert!(accept("p".to_owned(), answer("cpython", [3, 15, 0])).is_err());
        let error = accept("pypy3".to_owned(), answer("pypy", [3, 11, 0])).unwrap_err();
        insta::assert_snapshot!(told(&error), @"the interpreter `pypy3` is pypy on linux; releases are built for cpython on linux");
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = find(Some("python3.99"), Path::new("/"), &ambient()).unwrap_err();
        insta::assert_snapshot!(told(&error), @r#"
        the interpreter `python3.99` cannot be asked what it is
        caused by: failed to start `python3.99 -c`
        caused by: No such file or directory (os error 2)
        "#);
    }
}
