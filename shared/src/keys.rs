//! Where things lie in the store: the one place that spells keys.

use crate::id::{AppName, ChannelName, DocumentName, FleetName, NodeName, SuiteName, Target, Version};
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

/// A document beside the archive of a release.
pub fn document(app: &AppName, version: &Version, target: &Target, name: &DocumentName) -> Key {
    key(format!("{app}/releases/{version}/{target}/{name}"))
}

/// The pointer of a channel.
pub fn channel(app: &AppName, channel: &ChannelName) -> Key {
    key(format!("{app}/channels/{channel}.json"))
}

/// The folder that holds the suites.
pub const SUITES: &str = "suites";

/// A suite.
pub fn suite(suite: &SuiteName) -> Key {
    key(format!("{SUITES}/{suite}.json"))
}

/// The trust file that lies beside a copy of a suite, for people: nothing reads it to believe it.
pub fn suite_trust(suite: &SuiteName) -> Key {
    key(format!("{SUITES}/{suite}.trust"))
}

/// The order that a fleet follows.
pub fn rollout(fleet: &FleetName) -> Key {
    key(format!("fleets/{fleet}/rollout.json"))
}

/// The folder that holds the receipts of a fleet's nodes.
pub fn nodes(fleet: &FleetName) -> String {
    format!("fleets/{fleet}/nodes")
}

/// What a node says of itself.
pub fn receipt(fleet: &FleetName, node: &NodeName) -> Key {
    key(format!("fleets/{fleet}/nodes/{node}.json"))
}

/// Names are valid components by their types, so that what is put together here is always a key.
#[allow(clippy::expect_used, reason = "the parts' types allow only what a key allows; a property test holds it")]
fn key(text: String) -> Key {
    text.parse().expect("names are valid key components")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOWER: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
    const VERSION: &str = "[A-Za-z0-9][A-Za-z0-9._+-]{0,63}";
    const DOCUMENT: &str = "[a-q0-9][a-z0-9.-]{0,57}[.]json";
    const TARGET: &str = "[A-Za-z0-9_]{1,20}-[A-Za-z0-9_]{1,20}-[A-Za-z0-9_]{1,20}";

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn valid_names_make_valid_keys(app in LOWER, version in VERSION, target in TARGET, name in LOWER, file in DOCUMENT) {
            let (app, name): (AppName, ChannelName) = (app.parse().unwrap(), name.parse().unwrap());
            let (version, target): (Version, Target) = (version.parse().unwrap(), target.parse().unwrap());
            let document_name: DocumentName = file.parse().unwrap();
            let folder = format!("{}/{target}", targets(&app, &version));
            prop_assert_eq!(&folder, &format!("{}/{version}/{target}", releases(&app)));
            prop_assert_eq!(statement(&app, &version, &target).to_string(), format!("{folder}/release.json"));
            prop_assert_eq!(artifact(&app, &version, &target).to_string(), format!("{folder}/artifact.tar.zst"));
            prop_assert_eq!(document(&app, &version, &target, &document_name).to_string(), format!("{folder}/{document_name}"));
            prop_assert_eq!(channel(&app, &name).to_string(), format!("{}/{name}.json", channels(&app)));
        }

        #[test]
        fn nodes_of_fleets_make_valid_keys(fleet in LOWER, node in "[A-Za-z0-9][A-Za-z0-9._-]{0,127}") {
            let (fleet, node): (FleetName, NodeName) = (fleet.parse().unwrap(), node.parse().unwrap());
            prop_assert_eq!(rollout(&fleet).to_string(), format!("fleets/{fleet}/rollout.json"));
            prop_assert_eq!(receipt(&fleet, &node).to_string(), format!("{}/{node}.json", nodes(&fleet)));
        }

        #[test]
        fn the_longest_names_make_valid_keys(app in "[a-z]{63}", version in "[A-Z]{64}", part in "[a-z]{61}") {
            let target = format!("{part}-x-y").chars().skip(2).collect::<String>();
            statement(&app.parse().unwrap(), &version.parse().unwrap(), &target.parse().unwrap());
            artifact(&app.parse().unwrap(), &version.parse().unwrap(), &target.parse().unwrap());
        }
    }
}
