//! What is published, as far as it can be believed: from names to verified documents.
//!
//! The store brings bytes and names and is believed in neither. So a document counts only when its signature holds
//! *and* it says itself what its place in the store says: a statement of another app, version or target, put under
//! this key, is refused even though a trusted key signed it.

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::digest::Digest;
use crate::id::{self, AppName, ChannelName, FleetName, SuiteName, Target, Version};
use crate::keys;
use crate::signature::{Trust, Verified, VerifyError, verify};
use crate::statement::{Channel, Document, Rollout, Statement};
use crate::store::{self, Etag, Key, Object, Store};

/// A store seen through a trust file, at one time.
#[derive(Clone, Copy)]
pub struct Published<'a> {
    /// Where the documents lie.
    pub store: &'a dyn Store,
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// The time at which keys must be valid.
    pub now: Timestamp,
}

/// A channel's pointer as it lies in the store now.
#[derive(Debug)]
pub struct Pointer {
    /// What it says.
    pub document: Verified<Channel>,
    /// Its name in the store, for replacing exactly this one.
    pub etag: Etag,
}

/// A fleet's order as it lies in the store now.
#[derive(Debug)]
pub struct Order {
    /// What it says.
    pub document: Verified<Rollout>,
    /// Its name in the store, for replacing exactly this one.
    pub etag: Etag,
}

/// What cannot be found or believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no such app.
    #[error("the app `{app}` has no release in the store {store}")]
    UnknownApp {
        /// The app asked for.
        app: AppName,
        /// The store.
        store: String,
        /// Names that come close, best first.
        near: Vec<String>,
    },
    /// There is no such version.
    #[error("`{app}` has no version `{version}` in the store {store}")]
    UnknownVersion {
        /// The app.
        app: AppName,
        /// The version asked for.
        version: Version,
        /// The store.
        store: String,
        /// Versions that come close, best first.
        near: Vec<String>,
    },
    /// There is no such channel.
    #[error("`{app}` has no channel `{channel}` in the store {store}")]
    UnknownChannel {
        /// The app.
        app: AppName,
        /// The channel asked for.
        channel: ChannelName,
        /// The store.
        store: String,
        /// Channels that come close, best first.
        near: Vec<String>,
    },
    /// There is no such suite.
    #[error("the store {store} has no suite `{suite}`")]
    UnknownSuite {
        /// The suite asked for.
        suite: SuiteName,
        /// The store.
        store: String,
        /// Suites that come close, best first.
        near: Vec<String>,
    },
    /// The version, or the channel, has nothing for this kind of machine.
    #[error("{what} has nothing for `{target}`, only for {}", listed(.others))]
    OtherTargets {
        /// "`polls` v2", "the channel `production` of `polls`".
        what: String,
        /// The machine kind asked for.
        target: Target,
        /// Those there are.
        others: Vec<Target>,
    },
    /// A document is not to be believed.
    #[error("failed to verify `{key}`")]
    Refused {
        /// Where it lies.
        key: Key,
        /// Why.
        source: VerifyError,
    },
    /// A document is well signed, but says it belongs elsewhere.
    #[error("`{key}` is well signed, but it is the one of {found}: it was put into the wrong place")]
    Misplaced {
        /// Where it lies.
        key: Key,
        /// What it says it is.
        found: String,
    },
    /// The statement in the store is not the one the channel names.
    #[error("`{key}` has the digest {found}, but the channel names {named}")]
    NotTheNamed {
        /// Where the statement lies.
        key: Key,
        /// The digest of what lies there.
        found: Digest,
        /// The digest in the pointer.
        named: Digest,
    },
}

