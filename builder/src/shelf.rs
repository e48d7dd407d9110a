//! The shelf: bytes that cost much to make, kept under the digest of all that they are made from.
//!
//! Frames of the archive, compressed twins and byte code are a pure function of their content and of what makes them, so a
//! later build may take the bytes instead of making them: the release is the same to the byte. Entries appear under their
//! name whole, so builds can share a shelf; each begins with a digest over its key and its bytes, so one that was damaged,
//! cut short or put in another's place is made again. Whatever fails here only costs time: nothing is ever an error.

use std::path::PathBuf;

use pannier_shared::digest::{Digest, Hasher};
use pannier_shared::sys::fs;

/// The most that stays after a build: the frames of some fifteen large releases.
const MOST: u64 = 4 * 1024 * 1024 * 1024;

/// A longer entry is not kept: a frame has 8 MiB, a twin at most what its file has.
const LARGEST: u64 = 65 * 1024 * 1024;

/// Bytes of the digest that an entry begins with.
const SEAL: usize = 32;

/// Where made bytes are kept; nowhere, where nothing is to be taken from earlier builds.
#[derive(Debug, Default)]
pub struct Shelf(Option<PathBuf>);

impl Shelf {
    /// The shelf in this folder, which is made when something is kept.
    pub fn at(folder: PathBuf) -> Self {
        Self(Some(folder))
    }

    /// No shelf: everything is made.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The bytes that `make` gives, or gave before: `how` names what makes them, its version and its level.
    pub fn made<E>(&self, how: &str, of: &[u8], make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
        if let Some(bytes) = self.find(how, of) {
            return Ok(bytes);
        }
        let bytes = make()?;
        self.keep(how, of, &bytes);
        Ok(bytes)
    }

    /// What was made before in this way of these bytes.
    pub fn find(&self, how: &str, of: &[u8]) -> Option<Vec<u8>> {
        let (key, place) = self.place(how, of)?;
        let bytes = opened(&key, fs::read(&place, LARGEST).ok()?)?;
        // What was used last goes last; a shelf that cannot be written to is still good.
        let _ = fs::touch(&place);
        Some(bytes)
    }

    /// Keeps what was made in this way of these bytes.
    pub fn keep(&self, how: &str, of: &[u8], made: &[u8]) {
        let kept = self.place(how, of).map(|(key, place)| keep(&place, &key, made));
        // Without it the next build makes it again.
        drop(kept);
    }

    fn place(&self, how: &str, of: &[u8]) -> Option<(Digest, PathBuf)> {
        let folder = self.0.as_ref()?;
        let key = digest_of(&[how.as_bytes(), b"\0", of]);
        let name = key.to_string();
        Some((key, folder.join(&name[..2]).join(&name[2..])))
    }

    /// Takes away what was not used for longest, until what is left is no more than the limit.
    pub fn trim(&self) {
        self.trim_to(MOST);
    }

