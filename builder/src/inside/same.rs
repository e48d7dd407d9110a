//! `pannier build --verify-against`: whether a published release comes out the same when it is built again, and if not,
//! where it differs first. In archive order, so that a cause comes before what follows from it: what the release
//! says of itself, which differs with anything, comes last.

use std::fmt;

use pannier_shared::archive::compare::{Aspect, Change, Comparison};
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::report::human;
use serde::Serialize;

use super::Inside;
use super::diff::{Setting, settings};
use crate::build::Rebuilt;

/// What came of building a published release again.
#[derive(Debug, Serialize)]
pub struct Verdict {
    app: AppName,
    version: Version,
    target: Target,
    #[serde(flatten)]
    outcome: Outcome,
    /// What the two say differently of themselves.
    settings: Vec<Setting>,
}

/// The same or not.
#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
enum Outcome {
    /// Every byte of the artifact.
    Same { artifact: Digest },
    /// Every file, but not the archive they are in.
    OtherArchive { published: Packing, rebuilt: Packing },
    /// Some files.
    Different { first: FileDifference, differing: u64 },
}

/// An archive, and what packed it.
#[derive(Debug, Serialize)]
struct Packing {
    artifact: Digest,
    encoder: String,
}

/// A file or link that is not the same.
#[derive(Debug, Serialize)]
struct FileDifference {
    path: String,
    #[serde(flatten)]
    what: What,
}

/// In what it differs.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum What {
    Content { published: Digest, rebuilt: Digest },
    Mode { published: &'static str, rebuilt: &'static str },
    LinkTarget,
    Kind,
    OnlyPublished,
    OnlyRebuilt,
}

impl Verdict {
    /// Compares a published release with one built again.
    pub fn of(published: &Inside, rebuilt: &Rebuilt) -> Self {
        let release = published.release();
        Self {
            app: release.app.clone(),
            version: release.version.clone(),
            target: release.target.clone(),
            outcome: Outcome::of(published, rebuilt),
            settings: settings(release, &rebuilt.description),
        }
    }

    /// Whether every byte of the artifact is the same.
    pub fn is_same(&self) -> bool {
        matches!(self.outcome, Outcome::Same { .. })
    }
}

impl Outcome {
    fn of(published: &Inside, rebuilt: &Rebuilt) -> Self {
        let (there, here) = (published.statement.artifact.sha256, rebuilt.artifact.sha256);
        if there == here {
            return Self::Same { artifact: here };
        }
        let mut differing = differing(published, rebuilt);
        if differing.is_empty() {
            let encoder = |outline: &pannier_shared::archive::read::Outline| outline.root().encoder.clone();
            let published = Packing { artifact: there, encoder: encoder(published.contents.outline()) };
            let rebuilt = Packing { artifact: here, encoder: encoder(rebuilt.contents.outline()) };
            return Self::OtherArchive { published, rebuilt };
        }
        let count = differing.len() as u64;
        Self::Different { first: differing.swap_remove(0), differing: count }
    }
}

/// All that differs, by part in archive order, then sources before byte code, then by path.
fn differing(published: &Inside, rebuilt: &Rebuilt) -> Vec<FileDifference> {
    let mut comparison = Comparison::with(rebuilt.contents.tables());
    let mut found = Vec::new();
    for (class, _, _, table) in published.groups() {
        let changes = comparison.take(table).filter_map(|(path, change)| Some((path, What::of(change)?)));
        found.extend(changes.map(|(path, what)| (class, FileDifference { path: path.to_owned(), what })));
    }
    let groups = &rebuilt.contents.outline().root().groups;
    let added = comparison.added();
    found.extend(
        added.map(|(group, path)| {
            (groups[group].class, FileDifference { path: path.to_owned(), what: What::OnlyRebuilt })
        }),
    );
    // Byte code differs because its source does.
    let compiled = |file: &FileDifference| file.path.ends_with(".pyc");
    found.sort_by(|(a, one), (b, other)| (a, compiled(one), &one.path).cmp(&(b, compiled(other), &other.path)));
    found.into_iter().map(|(_, file)| file).collect()
}

impl What {
    fn of(change: Change) -> Option<Self> {
        Some(match change {
            Change::Kept => return None,
            Change::Removed => Self::OnlyPublished,
            Change::Changed(Aspect::Content { old, new }) => Self::Content { published: old, rebuilt: new },
            Change::Changed(Aspect::Mode { was_executable: true }) => Self::Mode { published: "0755", rebuilt: "0644" },
            Change::Changed(Aspect::Mode { was_executable: false }) => {
                Self::Mode { published: "0644", rebuilt: "0755" }
            }
            Change::Changed(Aspect::LinkTarget) => Self::LinkTarget,
            Change::Changed(Aspect::Kind) => Self::Kind,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{} {} for {}", self.app, self.version, self.target);
        match &self.outcome {
            Outcome::Same { artifact } => return writeln!(f, "{name} is the same when built again: sha256:{artifact}"),
            Outcome::OtherArchive { published, rebuilt } => {
                writeln!(f, "{name} has the same files when built again, but they are packed differently")?;
                writeln!(f, "published  sha256:{}  {}", published.artifact, human::harmless(&published.encoder))?;
                writeln!(f, "rebuilt    sha256:{}  {}", rebuilt.artifact, human::harmless(&rebuilt.encoder))?;
            }
            Outcome::Different { first, differing } => {
                let count = human::number(*differing);
                writeln!(f, "{name} DIFFERS when built again, in {count} of its files and links")?;
                writeln!(f, "the first is `{}`: {}", human::harmless(&first.path), first.what)?;
            }
        }
        self.settings.iter().try_for_each(|setting| writeln!(f, "{setting}"))
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { published, rebuilt } => {
                write!(f, "its content is published as sha256 {published} and was rebuilt as {rebuilt}")
            }
            Self::Mode { published, rebuilt } => {
                write!(f, "its mode is published as {published} and was rebuilt as {rebuilt}")
            }
            Self::LinkTarget => f.write_str("the link leads elsewhere"),
            Self::Kind => f.write_str("it is a file in one and a link in the other"),
            Self::OnlyPublished => f.write_str("it is published only, and was not rebuilt"),
            Self::OnlyRebuilt => f.write_str("it was rebuilt, and is not published"),
        }
    }
}
