//! `pannier publish`: puts a built release into the store, where it is never changed again.
//!
//! The artifact goes first, then the documents, and the statement last, both only where nothing lies: so whoever finds a statement finds the
//! whole release. Where static files have a place of their own ([`crate::static_host`]), they go before all of these: pages may
//! ask for them as soon as the release can be promoted, and what they are refused for is said before 100 MB are sent. Nothing has to be undone: an artifact without a statement is seen by nobody, and publishing the
//! same release again goes on from there. What lies there already is compared by content: equal is success,
//! different is refused, and of two who publish at once one wins and the other is told.

mod documents;
mod hosting;
mod previous;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pannier_shared::digest::{self, Digest, Hasher};
use pannier_shared::event::Sink;
use pannier_shared::id::Version;
use pannier_shared::keys;
use pannier_shared::published::Published;
use pannier_shared::report::human::bytes;
use pannier_shared::signature::{Trust, Verified, VerifyError, verify};
use pannier_shared::statement::{DOCUMENT_LIMIT, Document, Statement};
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::store::upload::Upload;
use pannier_shared::store::{self, Condition, Key, MAX_RANGE, Store};
use pannier_shared::sys::fs;
use tokio::runtime::Runtime;

use crate::static_host::{self, Hosted, Hosting};

/// The archive's name in the folder that a build makes.
pub const ARTIFACT_FILE: &str = "artifact.tar.zst";
/// The statement's name in the folder that a build makes.
pub const STATEMENT_FILE: &str = "release.json";

/// The whole operation.
pub const TABLE: &[Step<Publication, Error>] = &[
    Step {
        name: "look",
        does: "look for the same version in the store",
        run: look,
        undo: Undo::Nothing("it only reads"),
    },
    Step {
        name: "check",
        does: "check the artifact against its statement",
        run: check,
        undo: Undo::Nothing("it only reads"),
    },
    Step {
        name: hosting::STEP,
        does: "put the static files where browsers get them",
        run: hosting::host,
        undo: Undo::Nothing(
            "their names are of their content, so they are in nobody's way, and the next try finds them",
        ),
    },
    Step { name: "upload", does: "upload the artifact", run: upload, undo: Undo::Nothing(INVISIBLE) },
    Step { name: "documents", does: "publish the documents beside it", run: attach, undo: Undo::Nothing(INVISIBLE) },
    Step { name: "announce", does: "publish the statement", run: announce, undo: Undo::Nothing("it is the last step") },
];

const INVISIBLE: &str = "without a statement nobody sees the artifact, and the next try uses it";

/// Why a release was not published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The build's files could not be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The statement beside the artifact is not signed by a key that counts here.
    #[error("`{}` is not a statement to publish", .path.display())]
    Statement {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifyError,
    },
    /// The artifact was changed after it was built.
    #[error("`{}` is not the artifact that its statement describes: expected {expected}, found {found}", .path.display())]
    Artifact {
        /// The file.
        path: PathBuf,
        /// Size and digest from the statement.
        expected: String,
        /// Size and digest of the file.
        found: String,
    },
    /// A document was changed after it was built.
    #[error("`{}` is not the document that its statement names: expected {expected}, found {found}", .path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Size and digest from the statement.
        expected: String,
        /// Size and digest of the file.
        found: String,
    },
    /// The static files are not where browsers get them.
    #[error("failed to put the static files into {place}; {state}")]
    Static {
        /// The place.
        place: String,
        /// What is true of the release now.
        state: &'static str,
        /// Why.
        #[source]
        source: Box<static_host::Error>,
    },
    /// The store failed.
    #[error("failed to publish to the store")]
    Store(#[from] store::Error),
    /// Something else lies under this version.
    #[error("version `{version}` of `{app}` is already published with different content: {what}")]
    Different {
        /// The app.
        app: String,
        /// The version.
        version: String,
        /// What differs.
        what: String,
    },
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Different { .. } => {
                Some("a published version is never changed: build under another name, with `--version`".to_owned())
            }
            Self::Artifact { .. } | Self::Document { .. } => Some("run `pannier build` again".to_owned()),
            Self::Statement { source, .. } => source.hint(),
            Self::Static { source, .. } => source.hint(),
            Self::Store(error) => error.hint(),
            Self::Fs(_) => None,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The release was not there before.
    Published,
    /// The same release was there already; nothing was changed.
    SameAlready,
}

