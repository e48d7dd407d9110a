//! The first links of the chain: where root and tables lie, and that they are what was signed.

use std::ops::Range;

use super::super::frame::MAX_FRAME;
use super::super::layout::{self, Piece};
use super::super::policy;
use super::super::toc::{self, FrameRow, Group, Root, Table};
use super::super::{COMPLETE, COMPLETE_TEXT, footer};
use super::contents::{Contents, Frame};
use super::{Error, Result};
use crate::digest::Digest;
use crate::statement::Artifact;

/// The bytes that hold root and footer: from the skippable header before the root to the end of the file.
pub fn tail_range(artifact: &Artifact) -> Result<Range<u64>> {
    let toc = &artifact.toc;
    if toc.length == 0 || toc.length > toc::MAX_ROOT {
        return Err(Error::Statement("the length of its table of contents"));
    }
    let start = toc.offset.checked_sub(footer::SKIPPABLE_HEADER);
    let end = toc.offset.checked_add(toc.length).and_then(|end| end.checked_add(footer::FOOTER_FRAME));
    match (start, end) {
        (Some(start), Some(end)) if end == artifact.size => Ok(start..end),
        _ => Err(Error::Statement("its table of contents does not lie at its end")),
    }
}

/// A proven root: which groups there are and where everything lies.
#[derive(Debug, Clone)]
pub struct Outline {
    artifact: Artifact,
    root: Root,
    /// Where each group's frames begin.
    data: Vec<u64>,
    /// Where each group's compressed table lies.
    tables: Vec<Range<u64>>,
}

impl Outline {
    /// Proves the root and the footer; `tail` are the bytes of [`tail_range`].
    pub fn open(artifact: &Artifact, tail: &[u8]) -> Result<Self> {
        let range = tail_range(artifact)?;
        expect_length("end", range.end - range.start, tail)?;
        let (rest, footer_bytes) = tail.split_at(tail.len() - footer::FOOTER_FRAME as usize);
        if footer_bytes != footer::encode(&artifact.toc) {
            return Err(Error::Footer);
        }
        let bytes = skip_header(rest, || "table of contents".to_owned())?;
        prove(bytes, &artifact.toc.sha256, || "table of contents".to_owned())?;
        let part = "table of contents".to_owned();
        let root = toc::decode_root(bytes).map_err(|source| Error::Table { part, source })?;
        Self::place(artifact.clone(), root, range.start)
    }

    /// Works out where everything lies, and that it fills the file up to the root.
    fn place(artifact: Artifact, root: Root, end: u64) -> Result<Self> {
        let contradiction = |what: &str| Err(Error::Contradiction(what.to_owned()));
        if root.groups.is_empty() || root.groups.len() > toc::MAX_GROUPS {
            return contradiction("it has no groups or too many");
        }
        if !root.groups.is_sorted_by(|a, b| a.group() < b.group()) {
            return contradiction("its groups are not in order");
        }
        let mut at = 0u64;
        let mut data = Vec::with_capacity(root.groups.len());
        for row in &root.groups {
            data.push(at);
            at = at.saturating_add(row.length);
        }
        let mut tables = Vec::with_capacity(root.groups.len());
        for row in &root.groups {
            let start = at.saturating_add(footer::SKIPPABLE_HEADER);
            at = start.saturating_add(row.table.length);
            tables.push(start..at);
        }
        if at != end {
            return contradiction("its groups and tables do not fill the file");
        }
        Ok(Self { artifact, root, data, tables })
    }

    /// The root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The bytes that hold all tables, with the skippable header in front of each.
    pub fn tables_range(&self) -> Range<u64> {
        let first = self.tables.first().map_or(0, |range| range.start - footer::SKIPPABLE_HEADER);
        first..self.tables.last().map_or(first, |range| range.end)
    }

    /// The bytes of one group's table, with the skippable header in front of it.
    pub fn table_range(&self, group: usize) -> Range<u64> {
        let range = &self.tables[group];
        range.start - footer::SKIPPABLE_HEADER..range.end
    }

    /// Proves and reads one group's table; `bytes` are those of [`Self::table_range`].
    pub fn table(&self, group: usize, bytes: &[u8]) -> Result<Table> {
        let row = &self.root.groups[group];
        let part = || format!("table of group `{}`", name(&row.group()));
        let range = self.table_range(group);
        expect_length("table", range.end - range.start, bytes)?;
        let bytes = skip_header(bytes, part)?;
        prove(bytes, &row.table.sha256, part)?;
        toc::decode_table(bytes, row.table.plain).map_err(|source| Error::Table { part: part(), source })
    }

