//! Signed documents: a JSON text and armoured SSHSIG blocks over exactly that text, and the proof type [`Verified`].
//!
//! A document is read with `cat` and checked with stock tools: everything before the first line
//! `-----BEGIN SSH SIGNATURE-----` is the text (its final newline included), everything from there on is what
//! `ssh-keygen -Y verify` takes with `-s`. Trust is a file in the `allowed_signers` form of OpenSSH.
//!
//! What is believed, and in which order it is found out ([`verify`]):
//!
//! 1. The size is within [`Document::LIMIT`](crate::statement::Document::LIMIT); nothing longer is looked at.
//! 2. Each block is an SSHSIG of an ed25519 key in the one armour that `ssh-keygen` writes: it is encoded again and
//!    compared byte for byte, so that there are no slack bits and no other spelling.
//! 3. Each block names the namespace of this kind of document, which is part of what was signed: a release statement
//!    can never be taken for a channel pointer.
//! 4. At least one block is by a key of the trust file, looked up by its bytes, for this namespace and this time. The
//!    key inside a signature says who claims to have signed, and is never a reason to believe.
//! 5. Every block holds over the text, strictly (no small-order points, no second spelling of a signature). One false
//!    block refuses the document, even beside a good one: somebody changed something.
//! 6. Only now the JSON is parsed, without unknown fields, and written again: a text that is not byte for byte what
//!    Pannier writes is refused. So duplicate keys, other spellings of numbers or strings, other white space, a byte
//!    order mark and trailing data have no way in, and two readers cannot understand a document differently.
//!
//! There is no way around it: only [`verify`] makes a [`Verified`].

mod allowed_signers;
mod armour;
mod key;
mod public;
mod trust;
mod verify;

pub use allowed_signers::LineError;
pub use armour::BlockError;
pub use key::{KeyError, SigningKey};
pub use public::{PublicKey, PublicKeyError};
pub use trust::{Known, Trust, TrustError, Validity};
pub use verify::{MAX_SIGNATURES, Refusal, SignError, Verified, VerifyError, sign, verify};
