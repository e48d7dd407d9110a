//! Tools: uv, which resolves and installs, and pip, which downloads and builds.
//!
//! Two builds by the same Pannier must give the same bytes, and what is chosen without a lock can depend on uv's version. So only the pinned version is taken from PATH; otherwise it is fetched once from the package
//! index into the cache, into a virtual environment that brings a pip along. `PANNIER_UV` overrides, with a warning.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pannier_shared::digest::Digest;
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Target;
use pannier_shared::sys::{fs, process};

use super::interpreter::Interpreter;
use crate::environment::Ambient;
use crate::settings::Installer;

/// The uv that builds are made with.
pub const UV_VERSION: &str = "0.13.8";

/// Asking a tool for its version.
const ASK: Duration = Duration::from_secs(60);

/// Making a virtual environment and fetching 20 MB on a slow line.
const FETCH: Duration = Duration::from_secs(600);

/// How uv is to behave: plain output, and settings from variables only, so that no file of a project names an index.
const QUIET_UV: &[(&str, &str)] =
    &[("UV_NO_PROGRESS", "1"), ("NO_COLOR", "1"), ("UV_NO_CONFIG", "1"), ("UV_PYTHON_DOWNLOADS", "never")];

/// How pip is to behave.
const QUIET_PIP: &[(&str, &str)] = &[("PIP_NO_INPUT", "1"), ("PIP_DISABLE_PIP_VERSION_CHECK", "1")];

/// The programs that handle packages.
#[derive(Debug, Clone)]
pub struct Tools {
    env: Ambient,
    /// Who installs and resolves.
    pub installer: Installer,
    /// Never run where pip installs.
    uv: OsString,
    /// The Python that runs `-m pip`: the same version and ABI as the release's.
    pip: PathBuf,
    /// Where wheels built from source are kept.
    pub built: PathBuf,
}

/// Tools that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// What `PANNIER_UV` names does not run.
    #[error("`{}`, named by `PANNIER_UV`, does not run", .uv.display())]
    Configured {
        /// The program.
        uv: PathBuf,
        /// Why.
        source: process::Error,
    },
    /// The virtual environment for the tools could not be made.
    #[error("failed to make a virtual environment for uv and pip with `{}`", .python.display())]
    Venv {
        /// The interpreter.
        python: PathBuf,
        /// Why.
        source: process::Error,
    },
    /// pip installs for the machine it runs on.
    #[error("pip does not install for another kind of machine than its own, and the release is for `{0}`")]
    PipElsewhere(Target),
    /// The package index did not give uv.
    #[error("failed to fetch uv {UV_VERSION} from the package index")]
    Fetch(#[source] process::Error),
    /// There is no place for a cache.
    #[error("there is no folder for the cache: neither `HOME` nor `XDG_CACHE_HOME` is set")]
    NoCache,
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PipElsewhere(_) => Some(
                "let uv install: take `installer = \"pip\"` out of pannier.toml, or give `--installer uv`".to_owned(),
            ),
            Self::Venv { .. } => Some("on Debian and Ubuntu: `apt-get install python3-venv`".to_owned()),
            Self::Fetch(_) => Some(format!(
                "put uv {UV_VERSION} on PATH, or name it with `PANNIER_UV`; an own index is configured as for pip"
            )),
            _ => None,
        }
    }
}

/// Finds the tools, or fetches them.
pub fn find(python: &Interpreter, installer: Installer, env: &Ambient, sink: &dyn Sink) -> Result<Tools, Error> {
    let cache = env.cache().ok_or(Error::NoCache)?;
    let built = cache.join("built-wheels").join(&python.abi);
    let toolbox = cache.join("tools").join(toolbox_name(python, installer));
    let (uv, pip) = match installer {
        Installer::Uv => uv_and_pip(python, &toolbox, env, sink)?,
        Installer::Pip => (OsString::new(), pip_alone(python, &toolbox, env)?),
    };
    Ok(Tools { env: env.clone(), installer, uv, pip, built })
}

