//! How a release is run on a node: what only the app itself knows of that. Where it listens, as whom it runs and with which
//! secrets is the node's business and in no release.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shared;
use crate::id::ProcessName;

/// The most bytes of a command, all words together: a hand-written line.
const COMMAND_LIMIT: usize = 8 * 1024;

/// What a release says of how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Its processes, in the order in which they are started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// What is run around an activation.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<HookName, Hook>,
    /// Its paths that live across releases.
    #[serde(default, skip_serializing_if = "Shared::is_empty")]
    pub shared: Shared,
}

impl Running {
    /// True when the release says nothing of it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One process of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Its name, "web".
    pub name: ProcessName,
    /// What is run.
    pub command: Words,
    /// True when it takes its listening socket from whoever starts it (`LISTEN_FDS`), so that the socket can stay open
    /// while the process is replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub socket: bool,
    /// How long it may take to end what it is at when it is stopped, before it is killed; the node's usual limit when not
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Seconds>,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookName {
    /// Before `current` moves: when it fails, nothing is changed.
    BeforeSwitch,
    /// When the release serves and passed its check: when it fails, the release is taken back.
    AfterSwitch,
    /// When an activation of the release failed, after it was taken back; it changes nothing about that.
    OnFailure,
    /// When a rollback has led back to the release; it changes nothing about that.
    AfterRollback,
}

impl HookName {
    /// Its name, as pannier.toml, the statement and the journal have it.
    pub fn as_str(self) -> &'static str {
        match self {
            HookName::BeforeSwitch => "before_switch",
            HookName::AfterSwitch => "after_switch",
            HookName::OnFailure => "on_failure",
            HookName::AfterRollback => "after_rollback",
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that is run around an activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// What is run.
    pub command: Words,
    /// After how many seconds it is ended.
    pub timeout: Seconds,
}

/// A time limit in whole seconds, from 1 to 3600: an activation holds the app's lock meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Seconds(u32);

/// A number that is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time limit must have 1 to 3600 seconds, not {0}")]
pub struct BadSeconds(u32);

impl Default for Seconds {
    /// A minute.
    fn default() -> Self {
        Self(60)
    }
}

impl TryFrom<u32> for Seconds {
    type Error = BadSeconds;

    fn try_from(seconds: u32) -> Result<Self, BadSeconds> {
        if (1..=3600).contains(&seconds) { Ok(Self(seconds)) } else { Err(BadSeconds(seconds)) }
    }
}

impl From<Seconds> for u32 {
    fn from(seconds: Seconds) -> u32 {
        seconds.0
    }
}

impl From<Seconds> for Duration {
    fn from(seconds: Seconds) -> Duration {
        Duration::from_secs(seconds.0.into())
    }
}

/// A command as words: no shell reads it. At least one word, the first not empty, no control characters, at most
/// 8 KiB together. What the first word means on a node is said in the activator's `launch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Words(Vec<String>);

/// Words that are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// There is no first word.
    #[error("a command needs a program")]
    Empty,
    /// A word has a line break or another control character.
    #[error("a command must not have line breaks or other control characters")]
    Control,
    /// It is too long.
    #[error("a command must not have more than {COMMAND_LIMIT} bytes")]
    TooLong,
}

impl Words {
    /// The first word.
    pub fn program(&self) -> &str {
        // There is one: `try_from` is the only way to make this.
        self.0.first().map_or("", String::as_str)
    }

    /// The words after it.
    pub fn arguments(&self) -> &[String] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl TryFrom<Vec<String>> for Words {
    type Error = BadWords;

    fn try_from(words: Vec<String>) -> Result<Self, BadWords> {
        if words.first().is_none_or(String::is_empty) {
            Err(BadWords::Empty)
        } else if words.iter().any(|word| word.contains(char::is_control)) {
            Err(BadWords::Control)
        } else if words.iter().map(String::len).sum::<usize>() > COMMAND_LIMIT {
            Err(BadWords::TooLong)
        } else {
            Ok(Self(words))
        }
    }
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        words.0
    }
}

impl fmt::Display for Words {
    /// For a person: the words as a shell would take them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
        let quoted = |word: &String| match word.as_str() {
            "" => "''".to_owned(),
            text if text.chars().all(plain) => word.clone(),
            text => format!("'{}'", text.replace('\'', r"'\''")),
        };
        f.write_str(&self.0.iter().map(quoted).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Result<Words, BadWords> {
        Words::try_from(words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_has_a_program_and_no_control_characters() {
        let gunicorn = words(&["gunicorn", "--bind", "a b", "", "it's"]).unwrap();
        assert_eq!((gunicorn.program(), gunicorn.arguments().len()), ("gunicorn", 4));
        assert_eq!(gunicorn.to_string(), r"gunicorn --bind 'a b' '' 'it'\''s'");
        assert_eq!(words(&[]), Err(BadWords::Empty));
        assert_eq!(words(&["", "x"]), Err(BadWords::Empty));
        assert_eq!(words(&["x", "a\nb"]), Err(BadWords::Control));
        assert_eq!(words(&["x", &"y".repeat(9000)]), Err(BadWords::TooLong));
    }

    #[test]
    fn a_statement_with_a_wrong_command_is_refused_as_a_whole() {
        let parse = |text: &str| serde_json::from_str::<Running>(text).map_err(|error| error.to_string());
        let good = r#"{"processes":[{"name":"web","command":["gunicorn"],"socket":true}]}"#;
        assert_eq!(serde_json::to_string(&parse(good).unwrap()).unwrap(), good);
        let good = r#"{"shared":{"folders":["media"]}}"#;
        assert_eq!(serde_json::to_string(&parse(good).unwrap()).unwrap(), good);
        for bad in [
            r#"{"processes":[{"name":"web","command":[]}]}"#,
            r#"{"processes":[{"name":"../web","command":["x"]}]}"#,
            r#"{"processes":[{"name":"web","command":["x\n[Service]"]}]}"#,
            r#"{"procesess":[]}"#,
            r#"{"shared":{"folders":["../../etc"]}}"#,
            r#"{"hooks":{"before_lunch":{"command":["x"],"timeout":1}}}"#,
            r#"{"hooks":{"before_switch":{"command":["x"],"timeout":0}}}"#,
            r#"{"hooks":{"before_switch":{"command":["x"],"timeout":3601}}}"#,
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
