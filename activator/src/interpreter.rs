//! The node's own Python, for releases that bring none: found, asked what it is, and only taken when it is that exactly.
//!
//! A release's compiled modules fit one feature version and one extension ABI (`SOABI`), and its byte code one cache tag;
//! another interpreter would start and then fail at the first import. What the release's link leads to is the interpreter's own answer to where
//! it is: a shim (pyenv, asdf) or a virtual environment's python only works from where it lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::statement::Interpreter;
use pannier_shared::sys::{fs, process};
use serde::Deserialize;

use crate::steps::restart::PATH;

/// What the interpreter is asked: which it is, and where it really lies.
const QUESTION: &str = "\
import json, sys, sysconfig
print(json.dumps({
    'implementation': sys.implementation.name,
    'python': '%d.%d' % sys.version_info[:2],
    'abi': sysconfig.get_config_var('SOABI') or '',
    'cache_tag': sys.implementation.cache_tag or '',
    'where': getattr(sys, '_base_executable', None) or sys.executable,
}))
";

/// How long an answer may take: a cold disk needs seconds, a hanging shim must not hold a fetch.
const PATIENCE: Duration = Duration::from_secs(30);

/// No interpreter that fits.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The release names an interpreter that cannot be looked for.
    #[error("the release asks for Python `{0}`, which is not a version such as 3.11")]
    NotAVersion(String),
    /// None was found.
    #[error("the release runs with the node's own Python {wanted}, and there is no `python{wanted}` in {PATH}")]
    NotFound {
        /// The feature version.
        wanted: String,
    },
    /// It was found and does not answer.
    #[error("`{}` does not say what it is", .path.display())]
    Silent {
        /// The interpreter.
        path: PathBuf,
        /// Why.
        source: process::Error,
    },
    /// Its answer makes no sense.
    #[error("`{}` does not answer like a Python", .path.display())]
    NotPython {
        /// The interpreter.
        path: PathBuf,
    },
    /// It is another one.
    #[error("the release needs {expected}, but `{}` is {found}", .path.display())]
    Another {
        /// The interpreter.
        path: PathBuf,
        /// What the release needs.
        expected: String,
        /// What it is.
        found: String,
    },
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotFound { wanted } => Some(format!(
                "install it (on Debian and Ubuntu `apt install python{wanted}`), or name one by `python` in the app's configuration"
            )),
            Error::Another { .. } | Error::Silent { .. } | Error::NotPython { .. } => {
                Some("name the right one by `python` in the app's configuration".to_owned())
            }
            Error::NotAVersion(_) => None,
        }
    }
}

/// Finds the interpreter that `wanted` asks for: the configured one, or `pythonX.Y` in the system's folders. Gives
/// where it really lies.
pub fn find(wanted: &Interpreter, configured: Option<&Path>) -> Result<PathBuf, Error> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !wanted.python.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor)) {
        return Err(Error::NotAVersion(wanted.python.clone()));
    }
    let path = match configured {
        Some(path) => path.to_owned(),
        None => look_for(&wanted.python).ok_or_else(|| Error::NotFound { wanted: wanted.python.clone() })?,
    };
    let answer = ask(&path)?;
    let (expected, found) = (Kind::of(wanted), Kind::from(&answer));
    if expected == found {
        return Ok(answer.r#where);
    }
    Err(Error::Another { path, expected: expected.to_string(), found: found.to_string() })
}

/// What of an interpreter must be the same where a release is built and where it runs.
#[derive(Debug, PartialEq, Eq)]
struct Kind<'a> {
    implementation: &'a str,
    python: &'a str,
    abi: &'a str,
    cache_tag: &'a str,
}

impl<'a> Kind<'a> {
    fn of(wanted: &'a Interpreter) -> Self {
        let Interpreter { implementation, python, abi, cache_tag, .. } = wanted;
        Self { implementation, python, abi, cache_tag }
    }
}

impl<'a> From<&'a Answer> for Kind<'a> {
    fn from(answer: &'a Answer) -> Self {
        let Answer { implementation, python, abi, cache_tag, .. } = answer;
        Self { implementation, python, abi, cache_tag }
    }
}

impl std::fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { implementation, python, abi, cache_tag } = self;
        write!(f, "{implementation} {python} (extensions {abi}, byte code {cache_tag})")
    }
}

/// An interpreter's answer.
#[derive(Deserialize)]
struct Answer {
    implementation: String,
    python: String,
    abi: String,
    cache_tag: String,
    r#where: PathBuf,
}

fn look_for(python: &str) -> Option<PathBuf> {
    PATH.split(':').map(|folder| Path::new(folder).join(format!("python{python}"))).find(|path| fs::exists(path))
}

