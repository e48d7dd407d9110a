//! Transfer: the proven table of contents first, then every frame, from the store into a staging folder.
//!
//! Ranges are fetched several at a time on the calling thread's runtime; decoders run on threads of their own and take
//! frames from a channel. What bounds memory is one budget: a range takes its bytes from it before it is asked for and
//! gives them back when the last of its frames was written. A decoder that fails sets a flag; it and the others then
//! only empty the channel, so that nobody waits for anybody, and the fetching ends at its next range.
//!
//! The digest of the whole file is not computed here: the chain proves every byte of it (see `archive::read`).

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Contents, Frame, Outline};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::keys;
use pannier_shared::statement::Statement;
use pannier_shared::store::{self, Key, MAX_RANGE, Store};
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::fs;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::unpack::{self, Unpacker};

/// The name this step has in its table and its events.
pub const STEP: &str = "transfer";
/// About how many bytes one request asks for; frames are not cut, so a range may be one frame longer.
const RANGE: u64 = 4 << 20;
/// Requests in flight.
const CONNECTIONS: usize = 4;
/// Bytes that may be on their way between the store and the disk, compressed. With one decoded frame per core this is
/// what keeps a fetch far below 128 MiB.
const BUDGET: u64 = 32 << 20;
/// Files in the folder of tables that prove a release on the node: the artifact's end, and its tables.
pub const TAIL_FILE: &str = "tail";
/// See [`TAIL_FILE`].
pub const TABLES_FILE: &str = "tables";

/// Why a release could not be brought here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("failed to fetch `{key}`")]
    Store {
        /// What was fetched.
        key: String,
        /// Why.
        #[source]
        source: store::Error,
    },
    /// The artifact is not what the statement says.
    #[error("the artifact failed verification")]
    Archive(#[from] read::Error),
    /// A file's content is not what the table says, though its frame is: whoever packed it was wrong.
    #[error("the artifact failed verification")]
    Content(#[source] unpack::WrongContent),
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A thread ended early: a bug.
    #[error("a decoder thread ended early")]
    Thread,
}

impl From<unpack::Error> for Error {
    fn from(error: unpack::Error) -> Self {
        match error {
            unpack::Error::Archive(error) => Self::Archive(error),
            unpack::Error::Content(error) => Self::Content(error),
            unpack::Error::Fs(error) => Self::Fs(error),
        }
    }
}

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transferred {
    /// Bytes that came from the store.
    pub bytes: u64,
    /// Requests it took.
    pub requests: u64,
    /// Entries written: folders, files and links.
    pub entries: u64,
}

/// Fetches the release of `statement` and writes its tree below `staging`, and what proves it into `toc_dir`.
///
/// On an error both folders hold rubbish for the caller to remove; nothing outside of them was touched.
pub fn transfer(
    store: &dyn Store,
    runtime: &Runtime,
    statement: &Statement,
    staging: &Dir,
    toc_dir: &Path,
    sink: &dyn Sink,
) -> Result<Transferred, Error> {
    let release = &statement.release;
    let key = keys::artifact(&release.app, &release.version, &release.target);
    let source = Source { store, key, bytes: AtomicU64::new(0), requests: AtomicU64::new(0) };
    let contents = runtime.block_on(source.contents(statement, toc_dir))?;
    let unpacker = Unpacker::begin(staging, &contents)?;
    fetch_frames(&source, runtime, &contents, &unpacker, sink)?;
    unpacker.end()?;
    Ok(Transferred {
        bytes: source.bytes.into_inner(),
        requests: source.requests.into_inner(),
        entries: statement.artifact.entries,
    })
}

/// Reads a release's table of contents back from where [`transfer`] kept it, and proves it again.
pub fn kept_contents(statement: &Statement, toc_dir: &Path) -> Result<Contents, Error> {
    let artifact = &statement.artifact;
    let tail = fs::read(&toc_dir.join(TAIL_FILE), artifact.size)?;
    let outline = Outline::open(artifact, &tail)?;
    let tables = outline.tables(&fs::read(&toc_dir.join(TABLES_FILE), artifact.size)?)?;
    Ok(outline.contents(tables)?)
}

/// The artifact in the store, with a count of what was taken from it.
struct Source<'a> {
    store: &'a dyn Store,
    key: Key,
    bytes: AtomicU64,
    requests: AtomicU64,
}