fn listed(targets: &[Target]) -> String {
    targets.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownApp { near, .. }
            | Self::UnknownVersion { near, .. }
            | Self::UnknownChannel { near, .. }
            | Self::UnknownSuite { near, .. } => {
                let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
                (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
            }
            Self::OtherTargets { target, .. } => Some(format!(
                "build and publish the version for this kind of machine too: there, or with `pannier build --target {target}`"
            )),
            Self::Refused { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

/// Result of looking for something published.
pub type Result<T> = std::result::Result<T, Error>;

impl Published<'_> {
    /// The versions of an app, sorted as text. One that is being published may be among them without a statement yet.
    pub async fn versions(&self, app: &AppName) -> Result<Vec<Version>> {
        let versions: Vec<Version> = parsed(self.store.list(&keys::releases(app)).await?);
        if versions.is_empty() {
            return Err(self.unknown_app(app).await?);
        }
        Ok(versions)
    }

    /// The channels of an app, sorted as text; an app may have none.
    pub async fn channels(&self, app: &AppName) -> Result<Vec<ChannelName>> {
        let files = self.store.list(&keys::channels(app)).await?;
        Ok(channel_names(&files))
    }

    /// The statement of each target of a version, or why it is not to be believed. Without any: the version is unknown.
    pub async fn release(
        &self,
        app: &AppName,
        version: &Version,
    ) -> Result<Vec<(Target, Result<Verified<Statement>>)>> {
        let targets: Vec<Target> = parsed(self.store.list(&keys::targets(app, version)).await?);
        let read = join_all(targets.iter().map(|target| self.read_statement(app, version, target))).await;
        let mut found = Vec::new();
        for (target, statement) in targets.into_iter().zip(read) {
            match statement {
                // The artifact comes first and the statement last: this target is not published yet.
                Err(Error::Store(store::Error::NotFound { .. })) => {}
                Err(Error::Store(error)) => return Err(error.into()),
                known => found.push((target, known)),
            }
        }
        if found.is_empty() {
            return Err(self.unknown_version(app, version).await?);
        }
        Ok(found)
    }

    /// The statement of a version for one kind of machine.
    pub async fn statement(&self, app: &AppName, version: &Version, target: &Target) -> Result<Verified<Statement>> {
        match self.read_statement(app, version, target).await {
            Err(Error::Store(store::Error::NotFound { .. })) => {}
            known => return known,
        }
        if self.names(&keys::targets(app, version)).await?.is_none() {
            return Err(self.unknown_version(app, version).await?);
        }
        let others = self.release(app, version).await?.into_iter().map(|(target, _)| target).collect();
        Err(Error::OtherTargets { what: format!("`{app}` {version}"), target: target.clone(), others })
    }

    /// The pointer of a channel.
    pub async fn channel(&self, app: &AppName, channel: &ChannelName) -> Result<Pointer> {
        match self.channel_if_there(app, channel).await? {
            Some(pointer) => Ok(pointer),
            None => Err(self.unknown_channel(app, channel).await?),
        }
    }

    /// The pointer of a channel, or none when nothing was promoted to it yet.
    pub async fn channel_if_there(&self, app: &AppName, channel: &ChannelName) -> Result<Option<Pointer>> {
        let key = keys::channel(app, channel);
        let Object { bytes, etag } = match self.store.get(&key, Channel::LIMIT).await {
            Err(store::Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let document: Verified<Channel> = self.verified(&key, &bytes)?;
        if (&document.app, &document.channel) != (app, channel) {
            let found = format!("the channel `{}` of `{}`", document.channel, document.app);
            return Err(Error::Misplaced { key, found });
        }
        Ok(Some(Pointer { document, etag }))
    }

    /// The order of a fleet, or none where no rollout was begun yet.
    pub async fn order_if_there(&self, fleet: &FleetName) -> Result<Option<Order>> {
        let Object { bytes, etag } = match self.store.get(&keys::rollout(fleet), Rollout::LIMIT).await {
            Err(store::Error::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        Ok(Some(Order { document: self.order(fleet, &bytes)?, etag }))
    }

    /// The order in these bytes, which lay in the order's place of this fleet.
    pub fn order(&self, fleet: &FleetName, bytes: &[u8]) -> Result<Verified<Rollout>> {
        let key = keys::rollout(fleet);
        let document: Verified<Rollout> = self.verified(&key, bytes)?;
        if document.fleet != *fleet {
            return Err(Error::Misplaced { key, found: format!("the fleet `{}`", document.fleet) });
        }
        Ok(document)
    }

    /// The statement that a pointer names for one kind of machine: that very file, by its digest.
    pub async fn named_by(&self, pointer: &Verified<Channel>, target: &Target) -> Result<Verified<Statement>> {
        let Some(named) = pointer.statements.get(target).copied() else {
            let what = format!("the channel `{}` of `{}`", pointer.channel, pointer.app);
            let others = pointer.statements.keys().cloned().collect();
            return Err(Error::OtherTargets { what, target: target.clone(), others });
        };
        let statement = self.read_statement(&pointer.app, &pointer.version, target).await?;
        match statement.digest() {
            found if found == named => Ok(statement),
            found => {
                Err(Error::NotTheNamed { key: keys::statement(&pointer.app, &pointer.version, target), found, named })
            }
        }
    }

    async fn read_statement(&self, app: &AppName, version: &Version, target: &Target) -> Result<Verified<Statement>> {
        let key = keys::statement(app, version, target);
        let object = self.store.get(&key, Statement::LIMIT).await?;
        let statement: Verified<Statement> = self.verified(&key, &object.bytes)?;
        let release = &statement.release;
        if (&release.app, &release.version, &release.target) != (app, version, target) {
            let found = format!("`{}` {} for `{}`", release.app, release.version, release.target);
            return Err(Error::Misplaced { key, found });
        }
        Ok(statement)
    }

    fn verified<D: Document>(&self, key: &Key, bytes: &[u8]) -> Result<Verified<D>> {
        verify(bytes, self.trust, self.now).map_err(|source| Error::Refused { key: key.clone(), source })
    }

    async fn unknown_app(&self, app: &AppName) -> Result<Error> {
        let apps: Vec<AppName> = parsed(self.names("").await?.unwrap_or_default());
        Ok(Error::UnknownApp { app: app.clone(), store: self.place(), near: near(app.as_str(), &apps) })
    }

    async fn unknown_version(&self, app: &AppName, version: &Version) -> Result<Error> {
        let names = self.names(&keys::releases(app)).await?;
        let listed = names.is_some();
        let mut versions: Vec<Version> = parsed(names.unwrap_or_default());
        if listed && versions.is_empty() {
            return self.unknown_app(app).await;
        }
        versions.retain(|other| other != version);
        let near = near(version.as_str(), &versions);
        Ok(Error::UnknownVersion { app: app.clone(), version: version.clone(), store: self.place(), near })
    }

    async fn unknown_channel(&self, app: &AppName, channel: &ChannelName) -> Result<Error> {
        let files = self.names(&keys::channels(app)).await?.unwrap_or_default();
        let releases = self.names(&keys::releases(app)).await?;
        if files.is_empty() && releases.is_some_and(|names| parsed::<Version>(names).is_empty()) {
            return self.unknown_app(app).await;
        }
        let near = near(channel.as_str(), &channel_names(&files));
        Ok(Error::UnknownChannel { app: app.clone(), channel: channel.clone(), store: self.place(), near })
    }

    /// What a store lists, for telling what is near. None for one that cannot list (a web server): that something is not
    /// there is still what has to be said of it.
    async fn names(&self, prefix: &str) -> Result<Option<Vec<String>>> {
        match self.store.list(prefix).await {
            Err(store::Error::Unsupported { .. }) => Ok(None),
            listed => Ok(Some(listed?)),
        }
    }

    fn place(&self) -> String {
        self.store.location().to_owned()
    }
}

/// The channels among the names of their files.
fn channel_names(files: &[String]) -> Vec<ChannelName> {
    parsed(files.iter().filter_map(|file| file.strip_suffix(".json").map(str::to_owned)))
}

/// The names among what a store lists; what is no name is none of Pannier's.
fn parsed<N: std::str::FromStr>(names: impl IntoIterator<Item = String>) -> Vec<N> {
    names.into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn near<N: AsRef<str>>(wanted: &str, known: &[N]) -> Vec<String> {
    id::near(wanted, known.iter().map(AsRef::as_ref)).into_iter().map(str::to_owned).collect()
}

mod suite;
#[cfg(test)]
mod tests;

pub use suite::PresentSuite;
