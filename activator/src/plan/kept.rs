//! The releases on the node as sources: what each holds, by its kept tables.
//!
//! All of them, also those that failed: whether a release serves well says nothing of its files, and the fix of a bad
//! release is nearest to the bad one. Last of all, what an interrupted fetch left, as far as it came. The proof is not here but in the re-hash of every file (`steps::reuse`) against
//! the *new* release's tables; a source that does not hold is only one source less, and never a reason to fail.

use std::fs::File;
use std::path::{Path, PathBuf};

use pannier_shared::archive::read::Outline;
use pannier_shared::archive::toc::{FileRow, GroupRow, Table};
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::signature::{self, Trust, Verified};
use pannier_shared::statement::{Document, Statement};
use pannier_shared::sys::{clock, fs};

use crate::layout::Root;
use crate::leftover::Leftover;
use crate::record;
use crate::state::{Release, State};
use crate::steps::fetch::{Error, TABLES_FILE, TAIL_FILE};
use crate::verify::{self, kept_statement};

/// What kind of source it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A release: what it does not hold is damage.
    Release,
    /// What a fetch left: what it does not hold did not come yet.
    Leftover,
}

/// A release on the node, and where its tables are kept.
#[derive(Debug)]
pub struct Kept {
    /// What it is.
    pub kind: Kind,
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
        let leftover = Leftover::newest(root).ok().flatten().and_then(|leftover| Self::left(&leftover, trust).ok());
        releases.into_iter().filter_map(open).chain(leftover).collect()
    }

    /// What a fetch left. It was not made durable, so anything may be wrong with it, and that is no damage.
    fn left(leftover: &Leftover, trust: &Trust) -> Result<Self, verify::Error> {
        let version = &leftover.version;
        let signed = fs::read(&record::statement(&leftover.records()), Statement::LIMIT)?;
        let statement = signature::verify(&signed, trust, clock::now())
            .map_err(|source| verify::Error::Statement { version: version.clone(), source })?;
        Self::at(Kind::Leftover, version, leftover.tree(), &leftover.records(), &statement)
    }

    /// One release.
    pub fn open(root: &Root, version: &Version, release: &Release, trust: &Trust) -> Result<Self, verify::Error> {
        let statement = kept_statement(root, version, release, trust)?;
        Self::at(Kind::Release, version, root.release(version), &root.toc(version), &statement)
    }

    fn at(
        kind: Kind,
        version: &Version,
        tree: PathBuf,
        folder: &Path,
        statement: &Verified<Statement>,
    ) -> Result<Self, verify::Error> {
        let tail = fs::read(&folder.join(TAIL_FILE), statement.artifact.size)?;
        let outline = Outline::open(&statement.artifact, &tail)
            .map_err(|error| verify::Error::Tables { version: version.clone(), source: Box::new(error.into()) })?;
        let path = folder.join(TABLES_FILE);
        let file = fs::open(&path)?;
        Ok(Self { kind, version: version.clone(), tree, outline, tables: (path, file) })
    }

    /// Whether a file can be here at all: a release has all of its files, a leftover those that had come.
    pub fn may_have(&self, file: &FileRow) -> bool {
        let has = || fs::lstat(&self.tree.join(&file.path)).is_ok_and(|meta| meta.is_file() && meta.len() == file.size);
        self.kind == Kind::Release || has()
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
