//! Packing: a list of members becomes an archive, compressed on all cores, in bounded memory, the same bytes for any
//! number of cores.
//!
//! First everything is arranged from names and sizes alone (groups, order, frames); then each frame is an independent
//! job: read its pieces, hash, compress. One thread hands out jobs and writes results in order, never more than a few
//! ahead, which is the bound on memory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::layout::{self, BadCut, Piece};
use super::policy::{self, Refused};
use super::toc::{self, Class, FileRow, FrameRow, Group, GroupRow, LinkRow, Root, Table, TableRow};
use super::{COMPLETE, COMPLETE_TEXT, OWN_FOLDER, footer, frame};
use crate::digest::{self, Digest, Hasher, HashingWriter};
use crate::event::{Amount, Event, Sink};
use crate::statement::{Artifact, TocRef};
use crate::sys::fs;

/// The default zstd level: 6 % smaller than level 3, and still some 50 MB/s a core.
pub const LEVEL: i32 = 9;

/// One thing to pack.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its path in the tree.
    pub path: String,
    /// What it changes together with. A folder that several groups share goes to a group of its own, whatever it says.
    pub group: Group,
    /// What it is.
    pub content: Content,
}

/// What a member is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A folder.
    Folder,
    /// A regular file, read while packing; it must not change meanwhile.
    File {
        /// Where its content is.
        source: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// Mode 0755 rather than 0644.
        executable: bool,
    },
    /// A symlink.
    Link {
        /// Where it points, relative to its folder.
        target: String,
    },
}

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// zstd level, 1 to 19.
    pub level: i32,
    /// Threads that compress.
    pub workers: usize,
}

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry a release may not hold.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A source could not be read.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A source was not what it had been when the list was made.
    #[error("`{path}` changed while it was packed: expected {expected} bytes, found {found}")]
    Changed {
        /// Its path in the tree.
        path: String,
        /// Size when listed.
        expected: u64,
        /// Bytes found, at least.
        found: u64,
    },
    /// The output could not be written.
    #[error("failed to write the archive")]
    Output(#[source] io::Error),
    /// A table could not be made.
    #[error("failed to write a table of contents")]
    Table(#[from] toc::Error),
    /// A frame could not be made.
    #[error("failed to compress a frame")]
    Frame(#[from] frame::Error),
    /// The arrangement contradicts itself: a bug.
    #[error("failed to arrange the archive")]
    Cut(#[from] BadCut),
}

/// Makes one frame of these bytes at this level, as [`frame::encode`] does: the very bytes that it would give.
pub type Encode<'a> = dyn Fn(&[u8], i32) -> Result<Vec<u8>, frame::Error> + Sync + 'a;

/// Packs `members` into `out` and says what came of it.
pub fn pack(members: Vec<Member>, options: Options, out: impl Write, sink: &dyn Sink) -> Result<Artifact, Error> {
    pack_by(members, options, &frame::encode, out, sink)
}

/// Like [`pack`], with frames that `encode` makes: for who kept some that were made before.
pub fn pack_by(
    members: Vec<Member>,
    options: Options,
    encode: &Encode<'_>,
    out: impl Write,
    sink: &dyn Sink,
) -> Result<Artifact, Error> {
    arranged(members, layout::cap, options, encode, out, sink)
}

/// Like [`pack`], with frames of other sizes than the ones that were chosen ([`layout::cap`]): for the study of them.
pub fn pack_cut(
    members: Vec<Member>,
    options: Options,
    cap: impl Fn(Class) -> u64,
    out: impl Write,
    sink: &dyn Sink,
) -> Result<Artifact, Error> {
    arranged(members, cap, options, &frame::encode, out, sink)
}

fn arranged(
    members: Vec<Member>,
    cap: impl Fn(Class) -> u64,
    options: Options,
    encode: &Encode<'_>,
    out: impl Write,
    sink: &dyn Sink,
) -> Result<Artifact, Error> {
    let mut groups = arrange(members)?;
    let jobs = jobs(&groups, cap)?;
    let mut out = HashingWriter::new(out);
    write_frames(&mut groups, &jobs, (options, encode), &mut out, sink)?;
    write_tables(&groups, options, out)
}

/// A group on its way into the archive.
struct Draft {
    group: Group,
    table: Table,
    /// Where each of the table's files comes from.
    sources: Vec<Source>,
}

#[derive(Clone)]
enum Source {
    Path(PathBuf),
    Text(&'static [u8]),
}

/// One frame to make.
struct Job {
    group: usize,
    pieces: Vec<Piece>,
    plain: u64,
}

/// One frame, made.
struct Made {
    compressed: Vec<u8>,
    plain: u64,
    /// Digests of files that begin in this frame, by index into the group's files.
    digests: Vec<(usize, Digest)>,
}

fn arrange(mut members: Vec<Member>) -> Result<Vec<Draft>, Error> {
    add_own_folder(&mut members);
    share_folders(&mut members);
    // Byte order puts a folder before what is in it; `.pyc` files lie beside their source, as they change together.
    members.sort_by_cached_key(|member| (member.group.clone(), beside(&member.path)));
    let mut drafts: Vec<Draft> = Vec::new();
    for member in members {
        if drafts.last().is_none_or(|draft| draft.group != member.group) {
            drafts.push(Draft { group: member.group.clone(), table: Table::default(), sources: Vec::new() });
        }
        if let Some(draft) = drafts.last_mut() {
            draft.add(member);
        }
    }
    drafts.push(complete());
    policy::check_tree(drafts.iter().flat_map(|draft| draft.table.kinds()))?;
    Ok(drafts)
}

impl Draft {
    fn add(&mut self, member: Member) {
        match member.content {
            Content::Folder => self.table.folders.push(member.path),
            Content::Link { target } => self.table.links.push(LinkRow { path: member.path, target }),
            Content::File { source, size, executable } => {
                self.sources.push(Source::Path(source));
                self.table.files.push(FileRow { path: member.path, size, executable, sha256: Digest::of(b"") });
            }
        }
    }
}

fn complete() -> Draft {
    let size = COMPLETE_TEXT.len() as u64;
    let file = FileRow { path: COMPLETE.to_owned(), size, executable: false, sha256: Digest::of(COMPLETE_TEXT) };
    let table = Table { files: vec![file], ..Table::default() };
    let group = Group { class: Class::Complete, name: String::new() };
    Draft { group, table, sources: vec![Source::Text(COMPLETE_TEXT)] }
}

fn add_own_folder(members: &mut Vec<Member>) {
    if !members.iter().any(|member| member.path == OWN_FOLDER) {
        let group = shared_folders();
        members.push(Member { path: OWN_FOLDER.to_owned(), group, content: Content::Folder });
    }
}

fn shared_folders() -> Group {
    Group { class: Class::Folders, name: String::new() }
}

/// Gives each folder to the group of everything in it, or to the group of shared folders where there are several.
fn share_folders(members: &mut [Member]) {
    let mut owners: BTreeMap<String, Group> = BTreeMap::new();
    for member in members.iter().filter(|member| !matches!(member.content, Content::Folder)) {
        for (at, _) in member.path.match_indices('/') {
            let owner = owners.entry(member.path[..at].to_owned()).or_insert_with(|| member.group.clone());
            if *owner != member.group {
                *owner = shared_folders();
            }
        }
    }
    owners.insert(OWN_FOLDER.to_owned(), shared_folders());
    for member in members {
        if let (Content::Folder, Some(owner)) = (&member.content, owners.get(&member.path)) {
            member.group = owner.clone();
        }
    }
}

/// Sort key that puts `a/__pycache__/b.cpython-311.pyc` behind `a/b.py`, and everything else in byte order.
fn beside(path: &str) -> (String, String) {
    let source = path.rsplit_once("/__pycache__/").and_then(|(folder, name)| {
        let stem = name.strip_suffix(".pyc")?.split('.').next()?;
        Some(format!("{folder}/{stem}.py"))
    });
    (source.unwrap_or_else(|| path.to_owned()), path.to_owned())
}

fn jobs(groups: &[Draft], cap: impl Fn(Class) -> u64) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    for (group, draft) in groups.iter().enumerate() {
        let class = draft.group.class;
        let lengths = layout::plan(&draft.table, class, cap(class));
        let frames = layout::slice(&draft.table, class, lengths.iter().copied())?;
        let frames = frames.into_iter().zip(lengths);
        jobs.extend(frames.map(|(pieces, plain)| Job { group, pieces, plain }));
    }
    Ok(jobs)
}

/// Makes all frames on `workers` threads and writes them in order.
fn write_frames(
    groups: &mut [Draft],
    jobs: &[Job],
    (options, encode): (Options, &Encode<'_>),
    out: &mut impl Write,
    sink: &dyn Sink,
) -> Result<(), Error> {
    let ahead = options.workers.max(1) * 2;
    let (send_job, take_job) = bounded::<usize>(ahead);
    let (send_made, take_made) = bounded::<(usize, Result<Made, Error>)>(ahead);
    let drafts = &*groups;
    let encode = |plain: &[u8]| encode(plain, options.level);
    let encode = &encode;
    let rows = std::thread::scope(|scope| {
        for _ in 0..options.workers.max(1) {
            let (take_job, send_made) = (take_job.clone(), send_made.clone());
            scope.spawn(move || work(drafts, jobs, encode, &take_job, &send_made));
        }
        // The threads hold the only other ends: a panic of theirs ends the receiving, and the end of `collect`, however
        // it comes, ends their work.
        drop((take_job, send_made));
        collect(jobs, ahead, send_job, &take_made, out, sink)
    })?;
    for (job, (row, digests)) in jobs.iter().zip(rows) {
        let table = &mut groups[job.group].table;
        table.frames.push(row);
        digests.into_iter().for_each(|(file, digest)| table.files[file].sha256 = digest);
    }
    Ok(())
}

type FrameDone = (FrameRow, Vec<(usize, Digest)>);

/// Hands out at most `ahead` jobs beyond the next frame to write, and writes frames in order.
fn collect(
    jobs: &[Job],
    ahead: usize,
    send_job: Sender<usize>,
    take_made: &Receiver<(usize, Result<Made, Error>)>,
    out: &mut impl Write,
    sink: &dyn Sink,
) -> Result<Vec<FrameDone>, Error> {
    let total = Amount { bytes: jobs.iter().map(|job| job.plain).sum(), items: jobs.len() as u64 };
    let mut progress = Amount::default();
    let mut early = BTreeMap::new();
    let mut sent = 0;
    let mut rows = Vec::with_capacity(jobs.len());
    for next in 0..jobs.len() {
        while sent < jobs.len() && sent < next + ahead {
            let _ = send_job.send(sent);
            sent += 1;
        }
        let made = in_order(next, &mut early, take_made)?;
        out.write_all(&made.compressed).map_err(Error::Output)?;
        progress = Amount { bytes: progress.bytes + made.plain, items: progress.items + 1 };
        sink.emit(Event::Advanced { step: "pack", done: progress, total: Some(total) });
        let (length, sha256) = (made.compressed.len() as u64, Digest::of(&made.compressed));
        rows.push((FrameRow { length, plain: made.plain, sha256 }, made.digests));
    }
    Ok(rows)
}

fn in_order(
    next: usize,
    early: &mut BTreeMap<usize, Result<Made, Error>>,
    take_made: &Receiver<(usize, Result<Made, Error>)>,
) -> Result<Made, Error> {
    loop {
        if let Some(made) = early.remove(&next) {
            return made;
        }
        let gone = |_| Error::Output(io::Error::other("a worker thread ended early"));
        let (at, made) = take_made.recv().map_err(gone)?;
        early.insert(at, made);
    }
}

fn work(
    groups: &[Draft],
    jobs: &[Job],
    encode: impl Fn(&[u8]) -> Result<Vec<u8>, frame::Error>,
    take_job: &Receiver<usize>,
    send_made: &Sender<(usize, Result<Made, Error>)>,
) {
    for at in take_job {
        let made = make(&groups[jobs[at].group], &jobs[at], &encode);
        if send_made.send((at, made)).is_err() {
            return;
        }
    }
}

fn make(draft: &Draft, job: &Job, encode: impl Fn(&[u8]) -> Result<Vec<u8>, frame::Error>) -> Result<Made, Error> {
    let mut plain = Vec::with_capacity(job.plain as usize);
    let mut digests = Vec::new();
    for piece in &job.pieces {
        match piece {
            Piece::Header(row) => {
                plain.extend(row.header(&draft.table).encode());
                if let layout::Row::File(file) = row
                    && draft.table.files[*file].size == 0
                {
                    digests.push((*file, read_body(draft, *file, 0, 0, &mut plain)?));
                }
            }
            Piece::Zeros(length) => plain.resize(plain.len() + *length as usize, 0),
            Piece::Body { file, offset, length } => {
                let digest = read_body(draft, *file, *offset, *length, &mut plain)?;
                if *offset == 0 {
                    digests.push((*file, digest));
                }
            }
        }
    }
    Ok(Made { compressed: encode(&plain)?, plain: job.plain, digests })
}

/// Reads a part of a file into `plain`; the part at offset 0 gives the digest of the whole file, others of nothing.
fn read_body(draft: &Draft, file: usize, offset: u64, length: u64, plain: &mut Vec<u8>) -> Result<Digest, Error> {
    let row = &draft.table.files[file];
    let changed = |found| Error::Changed { path: row.path.clone(), expected: row.size, found };
    let path = match &draft.sources[file] {
        Source::Text(text) => {
            plain.extend_from_slice(text);
            return Ok(Digest::of(text));
        }
        Source::Path(path) => path,
    };
    let start = plain.len();
    let opened = fs::open(path)?;
    let got = fs::read_range(&opened, path, offset, length, plain)?;
    if got != length {
        return Err(changed(offset + got));
    }
    if offset > 0 {
        return Ok(Hasher::default().finish());
    }
    // A file in one frame is hashed from memory, a larger one by reading it once more (it is in the page cache).
    let rest = fs::Tail::new(&opened, length);
    let (digest, size) = digest::of_reader(io::Read::chain(&plain[start..], rest)).map_err(fs::failed("read", path))?;
    if size == row.size { Ok(digest) } else { Err(changed(size)) }
}

/// Writes tables, root and footer; the archive is then whole.
fn write_tables(groups: &[Draft], options: Options, mut out: HashingWriter<impl Write>) -> Result<Artifact, Error> {
    let mut rows = Vec::with_capacity(groups.len());
    for Draft { group, table, .. } in groups {
        let (bytes, plain) = toc::encode(table)?;
        write_skippable(&mut out, &bytes)?;
        let table_row = TableRow { length: bytes.len() as u64, plain, sha256: Digest::of(&bytes) };
        let length = table.frames.iter().map(|frame| frame.length).sum();
        rows.push(GroupRow { class: group.class, name: group.name.clone(), length, table: table_row });
    }
    let encoder = frame::encoder(options.level);
    let (root, _) = toc::encode(&Root { format: toc::FORMAT, encoder, groups: rows })?;
    let offset = out.length() + footer::SKIPPABLE_HEADER;
    write_skippable(&mut out, &root)?;
    let toc = TocRef { offset, length: root.len() as u64, sha256: Digest::of(&root) };
    out.write_all(&footer::encode(&toc)).and_then(|()| out.flush()).map_err(Error::Output)?;
    let size = out.length();
    let entries = groups.iter().map(|draft| draft.table.entries() as u64).sum();
    let unpacked = groups.iter().flat_map(|draft| &draft.table.files).map(|file| file.size).sum();
    Ok(Artifact { size, sha256: out.finish().1, toc, entries, unpacked })
}

fn write_skippable(out: &mut impl Write, content: &[u8]) -> Result<(), Error> {
    // Tables are far below 4 GiB: toc::encode works in memory.
    let header = footer::skippable_header(content.len() as u32);
    out.write_all(&header).and_then(|()| out.write_all(content)).map_err(Error::Output)
}
