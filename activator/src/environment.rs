//! The app's variables, one file for each activation, so that a rollback takes back the configuration with the code.
//!
//! `env_file` belongs to a person and changes when they change it. Each activation copies it to `.pannier/env/<id>` (mode
//! 0600, in a folder only its owner may enter) before anything else runs, and everything that runs gets the copy. The state
//! names the copy beside the release ([`State::env_of`]): it moves, goes back and survives a crash together with `live`.
//! Going back to a release takes the copy that it was healthy with.
//!
//! The values are secrets. They are in these copies, in the processes, and nowhere else: what an app prints and we pass on
//! goes through [`Secrets::hide`].

use std::path::{Path, PathBuf};

use pannier_shared::id::Version;
use pannier_shared::sys::fs;
use serde::{Deserialize, Serialize};

use crate::config::App;
use crate::layout::Root;
use crate::state::State;
use crate::steps::restart::{self, variables_of};

/// The most bytes of an environment file.
const LIMIT: u64 = 1 << 20;

/// Shorter values are seldom secrets, and hiding `1` or `true` would make a log unreadable.
const SHORTEST: usize = 6;

/// The name of a kept copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EnvId(String);

impl EnvId {
    /// Where the copy lies.
    pub fn path(&self, root: &Root) -> PathBuf {
        root.envs().join(&self.0)
    }
}

/// Copies the environment file, after a look whether it can be used.
pub fn keep(root: &Root, file: &Path) -> Result<EnvId, restart::Error> {
    variables_of(file)?;
    let folder = root.envs();
    if !fs::exists(&folder) {
        fs::create_dir(&folder)?;
        fs::set_mode(&folder, 0o700)?;
        fs::sync_dir(&root.own())?;
    }
    let id = EnvId(fs::random_name());
    fs::write_new_durably(&id.path(root), &fs::read(file, LIMIT)?, 0o600)?;
    Ok(id)
}

/// Removes the copies that the state on the disk does not name: of releases that are gone, and of activations that were
/// taken back.
pub fn tidy(root: &Root, state: &State) -> fs::Result<()> {
    for name in fs::if_there(fs::list(&root.envs()))?.unwrap_or_default() {
        if !state.envs().any(|id| name == id.0.as_str()) {
            fs::remove_file(&root.envs().join(name))?;
        }
    }
    Ok(())
}

/// The file that a release's commands and processes get: its copy, else the configured one.
pub fn file_of(root: &Root, state: &State, config: &App, version: &Version) -> Option<PathBuf> {
    let kept = state.env_of(version).map(|id| id.path(root));
    kept.filter(|path| fs::exists(path)).or_else(|| config.env_file.clone())
}

/// Values that must not be shown.
#[derive(Clone, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Those of the file that a release gets. A file that cannot be read has none to show.
    pub fn of(file: Option<&Path>) -> Self {
        let variables = file.and_then(|file| variables_of(file).ok()).unwrap_or_default();
        let password = |(name, value): &(String, String)| {
            let url: reqwest::Url = value.parse().ok()?;
            Some((name.clone(), url.password()?.to_owned()))
        };
        let passwords: Vec<_> = variables.iter().filter_map(password).collect();
        let mut all: Vec<_> =
            variables.into_iter().chain(passwords).filter(|(_, value)| value.len() >= SHORTEST).collect();
        // A value may hold another one.
        all.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        Self(all)
    }

    /// The text with the name of its variable in the place of each value.
    pub fn hide(&self, text: String) -> String {
        self.0.iter().fold(text, |text, (name, value)| text.replace(value, &format!("[{name}]")))
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write environment files by hand")]

    use super::*;

    #[test]
    fn values_and_the_passwords_in_them_are_hidden_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        std::fs::write(&file, "SECRET_KEY=abcdef\nDEBUG=1\nDATABASE=postgres://me:hunter22@db/x\nLONG=abcdef-more\n")
            .unwrap();
        let secrets = Secrets::of(Some(&file));
        let text = "key abcdef-more, abcdef, 1, postgres://me:hunter22@db/x and hunter22";
        assert_eq!(secrets.hide(text.to_owned()), "key [LONG], [SECRET_KEY], 1, [DATABASE] and [DATABASE]");
        assert_eq!(format!("{secrets:?}"), r#"["DATABASE", "LONG", "DATABASE", "SECRET_KEY"]"#);
        assert_eq!(Secrets::of(None).hide("x".to_owned()), "x");
    }
}
