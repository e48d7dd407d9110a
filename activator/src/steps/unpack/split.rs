//! A file that is spread over several frames: its parts are written in whatever order they come, and hashed in the
//! order in which they lie.
//!
//! A part whose turn it is when it comes is hashed out of memory. One that is early is read back when its turn comes,
//! by whoever hashes then, so that nobody waits for anybody and no thread is left with a whole large file at the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use pannier_shared::digest::{Digest, Hasher};

/// Bytes that are read back at once.
const READ: usize = 128 << 10;

/// See the module.
pub(super) struct Split {
    file: File,
    size: u64,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Away while somebody hashes.
    hasher: Option<Hasher>,
    /// Parts that were written and not hashed: first byte and length.
    early: BTreeMap<u64, usize>,
}

impl Split {
    /// A new file that will have `size` bytes.
    pub(super) fn new(file: File, size: u64) -> Self {
        let progress = Progress { hasher: Some(Hasher::default()), early: BTreeMap::new() };
        Self { file, size, progress: Mutex::new(progress) }
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the part that begins at `offset`; gives the file's digest to the one caller that hashed the last of it.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<Option<Digest>> {
        self.file.write_all_at(bytes, offset)?;
        let Some(hasher) = self.came(offset, bytes.len()) else { return Ok(None) };
        let mut turn = self.turn(hasher);
        loop {
            turn = match turn {
                Turn::Part(mut hasher, length) => {
                    match hasher.length() == offset {
                        true => hasher.update(bytes),
                        false => self.read_back(&mut hasher, length)?,
                    }
                    self.turn(hasher)
                }
                Turn::Whole(hasher) => return Ok(Some(hasher.finish())),
                Turn::Waits => return Ok(None),
            }
        }
    }

    /// Notes a part that was written; gives the hasher, unless somebody has it, who will then see to this part too.
    fn came(&self, offset: u64, length: usize) -> Option<Hasher> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.early.insert(offset, length);
        progress.hasher.take()
    }

    fn turn(&self, hasher: Hasher) -> Turn {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match progress.early.remove(&hasher.length()) {
            Some(length) => Turn::Part(hasher, length),
            None if hasher.length() == self.size => Turn::Whole(hasher),
            None => {
                progress.hasher = Some(hasher);
                Turn::Waits
            }
        }
    }

    fn read_back(&self, hasher: &mut Hasher, mut length: usize) -> io::Result<()> {
        let mut buffer = vec![0; length.min(READ)];
        while length > 0 {
            let some = &mut buffer[..length.min(READ)];
            self.file.read_exact_at(some, hasher.length())?;
            hasher.update(some);
            length -= some.len();
        }
        Ok(())
    }
}

/// Which part is hashed next.
enum Turn {
    /// One of this length.
    Part(Hasher, usize),
    /// None: all were.
    Whole(Hasher),
    /// One that did not come yet.
    Waits,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 9 * READ / 2;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect()
    }

    /// Cut where frames would be, short and long.
    fn parts(content: &[u8]) -> Vec<(u64, &[u8])> {
        let cuts = [0, 1, 100, 2 * READ, 2 * READ + 5, SIZE];
        cuts.windows(2).map(|cut| (cut[0] as u64, &content[cut[0]..cut[1]])).collect()
    }

    fn split() -> Split {
        Split::new(tempfile::tempfile().unwrap(), SIZE as u64)
    }

    #[test]
    fn whatever_order_parts_come_in_the_digest_is_that_of_the_file() {
        let content = content();
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 2, 3, 4, 0]] {
            let (split, parts) = (split(), parts(&content));
            let given: Vec<_> = order.map(|at| split.write(parts[at].1, parts[at].0).unwrap()).into();
            assert_eq!(given[..4], [None; 4], "{order:?}");
            assert_eq!(given[4], Some(Digest::of(&content)), "{order:?}");
        }
    }

    #[test]
    fn of_many_threads_one_is_given_the_digest() {
        let content = content();
        for _ in 0..20 {
            let (split, parts) = (split(), parts(&content));
            let given: Vec<_> = std::thread::scope(|scope| {
                let split = &split;
                let write = |(offset, bytes)| scope.spawn(move || split.write(bytes, offset).unwrap());
                let threads: Vec<_> = parts.into_iter().map(write).collect();
                threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(given, [Digest::of(&content)]);
        }
    }

    #[test]
    fn a_file_that_was_cut_short_meanwhile_is_an_error() {
        let content = content();
        let (split, parts) = (split(), parts(&content));
        split.write(parts[1].1, parts[1].0).unwrap();
        split.file().set_len(0).unwrap();
        assert!(split.write(parts[0].1, parts[0].0).is_err());
    }
}
