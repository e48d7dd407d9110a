//! What is inside a release, read through the chain of proof: its statement must hold against the trust file, its
//! root and tables against the statement, and so must the documents beside the artifact. The frames that hold the files are not read.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use pannier_shared::archive::read::{self, Contents, Outline, tail_range};
use pannier_shared::archive::toc::{Class, Table};
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::keys;
use pannier_shared::published::{self, Published};
use pannier_shared::signature::{Trust, Verified, VerifyError, verify};
use pannier_shared::statement::{
    Artifact, Attached, DOCUMENT_LIMIT, Description, Document, Interpreter, InterpreterOrigin, Statement,
};
use pannier_shared::store::{self, Key, MAX_RANGE, Store};
use pannier_shared::sys::fs;

use crate::publish::{ARTIFACT_FILE, STATEMENT_FILE};

pub mod diff;
pub mod migrations;
pub mod same;
pub mod show;

/// A release that is known by its statement and its tables.
#[derive(Debug)]
pub struct Inside {
    /// Its statement.
    pub statement: Verified<Statement>,
    /// Its tree and frames.
    pub contents: Contents,
    /// Where it was read: a folder or a store.
    pub place: String,
}

/// A release that cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no such release, or it is not to be believed.
    #[error(transparent)]
    Published(#[from] Box<published::Error>),
    /// A folder without a release in it.
    #[error("`{}` is no release: there is no `{STATEMENT_FILE}` in it", .0.display())]
    NoRelease(PathBuf),
    /// The statement in a folder is not to be believed.
    #[error("failed to verify `{}`", .path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// The artifact is not the one that was signed.
    #[error("`{artifact}` is not what its statement says")]
    Archive {
        /// Where it lies.
        artifact: String,
        /// What is wrong with it.
        #[source]
        source: read::Error,
    },
    /// A document is not the one that was signed.
    #[error("`{document}` is not the one that the statement names: expected sha256 {expected}, found {found}")]
    Document {
        /// Where it lies.
        document: String,
        /// From the statement.
        expected: Digest,
        /// Of what lies there.
        found: Digest,
    },
    /// A version is there for several kinds of machines, and none was named.
    #[error("`{app}` {version} is there for several kinds of machines: {}", listed(.targets))]
    ManyTargets {
        /// The app.
        app: AppName,
        /// The version.
        version: Version,
        /// What there is.
        targets: Vec<Target>,
    },
}

fn listed(targets: &[Target]) -> String {
    targets.iter().map(|target| format!("`{target}`")).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// An artifact that is not what its statement says.
    pub fn of_archive(artifact: &Path, source: read::Error) -> Self {
        not_signed(artifact.display())(source)
    }

    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ManyTargets { targets, .. } => targets.first().map(|target| format!("name one: `--target {target}`")),
            Self::NoRelease(_) => Some("name a folder that `pannier build` made, or a published version".to_owned()),
            Self::Statement { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
            Self::Published(error) => error.hint(),
            Self::Fs(_) | Self::Archive { .. } | Self::Document { .. } => None,
        }
    }
}

impl From<published::Error> for Error {
    fn from(error: published::Error) -> Self {
        Self::Published(Box::new(error))
    }
}

type Result<T> = std::result::Result<T, Error>;

impl Inside {
    /// Looks into a folder that `pannier build` made.
    pub fn of_folder(folder: &Path, trust: &Trust, now: Timestamp) -> Result<Self> {
        let path = folder.join(STATEMENT_FILE);
        let bytes =
            fs::if_there(fs::read(&path, Statement::LIMIT))?.ok_or_else(|| Error::NoRelease(folder.to_owned()))?;
        let statement: Verified<Statement> =
            verify(&bytes, trust, now).map_err(|source| Error::Statement { path, source })?;
        let (outline, tables) = open_file(&folder.join(ARTIFACT_FILE), &statement.artifact)?;
        for (name, said) in &statement.documents {
            let path = folder.join(name.as_str());
            check(path.display(), said, &fs::read(&path, DOCUMENT_LIMIT)?)?;
        }
        let place = folder.display().to_string();
        let contents = outline.contents(tables).map_err(not_signed(&place))?;
        Ok(Self { statement, contents, place })
    }

