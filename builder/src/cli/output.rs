//! What a command gives on stdout: lines for a person, or one JSON object.

use std::fmt::{self, Display};
use std::path::PathBuf;

use pannier_builder::build::Built;
use pannier_builder::inside::diff::Difference;
use pannier_builder::inside::same::Verdict;
use pannier_builder::inside::show::Summary;
use pannier_builder::keys::{NewKey, Shown};
use pannier_builder::promote::Promoted;
use pannier_builder::publish::{Announced, Outcome};
use pannier_builder::releases::{ChannelState, Listing, Release, TargetState};
use pannier_builder::static_host::Hosted;
use pannier_builder::suite::{self, mirror::Copied};
use pannier_builder::{fleet, rollout};
use pannier_shared::digest::Digest;
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, ChannelName, SuiteName, Target, Version};
use pannier_shared::report::{Style, human, result_line};
use pannier_shared::statement::Channel;
use serde::Serialize;

mod suite_view;

use suite_view::SuiteView;

/// The result of a command.
#[derive(Debug, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Output {
    /// Of `build`.
    Build {
        app: AppName,
        version: Version,
        target: Target,
        /// The folder of the release's files.
        folder: PathBuf,
        /// Size of the archive in bytes.
        size: u64,
        /// SHA-256 of the archive.
        artifact: Digest,
        /// SHA-256 of the signed statement.
        statement: Digest,
    },
    /// Of `publish`.
    Publish {
        app: AppName,
        version: Version,
        target: Target,
        store: String,
        /// False when the same release was there already.
        changed: bool,
        /// SHA-256 of the signed statement.
        statement: Digest,
        /// Its static files; absent where they have no place of their own.
        #[serde(rename = "static", skip_serializing_if = "Option::is_none")]
        hosted: Option<Hosted>,
    },
    /// Of `promote`.
    Promote {
        /// The pointer that lies in the store now.
        pointer: Channel,
        /// What the channel named before.
        before: Option<Version>,
        /// True when only its freshness changed.
        renewal: bool,
        /// Machine kinds that the channel served before.
        dropped: Vec<Target>,
    },
    /// Of `releases`.
    Releases { app: AppName, releases: Vec<ReleaseRow>, channels: Vec<ChannelRow> },
    /// Of `build --verify-against`.
    VerifyAgainst(Box<Verdict>),
    /// Of `show`.
    Show(Box<Summary>),
    /// Of `diff`.
    Diff(Box<Difference>),
    /// Of `suite set`.
    SuiteSet {
        suite: SuiteName,
        serial: u64,
        /// False when only its freshness changed.
        changed: bool,
        /// How many apps its roles run, together.
        apps: usize,
        /// SHA-256 of the signed file.
        digest: Digest,
    },
    /// Of `suite show`.
    SuiteShow(SuiteView),
    /// Of `suite mirror`.
    SuiteMirror {
        suite: SuiteName,
        /// The store with the copy.
        store: String,
        #[serde(flatten)]
        copied: Copied,
    },
    /// Of `rollout`.
    Rollout(Box<rollout::summary::Summary>),
    /// Of `fleet status`.
    FleetStatus(Box<fleet::Status>),
    /// Of `keys new`.
    KeysNew { private: PathBuf, public: PathBuf, fingerprint: String, trust_line: String },
    /// Of `keys show`.
    KeysShow { fingerprint: String, key: String },
    /// Of `version`.
    Version { version: &'static str },
}

/// One version for one machine kind.
#[derive(Debug, Serialize)]
pub struct ReleaseRow {
    version: Version,
    target: Target,
    channels: Vec<ChannelName>,
    /// Size of its archive in bytes; absent when it is not to be believed.
    size: Option<u64>,
    signer: Option<String>,
    /// Why it is not to be believed.
    refused: Option<String>,
}

/// One channel.
#[derive(Debug, Serialize)]
pub struct ChannelRow {
    channel: ChannelName,
    version: Option<Version>,
    serial: Option<u64>,
    /// True when it should have been renewed by now.
    stale: bool,
    /// Machine kinds for which nodes will refuse it.
    astray: Vec<Target>,
    /// Why it is not to be believed.
    refused: Option<String>,
}

impl Output {
    /// Of a build.
    pub fn built(built: Built) -> Self {
        let Built { folder, description, artifact, statement } = built;
        let (app, version, target) = (description.app, description.version, description.target);
        Self::Build { app, version, target, folder, size: artifact.size, artifact: artifact.sha256, statement }
    }

