//! What an earlier release has of a new artifact, so that a store may copy it instead of being sent it again.
//!
//! Frames are independent and proven by the SHA-256 of their compressed bytes, so two frames of one digest and length
//! are the same bytes wherever they lie. The tables of the new artifact are in the file; of the earlier one the root is
//! read, and the tables of those groups only that differ.
//!
//! **Which earlier one:** of the versions that channels name, the one promoted last; without channels, the last in the
//! list. Its statement is verified like any other. That is for order's sake, not for safety: what becomes of a hint is
//! proven by the store ([`Store::put_file`]), and by every node.

use std::collections::HashMap;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use pannier_shared::archive::read::{self, Outline, tail_range};
use pannier_shared::archive::toc::{FrameRow, Table};
use pannier_shared::digest::Digest;
use pannier_shared::id::Version;
use pannier_shared::keys;
use pannier_shared::published::{self, Published};
use pannier_shared::signature::Verified;
use pannier_shared::statement::Statement;
use pannier_shared::store::upload::Shared;
use pannier_shared::store::{self, Etag, Key, Store};

use crate::inside;

/// How many tables are read at a time.
const AT_ONCE: usize = 8;

/// How many versions without a usable statement are passed over where no channel names one.
const TRIED: usize = 3;

/// An earlier release, and what it has of the new artifact.
#[derive(Debug)]
pub struct Previous {
    /// Its version.
    pub version: Version,
    /// Ranges that both have, in the order of the new artifact.
    pub shared: Vec<Shared>,
}

/// Why nothing is known of an earlier release.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be found or believed.
    #[error(transparent)]
    Published(#[from] published::Error),
    /// Its artifact cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The new artifact cannot be read.
    #[error(transparent)]
    File(#[from] inside::Error),
    /// The earlier one is not what its statement says.
    #[error(transparent)]
    Archive(#[from] read::Error),
}

type Result<T> = std::result::Result<T, Error>;

/// Looks for what an earlier release has of the artifact `file`, of which `new` is the statement.
pub async fn find(published: &Published<'_>, new: &Statement, file: &Path) -> Result<Option<Previous>> {
    let Some(old) = choose(published, new).await? else { return Ok(None) };
    let source = keys::artifact(&old.release.app, &old.release.version, &old.release.target);
    let etag = published.store.head(&source).await?.etag;
    let there = Artifact { store: published.store, key: &source, etag: &etag };
    let tail = there.read(tail_range(&old.artifact)?).await?;
    let (theirs, (ours, tables)) = (Outline::open(&old.artifact, &tail)?, inside::open_file(file, &new.artifact)?);
    let their_tables = there.tables(&theirs, &ours, &tables).await?;
    let shared = runs(&frames(&ours, &tables), &frames(&theirs, &their_tables));
    let shared = shared.into_iter().map(|run| Shared {
        range: run.at..run.at + run.length,
        source: source.clone(),
        etag: etag.clone(),
        from: run.from,
    });
    Ok(Some(Previous { version: old.release.version.clone(), shared: shared.collect() }))
}

/// The earlier release to compare with; none when there is none for this kind of machine.
async fn choose(published: &Published<'_>, new: &Statement) -> Result<Option<Verified<Statement>>> {
    let release = &new.release;
    let mut pointers = Vec::new();
    for channel in published.channels(&release.app).await? {
        // A channel that is not to be believed has nothing to say here.
        let Ok(Some(pointer)) = published.channel_if_there(&release.app, &channel).await else { continue };
        if pointer.document.version != release.version && pointer.document.statements.contains_key(&release.target) {
            pointers.push(pointer.document);
        }
    }
    if let Some(last) = pointers.iter().max_by_key(|pointer| pointer.issued) {
        return Ok(Some(published.named_by(last, &release.target).await?));
    }
    let versions = match published.versions(&release.app).await {
        Err(published::Error::UnknownApp { .. }) => return Ok(None),
        versions => versions?,
    };
    for version in versions.iter().rev().filter(|version| **version != release.version).take(TRIED) {
        if let Ok(statement) = published.statement(&release.app, version, &release.target).await {
            return Ok(Some(statement));
        }
    }
    Ok(None)
}

/// An artifact in the store: one content of it.
struct Artifact<'a> {
    store: &'a dyn Store,
    key: &'a Key,
    etag: &'a Etag,
}

impl Artifact<'_> {
    async fn read(&self, range: std::ops::Range<u64>) -> Result<bytes::Bytes> {
        Ok(self.store.get_range(self.key, range, Some(self.etag)).await?)
    }

    /// Its tables: those that are ours too are taken from us.
    async fn tables(&self, theirs: &Outline, ours: &Outline, tables: &[Table]) -> Result<Vec<Table>> {
        let rows = ours.root().groups.iter().map(|row| row.table.sha256);
        let known: HashMap<Digest, &Table> = rows.zip(tables).collect();
        let known = &known;
        let read = |group: usize| async move {
            match known.get(&theirs.root().groups[group].table.sha256) {
                Some(table) => Ok((*table).clone()),
                None => Ok(theirs.table(group, &self.read(theirs.table_range(group)).await?)?),
            }
        };
        let groups: Vec<usize> = (0..theirs.root().groups.len()).collect();
        stream::iter(groups).map(read).buffered(AT_ONCE).try_collect().await
    }
}

