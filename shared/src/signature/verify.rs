//! Making and verifying signed documents; the order of the checks, and its reasons, are in the room's header.

use std::fmt;
use std::ops::Deref;

use jiff::Timestamp;
use serde::Deserialize;

use super::armour::{self, BEGIN, Block, BlockError};
use super::key::SigningKey;
use super::trust::{Trust, Validity};
use crate::digest::Digest;
use crate::statement::{Document, FORMAT};

/// The most blocks a document may carry: an old and a new key while keys are rotated, twice over for two roles. Each
/// costs the verifier a signature check, so that a hostile document must not bring thousands.
pub const MAX_SIGNATURES: usize = 4;

/// A document that was not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It cannot be written as JSON.
    #[error("failed to write the {0} as JSON")]
    Json(&'static str, #[source] serde_json::Error),
    /// Signed, it would be refused by every reader.
    #[error("the signed {name} would have {found} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// The kind of document.
        name: &'static str,
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The signature cannot be encoded.
    #[error("failed to sign the {0}")]
    Signature(&'static str, #[source] ssh_key::Error),
}

/// A document that is refused.
#[derive(Debug, thiserror::Error)]
#[error("the {document} is refused")]
pub struct VerifyError {
    /// What kind of document was expected: "release statement".
    pub document: &'static str,
    /// Why.
    #[source]
    pub why: Box<Refusal>,
}

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is larger than its kind may be; nothing of it was looked at.
    #[error("it has {found} bytes, but at most {limit} are allowed")]
    TooLarge {
        /// Its size in bytes.
        found: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no signature.
    #[error("it is not signed: it has no line `-----BEGIN SSH SIGNATURE-----`")]
    NotSigned,
    /// There are more signatures than anybody needs.
    #[error("it has {0} signatures, but at most {MAX_SIGNATURES} are allowed")]
    TooManySignatures(usize),
    /// A signature is not one.
    #[error("its signature {block} is malformed")]
    Malformed {
        /// Which, counted from 1.
        block: usize,
        /// What is wrong.
        source: BlockError,
    },
    /// It was signed as something else.
    #[error("it was signed as `{found}`, but expected is `{expected}`")]
    WrongNamespace {
        /// The namespace of the signature.
        found: String,
        /// The namespace of this kind of document.
        expected: &'static str,
    },
    /// Nobody trusted signed it.
    #[error("its key {fingerprint} is not in the trust file `{origin}`")]
    UnknownKey {
        /// The key's fingerprint, as `ssh-keygen -l` prints it.
        fingerprint: String,
        /// The trust file.
        origin: String,
    },
    /// The key is trusted with other kinds of documents.
    #[error("the key of `{signer}` ({fingerprint}) is trusted for {}, but not for `{wanted}`", listed(.granted))]
    NotForNamespace {
        /// Who holds the key.
        signer: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// The namespace of this kind of document.
        wanted: String,
        /// What the key is trusted with.
        granted: Vec<String>,
    },
    /// The key is trusted at other times.
    #[error("the key of `{signer}` ({fingerprint}) is valid {validity}, and now is {now}")]
    NotValidNow {
        /// Who holds the key.
        signer: String,
        /// The key's fingerprint.
        fingerprint: String,
        /// When it is valid.
        validity: Validity,
        /// The time it was checked at.
        now: Timestamp,
    },
    /// The signature is not of this text.
    #[error("the signature by {fingerprint} does not match the text: one of them was changed")]
    Mismatch {
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// It is in a form this program does not know.
    #[error("it has format {found}, but this Pannier reads format {FORMAT}: it was written by a newer Pannier")]
    NewerFormat {
        /// Its format.
        found: u64,
    },
    /// It is well signed, but not such a document.
    #[error("its signature is right, but its text is not the JSON of such a document")]
    Unreadable(#[source] serde_json::Error),
    /// It is well signed and readable, but not spelled as Pannier spells it.
    #[error("its signature is right, but its JSON is not spelled as Pannier spells it")]
    Spelling,
}

impl VerifyError {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match &*self.why {
            Refusal::UnknownKey { origin, .. } => Some(format!(
                "if `pannier keys show` gives this fingerprint for a key you trust, put its line into `{origin}`"
            )),
            Refusal::NotForNamespace { wanted, .. } => Some(format!(
                "if this key may sign such documents, add `{wanted}` to its `namespaces` in the trust file"
            )),
            Refusal::NotValidNow { .. } => {
                Some("check this machine's clock, or sign again with a valid key".to_owned())
            }
            Refusal::NewerFormat { .. } => Some("install a newer Pannier on this machine".to_owned()),
            _ => None,
        }
    }
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A document whose signature was verified: there is no other way to hold one.
#[derive(Clone)]
pub struct Verified<D> {
    document: D,
    bytes: Vec<u8>,
    signer: String,
}

impl<D> Verified<D> {
    /// The signed file, all of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the signed file, all of it: what `sha256sum` prints.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The first principal of the trust file's line for the key that signed it.
    pub fn signer(&self) -> &str {
        &self.signer
    }
}

impl<D> Deref for Verified<D> {
    type Target = D;
    fn deref(&self) -> &D {
        &self.document
    }
}

impl<D: fmt::Debug> fmt::Debug for Verified<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("signer", &self.signer).field("document", &self.document).finish()
    }
}

/// Writes a document as text and signs it.
pub fn sign<D: Document>(document: &D, key: &SigningKey) -> Result<Vec<u8>, SignError> {
    let mut bytes = text_of(document).map_err(|error| SignError::Json(D::NAME, error))?;
    let block = armour::sign(&bytes, D::NAMESPACE, key).map_err(|error| SignError::Signature(D::NAME, error))?;
    bytes.extend(block.into_bytes());
    match bytes.len() as u64 {
        found if found > D::LIMIT => Err(SignError::TooLarge { name: D::NAME, found, limit: D::LIMIT }),
        _ => Ok(bytes),
    }
}

/// Verifies a signed document; depends on nothing but its arguments.
pub fn verify<D: Document>(bytes: &[u8], trust: &Trust, now: Timestamp) -> Result<Verified<D>, VerifyError> {
    check(bytes, trust, now).map_err(|why| VerifyError { document: D::NAME, why: Box::new(why) })
}

fn check<D: Document>(bytes: &[u8], trust: &Trust, now: Timestamp) -> Result<Verified<D>, Refusal> {
    let found = bytes.len() as u64;
    if found > D::LIMIT {
        return Err(Refusal::TooLarge { found, limit: D::LIMIT });
    }
    let (text, blocks) = take_apart(bytes)?;
    if let Some(block) = blocks.iter().find(|block| block.namespace != D::NAMESPACE) {
        return Err(Refusal::WrongNamespace { found: block.namespace.clone(), expected: D::NAMESPACE });
    }
    let signer = signer(&blocks, D::NAMESPACE, trust, now)?.to_owned();
    if let Some(block) = blocks.iter().find(|block| !block.holds_over(text)) {
        return Err(Refusal::Mismatch { fingerprint: block.key.fingerprint() });
    }
    Ok(Verified { document: read(text)?, bytes: bytes.to_owned(), signer })
}

/// The text, and the blocks behind it.
fn take_apart(bytes: &[u8]) -> Result<(&[u8], Vec<Block>), Refusal> {
    let starts: Vec<usize> = line_starts(bytes).filter(|at| bytes[*at..].starts_with(BEGIN.as_bytes())).collect();
    let first = *starts.first().ok_or(Refusal::NotSigned)?;
    if starts.len() > MAX_SIGNATURES {
        return Err(Refusal::TooManySignatures(starts.len()));
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let blocks = starts.iter().zip(ends).enumerate().map(|(at, (start, end))| {
        // What is not UTF-8 is not armour either: an empty text is refused with the decoder's own words.
        let armour = std::str::from_utf8(&bytes[*start..end]).unwrap_or_default();
        Block::parse(armour).map_err(|source| Refusal::Malformed { block: at + 1, source })
    });
    Ok((&bytes[..first], blocks.collect::<Result<_, _>>()?))
}

fn line_starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let after_newline = |(at, byte): (usize, &u8)| (*byte == b'\n').then_some(at + 1);
    std::iter::once(0).chain(bytes.iter().enumerate().filter_map(after_newline))
}

/// Who is trusted among those that claim to have signed; when nobody is, what comes closest says why.
fn signer<'a>(blocks: &[Block], namespace: &str, trust: &'a Trust, now: Timestamp) -> Result<&'a str, Refusal> {
    let mut closest = Refusal::NotSigned;
    for block in blocks {
        match trust.principal(&block.key, namespace, now) {
            Ok(signer) => return Ok(signer),
            Err(refusal) if closeness(&refusal) > closeness(&closest) => closest = refusal,
            Err(_) => {}
        }
    }
    Err(closest)
}

fn closeness(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::NotValidNow { .. } => 3,
        Refusal::NotForNamespace { .. } => 2,
        Refusal::UnknownKey { .. } => 1,
        _ => 0,
    }
}

/// What every document has, whatever else a newer Pannier puts into it.
#[derive(Deserialize)]
struct Form {
    format: u64,
}

fn read<D: Document>(text: &[u8]) -> Result<D, Refusal> {
    let form: Form = serde_json::from_slice(text).map_err(Refusal::Unreadable)?;
    if form.format > u64::from(FORMAT) {
        return Err(Refusal::NewerFormat { found: form.format });
    }
    let document: D = serde_json::from_slice(text).map_err(Refusal::Unreadable)?;
    match text_of(&document) {
        Ok(again) if again == text && form.format == u64::from(FORMAT) => Ok(document),
        _ => Err(Refusal::Spelling),
    }
}

/// The one text of a document: pretty JSON and a final newline.
fn text_of<D: Document>(document: &D) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(document)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