impl Source<'_> {
    async fn contents(&self, statement: &Statement, toc_dir: &Path) -> Result<Contents, Error> {
        let tail = self.read(read::tail_range(&statement.artifact)?).await?;
        let outline = Outline::open(&statement.artifact, &tail)?;
        let tables = self.read(outline.tables_range()).await?;
        let contents = outline.clone().contents(outline.tables(&tables)?)?;
        fs::write(&toc_dir.join(TAIL_FILE), &tail)?;
        fs::write(&toc_dir.join(TABLES_FILE), &tables)?;
        Ok(contents)
    }

    /// Reads a range of any length, in requests of at most [`MAX_RANGE`].
    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if range.end - range.start <= MAX_RANGE {
            return self.request(range).await;
        }
        let mut all = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min(at + MAX_RANGE);
            all.extend_from_slice(&self.request(at..end).await?);
            at = end;
        }
        Ok(all.into())
    }

    async fn request(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let failed = |source| Error::Store { key: self.key.to_string(), source };
        let bytes = self.store.get_range(&self.key, range, None).await.map_err(failed)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// A frame on its way to a decoder; it holds its share of the budget.
struct Work<'a> {
    frame: &'a Frame,
    bytes: Bytes,
    _share: Arc<OwnedSemaphorePermit>,
}

/// What the decoders share: the first error, and whether there was one.
struct Decoders<'a> {
    unpacker: &'a Unpacker<'a>,
    failed: AtomicBool,
    error: Mutex<Option<unpack::Error>>,
}

impl Decoders<'_> {
    fn work(&self, incoming: &Receiver<Work<'_>>) {
        for work in incoming {
            if self.failed.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = self.unpacker.frame(work.frame, &work.bytes) {
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn fetch_frames<'a>(
    source: &Source,
    runtime: &Runtime,
    contents: &Contents,
    unpacker: &'a Unpacker<'a>,
    sink: &dyn Sink,
) -> Result<(), Error> {
    let decoders = Decoders { unpacker, failed: AtomicBool::new(false), error: Mutex::new(None) };
    let (send, incoming) = unbounded();
    let fetched = std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (incoming, decoders) = (incoming.clone(), &decoders);
            scope.spawn(move || decoders.work(&incoming));
        }
        drop(incoming);
        runtime.block_on(fetch_runs(source, contents, &decoders, send, sink))
    });
    // A decoder's error is the cause when both sides failed.
    match decoders.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error.into()),
        None => fetched,
    }
}

/// Fetches all frames, several ranges at a time, and hands them to the decoders.
async fn fetch_runs<'a>(
    source: &Source<'_>,
    contents: &'a Contents,
    decoders: &Decoders<'_>,
    send: Sender<Work<'a>>,
    sink: &dyn Sink,
) -> Result<(), Error> {
    let budget = Arc::new(Semaphore::new(BUDGET as usize));
    let runs = runs(contents.frames());
    let total = Amount { bytes: runs.iter().map(|run| length(run)).sum(), items: contents.frames().len() as u64 };
    let done = Mutex::new(Amount::default());
    let fetch = |run: &'a [Frame]| {
        let (budget, send, done) = (budget.clone(), &send, &done);
        async move {
            if decoders.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            fetch_run(source, run, budget, send).await?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done = Amount { bytes: done.bytes + length(run), items: done.items + run.len() as u64 };
            sink.emit(Event::Advanced { step: STEP, done: *done, total: Some(total) });
            Ok(())
        }
    };
    stream::iter(runs).map(fetch).buffer_unordered(CONNECTIONS).try_collect().await
}

async fn fetch_run<'a>(
    source: &Source<'_>,
    run: &'a [Frame],
    budget: Arc<Semaphore>,
    send: &Sender<Work<'a>>,
) -> Result<(), Error> {
    let permits = length(run).min(BUDGET) as u32;
    let share = Arc::new(budget.acquire_many_owned(permits).await.map_err(|_| Error::Thread)?);
    let start = run[0].range.start;
    let bytes = source.request(start..start + length(run)).await?;
    for frame in run {
        let part = (frame.range.start - start) as usize..(frame.range.end - start) as usize;
        let work = Work { frame, bytes: bytes.slice(part), _share: share.clone() };
        send.send(work).map_err(|_| Error::Thread)?;
    }
    Ok(())
}

/// Neighbouring frames, put together to ranges of about [`RANGE`] bytes.
fn runs(frames: &[Frame]) -> Vec<&[Frame]> {
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 0..frames.len() {
        let enough = frames[at].range.end - frames[start].range.start >= RANGE;
        if enough || at + 1 == frames.len() {
            runs.push(&frames[start..=at]);
            start = at + 1;
        }
    }
    runs
}

fn length(run: &[Frame]) -> u64 {
    run.iter().map(|frame| frame.range.end - frame.range.start).sum()
}
