//! How a group's part of the tar stream is made up, and where it is cut into frames.
//!
//! The stream of a group is a pure function of its table: for each folder, file and link its header, for a file its
//! body and zero padding; the last group adds the end blocks. Frames cut that stream between these pieces or inside a
//! body, never inside a header or padding. Writer and reader use the same [`slice()`], so they cannot disagree.

use super::frame::MAX_FRAME;
use super::header::{END, Header, padding};
use super::toc::{Class, Table};

/// A part of the tar stream that lies in one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The header of one row.
    Header(Row),
    /// Some bytes of a file's content.
    Body {
        /// Index into the table's files.
        file: usize,
        /// First byte within the file.
        offset: u64,
        /// How many bytes.
        length: u64,
    },
    /// This many zero bytes: padding, or the end of the archive.
    Zeros(u64),
}

/// A row of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Index into the folders.
    Folder(usize),
    /// Index into the files.
    File(usize),
    /// Index into the links.
    Link(usize),
}

impl Row {
    /// The row's tar header.
    pub fn header<'a>(&self, table: &'a Table) -> Header<'a> {
        match *self {
            Row::Folder(at) => Header::Folder { path: &table.folders[at] },
            Row::File(at) => {
                let file = &table.files[at];
                Header::File { path: &file.path, size: file.size, mode: file.mode() }
            }
            Row::Link(at) => {
                let link = &table.links[at];
                Header::Link { path: &link.path, target: &link.target }
            }
        }
    }
}

