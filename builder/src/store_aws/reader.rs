//! A file read once, from its start to its end, in the parts of its upload. The last part is given only when the whole
//! was found to be what it was measured to be; so an upload of another file is never completed.

use std::fs::File;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum_combine};
use pannier_shared::digest::{Hasher, base64};
use pannier_shared::store::upload::{Upload, fill};
use pannier_shared::store::{Error, Result};
use pannier_shared::sys::fs;

use super::parts::Part;

/// How much is read at once where nothing is kept.
const PIECE: u64 = 1024 * 1024;

/// The checksum that S3 computes of a whole object, however it was put together: CRC-64/NVME.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Crc(u64);

impl Crc {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes))
    }

    /// That of these bytes and then `next`, which is `length` bytes long.
    pub(super) fn then(self, next: Self, length: u64) -> Self {
        Self(checksum_combine(CrcAlgorithm::Crc64Nvme, self.0, next.0, length))
    }

    /// As S3's headers carry it.
    pub(super) fn base64(self) -> String {
        base64(&self.0.to_be_bytes())
    }
}

/// A part as it was read.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) part: Part,
    pub(super) crc: Crc,
    /// Its bytes; of a part that is to be copied they are not kept.
    pub(super) bytes: Option<Bytes>,
}

/// A file being read.
pub(super) struct Reader {
    upload: Upload,
    parts: std::vec::IntoIter<Part>,
    file: Option<File>,
    hasher: Hasher,
}

impl Reader {
    pub(super) fn new(upload: &Upload, parts: Vec<Part>) -> Self {
        Self { upload: upload.clone(), parts: parts.into_iter(), file: None, hasher: Hasher::default() }
    }

    /// The next part; none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>> {
        let Some(part) = self.parts.next() else { return Ok(None) };
        let length = part.range.end - part.range.start;
        let chunk = match part.shared {
            None => {
                let bytes = self.read(length)?;
                Chunk { part, crc: Crc::of(&bytes), bytes: Some(bytes) }
            }
            Some(_) => Chunk { part, crc: self.measure(length)?, bytes: None },
        };
        if self.parts.as_slice().is_empty() {
            self.check()?;
        }
        Ok(Some(chunk))
    }

    fn measure(&mut self, mut left: u64) -> Result<Crc> {
        let mut crc = Crc::default();
        while left > 0 {
            let piece = self.read(left.min(PIECE))?;
            crc = crc.then(Crc::of(&piece), piece.len() as u64);
            left -= piece.len() as u64;
        }
        Ok(crc)
    }

    /// Exactly so many bytes more.
    fn read(&mut self, length: u64) -> Result<Bytes> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => fs::open(self.upload.path())?,
        };
        let mut bytes = BytesMut::zeroed(length as usize);
        let found = fill(&mut file, &mut bytes).map_err(fs::failed("read", self.upload.path()))?;
        self.hasher.update(&bytes[..found]);
        self.file = Some(file);
        if (found as u64) < length {
            return Err(self.changed());
        }
        Ok(bytes.freeze())
    }

    fn check(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            let mut more = [0];
            let found = fill(file, &mut more).map_err(fs::failed("read", self.upload.path()))?;
            self.hasher.update(&more[..found]);
        }
        let found = (self.hasher.clone().finish(), self.hasher.length());
        if found == (self.upload.digest(), self.upload.size()) { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> Error {
        let found = (self.hasher.clone().finish(), self.hasher.length());
        Error::file_changed(self.upload.path(), (self.upload.digest(), self.upload.size()), found)
    }
}

/// Reads a range again that was found to have this checksum.
pub(super) fn again(upload: &Upload, range: &Range<u64>, expected: Crc) -> Result<Bytes> {
    let file = fs::open(upload.path())?;
    let mut bytes = Vec::new();
    fs::read_range(&file, upload.path(), range.start, range.end - range.start, &mut bytes)?;
    let found = Crc::of(&bytes);
    if found == expected {
        return Ok(bytes.into());
    }
    let words = |crc: Crc| format!("bytes {}-{} with crc64nvme {}", range.start, range.end - 1, crc.base64());
    let file = upload.path().display().to_string();
    Err(Error::FileChanged { file, expected: words(expected), found: words(found) })
}

#[cfg(test)]
mod tests {
    use pannier_shared::digest::Digest;
    use pannier_shared::store::Etag;
    use pannier_shared::store::upload::Shared;

    use super::*;

    const CONTENT: &[u8] = b"123456789";

    /// Two parts, the first of which is copied.
    fn parts() -> Vec<Part> {
        let (source, etag) = ("old".parse().unwrap(), Etag(String::new()));
        let shared = Shared { range: 0..4, source, etag, from: 0 };
        vec![Part { number: 1, range: 0..4, shared: Some(shared) }, Part { number: 2, range: 4..9, shared: None }]
    }

    fn read(content: &[u8], size: u64, digest: Digest) -> Result<Vec<Chunk>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, content).unwrap();
        let mut reader = Reader::new(&Upload::new(&path, size, digest), parts());
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.next()? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[test]
    fn the_checksum_is_the_one_of_the_catalogue_also_when_put_together() {
        // https://reveng.sourceforge.io/crc-catalogue: CRC-64/NVME of "123456789".
        let check = Crc(0xae8b_1486_0a79_9888);
        assert_eq!(Crc::of(CONTENT), check);
        let chunks = read(CONTENT, 9, Digest::of(CONTENT)).unwrap();
        assert_eq!(chunks[0].crc.then(chunks[1].crc, 5), check);
        assert_eq!(check.base64(), "rosUhgp5mIg=");
    }

    #[test]
    fn only_what_is_to_be_sent_is_kept() {
        let chunks = read(CONTENT, 9, Digest::of(CONTENT)).unwrap();
        assert_eq!(chunks[0].bytes, None);
        assert_eq!(chunks[1].bytes.as_deref(), Some(&b"56789"[..]));
    }

    #[test]
    fn what_differs_anywhere_never_gives_its_last_part() {
        for content in [&b"12345678"[..], b"1234567890", b"x23456789", b"12345678x", b""] {
            let error = read(content, 9, Digest::of(CONTENT)).unwrap_err();
            assert!(matches!(error, Error::FileChanged { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_read_again_must_be_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, CONTENT).unwrap();
        let upload = Upload::new(&path, 9, Digest::of(CONTENT));
        assert_eq!(again(&upload, &(4..9), Crc::of(b"56789")).unwrap(), "56789");
        let error = again(&upload, &(3..8), Crc::of(b"56789")).unwrap_err().to_string();
        assert!(error.contains("changed while it was stored: expected bytes 3-7 with crc64nvme "), "{error}");
    }
}
