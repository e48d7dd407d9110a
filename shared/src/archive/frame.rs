//! One zstd frame: made with its content size and a checksum for stock tools, decoded with an exact limit.
//!
//! The decoder looks at the frame header itself first and refuses what our writer never makes and attackers like: no
//! content size, a dictionary, a window over 8 MiB (RFC 9659's ceiling), reserved bits, several frames in one.

use zstd::zstd_safe;

/// Most decompressed bytes of a data frame: what one decoder holds.
pub const MAX_FRAME: u64 = 8 * 1024 * 1024;
/// Largest window a frame may ask for.
pub const MAX_WINDOW: u64 = 8 * 1024 * 1024;

/// A frame that is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Our writer never makes such a frame.
    #[error("its zstd frame header is not allowed: {0}")]
    Header(&'static str),
    /// Another length than the table says.
    #[error("it decompresses to {found} bytes, expected {expected}")]
    Length {
        /// From the frame header, or from decoding.
        found: u64,
        /// From the table.
        expected: u64,
    },
    /// The decoder gave up.
    #[error("it cannot be decompressed: {0}")]
    Decode(String),
    /// The encoder gave up.
    #[error("it cannot be compressed: {0}")]
    Encode(String),
}

/// Compresses `plain` into one frame. The bytes depend on nothing but `plain`, `level` and the library's version.
pub fn encode(plain: &[u8], level: i32) -> Result<Vec<u8>, Error> {
    let failed = |error: std::io::Error| Error::Encode(error.to_string());
    let mut encoder = zstd::bulk::Compressor::new(level).map_err(failed)?;
    encoder.set_parameter(zstd_safe::CParameter::ChecksumFlag(true)).map_err(failed)?;
    encoder.set_parameter(zstd_safe::CParameter::ContentSizeFlag(true)).map_err(failed)?;
    encoder.compress(plain).map_err(failed)
}

/// What [`encode`] compresses with: frames that the same one made of the same bytes are the same.
pub fn encoder(level: i32) -> String {
    format!("zstd {} level {level}", zstd_safe::version_string())
}

/// Decompresses one frame to exactly `plain` bytes; nothing longer is ever allocated.
pub fn decode(compressed: &[u8], plain: u64) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::default();
    decoder.decode(compressed, plain)?;
    Ok(decoder.buffer)
}

/// Decompresses one frame after the other into one buffer: making a context and clearing new memory for each frame
/// costs as much as decoding. It holds as much as the largest frame, at most what its caller lets a frame have.
///
/// The frame's own checksum is for stock tools: whoever decodes here has compared a SHA-256 of the compressed bytes, and
/// computing the other one too was 2 % of the CPU time of a fetch.
#[derive(Default)]
pub struct Decoder {
    context: Option<zstd_safe::DCtx<'static>>,
    buffer: Vec<u8>,
}

impl Decoder {
    /// Decompresses one frame to exactly `plain` bytes.
    pub fn decode(&mut self, compressed: &[u8], plain: u64) -> Result<&[u8], Error> {
        let found = content_size(compressed)?;
        if found != plain {
            return Err(Error::Length { found, expected: plain });
        }
        let plain_length = usize::try_from(plain).map_err(|_| Error::Header("content size"))?;
        if self.buffer.len() < plain_length {
            self.buffer.resize(plain_length, 0);
        }
        let failed = |why: &str| Error::Decode(why.to_owned());
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(context().ok_or_else(|| failed("out of memory"))?),
        };
        let bytes = &mut self.buffer[..plain_length];
        let decoded = context.decompress(bytes, compressed);
        let length = decoded.map_err(|code| failed(zstd_safe::get_error_name(code)))?;
        if length == plain_length { Ok(bytes) } else { Err(Error::Length { found: length as u64, expected: plain }) }
    }
}

fn context() -> Option<zstd_safe::DCtx<'static>> {
    let mut context = zstd_safe::DCtx::try_create()?;
    context.set_parameter(zstd_safe::DParameter::ForceIgnoreChecksum(true)).ok()?;
    Some(context)
}

