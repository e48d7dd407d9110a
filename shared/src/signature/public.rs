//! Public keys: ed25519 and nothing else.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{HashAlg, PrivateKey};

use super::key::{FILE_LIMIT, KeyError};
use crate::sys::fs;

/// An ed25519 public key: a point of the curve that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

/// A text that is no public key Pannier takes.
#[derive(Debug, thiserror::Error)]
pub enum PublicKeyError {
    /// It does not read as `TYPE BASE64`.
    #[error("it does not read as an OpenSSH public key")]
    Malformed(#[source] ssh_key::Error),
    /// It is a key of another type.
    #[error("it is a key of type `{0}`, but Pannier takes `ssh-ed25519` only")]
    OtherType(String),
    /// Its 32 bytes are not a usable point of the curve.
    #[error("its bytes are not a usable ed25519 key")]
    Unusable,
}

impl PublicKey {
    /// Takes the 32 bytes of a key.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, PublicKeyError> {
        match ed25519_dalek::VerifyingKey::from_bytes(bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(key)),
            _ => Err(PublicKeyError::Unusable),
        }
    }

    /// Reads the key from a file that holds either half; a private one need not be decrypted for that.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_text(path, FILE_LIMIT)?;
        let not_public = |source| KeyError::NotPublic { path: path.to_owned(), source };
        if text.starts_with("-----BEGIN ") {
            let key = PrivateKey::from_openssh(&text).map_err(PublicKeyError::Malformed).map_err(not_public)?;
            return Self::try_from(key.public_key().key_data()).map_err(not_public);
        }
        text.parse().map_err(not_public)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// What `ssh-keygen -l` calls it: `SHA256:` and 43 characters.
    pub fn fingerprint(&self) -> String {
        self.key_data().fingerprint(HashAlg::Sha256).to_string()
    }

    pub(super) fn key_data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(*self.as_bytes()))
    }

    /// True when `signature` over `message` is this key's; no small-order points, no second spelling.
    pub(super) fn signed(&self, message: &[u8], signature: &ed25519_dalek::Signature) -> bool {
        self.0.verify_strict(message, signature).is_ok()
    }
}

impl From<&ed25519_dalek::SigningKey> for PublicKey {
    fn from(key: &ed25519_dalek::SigningKey) -> Self {
        Self(key.verifying_key())
    }
}

impl TryFrom<&KeyData> for PublicKey {
    type Error = PublicKeyError;
    fn try_from(data: &KeyData) -> Result<Self, PublicKeyError> {
        match data.ed25519() {
            Some(key) => Self::from_bytes(&key.0),
            None => Err(PublicKeyError::OtherType(data.algorithm().as_str().to_owned())),
        }
    }
}

/// `TYPE BASE64`, what follows is a comment.
impl FromStr for PublicKey {
    type Err = PublicKeyError;
    fn from_str(line: &str) -> Result<Self, PublicKeyError> {
        let mut words = line.split_ascii_whitespace();
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !matches!(kind, "" | "ssh-ed25519") {
            return Err(PublicKeyError::OtherType(kind.to_owned()));
        }
        let key = ssh_key::PublicKey::from_openssh(&format!("{kind} {data}")).map_err(PublicKeyError::Malformed)?;
        Self::try_from(key.key_data())
    }
}

/// `ssh-ed25519 BASE64`, as it stands in `.pub` files and trust files.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = ssh_key::PublicKey::from(self.key_data()).to_openssh().map_err(|_| fmt::Error)?;
        f.write_str(line.trim_end())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn parse_and_print_are_inverse_and_comments_are_dropped() {
        let key: PublicKey = format!("{LINE} user@example.com\n").parse().unwrap();
        assert_eq!(key.to_string(), LINE);
        assert_eq!(key.fingerprint(), "SHA256:UCUiLr7Pjs9wFFJMDByLgc3NrtdU344OgUM45wZPcIQ");
    }

    #[test]
    fn small_order_points_are_no_keys() {
        for point in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            assert!(matches!(PublicKey::from_bytes(&point), Err(PublicKeyError::Unusable)), "{point:?}");
        }
    }

    #[test]
    fn anything_else_says_what_it_is() {
        let error = "sk-ssh-ed25519@openssh.com AAAA".parse::<PublicKey>().unwrap_err();
        insta::assert_snapshot!(error, @"it is a key of type `sk-ssh-ed25519@openssh.com`, but Pannier takes `ssh-ed25519` only");
        for bad in ["", "ssh-ed25519", "ssh-ed25519 AAAA", &LINE.replace("ssh-ed25519 ", "ssh-rsa ")] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
