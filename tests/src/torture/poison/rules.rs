//! The rules: each the smallest thing that is wrong with an archive which is right otherwise, and what the refusal says.

use pannier_shared::archive::frame;
use pannier_shared::archive::toc::{FileRow, GroupRow, LinkRow, Root, Table};
use pannier_shared::digest::Digest;
use pannier_shared::id::Target;
use pannier_shared::statement::{Shared, SharedPath, Statement};

use crate::hostile::{Made, Part, Parts, Twist, skippable};

/// A way to be hostile.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What is done to an archive that is right otherwise.
    pub twist: Twist,
    /// What the refusal says.
    pub says: &'static str,
}

const fn rule(name: &'static str, twist: Twist, says: &'static str) -> Rule {
    Rule { name, twist, says }
}

/// Names and links, which the policy refuses.
pub const TREES: &[Rule] = &[
    rule("traversal", Twist::Tree(|app| app.file("../x", b"x")), "has the component `..`"),
    rule("traversal inside", Twist::Tree(|app| app.file("app/../../x", b"x")), "has the component `..`"),
    rule("dot component", Twist::Tree(|app| app.file("app/./x", b"x")), "has the component `.`"),
    rule("empty component", Twist::Tree(|app| app.file("app//x", b"x")), "empty component"),
    rule("slash at the end", Twist::Tree(|app| app.file("app/x/", b"x")), "empty component"),
    rule("empty name", Twist::Tree(|app| app.file("", b"x")), "empty component"),
    rule("absolute name", Twist::Tree(|app| app.file("/etc/x", b"x")), "absolute"),
    rule("two slashes", Twist::Tree(|app| app.file("//x", b"x")), "absolute"),
    rule("drive letter", Twist::Tree(|app| app.file("C:\\x", b"x")), "backslash"),
    rule("link out", Twist::Tree(|app| app.link("app/out", "../../x")), "leaves the tree"),
    rule("absolute link", Twist::Tree(|app| app.link("app/out", "/etc/passwd")), "link to the absolute path"),
    rule("link out by links", Twist::Tree(link_out_by_links), "leaves the tree"),
    rule("link in a circle", Twist::Tree(|app| app.link("app/o", "o")), "goes in circles"),
    rule("link through itself", Twist::Tree(|app| app.link("app/o", "x/../o/y")), "goes in circles"),
    rule("empty link", Twist::Tree(|app| app.link("app/o", "")), "not a plain relative path"),
    rule("link to a long path", Twist::Tree(|app| app.link("app/o", "a/".repeat(600) + "a")), "not a plain relative"),
    rule("link, then write through it", Twist::Tree(|app| app.file("app/link/x", b"x")), "does not come before it"),
    rule("folder named as a link", Twist::Tree(|app| app.folder("app/link")), "it is there twice"),
    rule("file in a file", Twist::Tree(|app| app.file("app/a.txt/x", b"x")), "`app/a.txt` is not a folder"),
    rule("file without its folder", Twist::Tree(|app| app.file("nowhere/x", b"x")), "does not come before it"),
    rule("file twice", Twist::Tree(|app| app.file("app/a.txt", b"x")), "it is there twice"),
    rule("file and folder of one name", Twist::Tree(|app| app.folder("app/a.txt")), "it is there twice"),
    rule("a second last file", Twist::Tree(|app| app.file(".pannier/COMPLETE", b"x")), "it is there twice"),
    rule("case twins", Twist::Tree(|app| app.file("app/A.TXT", b"x")), "differs from `app/a.txt` only in case"),
    rule("Unicode twins", Twist::Tree(unicode_twins), "only in case or in Unicode form"),
    rule("NUL in a name", Twist::Tree(|app| app.file("app/a\0b", b"x")), "U+0000"),
    rule("newline in a name", Twist::Tree(|app| app.file("app/a\nb", b"x")), "U+000A"),
    rule("ESC in a name", Twist::Tree(|app| app.file("app/a\x1b[2J", b"x")), "U+001B"),
    rule("bidi mark in a name", Twist::Tree(|app| app.file("app/a\u{202e}b", b"x")), "U+202E"),
    rule("zero-width mark in a name", Twist::Tree(|app| app.file("app/a\u{200b}", b"x")), "U+200B"),
    rule("ESC in a link", Twist::Tree(|app| app.link("app/o", "a\x1b")), "U+001B"),
    rule("component of 256 bytes", Twist::Tree(|app| app.file(format!("app/{}", "x".repeat(256)), b"")), "longer than"),
    rule("path of 1,100 bytes", Twist::Tree(long_path), "its path is longer than 1024 bytes"),
    rule("500 folders deep", Twist::Tree(deep), "deeper than 64 folders"),
    rule("a million entries", Twist::Tree(many), "more than"),
    rule("a file of 2^53 + 1 bytes", Twist::Tree(|app| size(app, (1 << 53) + 1)), "it is larger than"),
    rule("a file of 8 EiB", Twist::Tree(|app| size(app, 1 << 63)), "it is larger than"),
];

