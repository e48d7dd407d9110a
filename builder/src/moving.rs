//! Documents that move (channel pointers, suites, orders of fleets): each time with a higher serial, signed, and stored only
//! in the place of the one that was read, so that of two who move it at once one is told. What the nodes would refuse is not
//! stored: it is verified with the same trust file first.

use jiff::{SignedDuration, Timestamp};
use pannier_shared::signature::{SignError, SigningKey, Trust, VerifyError, sign, verify};
use pannier_shared::statement::Document;
use pannier_shared::store::{self, Condition, Etag, Key, Store};

/// How many days a document stays fresh when nothing else is said: a quarter, so that a site without a job that renews
/// its pointers is reminded four times a year.
pub const DAYS: u32 = 90;

/// The most days a document may stay fresh: ten years. More means that nobody wants to be reminded at all.
pub const MOST_DAYS: u32 = 3650;

/// A document that was not signed, or is of no use to a node.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// It cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The nodes would refuse what this key signs.
    #[error("the signing key ({fingerprint}) is not trusted to {what}")]
    KeyNotTrusted {
        /// What it was to be used for: "promote".
        what: &'static str,
        /// The key's fingerprint.
        fingerprint: String,
        /// What the trust file says.
        source: VerifyError,
    },
}

impl NotSigned {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Sign(SignError::TooLarge { .. }) => Some("say less with `--reason` and `--who`".to_owned()),
            Self::Sign(_) => None,
            Self::KeyNotTrusted { source, .. } => source.hint(),
        }
    }
}

/// The epoch and serial after those of the document that is there; none when the serial is used up.
pub fn after(present: Option<(u64, u64)>) -> Option<(u64, u64)> {
    let (epoch, serial) = present.unwrap_or((1, 0));
    Some((epoch, serial.checked_add(1)?))
}

/// Signs a document as somebody who wants to do `what`, and sees that who trusts this trust file believes it.
pub fn signed<D: Document>(
    document: &D,
    what: &'static str,
    key: &SigningKey,
    trust: &Trust,
    now: Timestamp,
) -> Result<Vec<u8>, NotSigned> {
    let bytes = sign(document, key)?;
    match verify::<D>(&bytes, trust, now) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(NotSigned::KeyNotTrusted { what, fingerprint: key.public().fingerprint(), source }),
    }
}

/// What came of storing a document.
#[derive(Debug)]
pub enum Stored {
    /// It is there.
    Now,
    /// Somebody else's is there; what the store said of that.
    Overtaken(store::Error),
}

/// Stores a document in the place of `present`, or of none.
pub async fn put_over(store: &dyn Store, key: &Key, present: Option<&Etag>, bytes: Vec<u8>) -> store::Result<Stored> {
    let condition = present.map_or(Condition::Absent, |etag| Condition::Unchanged(etag.clone()));
    match store.put(key, bytes.into(), condition).await {
        Ok(_) => Ok(Stored::Now),
        Err(error @ (store::Error::Changed { .. } | store::Error::AlreadyExists { .. })) => {
            Ok(Stored::Overtaken(error))
        }
        Err(error) => Err(error),
    }
}

/// Until when a document that is signed now is fresh; none when the days are out of bounds.
pub fn fresh_until(now: Timestamp, days: u32) -> Option<Timestamp> {
    if !(1..=MOST_DAYS).contains(&days) {
        return None;
    }
    let end = now.checked_add(SignedDuration::from_hours(24 * i64::from(days)));
    end.map(whole_seconds).ok()
}

/// They read better, and a pointer needs no finer time.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
