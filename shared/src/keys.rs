//! Where things lie in the store: the one place that spells keys.

use crate::id::{AppName, ChannelName, Target, Version};
use crate::store::Key;

/// The folder that holds an app's releases.
pub fn releases(app: &AppName) -> String {
    format!("{app}/releases")
}

/// The folder that holds an app's channels.
pub fn channels(app: &AppName) -> String {
    format!("{app}/channels")
}

/// The folder that holds a version's targets.
pub fn targets(app: &AppName, version: &Version) -> String {
    format!("{app}/releases/{version}")
}

/// The signed statement of a release.
pub fn statement(app: &AppName, version: &Version, target: &Target) -> Key {
    key(format!("{app}/releases/{version}/{target}/release.json"))
}

/// The archive of a release.
pub fn artifact(app: &AppName, version: &Version, target: &Target) -> Key {
    key(format!("{app}/releases/{version}/{target}/artifact.tar.zst"))
}

/// The pointer of a channel.
pub fn channel(app: &AppName, channel: &ChannelName) -> Key {
    key(format!("{app}/channels/{channel}.json"))
}

/// Names are valid components by their types, so that what is put together here is always a key.
#[allow(clippy::expect_used, reason = "the parts' types allow only what a key allows; a property test holds it")]
fn key(text: String) -> Key {
    text.parse().expect("names are valid key components")
}