/// Frames, and what tables say of them.
pub const FRAMES: &[Rule] = &[
    rule("window of 2 GiB", Twist::Frames(|all| header(all, 0x80, &[0xa8])), "window over 8 MiB"),
    rule("dictionary frame", Twist::Frames(|all| header(all, 0xa1, &[7])), "dictionary"),
    rule("reserved bit", Twist::Frames(|all| header(all, 0xa8, &[])), "reserved bit"),
    rule("no content size", Twist::Frames(|all| header(all, 0x00, &[0x58])), "no content size"),
    rule("legacy magic", Twist::Frames(|all| all[0].bytes[0] = 0x25), "not allowed: magic"),
    rule("truncated frame", Twist::Frames(|all| cut_short(all)), "not exactly one frame"),
    rule("surplus byte in a frame", Twist::Frames(|all| all[0].bytes.push(0)), "not exactly one frame"),
    rule("two frames in one", Twist::Frames(|all| all[0].bytes = all[0].bytes.repeat(2)), "not exactly one frame"),
    rule("missing frame", Twist::Frames(|all| drop(all.pop())), "do not fit its entries"),
    rule("surplus frame", Twist::Frames(|all| all.extend_from_within(..1)), "do not fit its entries"),
    rule("ratio bomb", Twist::Frames(|all| all[0].plain = 10 << 30), "larger than 8 MiB"),
    rule("more than it says", Twist::Stream(|all| all[0].extend([0; 512])), "do not fit its entries"),
    rule("less than it says", Twist::Stream(|all| drop(all[0].split_off(512))), "do not fit its entries"),
    rule("wrong length, right sum", Twist::Frames(another_length), "decompresses to"),
    rule("frame of 2^53 + 1 bytes", Twist::Rows(|table| table.frames[0].length = (1 << 53) + 1), "compressed bytes"),
    rule("compressed length off by one", Twist::Rows(|table| table.frames[0].length += 1), "do not fill it"),
    rule("swapped contents", Twist::Stream(|all| swap_contents(all)), "has another content than its table says"),
    rule("swapped rows", Twist::Rows(|table| table.files.swap(0, 1)), "does not hold what the table of contents says"),
    rule("a file too many", Twist::Rows(|table| add(table, "app/c.txt")), "do not fit its entries"),
    rule("a file too few", Twist::Rows(|table| drop(table.files.pop())), "do not fit its entries"),
    rule("another size", Twist::Rows(|table| table.files[0].size += 1), "header or padding of `app/a.txt`"),
    rule("another mode", Twist::Rows(|table| table.files[0].executable = true), "header or padding of `app/a.txt`"),
    rule("another name", Twist::Rows(|table| table.files[0].path = "app/c.txt".into()), "header or padding of"),
    rule(
        "another link",
        Twist::Rows(|table| table.links[0].target = "b.txt".into()),
        "header or padding of `app/link`",
    ),
    rule("another kind", Twist::Rows(link_for_file), "do not fit its entries"),
    rule("another digest", Twist::Rows(|table| table.files[0].sha256 = Digest::of(b"")), "has another content"),
];

