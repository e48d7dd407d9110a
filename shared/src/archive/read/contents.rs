//! The last two links of the chain: the whole tree, and its frames, proven and decoded one by one.

use std::ops::Range;

use super::super::frame::Decoder;
use super::super::layout::{self, Piece};
use super::super::toc::{FileRow, LinkRow, Table};
use super::outline::{Outline, name, prove};
use super::{Error, Result};
use crate::digest::Digest;

/// A whole, proven table of contents: the tree and the frames that hold it.
#[derive(Debug, Clone)]
pub struct Contents {
    outline: Outline,
    tables: Vec<Table>,
    frames: Vec<Frame>,
    /// The number of each group's first file.
    first_files: Vec<usize>,
}

/// One data frame: where it lies and what it holds.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Index of its group.
    pub group: usize,
    /// Its number in the archive, from 0.
    pub number: usize,
    /// Its bytes in the archive.
    pub range: Range<u64>,
    /// Its decompressed length.
    pub plain: u64,
    pub(super) sha256: Digest,
    pub(super) pieces: Vec<Piece>,
}

/// A part of a file's content, proven.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// The number of the file it belongs to: its place in [`Contents::files`].
    pub number: usize,
    /// The file it belongs to.
    pub file: &'a FileRow,
    /// Its first byte within the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Contents {
    pub(super) fn new(outline: Outline, tables: Vec<Table>, frames: Vec<Frame>) -> Self {
        let mut files = 0;
        let mut first_files = Vec::with_capacity(tables.len());
        for table in &tables {
            first_files.push(files);
            files += table.files.len();
        }
        Self { outline, tables, frames, first_files }
    }

    /// The proven root it was read from.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The proven table of each group of the root.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// All folders, each after the one it lies in.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().flat_map(|table| &table.folders).map(String::as_str)
    }

    /// All regular files in archive order.
    pub fn files(&self) -> impl Iterator<Item = &FileRow> {
        self.tables.iter().flat_map(|table| &table.files)
    }

    /// All symlinks.
    pub fn links(&self) -> impl Iterator<Item = &LinkRow> {
        self.tables.iter().flat_map(|table| &table.links)
    }

    /// All frames in archive order, without gaps.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// The numbers of the files of which a frame holds bytes; an empty file has none anywhere.
    pub fn files_in(&self, frame: &Frame) -> impl Iterator<Item = usize> {
        let first = self.first_files[frame.group];
        frame.pieces.iter().filter_map(move |piece| match piece {
            Piece::Body { file, .. } => Some(first + file),
            Piece::Header(_) | Piece::Zeros(_) => None,
        })
    }

    /// Proves a frame's bytes, decodes them, and compares every header and padding with the tables.
    pub fn open_frame<'a>(
        &'a self,
        frame: &Frame,
        compressed: &[u8],
        decoder: &'a mut Decoder,
    ) -> Result<OpenFrame<'a>> {
        let part = || self.name_frame(frame);
        prove(compressed, &frame.sha256, part)?;
        let plain = decoder.decode(compressed, frame.plain).map_err(|source| Error::Frame { part: part(), source })?;
        let table = &self.tables[frame.group];
        let mut at = 0;
        let mut bodies = Vec::new();
        for piece in &frame.pieces {
            let (length, fixed) = expected(table, piece);
            let bytes = &plain[at..at + length];
            match piece {
                Piece::Body { file, offset, .. } => bodies.push((*file, *offset, at..at + length)),
                _ if !fixed_matches(&fixed, bytes) => return Err(self.stream_error(frame, piece, &bodies)),
                _ => {}
            }
            at += length;
        }
        Ok(OpenFrame { table, first_file: self.first_files[frame.group], plain, bodies })
    }

    fn name_frame(&self, frame: &Frame) -> String {
        format!("frame {} (group `{}`)", frame.number, name(&self.outline.root().groups[frame.group].group()))
    }

    fn stream_error(&self, frame: &Frame, piece: &Piece, bodies: &[(usize, u64, Range<usize>)]) -> Error {
        let table = &self.tables[frame.group];
        let path = match piece {
            Piece::Header(layout::Row::Folder(at)) => table.folders[*at].clone(),
            Piece::Header(layout::Row::File(at)) => table.files[*at].path.clone(),
            Piece::Header(layout::Row::Link(at)) => table.links[*at].path.clone(),
            _ => bodies.last().map_or_else(String::new, |(file, ..)| table.files[*file].path.clone()),
        };
        Error::Stream { part: self.name_frame(frame), path }
    }
}

/// A proven and decoded frame.
#[derive(Debug)]
pub struct OpenFrame<'a> {
    table: &'a Table,
    first_file: usize,
    plain: &'a [u8],
    bodies: Vec<(usize, u64, Range<usize>)>,
}

impl OpenFrame<'_> {
    /// The parts of files in it, in order; an empty file has none.
    pub fn bodies(&self) -> impl Iterator<Item = Body<'_>> {
        self.bodies.iter().map(|(file, offset, range)| Body {
            number: self.first_file + file,
            file: &self.table.files[*file],
            offset: *offset,
            bytes: &self.plain[range.clone()],
        })
    }
}

/// How long a piece is, and its bytes where they are fixed; zeros are not spelled out.
fn expected(table: &Table, piece: &Piece) -> (usize, Vec<u8>) {
    match piece {
        Piece::Header(row) => {
            let bytes = row.header(table).encode();
            (bytes.len(), bytes)
        }
        Piece::Body { length, .. } | Piece::Zeros(length) => (*length as usize, Vec::new()),
    }
}

fn fixed_matches(fixed: &[u8], bytes: &[u8]) -> bool {
    if fixed.is_empty() { bytes.iter().all(|byte| *byte == 0) } else { fixed == bytes }
}
