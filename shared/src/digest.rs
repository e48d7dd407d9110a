//! SHA-256, the one content digest of Pannier: `sha256sum`, S3 and every auditor speak it.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A SHA-256 digest; its text form is 64 lower-case hex digits, as `sha256sum` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is not a digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest: expected 64 lower-case hex digits")]
pub struct BadDigest(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Takes the 32 raw bytes of a digest that was read from somewhere.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As S3's checksum headers carry a digest: base64 of the raw bytes.
    pub fn base64(&self) -> String {
        base64(&self.0)
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Base64 with padding: how S3's headers carry checksums of any kind.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().enumerate().fold(0u32, |bits, (n, byte)| bits | u32::from(*byte) << (16 - 8 * n));
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n)) as usize & 63];
            text.push(if n <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

impl FromStr for Digest {
    type Err = BadDigest;
    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let bad = || BadDigest(text.chars().take(80).collect());
        let mut raw = [0; 32];
        hex::decode_to_slice(text, &mut raw).map_err(|_| bad())?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(bad());
        }
        Ok(Self(raw))
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(text: String) -> Result<Self, BadDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// A digest in the making.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    length: u64,
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// How many bytes went in so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The digest of everything that went in.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

/// Hashes everything `reader` gives; also says how many bytes that were.
pub fn of_reader(reader: impl Read) -> io::Result<(Digest, u64)> {
    of_reader_through(reader, &mut vec![0; BUFFER])
}

/// A good size for [`of_reader_through`]'s buffer: half of a usual second-level cache.
pub const BUFFER: usize = 128 * 1024;

/// Like [`of_reader`], through a buffer of the caller's: for many small files, where making one each time costs more than
/// hashing.
pub fn of_reader_through(mut reader: impl Read, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    loop {
        match reader.read(buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let length = hasher.length();
    Ok((hasher.finish(), length))
}

/// A writer that hashes what passes through it.
pub struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
}

impl<W: Write> HashingWriter<W> {
    /// Wraps `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// How many bytes were written.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Ends the stream: the inner writer and the digest of what it was given.
    pub fn finish(self) -> (W, Digest) {
        (self.inner, self.hasher.finish())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn agrees_with_the_fips_180_vector() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(of_reader(&b"abc"[..]).unwrap(), (ABC.parse().unwrap(), 3));
    }

    #[test]
    fn base64_agrees_with_coreutils() {
        // printf abc | sha256sum | xxd -r -p | base64
        assert_eq!(Digest::of(b"abc").base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn only_one_text_form_is_accepted() {
        assert!(ABC.parse::<Digest>().is_ok());
        for bad in [ABC.to_uppercase(), format!(" {ABC}"), ABC[1..].to_owned(), String::new()] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hashing_writer_sees_every_byte() {
        let mut out = HashingWriter::new(Vec::new());
        out.write_all(b"ab").unwrap();
        out.write_all(b"c").unwrap();
        assert_eq!(out.length(), 3);
        let (bytes, digest) = out.finish();
        assert_eq!((bytes, digest.to_string()), (b"abc".to_vec(), ABC.to_owned()));
    }
}
