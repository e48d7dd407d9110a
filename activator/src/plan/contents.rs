//! A new release's table of contents, proven: its root from the store, its tables from where they are.
//!
//! A group that did not change has a table that did not change, byte for byte, and the root says its digest: so it is
//! taken from the tables kept of any release on the node, and proven like any other. Only the others are fetched.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Contents, Outline};
use pannier_shared::archive::toc::Table;
use pannier_shared::digest::Digest;
use pannier_shared::statement::Artifact;
use pannier_shared::sys::cores::on_all_cores;

use super::kept::Kept;
use super::ranges::{Cost, runs};
use crate::steps::fetch::Error;
use crate::steps::remote::Remote;

/// A proven table of contents, and the bytes that prove it, to be kept beside the release.
#[derive(Debug)]
pub struct Proven {
    /// The tree and its frames.
    pub contents: Contents,
    /// The artifact's end.
    pub tail: Bytes,
    /// All its tables.
    pub tables: Vec<u8>,
}

/// One group's table and the bytes it was read from.
type Read = (Table, Bytes);

/// Brings the table of contents of `artifact` together.
pub async fn contents(remote: &Remote<'_>, artifact: &Artifact, kept: &[Kept], cost: &Cost) -> Result<Proven, Error> {
    let range = read::tail_range(artifact)?;
    let tail = remote.read(range.clone()).await?;
    let (outline, tail) = remote.proven(range, tail, |tail| Outline::open(artifact, tail)).await?;
    let mut tables = on_node(&outline, kept);
    fetch_missing(remote, &outline, &mut tables, cost).await?;
    let (tables, bytes): (Vec<Table>, Vec<Bytes>) = tables.into_iter().flatten().unzip();
    Ok(Proven { contents: outline.contents(tables)?, tail, tables: bytes.concat() })
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

async fn fetch_missing(
    remote: &Remote<'_>,
    outline: &Outline,
    tables: &mut [Option<Read>],
    cost: &Cost,
) -> Result<(), Error> {
    let missing: Vec<usize> = (0..tables.len()).filter(|group| tables[*group].is_none()).collect();
    let runs = runs(missing.into_iter().map(|group| (group, outline.table_range(group))), cost);
    let fetch = |run: super::ranges::Run| async move { Ok((remote.read(run.range.clone()).await?, run)) };
    let mut fetched = stream::iter(runs).map(fetch).buffer_unordered(cost.connections);
    while let Some((bytes, run)) = fetched.try_next().await.map_err(|error: Error| error)? {
        for group in run.parts {
            let range = outline.table_range(group);
            let part = (range.start - run.range.start) as usize..(range.end - run.range.start) as usize;
            tables[group] = Some(remote.proven(range, bytes.slice(part), |bytes| outline.table(group, bytes)).await?);
        }
    }
    Ok(())
}
