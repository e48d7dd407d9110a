//! A new release's table of contents, proven: its root from the store, its tables from where they are.
//!
//! A group that did not change has a table that did not change, byte for byte, and the root says its digest: so it is
//! taken from the tables kept of any release on the node, and proven like any other. Only the others are fetched.
//!
//! The tables lie before the root, so what is probably missing of them comes with it, by one request instead of two: on
//! a long line a request is worth more than the bytes that a guess is wrong by.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::footer::SKIPPABLE_HEADER;
use pannier_shared::archive::read::{self, Contents, Outline};
use pannier_shared::archive::toc::{Class, Table};
use pannier_shared::digest::Digest;
use pannier_shared::statement::Artifact;
use pannier_shared::sys::cores::on_all_cores;

use super::kept::Kept;
use super::ranges::{Cost, Run, runs};
use crate::steps::fetch::Error;
use crate::steps::remote::{Remote, is_damage};

/// About how many bytes of a table an entry takes: 35 in sites of 5,800 and of 26,000 files, most of it a digest.
const TABLE_BYTES: u64 = 38;
/// The most bytes of tables that are asked for unseen: those of 100,000 entries.
const MOST_UNSEEN: u64 = 4 << 20;

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

/// One group's table and the bytes it was read from.
type Read = (Table, Bytes);

/// Brings the table of contents of `artifact` together.
pub async fn contents(remote: &Remote<'_>, artifact: &Artifact, kept: &[Kept], cost: Cost) -> Result<Proven, Error> {
    let range = read::tail_range(artifact)?;
    let start = range.start.saturating_sub(guess(artifact, kept));
    let end = remote.read(start..range.end).await?;
    let cost = cost.seen(remote.first_byte().unwrap_or_default());
    let tail = end.slice((range.start - start) as usize..);
    let (outline, tail) = remote.proven(range, tail, |tail| Outline::open(artifact, tail)).await?;
    let mut tables = on_node(&outline, kept);
    fetch_missing(remote, &outline, &mut tables, &End { start, bytes: end }, &cost).await?;
    let (tables, bytes): (Vec<Table>, Vec<Bytes>) = tables.into_iter().flatten().unzip();
    Ok(Proven { contents: outline.contents(tables)?, tail, tables: bytes.concat(), cost })
}

/// How many bytes of tables are probably missing: all on an empty node; else those that change with every release,
/// which lie last.
fn guess(artifact: &Artifact, kept: &[Kept]) -> u64 {
    let Some(nearest) = kept.first() else { return (artifact.entries * TABLE_BYTES).min(MOST_UNSEEN) };
    let changing = nearest.groups().iter().filter(|row| row.class >= Class::App);
    let bytes: u64 = changing.map(|row| SKIPPABLE_HEADER + row.table.length).sum();
    (bytes + bytes / 16).min(MOST_UNSEEN)
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

/// What came of an artifact's end, from this byte on.
struct End {
    start: u64,
    bytes: Bytes,
}

async fn fetch_missing(
    remote: &Remote<'_>,
    outline: &Outline,
    tables: &mut [Option<Read>],
    end: &End,
    cost: &Cost,
) -> Result<(), Error> {
    let missing = (0..tables.len()).filter(|group| tables[*group].is_none());
    let (came, others): (Vec<usize>, Vec<usize>) =
        missing.partition(|group| outline.table_range(*group).start >= end.start);
    let mut came: Vec<(usize, Bytes)> =
        came.into_iter().map(|group| (group, part(outline, group, end.start, &end.bytes))).collect();
    let runs = runs(others.into_iter().map(|group| (group, outline.table_range(group))), cost);
    let fetch = |run: Run| async move { Ok::<_, Error>((remote.read(run.range.clone()).await?, run)) };
    let mut fetched = stream::iter(runs).map(fetch).buffer_unordered(cost.connections);
    while let Some((bytes, run)) = fetched.try_next().await? {
        came.extend(run.parts.into_iter().map(|group| (group, part(outline, group, run.range.start, &bytes))));
    }
    read_tables(remote, outline, tables, came).await
}

/// One group's table out of bytes that begin at `start`.
fn part(outline: &Outline, group: usize, start: u64, bytes: &Bytes) -> Bytes {
    let range = outline.table_range(group);
    bytes.slice((range.start - start) as usize..(range.end - start) as usize)
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
