//! `pannier suite mirror`: copies what a suite's roles need now into a second store, so that a node can be brought back
//! from there: a disk in a drawer, a bucket of another provider.
//!
//! [`TABLE`] is the operation. Each release is verified on its way (it is fetched into a folder and published from there, by
//! the same steps as any other), and only what is missing is copied. Pointers move by compare-and-swap, and forward only: a
//! copy that is newer than the source is not the copy's fault. All that can be refused is found out before the first byte is
//! copied. Releases come first, then channels, the suite last: whatever the copy's suite names is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::event::{Amount, Event, Silent, Sink};
use pannier_shared::id::{AppName, SuiteName};
use pannier_shared::keys;
use pannier_shared::published::{PresentSuite, Published};
use pannier_shared::signature::{Trust, Verified};
use pannier_shared::statement::suite::Runs;
use pannier_shared::statement::{Channel, DOCUMENT_LIMIT, Document, Statement, Suite};
use pannier_shared::steps::{self, Done, Step, Undo};
use pannier_shared::store::{self, Condition, Etag, Key, MAX_RANGE, Store};
use pannier_shared::sys::fs;
use tokio::runtime::Runtime;

use crate::publish::{self, ARTIFACT_FILE, Publication, STATEMENT_FILE, publish};

const STAYS: &str = "what was copied is whole, and the next run finds it";

/// The whole operation.
pub const TABLE: &[Step<Mirror, Error>] = &[
    Step { name: "suite", does: "read the suite", run: read, undo: Undo::Nothing("it only reads") },
    Step { name: "compare", does: "compare with the copy", run: compare, undo: Undo::Nothing("it only reads") },
    Step { name: COPY, does: "copy releases", run: copy, undo: Undo::Nothing(STAYS) },
    Step { name: "channels", does: "move the copy's channels", run: channels, undo: Undo::Nothing(STAYS) },
    Step { name: "announce", does: "store the suite", run: announce, undo: Undo::Nothing("it is the last step") },
];

mod error;

pub use error::Error;

const COPY: &str = "copy";

/// Ranges that are fetched at once.
const AT_ONCE: usize = 4;

/// A store and what runs its calls: one for each release that is published.
pub type Reopen = Box<dyn Fn() -> Result<(Runtime, Box<dyn Store>), store::Error>>;

/// Between which stores, and by whose word.
pub struct Between {
    /// What is copied from.
    pub from: Box<dyn Store>,
    /// What is copied to.
    pub to: Box<dyn Store>,
    /// What is copied to, opened once more.
    pub reopen: Reopen,
    /// Whose signatures count, on both sides.
    pub trust: Trust,
    /// The trust file, which is laid beside the copy for people.
    pub trust_text: Vec<u8>,
    /// The time at which keys must be valid.
    pub now: jiff::Timestamp,
    /// What the stores' calls run on.
    pub runtime: Runtime,
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Copied {
    /// The suite's serial.
    pub serial: u64,
    /// Releases that were copied.
    pub releases: usize,
    /// Their archives' bytes.
    pub bytes: u64,
    /// Releases that were there.
    pub there: usize,
    /// Channels that were moved.
    pub moved: usize,
    /// Whether the suite was stored anew.
    pub suite_moved: bool,
}

/// A copy under way.
pub struct Mirror {
    between: Between,
    suite: SuiteName,
    scratch: std::path::PathBuf,
    sink: std::sync::Arc<dyn Sink>,
    document: Option<Verified<Suite>>,
    pointers: Vec<Verified<Channel>>,
    wanted: Vec<Verified<Statement>>,
    missing: Vec<Verified<Statement>>,
    behind: Vec<Behind>,
    copied: Copied,
}

/// A document that the copy does not have yet.
struct Behind {
    what: String,
    key: Key,
    bytes: Vec<u8>,
    condition: Condition,
}

impl Mirror {
    fn source(&self) -> Published<'_> {
        Published { store: &*self.between.from, trust: &self.between.trust, now: self.between.now }
    }

    fn copy(&self) -> Published<'_> {
        Published { store: &*self.between.to, trust: &self.between.trust, now: self.between.now }
    }

    fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.between.runtime.block_on(work)
    }
}

