//! `<root>/static/` on the disk: which of its names are ours, which release each leads to, and the few ways to change one.
//!
//! A name is ours when it is a link into `releases/` to the file of the same name: its own text says so, and no list has to
//! be kept that could be lost. All else was put there by somebody else, and is left alone.

use std::collections::HashMap;
use std::path::Path;

use pannier_shared::id::Version;
use pannier_shared::sys::dir::{Cursor, Dir};
use pannier_shared::sys::fs;

use super::hashed::FOLDER;

/// What has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A link of ours, to the file of this release.
    Of(Version),
    /// A folder.
    Folder,
    /// Something that is not ours.
    Foreign,
}

/// The union, as it was read and as it was changed since.
pub(super) struct Union<'a> {
    cursor: Cursor<'a>,
    entries: HashMap<String, Entry>,
    /// Links that an interrupted swap left beside their names.
    strays: Vec<String>,
}

/// What came of laying a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Laid {
    /// It leads there now, and did not before.
    Now,
    /// It led there already.
    Already,
    /// Somebody else's file or folder has the name, or is in the way to it.
    InTheWay,
}

impl<'a> Union<'a> {
    /// Reads what is there.
    pub(super) fn read(dir: &'a Dir) -> fs::Result<Self> {
        let mut union = Self { cursor: dir.cursor(), entries: HashMap::new(), strays: Vec::new() };
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = dir.path().join(&folder);
            for (name, kind) in fs::entries(&path)? {
                // Our names are all UTF-8.
                let Some(name) = name.to_str().map(|name| join(&folder, name)) else { continue };
                if kind.is_dir() {
                    folders.push(name.clone());
                    union.entries.insert(name, Entry::Folder);
                } else {
                    let target = if kind.is_symlink() { Some(fs::read_link(&dir.path().join(&name))?) } else { None };
                    union.take_up(name, target.as_deref());
                }
            }
        }
        Ok(union)
    }

    fn take_up(&mut self, name: String, target: Option<&Path>) {
        let led = target.and_then(|target| leads(&name, target.to_str()?));
        let is_temporary = name.rsplit('/').next().is_some_and(fs::is_temporary);
        let entry = match led {
            Some((version, to)) if to == name => Entry::Of(version),
            Some(_) if is_temporary => {
                self.strays.push(name);
                return;
            }
            _ => Entry::Foreign,
        };
        self.entries.insert(name, entry);
    }

    /// What has this name.
    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// All names of ours, with the release each leads to.
    pub(super) fn ours(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.entries.iter().filter_map(|(name, entry)| match entry {
            Entry::Of(version) => Some((name.as_str(), version)),
            Entry::Folder | Entry::Foreign => None,
        })
    }

    /// Lets a name lead to a release. At every instant it is absent, leads to where it led before, or there.
    pub(super) fn lay(&mut self, name: &str, version: &Version) -> fs::Result<Laid> {
        match self.entries.get(name) {
            Some(Entry::Of(there)) if there == version => return Ok(Laid::Already),
            Some(Entry::Of(_)) => self.cursor.swap_symlink(&target(name, version), name)?,
            Some(Entry::Folder | Entry::Foreign) => return Ok(Laid::InTheWay),
            None => {
                if !self.make_folders(name)? {
                    return Ok(Laid::InTheWay);
                }
                self.cursor.create_symlink(&target(name, version), name)?;
            }
        }
        self.entries.insert(name.to_owned(), Entry::Of(version.clone()));
        Ok(Laid::Now)
    }

    /// Makes the folders above a name; false where something else is in the way.
    fn make_folders(&mut self, name: &str) -> fs::Result<bool> {
        for (end, _) in name.match_indices('/') {
            match self.entries.get(&name[..end]) {
                Some(Entry::Folder) => {}
                Some(_) => return Ok(false),
                None => {
                    self.cursor.create_dir(&name[..end])?;
                    self.entries.insert(name[..end].to_owned(), Entry::Folder);
                }
            }
        }
        Ok(true)
    }

    /// Takes a name of ours away, and the folders that are empty then.
    pub(super) fn remove(&mut self, name: &str) -> fs::Result<()> {
        if !matches!(self.entries.get(name), Some(Entry::Of(_))) {
            return Ok(());
        }
        self.cursor.remove_file(name)?;
        self.entries.remove(name);
        for (end, _) in name.match_indices('/').collect::<Vec<_>>().into_iter().rev() {
            if !self.cursor.remove_empty_dir(&name[..end])? {
                break;
            }
            self.entries.remove(&name[..end]);
        }
        Ok(())
    }

    /// Removes what an interrupted swap left.
    pub(super) fn remove_strays(&mut self) -> fs::Result<()> {
        std::mem::take(&mut self.strays).iter().try_for_each(|name| self.cursor.remove_file(name))
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// What the link of a name holds: relative, so that the whole root can be moved or mounted elsewhere.
fn target(name: &str, version: &Version) -> String {
    let up = "../".repeat(name.matches('/').count() + 1);
    format!("{up}releases/{version}/{FOLDER}/{name}")
}

/// The release that the link `name` leads into, and to which name there.
fn leads(name: &str, target: &str) -> Option<(Version, String)> {
    let up = "../".repeat(name.matches('/').count() + 1);
    let (version, below) = target.strip_prefix(&up)?.strip_prefix("releases/")?.split_once('/')?;
    let to = below.strip_prefix(FOLDER)?.strip_prefix('/')?;
    Some((version.parse().ok()?, to.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests play the administrator")]

    use super::*;
    use crate::testing::v;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_link_holds_is_understood_again_and_nothing_else_is() {
        for name in ["a.0f.css", "b/c/d.1f.js"] {
            assert_eq!(leads(name, &target(name, &v("v1"))), Some((v("v1"), name.to_owned())));
        }
        insta::assert_snapshot!(target("b/c.js", &v("v1")), @"../../releases/v1/static/b/c.js");
        for other in
            ["../releases/v1/static/a", "/srv/polls/releases/v1/static/b/c.js", "../../releases/v1/b/c.js", "x"]
        {
            assert_eq!(leads("b/c.js", other), None, "{other}");
        }
    }

    #[test]
    fn what_others_put_there_is_neither_replaced_nor_removed() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("theirs")).unwrap();
        std::fs::write(root.path().join("a.css"), "theirs").unwrap();
        symlink("/etc", root.path().join("etc")).unwrap();
        symlink("../releases/v1/static/other.js", root.path().join("a.js")).unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let mut union = Union::read(&dir).unwrap();
        for name in ["theirs", "a.css", "a.css/b", "etc/passwd", "a.js"] {
            assert_eq!(union.lay(name, &v("v1")).unwrap(), Laid::InTheWay, "{name}");
            union.remove(name).unwrap();
        }
        assert_eq!(union.lay("theirs/b.css", &v("v1")).unwrap(), Laid::Now);
        assert_eq!(union.ours().collect::<Vec<_>>(), [("theirs/b.css", &v("v1"))]);
        assert_eq!(fs::list(root.path()).unwrap(), ["a.css", "a.js", "etc", "theirs"]);
    }

    #[test]
    fn a_name_is_led_elsewhere_and_what_a_swap_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = Dir::open(root.path()).unwrap();
        let mut union = Union::read(&dir).unwrap();
        assert_eq!(union.lay("a/b/c.js", &v("v1")).unwrap(), Laid::Now);
        symlink("../../../releases/v2/static/a/b/c.js", root.path().join("a/b/.c.js.tmp-0011223344556677")).unwrap();
        let mut union = Union::read(&dir).unwrap();
        assert_eq!(union.lay("a/b/c.js", &v("v1")).unwrap(), Laid::Already);
        assert_eq!(union.lay("a/b/c.js", &v("v2")).unwrap(), Laid::Now);
        union.remove_strays().unwrap();
        assert_eq!(fs::list(&root.path().join("a/b")).unwrap(), ["c.js"]);
        assert_eq!(Union::read(&dir).unwrap().get("a/b/c.js"), Some(&Entry::Of(v("v2"))));
        union.remove("a/b/c.js").unwrap();
        assert_eq!(fs::list(root.path()).unwrap().len(), 0);
    }
}
