//! What is to be done with each release: what the record wants, and what is true on the machine.

use std::fmt;

use pannier_shared::id::Version;
use pannier_shared::sys::in_use::{self, InUse, Use};
use pannier_shared::sys::{fs, lock};
use serde::Serialize;

use super::choose::{Keep, Unseen, Wanted, choose};
use super::size::{Size, freed};
use crate::layout::Root;
use crate::state::State;

/// Why a release stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Stay {
    /// It serves.
    Serves,
    /// It is one of the last healthy ones.
    LastHealthy,
    /// It is one of the last that failed.
    LastFailed,
    /// It is one of the last that were prepared.
    LastPrepared,
    /// `current` resolves to it.
    Current,
    /// Something uses it.
    InUse {
        /// Who: "gunicorn (4711)".
        by: String,
        /// How.
        how: &'static str,
        /// What, below the release.
        path: String,
    },
    /// Somebody holds a lock on its folder.
    Leased,
    /// Processes that cannot be looked at may use it.
    Unseen {
        /// How many.
        count: usize,
        /// One of them.
        such_as: String,
    },
}

impl Stay {
    /// It is used like this.
    pub fn used(found: &Use) -> Self {
        let path: std::path::PathBuf = found.path.components().skip(1).collect();
        let path = if path.as_os_str().is_empty() { ".".to_owned() } else { path.to_string_lossy().into_owned() };
        Stay::InUse { by: found.who.clone(), how: found.how, path }
    }
}

impl From<Wanted> for Stay {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Serves => Stay::Serves,
            Wanted::LastHealthy => Stay::LastHealthy,
            Wanted::LastFailed => Stay::LastFailed,
            Wanted::LastPrepared => Stay::LastPrepared,
        }
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stay::Serves => f.write_str("it serves"),
            Stay::LastHealthy => f.write_str("it is one of the last healthy ones"),
            Stay::LastFailed => f.write_str("it is one of the last that failed"),
            Stay::LastPrepared => f.write_str("it is one of the last that were prepared"),
            Stay::Current => f.write_str("`current` leads to it"),
            Stay::InUse { by, how, path } => write!(f, "{by} {how} (`{path}`)"),
            Stay::Leased => f.write_str("somebody holds a lock on its folder"),
            Stay::Unseen { count: 1, such_as } => {
                write!(f, "{such_as} may use it, and cannot be looked at (see `unseen` in the configuration)")
            }
            Stay::Unseen { count, such_as } => {
                write!(
                    f,
                    "{count} processes such as {such_as} may use it, and cannot be looked at (see `unseen` in the configuration)"
                )
            }
        }
    }
}

/// What is to become of a release, or became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It stays.
    Stays(Stay),
    /// It goes, which frees this.
    Goes(Size),
    /// It is gone, which freed this.
    Removed(Size),
}

impl Verdict {
    /// Whether it is to be removed.
    pub fn goes(&self) -> bool {
        matches!(self, Verdict::Goes(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Stays(stay) => write!(f, "stays: {stay}"),
            Verdict::Goes(size) => write!(f, "would be removed: {size}"),
            Verdict::Removed(size) => write!(f, "removed: {size}"),
        }
    }
}

/// One release, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The release.
    pub version: Version,
    /// What becomes of it.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Decides for every release that the record knows; those that go come in the order in which they are missed least. The
/// machine is only looked at where there is something to remove.
pub fn decide(root: &Root, state: &State, keep: Keep) -> fs::Result<Vec<Decision>> {
    let chosen = choose(state, keep);
    let used = match chosen.iter().any(|(_, wanted)| wanted.is_none()) {
        true => in_use::below(&root.releases())?,
        false => InUse::default(),
    };
    let verdict = |version: &Version, wanted: Option<Wanted>| match wanted {
        Some(wanted) => Ok(Verdict::Stays(wanted.into())),
        None => may_go(root, version, &used, keep.unseen),
    };
    let decide = |(version, wanted)| Ok(Decision { verdict: verdict(&version, wanted)?, version });
    chosen.into_iter().map(decide).collect()
}

/// What could be removed besides, by a person who says so: releases that neither serve nor are used.
pub fn others(root: &Root, state: &State) -> fs::Result<Vec<Decision>> {
    let used = in_use::below(&root.releases())?;
    let decide = |version: &Version| {
        Ok(Decision { verdict: may_go(root, version, &used, Unseen::UseNothing)?, version: version.clone() })
    };
    let mut decisions: Vec<Decision> =
        state.releases().map(|(version, _)| decide(version)).collect::<fs::Result<_>>()?;
    decisions.retain(|decision| decision.verdict.goes() && state.live_version() != Some(&decision.version));
    Ok(decisions)
}

/// Whether the machine lets a release go.
fn may_go(root: &Root, version: &Version, used: &InUse, unseen: Unseen) -> fs::Result<Verdict> {
    let place = root.release(version);
    let stay = if root.is_current(version) {
        Some(Stay::Current)
    } else if let Some(found) = used.of(version.as_str().as_ref()) {
        Some(Stay::used(found))
    } else if lock::try_folder(&place)?.is_none() {
        Some(Stay::Leased)
    } else {
        let first = used.unseen.first().filter(|_| unseen == Unseen::MayUse);
        first.map(|first| Stay::Unseen { count: used.unseen.len(), such_as: first.clone() })
    };
    match stay {
        Some(stay) => Ok(Verdict::Stays(stay)),
        None => Ok(Verdict::Goes(freed([place.as_path()])?)),
    }
}