    /// Proves and reads all tables at once; `bytes` are those of [`Self::tables_range`].
    pub fn tables(&self, bytes: &[u8]) -> Result<Vec<Table>> {
        let all = self.tables_range();
        expect_length("tables", all.end - all.start, bytes)?;
        let part = |group: usize| {
            let range = self.table_range(group);
            &bytes[(range.start - all.start) as usize..(range.end - all.start) as usize]
        };
        (0..self.root.groups.len()).map(|group| self.table(group, part(group))).collect()
    }

    /// Joins proven tables to the whole tree, checks it against the policy and against the statement.
    pub fn contents(self, tables: Vec<Table>) -> Result<Contents> {
        policy::check_tree(tables.iter().flat_map(Table::kinds))?;
        check_counts(&self.artifact, &tables)?;
        check_complete(&tables)?;
        let mut frames = Vec::new();
        for (group, table) in tables.iter().enumerate() {
            let row = &self.root.groups[group];
            let cut = |source| Error::Cut { group: name(&row.group()), source };
            let lengths = table.frames.iter().map(|frame| frame.plain);
            let pieces = layout::slice(table, row.class, lengths).map_err(cut)?;
            place_frames(group, self.data[group], row.length, &table.frames, pieces, &mut frames)?;
        }
        Ok(Contents::new(self, tables, frames))
    }
}

fn check_counts(artifact: &Artifact, tables: &[Table]) -> Result<()> {
    let entries: u64 = tables.iter().map(|table| table.entries() as u64).sum();
    let unpacked = tables.iter().flat_map(|table| &table.files).fold(0u64, |sum, file| sum.saturating_add(file.size));
    if (entries, unpacked) == (artifact.entries, artifact.unpacked) {
        return Ok(());
    }
    Err(Error::Contradiction(format!(
        "the statement says {} entries with {} bytes, the tables {entries} with {unpacked}",
        artifact.entries, artifact.unpacked
    )))
}

fn check_complete(tables: &[Table]) -> Result<()> {
    let last = tables.last();
    let file = last.filter(|table| table.entries() == 1).and_then(|table| table.files.first());
    match file {
        Some(file) if file.path == COMPLETE && file.sha256 == Digest::of(COMPLETE_TEXT) => Ok(()),
        _ => Err(Error::Contradiction(format!("its last entry is not `{COMPLETE}`"))),
    }
}

fn place_frames(
    group: usize,
    start: u64,
    length: u64,
    rows: &[FrameRow],
    pieces: Vec<Vec<Piece>>,
    frames: &mut Vec<Frame>,
) -> Result<()> {
    let mut at = start;
    for (row, pieces) in rows.iter().zip(pieces) {
        let end = at.saturating_add(row.length);
        if row.length > MAX_FRAME + 1024 * 1024 {
            return Err(Error::Contradiction(format!("a frame has {} compressed bytes", row.length)));
        }
        frames.push(Frame {
            group,
            number: frames.len(),
            range: at..end,
            plain: row.plain,
            sha256: row.sha256,
            pieces,
        });
        at = end;
    }
    if at == start.saturating_add(length) {
        Ok(())
    } else {
        Err(Error::Contradiction("the frames of a group do not fill it".to_owned()))
    }
}

pub(super) fn name(group: &Group) -> String {
    let class = format!("{:?}", group.class).to_lowercase();
    if group.name.is_empty() { class } else { format!("{class} {}", group.name) }
}

fn expect_length(part: &'static str, expected: u64, bytes: &[u8]) -> Result<()> {
    let found = bytes.len() as u64;
    if found == expected { Ok(()) } else { Err(Error::Short { part, expected, found }) }
}

/// Takes the skippable header off `bytes` after comparing it with the one such a content has.
fn skip_header(bytes: &[u8], part: impl Fn() -> String) -> Result<&[u8]> {
    let damaged = || Error::Skippable { part: part() };
    let (header, content) = bytes.split_at_checked(footer::SKIPPABLE_HEADER as usize).ok_or_else(damaged)?;
    let length = u32::try_from(content.len()).map_err(|_| damaged())?;
    if header == footer::skippable_header(length) { Ok(content) } else { Err(damaged()) }
}

pub(super) fn prove(bytes: &[u8], expected: &Digest, part: impl Fn() -> String) -> Result<()> {
    let found = Digest::of(bytes);
    if found == *expected { Ok(()) } else { Err(Error::Digest { part: part(), expected: *expected, found }) }
}