    /// Of a publication.
    pub fn published(announced: Announced, store: String) -> Self {
        let Announced { outcome, statement, hosted } = announced;
        let release = &statement.release;
        Self::Publish {
            app: release.app.clone(),
            version: release.version.clone(),
            target: release.target.clone(),
            store,
            changed: outcome == Outcome::Published,
            statement: statement.digest(),
            hosted,
        }
    }

    /// Of a promotion.
    pub fn promoted(promoted: Promoted) -> Self {
        let renewal = promoted.is_renewal();
        Self::Promote { pointer: promoted.pointer, before: promoted.before, renewal, dropped: promoted.dropped }
    }

    /// Of a listing.
    pub fn releases(app: AppName, listing: Listing) -> Self {
        let releases = listing.releases.into_iter().flat_map(ReleaseRow::of).collect();
        let channels = listing.channels.into_iter().map(ChannelRow::of).collect();
        Self::Releases { app, releases, channels }
    }

    /// Of a release that was built again.
    pub fn verdict(verdict: Verdict) -> Self {
        Self::VerifyAgainst(Box::new(verdict))
    }

    /// Of a release that was looked into.
    pub fn shown(summary: Summary) -> Self {
        Self::Show(Box::new(summary))
    }

    /// Of two releases that were compared.
    pub fn differing(difference: Difference) -> Self {
        Self::Diff(Box::new(difference))
    }

    /// Of a suite that was set.
    pub fn suite_set(set: suite::Set) -> Self {
        let suite::Set { suite, digest, changed } = set;
        let apps = suite.roles.values().map(|role| role.len()).sum();
        Self::SuiteSet { suite: suite.suite, serial: suite.serial, changed, apps, digest }
    }

    /// Of a suite that was looked at.
    pub fn suite_shown(shown: suite::show::Shown) -> Self {
        Self::SuiteShow(SuiteView::of(shown))
    }

    /// Of a rollout.
    pub fn rollout(summary: rollout::summary::Summary) -> Self {
        Self::Rollout(Box::new(summary))
    }

    /// Of a fleet that was looked at.
    pub fn fleet(status: fleet::Status) -> Self {
        Self::FleetStatus(Box::new(status))
    }

    /// Of a new key.
    pub fn new_key(key: NewKey) -> Self {
        let NewKey { private, public, fingerprint, trust_line } = key;
        Self::KeysNew { private, public, fingerprint, trust_line }
    }

    /// Of a key that was looked at.
    pub fn shown_key(shown: Shown) -> Self {
        Self::KeysShow { fingerprint: shown.fingerprint, key: shown.line }
    }

    /// Of `version`.
    pub fn version() -> Self {
        Self::Version { version: env!("CARGO_PKG_VERSION") }
    }

    /// What the program ends with: a listing with something that is not to be believed is a result, and not a success; nor
    /// is a release that came out different.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Releases { releases, channels, .. }
                if releases.iter().any(|row| row.refused.is_some())
                    || channels.iter().any(|row| row.refused.is_some()) =>
            {
                Exit::Verification
            }
            Self::SuiteShow(view) => view.exit(),
            Self::VerifyAgainst(verdict) if !verdict.is_same() => Exit::Differs,
            Self::Rollout(summary) => summary.exit(),
            Self::FleetStatus(status) => status.exit(),
            _ => Exit::Done,
        }
    }

    /// The text to print, with its final newline.
    pub fn text(&self, style: Style) -> String {
        if style == Style::Json { result_line(self) } else { self.to_string() }
    }
}

impl ReleaseRow {
    fn of(release: Release) -> Vec<Self> {
        let Release { version, targets, channels } = release;
        let row = |TargetState { target, statement }| {
            let (version, channels) = (version.clone(), channels.clone());
            let (size, signer, refused) = match statement {
                Ok(statement) => (Some(statement.artifact.size), Some(statement.signer().to_owned()), None),
                Err(error) => (None, None, Some(in_one_line(&error))),
            };
            Self { version, target, channels, size, signer, refused }
        };
        targets.into_iter().map(row).collect()
    }
}

impl ChannelRow {
    fn of(state: ChannelState) -> Self {
        let ChannelState { channel, pointer, astray, stale } = state;
        let (version, serial, refused) = match pointer {
            Ok(pointer) => (Some(pointer.version.clone()), Some(pointer.serial), None),
            Err(error) => (None, None, Some(in_one_line(&error))),
        };
        Self { channel, version, serial, stale, astray, refused }
    }
}

