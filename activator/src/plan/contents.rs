//! A new release's table of contents, proven: its root from the store, its tables from where they are.
//!
//! A group that did not change has a table that did not change, byte for byte, and the root says its digest: so it is
//! taken from the tables kept of any release on the node, and proven like any other. Only the others are fetched.
//!
//! The tables lie before the root, so what is probably missing of them comes with it, by one request instead of two: on
//! a long line a request is worth more than the bytes that a guess is wrong by.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Contents, Outline};
use pannier_shared::archive::toc::Table;
use pannier_shared::digest::Digest;
use pannier_shared::statement::Artifact;
use pannier_shared::sys::cores::on_all_cores;
use pannier_shared::sys::fs;

use super::kept::Kept;
use super::ranges::{self, Cost, Run};
use crate::steps::fetch::{Error, TABLES_FILE, TAIL_FILE};
use crate::steps::remote::{Remote, is_damage};

/// A proven table of contents, and the bytes that prove it, to be kept beside the release.
#[derive(Debug)]
pub struct Proven {
    /// The tree and its frames.
    pub contents: Contents,
    /// The artifact's end.
    pub tail: Bytes,
    /// All its tables.
    pub tables: Vec<u8>,
    /// What further requests cost.
    pub cost: Cost,
}

impl Proven {
    /// Reads back what is kept beside a release (see `steps::fetch::keep`), and proves it again.
    pub fn kept(artifact: &Artifact, folder: &Path) -> Result<Self, Error> {
        let tail = fs::read(&folder.join(TAIL_FILE), artifact.size)?;
        let outline = Outline::open(artifact, &tail)?;
        let tables = fs::read(&folder.join(TABLES_FILE), artifact.size)?;
        let contents = outline.tables(&tables)?;
        Ok(Self { contents: outline.contents(contents)?, tail: tail.into(), tables, cost: Cost::default() })
    }
}

/// One group's table and the bytes it was read from.
type Read = (Table, Bytes);

/// Brings the table of contents of `artifact` together.
pub async fn contents(remote: &Remote<'_>, artifact: &Artifact, kept: &[Kept], cost: Cost) -> Result<Proven, Error> {
    let (range, end) = (read::tail_range(artifact)?, ranges::end(artifact, kept.first().map(Kept::groups))?);
    let end = End { bytes: remote.read(end.clone()).await?, range: end };
    let cost = cost.seen(remote.first_byte().unwrap_or_default());
    let tail = end.bytes.slice((range.start - end.range.start) as usize..);
    let (outline, tail) = remote.proven(range, tail, |tail| Outline::open(artifact, tail)).await?;
    let mut tables = on_node(&outline, kept);
    fetch_missing(remote, &outline, &mut tables, &end, &cost).await?;
    let (tables, bytes): (Vec<Table>, Vec<Bytes>) = tables.into_iter().flatten().unzip();
    Ok(Proven { contents: outline.contents(tables)?, tail, tables: bytes.concat(), cost })
}

/// The tables that are on the node, by group; one that was damaged there counts as missing.
fn on_node(outline: &Outline, kept: &[Kept]) -> Vec<Option<Read>> {
    let mut known: HashMap<Digest, (&Kept, usize)> = HashMap::new();
    for release in kept {
        for (group, row) in release.groups().iter().enumerate() {
            known.entry(row.table.sha256).or_insert((release, group));
        }
    }
    let find = |group: usize| {
        let (release, there) = known.get(&outline.root().groups[group].table.sha256)?;
        let bytes = release.table_bytes(*there).ok()?;
        Some((outline.table(group, &bytes).ok()?, bytes.into()))
    };
    on_all_cores(outline.root().groups.len(), find)
}

/// What came of an artifact's end.
struct End {
    range: Range<u64>,
    bytes: Bytes,
}

impl End {
    /// A part of it.
    fn of(&self, range: Range<u64>) -> Bytes {
        slice(&self.range, &self.bytes, range)
    }

    /// A table that begins among the `bytes` of `run`, and may go on in the end.
    fn after(&self, run: &Range<u64>, bytes: &Bytes, range: Range<u64>) -> Bytes {
        if range.end <= self.range.start {
            return slice(run, bytes, range);
        }
        let (first, rest) = (range.start..self.range.start, self.range.start..range.end);
        [slice(run, bytes, first), self.of(rest)].concat().into()
    }
}

/// The part `range` of bytes that lie at `at`.
fn slice(at: &Range<u64>, bytes: &Bytes, range: Range<u64>) -> Bytes {
    bytes.slice((range.start - at.start) as usize..(range.end - at.start) as usize)
}

async fn fetch_missing(
    remote: &Remote<'_>,
    outline: &Outline,
    tables: &mut [Option<Read>],
    end: &End,
    cost: &Cost,
) -> Result<(), Error> {
    let missing: Vec<usize> = (0..tables.len()).filter(|group| tables[*group].is_none()).collect();
    let runs = ranges::tables(outline, missing.iter().copied(), &end.range, cost);
    let came = missing.into_iter().filter(|group| outline.table_range(*group).start >= end.range.start);
    let mut came: Vec<(usize, Bytes)> = came.map(|group| (group, end.of(outline.table_range(group)))).collect();
    let fetch = |run: Run| async move { Ok::<_, Error>((remote.read(run.range.clone()).await?, run)) };
    let mut fetched = stream::iter(runs).map(fetch).buffer_unordered(cost.connections);
    while let Some((bytes, run)) = fetched.try_next().await? {
        let part = |group: usize| (group, end.after(&run.range, &bytes, outline.table_range(group)));
        came.extend(run.parts.iter().copied().map(part));
    }
    read_tables(remote, outline, tables, came).await
}

/// Proves and reads the tables that came, on all cores; one that came damaged is fetched once more.
async fn read_tables(
    remote: &Remote<'_>,
    outline: &Outline,
    tables: &mut [Option<Read>],
    came: Vec<(usize, Bytes)>,
) -> Result<(), Error> {
    let read = on_all_cores(came.len(), |at| outline.table(came[at].0, &came[at].1));
    for ((group, bytes), read) in came.into_iter().zip(read) {
        tables[group] = Some(match read {
            Err(error) if is_damage(&error) => {
                let range = outline.table_range(group);
                remote.proven(range, bytes, |bytes| outline.table(group, bytes)).await?
            }
            read => (read?, bytes),
        });
    }
    Ok(())
}