/// What names a frame's bytes.
type Content = (Digest, u64);

/// The frames of an artifact in order, each with where it lies.
fn frames(outline: &Outline, tables: &[Table]) -> Vec<(u64, Content)> {
    let mut found = Vec::new();
    let mut start = 0;
    for (row, table) in outline.root().groups.iter().zip(tables) {
        let mut at = start;
        for FrameRow { length, sha256, .. } in &table.frames {
            found.push((at, (*sha256, *length)));
            at += length;
        }
        start += row.length;
    }
    found
}

/// Bytes that lie in both artifacts in one piece.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    at: u64,
    length: u64,
    from: u64,
}

fn runs(ours: &[(u64, Content)], theirs: &[(u64, Content)]) -> Vec<Run> {
    // Of several the first, which has the most behind it.
    let by_content: HashMap<Content, u64> = theirs.iter().rev().map(|(at, content)| (*content, *at)).collect();
    let by_place: HashMap<u64, Content> = theirs.iter().copied().collect();
    let mut runs: Vec<Run> = Vec::new();
    for (at, content) in ours {
        let length = content.1;
        match runs.last_mut() {
            Some(run) if run.at + run.length == *at && by_place.get(&(run.from + run.length)) == Some(content) => {
                run.length += length;
            }
            _ => runs.extend(by_content.get(content).map(|from| Run { at: *at, length, from: *from })),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames named by letters, each as long as its letter's place in the alphabet.
    fn frames(names: &str) -> Vec<(u64, Content)> {
        let mut at = 0;
        let frame = |name: char| {
            let length = u64::from(name) - u64::from('a') + 1;
            at += length;
            (at - length, (Digest::of(&[name as u8]), length))
        };
        names.chars().map(frame).collect()
    }

    fn found(ours: &str, theirs: &str) -> String {
        let runs = runs(&frames(ours), &frames(theirs));
        let words = runs.iter().map(|run| format!("{}+{}@{}", run.at, run.length, run.from));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn frames_that_lie_side_by_side_in_both_are_one_run() {
        assert_eq!(found("abc", "abc"), "0+6@0");
        assert_eq!(found("abxcd", "abcd"), "0+3@0 27+7@3");
        assert_eq!(found("abcd", "cdab"), "0+3@7 3+7@0");
        assert_eq!(found("xyz", "abc"), "");
        assert_eq!(found("", "abc"), "");
    }

    #[test]
    fn a_frame_that_is_there_twice_goes_on_where_the_run_is() {
        assert_eq!(found("abab", "abab"), "0+6@0");
        assert_eq!(found("aab", "ab"), "0+1@0 1+3@0");
    }
}