/// The parts of the file, and where they lie.
pub const FILES: &[Rule] = &[
    rule("bytes before the frames", Twist::File(|parts| parts.data.insert(0, 0)), "do not fill the file"),
    rule("bytes after the footer", Twist::File(|parts| parts.footer.push(0)), "does not lie at its end"),
    rule("two footers", Twist::File(|parts| parts.footer.extend(parts.footer.clone())), "does not lie at its end"),
    rule("no footer", Twist::File(|parts| parts.footer.clear()), "does not lie at its end"),
    rule("footer to elsewhere", Twist::File(|parts| parts.footer[24] ^= 1), "the footer is damaged"),
    rule("footer of another format", Twist::File(|parts| parts.footer[16] = 9), "the footer is damaged"),
    rule("two roots", Twist::File(|parts| parts.root.extend(parts.root.clone())), "does not lie at its end"),
    rule("root in a data frame's clothes", Twist::File(|parts| parts.root[0] ^= 1), "frame header in front of the"),
    rule("table in another frame's clothes", Twist::File(other_clothes), "frame header in front of the"),
    rule("a fake table between the frames", Twist::File(fake_table), "do not fill the file"),
    rule("overlapping groups", Twist::Groups(|root| root.groups[1].length -= 1), "do not fill the file"),
    rule("overlapping frames", Twist::Groups(overlap), "do not fill it"),
    rule("groups beyond the file", Twist::Groups(|root| root.groups[1].length = u64::MAX), "do not fill the file"),
    rule("groups out of order", Twist::Groups(|root| root.groups.swap(0, 1)), "groups are not in order"),
    rule("a group twice", Twist::Groups(|root| root.groups.insert(1, root.groups[1].clone())), "not in order"),
    rule("no groups", Twist::Groups(|root| root.groups.clear()), "no groups or too many"),
    rule("30,000 groups", Twist::Groups(groups), "no groups or too many"),
    rule("table bomb", Twist::Groups(|root| root.groups[1].table.plain = 1 << 40), "more than the"),
    rule("root bomb", Twist::Root(|_| "[".repeat(33 << 20)), "more than the"),
    rule("table of another length", Twist::Groups(|root| root.groups[1].table.plain += 1), "decompresses to"),
    rule("newer archive format", Twist::Groups(|root| root.format = 2), "a newer Pannier wrote it"),
    rule("statement: no entries", Twist::Statement(|said| said.artifact.entries = 0), "entries with"),
    rule("statement: more bytes", Twist::Statement(|said| said.artifact.unpacked += 1), "entries with"),
    rule("statement: another size", Twist::Statement(|said| said.artifact.size += 1), "does not lie at its end"),
    rule("statement: no table", Twist::Statement(|said| said.artifact.toc.length = 0), "the length of its table"),
    rule("statement: table of 2^63", Twist::Statement(|said| said.artifact.toc.length = 1 << 63), "the length of its"),
    rule("statement: table at the start", Twist::Statement(|said| said.artifact.toc.offset = 0), "not lie at its end"),
    rule("statement: shares a file that is there", Twist::Statement(|said| share(said, "a.txt")), "has no place for"),
    rule("statement: shares below a file", Twist::Statement(|said| share(said, "a.txt/x")), "has no place for"),
    rule("statement: shares below a link", Twist::Statement(|said| share(said, "link/x")), "has no place for"),
    rule("statement: table past the end", Twist::Statement(|said| said.artifact.toc.offset = u64::MAX), "at its end"),
];

