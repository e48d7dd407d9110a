//! Reuse: files that a release on the node has already are hashed again and shared with the new one.
//!
//! What is shared is the very file that was hashed: it is opened through a handle that cannot leave its release, and
//! cloned or linked from that open file. A source that does not hold what its table says (content, mode, owner, kind)
//! is named in a warning and not reused; its frames are fetched instead. The sources cannot vanish meanwhile: whoever
//! removes a release must hold the app's lock, and so does a fetch.
//!
//! **A clone where the file system can** (XFS, btrfs): a file of its own that shares blocks. **Else a hard link**: costs
//! nothing, but the two releases then share one file, so that damage to one (a bad block, a careless editor) is damage
//! to both. It is found where it matters: a fetch hashes again, `verify` names it in each release, and none of it is
//! reused. The mode belongs to the shared file, so a file that changed between 0644 and 0755 is copied.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest::{self, HashingWriter};
use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::sys::dir::{Cursor, Dir};
use pannier_shared::sys::fs::{self, Tail};
use pannier_shared::sys::process;

use crate::plan::{Choice, Place, Plan, Wanted};
use crate::verify::{Damage, kind};

/// The name this step has in its table and its events.
pub const STEP: &str = "reuse";
/// The most damaged files that are named one by one.
const NAMED: usize = 20;
/// Files larger than this are begun first, so that no thread is left alone with one at the end.
const LARGE: u64 = 4 << 20;

/// So many files in a row are one thread's: neighbours share a folder, and two threads in one folder wait for each other.
const NEIGHBOURS: usize = 64;
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
    /// What must come from the store.
    pub wanted: Wanted,
}

/// Makes the folders and empty files of a release below `staging`, which must be empty, and the files that the node has.
pub fn reuse(plan: &Plan, staging: &Dir, sink: &dyn Sink) -> Result<Reused, fs::Error> {
    let tasks = tasks(plan);
    let sharing = Sharing {
        plan,
        staging,
        trees: plan.kept().iter().map(|kept| Dir::open(&kept.tree).ok()).collect(),
        tasks: &tasks,
        next: AtomicUsize::new(0),
        folders: OnceLock::new(),
        done: AtomicU64::new(0),
        damaged: Mutex::default(),
        failed: Mutex::default(),
        sink,
    };
    let damaged = sharing.on_all_cores()?;
    report(&damaged, sink);
    let mut wanted = plan.wanted();
    for (number, ..) in &damaged {
        wanted.add(*number);
    }
    let shared = tasks.iter().filter(|task| !wanted.contains(task.number));
    let (files, bytes) = shared.fold((0, 0), |(files, bytes), task| (files + 1, bytes + task.row.size));
    Ok(Reused { files, bytes, wanted })
}

/// The files that the node has, large ones first, the others in the order in which they lie in the tree.
fn tasks(plan: &Plan) -> Vec<Task<'_>> {
    let files = plan.contents().files().zip(plan.choices()).enumerate();
    let mut tasks = Vec::new();
    for (number, (row, choice)) in files {
        if let Choice::Here(place) = choice {
            tasks.push(Task { number, row, place });
        }
    }
    tasks.sort_by_key(|task| task.row.size <= LARGE);
    tasks
}

/// Makes all folders and all empty files.
fn make_folders(plan: &Plan, staging: &Dir) -> Result<(), fs::Error> {
    let mut cursor = staging.cursor();
    plan.contents().folders().try_for_each(|folder| cursor.create_dir(folder))?;
    let empty = plan.contents().files().zip(plan.choices()).filter(|(_, choice)| **choice == Choice::Empty);
    empty.map(|(row, _)| row).try_for_each(|row| cursor.create(&row.path, row.mode()).map(drop))
}

/// One file to be made from one on the node.
struct Task<'a> {
    number: usize,
    row: &'a FileRow,
    place: &'a Place,
}

/// A file that is not reused: its number, and what a person is told.
type Damaged = (usize, String);

/// Why a file was not shared.
#[derive(Debug)]
enum NotShared {
    /// The source does not hold what its table says.
    Damage(Damage),
    /// The new file could not be made.
    Fs(fs::Error),
}

impl From<fs::Error> for NotShared {
    fn from(error: fs::Error) -> Self {
        Self::Fs(error)
    }
}

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
    damaged: Mutex<Vec<Damaged>>,
    failed: Mutex<Option<fs::Error>>,
    sink: &'a dyn Sink,
}

