//! Suites in the store: believed like channels, when they are well signed and lie where they say they belong.

use super::{Error, Published, Result, channel_names, near};
use crate::id::SuiteName;
use crate::id::{AppName, Target};
use crate::keys;
use crate::signature::Verified;
use crate::statement::suite::Runs;
use crate::statement::{Document, Statement, Suite};
use crate::store::{self, Etag, Object};

/// A suite as it lies in the store now.
#[derive(Debug)]
pub struct PresentSuite {
    /// What it says.
    pub document: Verified<Suite>,
    /// Its name in the store, for replacing exactly this one.
    pub etag: Etag,
}

impl Published<'_> {
    /// A suite.
    pub async fn suite(&self, suite: &SuiteName) -> Result<PresentSuite> {
        match self.suite_if_there(suite).await? {
            Some(present) => Ok(present),
            None => Err(self.unknown_suite(suite).await?),
        }
    }

    /// A suite, or none when it was never set.
    pub async fn suite_if_there(&self, suite: &SuiteName) -> Result<Option<PresentSuite>> {
        let key = keys::suite(suite);
        let Object { bytes, etag } = match self.store.get(&key, Suite::LIMIT).await {
            Err(store::Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let document: Verified<Suite> = self.verified(&key, &bytes)?;
        if document.suite != *suite {
            return Err(Error::Misplaced { key, found: format!("the suite `{}`", document.suite) });
        }
        Ok(Some(PresentSuite { document, etag }))
    }

    /// The statements of what an app of a suite runs now, for every kind of machine that there is one for.
    pub async fn statements_of(&self, app: &AppName, runs: &Runs) -> Result<Vec<(Target, Verified<Statement>)>> {
        match runs {
            Runs::Version(version) => {
                let found = self.release(app, version).await?;
                found.into_iter().map(|(target, statement)| Ok((target, statement?))).collect()
            }
            Runs::Channel(channel) => {
                let pointer = self.channel(app, channel).await?.document;
                let mut found = Vec::new();
                for target in pointer.statements.keys() {
                    found.push((target.clone(), self.named_by(&pointer, target).await?));
                }
                Ok(found)
            }
        }
    }

    async fn unknown_suite(&self, suite: &SuiteName) -> Result<Error> {
        let suites = channel_names(&self.names(keys::SUITES).await?.unwrap_or_default());
        Ok(Error::UnknownSuite { suite: suite.clone(), store: self.place(), near: near(suite.as_str(), &suites) })
    }
}
