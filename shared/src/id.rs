//! The names Pannier gives to things: app, version, target, channel, process.
//!
//! Each is its own type, so that they cannot be swapped, and each can only be made from text that is safe as a
//! path component, an object key and an argument: what these types hold never needs quoting or escaping again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a valid name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {kind}: {why}")]
pub struct BadName {
    /// What it should have been: "app name", "version", ...
    pub kind: &'static str,
    /// The text as given, shortened to 80 characters.
    pub given: String,
    /// The rule it breaks.
    pub why: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                match $rule(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(why) => Err(BadName { kind: $kind, given: text.chars().take(80).collect(), why }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// An app: the unit of release, of node root and of store prefix. Lower-case letters, digits and `-`, at most 63.
    AppName, "app name", lower_rule
}
name! {
    /// A version: any label of letters, digits and `.`, `_`, `+`, `-`, starting with a letter or digit, at most 64.
    /// It is a name, never compared for order: the journal and the channel's serial know what is newer.
    Version, "version", version_rule
}
name! {
    /// A process of an app such as `web`. Lower-case letters, digits and `-`, at most 63.
    ProcessName, "process name", lower_rule
}
name! {
    /// A channel such as `production`. Lower-case letters, digits and `-`, at most 63.
    ChannelName, "channel name", lower_rule
}
name! {
    /// A suite of apps such as `production`. Lower-case letters, digits and `-`, at most 63.
    SuiteName, "suite name", lower_rule
}
name! {
    /// What a node is for, such as `web`. Lower-case letters, digits and `-`, at most 63.
    RoleName, "role name", lower_rule
}
name! {
    /// A fleet: nodes that switch together, such as `shop-production`. Lower-case letters, digits and `-`, at most 63.
    FleetName, "fleet name", lower_rule
}
name! {
    /// A node of a fleet, by default the machine's own name. Letters, digits and `.`, `-`, `_`, starting with a letter or
    /// digit, at most 128.
    NodeName, "node name", node_rule
}
name! {
    /// A machine kind such as `x86_64-linux-gnu`: architecture, kernel, libc family.
    Target, "target", target_rule
}

name! {
    /// The file name of a document beside an archive, such as `sbom.cdx.json`. Lower-case letters, digits, `.` and `-`,
    /// at most 63, ending in `.json`; not `release.json`, which is the statement.
    DocumentName, "document name", document_rule
}

name! {
    /// The label of a Django app such as `auth`: an identifier of Python, at most 255 bytes.
    AppLabel, "app label", label_rule
}
name! {
    /// The name of a migration in its app, such as `0001_initial`: what a Python file can be called, at most 255 bytes, with
    /// no `.`, and no `-` in front.
    MigrationName, "migration name", migration_rule
}
name! {
    /// A migration of any app, such as `auth.0001_initial`: an app label and a migration name.
    MigrationId, "migration", migration_id_rule
}

impl MigrationId {
    /// The migration of that name in that app.
    pub fn of(app: &AppLabel, name: &MigrationName) -> Self {
        Self(format!("{app}.{name}"))
    }

    /// Its app's label.
    pub fn app(&self) -> &str {
        self.0.split_once('.').map_or("", |(app, _)| app)
    }
}

impl Target {
    /// The machine this program was built for.
    pub fn host() -> Self {
        let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
        Self(format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS))
    }
}

fn lower_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > 63 {
        Some("it must have 1 to 63 characters")
    } else if !text.chars().all(allowed) {
        Some("only lower-case letters, digits and `-` are allowed")
    } else if text.starts_with('-') || text.ends_with('-') {
        Some("it must start and end with a letter or digit")
    } else {
        None
    }
}

fn label_rule(text: &str) -> Option<&'static str> {
    let fits = !text.is_empty() && text.len() <= 255 && !text.starts_with(|c: char| c.is_ascii_digit());
    let allowed = |c: char| c.is_alphanumeric() || c == '_';
    (!fits || !text.chars().all(allowed)).then_some("it must be an identifier of Python")
}

fn migration_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| !c.is_control() && !matches!(c, '.' | '/');
    if text.is_empty() || text.len() > 255 {
        Some("it must have 1 to 255 bytes")
    } else if text.starts_with('-') || !text.chars().all(allowed) {
        Some("it must not begin with `-` or have `.`, `/` or control characters")
    } else {
        None
    }
}

