//! `pannier suite set` and `show`: what the nodes of a role run, signed, so that a bare node can be brought back from it.
//!
//! A suite is written by a person as TOML, with the keys of a node's own configuration, and stored as a signed document
//! with a higher serial each time. As with a promotion, nothing is stored that nodes would refuse: every app must resolve
//! now, and what was signed is verified with the same trust file. Of two who set it at once one is told about the other.

use jiff::Timestamp;
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, RoleName, SuiteName};
use pannier_shared::keys;
use pannier_shared::published::{self, PresentSuite, Published};
use pannier_shared::signature::SigningKey;
use pannier_shared::statement::{FORMAT, Suite, SuiteType};

use crate::moving::{self, MOST_DAYS, NotSigned, Stored, fresh_until, whole_seconds};

pub mod mirror;
pub mod show;
mod written;

pub use written::{BadFile, Written};

/// What is to be set.
#[derive(Debug, Clone)]
pub struct Order {
    /// What a person wrote.
    pub written: Written,
    /// Why, for those who read it; may be empty.
    pub reason: String,
    /// Who does it.
    pub who: String,
    /// For how many days it is fresh; 1 to 3650.
    pub days: u32,
}

/// What was set.
#[derive(Debug)]
pub struct Set {
    /// The suite that lies in the store now.
    pub suite: Suite,
    /// SHA-256 of the signed file.
    pub digest: Digest,
    /// False when it says what it said before, and only its freshness changed.
    pub changed: bool,
}

/// A suite that was not set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The present suite cannot be read or believed.
    #[error(transparent)]
    Published(#[from] published::Error),
    /// An app of it cannot be brought to a node now.
    #[error("the role `{role}` cannot run `{app}` now")]
    Unresolved {
        /// The role.
        role: RoleName,
        /// The app.
        app: AppName,
        /// Why.
        source: Box<published::Error>,
    },
    /// It is not signed, or not by a key that may.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// Somebody else set it in between.
    #[error("the suite `{suite}` was set meanwhile, by {} (serial {})", .now.who, .now.serial)]
    Overtaken {
        /// The suite.
        suite: SuiteName,
        /// The one that lies there now.
        now: Box<Suite>,
    },
    /// The days are out of bounds.
    #[error("a suite cannot be fresh for {0} days: expected 1 to {MOST_DAYS}")]
    Days(u32),
    /// The serial is as high as it can be.
    #[error("the serial of the suite `{0}` is used up: only a new epoch can move it")]
    SerialUsedUp(SuiteName),
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Published(error) => error.hint(),
            Self::Unresolved { app, source, .. } => {
                source.hint().or_else(|| Some(format!("`pannier releases {app}` shows what there is")))
            }
            // It is what the file says that makes it too large.
            Self::NotSigned(NotSigned::Sign(_)) => None,
            Self::NotSigned(error) => error.hint(),
            Self::Overtaken { suite, .. } => {
                Some(format!("look at `pannier suite show {suite}` and set it again if it is still wanted"))
            }
            Self::Days(_) | Self::SerialUsedUp(_) => None,
        }
    }
}

/// Stores the order's suite.
pub async fn set(published: &Published<'_>, key: &SigningKey, order: &Order) -> Result<Set, Error> {
    let present = published.suite_if_there(&order.written.suite).await?;
    let suite = draft(order, present.as_ref(), published.now)?;
    resolve(published, &suite).await?;
    let bytes = moving::signed(&suite, "set suites", key, published.trust, published.now)?;
    let digest = Digest::of(&bytes);
    replace(published, &suite.suite, present.as_ref(), bytes).await?;
    let changed = present.is_none_or(|present| present.document.roles != suite.roles);
    Ok(Set { suite, digest, changed })
}

fn draft(order: &Order, present: Option<&PresentSuite>, now: Timestamp) -> Result<Suite, Error> {
    let Written { suite, roles } = order.written.clone();
    let next = moving::after(present.map(|present| (present.document.epoch, present.document.serial)));
    let (epoch, serial) = next.ok_or_else(|| Error::SerialUsedUp(suite.clone()))?;
    Ok(Suite {
        kind: SuiteType::Suite,
        format: FORMAT,
        epoch,
        serial,
        suite,
        roles,
        issued: whole_seconds(now),
        not_after: fresh_until(now, order.days).ok_or(Error::Days(order.days))?,
        reason: order.reason.clone(),
        who: order.who.clone(),
    })
}

async fn resolve(published: &Published<'_>, suite: &Suite) -> Result<(), Error> {
    for (role, members) in &suite.roles {
        for (app, member) in members {
            let found = published.statements_of(app, &member.runs).await;
            found.map_err(|source| Error::Unresolved {
                role: role.clone(),
                app: app.clone(),
                source: source.into(),
            })?;
        }
    }
    Ok(())
}

/// Stores the suite if nobody was quicker.
async fn replace(
    published: &Published<'_>,
    suite: &SuiteName,
    present: Option<&PresentSuite>,
    bytes: Vec<u8>,
) -> Result<(), Error> {
    let put = moving::put_over(published.store, &keys::suite(suite), present.map(|present| &present.etag), bytes).await;
    let Stored::Overtaken(error) = put.map_err(published::Error::from)? else { return Ok(()) };
    match published.suite_if_there(suite).await {
        Ok(Some(PresentSuite { document, .. })) => {
            Err(Error::Overtaken { suite: suite.clone(), now: Box::new(Suite::clone(&document)) })
        }
        _ => Err(published::Error::from(error).into()),
    }
}

#[cfg(test)]
mod tests;
