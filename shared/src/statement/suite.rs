//! The suite: which apps a node of a role runs, and what a bare node must be told of each.
//!
//! What an app needs to know of its node (root, user, how it is started, where it listens) stands in no release and is no
//! secret. It is kept here under the keys of the node's own configuration (`[apps.NAME]` of `activator.toml`), so that what
//! a node writes down of it is read by the one parser that reads that file. Secrets are named by the path of their file
//! only (`env_file`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Document;
use crate::id::{AppName, ChannelName, ProcessName, RoleName, SuiteName, Version};

/// `suites/<suite>.json`: replaced by compare-and-swap, each time with a higher serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Always "suite".
    #[serde(rename = "type")]
    pub kind: SuiteType,
    /// Form of this document; see [`super::FORMAT`].
    pub format: u32,
    /// The suite.
    pub suite: SuiteName,
    /// Rises only when the trust file is replaced after a fast-forward attack.
    pub epoch: u64,
    /// Rises with every change; nodes refuse to go back.
    pub serial: u64,
    /// What a node of each role runs.
    pub roles: BTreeMap<RoleName, Role>,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it should have been signed again; never stops a recovery.
    pub not_after: Timestamp,
    /// Why it was changed; may be empty.
    pub reason: String,
    /// Who changed it.
    pub who: String,
}

/// The apps of one role.
pub type Role = BTreeMap<AppName, Member>;

impl Document for Suite {
    const NAMESPACE: &'static str = "suite@pannier";
    const NAME: &'static str = "suite";
    /// A hundred apps of 2 KiB each.
    const LIMIT: u64 = 256 * 1024;
}

/// The one value of a suite's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuiteType {
    /// "suite".
    Suite,
}

/// One app of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Which release it runs.
    pub runs: Runs,
    /// Lower numbers are brought back first; apps of the same number by name.
    pub priority: u32,
    /// What its node must be told.
    pub node: OnNode,
}

/// Which release an app of a suite runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// The one that this channel names.
    Channel(ChannelName),
    /// This one, whatever channels say.
    Version(Version),
}

impl std::fmt::Display for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Channel(channel) => write!(f, "@{channel}"),
            Self::Version(version) => write!(f, "{version}"),
        }
    }
}

/// `[apps.NAME]` of a node's configuration, but for the channel. Values are texts as they stand there: what they mean, and
/// whether they can be, is the node's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "they are explained where the node's configuration is: `config` in the activator")]
pub struct OnNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Start>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steady: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rehash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_failed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub listen: BTreeMap<ProcessName, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrate: Option<MigrateOnNode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthOnNode>,
}

/// `restart`: the word "systemd", or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Start {
    /// "systemd".
    By(String),
    /// A command's words.
    Command(Vec<String>),
}

/// `[apps.NAME.migrate]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "see `OnNode`")]
pub struct MigrateOnNode {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
}

/// `[apps.NAME.health]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "see `OnNode`")]
pub struct HealthOnNode {
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successes: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// The apps of a role in the order in which they are brought back.
pub fn in_order(role: &Role) -> Vec<(&AppName, &Member)> {
    let mut members: Vec<_> = role.iter().collect();
    members.sort_by_key(|(_, member)| member.priority);
    members
}
