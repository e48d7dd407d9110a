//! Where the content of each file of a new release comes from.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use pannier_shared::archive::read::Contents;
use pannier_shared::archive::toc::{FileRow, Table};
use pannier_shared::digest::Digest;
use pannier_shared::event::{Event, Sink};

use super::kept::{Kept, Kind};

/// Where one file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// It has none.
    Empty,
    /// From a file of a release on the node, if that holds what its table says.
    Here(Place),
    /// From the store.
    Store,
}

/// A file of a release on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Which of the releases.
    pub release: usize,
    /// Its path there.
    pub path: Box<str>,
    /// Whether it is executable there, by its own table.
    pub executable: bool,
}

/// What is known to be here: by content, and whether it is executable.
type Found = HashMap<(Digest, bool), Place>;

/// Chooses for each file of the new release, by its number. The content decides, whatever its path was; a file of the
/// same mode is preferred, because it can be linked.
pub fn choose(contents: &Contents, kept: &[Kept], sink: &dyn Sink) -> Vec<Choice> {
    let found = search(contents, kept, sink);
    let choose = |file: &FileRow| {
        if file.size == 0 {
            return Choice::Empty;
        }
        let with = |executable| found.get(&(file.sha256, executable)).cloned();
        with(file.executable).or_else(|| with(!file.executable)).map_or(Choice::Store, Choice::Here)
    };
    contents.files().map(choose).collect()
}

/// Looks through the releases until every content was found.
fn search(contents: &Contents, kept: &[Kept], sink: &dyn Sink) -> Found {
    if kept.is_empty() {
        return Found::new();
    }
    let mut missing: HashSet<(Digest, bool)> = contents.files().map(|file| (file.sha256, file.executable)).collect();
    let wanted: HashSet<Digest> = missing.iter().map(|(digest, _)| *digest).collect();
    let same = same_tables(contents);
    let mut found = Found::new();
    for (release, from) in kept.iter().enumerate() {
        for (group, row) in from.groups().iter().enumerate() {
            if missing.is_empty() {
                return found;
            }
            // A table that the new release has too was read and proven already.
            let table = match same.get(&row.table.sha256) {
                Some(table) => Cow::Borrowed(*table),
                None => match from.table(group) {
                    Ok(table) => Cow::Owned(table),
                    Err(_) if from.kind == Kind::Leftover => continue,
                    Err(error) => {
                        let text = format!(
                            "a table kept of `{}` does not hold, its files are not reused: {error}",
                            from.version
                        );
                        sink.emit(Event::Warning { text });
                        continue;
                    }
                },
            };
            for file in table.files.iter().filter(|file| wanted.contains(&file.sha256) && from.may_have(file)) {
                let key = (file.sha256, file.executable);
                missing.remove(&key);
                let path = file.path.as_str().into();
                found.entry(key).or_insert(Place { release, path, executable: file.executable });
            }
        }
    }
    found
}

/// The new release's tables by digest.
fn same_tables(contents: &Contents) -> HashMap<Digest, &Table> {
    let digests = contents.outline().root().groups.iter().map(|row| row.table.sha256);
    digests.zip(contents.tables()).collect()
}
