//! What can be wrong with an entry of a release, in words and for programs.

use serde::Serialize;

use crate::layout::User;

/// One thing that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where, below the release.
    pub path: String,
    /// What.
    #[serde(flatten)]
    pub damage: Damage,
}

/// How something differs from what was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "damage", rename_all = "kebab-case")]
pub enum Damage {
    /// It is not there.
    Missing,
    /// Nothing of that name was signed.
    Extra,
    /// A file's content is another one.
    Changed,
    /// A file cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
    /// It is something else: a link where a file should be, and so on.
    Kind {
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// It belongs to somebody else.
    Owner {
        /// The number of that user.
        uid: u32,
    },
    /// Its permission bits are others.
    Mode {
        /// What they should be, octal.
        expected: String,
        /// What they are, octal.
        found: String,
    },
    /// A link leads elsewhere.
    Link {
        /// Where it should lead.
        expected: String,
        /// Where it leads.
        found: String,
    },
    /// The link to the node's interpreter does not lead to one that fits.
    Interpreter {
        /// Why.
        why: String,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Missing => f.write_str("missing"),
            Damage::Extra => f.write_str("extra"),
            Damage::Changed => f.write_str("changed"),
            Damage::Unreadable { why } => write!(f, "unreadable: {why}"),
            Damage::Kind { expected, found } => write!(f, "{found} instead of {expected}"),
            Damage::Owner { uid } => write!(f, "belongs to {}", User(*uid)),
            Damage::Mode { expected, found } => write!(f, "mode {found} instead of {expected}"),
            Damage::Link { expected, found } => write!(f, "leads to `{found}` instead of `{expected}`"),
            Damage::Interpreter { why } => write!(f, "interpreter: {why}"),
        }
    }
}

impl Damage {
    /// Its kind in one word, as JSON has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Damage::Missing => "missing",
            Damage::Extra => "extra",
            Damage::Changed => "changed",
            Damage::Unreadable { .. } => "unreadable",
            Damage::Kind { .. } => "kind",
            Damage::Owner { .. } => "owner",
            Damage::Mode { .. } => "mode",
            Damage::Link { .. } => "link",
            Damage::Interpreter { .. } => "interpreter",
        }
    }

    /// Permission bits that are others.
    pub fn mode(expected: u32, found: u32) -> Self {
        let octal = |mode| format!("{mode:04o}");
        Damage::Mode { expected: octal(expected), found: octal(found) }
    }
}