/// What has no words, and words that say a thing in another way.
pub const TEXTS: &[Rule] = &[
    rule("device", Twist::Table(|text| field(text, r#""device":[1,3]"#)), "not a table of contents"),
    rule("setuid", Twist::Table(|text| field(text, r#""mode":2541"#)), "not a table of contents"),
    rule("owner", Twist::Table(|text| field(text, r#""uid":0"#)), "not a table of contents"),
    rule("hard link", Twist::Table(|text| field(text, r#""link":"app/b.txt""#)), "not a table of contents"),
    rule(
        "extended attribute",
        Twist::Table(|text| field(text, r#""security.capability":"""#)),
        "not a table of contents",
    ),
    rule("sparse file", Twist::Table(|text| field(text, r#""holes":[0,9]"#)), "not a table of contents"),
    rule("table: a key twice", Twist::Table(|text| field(text, r#""size":10"#)), "not a table of contents"),
    rule("table: 1e1", Twist::Table(|text| text.replacen(":10,", ":1e1,", 1)), "not a table of contents"),
    rule("table: 10.0", Twist::Table(|text| text.replacen(":10,", ":10.0,", 1)), "not a table of contents"),
    rule("table: -0", Twist::Table(|text| text.replacen(":10,", ":-0,", 1)), "not a table of contents"),
    rule("table: 2^64", Twist::Table(|text| text.replacen(":10,", ":18446744073709551616,", 1)), "not a table of"),
    rule("table: 010", Twist::Table(|text| text.replacen(":10,", ":010,", 1)), "not a table of contents"),
    rule("table: false is left out", Twist::Table(|text| field(text, r#""executable":false"#)), "canonical form"),
    rule("table: escaped letter", Twist::Table(|text| text.replacen("a.txt", "\\u0061.txt", 1)), "canonical form"),
    rule("table: lone surrogate", Twist::Table(|text| text.replacen("a.txt", "\\ud800.txt", 1)), "not a table of"),
    rule("table: space", Twist::Table(|text| text.replacen(":", ": ", 1)), "canonical form"),
    rule("table: upper-case digest", Twist::Table(upper_digest), "cannot be read"),
    rule("table: byte order mark", Twist::Table(|text| format!("\u{feff}{text}")), "not a table of contents"),
    rule("table: a second one behind it", Twist::Table(|text| text.repeat(2)), "not a table of contents"),
    rule("table: deep nesting", Twist::Table(|_| "[".repeat(1 << 20)), "not a table of contents"),
    rule("root: a key twice", Twist::Root(|text| text.replacen('{', r#"{"format":1,"#, 1)), "not a table of contents"),
    rule("root: 1e0", Twist::Root(|text| text.replacen(":1,", ":1e0,", 1)), "not a table of contents"),
    rule("statement: a key twice", Twist::Text(|text| text.replacen("  \"format\": 1,", TWICE, 1)), "not the JSON"),
    rule("statement: a key twice inside", Twist::Text(entries_twice), "not the JSON of such a document"),
    rule("statement: 6e0", Twist::Text(|text| entries(text, "6e0")), "not the JSON of such a document"),
    rule("statement: 1e3", Twist::Text(|text| entries(text, "1e3")), "not the JSON of such a document"),
    rule("statement: 6.0", Twist::Text(|text| entries(text, "6.0")), "not the JSON of such a document"),
    rule("statement: -0", Twist::Text(|text| entries(text, "-0")), "not the JSON of such a document"),
    rule("statement: 2^53 + 1", Twist::Text(|text| entries(text, "9007199254740993")), "9007199254740993 entries with"),
    rule("statement: 2^64", Twist::Text(|text| entries(text, "18446744073709551616")), "not the JSON of such"),
    rule("statement: text for a number", Twist::Text(|text| entries(text, "\"6\"")), "not the JSON of such a document"),
    rule(
        "statement: unknown field",
        Twist::Text(|text| text.replacen('{', "{\n  \"x\": 1,", 1)),
        "not the JSON of such",
    ),
    rule("statement: no space", Twist::Text(|text| text.replacen(": ", ":", 1)), "not spelled as Pannier spells it"),
    rule("statement: escaped letter", Twist::Text(|text| text.replacen("polls", "\\u0070olls", 1)), "not spelled as"),
    rule("statement: no newline", Twist::Text(|text| format!("{} \n", text.trim_end())), "not spelled as Pannier"),
    rule(
        "statement: byte order mark",
        Twist::Text(|text| format!("\u{feff}{text}")),
        "not the JSON of such a document",
    ),
    rule("statement: deep nesting", Twist::Text(|_| "[".repeat(100_000) + "\n"), "not the JSON of such a document"),
    rule(
        "statement: too long",
        Twist::Text(|text| format!("{text}{}\n", " ".repeat(1 << 20))),
        "at most 1048576 are expected",
    ),
    rule("statement: shares a way out", Twist::Text(|text| shares(text, "../../x")), "not the JSON of such a document"),
    rule("statement: shares /etc", Twist::Text(|text| shares(text, "/etc")), "not the JSON of such a document"),
    rule("statement: newer", Twist::Text(|text| text.replacen("\"format\": 1", "\"format\": 2", 1)), "newer Pannier"),
    rule("signed as another kind of document", Twist::Namespace("channel@pannier"), "channel@pannier"),
    rule(
        "of another app",
        Twist::Statement(|said| said.release.app = "other".parse().unwrap()),
        "into the wrong place",
    ),
    rule("of another version", Twist::Statement(|said| said.release.version = "v0".parse().unwrap()), "wrong place"),
    rule("for another machine", Twist::Statement(|said| said.release.target = other_target()), "into the wrong place"),
];

/// Lets a release share a path.
fn share(said: &mut Statement, path: &str) {
    let path = SharedPath::try_from(path.to_owned()).unwrap_or_else(|error| panic!("{error}"));
    said.release.running.shared = Shared::new(vec![path], Vec::new()).unwrap_or_default();
}

/// What a release that shares a path says before the last line about itself.
fn shares(text: &str, path: &str) -> String {
    let said = format!("\"running\": {{\"shared\": {{\"files\": [\"{path}\"]}}}},\n    \"built_by\"");
    text.replacen("\"built_by\"", &said, 1)
}

const TWICE: &str = "  \"format\": 1,\n  \"format\": 1,";

fn link_out_by_links(app: &mut Part) {
    app.folder("app/d");
    app.link("app/d/up", "../..");
    app.link("app/out", "d/up/../x");
}

fn unicode_twins(app: &mut Part) {
    app.file("app/\u{e9}", b"x");
    app.file("app/e\u{301}", b"x");
}

fn long_path(app: &mut Part) {
    let mut path = "app".to_owned();
    for _ in 0..5 {
        path = format!("{path}/{}", "x".repeat(220));
        app.folder(path.clone());
    }
}

fn deep(app: &mut Part) {
    app.folder(format!("app{}", "/d".repeat(500)));
}

fn many(app: &mut Part) {
    (0..1_000_001u32).for_each(|at| app.folder(format!("app/{at:x}")));
}

fn size(app: &mut Part, size: u64) {
    app.table.files[0].size = size;
}

/// A frame header of our making before an empty last block, with the content size that the row says.
fn header(all: &mut [Made], descriptor: u8, more: &[u8]) {
    let size = all[0].plain as u32;
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, descriptor];
    bytes.extend(more);
    bytes.extend(size.to_le_bytes());
    bytes.extend([1, 0, 0]);
    all[0].bytes = bytes;
}

fn cut_short(all: &mut [Made]) {
    all[0].bytes.pop();
}

/// The row says two frames, the first of them longer than it is and the second shorter.
fn another_length(all: &mut Vec<Made>) {
    let plain = |length: usize| vec![0; length];
    let whole = all[0].plain;
    let made = |length: u64, says: u64| Made { bytes: frame::encode(&plain(length as usize), 3).unwrap(), plain: says };
    *all = vec![made(1024, 512), made(whole - 1024, whole - 512)];
}

fn swap_contents(all: &mut [Vec<u8>]) {
    // Behind the folder's header and the file's own; the next one a block of content and a header further.
    let (a, b) = (1024, 2048);
    for at in 0..10 {
        all[0].swap(a + at, b + at);
    }
}

fn add(table: &mut Table, path: &str) {
    table.files.push(FileRow { path: path.into(), size: 0, executable: false, sha256: Digest::of(b"") });
}

fn link_for_file(table: &mut Table) {
    let file = table.files.remove(1);
    table.links.insert(0, LinkRow { path: file.path, target: "a.txt".into() });
}

/// Those of the table of `app/`: the node has the first one already.
fn other_clothes(parts: &mut Parts) {
    let first = 8 + u32::from_le_bytes(parts.tables[4..8].try_into().unwrap()) as usize;
    parts.tables[first] ^= 1;
}

fn fake_table(parts: &mut Parts) {
    let fake = skippable(b"a table that is none");
    parts.data.extend(fake);
}

fn overlap(root: &mut Root) {
    root.groups[0].length -= 1;
    root.groups[1].length += 1;
}

fn groups(root: &mut Root) {
    let row = root.groups[1].clone();
    root.groups = (0..30_000).map(|at| GroupRow { name: format!("{at}"), ..row.clone() }).collect();
}

/// One more field in the row of `app/a.txt`.
fn field(text: &str, field: &str) -> String {
    let end = text.find("},{").unwrap();
    format!("{},{field}{}", &text[..end], &text[end..])
}

fn upper_digest(text: &str) -> String {
    let at = text.find("\"sha256\":\"").unwrap() + 10;
    format!("{}{}{}", &text[..at], text[at..at + 64].to_uppercase(), &text[at + 64..])
}

fn entries(text: &str, number: &str) -> String {
    text.replacen("\"entries\": 6", &format!("\"entries\": {number}"), 1)
}

fn entries_twice(text: &str) -> String {
    entries(text, "6,\n    \"entries\": 6")
}

fn other_target() -> Target {
    "aarch64-linux-musl".parse().unwrap()
}
