//! The migrations of a release: what each one does to code that is older than it, and whether it can be undone.
//!
//! They are two facts. A dropped column breaks the code before it and can be put back (empty); code that fills a new column
//! breaks nothing and may have no way back. So a migration has findings, each with an [`Effect`] that has a [`Class`], and
//! beside them what is known of its [`Reverse`].

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{AppLabel, MigrationId, MigrationName};

/// Every installed app with its migrations, in an order in which they can be applied; an app that has none has an empty list.
pub type Migrations = BTreeMap<AppLabel, Vec<Migration>>;

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Its name in its app, "0002_question_text".
    pub name: MigrationName,
    /// SHA-256 of its source file.
    pub sha256: Digest,
    /// What must be applied before it, sorted; "the first migration of that app" and swapped models are resolved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<MigrationId>,
    /// What must be applied after it though it does not say so itself, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_before: Vec<MigrationId>,
    /// The migrations that it stands for, where it was squashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<MigrationId>,
    /// True for one that begins its app.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
    /// Whether it is one transaction, where the database has those for schema changes.
    #[serde(default, skip_serializing_if = "Transaction::is_one")]
    pub transaction: Transaction,
    /// What older code notices of it, and what was declared of it; nothing for one that older code does not notice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Whether it can be undone.
    #[serde(default, skip_serializing_if = "Reverse::is_whole")]
    pub reverse: Reverse,
    /// What a person says instead of what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judgement>,
}

impl Migration {
    /// What it does to older code: what a person said of it, else the worst of what was found.
    pub fn class(&self) -> Class {
        let found = self.findings.iter().map(|finding| finding.effect.class()).max().unwrap_or(Class::Additive);
        self.judged.as_ref().map_or(found, |judged| judged.class)
    }
}

/// What a migration does to code that is older than it and runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Older code goes on working.
    Additive,
    /// Nobody said; it is code or SQL.
    Unknown,
    /// Older code reads or writes something that is then not there, or not allowed.
    Destructive,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Additive => "additive",
            Self::Unknown => "unknown",
            Self::Destructive => "destructive",
        })
    }
}

/// Whether a migration is applied as one transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transaction {
    /// One (`atomic = True`, the default of Django).
    #[default]
    One,
    /// None: one that fails is left half applied.
    None,
}

impl Transaction {
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// Whether a migration can be undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reverse {
    /// Yes; what it dropped comes back empty, or with its default.
    #[default]
    Whole,
    /// The database may refuse it for the rows that are there by then: a column that gets narrower again, or cannot be filled.
    UnlessRowsForbid,
    /// It has none, as Django says.
    None,
}

impl Reverse {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// Something that older code notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What happens.
    pub effect: Effect,
    /// To what: "polls.question" for a model, "polls.question.text" for a field, an operation's class for what is not known.
    pub on: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.effect, crate::report::human::harmless(&self.on))
    }
}

/// What happens to older code's tables and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// A table goes.
    DropsTable,
    /// A column goes.
    DropsColumn,
    /// A table gets another name.
    RenamesTable,
    /// A column gets another name.
    RenamesColumn,
    /// A column must be filled, has no default in the database, and older code does not know it.
    RequiresColumn,
    /// A column takes less than before: shorter, smaller, no longer null.
    NarrowsColumn,
    /// A column becomes another kind of column.
    ChangesType,
    /// Rows that older code writes can be refused.
    AddsConstraint,
    /// Python code that nothing is declared of.
    RunsPython,
    /// SQL that nothing is declared of.
    RunsSql,
    /// An operation that is not Django's, or a change of a column that only its own class understands.
    RunsCustom,
    /// Code or SQL that its author declared to be additive.
    DeclaredAdditive,
    /// Code or SQL that its author declared to be destructive.
    DeclaredDestructive,
}

impl Effect {
    /// What older code comes to by it.
    pub fn class(self) -> Class {
        match self {
            Self::DeclaredAdditive => Class::Additive,
            Self::RunsPython | Self::RunsSql | Self::RunsCustom => Class::Unknown,
            _ => Class::Destructive,
        }
    }

    /// True for a drop of something that older code has in its models.
    pub fn drops(self) -> bool {
        matches!(self, Self::DropsTable | Self::DropsColumn)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DropsTable => "drops the table of",
            Self::DropsColumn => "drops the column of",
            Self::RenamesTable => "renames the table of",
            Self::RenamesColumn => "renames the column of",
            Self::RequiresColumn => "adds a column that older code cannot fill:",
            Self::NarrowsColumn => "narrows the column of",
            Self::ChangesType => "changes the type of",
            Self::AddsConstraint => "can refuse what older code writes to",
            Self::RunsPython => "runs Python code:",
            Self::RunsSql => "runs SQL:",
            Self::RunsCustom => "runs an operation that only its author knows:",
            Self::DeclaredAdditive => "declared to be additive:",
            Self::DeclaredDestructive => "declared to be destructive:",
        })
    }
}

/// What a person says of a migration in pannier.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// What it does to older code.
    pub class: Class,
    /// Why.
    pub reason: Reason,
}

/// A reason in words: one line, not empty, at most 500 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reason(String);

/// A text that is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reason is one line of 1 to 500 characters")]
pub struct BadReason;

impl TryFrom<String> for Reason {
    type Error = BadReason;

    fn try_from(text: String) -> Result<Self, BadReason> {
        let fits = !text.trim().is_empty() && text.chars().count() <= 500 && !text.contains(char::is_control);
        if fits { Ok(Self(text)) } else { Err(BadReason) }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(findings: &str) -> Result<Migration, serde_json::Error> {
        let digest = Digest::of(b"").to_string();
        serde_json::from_str(&format!(r#"{{"name":"0002_x","sha256":"{digest}"{findings}}}"#))
    }

    #[test]
    fn the_worst_finding_counts_unless_a_person_judged() {
        let found = r#","findings":[{"effect":"runs_sql","on":"polls"},{"effect":"drops_column","on":"polls.a.b"}]"#;
        assert_eq!(migration(found).unwrap().class(), Class::Destructive);
        assert_eq!(migration(&found.replace("drops_column", "declared_additive")).unwrap().class(), Class::Unknown);
        assert_eq!(migration("").unwrap().class(), Class::Additive);
        let judged = r#","judged":{"class":"additive","reason":"nobody reads it"}"#;
        assert_eq!(migration(&format!("{found}{judged}")).unwrap().class(), Class::Additive);
    }

    #[test]
    fn what_is_as_usual_is_not_written_and_the_rest_comes_back() {
        let plain = migration("").unwrap();
        let text = serde_json::to_string(&plain).unwrap();
        assert!(!text.contains("reverse") && !text.contains("transaction") && !text.contains("initial"), "{text}");
        let all =
            r#","depends_on":["auth.0001_initial"],"initial":true,"transaction":"none","reverse":"unless_rows_forbid""#;
        let said = migration(all).unwrap();
        assert_eq!(serde_json::from_str::<Migration>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in [
            r#","depends_on":["auth"]"#,
            r#","depends_on":["auth.--fake"]"#,
            r#","findings":[{"effect":"drops_database","on":"x"}]"#,
            r#","judged":{"class":"additive"}"#,
            r#","judged":{"class":"additive","reason":" "}"#,
            r#","judged":{"class":"additive","reason":"a\nb"}"#,
            r#","safe":true"#,
        ] {
            assert!(migration(bad).is_err(), "{bad}");
        }
    }
}