fn migration_id_rule(text: &str) -> Option<&'static str> {
    let Some((app, name)) = text.split_once('.') else {
        return Some("it must be an app label and a name: `app.0001_name`");
    };
    label_rule(app).or_else(|| migration_rule(name))
}

fn document_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if text.len() > 63 {
        Some("it must have at most 63 characters")
    } else if !text.chars().all(allowed) {
        Some("only lower-case letters, digits, `.` and `-` are allowed")
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) || !text.ends_with(".json") {
        Some("it must start with a letter or digit and end in `.json`")
    } else if text == "release.json" {
        Some("it is the statement's own name")
    } else {
        None
    }
}

fn version_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    if text.is_empty() || text.len() > 64 {
        Some("it must have 1 to 64 characters")
    } else if !text.chars().all(allowed) {
        Some("only letters, digits, `.`, `_`, `+` and `-` are allowed")
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("it must start with a letter or digit")
    } else {
        None
    }
}

fn node_rule(text: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > 128 {
        Some("it must have 1 to 128 characters")
    } else if !text.chars().all(allowed) {
        Some("only letters, digits and `.`, `-`, `_` are allowed")
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("it must start with a letter or digit")
    } else {
        None
    }
}

fn target_rule(text: &str) -> Option<&'static str> {
    let part = |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let parts: Vec<&str> = text.split('-').collect();
    if parts.len() != 3 || text.len() > 63 || !parts.into_iter().all(part) {
        Some("it must read ARCH-OS-LIBC, such as x86_64-linux-gnu")
    } else {
        None
    }
}

/// The names closest to `wanted` among `known`, best first, at most three: for "did you mean".
pub fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(score, _)| *score > 0.75)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_safe_path_components() {
        for good in ["1", "v1.2.3", "2026.11.20-1+g3f2a", "a_b"] {
            assert_eq!(good.parse::<Version>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "../x", "a/b", "-x", "a b", "ü", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn migrations_have_an_app_and_a_name() {
        let id: MigrationId = "auth.0001_initial".parse().unwrap();
        assert_eq!((id.app(), id.as_str()), ("auth", "auth.0001_initial"));
        assert_eq!(MigrationId::of(&"auth".parse().unwrap(), &"0001_initial".parse().unwrap()), id);
        assert!("polls.0002_x (copy)".parse::<MigrationId>().is_ok());
        for bad in ["", "auth", "auth.", ".0001", "au-th.0001", "1a.0001", "a.-x", "a.b.c", "a.b/c", "a.b\n"] {
            assert!(bad.parse::<MigrationId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn apps_and_channels_are_lower_case_labels() {
        assert!("my-site-2".parse::<AppName>().is_ok());
        for bad in ["", "-a", "a-", "A", "a_b", "a.b"] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nodes_are_called_as_machines_are() {
        for good in ["web-1", "Web_1.example.org", "ip-10-0-0-1.eu-west-1.compute.internal", "7"] {
            assert!(good.parse::<NodeName>().is_ok(), "{good:?}");
        }
        for bad in ["", ".web", "-web", "web/1", "web 1", "w\u{e9}b", &"w".repeat(129)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn serde_refuses_what_parse_refuses() {
        assert!(serde_json::from_str::<Version>("\"../x\"").is_err());
        assert_eq!(serde_json::to_string(&"v1".parse::<Version>().unwrap()).unwrap(), "\"v1\"");
    }

    #[test]
    fn the_host_is_a_valid_target() {
        let host = Target::host();
        assert_eq!(host.as_str().parse::<Target>().unwrap(), host);
    }

    #[test]
    fn documents_are_json_files_that_cannot_hide_anything() {
        for good in ["sbom.cdx.json", "provenance.json", "0.json"] {
            assert!(good.parse::<DocumentName>().is_ok(), "{good:?}");
        }
        for bad in ["", ".json", "release.json", "../x.json", "a/b.json", "A.json", "artifact.tar.zst", "a b.json"] {
            assert!(bad.parse::<DocumentName>().is_err(), "{bad:?}");
        }
        assert!(format!("{}.json", "a".repeat(60)).parse::<DocumentName>().is_err());
    }

    #[test]
    fn near_names_come_best_first() {
        assert_eq!(near("prodution", ["staging", "production", "prod"]), ["production", "prod"]);
        assert!(near("x", ["production"]).is_empty());
    }
}