/// Copies what `suite` needs; `scratch` is a folder of its own for one release at a time.
pub fn mirror(
    between: Between,
    suite: &SuiteName,
    scratch: &Path,
    sink: &std::sync::Arc<dyn Sink>,
) -> Result<Copied, Error> {
    let (suite, scratch, sink) = (suite.clone(), scratch.to_owned(), std::sync::Arc::clone(sink));
    let (document, pointers, wanted, missing, behind) = (None, Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let copied = Copied::default();
    let mut run = Mirror {
        between,
        suite,
        scratch,
        sink: std::sync::Arc::clone(&sink),
        document,
        pointers,
        wanted,
        missing,
        behind,
        copied,
    };
    steps::run(TABLE, &mut run, &*sink).map_err(|failure| failure.error)?;
    Ok(run.copied)
}

/// Every release once, whichever roles and channels it has.
fn read(run: &mut Mirror) -> Result<Done, Error> {
    let document = run.block_on(run.source().suite(&run.suite))?.document;
    let members = document.roles.values().flatten();
    let wanted: BTreeSet<(AppName, Runs)> = members.map(|(app, member)| (app.clone(), member.runs.clone())).collect();
    let mut statements = BTreeMap::new();
    for (app, runs) in &wanted {
        if let Runs::Channel(channel) = runs {
            let pointer = run.block_on(run.source().channel(app, channel))?.document;
            run.pointers.push(pointer);
        }
        for (target, statement) in run.block_on(run.source().statements_of(app, runs))? {
            statements.insert((app.clone(), statement.release.version.clone(), target), statement);
        }
    }
    run.wanted = statements.into_values().collect();
    run.copied.serial = document.serial;
    let said = format!("serial {}, {} releases", document.serial, run.wanted.len());
    run.document = Some(document);
    Ok(Done::said(said))
}

fn compare(run: &mut Mirror) -> Result<Done, Error> {
    for statement in std::mem::take(&mut run.wanted) {
        if run.block_on(is_there(&run.copy(), &statement))? {
            run.copied.there += 1
        } else {
            run.missing.push(statement)
        }
    }
    let mut behind = Vec::new();
    for pointer in &run.pointers {
        let (app, channel) = (&pointer.app, &pointer.channel);
        let there = run.block_on(run.copy().channel_if_there(app, channel)).map_err(Error::Copy)?;
        let what = format!("the channel `{channel}` of `{app}`");
        let there = there.as_ref().map(|there| (of_channel(&there.document), &there.etag));
        behind.extend(forward(what, keys::channel(app, channel), of_channel(pointer), there)?);
    }
    run.copied.moved = behind.len();
    if let Some(document) = &run.document {
        let there = run.block_on(run.copy().suite_if_there(&run.suite)).map_err(Error::Copy)?;
        let there = there.as_ref().map(|PresentSuite { document, etag }| (of_suite(document), etag));
        let what = format!("the suite `{}`", run.suite);
        behind.extend(forward(what, keys::suite(&run.suite), of_suite(document), there)?);
    }
    run.copied.suite_moved = behind.len() > run.copied.moved;
    run.behind = behind;
    Ok(Done::said(format!("{} releases are missing", run.missing.len())))
}

/// Whether the copy has this very release. The statement comes last, so the rest is there where it is.
async fn is_there(copy: &Published<'_>, ours: &Verified<Statement>) -> Result<bool, Error> {
    let release = &ours.release;
    let key = keys::statement(&release.app, &release.version, &release.target);
    match copy.store.get(&key, Statement::LIMIT).await {
        Err(store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(Error::Copy(error.into())),
        Ok(there) if there.bytes == ours.bytes() => Ok(true),
        Ok(_) => Err(Error::Different {
            app: release.app.clone(),
            version: release.version.clone(),
            target: release.target.clone(),
        }),
    }
}

/// What a document that moves is compared by.
struct Moving<'a> {
    epoch: u64,
    serial: u64,
    bytes: &'a [u8],
}

fn of_channel(document: &Verified<Channel>) -> Moving<'_> {
    Moving { epoch: document.epoch, serial: document.serial, bytes: document.bytes() }
}

fn of_suite(document: &Verified<Suite>) -> Moving<'_> {
    Moving { epoch: document.epoch, serial: document.serial, bytes: document.bytes() }
}

/// What is to be written so that the copy has `ours`; nothing when it has.
fn forward(what: String, key: Key, ours: Moving, there: Option<(Moving, &Etag)>) -> Result<Option<Behind>, Error> {
    let bytes = ours.bytes.to_vec();
    let Some((theirs, etag)) = there else {
        return Ok(Some(Behind { what, key, bytes, condition: Condition::Absent }));
    };
    match (ours.epoch, ours.serial).cmp(&(theirs.epoch, theirs.serial)) {
        std::cmp::Ordering::Less => Err(Error::Ahead { what, here: ours.serial, there: theirs.serial }),
        std::cmp::Ordering::Greater => {
            Ok(Some(Behind { what, key, bytes, condition: Condition::Unchanged(etag.clone()) }))
        }
        std::cmp::Ordering::Equal if theirs.bytes == ours.bytes => Ok(None),
        std::cmp::Ordering::Equal => Err(Error::Forked { what, serial: ours.serial }),
    }
}