    /// Looks into a published release; `target` may be left out where there is one only.
    pub async fn of_store(
        published: &Published<'_>,
        app: &AppName,
        version: &Version,
        target: Option<&Target>,
    ) -> Result<Self> {
        let statement = match target {
            Some(target) => published.statement(app, version, target).await?,
            None => only_target(published, app, version).await?,
        };
        let key = keys::artifact(app, version, &statement.release.target);
        let wrong = not_signed(&key);
        let tail = read_range(published.store, &key, tail_range(&statement.artifact).map_err(&wrong)?).await?;
        let outline = Outline::open(&statement.artifact, &tail).map_err(&wrong)?;
        let tables = read_range(published.store, &key, outline.tables_range()).await?;
        let tables = outline.tables(&tables).map_err(&wrong)?;
        let contents = outline.contents(tables).map_err(&wrong)?;
        for (name, said) in &statement.documents {
            let key = keys::document(app, version, &statement.release.target, name);
            check(&key, said, &published.store.get(&key, DOCUMENT_LIMIT).await?.bytes)?;
        }
        Ok(Self { statement, contents, place: published.store.location().to_owned() })
    }

    /// What it says of itself.
    pub fn release(&self) -> &Description {
        &self.statement.release
    }

    /// Its groups: which one, the bytes of its frames, and its table.
    fn groups(&self) -> impl Iterator<Item = (Class, &str, u64, &Table)> {
        let rows = self.contents.outline().root().groups.iter();
        rows.zip(self.contents.tables()).map(|(row, table)| (row.class, row.name.as_str(), row.length, table))
    }
}

async fn only_target(published: &Published<'_>, app: &AppName, version: &Version) -> Result<Verified<Statement>> {
    let mut found = published.release(app, version).await?;
    match (found.pop(), found.is_empty()) {
        (Some((_, statement)), true) => Ok(statement?),
        (last, _) => {
            let targets = found.into_iter().chain(last).map(|(target, _)| target).collect();
            Err(Error::ManyTargets { app: app.clone(), version: version.clone(), targets })
        }
    }
}

/// Root and tables of an artifact on this machine.
pub fn open_file(path: &Path, artifact: &Artifact) -> Result<(Outline, Vec<Table>)> {
    let (file, wrong) = (fs::open(path)?, not_signed(path.display()));
    let read = |range: Range<u64>| {
        let mut bytes = Vec::new();
        fs::read_range(&file, path, range.start, range.end - range.start, &mut bytes)?;
        Ok::<_, fs::Error>(bytes)
    };
    let outline = Outline::open(artifact, &read(tail_range(artifact).map_err(&wrong)?)?).map_err(&wrong)?;
    let tables = outline.tables(&read(outline.tables_range())?).map_err(&wrong)?;
    Ok((outline, tables))
}

fn check(document: impl ToString, said: &Attached, bytes: &[u8]) -> Result<()> {
    let found = Digest::of(bytes);
    if found == said.sha256 && bytes.len() as u64 == said.size {
        return Ok(());
    }
    Err(Error::Document { document: document.to_string(), expected: said.sha256, found })
}

fn not_signed(artifact: impl ToString) -> impl Fn(read::Error) -> Error {
    let artifact = artifact.to_string();
    move |source| Error::Archive { artifact: artifact.clone(), source }
}

/// A range of any length, in requests of at most [`MAX_RANGE`].
async fn read_range(store: &dyn Store, key: &Key, range: Range<u64>) -> Result<Bytes> {
    let mut all = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + MAX_RANGE);
        all.extend_from_slice(&store.get_range(key, at..end, None).await?);
        at = end;
    }
    Ok(all.freeze())
}

/// Files, and what they weigh.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Regular files and links.
    pub files: u64,
    /// Bytes of the files, unpacked.
    pub plain: u64,
    /// Bytes of their frames in the artifact; tar headers are in them.
    pub compressed: u64,
}

impl Size {
    fn add(&mut self, table: &Table, compressed: u64) {
        self.files += (table.files.len() + table.links.len()) as u64;
        self.plain += table.files.iter().map(|file| file.size).sum::<u64>();
        self.compressed += compressed;
    }
}

/// What a class is called: as the tables spell it.
fn class_name(class: Class) -> String {
    format!("{class:?}").to_lowercase()
}

/// The interpreter in words.
fn python(interpreter: &Interpreter) -> String {
    let Interpreter { version, python, abi, .. } = interpreter;
    match interpreter.origin {
        InterpreterOrigin::Bundled => format!("{version}, bundled ({abi})"),
        InterpreterOrigin::System => format!("{python}, of the node ({abi})"),
    }
}

/// The sizes of the groups of one class, by name.
fn sizes_of(inside: &Inside, class: Class) -> BTreeMap<String, Size> {
    let mut sizes: BTreeMap<String, Size> = BTreeMap::new();
    for (_, name, length, table) in inside.groups().filter(|group| group.0 == class) {
        sizes.entry(name.to_owned()).or_default().add(table, length);
    }
    sizes
}
