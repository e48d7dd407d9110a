//! Reuse: files that a release on the node has already are shared with the new one, if they hold what its table says.
//!
//! Whether they do is known from the [`Ledger`], when nothing of the file has changed since it was hashed, or else found
//! out by hashing it again. What is shared is the very file that was hashed: it is opened through a handle that cannot
//! leave its release, and cloned or linked from that open file; one that the ledger knows is linked by its name, and the
//! link is looked at. A source that does not hold what its table says (content, mode, owner, kind)
//! is named in a warning and not reused; its frames are fetched instead. The sources cannot vanish meanwhile: whoever
//! removes a release must hold the app's lock, and so does a fetch.
//!
//! **A clone where the file system can** (XFS, btrfs): a file of its own that shares blocks. **Else a hard link**: costs
//! nothing, but the two releases then share one file, so that damage to one (a bad block, a careless editor) is damage
//! to both. It is found where it matters: whatever writes to a file shows in its times, so that a fetch hashes it again,
//! `verify` names it in each release, and none of it is reused. The mode belongs to the shared file, so a file that changed
//! between 0644 and 0755 is copied.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest;
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::sys::cores::{self, on_all_cores};
use pannier_shared::sys::dir::Dir;
use pannier_shared::sys::{clock, fs, process};

use crate::ledger::{Hashed, Ledger};
use crate::plan::{Choice, Kind, Place, Plan, Wanted};
use crate::verify::Damage;

mod hands;

use hands::{Hands, NotShared, Source};

/// The name this step has in its table and its events.
pub const STEP: &str = "reuse";
/// The most damaged files that are named one by one.
const NAMED: usize = 20;
/// Files larger than this are begun first, so that no thread is left alone with one at the end.
const LARGE: u64 = 4 << 20;

/// So many files in a row are one thread's: neighbours share a folder, and two threads in one folder wait for each other.
const NEIGHBOURS: usize = 64;
/// Threads per core: on a cold disk they wait for folders and inodes more than they compute. Measured on ext4 with nothing
/// cached, 2 cores: 0.52 s with one per core, 0.45 s with two, 0.41 s with four.
const THREADS: usize = 4;
/// Files that each thread has open before it hashes the first of them.
const AHEAD: usize = 32;

/// How files are shared between releases on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By cloning: two files that share blocks.
    Clone,
    /// By a hard link: two names of one file.
    Link,
}

impl Method {
    /// The one for files below `dir`, found by trying.
    pub fn of(dir: &Dir) -> Self {
        if dir.can_clone() { Method::Clone } else { Method::Link }
    }
}

/// What was reused, and what is wanted from the store.
#[derive(Debug)]
pub struct Reused {
    /// Files that were shared or copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of the files were read and hashed; the ledger knew the others.
    pub read: u64,
    /// What must come from the store.
    pub wanted: Wanted,
    /// What the ledger should know of them.
    pub hashed: Vec<Hashed>,
}

/// Makes the folders and empty files of a release below `staging`, which must be empty, and the files that the node has.
/// Those that `ledger` knows are not hashed again.
pub fn reuse(plan: &Plan, ledger: &Ledger, staging: &Dir, sink: &dyn Sink) -> Result<Reused, fs::Error> {
    let tasks = tasks(plan);
    let sharing = Sharing {
        plan,
        staging,
        trees: plan.kept().iter().map(|kept| Dir::open(&kept.tree).ok()).collect(),
        tasks: &tasks,
        next: AtomicUsize::new(0),
        folders: OnceLock::new(),
        done: AtomicU64::new(0),
        ledger,
        now: clock::now().as_second(),
        read: AtomicU64::new(0),
        hashed: Mutex::default(),
        damaged: Mutex::default(),
        failed: Mutex::default(),
        sink,
    };
    sharing.on_all_cores()?;
    let read = sharing.read.load(Ordering::Relaxed);
    let (mut damaged, hashed) = (taken(sharing.damaged), taken(sharing.hashed));
    damaged.sort();
    report(&damaged, sink);
    let mut wanted = plan.wanted();
    for (number, ..) in &damaged {
        wanted.add(*number);
    }
    let shared = tasks.iter().filter(|task| !wanted.contains(task.number));
    let (files, bytes) = shared.fold((0, 0), |(files, bytes), task| (files + 1, bytes + task.row.size));
    Ok(Reused { files, bytes, read, wanted, hashed })
}

/// The files that the node has, large ones first, the others in the order in which they lie in the tree.
fn tasks(plan: &Plan) -> Vec<Task<'_>> {
    let files = plan.contents().files().zip(plan.choices()).enumerate();
    let mut tasks = Vec::new();
    for (number, (row, choice)) in files {
        if let Choice::Here(place) = choice {
            tasks.push(Task { number, row, place, kind: plan.kept()[place.release].kind });
        }
    }
    tasks.sort_by_key(|task| task.row.size <= LARGE);
    tasks
}

/// Makes all folders, one depth after the other, and then all empty files.
fn make_folders(plan: &Plan, staging: &Dir) -> Result<(), fs::Error> {
    let depth = |folder: &&str| folder.bytes().filter(|byte| *byte == b'/').count();
    let mut folders: Vec<&str> = plan.contents().folders().collect();
    folders.sort_by_key(depth);
    for level in folders.chunk_by(|a, b| depth(a) == depth(b)) {
        let neighbours: Vec<&[&str]> = level.chunks(NEIGHBOURS).collect();
        let make = |some: usize| {
            let mut cursor = staging.cursor();
            neighbours[some].iter().try_for_each(|folder| cursor.create_dir(folder))
        };
        on_all_cores(neighbours.len(), make).into_iter().collect::<Result<(), _>>()?;
    }
    let mut cursor = staging.cursor();
    let empty = plan.contents().files().zip(plan.choices()).filter(|(_, choice)| **choice == Choice::Empty);
    empty.map(|(row, _)| row).try_for_each(|row| cursor.create(&row.path, row.mode()).map(drop))
}

