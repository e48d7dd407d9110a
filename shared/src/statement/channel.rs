//! The channel pointer: which release a channel names now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Document;
use crate::digest::Digest;
use crate::id::{AppName, ChannelName, Target, Version};

/// `<app>/channels/<channel>.json`: replaced by compare-and-swap, each time with a higher serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Always "channel".
    #[serde(rename = "type")]
    pub kind: ChannelType,
    /// Form of this document; see [`super::FORMAT`].
    pub format: u32,
    /// The app.
    pub app: AppName,
    /// The channel.
    pub channel: ChannelName,
    /// Rises only when the trust file is replaced after a fast-forward attack.
    pub epoch: u64,
    /// Rises with every change of the pointer; nodes refuse to go back.
    pub serial: u64,
    /// The release it names.
    pub version: Version,
    /// SHA-256 of the signed statement file (`release.json`, all of it) per target.
    pub statements: BTreeMap<Target, Digest>,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it should have been signed again; never stops what runs.
    pub not_after: Timestamp,
    /// Why it was moved; may be empty.
    pub reason: String,
    /// Who moved it.
    pub who: String,
}

impl Document for Channel {
    const NAMESPACE: &'static str = "channel@pannier";
    const NAME: &'static str = "channel pointer";
    const LIMIT: u64 = 16 * 1024;
}

/// The one value of a channel pointer's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelType {
    /// "channel".
    Channel,
}
