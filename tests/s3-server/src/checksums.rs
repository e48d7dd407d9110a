//! The five checksums of S3: computed while a body is read, compared with what the client said, kept, given back.

use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

/// Checksums in base64, as the headers carry them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) crc32: Option<String>,
    pub(crate) crc32c: Option<String>,
    pub(crate) crc64nvme: Option<String>,
    pub(crate) sha1: Option<String>,
    pub(crate) sha256: Option<String>,
    /// They are of the parts' checksums, not of the object's bytes.
    pub(crate) composite: bool,
}

/// Reads the checksum fields of a request.
macro_rules! given {
    ($input:expr) => {
        $crate::checksums::Sums {
            crc32: $input.checksum_crc32.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            crc64nvme: $input.checksum_crc64nvme.clone(),
            sha1: $input.checksum_sha1.clone(),
            sha256: $input.checksum_sha256.clone(),
            composite: false,
        }
    };
}

/// Fills the checksum fields of an answer.
macro_rules! give {
    ($output:expr, $sums:expr) => {
        $output.checksum_crc32 = $sums.crc32.clone();
        $output.checksum_crc32c = $sums.crc32c.clone();
        $output.checksum_crc64nvme = $sums.crc64nvme.clone();
        $output.checksum_sha1 = $sums.sha1.clone();
        $output.checksum_sha256 = $sums.sha256.clone();
    };
}

pub(crate) use {give, given};

impl Sums {
    /// Each algorithm's name and place.
    pub(crate) fn each(&mut self) -> [(&'static str, &mut Option<String>); 5] {
        [
            ("CRC32", &mut self.crc32),
            ("CRC32C", &mut self.crc32c),
            ("CRC64NVME", &mut self.crc64nvme),
            ("SHA1", &mut self.sha1),
            ("SHA256", &mut self.sha256),
        ]
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self { composite: self.composite, ..Self::default() }
    }

    /// Takes what came in headers or trailers: `x-amz-checksum-sha256: ...`.
    pub(crate) fn take_headers(&mut self, headers: &HeaderMap) {
        for (name, sum) in self.each() {
            let header = headers.get(format!("x-amz-checksum-{}", name.to_lowercase()));
            if let Some(value) = header.and_then(|value| value.to_str().ok()) {
                *sum = Some(value.to_owned());
            }
        }
    }

    /// Refuses what differs from what was `given`.
    pub(crate) fn check(&mut self, given: &Self) -> S3Result<()> {
        let mut given = given.clone();
        for ((name, computed), (_, given)) in self.each().into_iter().zip(given.each()) {
            if given.is_some() && given != computed {
                return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."));
            }
        }
        Ok(())
    }

    /// The `x-amz-checksum-type` of an answer with these.
    pub(crate) fn kind(&self) -> Option<s3s::dto::ChecksumType> {
        let kind = if self.composite { "COMPOSITE" } else { "FULL_OBJECT" };
        (!self.is_empty()).then(|| s3s::dto::ChecksumType::from_static(kind))
    }
}

/// The algorithms a request asks for: those it gives, announces as a trailer or names; else S3's own choice.
pub(crate) fn wanted(given: &Sums, named: Option<&str>, headers: &HeaderMap) -> ChecksumHasher {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let trailer = header("x-amz-trailer").and_then(|name| name.strip_prefix("x-amz-checksum-")).map(str::to_uppercase);
    let mut given = given.clone();
    let mut names: Vec<&str> =
        given.each().into_iter().filter(|(_, sum)| sum.is_some()).map(|(name, _)| name).collect();
    names.extend(named.or_else(|| header("x-amz-sdk-checksum-algorithm")));
    names.extend(trailer.as_deref());
    if names.is_empty() {
        names.push("CRC64NVME");
    }
    hasher(&names)
}

/// Computes these algorithms; names it does not know are not computed.
pub(crate) fn hasher(names: &[&str]) -> ChecksumHasher {
    let has = |name: &str| names.contains(&name);
    ChecksumHasher {
        crc32: has("CRC32").then(Crc32::new),
        crc32c: has("CRC32C").then(Crc32c::new),
        sha1: has("SHA1").then(Sha1::new),
        sha256: has("SHA256").then(Sha256::new),
        crc64nvme: has("CRC64NVME").then(Crc64Nvme::new),
    }
}

/// What a hasher found.
pub(crate) fn found(hasher: ChecksumHasher) -> Sums {
    let found = hasher.finalize();
    given!(found)
}
