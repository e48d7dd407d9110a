//! Poison: one hostile artifact per rule, signed by a key that the node trusts. Each is refused, by exit status and by the
//! words of its rule, before anything outside of staging is written, and leaves nothing there.
//!
//! What an archive of another kind could say and ours has no words for (devices, owners, set-user bits, hard links,
//! extended attributes) comes twice: as a field that no table has, and as a tar header that is not its row's.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Extent, Figure, expect};
use crate::hostile::{self, Twist};
use crate::{World, said};

mod rules;

use rules::{FILES, FRAMES, Rule, TEXTS, TREES};

/// The fields of a tar header (POSIX ustar), each of which may say another thing than the row.
const FIELDS: &[(&str, usize)] = &[
    ("name", 0),
    ("mode", 106),
    ("mode, setuid", 102),
    ("uid", 114),
    ("gid", 122),
    ("size", 134),
    ("mtime", 146),
    ("checksum", 148),
    ("typeflag", 156),
    ("linkname", 157),
    ("magic", 257),
    ("version", 263),
    ("uname", 265),
    ("gname", 297),
    ("devmajor", 329),
    ("devminor", 337),
    ("prefix", 345),
    ("what follows the prefix", 500),
];
/// Where the header of `app/a.txt` begins in the stream, behind its folder's; its content and padding follow.
const HEADER: usize = 512;
const PADDING: usize = HEADER + 512 + 100;

/// Feeds a node every artifact.
pub fn run(_: Extent, tell: &mut dyn FnMut(Figure)) {
    let table = Table::new();
    let named =
        [("names and links", TREES), ("frames and rows", FRAMES), ("parts of the file", FILES), ("texts", TEXTS)];
    named.iter().for_each(|(what, rules)| tell(table.feed_all(what, rules)));
    tell(table.feed_headers());
}

/// A node where v1 serves.
struct Table {
    world: World,
}

impl Table {
    fn new() -> Self {
        let world = World::new();
        world.publish(&world.build("v1")).unwrap();
        let output = world.run(&["activate", "polls", "v1"]);
        assert!(output.status.success(), "{}", said(&output));
        let table = Self { world };
        // What is right is taken, or the refusals below would mean nothing.
        let good = table.serve("v9", &Twist::None);
        assert!(good.status.success(), "{}", said(&good));
        table.forget();
        table
    }

    /// Takes what was fetched off the node: a file that is there is not fetched again, and only what is used is looked at.
    fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.world.root().join("releases/v9"));
        let output = self.world.run(&["fetch", "polls", "v1"]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn feed_all(&self, what: &str, rules: &[Rule]) -> Figure {
        let mut figure = Figure::of(format!("poison: {what}"));
        for Rule { name, twist, says } in rules {
            figure.count(name, self.feed(twist, says));
        }
        figure
    }

    fn feed_headers(&self) -> Figure {
        let mut figure = Figure::of("poison: headers that differ from their rows");
        for (field, at) in FIELDS {
            figure.count(field, self.feed(&Twist::Byte(HEADER + at), "header or padding of `app/a.txt` differs"));
        }
        figure.count("padding", self.feed(&Twist::Byte(PADDING), "header or padding of `app/a.txt` differs"));
        figure
    }

    /// Publishes an artifact and lets the node fetch it.
    fn serve(&self, version: &str, twist: &Twist) -> std::process::Output {
        let target = pannier_shared::id::Target::host();
        let place = self.world.path("store").join("polls/releases").join(version).join(target.as_str());
        std::fs::create_dir_all(&place).unwrap();
        hostile::write(crate::description(version), twist, &self.world.path("ci"), &place);
        self.world.run(&["--quiet", "fetch", "polls", version])
    }

    fn feed(&self, twist: &Twist, says: &str) -> Result<(), String> {
        let before = outside(&self.world.path(""));
        let output = self.serve("v9", twist);
        let text = said(&output);
        if output.status.success() {
            self.forget();
        }
        // 7 is for an answer of the store that is longer than such a document may be: it is not even read.
        expect(&text, &matches!(output.status.code(), Some(4 | 7)), &true)?;
        expect(&text, &text.contains(says), &true)?;
        expect("control characters in what is said", &text.contains(['\x1b', '\0', '\u{202e}']), &false)?;
        let after = outside(&self.world.path(""));
        let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        expect("what lies on the disk", &(after.len(), changed), &(before.len(), Vec::new()))?;
        for folder in ["staging", "toc"] {
            let left = crate::listing(&self.world.root().join(".pannier").join(folder));
            let left: Vec<_> = left.iter().filter(|line| line.starts_with("v9")).collect();
            expect(folder, &left.len(), &0).map_err(|why| format!("{why}: {left:?}"))?;
        }
        Ok(())
    }
}

/// Everything but the node's own folder and the store, with the times of what was changed.
fn outside(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for path in names {
            let meta = path.symlink_metadata().unwrap();
            let skipped = path.ends_with(".pannier") && !path.to_string_lossy().contains("releases/");
            if skipped || path.ends_with("store") {
                continue;
            }
            // A file that is reused gets one more name for a while, which is a change of the file, not of its content.
            let (seconds, part) =
                if meta.is_dir() { (meta.ctime(), meta.ctime_nsec()) } else { (meta.mtime(), meta.mtime_nsec()) };
            lines.push(format!("{} {} {} {seconds}.{part}", path.display(), meta.ino(), meta.nlink()));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    lines
}
