//! uv.lock: uv itself checks that it fits the project and turns it into a pylock.toml, which [`super::pylock`] reads.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use pannier_shared::sys::{fs, process};
use serde::Deserialize;

use crate::settings::Installer;

use super::{Ask, Error, Required, index, pylock, toml_of};

/// The form of uv.lock that the pinned uv reads; revisions within it may add keys.
const VERSION: i64 = 1;

/// The command that writes the lock.
const LOCK: &str = "uv lock";

/// uv reads local files, and builds what the project holds to know its dependencies.
const LIMIT: Duration = Duration::from_secs(600);

/// Variables that name indexes. A lock that was made without them is stale to a uv that sees them.
const INDEXES: &[&str] = &["UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"];

#[derive(Deserialize)]
struct Head {
    version: i64,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    wheels: Vec<toml::Table>,
    sdist: Option<toml::Table>,
}

/// Reads the lock.
pub(super) fn read(ask: &Ask<'_>) -> Result<Required, Error> {
    let head: Head = toml_of(&ask.text()?, ask.file)?;
    if ask.tools.installer == Installer::Pip {
        return Err(Error::NeedsUv { file: ask.file.to_owned() });
    }
    if head.version != VERSION {
        let found = head.version.to_string();
        return Err(Error::LockVersion { file: ask.file.to_owned(), found, known: "1", command: LOCK });
    }
    fits_project(ask)?;
    let base = root(ask);
    let printed =
        process::run(&mut export(ask), LIMIT).map_err(|source| Error::Export { file: ask.file.to_owned(), source })?;
    let text = String::from_utf8_lossy(&printed.stdout);
    let mut required = pylock::of_text(&text, &base, ask)?;
    required.indexes.extend(index::of_uv(ask)?);
    required.notes.extend(head.unhashed(ask.file));
    Ok(required)
}

impl Head {
    /// uv writes no hashes of files in a folder of links.
    fn unhashed(&self, file: &str) -> Option<String> {
        let bare =
            |package: &&Package| package.wheels.iter().chain(&package.sdist).any(|one| !one.contains_key("hash"));
        let names: Vec<&str> = self.package.iter().filter(bare).map(|package| package.name.as_str()).collect();
        (!names.is_empty()).then(|| {
            format!("`{file}` has no hashes of {}: what lies in the folder of links now is taken", names.join(", "))
        })
    }
}

/// The project to export: that of manage.py's folder where it is one of a workspace, else the lock's own.
fn root(ask: &Ask<'_>) -> PathBuf {
    let of_app = ask.project.join(ask.folder);
    if fs::exists(&of_app.join("pyproject.toml")) { of_app } else { ask.beside("").components().collect() }
}

fn uv(ask: &Ask<'_>) -> Command {
    let mut uv = ask.tools.uv();
    // Here the project's own settings count: the lock was made with them.
    uv.env_remove("UV_NO_CONFIG").current_dir(root(ask));
    uv
}

fn export(ask: &Ask<'_>) -> Command {
    let mut uv = uv(ask);
    uv.args(["export", "--quiet", "--frozen", "--no-header", "--format", "pylock.toml"]);
    uv.args(["--no-emit-project", "--no-default-groups", "--no-editable"]);
    for extra in &ask.choice.extras {
        uv.args(["--extra", extra]);
    }
    for group in &ask.choice.groups {
        uv.args(["--group", group]);
    }
    uv.arg("--python").arg(&ask.python.executable);
    uv
}

/// Asks uv up to three times: a lock that fits needs no network as a rule; what the project builds itself may; and a lock
/// remembers whether it was made with the machine's indexes.
fn fits_project(ask: &Ask<'_>) -> Result<(), Error> {
    let mut plain = check(ask);
    INDEXES.iter().for_each(|name| {
        plain.env_remove(name);
    });
    plain.env("UV_OFFLINE", "1");
    let first = process::run(&mut plain, LIMIT);
    plain.env_remove("UV_OFFLINE");
    let mut again = [plain, check(ask)].into_iter();
    if first.is_ok() || again.any(|mut uv| process::run(&mut uv, LIMIT).is_ok()) {
        return Ok(());
    }
    let project = ask.name_beside("pyproject.toml");
    Err(Error::Stale { file: ask.file.to_owned(), project, command: LOCK, source: first.err().map(Box::new) })
}

fn check(ask: &Ask<'_>) -> Command {
    let mut uv = uv(ask);
    uv.args(["lock", "--check", "--quiet", "--python"]).arg(&ask.python.executable);
    uv
}
