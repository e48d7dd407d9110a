//! The releases of an app: those on this node, or those in the store.

use jiff::Timestamp;
use pannier_shared::id::Version;
use pannier_shared::report::human;
use serde::Serialize;

use crate::node::View;
use crate::state::Standing;

/// One release on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Here {
    /// The release.
    pub version: Version,
    /// How it stands.
    pub standing: Standing,
    /// Whether it serves.
    pub live: bool,
    /// Whether a rollback would go to it.
    pub previous: bool,
    /// Bytes of its files.
    pub unpacked: u64,
    /// When it was prepared here.
    pub prepared: Timestamp,
    /// Why it is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The releases on this node, the newest here first.
pub fn here(view: &View) -> Vec<Here> {
    let state = &view.state;
    let mut releases: Vec<Here> = state
        .releases()
        .filter_map(|(version, release)| {
            Some(Here {
                version: version.clone(),
                standing: state.standing(version)?,
                live: state.live_version() == Some(version),
                previous: state.previous() == Some(version),
                unpacked: release.unpacked,
                prepared: release.prepared,
                reason: release.reason.clone(),
            })
        })
        .collect();
    releases.sort_by_key(|release| std::cmp::Reverse(release.prepared));
    releases
}

impl std::fmt::Display for Here {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match (self.live, self.previous) {
            (true, _) => "*",
            (_, true) => "<",
            _ => " ",
        };
        let size = human::bytes(self.unpacked);
        write!(
            f,
            "{mark} {:<24} {:<20} {size:>10}  {:.0}",
            self.version.as_str(),
            self.standing.to_string(),
            self.prepared
        )?;
        match &self.reason {
            Some(reason) => write!(f, "  {reason}"),
            None => Ok(()),
        }
    }
}

/// One release in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The release.
    pub version: Version,
    /// How it stands on this node; none when it is not here.
    pub here: Option<Standing>,
}

/// The releases in the store with what is known of them here.
pub fn published(versions: Vec<Version>, view: &View) -> Vec<Published> {
    let published = |version: Version| Published { here: view.state.standing(&version), version };
    versions.into_iter().map(published).collect()
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let here = self.here.map(|standing| standing.to_string()).unwrap_or_default();
        write!(f, "{}", format!("{:<24} {here}", self.version.as_str()).trim_end())
    }
}
