//! An archive writer that does as it is told: what it writes is right in every digest and wrong in what a test wants, and a
//! key that the node trusts signed it. So what refuses it is the rule that it breaks, and not a checksum beside it.
//!
//! [`write()`] makes a small archive in the product's order (tables, tar stream, frames, tables of contents, root, footer,
//! statement, signature). A [`Twist`] is let in at one stage; all later stages are made of what it left. There is no such
//! writer in the product, which packs nothing that it would refuse.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use pannier_shared::archive::layout::{self, Piece};
use pannier_shared::archive::toc::{self, Class, FileRow, FrameRow, GroupRow, LinkRow, Root, Table, TableRow};
use pannier_shared::archive::{COMPLETE, COMPLETE_TEXT, footer, frame};
use pannier_shared::digest::Digest;
use pannier_shared::statement::{Artifact, Description, FORMAT, ReleaseType, Statement, TocRef};

/// Where a test has its way.
pub enum Twist {
    /// Nothing is wrong.
    None,
    /// The tree, before anything is made of it.
    Tree(fn(&mut Part)),
    /// The tar stream of `app/`, cut into frames and not compressed yet.
    Stream(fn(&mut Vec<Vec<u8>>)),
    /// One byte of the tar stream of `app/` is another one.
    Byte(usize),
    /// The compressed frames of `app/`.
    Frames(fn(&mut Vec<Made>)),
    /// The table of `app/`, its frames in it.
    Rows(fn(&mut Table)),
    /// The text of the table of `app/`.
    Table(fn(&str) -> String),
    /// The root table.
    Groups(fn(&mut Root)),
    /// The text of the root table.
    Root(fn(&str) -> String),
    /// The parts of the file.
    File(fn(&mut Parts)),
    /// The statement.
    Statement(fn(&mut Statement)),
    /// The text that is signed.
    Text(fn(&str) -> String),
    /// The namespace it is signed for.
    Namespace(&'static str),
}

/// A group on its way into the archive.
pub struct Part {
    class: Class,
    /// Its entries.
    pub table: Table,
    contents: BTreeMap<String, Vec<u8>>,
}

/// A frame and what it is said to decompress to.
#[derive(Clone)]
pub struct Made {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Decompressed length.
    pub plain: u64,
}

/// The parts of an archive in their order.
pub struct Parts {
    /// All data frames.
    pub data: Vec<u8>,
    /// All tables, each in its skippable frame.
    pub tables: Vec<u8>,
    /// The root in its skippable frame.
    pub root: Vec<u8>,
    /// The footer in its skippable frame.
    pub footer: Vec<u8>,
}

/// Larger trees are only described: their tables must be refused before anybody asks for a frame.
const MOST_PLAIN: u64 = 64 << 20;

/// Writes `artifact.tar.zst` and `release.json` into `out`; `key` is a private key file that `ssh-keygen` can use.
pub fn write(release: Description, twist: &Twist, key: &Path, out: &Path) {
    let mut parts = [folders(), app(), complete()];
    if let Twist::Tree(change) = twist {
        change(&mut parts[1]);
    }
    let (mut data, mut tables, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    let (mut entries, mut unpacked) = (0, 0u64);
    for part in &mut parts {
        let frames = frames(part, twist);
        let bytes: Vec<u8> = frames.iter().flat_map(|made| made.bytes.clone()).collect();
        part.table.frames = frames.iter().map(row).collect();
        if let (Twist::Rows(change), Class::App) = (twist, part.class) {
            change(&mut part.table);
        }
        let text = serde_json::to_string(&part.table).unwrap();
        let text = if let (Twist::Table(change), Class::App) = (twist, part.class) { change(&text) } else { text };
        let table = frame::encode(text.as_bytes(), 3).unwrap();
        let row = TableRow { length: table.len() as u64, plain: text.len() as u64, sha256: Digest::of(&table) };
        groups.push(GroupRow { class: part.class, name: String::new(), length: bytes.len() as u64, table: row });
        entries += part.table.entries() as u64;
        unpacked = part.table.files.iter().fold(unpacked, |sum, file| sum.saturating_add(file.size));
        data.extend(bytes);
        tables.extend(skippable(&table));
    }
    let (bytes, toc) = file(data, tables, groups, twist);
    let artifact = Artifact { size: bytes.len() as u64, sha256: Digest::of(&bytes), toc, entries, unpacked };
    std::fs::write(out.join("artifact.tar.zst"), bytes).unwrap();
    std::fs::write(out.join("release.json"), signed(release, artifact, twist, key)).unwrap();
}

fn file(data: Vec<u8>, tables: Vec<u8>, groups: Vec<GroupRow>, twist: &Twist) -> (Vec<u8>, TocRef) {
    let mut root = Root { format: toc::FORMAT, encoder: frame::encoder(3), groups };
    if let Twist::Groups(change) = twist {
        change(&mut root);
    }
    let text = serde_json::to_string(&root).unwrap();
    let text = if let Twist::Root(change) = twist { change(&text) } else { text };
    let root = frame::encode(text.as_bytes(), 3).unwrap();
    let offset = (data.len() + tables.len()) as u64 + footer::SKIPPABLE_HEADER;
    let mut toc = TocRef { offset, length: root.len() as u64, sha256: Digest::of(&root) };
    let mut parts = Parts { data, tables, root: skippable(&root), footer: footer::encode(&toc) };
    if let Twist::File(change) = twist {
        change(&mut parts);
    }
    // What lies before the root only moves it.
    let moved = (parts.data.len() + parts.tables.len()) as u64 + footer::SKIPPABLE_HEADER;
    if moved != toc.offset {
        toc.offset = moved;
        parts.footer = footer::encode(&toc);
    }
    ([parts.data, parts.tables, parts.root, parts.footer].concat(), toc)
}

fn signed(release: Description, artifact: Artifact, twist: &Twist, key: &Path) -> Vec<u8> {
    let (kind, documents) = (ReleaseType::Release, BTreeMap::new());
    let mut statement = Statement { kind, format: FORMAT, release, artifact, documents };
    if let Twist::Statement(change) = twist {
        change(&mut statement);
    }
    let text = serde_json::to_string_pretty(&statement).unwrap() + "\n";
    let text = if let Twist::Text(change) = twist { change(&text) } else { text };
    let namespace = if let Twist::Namespace(other) = twist { other } else { "release@pannier" };
    [text.clone().into_bytes(), signature(&text, namespace, key)].concat()
}

/// By `ssh-keygen`, which signs any text.
fn signature(text: &str, namespace: &str, key: &Path) -> Vec<u8> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut signing = command.spawn().unwrap();
    signing.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = signing.wait_with_output().unwrap();
    assert!(output.status.success(), "ssh-keygen did not sign");
    output.stdout
}

/// The frames of a part, as many as the product makes of it.
fn frames(part: &Part, twist: &Twist) -> Vec<Made> {
    let table = &part.table;
    let size = table.files.iter().fold(512 * table.entries() as u64, |sum, file| sum.saturating_add(file.size));
    if size > MOST_PLAIN {
        return Vec::new();
    }
    let lengths = layout::plan(table, part.class, layout::cap(part.class));
    let cut = layout::slice(table, part.class, lengths).unwrap();
    let mut plain: Vec<Vec<u8>> = cut.iter().map(|pieces| stream(part, pieces)).collect();
    match twist {
        Twist::Stream(change) if part.class == Class::App => change(&mut plain),
        Twist::Byte(at) if part.class == Class::App => plain[0][*at] ^= 1,
        _ => {}
    }
    let made = |plain: &Vec<u8>| Made { bytes: frame::encode(plain, 3).unwrap(), plain: plain.len() as u64 };
    let mut frames = plain.iter().map(made).collect();
    if let (Twist::Frames(change), Class::App) = (twist, part.class) {
        change(&mut frames);
    }
    frames
}

fn stream(part: &Part, pieces: &[Piece]) -> Vec<u8> {
    let mut plain = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Header(row) => plain.extend(row.header(&part.table).encode()),
            Piece::Zeros(length) => plain.resize(plain.len() + *length as usize, 0),
            Piece::Body { file, offset, length } => {
                let content = part.contents.get(&part.table.files[*file].path).map_or(&[][..], Vec::as_slice);
                let bytes = content.iter().copied().chain(std::iter::repeat(0));
                plain.extend(bytes.skip(*offset as usize).take(*length as usize));
            }
        }
    }
    plain
}

