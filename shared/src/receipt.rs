//! What a node of a fleet says of itself: `fleets/<fleet>/nodes/<node>.json`.
//!
//! It is not signed, because nodes have no key: whoever may write it can delay a rollout, have it given up, or hide that a
//! node is not ready. He cannot have anything activated, since what nodes follow is the signed order alone. Only its node
//! writes it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{AppName, FleetName, NodeName, Target, Version};
use crate::statement::Rollout;

/// The form of receipts this program writes.
pub const FORMAT: u32 = 1;

/// The most bytes of one: a hundred apps with a long error each.
pub const LIMIT: u64 = 128 * 1024;

/// Of what a node says of an error: so much in one line.
pub const ERROR: usize = 600;

/// What a node says of itself. Readers accept fields that they do not know, so that newer nodes can say more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Form of this receipt; see [`FORMAT`].
    pub format: u32,
    /// The fleet.
    pub fleet: FleetName,
    /// The node.
    pub node: NodeName,
    /// Which process wrote it: another text means that two nodes have the same name.
    pub instance: String,
    /// The version of the program.
    pub agent: String,
    /// The kind of machine.
    pub target: Target,
    /// When it was written, by the node's clock.
    pub written: Timestamp,
    /// It is written again at least this often, in seconds: one that is much older is of a node that is gone.
    pub every: u32,
    /// How far the node's clock is ahead of the store's; none where the store does not say its time.
    pub clock: Option<Clock>,
    /// The order it has seen last: epoch and serial.
    pub order: Option<(u64, u64)>,
    /// What keeps it from following orders: the store, a signature.
    pub trouble: Option<String>,
    /// How far it has come with the rollout it has seen last.
    pub progress: Option<Progress>,
    /// What serves, by app.
    pub apps: BTreeMap<AppName, Serving>,
}

/// A receipt that is older than so many heartbeats is of a node that is gone.
const HEARTBEATS: i64 = 3;

impl Receipt {
    /// True when it is so old that its node must be gone, or away from the store.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        now.duration_since(self.written).as_secs() > i64::from(self.every) * HEARTBEATS
    }
}

/// How far a clock is ahead of the store's, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The middle of what is possible; below zero when the node's is behind.
    pub ahead_ms: i64,
    /// At most so much off that.
    pub within_ms: i64,
}

/// How far a node has come with a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which rollout: the serial it began with.
    pub id: u64,
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// How far.
    pub stage: Stage,
    /// The digest of the statement that is prepared; none before.
    pub statement: Option<Digest>,
    /// Since when it is at this stage.
    pub since: Timestamp,
    /// Whether it was armed: only then what serves is this rollout's doing.
    pub tried: bool,
    /// What served before it was armed.
    pub before: Option<Version>,
    /// The instant at which `current` came to lead to the release, by the node's clock and to a tick of its kernel (1 to
    /// 10 ms).
    pub switched: Option<Timestamp>,
    /// Bytes that came from the store for it.
    pub bytes: u64,
    /// Migrations that were applied here for it.
    pub migrated: u32,
    /// Whether something was left that could not be undone: a person is needed.
    pub stuck: bool,
    /// Why it failed, in one line.
    pub error: Option<String>,
    /// What to type about it, on the node.
    pub hint: Option<String>,
}

impl Progress {
    /// Nothing was done yet.
    pub fn of(order: &Rollout, now: Timestamp) -> Self {
        Self {
            id: order.id,
            app: order.app.clone(),
            version: order.version.clone(),
            stage: Stage::Preparing,
            statement: None,
            since: now,
            tried: false,
            before: None,
            switched: None,
            bytes: 0,
            migrated: 0,
            stuck: false,
            error: None,
            hint: None,
        }
    }
}

/// How far a node has come, in the order in which it comes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is fetching, verifying, unpacking.
    Preparing,
    /// The release is complete on its disk.
    Prepared,
    /// It has applied the migrations.
    Migrated,
    /// All that can refuse has not: it waits for the instant.
    Armed,
    /// `current` leads to the release.
    Switched,
    /// It serves, and passed its check.
    Healthy,
    /// It went back to what it served before, or had never left it.
    Back,
    /// Something failed.
    Failed,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "preparing",
            Self::Prepared => "prepared",
            Self::Migrated => "migrated",
            Self::Armed => "armed",
            Self::Switched => "switched",
            Self::Healthy => "healthy",
            Self::Back => "back",
            Self::Failed => "failed",
        })
    }
}

/// What serves of an app on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The release that its record says serves.
    pub live: Option<Version>,
    /// The digest of that release's statement.
    pub statement: Option<Digest>,
    /// The release that `current` leads to.
    pub current: Option<Version>,
    /// All of it in one word, as `status` says it.
    pub verdict: String,
    /// What was wrong when it was asked last whether it is healthy; none where nothing was, or nothing is configured.
    pub unhealthy: Option<String>,
    /// Where a rollback would go.
    pub previous: Option<Version>,
    /// What is complete on its disk, newest first.
    pub prepared: Vec<Version>,
    /// The last rollout whose decision it has followed; see the order's `decided`.
    pub followed: Option<u64>,
    /// Why it does not serve what was decided, in one line.
    pub error: Option<String>,
}
