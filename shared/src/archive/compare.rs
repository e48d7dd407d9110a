//! How two trees differ, path by path, from their tables.
//!
//! Folders are not compared: they have nothing but a name, and one without anything in it changes nothing that runs.

use std::collections::HashMap;
use std::fmt;

use super::toc::Table;
use crate::digest::Digest;

/// What became of an entry of the old tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is as it was.
    Kept,
    /// It is another one.
    Changed(Aspect),
    /// It is gone.
    Removed,
}

/// In what two entries of one path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// Two files of different content.
    Content {
        /// The old one's digest.
        old: Digest,
        /// The new one's digest.
        new: Digest,
    },
    /// Two files of one content, of which one is executable.
    Mode {
        /// Whether the old one is executable; the new one is the contrary.
        was_executable: bool,
    },
    /// Two links that lead to different places.
    LinkTarget,
    /// A file and a link.
    Kind,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { .. } => f.write_str("its content"),
            Self::Mode { .. } => f.write_str("its mode"),
            Self::LinkTarget => f.write_str("where the link leads"),
            Self::Kind => f.write_str("whether it is a file or a link"),
        }
    }
}

/// What stands under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry<'a> {
    File(Digest, bool),
    Link(&'a str),
}

impl Entry<'_> {
    fn change(self, new: Entry<'_>) -> Change {
        match (self, new) {
            (Entry::File(old, was), Entry::File(new, is)) if old == new && was == is => Change::Kept,
            (Entry::File(old, was), Entry::File(new, _)) if old == new => {
                Change::Changed(Aspect::Mode { was_executable: was })
            }
            (Entry::File(old, _), Entry::File(new, _)) => Change::Changed(Aspect::Content { old, new }),
            (Entry::Link(old), Entry::Link(new)) if old == new => Change::Kept,
            (Entry::Link(_), Entry::Link(_)) => Change::Changed(Aspect::LinkTarget),
            _ => Change::Changed(Aspect::Kind),
        }
    }
}

/// A new tree to which an old one is compared, table by table in any order.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The entries of the new tree that the old one had not had so far.
    left: HashMap<&'a str, Entry<'a>>,
    new: &'a [Table],
}

impl<'a> Comparison<'a> {
    /// A comparison with the tree of these tables.
    pub fn with(new: &'a [Table]) -> Self {
        Self { left: new.iter().flat_map(entries).collect(), new }
    }

    /// What became of the entries of one table of the old tree, in its order.
    pub fn take<'b>(&mut self, old: &'b Table) -> impl Iterator<Item = (&'b str, Change)> {
        entries(old).map(|(path, entry)| {
            let change = self.left.remove(path).map_or(Change::Removed, |new| entry.change(new));
            (path, change)
        })
    }

    /// What the new tree has beside the tables that were taken: the number of its table and its path, in its order.
    pub fn added(self) -> impl Iterator<Item = (usize, &'a str)> {
        let all =
            self.new.iter().enumerate().flat_map(|(group, table)| entries(table).map(move |(path, _)| (group, path)));
        all.filter(move |(_, path)| self.left.contains_key(path))
    }
}

fn entries(table: &Table) -> impl Iterator<Item = (&str, Entry<'_>)> {
    let files = table.files.iter().map(|file| (file.path.as_str(), Entry::File(file.sha256, file.executable)));
    files.chain(table.links.iter().map(|link| (link.path.as_str(), Entry::Link(&link.target))))
}

#[cfg(test)]
mod tests {
    use super::super::toc::{FileRow, LinkRow};
    use super::*;

    /// "a=x" a file, "a*x" an executable one, "a>x" a link.
    fn table(entries: &str) -> Table {
        let mut table = Table::default();
        for entry in entries.split_whitespace() {
            let (path, kind, content) = (entry[..1].to_owned(), &entry[1..2], &entry[2..]);
            match kind {
                ">" => table.links.push(LinkRow { path, target: content.to_owned() }),
                _ => table.files.push(FileRow {
                    path,
                    size: content.len() as u64,
                    executable: kind == "*",
                    sha256: Digest::of(content.as_bytes()),
                }),
            }
        }
        table
    }

    #[test]
    fn every_kind_of_difference_is_told_apart() {
        let new = [table("a=1 b=2 c*3 d>4"), table("e>5 f=6 n=7")];
        let mut comparison = Comparison::with(&new);
        let old = [table("a=1 b=1 c=3"), table("d>4 e>4 f>6 g=1")];
        let mut found = Vec::new();
        for table in &old {
            found.extend(comparison.take(table));
        }
        let content = Aspect::Content { old: Digest::of(b"1"), new: Digest::of(b"2") };
        assert_eq!(
            found,
            [
                ("a", Change::Kept),
                ("b", Change::Changed(content)),
                ("c", Change::Changed(Aspect::Mode { was_executable: false })),
                ("g", Change::Removed),
                ("d", Change::Kept),
                ("e", Change::Changed(Aspect::LinkTarget)),
                ("f", Change::Changed(Aspect::Kind)),
            ]
        );
        assert_eq!(comparison.added().collect::<Vec<_>>(), [(1, "n")]);
    }
}