fn pip_alone(python: &Interpreter, toolbox: &Path, env: &Ambient) -> Result<PathBuf, Error> {
    if has_pip(&python.executable, env) {
        return Ok(python.executable.clone());
    }
    fetch(python, toolbox, &[], env)?;
    Ok(toolbox.join("bin/python"))
}

fn uv_and_pip(
    python: &Interpreter,
    toolbox: &Path,
    env: &Ambient,
    sink: &dyn Sink,
) -> Result<(OsString, PathBuf), Error> {
    let uv = match env.get("PANNIER_UV") {
        Some(uv) => Some(configured(Path::new(uv), env, sink)?),
        None => on_path(env).or_else(|| toolbox.parent().and_then(kept_uv)),
    };
    let pip = has_pip(&python.executable, env).then(|| python.executable.clone());
    Ok(match (uv, pip) {
        (Some(uv), Some(pip)) => (uv, pip),
        (uv, pip) => {
            fetch(python, toolbox, &[&format!("uv=={UV_VERSION}")], env)?;
            let own = || toolbox.join("bin/uv").into_os_string();
            (uv.unwrap_or_else(own), pip.unwrap_or_else(|| toolbox.join("bin/python")))
        }
    })
}

impl Tools {
    /// Where they are, for a person.
    pub fn describe(&self) -> String {
        match self.installer {
            Installer::Uv => format!("uv at `{}`, pip of `{}`", Path::new(&self.uv).display(), self.pip.display()),
            Installer::Pip => format!("pip of `{}`", self.pip.display()),
        }
    }

    /// uv, with the network and the variables that configure it.
    pub fn uv(&self) -> Command {
        let mut uv = self.env.fetching(&self.uv);
        uv.envs(QUIET_UV.iter().copied());
        uv
    }

    /// uv for work on local files: no network, and nothing of the caller's that could change the result.
    pub fn uv_offline(&self) -> Command {
        let mut uv = self.env.local(&self.uv);
        uv.envs(QUIET_UV.iter().copied()).env("UV_OFFLINE", "1");
        uv
    }

    /// pip for work on local files: no network, and no configuration at all.
    pub fn pip_offline(&self) -> Command {
        let mut pip = self.on_local_files(&self.pip);
        pip.args(["-m", "pip"]).envs(QUIET_PIP.iter().copied()).env("PIP_CONFIG_FILE", "/dev/null");
        pip
    }

    /// Another program for work on local files.
    pub fn on_local_files(&self, program: impl AsRef<OsStr>) -> Command {
        self.env.local(program)
    }

    /// True when the caller set a variable.
    pub fn is_set(&self, name: &str) -> bool {
        self.env.get(name).is_some()
    }

    /// A variable of the caller's, for what names it: `${NAME}` in an index's address.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.env.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// The Python that runs pip, for questions to it.
    pub fn python(&self) -> Command {
        self.env.local(&self.pip)
    }

    /// pip, with the network and its configuration.
    pub fn pip(&self) -> Command {
        let mut pip = self.env.fetching(&self.pip);
        pip.args(["-m", "pip"]).envs(QUIET_PIP.iter().copied());
        pip
    }
}

#[cfg(test)]
impl Tools {
    /// Tools that are never run, with an empty environment.
    pub fn none() -> Self {
        Self {
            env: Ambient::default(),
            installer: Installer::Uv,
            uv: OsString::new(),
            pip: PathBuf::new(),
            built: PathBuf::new(),
        }
    }
}

/// One toolbox per uv version and interpreter: a pip downloads for the interpreter that runs it.
fn toolbox_name(python: &Interpreter, installer: Installer) -> String {
    let whose = Digest::of(python.executable.as_os_str().as_encoded_bytes()).to_string();
    let what = if installer == Installer::Uv { format!("uv-{UV_VERSION}") } else { "pip".to_owned() };
    format!("{what}-python-{}-{}", python.version, &whose[..8])
}

