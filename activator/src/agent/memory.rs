//! What an agent must not forget: how far orders were seen, how far it has come with the last one, which it has followed.
//!
//! It is written durably before it is acted on, so that an agent that is killed goes on where it was, and a store that
//! shows an older order is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pannier_shared::id::{AppName, FleetName};
use pannier_shared::receipt::Progress;
use pannier_shared::sys::fs;
use serde::{Deserialize, Serialize};

use crate::state::Position;

/// The form of the file this program reads and writes.
const SCHEMA: u32 = 1;

/// The most bytes of it.
const LIMIT: u64 = 1 << 20;

/// Memory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what an agent wrote, or a newer one did.
    #[error("`{}` cannot be understood", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    schema: u32,
    fleet: FleetName,
    /// The newest order seen.
    pub seen: Option<Position>,
    /// How far it has come with the last rollout.
    pub progress: Option<Progress>,
    /// The rollout whose decision was followed last, by app.
    pub followed: BTreeMap<AppName, u64>,
}

impl Memory {
    /// Of a node that has never seen an order of this fleet.
    pub fn new(fleet: &FleetName) -> Self {
        Self { schema: SCHEMA, fleet: fleet.clone(), seen: None, progress: None, followed: BTreeMap::new() }
    }

    /// Where it lies.
    pub fn file(folder: &Path, fleet: &FleetName) -> PathBuf {
        folder.join(format!("fleet-{fleet}.json"))
    }

    /// Reads it; none there is that of a new node.
    pub fn load(path: &Path, fleet: &FleetName) -> Result<Self, Error> {
        let Some(text) = fs::if_there(fs::read(path, LIMIT))? else { return Ok(Self::new(fleet)) };
        serde_json::from_slice(&text).map_err(|source| Error::Form { path: path.to_owned(), source })
    }

    /// Writes it: after `Ok` it survives a power cut.
    pub fn save(&self, path: &Path) -> fs::Result<()> {
        // Plain fields and text keys always have a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        fs::write_durably(path, &text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write files by hand")]

    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let fleet = "shop".parse().unwrap();
        let path = Memory::file(dir.path(), &fleet);
        let mut memory = Memory::load(&path, &fleet).unwrap();
        assert_eq!(memory, Memory::new(&fleet));
        memory.seen = Some(Position { epoch: 1, serial: 7 });
        memory.followed.insert("polls".parse().unwrap(), 3);
        memory.save(&path).unwrap();
        assert_eq!(Memory::load(&path, &fleet).unwrap(), memory);
        std::fs::write(&path, "{").unwrap();
        let error = Memory::load(&path, &fleet).unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(&dir.path().display().to_string(), ""), @"`/fleet-shop.json` cannot be understood");
    }
}