/// The content size from the frame header, after checking that `compressed` is exactly one frame of our kind.
pub fn content_size(compressed: &[u8]) -> Result<u64, Error> {
    let size = parse_header(compressed)?;
    match zstd_safe::find_frame_compressed_size(compressed) {
        Ok(length) if length == compressed.len() => Ok(size),
        _ => Err(Error::Header("not exactly one frame")),
    }
}

/// Reads the frame header (RFC 8878, 3.1.1.1): content size, after refusing dictionary, reserved bits and large windows.
fn parse_header(bytes: &[u8]) -> Result<u64, Error> {
    let rest = bytes.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd]).ok_or(Error::Header("magic"))?;
    let (&descriptor, rest) = rest.split_first().ok_or(Error::Header("cut short"))?;
    let single_segment = descriptor & 0x20 != 0;
    if descriptor & 0x08 != 0 {
        return Err(Error::Header("reserved bit"));
    }
    if descriptor & 0x03 != 0 {
        return Err(Error::Header("dictionary"));
    }
    let (window, rest) = if single_segment {
        (0, rest)
    } else {
        let (&byte, rest) = rest.split_first().ok_or(Error::Header("cut short"))?;
        let base = 1u64 << (10 + (byte >> 3));
        (base + base / 8 * u64::from(byte & 7), rest)
    };
    let width = match (descriptor >> 6, single_segment) {
        (0, true) => 1,
        (0, false) => return Err(Error::Header("no content size")),
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    let field = rest.get(..width).ok_or(Error::Header("cut short"))?;
    let size =
        field.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte)) + if width == 2 { 256 } else { 0 };
    if window > MAX_WINDOW { Err(Error::Header("window over 8 MiB")) } else { Ok(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_of_every_header_width() {
        for length in [0u32, 1, 255, 256, 257, 65_535, 65_536, 70_000, 5_000_000] {
            let plain: Vec<u8> = (0..length).map(|i: u32| (i.wrapping_mul(i) >> 7) as u8).collect();
            let frame = encode(&plain, 9).unwrap();
            assert_eq!(content_size(&frame).unwrap(), length as u64);
            assert_eq!(decode(&frame, length as u64).unwrap(), plain);
        }
    }

    #[test]
    fn another_length_is_refused_before_decoding() {
        let frame = encode(&[7; 1000], 9).unwrap();
        assert_eq!(decode(&frame, 999), Err(Error::Length { found: 1000, expected: 999 }));
    }

    #[test]
    fn two_frames_in_one_or_a_cut_one_are_refused() {
        let frame = encode(&[7; 1000], 9).unwrap();
        assert!(decode(&[frame.clone(), frame.clone()].concat(), 1000).is_err());
        assert!(decode(&frame[..frame.len() - 1], 1000).is_err());
        assert!(decode(&[], 0).is_err());
    }

    #[test]
    fn hostile_headers_are_refused_by_name() {
        let window_2_gib = [0x28, 0xb5, 0x2f, 0xfd, 0x80, 0xa8, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(content_size(&window_2_gib), Err(Error::Header("window over 8 MiB")));
        let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x21, 5, 0, 1, 0, 0];
        assert_eq!(content_size(&dictionary), Err(Error::Header("dictionary")));
        let reserved = [0x28, 0xb5, 0x2f, 0xfd, 0x28, 0, 1, 0, 0];
        assert_eq!(content_size(&reserved), Err(Error::Header("reserved bit")));
        let no_size = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 1, 0, 0];
        assert_eq!(content_size(&no_size), Err(Error::Header("no content size")));
        let legacy = [0x25, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0];
        assert_eq!(content_size(&legacy), Err(Error::Header("magic")));
    }

    #[test]
    fn our_frames_carry_a_checksum_for_stock_tools() {
        let mut frame = encode(&[7; 1000], 9).unwrap();
        assert_eq!(zstd::bulk::decompress(&frame, 1000).unwrap(), [7; 1000]);
        let last = frame.len() - 1;
        frame[last] ^= 1;
        assert!(zstd::bulk::decompress(&frame, 1000).is_err());
    }
}
