//! The last two links of the chain: the whole tree, and its frames, proven and decoded one by one.

use std::ops::Range;

use super::super::frame;
use super::super::layout::{self, Piece};
use super::super::toc::{FileRow, LinkRow, Table};
use super::outline::{Outline, name, prove};
use super::{Error, Result};
use crate::digest::Digest;

/// A whole, proven table of contents: the tree and the frames that hold it.
#[derive(Debug, Clone)]
pub struct Contents {
    pub(super) outline: Outline,
    pub(super) tables: Vec<Table>,
    pub(super) frames: Vec<Frame>,
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
    /// The file it belongs to.
    pub file: &'a FileRow,
    /// Its first byte within the file.
    pub offset: u64,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Contents {
    /// The proven root it was read from.
    pub fn outline(&self) -> &Outline {
        &self.outline
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

    /// Proves a frame's bytes, decodes them, and compares every header and padding with the tables.
    pub fn open_frame(&self, frame: &Frame, compressed: &[u8]) -> Result<OpenFrame<'_>> {
        let part = || self.name_frame(frame);
        prove(compressed, &frame.sha256, part)?;
        let plain = frame::decode(compressed, frame.plain).map_err(|source| Error::Frame { part: part(), source })?;
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
        let empty = frame.pieces.iter().filter_map(|piece| empty_file(table, piece)).collect();
        Ok(OpenFrame { table, plain, bodies, empty })
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
    plain: Vec<u8>,
    bodies: Vec<(usize, u64, Range<usize>)>,
    empty: Vec<usize>,
}

impl OpenFrame<'_> {
    /// The parts of files in it, in order; an empty file is one part of no bytes.
    pub fn bodies(&self) -> impl Iterator<Item = Body<'_>> {
        let empty = self.empty.iter().map(|file| Body { file: &self.table.files[*file], offset: 0, bytes: &[] });
        let bodies = self.bodies.iter().map(|(file, offset, range)| Body {
            file: &self.table.files[*file],
            offset: *offset,
            bytes: &self.plain[range.clone()],
        });
        empty.chain(bodies)
    }
}

fn empty_file(table: &Table, piece: &Piece) -> Option<usize> {
    match piece {
        Piece::Header(layout::Row::File(at)) if table.files[*at].size == 0 => Some(*at),
        _ => None,
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