impl<'a> Sharing<'a> {
    /// Shares all there is; gives what was found damaged, in order. The folders are made here meanwhile: hashing needs
    /// none of them.
    fn on_all_cores(self) -> Result<Vec<Damaged>, fs::Error> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(self.tasks.len()) {
                scope.spawn(|| self.work());
            }
            let made = make_folders(self.plan, self.staging);
            let _ = self.folders.set(made.is_ok());
            made.unwrap_or_else(|error| self.fail(error));
        });
        if let Some(error) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut damaged = self.damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
        damaged.sort();
        Ok(damaged)
    }

    /// Takes tasks until there are none. Files are opened, and the kernel is asked to read them, some time before
    /// they are hashed: waiting for each small file of a cold disk in turn was most of the time of an update.
    fn work(&self) {
        let mut hands = Hands::new(self);
        let mut ahead = VecDeque::with_capacity(AHEAD);
        while let Some(tasks) = self.take() {
            for task in tasks {
                ahead.push_back((task, hands.open(task)));
                if ahead.len() == AHEAD
                    && let Some((task, opened)) = ahead.pop_front()
                {
                    self.finish(&mut hands, task, opened);
                }
            }
        }
        for (task, opened) in ahead {
            self.finish(&mut hands, task, opened);
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

    fn finish(&self, hands: &mut Hands, task: &Task, opened: Result<File, NotShared>) {
        let proven = opened.and_then(|file| hands.prove(task, file));
        if !self.folders.wait() {
            return;
        }
        match proven.and_then(|file| hands.share(task, &file, self.plan.method())) {
            Ok(()) => {
                self.done.fetch_add(task.row.size, Ordering::Relaxed);
            }
            Err(NotShared::Damage(damage)) => {
                let damaged = (task.number, self.name(task, &damage));
                self.damaged.lock().unwrap_or_else(PoisonError::into_inner).push(damaged);
            }
            Err(NotShared::Fs(error)) => self.fail(error),
        }
    }

    /// Keeps the first error; nobody finds another task.
    fn fail(&self, error: fs::Error) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.next.store(self.tasks.len(), Ordering::Relaxed);
    }

    fn name(&self, task: &Task, damage: &Damage) -> String {
        let version = &self.plan.kept()[task.place.release].version;
        format!("`{}` of the release `{version}` is damaged on this node and not reused: {damage}", task.place.path)
    }
}

/// What each thread has of its own.
struct Hands<'a> {
    staging: Cursor<'a>,
    trees: Vec<Option<Cursor<'a>>>,
    buffer: Vec<u8>,
}

impl<'a> Hands<'a> {
    fn new(sharing: &'a Sharing) -> Self {
        Self {
            staging: sharing.staging.cursor(),
            trees: sharing.trees.iter().map(|tree| tree.as_ref().map(Dir::cursor)).collect(),
            buffer: vec![0; digest::BUFFER],
        }
    }

    /// Opens a file of a release if it looks like what its table says.
    fn open(&mut self, task: &Task) -> Result<File, NotShared> {
        let tree = self.trees[task.place.release].as_mut().ok_or(NotShared::Damage(Damage::Missing))?;
        let file = open(tree, task.row, task.place).map_err(NotShared::Damage)?;
        fs::will_read(&file, task.row.size.min(LARGE));
        Ok(file)
    }

    /// Proves that an open file has the content its table says.
    fn prove(&mut self, task: &Task, file: File) -> Result<File, NotShared> {
        let content = Tail::new(&file, 0).take(task.row.size);
        let found = digest::of_reader_through(content, &mut self.buffer)
            .map_err(|why| NotShared::Damage(Damage::Unreadable { why: why.to_string() }))?;
        if found == (task.row.sha256, task.row.size) { Ok(file) } else { Err(NotShared::Damage(Damage::Changed)) }
    }

    fn share(&mut self, task: &Task, file: &File, method: Method) -> Result<(), NotShared> {
        let Task { row, place, .. } = task;
        let shared = match method {
            Method::Clone => self.staging.clone_file(file, &row.path, row.mode()).is_ok(),
            Method::Link if place.executable == row.executable => self.staging.link_file(file, &row.path)?,
            Method::Link => false,
        };
        if shared { Ok(()) } else { self.copy(file, row) }
    }

    /// Copies a file that cannot be shared. What is copied is hashed once more: it is read a second time.
    fn copy(&mut self, file: &File, row: &FileRow) -> Result<(), NotShared> {
        let path = self.staging.path().join(&row.path);
        let mut out = HashingWriter::new(self.staging.create(&row.path, row.mode())?);
        io::copy(&mut Tail::new(file, 0), &mut out).map_err(fs::failed("copy to", &path))?;
        if out.finish().1 == row.sha256 {
            return Ok(());
        }
        self.staging.remove_file(&row.path)?;
        Err(NotShared::Damage(Damage::Changed))
    }
}

/// Opens a file of a release; kind, mode, owner and size must be what its table says.
fn open(tree: &mut Cursor, row: &FileRow, place: &Place) -> Result<File, Damage> {
    let unreadable = |why: io::Error| Damage::Unreadable { why: why.to_string() };
    let file = tree.open_file(&place.path).map_err(|error| match error.is_not_found() {
        true => Damage::Missing,
        false => unreadable(error.source),
    })?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Damage::Kind { expected: "a file", found: kind(&meta) });
    }
    let (expected, found) = (if place.executable { 0o755 } else { 0o644 }, meta.permissions().mode() & 0o7777);
    if found != expected {
        return Err(Damage::mode(expected, found));
    }
    if meta.uid() != process::user() {
        return Err(Damage::Owner { uid: meta.uid() });
    }
    if meta.len() == row.size { Ok(file) } else { Err(Damage::Changed) }
}

/// Names the damaged ones, not thousands of times.
fn report(damaged: &[Damaged], sink: &dyn Sink) {
    for (_, text) in damaged.iter().take(NAMED) {
        sink.emit(Event::Warning { text: text.clone() });
    }
    if let more @ 1.. = damaged.len().saturating_sub(NAMED) {
        let text = format!("{more} more files are damaged; `pannier-activator verify` names them all");
        sink.emit(Event::Warning { text });
    }
}