/// Frame lengths that do not fit the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its frames do not fit its entries: {0}")]
pub struct BadCut(&'static str);

/// The most decompressed bytes of a frame of this class. Measured on 11,000 to 26,000 files: 4 MiB costs 0.4 to 0.7 % of
/// size over one frame, 1 MiB 1.8 %, and what changes with every release is fetched in the smaller unit.
pub fn cap(class: Class) -> u64 {
    match class {
        Class::Folders | Class::Interpreter | Class::Dependency | Class::Glue => 4 << 20,
        Class::Static | Class::App | Class::Release | Class::Complete => 1 << 20,
    }
}

/// The decompressed lengths of a group's frames: whole entries up to `cap`; an entry larger than that is cut at
/// multiples of it, in frames of its own, so that all cores can work on it.
pub fn plan(table: &Table, class: Class, cap: u64) -> Vec<u64> {
    let mut frames = Vec::new();
    let mut open = 0;
    for row in rows(table) {
        let mut length: u64 = row_pieces(table, row).map(|piece| piece_length(table, &piece)).sum();
        if open > 0 && open + length > cap {
            frames.push(std::mem::take(&mut open));
        }
        while length > cap {
            frames.push(cap);
            length -= cap;
        }
        open += length;
    }
    open += end_length(class);
    frames.extend((open > 0).then_some(open));
    frames
}

/// Cuts a group's stream into frames of these decompressed lengths.
pub fn slice(table: &Table, class: Class, lengths: impl IntoIterator<Item = u64>) -> Result<Vec<Vec<Piece>>, BadCut> {
    let end = Some(Piece::Zeros(end_length(class))).filter(|_| end_length(class) > 0);
    let mut pieces = rows(table).flat_map(|row| row_pieces(table, row)).chain(end);
    let mut cut = None;
    let mut frames = Vec::new();
    for length in lengths {
        frames.push(take_frame(table, &mut pieces, &mut cut, length)?);
    }
    match cut.or_else(|| pieces.next()) {
        Some(_) => Err(BadCut("too short for them")),
        None => Ok(frames),
    }
}

/// Takes pieces worth exactly `length` bytes; the rest of a body that was cut waits in `cut`.
fn take_frame(
    table: &Table,
    pieces: &mut impl Iterator<Item = Piece>,
    cut: &mut Option<Piece>,
    length: u64,
) -> Result<Vec<Piece>, BadCut> {
    if length == 0 || length > MAX_FRAME {
        return Err(BadCut("a frame is empty or larger than 8 MiB"));
    }
    let mut frame = Vec::new();
    let mut room = length;
    while room > 0 {
        let piece = cut.take().or_else(|| pieces.next()).ok_or(BadCut("longer than they are"))?;
        let size = piece_length(table, &piece);
        if size <= room {
            room -= size;
            frame.push(piece);
            continue;
        }
        let Piece::Body { file, offset, length } = piece else {
            return Err(BadCut("a frame ends inside a header or padding"));
        };
        frame.push(Piece::Body { file, offset, length: room });
        *cut = Some(Piece::Body { file, offset: offset + room, length: length - room });
        room = 0;
    }
    // All are kept for as long as a release is fetched: 10 MB for 93,000 files, and half as much again of room to grow.
    frame.shrink_to_fit();
    Ok(frame)
}

fn rows(table: &Table) -> impl Iterator<Item = Row> {
    let folders = (0..table.folders.len()).map(Row::Folder);
    let files = (0..table.files.len()).map(Row::File);
    folders.chain(files).chain((0..table.links.len()).map(Row::Link))
}

fn row_pieces(table: &Table, row: Row) -> impl Iterator<Item = Piece> {
    let size = if let Row::File(at) = row { table.files[at].size } else { 0 };
    let body = |file| Piece::Body { file, offset: 0, length: size };
    let body = if let Row::File(file) = row { Some(body(file)) } else { None };
    let zeros = Some(Piece::Zeros(padding(size))).filter(|_| padding(size) > 0);
    [Some(Piece::Header(row)), body.filter(|_| size > 0), zeros].into_iter().flatten()
}

fn piece_length(table: &Table, piece: &Piece) -> u64 {
    match piece {
        Piece::Header(row) => row.header(table).length(),
        Piece::Body { length, .. } | Piece::Zeros(length) => *length,
    }
}

fn end_length(class: Class) -> u64 {
    if class == Class::Complete { END } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc::FileRow;
    use crate::digest::Digest;

    fn table(sizes: &[u64]) -> Table {
        let file = |(at, size): (usize, &u64)| FileRow {
            path: format!("f{at}"),
            size: *size,
            executable: false,
            sha256: Digest::of(b""),
        };
        Table { files: sizes.iter().enumerate().map(file).collect(), ..Table::default() }
    }

    #[test]
    fn whole_entries_share_a_frame_up_to_the_cap() {
        let t = table(&[1, 0, 513]);
        assert_eq!(plan(&t, Class::App, cap(Class::App)), [512 + 512 + 512 + 512 + 1024]);
        assert_eq!(plan(&table(&[600_000, 600_000]), Class::App, cap(Class::App)), [600_576, 600_576]);
    }

    #[test]
    fn a_large_file_gets_frames_of_its_own() {
        let mib = 1 << 20;
        assert_eq!(plan(&table(&[10, 2 * mib, 10]), Class::App, cap(Class::App)), [1024, mib, mib, 512 + 1024]);
    }

    #[test]
    fn every_plan_can_be_sliced_and_covers_everything_once() {
        for sizes in [&[][..], &[0], &[1 << 20], &[(1 << 20) - 512], &[3 << 20, 5, (1 << 20) + 1], &[511, 512, 513]] {
            for class in [Class::App, Class::Complete, Class::Dependency] {
                let t = table(sizes);
                let frames = slice(&t, class, plan(&t, class, cap(class))).unwrap();
                let bodies =
                    frames.iter().flatten().map(|p| if let Piece::Body { length, .. } = p { *length } else { 0 });
                assert_eq!(bodies.sum::<u64>(), sizes.iter().sum::<u64>());
            }
        }
    }

    #[test]
    fn cuts_that_do_not_fit_are_refused() {
        let t = table(&[1000]);
        for bad in [&[][..], &[100, 1436], &[512 + 1000, 20, 4], &[1536, 512], &[1535], &[0, 1536], &[512]] {
            assert!(slice(&t, Class::App, bad.iter().copied()).is_err(), "{bad:?}");
        }
        for good in [&[1536][..], &[512, 1024], &[512, 500, 524], &[1512, 24]] {
            assert!(slice(&t, Class::App, good.iter().copied()).is_ok(), "{good:?}");
        }
    }
}