fn row(made: &Made) -> FrameRow {
    FrameRow { length: made.bytes.len() as u64, plain: made.plain, sha256: Digest::of(&made.bytes) }
}

/// Content in a skippable frame.
pub fn skippable(content: &[u8]) -> Vec<u8> {
    [&footer::skippable_header(content.len() as u32)[..], content].concat()
}

impl Part {
    fn new(class: Class) -> Self {
        Self { class, table: Table::default(), contents: BTreeMap::new() }
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: impl Into<String>) {
        self.table.folders.push(path.into());
    }

    /// Adds a file.
    pub fn file(&mut self, path: impl Into<String>, content: &[u8]) {
        let (path, size, sha256) = (path.into(), content.len() as u64, Digest::of(content));
        self.contents.insert(path.clone(), content.to_owned());
        self.table.files.push(FileRow { path, size, executable: false, sha256 });
    }

    /// Adds a link.
    pub fn link(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.table.links.push(LinkRow { path: path.into(), target: target.into() });
    }
}

fn folders() -> Part {
    let mut part = Part::new(Class::Folders);
    part.folder(".pannier");
    part
}

/// Two files of the same size, the first in the first block of the stream behind its folder's.
fn app() -> Part {
    let mut part = Part::new(Class::App);
    part.folder("app");
    part.file("app/a.txt", b"this is a\n");
    part.file("app/b.txt", b"this is b\n");
    part.link("app/link", "a.txt");
    part
}

fn complete() -> Part {
    let mut part = Part::new(Class::Complete);
    part.file(COMPLETE, COMPLETE_TEXT);
    part
}
