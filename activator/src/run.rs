//! Runs a person's command as the app's own commands run: with the code, the variables and the user of the release that serves.
//!
//! The program takes this one's place, so that a terminal, signals and its exit status are its own. It works in the folder of
//! the release's manage.py, which keeps the release from being removed while it runs.

use std::convert::Infallible;
use std::process::Stdio;

use pannier_shared::id::{AppName, Version};
use pannier_shared::sys::process;

use crate::config::App;
use crate::described::{self, described};
use crate::environment;
use crate::identity;
use crate::launch::{BadFolder, Place};
use crate::node::{NotHere, View};
use crate::steps::restart::{self, variables_of};

/// What a program at a terminal wants to know of it.
pub const OF_TERMINAL: [&str; 5] = ["TERM", "LANG", "LC_ALL", "COLUMNS", "LINES"];

/// A command that was not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing serves.
    #[error("nothing serves of `{0}`")]
    NothingServes(AppName),
    /// The release is not on this node.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// It has no description, so that nobody knows where its manage.py lies.
    #[error("`{0}` does not say of itself how it is run: it was put there by hand")]
    NotDescribed(Version),
    /// Its description cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// Its description is wrong.
    #[error(transparent)]
    Folder(#[from] BadFolder),
    /// The app's user cannot be used.
    #[error("the app's user cannot be used")]
    User(#[from] identity::Error),
    /// The environment file cannot be used.
    #[error("the app's variables cannot be read")]
    Env(#[from] restart::Error),
    /// The program cannot be started.
    #[error(transparent)]
    Program(#[from] process::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NothingServes(app) => Some(format!("name one of `pannier-activator releases {app}` by `--release`")),
            Error::NotHere(error) => Some(error.hint()),
            Error::User(error) => error.hint(),
            Error::Env(_) => Some("see to `env_file` in the app's configuration".to_owned()),
            Error::Program(_) => {
                Some("a name is looked for in the release's `venv/bin`, then in the system's folders".to_owned())
            }
            Error::NotDescribed(_) | Error::Described(_) | Error::Folder(_) => None,
        }
    }
}

/// Runs `command` in the place of this program, with the code of `version`, or of what serves; `terminal` are variables of
/// the caller's that are passed on. It only comes back when it cannot.
pub fn run(
    view: &View,
    config: &App,
    version: Option<&Version>,
    command: &[String],
    terminal: Vec<(&str, String)>,
) -> Result<Infallible, Error> {
    let version = version.or(view.state.live_version()).ok_or_else(|| Error::NothingServes(view.app.clone()))?;
    let root = view.root.as_ref().filter(|_| view.state.release(version).is_some());
    let root = root.ok_or_else(|| NotHere::of(&view.app, version, &view.state))?;
    let description = described(&root.release(version))?.ok_or_else(|| Error::NotDescribed(version.clone()))?;
    let place = Place::new(root, version, &description)?;
    let account = identity::of(config.user.as_deref())?;
    let (word, arguments) = command.split_first().map_or(("", &[][..]), |(word, rest)| (word, rest));
    let mut variables: Vec<_> = terminal.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(file) = environment::file_of(root, &view.state, config, version) {
        variables.extend(variables_of(&file)?);
    }
    let mut command = place.command(&place.launch_words(word, arguments), &variables, account.as_ref());
    command.stdin(Stdio::inherit());
    Err(process::replace_with(account.as_ref(), &mut command).into())
}
