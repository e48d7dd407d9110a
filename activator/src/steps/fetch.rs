//! Transfer: the frames a plan asks for, from the store into a staging folder.
//!
//! Ranges are fetched several at a time on the calling thread's runtime; decoders run on threads of their own and take
//! frames from a channel. What bounds memory is one budget, which all fetches of the process share (`budget`): a range takes
//! its bytes from it before it is asked for and gives them back when the last of its frames was written. A decoder that
//! fails sets a flag; it and the others then only empty the channel, so that nobody waits for anybody, and the fetching
//! ends at its next range.
//!
//! A frame that came damaged is fetched once more, alone, when all others are written: what was proven is never fetched
//! again because of it.
//!
//! What was written is flushed now and then while others decode, so that the one sync that counts, before the rename,
//! has little left to do: allocating blocks for 26,000 files took it 0.4 s of 1.4 s, on one core.
//!
//! The digest of the whole file is not computed here: the chain proves every byte that is used (see `archive::read`).

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Frame};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::report::human;
use pannier_shared::store::{self, Store};
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::{confine, cores, fs};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ahead::{Ahead, Arrived};
use super::budget::MEMORY;
use super::remote::{Remote, Taken, is_damage};
use super::reuse::Reused;
use super::unpack::{self, Unpacker};
use crate::ledger::Hashed;
use crate::plan::Plan;
use crate::plan::ranges::Run;

/// The name this step has in its table and its events.
pub const STEP: &str = "transfer";
/// So many bytes are written before the disk is made to take them while others are decoded.
const FLUSH: u64 = 64 << 20;
/// The most damaged frames that are fetched again. When there are more, it is not chance, and a fetch that goes on only
/// hides it.
const MOST_DAMAGED: usize = 16;
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

impl Error {
    /// True when the store or the way to it is at fault, and neither this machine nor whoever signed the release: what was
    /// written so far is good, and of use to the next fetch.
    pub fn is_of_the_store(&self) -> bool {
        match self {
            Self::Store { .. } => true,
            Self::Archive(error) => is_damage(error),
            Self::Content(_) | Self::Fs(_) | Self::Thread => false,
        }
    }
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

/// Fetches what was not reused of a planned release, and did not come `ahead`, into `staging`, where everything else is already, and makes the
/// links. Says what was moved, for the plan too, and what the ledger should know of the new files.
///
/// On an error the folder holds rubbish for the caller to remove; nothing outside of it was touched.
pub fn transfer(
    plan: &Plan,
    reused: &Reused,
    ahead: Ahead,
    store: &dyn Store,
    runtime: &Runtime,
    staging: &Dir,
    sink: &dyn Sink,
) -> Result<(Transferred, Vec<Hashed>), Error> {
    let runs = plan.runs_besides(&reused.wanted, &ahead.frames());
    let Ahead { arrived, failed, budget, taken } = ahead;
    let remote = Remote::new(store, plan.release(), taken);
    let unpacker = Unpacker::new(staging, plan.contents(), &reused.wanted);
    let pass = Pass { remote: &remote, runtime, plan, unpacker: &unpacker, budget, sink };
    let damaged = pass.fetch(arrived, failed.map_or(Ok(runs), Err), Attempt::First)?;
    if !damaged.is_empty() {
        pass.fetch(Vec::new(), Ok(pass.again(damaged)), Attempt::Again)?;
    }
    let hashed = unpacker.end()?;
    let Taken { bytes, requests } = remote.taken();
    let (reused_files, reused_bytes) = (reused.files, reused.bytes);
    Ok((Transferred { bytes, requests, reused_files, reused_bytes, files: plan.files() }, hashed))
}

/// Keeps what proves the release beside it.
pub fn keep(plan: &Plan, toc_dir: &Path) -> Result<(), Error> {
    let (tail, tables) = plan.proof();
    fs::write(&toc_dir.join(TAIL_FILE), tail)?;
    Ok(fs::write(&toc_dir.join(TABLES_FILE), tables)?)
}

/// A frame on its way to a decoder; it holds its share of the budget.
struct Work<'a> {
    frame: &'a Frame,
    bytes: Bytes,
    _share: Arc<OwnedSemaphorePermit>,
}

/// Whether frames are fetched for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Again,
}

/// A frame that came damaged, and how.
type Damaged = (usize, read::Error);

/// What the decoders share: the first error, whether there was one, and which frames came damaged.
struct Decoders<'a> {
    unpacker: &'a Unpacker<'a>,
    attempt: Attempt,
    written: AtomicU64,
    failed: AtomicBool,
    error: Mutex<Option<unpack::Error>>,
    damaged: Mutex<Vec<Damaged>>,
}

