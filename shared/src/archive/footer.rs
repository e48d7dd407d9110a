//! Skippable frames (RFC 8878, 3.1.2), which every zstd decoder steps over, and the 64-byte footer in the last one.
//!
//! A node never needs the footer: the signed statement says where the root lies. It is for whoever has only the file.
//! Its bytes are a pure function of the root's place, so a reader compares rather than parses where it knows that place.

use crate::digest::Digest;
use crate::statement::TocRef;

use super::toc::FORMAT;

/// The magic number all our skippable frames carry.
const SKIPPABLE: u32 = 0x184D_2A50;
/// Bytes in front of a skippable frame's content.
pub const SKIPPABLE_HEADER: u64 = 8;
/// Bytes of the footer's content.
const FOOTER: usize = 64;
/// Bytes of the whole footer frame: the file's last.
pub const FOOTER_FRAME: u64 = SKIPPABLE_HEADER + FOOTER as u64;

const MAGIC: &[u8; 8] = b"PANNIER\n";

/// The 8 bytes in front of a skippable frame's content of `length` bytes.
pub fn skippable_header(length: u32) -> [u8; 8] {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
    header[4..].copy_from_slice(&length.to_le_bytes());
    header
}

/// The whole footer frame for a root at `toc`: magic, format (u32), zero (u32), offset (u64), length (u64), SHA-256;
/// numbers little-endian.
pub fn encode(toc: &TocRef) -> Vec<u8> {
    let mut bytes = skippable_header(FOOTER as u32).to_vec();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&0u32.to_le_bytes());
    bytes.extend_from_slice(&toc.offset.to_le_bytes());
    bytes.extend_from_slice(&toc.length.to_le_bytes());
    bytes.extend_from_slice(toc.sha256.as_bytes());
    bytes
}

/// Reads the footer from a file's last [`FOOTER_FRAME`] bytes; `None` when they are not one that this program wrote.
pub fn decode(bytes: &[u8]) -> Option<TocRef> {
    let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let toc = TocRef {
        offset: number(24)?,
        length: number(32)?,
        sha256: Digest::from_bytes(bytes.get(40..72)?.try_into().ok()?),
    };
    (encode(&toc) == bytes).then_some(toc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let toc = TocRef { offset: 1 << 33, length: 4321, sha256: Digest::of(b"root") };
        let bytes = encode(&toc);
        assert_eq!((bytes.len() as u64, decode(&bytes)), (FOOTER_FRAME, Some(toc)));
        for at in 0..40 {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(decode(&other), Some(toc), "byte {at}");
        }
        assert_eq!(decode(&bytes[1..]), None);
        assert_eq!(decode(&[]), None);
    }
}