fn in_one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build { folder, size, artifact, statement, .. } => {
                writeln!(f, "{}", folder.display())?;
                writeln!(f, "artifact   sha256:{artifact}  {}", human::bytes(*size))?;
                writeln!(f, "statement  sha256:{statement}")
            }
            Self::Publish { app, version, store, changed, hosted, .. } => {
                match changed {
                    true => writeln!(f, "{app} {version} is published in {store}")?,
                    false => writeln!(f, "{app} {version} was published in {store} already, with the same content")?,
                }
                hosted.iter().try_for_each(|hosted| writeln!(f, "{hosted}"))
            }
            Self::Promote { pointer, before, renewal, dropped } => {
                promoted(f, pointer, before.as_ref(), *renewal, dropped)
            }
            Self::Releases { releases, channels, .. } => {
                releases.iter().try_for_each(|row| writeln!(f, "{row}"))?;
                channels.iter().try_for_each(|row| writeln!(f, "{row}"))
            }
            Self::VerifyAgainst(verdict) => write!(f, "{verdict}"),
            Self::Show(summary) => write!(f, "{summary}"),
            Self::Diff(difference) => write!(f, "{difference}"),
            Self::SuiteSet { suite, serial, changed, apps, .. } => {
                let word = if *changed { "is set" } else { "is renewed" };
                let apps = if *apps == 1 { "1 app".to_owned() } else { format!("{apps} apps") };
                writeln!(f, "the suite {suite} {word} (serial {serial}, {apps})")
            }
            Self::SuiteShow(view) => view.fmt(f),
            Self::SuiteMirror { suite, store, copied } => mirrored(f, suite, store, copied),
            Self::Rollout(summary) => write!(f, "{summary}"),
            Self::FleetStatus(status) => write!(f, "{status}"),
            Self::KeysNew { trust_line, .. } => writeln!(f, "{trust_line}"),
            Self::KeysShow { fingerprint, key } => writeln!(f, "{fingerprint}\n{key}"),
            Self::Version { version } => writeln!(f, "pannier {version}"),
        }
    }
}

fn promoted(
    f: &mut fmt::Formatter<'_>,
    pointer: &Channel,
    before: Option<&Version>,
    renewal: bool,
    dropped: &[Target],
) -> fmt::Result {
    let Channel { app, channel, version, serial, not_after, .. } = pointer;
    let before = before.filter(|_| !renewal).map(|before| format!(", before {before}")).unwrap_or_default();
    let word = if renewal { "is renewed at" } else { "points at" };
    writeln!(f, "{app} @{channel} {word} {version} (serial {serial}{before}, fresh until {not_after})")?;
    dropped.iter().try_for_each(|target| writeln!(f, "no longer served: {target}"))
}

fn mirrored(f: &mut fmt::Formatter<'_>, suite: &SuiteName, store: &str, copied: &Copied) -> fmt::Result {
    let Copied { serial, releases, bytes, there, moved, .. } = copied;
    let bytes = human::bytes(*bytes);
    writeln!(f, "{releases} releases copied ({bytes}), {there} were there; {moved} channels moved")?;
    writeln!(f, "nodes of the suite {suite} (serial {serial}) can be brought back from {store}")
}

impl Display for ReleaseRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<20} {:<20}", self.version, self.target)?;
        match (&self.refused, self.size, &self.signer) {
            (None, Some(size), Some(signer)) => {
                write!(f, " {:>10}  signed by {}", human::bytes(size), human::harmless(signer))?
            }
            (refused, ..) => write!(f, " REFUSED: {}", human::harmless(refused.as_deref().unwrap_or_default()))?,
        }
        self.channels.iter().try_for_each(|channel| write!(f, "  @{channel}"))
    }
}

impl Display for ChannelRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{:<19}", self.channel)?;
        match (&self.refused, &self.version, self.serial) {
            (None, Some(version), Some(serial)) => write!(f, " {version} (serial {serial})")?,
            (refused, ..) => write!(f, " REFUSED: {}", human::harmless(refused.as_deref().unwrap_or_default()))?,
        }
        if self.stale {
            write!(f, "  STALE: should have been renewed by now")?;
        }
        self.astray.iter().try_for_each(|target| write!(f, "  nodes will refuse it for {target}"))
    }
}
