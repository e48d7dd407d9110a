//! Runs a hook of a release: a command of its own, with a time limit, that is told what is going on through its environment.
//!
//! | variable | value |
//! |---|---|
//! | `PANNIER_HOOK` | the hook's name |
//! | `PANNIER_OPERATION` | `activate` or `rollback` |
//! | `PANNIER_FROM` | the version that served before; empty when none did |
//! | `PANNIER_STATE` | how the release stands now: `prepared`, `live` (and not confirmed), `healthy` or `bad` |
//! | `PANNIER_REASON` | why the activation failed; empty when it did not |
//!
//! and what every command of a release gets (see `launch`), what the app's `env_file` holds, and `HOME`, `USER` and
//! `LOGNAME` where a `user` is configured: it runs as that one. What it prints is in
//! `.pannier/journal/<operation>-<hook>.log`, for as long as the journal's end tells of the operation.

use std::path::{Path, PathBuf};

use pannier_shared::statement::{Hook, HookName};
use pannier_shared::sys::{fs, process};

use super::restart::{self, variables_of};
use crate::environment::Secrets;
use crate::identity;
use crate::journal::Journal;
use crate::launch::Place;
use crate::layout::Root;

/// So many bytes of what a hook printed last are kept.
const KEPT: u64 = 1 << 20;

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("the hook `{hook}` failed")]
pub struct Error {
    /// Which.
    pub hook: HookName,
    /// Why.
    pub source: Why,
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match &self.source {
            Why::User(error) => error.hint(),
            Why::Command(_) | Why::Env(_) | Why::Fs(_) => None,
        }
    }
}

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// Its command did.
    #[error(transparent)]
    Command(#[from] process::Error),
    /// It cannot run as the configured user.
    #[error("it cannot run as the app's user")]
    User(#[from] identity::Error),
    /// Its variables cannot be read.
    #[error(transparent)]
    Env(#[from] restart::Error),
    /// There is no place for what it prints.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// What a hook is told, and as whom it runs.
#[derive(Debug)]
pub struct Told<'a> {
    /// `activate` or `rollback`.
    pub operation: String,
    /// What served before.
    pub from: String,
    /// How the release stands.
    pub state: &'a str,
    /// Why the activation failed.
    pub reason: &'a str,
    /// The app's variables.
    pub env_file: Option<&'a Path>,
    /// The app's user; who runs this, when not given.
    pub user: Option<&'a str>,
}

/// Runs a hook to its end; another status than 0 is an error that shows the end of what it printed.
pub fn run(name: HookName, hook: &Hook, place: &Place, told: &Told, log: &Path) -> Result<(), Error> {
    ran(name, hook, place, told, log).map_err(|source| Error { hook: name, source })
}

fn ran(name: HookName, hook: &Hook, place: &Place, told: &Told, log: &Path) -> Result<(), Why> {
    let account = identity::of(told.user)?;
    let variables = told.env_file.map(variables_of).transpose()?.unwrap_or_default();
    let mut command = place.command(&place.launch(&hook.command), &variables, account.as_ref());
    command.env("PANNIER_HOOK", name.as_str()).env("PANNIER_OPERATION", &told.operation);
    command.env("PANNIER_FROM", &told.from).env("PANNIER_STATE", told.state).env("PANNIER_REASON", told.reason);
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let ran = process::run_logged_as(account.as_ref(), &mut command, hook.timeout.into(), log);
    let secrets = Secrets::of(told.env_file);
    let kept = hide(log, &secrets);
    ran.map_err(|error| error.with_output(|text| secrets.hide(text)))?;
    Ok(kept?)
}

/// Takes the secrets out of what a hook printed, and all but its end where that is much.
fn hide(log: &Path, secrets: &Secrets) -> fs::Result<()> {
    let printed = fs::if_there(fs::read_tail(log, KEPT))?.unwrap_or_default();
    let hidden = secrets.hide(String::from_utf8_lossy(&printed).into_owned());
    if hidden.as_bytes() == printed && (printed.len() as u64) < KEPT {
        return Ok(());
    }
    fs::write(log, hidden.as_bytes())
}

/// Where a hook of an operation prints to.
pub fn log(root: &Root, operation: &str, hook: HookName) -> PathBuf {
    root.hook_logs().join(format!("{operation}-{hook}.log"))
}

/// Removes what hooks printed in operations that the journal's end does not tell of any more.
pub fn tidy(root: &Root, journal: &Journal) -> fs::Result<()> {
    let recent = journal.recent()?;
    let is_recent = |name: &str| name.split_once('-').is_some_and(|(id, _)| recent.iter().any(|line| line.id == id));
    for name in fs::if_there(fs::list(&root.hook_logs()))?.unwrap_or_default() {
        if !name.to_str().is_some_and(is_recent) {
            fs::remove_file(&root.hook_logs().join(name))?;
        }
    }
    Ok(())
}
