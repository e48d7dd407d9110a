//! Multipart uploads: parts are kept apart and become an object, whole, when the upload is completed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{CompletedPart, ETag, Metadata};
use s3s::{S3Result, s3_error};

use crate::checksums::{self, Sums, given};
use crate::data::{Data, Place, Spool, Spooled};
use crate::state::{Headers, Object, State};

/// Every part but the last has at least this many bytes.
const SMALLEST_PART: u64 = 5 * 1024 * 1024;

/// An upload that was begun.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) key: String,
    /// What the client named; without, parts may not be given checksums when the upload is completed.
    pub(crate) algorithm: Option<String>,
    /// The object's checksum is of the parts' checksums.
    pub(crate) composite: bool,
    /// For the object.
    pub(crate) metadata: Option<Metadata>,
    pub(crate) headers: Headers,
    pub(crate) parts: BTreeMap<i32, Arc<Part>>,
}

/// A part that was stored.
#[derive(Debug)]
pub(crate) struct Part {
    data: Data,
    md5: [u8; 16],
    pub(crate) sums: Sums,
}

impl Part {
    pub(crate) fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

impl From<Spooled> for Part {
    fn from(spooled: Spooled) -> Self {
        Self { data: spooled.data, md5: spooled.md5, sums: spooled.sums }
    }
}

impl Upload {
    pub(crate) fn algorithm(&self) -> &str {
        self.algorithm.as_deref().unwrap_or("CRC64NVME")
    }

    pub(crate) fn remove(&self) {
        self.parts.values().for_each(|part| part.data.remove());
    }

    /// The parts the client names, in its order, each of which must be what it says.
    pub(crate) fn chosen(&self, named: &[CompletedPart]) -> S3Result<Vec<Arc<Part>>> {
        let mut chosen: Vec<Arc<Part>> = Vec::new();
        let mut last = 0;
        for name in named {
            let number = name.part_number.unwrap_or_default();
            if number <= last {
                return Err(s3_error!(InvalidPartOrder));
            }
            last = number;
            chosen.push(self.part(number, name)?);
        }
        let too_small = chosen.iter().rev().skip(1).any(|part| part.data.size() < SMALLEST_PART);
        match (chosen.is_empty(), too_small) {
            (true, _) => Err(s3_error!(MalformedXML)),
            (_, true) => Err(s3_error!(EntityTooSmall)),
            _ => Ok(chosen),
        }
    }

    fn part(&self, number: i32, name: &CompletedPart) -> S3Result<Arc<Part>> {
        let part = self.parts.get(&number).ok_or_else(|| s3_error!(InvalidPart))?;
        if name.e_tag.as_ref().map(ETag::value) != Some(part.etag().as_str()) {
            return Err(s3_error!(InvalidPart));
        }
        let sums = given!(name);
        if !sums.is_empty() && self.algorithm.is_none() {
            return Err(s3_error!(InvalidRequest, "The upload was created without a checksum type."));
        }
        part.sums.clone().check(&sums).map_err(|_| s3_error!(InvalidPart))?;
        Ok(Arc::clone(part))
    }

    /// Puts the parts together.
    pub(crate) fn assemble(&self, parts: &[Arc<Part>], place: &Place) -> S3Result<Object> {
        let mut spool = Spool::new(place, checksums::hasher(&[self.algorithm()]))?;
        let mut md5 = Md5::new();
        for part in parts {
            spool.push_range(&part.data.open()?, 0..part.data.size())?;
            md5.update(&part.md5);
        }
        let spooled = spool.finish();
        let etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
        let sums = if self.composite { self.composite_sums(parts)? } else { spooled.sums };
        let (metadata, headers) = (self.metadata.clone(), self.headers.clone());
        Ok(Object { data: spooled.data, etag, modified: SystemTime::now(), sums, metadata, headers })
    }

    fn composite_sums(&self, parts: &[Arc<Part>]) -> S3Result<Sums> {
        let mut hasher = checksums::hasher(&[self.algorithm()]);
        for part in parts {
            for (_, sum) in part.sums.clone().each() {
                let Some(sum) = sum else { continue };
                hasher.update(&decode_base64(sum).ok_or_else(|| s3_error!(InternalError))?);
            }
        }
        let mut sums = checksums::found(hasher);
        sums.each()
            .into_iter()
            .filter_map(|(_, sum)| sum.as_mut())
            .for_each(|sum| *sum += &format!("-{}", parts.len()));
        sums.composite = true;
        Ok(sums)
    }
}

/// Stores a part, in place of an earlier one of that number.
pub(crate) fn store_part(state: &State, id: &str, number: i32, part: Part) -> S3Result<Arc<Part>> {
    let part = Arc::new(part);
    match state.lock().uploads.get_mut(id) {
        None => {
            part.data.remove();
            Err(s3_error!(NoSuchUpload))
        }
        Some(upload) => {
            if let Some(replaced) = upload.parts.insert(number, Arc::clone(&part)) {
                replaced.data.remove();
            }
            Ok(part)
        }
    }
}

/// Looks up an upload of this bucket and key.
pub(crate) fn find(state: &State, id: &str, (bucket, key): (&str, &str)) -> S3Result<Upload> {
    let found = state.lock().uploads.get(id).cloned();
    found.filter(|upload| upload.bucket == bucket && upload.key == key).ok_or_else(|| s3_error!(NoSuchUpload))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bits = 0u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for byte in text.trim_end_matches('=').bytes() {
        bits = (bits << 6) | u32::from(digit(byte)?);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