impl Decoders<'_> {
    /// Whatever a hostile frame may make of a decoder, the thread it runs on can write nowhere but into the stage.
    fn work(&self, incoming: &Receiver<Work<'_>>, flush: &Sender<()>) {
        confine::to(self.unpacker.staging());
        let mut writer = self.unpacker.writer();
        for work in incoming {
            if self.failed.load(Ordering::Relaxed) {
                continue;
            }
            let written = writer.frame(work.frame, &work.bytes);
            match written.or_else(|error| self.put_off(&work, error)) {
                Ok(()) => self.count(work.frame.plain, flush),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Asks for a flush each time that much was written; one that is asked for already is as good.
    fn count(&self, bytes: u64, flush: &Sender<()>) {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before / FLUSH != (before + bytes) / FLUSH {
            let _ = flush.try_send(());
        }
    }

    /// Writes out what the decoders wrote so far, while they go on. An error is one of the fetch: the kernel reports it
    /// only once.
    fn flush(&self, asked: &Receiver<()>) {
        let synced = fs::FileSystem::of(self.unpacker.staging().path())
            .and_then(|disk| asked.into_iter().try_for_each(|()| disk.sync()));
        synced.unwrap_or_else(|error| self.fail(error.into()));
    }

    fn fail(&self, error: unpack::Error) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Keeps a damaged frame for another attempt, if there is one. Nothing of it was written.
    fn put_off(&self, work: &Work<'_>, error: unpack::Error) -> Result<(), unpack::Error> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            unpack::Error::Archive(error)
                if is_damage(&error) && self.attempt == Attempt::First && damaged.len() < MOST_DAMAGED =>
            {
                damaged.push((work.frame.number, error));
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// What a pass over frames works with.
struct Pass<'a> {
    remote: &'a Remote<'a>,
    runtime: &'a Runtime,
    plan: &'a Plan,
    unpacker: &'a Unpacker<'a>,
    budget: Arc<Semaphore>,
    sink: &'a dyn Sink,
}

impl Pass<'_> {
    /// Unpacks the frames that `arrived`, and fetches and unpacks those of `runs`, if there is any use in it; gives those that came damaged and may be fetched again.
    fn fetch(
        &self,
        arrived: Vec<Arrived>,
        runs: Result<Vec<Run>, Error>,
        attempt: Attempt,
    ) -> Result<Vec<Damaged>, Error> {
        let unpacker = self.unpacker;
        let (failed, error, damaged) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        let decoders = Decoders { unpacker, attempt, written: AtomicU64::new(0), failed, error, damaged };
        let (send, incoming) = unbounded();
        let fetched = std::thread::scope(|scope| {
            let (flush, asked) = bounded(1);
            let decoders = &decoders;
            for _ in 0..cores::count() {
                let (incoming, flush) = (incoming.clone(), flush.clone());
                scope.spawn(move || decoders.work(&incoming, &flush));
            }
            scope.spawn(move || decoders.flush(&asked));
            drop((incoming, flush));
            arrived.into_iter().try_for_each(|arrived| self.hand_on(&arrived, &send))?;
            self.runtime.block_on(self.fetch_runs(runs?, decoders, send))
        });
        // A decoder's error is the cause when both sides failed.
        match decoders.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error.into()),
            None => fetched.map(|()| decoders.damaged.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Says which frames are fetched again, each by a request of its own.
    fn again(&self, damaged: Vec<Damaged>) -> Vec<Run> {
        let again = |(frame, error): Damaged| {
            self.sink.emit(Event::Warning { text: format!("fetched again, because it came damaged: {error}") });
            Run { range: self.plan.contents().frames()[frame].range.clone(), parts: vec![frame] }
        };
        damaged.into_iter().map(again).collect()
    }

    /// Fetches all `runs`, several at a time, and hands their frames to the decoders.
    async fn fetch_runs<'b>(
        &'b self,
        runs: Vec<Run>,
        decoders: &Decoders<'_>,
        send: Sender<Work<'b>>,
    ) -> Result<(), Error> {
        let items = runs.iter().map(|run| run.parts.len() as u64).sum();
        let total = Amount { bytes: runs.iter().map(Run::length).sum(), items };
        let done = Mutex::new(Amount::default());
        let fetch = |run: Run| {
            let (send, done) = (&send, &done);
            async move {
                if decoders.failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let arrived = self.fetch_run(run, decoders.attempt).await?;
                self.hand_on(&arrived, send)?;
                let run = arrived.run;
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                *done = Amount { bytes: done.bytes + run.length(), items: done.items + run.parts.len() as u64 };
                self.sink.emit(Event::Advanced { step: STEP, done: *done, total: Some(total) });
                Ok(())
            }
        };
        stream::iter(runs).map(fetch).buffer_unordered(self.plan.cost().connections).try_collect().await
    }

    async fn fetch_run(&self, run: Run, attempt: Attempt) -> Result<Arrived, Error> {
        let permits = run.length().min(MEMORY) as u32;
        let share = self.budget.clone().acquire_many_owned(permits).await.map_err(|_| Error::Thread)?;
        let bytes = match attempt {
            Attempt::First => self.remote.read(run.range.clone()).await?,
            Attempt::Again => self.remote.read_anew(run.range.clone()).await?,
        };
        Ok(Arrived { run, bytes, share: Arc::new(share) })
    }

    /// Gives the frames of a range to the decoders.
    fn hand_on<'b>(&'b self, arrived: &Arrived, send: &Sender<Work<'b>>) -> Result<(), Error> {
        let Arrived { run, bytes, share } = arrived;
        let frames = self.plan.contents().frames();
        for frame in run.parts.iter().map(|number| &frames[*number]) {
            let start = run.range.start;
            let part = (frame.range.start - start) as usize..(frame.range.end - start) as usize;
            let work = Work { frame, bytes: bytes.slice(part), _share: share.clone() };
            send.send(work).map_err(|_| Error::Thread)?;
        }
        Ok(())
    }
}