    fn trim_to(&self, most: u64) {
        let Some(folder) = &self.0 else { return };
        let mut kept = entries(folder);
        kept.sort_by_key(|(used, ..)| std::cmp::Reverse(*used));
        let mut sum = 0;
        for (_, size, path) in kept {
            sum += size;
            if sum > most {
                // Another build may have taken it away.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// When each entry was used last, its size, and where it is.
fn entries(folder: &std::path::Path) -> Vec<(std::time::SystemTime, u64, PathBuf)> {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file());
    let look = |entry: walkdir::DirEntry| {
        let meta = fs::lstat(entry.path()).ok()?;
        Some((meta.modified().ok()?, meta.len(), entry.into_path()))
    };
    files.filter_map(look).collect()
}

fn keep(place: &std::path::Path, key: &Digest, bytes: &[u8]) -> fs::Result<()> {
    let making = place.with_file_name(format!(".making-{}", fs::random_name()));
    fs::create_dir_all(place.parent().unwrap_or(place))?;
    let seal = digest_of(&[key.as_bytes(), bytes]);
    let kept = fs::write(&making, &[seal.as_bytes(), bytes].concat()).and_then(|()| fs::rename(&making, place));
    if kept.is_err() {
        let _ = fs::remove_file(&making);
    }
    kept
}

/// The bytes of an entry that is what was put here.
fn opened(key: &Digest, mut entry: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = entry.get(SEAL..)?;
    if digest_of(&[key.as_bytes(), bytes]).as_bytes() != &entry[..SEAL] {
        return None;
    }
    entry.drain(..SEAL);
    Some(entry)
}

fn digest_of(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::default();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;
    use crate::testing::files;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(dir.path().join("made"));
        (dir, shelf)
    }

    fn made(shelf: &Shelf, how: &str, of: &str, now: &str) -> String {
        let bytes = shelf.made(how, of.as_bytes(), || Ok::<_, ()>(now.as_bytes().to_vec())).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_was_made_is_taken_and_another_way_or_content_is_not_the_same() {
        let (_dir, shelf) = shelf();
        assert_eq!(made(&shelf, "zstd 1 level 9", "plain", "first"), "first");
        assert_eq!(made(&shelf, "zstd 1 level 9", "plain", "again"), "first");
        assert_eq!(made(&shelf, "zstd 2 level 9", "plain", "other"), "other");
        assert_eq!(made(&shelf, "zstd 1 level 9", "plane", "other"), "other");
        assert_eq!(made(&Shelf::none(), "zstd 1 level 9", "plain", "new"), "new");
    }

    #[test]
    fn what_is_damaged_or_in_anothers_place_is_made_again() {
        let (dir, shelf) = shelf();
        made(&shelf, "a", "plain", "first");
        let entry = |at: usize| dir.path().join("made").join(&files(&dir.path().join("made"))[at]);
        let whole = std::fs::read(entry(0)).unwrap();
        let flipped = [&whole[..whole.len() - 1], b"x"].concat();
        for bad in [&whole[..whole.len() - 1], &whole[..5], &[], &flipped] {
            std::fs::write(entry(0), bad).unwrap();
            assert_eq!(made(&shelf, "a", "plain", "again"), "again");
            std::fs::write(entry(0), &whole).unwrap();
            assert_eq!(made(&shelf, "a", "plain", "again"), "first");
        }
        made(&shelf, "b", "plain", "second");
        let content = [0, 1].map(|at| std::fs::read(entry(at)).unwrap());
        std::fs::write(entry(0), &content[1]).unwrap();
        std::fs::write(entry(1), &content[0]).unwrap();
        assert_eq!(made(&shelf, "a", "plain", "new"), "new");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let (dir, shelf) = shelf();
        let age = |how: &str, hours: u64| {
            made(&shelf, how, "plain", how);
            let place = files(dir.path()).into_iter().map(|path| dir.path().join(path));
            let place = place.into_iter().find(|path| std::fs::read(path).unwrap().ends_with(how.as_bytes())).unwrap();
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
            std::fs::File::options().append(true).open(place).unwrap().set_modified(then).unwrap();
        };
        age("old", 3);
        age("mid", 2);
        age("new", 1);
        made(&shelf, "old", "plain", "used");
        shelf.trim_to(2 * (SEAL as u64 + 3));
        assert_eq!(files(dir.path()).len(), 2);
        assert_eq!(made(&shelf, "mid", "plain", "made"), "made");
        assert_eq!(made(&shelf, "old", "plain", "made"), "old");
        assert_eq!(made(&shelf, "new", "plain", "made"), "new");
    }

    #[test]
    fn a_shelf_that_cannot_be_written_to_costs_nothing_but_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let shelf = Shelf::at(dir.path().join("file/made"));
        assert_eq!(made(&shelf, "a", "plain", "first"), "first");
        assert_eq!(made(&shelf, "a", "plain", "again"), "again");
        shelf.trim();
    }
}
