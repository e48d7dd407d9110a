//! Transfer: the frames a plan asks for, from the store into a staging folder.
//!
//! Ranges are fetched several at a time on the calling thread's runtime; decoders run on threads of their own and take
//! frames from a channel. What bounds memory is one budget: a range takes its bytes from it before it is asked for and
//! gives them back when the last of its frames was written. A decoder that fails sets a flag; it and the others then
//! only empty the channel, so that nobody waits for anybody, and the fetching ends at its next range.
//!
//! The digest of the whole file is not computed here: the chain proves every byte that is used (see `archive::read`).

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Contents, Frame, Outline};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::report::human;
use pannier_shared::signature::Verified;
use pannier_shared::statement::Statement;
use pannier_shared::store::{self, Store};
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::fs;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::remote::{Remote, Taken};
use super::reuse::Reused;
use super::unpack::{self, Unpacker};
use crate::plan::Plan;
use crate::plan::ranges::Run;

/// The name this step has in its table and its events.
pub const STEP: &str = "transfer";
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

/// What was moved by a fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// Bytes that came from the store.
    pub bytes: u64,
    /// Requests it took.
    pub requests: u64,
    /// Files whose content was on the node.
    pub reused_files: u64,
    /// Their bytes.
    pub reused_bytes: u64,
    /// All its files that have content.
    pub files: u64,
}

impl fmt::Display for Transferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Transferred { requests, reused_files, files, .. } = *self;
        let requests =
            if requests == 1 { "1 request".to_owned() } else { format!("{} requests", human::number(requests)) };
        f.write_str(&requests)?;
        match reused_files {
            0 => Ok(()),
            here => write!(f, ", {} of {} files were here", human::number(here), human::number(files)),
        }
    }
}

/// Fetches what was not reused of a planned release into `staging`, where everything else is already, and makes the
/// links. Says what was moved, for the plan too.
///
/// On an error the folder holds rubbish for the caller to remove; nothing outside of it was touched.
pub fn transfer(
    plan: &Plan,
    reused: &Reused,
    store: &dyn Store,
    runtime: &Runtime,
    staging: &Dir,
    sink: &dyn Sink,
) -> Result<Transferred, Error> {
    let remote = Remote::new(store, plan.release(), plan.taken());
    let unpacker = Unpacker::new(staging, plan.contents(), &reused.wanted);
    fetch_frames(&remote, runtime, plan, &unpacker, sink)?;
    unpacker.end()?;
    let Taken { bytes, requests } = remote.taken();
    let (reused_files, reused_bytes) = (reused.files, reused.bytes);
    Ok(Transferred { bytes, requests, reused_files, reused_bytes, files: plan.files() })
}

/// Keeps what proves the release beside it.
pub fn keep(plan: &Plan, toc_dir: &Path) -> Result<(), Error> {
    let (tail, tables) = plan.proof();
    fs::write(&toc_dir.join(TAIL_FILE), tail)?;
    Ok(fs::write(&toc_dir.join(TABLES_FILE), tables)?)
}

/// Reads a release's table of contents back from where [`keep`] put it, and proves it again.
pub fn kept_contents(statement: &Verified<Statement>, toc_dir: &Path) -> Result<Contents, Error> {
    let artifact = &statement.artifact;
    let tail = fs::read(&toc_dir.join(TAIL_FILE), artifact.size)?;
    let outline = Outline::open(artifact, &tail)?;
    let tables = outline.tables(&fs::read(&toc_dir.join(TABLES_FILE), artifact.size)?)?;
    Ok(outline.contents(tables)?)
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
        let mut writer = self.unpacker.writer();
        for work in incoming {
            if self.failed.load(Ordering::Relaxed) {
                continue;
            }
            if let Err(error) = writer.frame(work.frame, &work.bytes) {
                self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn fetch_frames<'a>(
    remote: &Remote,
    runtime: &Runtime,
    plan: &Plan,
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
        runtime.block_on(fetch_runs(remote, plan, &decoders, send, sink))
    });
    // A decoder's error is the cause when both sides failed.
    match decoders.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error.into()),
        None => fetched,
    }
}

/// Fetches all frames that are wanted, several ranges at a time, and hands them to the decoders.
async fn fetch_runs<'a>(
    remote: &Remote<'_>,
    plan: &'a Plan,
    decoders: &Decoders<'_>,
    send: Sender<Work<'a>>,
    sink: &dyn Sink,
) -> Result<(), Error> {
    let budget = Arc::new(Semaphore::new(BUDGET as usize));
    let frames = plan.contents().frames();
    let runs = plan.runs(decoders.unpacker.wanted());
    let items = runs.iter().map(|run| run.parts.len() as u64).sum();
    let total = Amount { bytes: runs.iter().map(Run::length).sum(), items };
    let done = Mutex::new(Amount::default());
    let fetch = |run: Run| {
        let (budget, send, done) = (budget.clone(), &send, &done);
        async move {
            if decoders.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            fetch_run(remote, frames, &run, budget, send).await?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            *done = Amount { bytes: done.bytes + run.length(), items: done.items + run.parts.len() as u64 };
            sink.emit(Event::Advanced { step: STEP, done: *done, total: Some(total) });
            Ok(())
        }
    };
    stream::iter(runs).map(fetch).buffer_unordered(plan.cost().connections).try_collect().await
}

async fn fetch_run<'a>(
    remote: &Remote<'_>,
    frames: &'a [Frame],
    run: &Run,
    budget: Arc<Semaphore>,
    send: &Sender<Work<'a>>,
) -> Result<(), Error> {
    let permits = run.length().min(BUDGET) as u32;
    let share = Arc::new(budget.acquire_many_owned(permits).await.map_err(|_| Error::Thread)?);
    let bytes = remote.read(run.range.clone()).await?;
    for frame in run.parts.iter().map(|number| &frames[*number]) {
        let start = run.range.start;
        let part = (frame.range.start - start) as usize..(frame.range.end - start) as usize;
        let work = Work { frame, bytes: bytes.slice(part), _share: share.clone() };
        send.send(work).map_err(|_| Error::Thread)?;
    }
    Ok(())
}