/// A release on its way into the store: what the steps know and find out.
pub struct Publication {
    store: Box<dyn Store>,
    runtime: Runtime,
    trust: Trust,
    now: Timestamp,
    folder: PathBuf,
    statement: Verified<Statement>,
    found: Option<Outcome>,
    hosting: Option<Hosting>,
    hosted: Option<Hosted>,
}

/// A release that is in the store.
pub struct Announced {
    /// What came of it.
    pub outcome: Outcome,
    /// The release.
    pub statement: Verified<Statement>,
    /// What came of its static files, where they have a place of their own.
    pub hosted: Option<Hosted>,
}

impl Publication {
    /// Takes the folder that `pannier build` made; its statement must hold against `trust`.
    pub fn open(
        folder: &Path,
        store: Box<dyn Store>,
        runtime: Runtime,
        trust: Trust,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let path = folder.join(STATEMENT_FILE);
        let bytes = fs::read(&path, Statement::LIMIT)?;
        let statement = verify(&bytes, &trust, now).map_err(|source| Error::Statement { path, source })?;
        let folder = folder.to_owned();
        Ok(Self { store, runtime, trust, now, folder, statement, found: None, hosting: None, hosted: None })
    }

    /// Has the release's static files put into a place of their own, before it is announced.
    pub fn hosting(self, hosting: Option<Hosting>) -> Self {
        Self { hosting, ..self }
    }

    /// The statement that is published.
    pub fn statement(&self) -> &Verified<Statement> {
        &self.statement
    }

    fn artifact_key(&self) -> Key {
        let release = &self.statement.release;
        keys::artifact(&release.app, &release.version, &release.target)
    }

    fn statement_key(&self) -> Key {
        let release = &self.statement.release;
        keys::statement(&release.app, &release.version, &release.target)
    }

    fn different(&self, what: impl Into<String>) -> Error {
        let release = &self.statement.release;
        Error::Different { app: release.app.to_string(), version: release.version.to_string(), what: what.into() }
    }

    /// Compares what lies under the statement's key with ours; `None` when nothing does.
    fn compare_statement(&self) -> Result<Option<Outcome>, Error> {
        let there = match self.runtime.block_on(self.store.get(&self.statement_key(), Statement::LIMIT)) {
            Err(store::Error::NotFound { .. }) => return Ok(None),
            other => other?.bytes,
        };
        if there == self.statement.bytes() {
            return Ok(Some(Outcome::SameAlready));
        }
        // Signed by another key, but the same in every word: the same release.
        match verify::<Statement>(&there, &self.trust, self.now) {
            Ok(theirs) if *theirs == *self.statement => Ok(Some(Outcome::SameAlready)),
            Ok(theirs) => Err(self.different(difference(&self.statement, &theirs))),
            Err(_) => Err(self.different("its statement is not signed by a key that is trusted here")),
        }
    }
}

/// The first thing in which two statements of one version differ.
fn difference(ours: &Statement, theirs: &Statement) -> String {
    let (a, b) = (&ours.artifact, &theirs.artifact);
    if a.sha256 != b.sha256 {
        return format!("its artifact has sha256 {}, this one {}", b.sha256, a.sha256);
    }
    "the artifact is the same, what the statement says of it is not".to_owned()
}

/// Publishes, or finds that it was published already.
pub fn publish(mut publication: Publication, sink: &dyn Sink) -> Result<Announced, Error> {
    steps::run(TABLE, &mut publication, sink).map_err(|failure| failure.error)?;
    let Publication { found, statement, hosted, .. } = publication;
    Ok(Announced { outcome: found.unwrap_or(Outcome::Published), statement, hosted })
}

fn look(publication: &mut Publication) -> Result<Done, Error> {
    publication.found = publication.compare_statement()?;
    Ok(Done::said(match publication.found {
        Some(_) => "it is published already, with the same content",
        None => "it is new",
    }))
}

fn check(publication: &mut Publication) -> Result<Done, Error> {
    let path = publication.folder.join(ARTIFACT_FILE);
    let artifact = &publication.statement.artifact;
    let (sha256, size) = digest::of_reader(fs::open(&path)?).map_err(fs::failed("read", &path))?;
    if (sha256, size) != (artifact.sha256, artifact.size) {
        let (expected, found) = (words(artifact.size, &artifact.sha256), words(size, &sha256));
        return Err(Error::Artifact { path, expected, found });
    }
    for name in publication.statement.documents.keys() {
        documents::read(&publication.folder, &publication.statement, name)?;
    }
    Ok(Done::said(format!("sha256 {sha256}")))
}