fn configured(uv: &Path, env: &Ambient, sink: &dyn Sink) -> Result<OsString, Error> {
    let failed = |source| Error::Configured { uv: uv.to_owned(), source };
    let printed = process::run(env.local(uv).arg("--version"), ASK).map_err(failed)?;
    let version = version_in(&String::from_utf8_lossy(&printed.stdout)).unwrap_or_default();
    if version != UV_VERSION {
        let text =
            format!("`PANNIER_UV` is uv {version}; only builds with uv {UV_VERSION} give the same bytes everywhere");
        sink.emit(Event::Warning { text });
    }
    Ok(uv.as_os_str().to_owned())
}

fn on_path(env: &Ambient) -> Option<OsString> {
    let printed = process::run(env.local("uv").arg("--version"), ASK).ok()?;
    let version = version_in(&String::from_utf8_lossy(&printed.stdout))?;
    (version == UV_VERSION).then(|| OsString::from("uv"))
}

/// The version in "uv 0.13.8 (abc 2026-01-01)".
fn version_in(printed: &str) -> Option<String> {
    printed.strip_prefix("uv ")?.split_whitespace().next().map(str::to_owned)
}

/// uv from the toolbox of any interpreter: it is a program by itself, and each toolbox is whole and has this version.
fn kept_uv(tools: &Path) -> Option<OsString> {
    let names = fs::list(tools).ok()?.into_iter();
    let boxes = names.filter(|name| name.to_string_lossy().starts_with(&format!("uv-{UV_VERSION}-python-")));
    let programs = boxes.map(|name| tools.join(name).join("bin/uv"));
    programs.into_iter().find(|uv| fs::exists(uv)).map(PathBuf::into_os_string)
}

fn has_pip(python: &Path, env: &Ambient) -> bool {
    process::run(env.local(python).args(["-m", "pip", "--version"]), ASK).is_ok()
}

/// Makes the toolbox under a temporary name and renames it, so that it is there whole or not at all. Nothing in it
/// that is used (`bin/uv`, `bin/python -m pip`) knows its own path.
fn fetch(python: &Interpreter, toolbox: &Path, packages: &[&str], env: &Ambient) -> Result<(), Error> {
    if fs::exists(toolbox) {
        return Ok(());
    }
    let making = toolbox.with_file_name(format!(".making-{}", fs::random_name()));
    fs::create_dir_all(&making)?;
    let made = fill(python, &making, packages, env).and_then(|()| match fs::rename(&making, toolbox) {
        // Another build was faster; its toolbox is as good.
        Err(_) if fs::exists(toolbox) => Ok(()),
        renamed => Ok(renamed?),
    });
    fs::remove_tree(&making)?;
    made
}

fn fill(python: &Interpreter, toolbox: &Path, packages: &[&str], env: &Ambient) -> Result<(), Error> {
    let venv = process::run(env.local(&python.executable).args(["-m", "venv"]).arg(toolbox), FETCH);
    venv.map_err(|source| Error::Venv { python: python.executable.clone(), source })?;
    if packages.is_empty() {
        return Ok(());
    }
    let mut pip = env.fetching(toolbox.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"]).args(packages);
    process::run(&mut pip, FETCH).map_err(Error::Fetch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_uv_prints() {
        assert_eq!(version_in("uv 0.13.8 (x86_64-unknown-linux-gnu)\n").as_deref(), Some("0.13.8"));
        assert_eq!(version_in("uvx 1\n"), None);
    }

    #[test]
    fn uv_of_another_interpreters_toolbox_is_taken_and_of_another_version_is_not() {
        let tools = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let uv = tools.path().join(name).join("bin/uv");
            fs::create_dir_all(uv.parent().unwrap()).unwrap();
            fs::write(&uv, b"").unwrap();
            uv.into_os_string()
        };
        put("uv-0.0.1-python-3.11.7-01234567");
        put(".making-0123456789abcdef");
        assert_eq!(kept_uv(tools.path()), None);
        let uv = put(&format!("uv-{UV_VERSION}-python-3.12.1-01234567"));
        assert_eq!(kept_uv(tools.path()), Some(uv));
    }
}
