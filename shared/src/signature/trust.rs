//! Who is trusted with what, and when: a file in the `allowed_signers` form that `ssh-keygen -Y verify` takes with `-f`.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;

use super::allowed_signers::{self, LineError};
use super::public::PublicKey;
use super::verify::Refusal;
use crate::sys::fs;

/// The most bytes a trust file may have: a thousand keys with room to spare.
const LIMIT: u64 = 256 * 1024;

/// The keys a trust file names; never empty.
#[derive(Debug, Clone)]
pub struct Trust {
    origin: String,
    grants: Vec<Grant>,
}

/// One line of a trust file: a key, and what it is trusted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// Who holds the key; at least one name.
    pub principals: Vec<String>,
    /// The kinds of documents it may sign; at least one.
    pub namespaces: Vec<String>,
    /// When it may.
    pub validity: Validity,
    /// The key.
    pub key: PublicKey,
}

/// A span of time, both ends included as `ssh-keygen` includes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Validity {
    /// The first moment; none means always before.
    pub after: Option<Timestamp>,
    /// The last moment; none means for ever.
    pub before: Option<Timestamp>,
}

/// One line of a trust file, as it is shown to who asks what the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<'a> {
    /// Who holds the key.
    pub principals: &'a [String],
    /// The kinds of documents it may sign.
    pub namespaces: &'a [String],
    /// When it may.
    pub validity: Validity,
}

/// A trust file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A line of it is not understood or not allowed; a file is used whole or not at all.
    #[error("line {line} of the trust file `{origin}` is refused")]
    Line {
        /// The file.
        origin: String,
        /// The line, counted from 1.
        line: usize,
        /// Why.
        source: LineError,
    },
    /// It names no key: nothing could ever be verified.
    #[error("the trust file `{origin}` names no key: put the line that `pannier keys new` printed into it")]
    NoKey {
        /// The file.
        origin: String,
    },
}

impl Trust {
    /// Reads a trust file of at most 256 KiB.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        Self::parse(&fs::read_text(path, LIMIT)?, &path.display().to_string())
    }

    /// Parses the text of a trust file; `origin` is what messages call it.
    pub fn parse(text: &str, origin: &str) -> Result<Self, TrustError> {
        let mut grants = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let grant = allowed_signers::parse_line(line);
            let bad_line = |source| TrustError::Line { origin: origin.to_owned(), line: at + 1, source };
            grants.extend(grant.map_err(bad_line)?);
        }
        if grants.is_empty() {
            return Err(TrustError::NoKey { origin: origin.to_owned() });
        }
        Ok(Self { origin: origin.to_owned(), grants })
    }

    /// What messages call it: the path it was read from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What it says of each key, in its order.
    pub fn keys(&self) -> impl Iterator<Item = Known<'_>> {
        self.grants.iter().map(|grant| Known {
            principals: &grant.principals,
            namespaces: &grant.namespaces,
            validity: grant.validity,
        })
    }

    /// Under what name `key` may sign in `namespace` at `now`, or why it may not.
    pub(super) fn principal(&self, key: &PublicKey, namespace: &str, now: Timestamp) -> Result<&str, Refusal> {
        let of_key: Vec<&Grant> = self.grants.iter().filter(|grant| grant.key == *key).collect();
        let for_this = || of_key.iter().filter(|grant| grant.namespaces.iter().any(|n| n == namespace));
        if let Some(grant) = for_this().find(|grant| grant.validity.holds_at(now)) {
            return Ok(&grant.principals[0]);
        }
        let fingerprint = key.fingerprint();
        Err(match (for_this().next(), of_key.first()) {
            (Some(grant), _) => {
                Refusal::NotValidNow { signer: grant.principals[0].clone(), fingerprint, validity: grant.validity, now }
            }
            (None, Some(grant)) => Refusal::NotForNamespace {
                signer: grant.principals[0].clone(),
                fingerprint,
                wanted: namespace.to_owned(),
                granted: of_key.iter().flat_map(|grant| grant.namespaces.iter().cloned()).collect(),
            },
            (None, None) => Refusal::UnknownKey { fingerprint, origin: self.origin.clone() },
        })
    }
}

impl Validity {
    /// True when `now` lies within it.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.after.is_none_or(|after| now >= after) && self.before.is_none_or(|before| now <= before)
    }
}

/// "until 2026-01-01T00:00:00Z", "from ... until ...".
impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.after, self.before) {
            (Some(after), Some(before)) => write!(f, "from {after} until {before}"),
            (Some(after), None) => write!(f, "from {after}"),
            (None, Some(before)) => write!(f, "until {before}"),
            (None, None) => f.write_str("always"),
        }
    }
}