fn copy(run: &mut Mirror) -> Result<Done, Error> {
    let missing = std::mem::take(&mut run.missing);
    let total: u64 = missing.iter().map(|statement| statement.artifact.size).sum();
    let total = Amount { bytes: total, items: missing.len() as u64 };
    for statement in &missing {
        let folder = run.scratch.join(fs::random_name());
        fs::create_dir_all(&folder)?;
        let done = run.block_on(fetch(run, statement, &folder)).and_then(|()| put(run, statement, &folder));
        fs::remove_tree(&folder)?;
        done?;
        run.copied.releases += 1;
        run.copied.bytes += statement.artifact.size;
        let done = Amount { bytes: run.copied.bytes, items: run.copied.releases as u64 };
        run.sink.emit(Event::Advanced { step: COPY, done, total: Some(total) });
    }
    Ok(Done::default().moved(run.copied.bytes, run.copied.releases as u64))
}

/// Brings a release into a folder, as a build would have left it.
async fn fetch(run: &Mirror, statement: &Verified<Statement>, folder: &Path) -> Result<(), Error> {
    let (store, release) = (&*run.between.from, &statement.release);
    let (app, version, target) = (&release.app, &release.version, &release.target);
    fs::write(&folder.join(STATEMENT_FILE), statement.bytes())?;
    for name in statement.documents.keys() {
        let key = keys::document(app, version, target, name);
        let got = store.get(&key, DOCUMENT_LIMIT).await;
        let bytes = got.map_err(|source| Error::Fetch { key, source })?.bytes;
        fs::write(&folder.join(name.as_str()), &bytes)?;
    }
    let (key, path) = (keys::artifact(app, version, target), folder.join(ARTIFACT_FILE));
    let mut file = fs::create_new(&path)?;
    let size = statement.artifact.size;
    let ranges = (0..size).step_by(MAX_RANGE as usize).map(|at| at..size.min(at + MAX_RANGE));
    let fetch = |range| store.get_range(&key, range, None);
    let mut parts = stream::iter(ranges).map(fetch).buffered(AT_ONCE);
    loop {
        let part = parts.try_next().await.map_err(|source| Error::Fetch { key: key.clone(), source })?;
        let Some(part) = part else { return Ok(()) };
        std::io::Write::write_all(&mut file, &part).map_err(fs::failed("write", &path))?;
    }
}

/// Publishes it from there, which checks every byte against the statement.
fn put(run: &Mirror, statement: &Verified<Statement>, folder: &Path) -> Result<(), Error> {
    let release = &statement.release;
    let failed = |source: publish::Error| Error::Publish {
        app: release.app.clone(),
        version: release.version.clone(),
        source: Box::new(source),
    };
    let Between { reopen, trust, now, .. } = &run.between;
    let (runtime, store) = reopen().map_err(Error::Store)?;
    let publication = Publication::open(folder, store, runtime, trust.clone(), *now).map_err(failed)?;
    publish(publication, &Silent).map_err(failed)?;
    Ok(())
}

fn channels(run: &mut Mirror) -> Result<Done, Error> {
    let suite = keys::suite(&run.suite);
    for behind in run.behind.iter().filter(|behind| behind.key != suite) {
        write(run, behind)?;
    }
    Ok(Done::default().moved(0, run.copied.moved as u64))
}

fn announce(run: &mut Mirror) -> Result<Done, Error> {
    run.block_on(lay_trust(run)).map_err(Error::Store)?;
    let suite = keys::suite(&run.suite);
    match run.behind.iter().find(|behind| behind.key == suite) {
        Some(behind) => write(run, behind)?,
        None => return Ok(Done::said("it is there already")),
    }
    Ok(Done::said(format!("serial {}", run.copied.serial)))
}

fn write(run: &Mirror, behind: &Behind) -> Result<(), Error> {
    let Behind { what, key, bytes, condition } = behind;
    match run.block_on(run.between.to.put(key, bytes.clone().into(), condition.clone())) {
        Ok(_) => Ok(()),
        Err(store::Error::Changed { .. } | store::Error::AlreadyExists { .. }) => {
            Err(Error::Overtaken { what: what.clone() })
        }
        Err(error) => Err(Error::Store(error)),
    }
}

/// Lays the trust file beside the copy. Whoever uses it compares it first with one from elsewhere.
async fn lay_trust(run: &Mirror) -> store::Result<()> {
    let (key, text) = (keys::suite_trust(&run.suite), &run.between.trust_text);
    let condition = match run.between.to.get(&key, 1 << 20).await {
        Ok(there) if there.bytes == *text => return Ok(()),
        Ok(there) => Condition::Unchanged(there.etag),
        Err(store::Error::NotFound { .. }) => Condition::Absent,
        Err(error) => return Err(error),
    };
    run.between.to.put(&key, text.clone().into(), condition).await.map(drop)
}
