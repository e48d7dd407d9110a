//! The order of a fleet: which release its nodes are to serve, and how far they may go with it now.
//!
//! All state of a rollout is in this one document. Whoever has the promotion key can move it on: who began it may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Document;
use crate::digest::Digest;
use crate::id::{AppName, FleetName, NodeName, Target, Version};

/// `fleets/<fleet>/rollout.json`: replaced by compare-and-swap, each time with a higher serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// Always "rollout".
    #[serde(rename = "type")]
    pub kind: RolloutType,
    /// Form of this document; see [`super::FORMAT`].
    pub format: u32,
    /// The fleet.
    pub fleet: FleetName,
    /// Rises only when the trust file is replaced after a fast-forward attack.
    pub epoch: u64,
    /// Rises with every change of the order; nodes refuse to go back.
    pub serial: u64,
    /// The serial with which this rollout began: what tells it from others.
    pub id: u64,
    /// The app.
    pub app: AppName,
    /// The release its nodes are to serve.
    pub version: Version,
    /// SHA-256 of the signed statement file per target.
    pub statements: BTreeMap<Target, Digest>,
    /// Who switches together: one wave after the other, each node in one.
    pub waves: Vec<BTreeSet<NodeName>>,
    /// How many of the nodes must come along.
    pub policy: Policy,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// How far it has come.
    pub phase: Phase,
    /// Whose turn it is, by its place in `waves`.
    pub wave: usize,
    /// Those that this rollout goes on without, and why.
    pub out: BTreeMap<NodeName, String>,
    /// The node that applies the migrations; none where the release has none.
    pub migrator: Option<NodeName>,
    /// When the wave's nodes switch, by their clocks; none before that is decided.
    pub switch_at: Option<Timestamp>,
    /// When the rollout began.
    pub began: Timestamp,
    /// When this phase began: its deadline counts from here.
    pub since: Timestamp,
    /// When it was signed.
    pub issued: Timestamp,
    /// Why the rollout was begun; may be empty.
    pub reason: String,
    /// Who signed it.
    pub who: String,
    /// Why it went back or was given up; empty else.
    pub because: String,
    /// The releases that were decided so far, by app: what a node that comes later serves.
    pub decided: BTreeMap<AppName, Decided>,
}

/// What a fleet serves of an app since a rollout that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// The release.
    pub version: Version,
    /// SHA-256 of the signed statement file per target.
    pub statements: BTreeMap<Target, Digest>,
    /// The rollout that decided it.
    pub id: u64,
}

/// How many nodes must come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Every one.
    All,
    /// All but so many at most.
    AllBut(u32),
    /// So many at least.
    AtLeast(u32),
}

impl Policy {
    /// How many of `nodes` may stay behind.
    pub fn spares(self, nodes: usize) -> usize {
        match self {
            Self::All => 0,
            Self::AllBut(count) => nodes.min(count as usize),
            Self::AtLeast(count) => nodes.saturating_sub(count as usize),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all nodes"),
            Self::AllBut(count) => write!(f, "all nodes but {count}"),
            Self::AtLeast(count) => write!(f, "at least {count} nodes"),
        }
    }
}

/// How long each phase may take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Until all have it complete and verified on their disks.
    pub prepare: u32,
    /// Until its migrations are applied.
    pub migrate: u32,
    /// Until a wave is ready to switch at once.
    pub arm: u32,
    /// Until a wave is healthy, from the instant at which it switches; also until all have gone back.
    pub confirm: u32,
    /// Between a wave that is healthy and the next one.
    pub pause: u32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { prepare: 1800, migrate: 3600, arm: 120, confirm: 180, pause: 0 }
    }
}

/// How far a rollout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// All nodes bring the release to their disks. Nothing that serves changes.
    Prepare,
    /// One node applies the migrations, the others wait.
    Migrate,
    /// The wave's nodes do all that can refuse, and wait for the instant.
    Arm,
    /// The instant is known: the wave's nodes switch at it, and see whether they are healthy.
    Switch,
    /// A wave is healthy; the next one waits.
    Pause,
    /// It is decided: every node serves it, also one that comes later.
    Done,
    /// Every node that switched goes back to what it served before.
    Back,
    /// Given up before anything was switched.
    Aborted,
    /// All that had switched have gone back.
    RolledBack,
    /// Not all could go back: a person is needed.
    Mixed,
}

impl Phase {
    /// True when nothing more comes of the rollout.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Aborted | Self::RolledBack | Self::Mixed)
    }

    /// Its name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Migrate => "migrate",
            Self::Arm => "arm",
            Self::Switch => "switch",
            Self::Pause => "pause",
            Self::Done => "done",
            Self::Back => "back",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled-back",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Rollout {
    /// All nodes that it names.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.waves.iter().flatten()
    }

    /// Those of the wave whose turn it is that it has not gone on without.
    pub fn turn(&self) -> impl Iterator<Item = &NodeName> {
        self.waves.get(self.wave).into_iter().flatten().filter(|node| !self.out.contains_key(*node))
    }

    /// Those of all waves so far.
    pub fn so_far(&self) -> impl Iterator<Item = &NodeName> {
        let waves = self.waves.iter().take(self.wave + 1).flatten();
        waves.filter(|node| !self.out.contains_key(*node))
    }

    /// How long its phase may take, in seconds; none for one that is over.
    pub fn limit(&self) -> Option<u32> {
        let Deadlines { prepare, migrate, arm, confirm, pause } = self.deadlines;
        match self.phase {
            Phase::Prepare => Some(prepare),
            Phase::Migrate => Some(migrate),
            Phase::Arm => Some(arm),
            Phase::Switch | Phase::Back => Some(confirm),
            Phase::Pause => Some(pause),
            Phase::Done | Phase::Aborted | Phase::RolledBack | Phase::Mixed => None,
        }
    }
}

impl Document for Rollout {
    const NAMESPACE: &'static str = "rollout@pannier";
    const NAME: &'static str = "rollout order";
    /// 10,000 nodes at 60 bytes, each with a reason for being out.
    const LIMIT: u64 = 2 * 1024 * 1024;
}

/// The one value of a rollout's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RolloutType {
    /// "rollout".
    Rollout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_how_many_may_stay_behind() {
        let spares = |policy: Policy| [0, 1, 5].map(|nodes| policy.spares(nodes));
        assert_eq!(spares(Policy::All), [0, 0, 0]);
        assert_eq!(spares(Policy::AllBut(2)), [0, 1, 2]);
        assert_eq!(spares(Policy::AtLeast(3)), [0, 0, 2]);
    }

    #[test]
    fn a_phase_is_written_as_it_is_called() {
        for phase in [Phase::Prepare, Phase::Arm, Phase::RolledBack, Phase::Mixed] {
            assert_eq!(serde_json::to_string(&phase).unwrap(), format!("\"{phase}\""));
        }
    }
}
