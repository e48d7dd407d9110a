//! The releases on the node as sources: what each holds, by its kept tables.
//!
//! All of them, also those that failed: whether a release serves well says nothing of its files, and the fix of a bad
//! release is nearest to the bad one. The proof is not here but in the re-hash of every file (`steps::reuse`) against
//! the *new* release's tables; a source that does not hold is only one source less, and never a reason to fail.

use std::fs::File;
use std::path::PathBuf;

use pannier_shared::archive::read::Outline;
use pannier_shared::archive::toc::{GroupRow, Table};
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::signature::Trust;
use pannier_shared::sys::fs;

use crate::layout::Root;
use crate::state::{Release, State};
use crate::steps::fetch::{Error, TABLES_FILE, TAIL_FILE};
use crate::verify::{self, kept_statement};

/// A release on the node, and where its tables are kept.
#[derive(Debug)]
pub struct Kept {
    /// Its version.
    pub version: Version,
    /// Its tree.
    pub tree: PathBuf,
    outline: Outline,
    tables: (PathBuf, File),
}

impl Kept {
    /// All releases on the node: what serves first, then the newest, because what is found first is used. Tables are
    /// read one by one when they are asked for, so that memory does not grow with the number of releases.
    pub fn all(root: &Root, state: &State, trust: &Trust, sink: &dyn Sink) -> Vec<Self> {
        let mut releases: Vec<(&Version, &Release)> = state.releases().collect();
        releases.sort_by_key(|(version, release)| {
            (state.live_version() != Some(*version), std::cmp::Reverse(release.prepared))
        });
        let open = |(version, release)| match Self::open(root, version, release, trust) {
            Ok(kept) => Some(kept),
            Err(error) => {
                let text = format!("nothing of `{version}` is reused: {error}");
                sink.emit(Event::Warning { text });
                None
            }
        };
        releases.into_iter().filter_map(open).collect()
    }

    fn open(root: &Root, version: &Version, release: &Release, trust: &Trust) -> Result<Self, verify::Error> {
        let statement = kept_statement(root, version, release, trust)?;
        let folder = root.toc(version);
        let tail = fs::read(&folder.join(TAIL_FILE), statement.artifact.size)?;
        let outline = Outline::open(&statement.artifact, &tail)
            .map_err(|error| verify::Error::Tables { version: version.clone(), source: Box::new(error.into()) })?;
        let path = folder.join(TABLES_FILE);
        let file = fs::open(&path)?;
        Ok(Self { version: version.clone(), tree: root.release(version), outline, tables: (path, file) })
    }

    /// Its groups in order.
    pub fn groups(&self) -> &[GroupRow] {
        &self.outline.root().groups
    }

    /// The bytes of one group's table as they lie in an archive, not proven.
    pub fn table_bytes(&self, group: usize) -> fs::Result<Vec<u8>> {
        let (range, first) = (self.outline.table_range(group), self.outline.tables_range().start);
        let mut bytes = Vec::new();
        let (path, file) = &self.tables;
        fs::read_range(file, path, range.start - first, range.end - range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// One group's table, proven.
    pub fn table(&self, group: usize) -> Result<Table, Error> {
        let bytes = self.table_bytes(group)?;
        Ok(self.outline.table(group, &bytes)?)
    }
}