fn ask(path: &Path) -> Result<Answer, Error> {
    let mut command = process::program(path);
    command.args(["-I", "-c", QUESTION]).env("PATH", PATH);
    let answer = process::run(&mut command, PATIENCE);
    let answer = answer.map_err(|source| Error::Silent { path: path.to_owned(), source })?;
    let parsed: Option<Answer> = serde_json::from_slice(&answer.stdout).ok();
    parsed.filter(|answer| answer.r#where.is_absolute()).ok_or_else(|| Error::NotPython { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write interpreters by hand")]

    use super::*;
    use pannier_shared::statement::InterpreterOrigin;

    /// An interpreter of this version as a release names it.
    fn wanted(python: &str) -> Interpreter {
        let tag = format!("cpython-{}", python.replace('.', ""));
        Interpreter {
            origin: InterpreterOrigin::System,
            implementation: "cpython".to_owned(),
            python: python.to_owned(),
            version: format!("{python}.7"),
            abi: format!("{tag}-x86_64-linux-gnu"),
            cache_tag: tag,
            link: "venv/bin/python".to_owned(),
        }
    }

    /// A script that answers as this interpreter.
    fn answer(implementation: &str, python: &str, abi: &str, tag: &str) -> String {
        format!(
            r#"echo '{{"implementation": "{implementation}", "python": "{python}", "abi": "{abi}", "cache_tag": "{tag}", "where": "/usr/lib/real/python"}}'"#
        )
    }

    /// An interpreter that answers this. Another process writes it: what another test is just starting holds our open files
    /// for a moment, and a program that is open for writing cannot be run.
    fn fake(answer: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (text, path) = (dir.path().join("text"), dir.path().join("python"));
        std::fs::write(&text, format!("#!/bin/sh\n{answer}\n")).unwrap();
        let mut install = std::process::Command::new("install");
        assert!(install.args(["-m", "755"]).args([&text, &path]).status().unwrap().success());
        (dir, path)
    }

    fn refused(answer: &str) -> String {
        let (dir, path) = fake(answer);
        let error = find(&wanted("3.11"), Some(&path)).unwrap_err();
        error.to_string().replace(dir.path().to_str().unwrap(), "/opt")
    }

    #[test]
    fn the_right_one_says_where_it_really_lies() {
        let (_dir, path) = fake(&answer("cpython", "3.11", "cpython-311-x86_64-linux-gnu", "cpython-311"));
        assert_eq!(find(&wanted("3.11"), Some(&path)).unwrap(), Path::new("/usr/lib/real/python"));
    }

    #[test]
    fn another_version_abi_byte_code_or_implementation_is_refused() {
        let plain = "cpython-311-x86_64-linux-gnu";
        insta::assert_snapshot!(refused(&answer("cpython", "3.12", "cpython-312-x86_64-linux-gnu", "cpython-312")), @"the release needs cpython 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code cpython-311), but `/opt/python` is cpython 3.12 (extensions cpython-312-x86_64-linux-gnu, byte code cpython-312)");
        insta::assert_snapshot!(refused(&answer("cpython", "3.11", "cpython-311d-x86_64-linux-gnu", "cpython-311")), @"the release needs cpython 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code cpython-311), but `/opt/python` is cpython 3.11 (extensions cpython-311d-x86_64-linux-gnu, byte code cpython-311)");
        insta::assert_snapshot!(refused(&answer("cpython", "3.11", plain, "own-311")), @"the release needs cpython 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code cpython-311), but `/opt/python` is cpython 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code own-311)");
        insta::assert_snapshot!(refused(&answer("pypy", "3.11", plain, "pypy311")), @"the release needs cpython 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code cpython-311), but `/opt/python` is pypy 3.11 (extensions cpython-311-x86_64-linux-gnu, byte code pypy311)");
    }

    #[test]
    fn this_machines_own_answers() {
        let python =
            process::run(process::program("python3").envs(std::env::vars_os()).args(["-I", "-c", QUESTION]), PATIENCE);
        let answer: Answer = serde_json::from_slice(&python.unwrap().stdout).unwrap();
        assert!(answer.abi.starts_with(&answer.cache_tag) && answer.r#where.is_absolute());
    }

    #[test]
    fn one_that_is_none_is_refused() {
        insta::assert_snapshot!(refused("exit 1"), @"`/opt/python` does not say what it is");
        insta::assert_snapshot!(refused("echo hello"), @"`/opt/python` does not answer like a Python");
    }

    #[test]
    fn one_that_is_nowhere_is_named() {
        insta::assert_snapshot!(find(&wanted("3.99"), None).unwrap_err(), @"the release runs with the node's own Python 3.99, and there is no `python3.99` in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        insta::assert_snapshot!(find(&wanted("../3"), None).unwrap_err(), @"the release asks for Python `../3`, which is not a version such as 3.11");
    }
}