fn words(size: u64, sha256: &Digest) -> String {
    format!("{size} bytes with sha256 {sha256}")
}

fn upload(publication: &mut Publication) -> Result<Done, Error> {
    if publication.found.is_some() {
        return Ok(Done::said("nothing to upload"));
    }
    let (key, artifact) = (publication.artifact_key(), publication.statement.artifact.clone());
    let path = publication.folder.join(ARTIFACT_FILE);
    let file = Upload::new(&path, artifact.size, artifact.sha256);
    let (file, known) = with_shared(publication, file);
    let put = publication.store.put_file(&key, &file);
    match publication.runtime.block_on(put) {
        Ok(stored) => {
            let sent = artifact.size.saturating_sub(stored.copied);
            let said = match known {
                Known::Of(version) if stored.copied > 0 => {
                    format!("the store copied {} of {version}, {} were sent", bytes(stored.copied), bytes(sent))
                }
                Known::Not(why) => format!("all of it was sent: {why}"),
                Known::Of(_) | Known::Nothing => String::new(),
            };
            Ok(Done::said(said).moved(sent, 1))
        }
        Err(store::Error::AlreadyExists { .. }) => compare_artifact(publication, &key),
        Err(error) => Err(error.into()),
    }
}

/// What is known of an earlier release.
enum Known {
    Nothing,
    Of(Version),
    /// It could not be looked at, which is no reason not to publish.
    Not(String),
}

/// Adds to a file what the store has of it, if it can make use of that.
fn with_shared(publication: &Publication, file: Upload) -> (Upload, Known) {
    if !publication.store.can_copy() {
        return (file, Known::Nothing);
    }
    let published = Published { store: &*publication.store, trust: &publication.trust, now: publication.now };
    let looked = previous::find(&published, &publication.statement, file.path());
    match publication.runtime.block_on(looked) {
        Ok(Some(previous)) => (file.sharing(previous.shared), Known::Of(previous.version)),
        Ok(None) => (file, Known::Nothing),
        Err(error) => (file, Known::Not(error.to_string())),
    }
}

/// An artifact without a statement: an earlier try that was cut off, or somebody who is publishing at this moment.
fn compare_artifact(publication: &Publication, key: &Key) -> Result<Done, Error> {
    let ours = &publication.statement.artifact;
    let theirs = publication.runtime.block_on(measure(&*publication.store, key))?;
    if theirs == (ours.size, ours.sha256) {
        return Ok(Done::said("the same artifact lies there already, from a try that did not end"));
    }
    Err(publication.different("another artifact lies there, from somebody who publishes now or did not end"))
}

async fn measure(store: &dyn Store, key: &Key) -> Result<(u64, Digest), store::Error> {
    let meta = store.head(key).await?;
    let mut hasher = Hasher::default();
    while hasher.length() < meta.size {
        let at = hasher.length();
        hasher.update(&store.get_range(key, at..meta.size.min(at + MAX_RANGE), Some(&meta.etag)).await?);
    }
    Ok((meta.size, hasher.finish()))
}

fn attach(publication: &mut Publication) -> Result<Done, Error> {
    if publication.found.is_some() {
        return Ok(Done::said("nothing to publish"));
    }
    let release = &publication.statement.release;
    for name in publication.statement.documents.keys() {
        let bytes = documents::read(&publication.folder, &publication.statement, name)?;
        let key = keys::document(&release.app, &release.version, &release.target, name);
        let put = publication.store.put(&key, bytes.clone().into(), Condition::Absent);
        match publication.runtime.block_on(put) {
            Ok(_) => {}
            Err(store::Error::AlreadyExists { .. }) => {
                let there = publication.runtime.block_on(publication.store.get(&key, DOCUMENT_LIMIT))?.bytes;
                if there != bytes {
                    return Err(publication.different(format!("another `{name}` lies there")));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Done::default().moved(0, publication.statement.documents.len() as u64))
}

fn announce(publication: &mut Publication) -> Result<Done, Error> {
    if publication.found.is_some() {
        return Ok(Done::said("nothing to publish"));
    }
    let (key, text) = (publication.statement_key(), publication.statement.bytes().to_vec());
    let put = publication.store.put(&key, text.into(), Condition::Absent);
    match publication.runtime.block_on(put) {
        Ok(_) => Ok(Done::said(key.to_string())),
        Err(store::Error::AlreadyExists { .. }) => {
            publication.found = publication.compare_statement()?;
            Ok(Done::said("somebody else published the same release meanwhile"))
        }
        Err(error) => Err(error.into()),
    }
}
