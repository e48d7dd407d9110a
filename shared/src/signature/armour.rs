//! One armoured SSHSIG block: ed25519, empty reserved field, and only the spelling that `ssh-keygen` writes.

use ssh_key::{Algorithm, HashAlg, LineEnding, Signature, SshSig};

use super::key::SigningKey;
use super::public::{PublicKey, PublicKeyError};

/// The line that begins a block, and ends the text before it.
pub(super) const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";

/// A signature as it was found: what it claims, not yet whether it is true.
#[derive(Debug)]
pub(super) struct Block {
    /// The key it claims to be by.
    pub key: PublicKey,
    /// What kind of thing it claims to sign.
    pub namespace: String,
    hash: HashAlg,
    signature: ed25519_dalek::Signature,
}

/// A block that is not one.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// It does not decode.
    #[error("it does not decode as an SSHSIG block")]
    Undecodable(#[source] ssh_key::Error),
    /// It decodes, but `ssh-keygen` would have written other bytes.
    #[error("it is not spelled as `ssh-keygen` spells it")]
    Spelling,
    /// It is of another version than 1, or its reserved field is not empty.
    #[error("it uses a form of SSHSIG other than version 1 without reserved data")]
    Form,
    /// Its key is none Pannier takes.
    #[error("its key cannot be used")]
    Key(#[source] PublicKeyError),
    /// The key is ed25519, the signature is not.
    #[error("its signature is of type `{0}`, but its key is of type `ssh-ed25519`")]
    Type(String),
}

impl Block {
    /// Reads one block, from its first line to the end of its last.
    pub fn parse(armour: &str) -> Result<Self, BlockError> {
        let found = SshSig::from_pem(armour).map_err(BlockError::Undecodable)?;
        if found.version() != SshSig::VERSION || !found.reserved().is_empty() {
            return Err(BlockError::Form);
        }
        let key = PublicKey::try_from(found.public_key()).map_err(BlockError::Key)?;
        if found.algorithm() != Algorithm::Ed25519 {
            return Err(BlockError::Type(found.algorithm().as_str().to_owned()));
        }
        if encode(&found).map_err(BlockError::Undecodable)? != armour {
            return Err(BlockError::Spelling);
        }
        let signature = ed25519_dalek::Signature::from_slice(found.signature_bytes());
        let signature = signature.map_err(|_| BlockError::Undecodable(ssh_key::Error::Crypto))?;
        Ok(Self { key, namespace: found.namespace().to_owned(), hash: found.hash_alg(), signature })
    }

    /// True when the claimed key signed exactly this text in the claimed namespace.
    pub fn holds_over(&self, text: &[u8]) -> bool {
        SshSig::signed_data(&self.namespace, self.hash, text)
            .is_ok_and(|message| self.key.signed(&message, &self.signature))
    }
}

/// Signs a text; gives the armoured block with its final newline. SHA-512, as `ssh-keygen` does by default.
pub(super) fn sign(text: &[u8], namespace: &str, key: &SigningKey) -> Result<String, ssh_key::Error> {
    let message = SshSig::signed_data(namespace, HashAlg::Sha512, text)?;
    let signature = Signature::new(Algorithm::Ed25519, key.sign(&message).to_vec())?;
    encode(&SshSig::new(key.public().key_data(), namespace, HashAlg::Sha512, signature)?)
}

fn encode(signature: &SshSig) -> Result<String, ssh_key::Error> {
    let mut armour = signature.to_pem(LineEnding::LF)?;
    if !armour.ends_with('\n') {
        armour.push('\n');
    }
    Ok(armour)
}