/// One file to be made from one on the node.
struct Task<'a> {
    number: usize,
    row: &'a FileRow,
    place: &'a Place,
    /// What the place is in.
    kind: Kind,
}

/// A file that is not reused: its number, and what a person is told, if anything.
type Damaged = (usize, Option<String>);

/// What the threads share.
struct Sharing<'a> {
    plan: &'a Plan,
    staging: &'a Dir,
    /// The releases' trees; one that cannot be opened is damaged as a whole.
    trees: Vec<Option<Dir>>,
    tasks: &'a [Task<'a>],
    next: AtomicUsize,
    /// Set when the folders are made, or cannot be.
    folders: OnceLock<bool>,
    /// Bytes shared.
    done: AtomicU64,
    ledger: &'a Ledger,
    now: i64,
    /// Files hashed.
    read: AtomicU64,
    hashed: Mutex<Vec<Hashed>>,
    damaged: Mutex<Vec<Damaged>>,
    failed: Mutex<Option<fs::Error>>,
    sink: &'a dyn Sink,
}

impl<'a> Sharing<'a> {
    /// Shares all there is. The folders are made here meanwhile: hashing needs none of them.
    fn on_all_cores(&self) -> Result<(), fs::Error> {
        std::thread::scope(|scope| {
            for _ in 0..(cores::count() * THREADS).min(self.tasks.len()) {
                scope.spawn(|| self.work());
            }
            let made = make_folders(self.plan, self.staging);
            let _ = self.folders.set(made.is_ok());
            made.unwrap_or_else(|error| self.fail(error));
        });
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Takes tasks until there are none. Files are opened, and the kernel is asked to read them, some time before
    /// they are hashed: waiting for each small file of a cold disk in turn was most of the time of an update.
    fn work(&self) {
        let mut hands = self.hands();
        let mut ahead = VecDeque::with_capacity(AHEAD);
        while let Some(tasks) = self.take() {
            for task in tasks {
                ahead.push_back((task, hands.find(task)));
                if ahead.len() == AHEAD
                    && let Some((task, found)) = ahead.pop_front()
                {
                    self.finish(&mut hands, task, found);
                }
            }
        }
        for (task, found) in ahead {
            self.finish(&mut hands, task, found);
        }
        self.read.fetch_add(hands.read, Ordering::Relaxed);
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).append(&mut hands.hashed);
    }

    fn hands(&self) -> Hands<'_> {
        let cursors = || self.trees.iter().map(|tree| tree.as_ref().map(Dir::cursor)).collect();
        Hands {
            staging: self.staging.cursor(),
            trees: cursors(),
            sources: cursors(),
            method: self.plan.method(),
            folders: &self.folders,
            ledger: self.ledger,
            user: process::user(),
            now: self.now,
            buffer: vec![0; digest::BUFFER],
            read: 0,
            hashed: Vec::new(),
        }
    }

    /// Some neighbours that no other thread has.
    fn take(&self) -> Option<&'a [Task<'a>]> {
        let first = self.next.fetch_add(NEIGHBOURS, Ordering::Relaxed);
        let rest = self.tasks.get(first..).filter(|rest| !rest.is_empty())?;
        let done = Amount { bytes: self.done.load(Ordering::Relaxed), items: first as u64 };
        self.sink.emit(Event::Advanced { step: STEP, done, total: None });
        Some(&rest[..rest.len().min(NEIGHBOURS)])
    }

    fn finish(&self, hands: &mut Hands, task: &Task, found: Result<Source, NotShared>) {
        match found.and_then(|source| hands.make(task, source)) {
            Ok(()) => {
                self.done.fetch_add(task.row.size, Ordering::Relaxed);
            }
            Err(NotShared::Damage(damage)) => {
                let damaged = (task.number, self.name(task, &damage));
                self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push(damaged);
            }
            Err(NotShared::Fs(error)) => self.fail(error),
            Err(NotShared::NoFolders) => {}
        }
    }

    /// Keeps the first error; nobody finds another task.
    fn fail(&self, error: fs::Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.next.store(self.tasks.len(), Ordering::Relaxed);
    }

    /// What a person is told; nothing of what a fetch left, which may be half.
    fn name(&self, task: &Task, damage: &Damage) -> Option<String> {
        let (kept, path) = (&self.plan.kept()[task.place.release], &task.place.path);
        let text =
            format!("`{path}` of the release `{}` is damaged on this node and not reused: {damage}", kept.version);
        (task.kind == Kind::Release).then_some(text)
    }
}

fn taken<T>(all: Mutex<Vec<T>>) -> Vec<T> {
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Names the damaged ones, not thousands of times.
fn report(damaged: &[Damaged], sink: &dyn Sink) {
    let named: Vec<&String> = damaged.iter().filter_map(|(_, text)| text.as_ref()).collect();
    for text in named.iter().copied().take(NAMED) {
        sink.emit(Event::Warning { text: text.clone() });
    }
    if let more @ 1.. = named.len().saturating_sub(NAMED) {
        let text = format!("{more} more files are damaged; `pannier-activator verify` names them all");
        sink.emit(Event::Warning { text });
    }
}
