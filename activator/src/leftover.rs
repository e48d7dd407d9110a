//! What a fetch that was killed, or failed for the store's sake, left in `.pannier/staging`: files that were proven and
//! written, and that the next fetch need not bring again.
//!
//! A fetch stages in a folder `<version>~<random>`: `tree/` as it grows, and in `records/` what proves it, written before
//! the first frame is asked for. Nothing of it is believed: it is one more source of `steps::reuse`, where each file is
//! hashed against the tables of the release that is fetched, and one that does not hold (it was half written, the power
//! went) is fetched, silently. At most one is kept, the newest, and none once its release, or any other, is here. A file
//! that lies in several frames and was not whole begins anew.

use std::path::{Path, PathBuf};

use pannier_shared::id::Version;
use pannier_shared::sys::fs;

use crate::layout::Root;
use crate::record;

/// What a fetch left.
#[derive(Debug)]
pub struct Leftover {
    /// The release it was about.
    pub version: Version,
    folder: PathBuf,
}

/// A new folder to stage a release in.
pub fn new_stage(root: &Root, version: &Version) -> PathBuf {
    root.staging().join(format!("{version}~{}", fs::random_name()))
}

/// Where a stage's tree grows.
pub fn tree(stage: &Path) -> PathBuf {
    stage.join("tree")
}

/// Where a stage's records lie.
pub fn records(stage: &Path) -> PathBuf {
    stage.join("records")
}

impl Leftover {
    /// The newest one whose fetch had begun to transfer, of a release that is not here.
    pub fn newest(root: &Root) -> fs::Result<Option<Self>> {
        let names = fs::list(&root.staging())?;
        let found = names.into_iter().filter_map(|name| Self::of(root, name.to_str()?));
        Ok(found.max_by_key(|(began, _)| *began).map(|(_, leftover)| leftover))
    }

    fn of(root: &Root, name: &str) -> Option<(std::time::SystemTime, Self)> {
        let version: Version = name.rsplit_once('~')?.0.parse().ok()?;
        let folder = root.staging().join(name);
        let statement = fs::lstat(&record::statement(&records(&folder))).ok()?;
        let is_whole = tree(&folder).is_dir() && !fs::exists(&root.release(&version));
        is_whole.then_some((statement.modified().ok()?, Self { version, folder }))
    }

    /// The tree as far as it came.
    pub fn tree(&self) -> PathBuf {
        tree(&self.folder)
    }

    /// The release's statement and tables, as the fetch wrote them; not proven.
    pub fn records(&self) -> PathBuf {
        records(&self.folder)
    }
}

/// Removes all that lies in the staging folder but what is to be kept.
pub fn clear(root: &Root, keep: Option<&Path>) -> fs::Result<()> {
    let all = fs::list(&root.staging())?.into_iter().map(|name| root.staging().join(name));
    all.filter(|path| Some(path.as_path()) != keep).try_for_each(|path| remove(&path))
}

/// Removes a stage, or what somebody put beside it.
fn remove(path: &Path) -> fs::Result<()> {
    if fs::lstat(path)?.is_dir() { fs::remove_tree(path) } else { fs::remove_file(path) }
}

/// Removes what no later fetch can use.
pub fn tidy(root: &Root) -> fs::Result<()> {
    let newest = Leftover::newest(root)?;
    clear(root, newest.as_ref().map(|leftover| leftover.folder.as_path()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests lay out what a crash would leave")]

    use super::*;
    use crate::testing::{Fixture, v};

    /// Lays down a stage as far as a fetch of `version` came.
    fn stage(root: &Root, version: &str, with_records: &[&str]) -> PathBuf {
        let stage = new_stage(root, &v(version));
        std::fs::create_dir_all(tree(&stage)).unwrap();
        std::fs::create_dir(records(&stage)).unwrap();
        for name in with_records {
            std::fs::write(records(&stage).join(name), "x").unwrap();
        }
        stage
    }

    fn names(root: &Root) -> Vec<PathBuf> {
        fs::list(&root.staging()).unwrap().into_iter().map(|name| root.staging().join(name)).collect()
    }

    #[test]
    fn the_newest_that_had_begun_to_transfer_is_kept_and_all_else_removed() {
        let fixture = Fixture::with(&["v1"]);
        let root = fixture.root();
        let all = ["tail", "tables", "release.json"];
        let old = stage(&root, "v2", &all);
        let statement = std::fs::File::open(record::statement(&records(&old))).unwrap();
        statement.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        let newest = stage(&root, "v2", &all);
        stage(&root, "v3", &all[..2]);
        stage(&root, "v1", &all);
        std::fs::create_dir_all(root.staging().join("no-version/tree")).unwrap();
        std::fs::write(root.staging().join("v4~file"), "").unwrap();
        drop(fixture.open().unwrap());
        assert_eq!(names(&root), std::slice::from_ref(&newest));
        assert_eq!(Leftover::newest(&root).unwrap().unwrap().version, v("v2"));
        fixture.lay("v2");
        drop(fixture.open().unwrap());
        assert_eq!(names(&root), Vec::<PathBuf>::new());
    }
}
