//! Private keys: read from, and written to, files that `ssh-keygen` reads and writes as well.

use std::fmt;
use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::Signer;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};

use super::public::{PublicKey, PublicKeyError};
use crate::sys::fs;

/// The most bytes a key file may have: an RSA key of 16 kbit, the largest there is, needs 13 KiB.
pub(super) const FILE_LIMIT: u64 = 64 * 1024;

/// A key that signs documents. Its bytes are wiped when it is dropped and never printed.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    comment: String,
}

/// A key file that cannot be used, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// Others could have read the key.
    #[error(
        "the key `{}` can be read by others (mode {mode:04o}): take their access away with `chmod 600 {}`",
        .path.display(), .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is the public half.
    #[error("`{}` is a public key: the private one is the file of the same name without `.pub`", .0.display())]
    PublicHalf(PathBuf),
    /// It is not an OpenSSH private key.
    #[error("`{}` is not an OpenSSH private key", .path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        source: ssh_key::Error,
    },
    /// It is not a public key either.
    #[error("`{}` is not a key", .path.display())]
    NotPublic {
        /// The file.
        path: PathBuf,
        /// What was wrong with it.
        source: PublicKeyError,
    },
    /// It is a key of another type.
    #[error("the key `{}` is not an ed25519 key, and Pannier signs with `ssh-ed25519` only", .0.display())]
    OtherType(PathBuf),
    /// It is encrypted and no passphrase was given.
    #[error("the key `{}` is encrypted and no passphrase was given", .0.display())]
    NeedsPassphrase(PathBuf),
    /// The passphrase does not open it.
    #[error("the passphrase does not open the key `{}`", .0.display())]
    WrongPassphrase(PathBuf),
    /// This program was built without the means to decrypt keys.
    #[error("the key `{}` is encrypted, and this program was built without the means to decrypt keys", .0.display())]
    CannotDecrypt(PathBuf),
    /// The machine gave no randomness.
    #[error("the machine gave no randomness for a new key: {0}")]
    NoRandomness(getrandom::Error),
    /// The key could not be put into its file form.
    #[error("failed to encode the key")]
    Encode(#[source] ssh_key::Error),
}

impl SigningKey {
    /// A new key from the machine's randomness. The comment is for people.
    pub fn generate(comment: &str) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::NoRandomness)?;
        Ok(Self { secret: ed25519_dalek::SigningKey::from_bytes(&seed), comment: comment.to_owned() })
    }

    /// Reads an OpenSSH private key, as [`write`](Self::write) and `ssh-keygen -t ed25519` make them. Like ssh, it takes
    /// none that others can read. Encrypted keys need the crate's feature `encryption`.
    pub fn load(path: &Path, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let text = read_private(path)?;
        let key = PrivateKey::from_openssh(&text).map_err(|source| match source {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                KeyError::OtherType(path.to_owned())
            }
            _ => KeyError::NotPrivate { path: path.to_owned(), source },
        })?;
        let key = decrypted(key, path, passphrase)?;
        match key.key_data() {
            KeypairData::Ed25519(pair) => {
                Ok(Self { secret: (&pair.private).into(), comment: key.comment().to_owned() })
            }
            _ => Err(KeyError::OtherType(path.to_owned())),
        }
    }

    /// Writes the key (mode 0600) and, beside it with `.pub` appended, its public half (0644). Neither may exist, and
    /// when the second cannot be written the first is not left behind. Gives the public file's path.
    pub fn write(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        fs::write_new_durably(path, self.to_openssh()?.as_bytes(), 0o600)?;
        let line = format!("{} {}\n", self.public(), self.comment);
        if let Err(error) = fs::write_new_durably(&public_path, line.as_bytes(), 0o644) {
            let _ = fs::remove_file(path);
            return Err(error.into());
        }
        Ok(public_path)
    }

    fn to_openssh(&self) -> Result<impl Deref<Target = String>, KeyError> {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(self.secret.as_bytes()));
        let key = PrivateKey::new(pair, self.comment.as_str()).map_err(KeyError::Encode)?;
        key.to_openssh(LineEnding::LF).map_err(KeyError::Encode)
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        (&self.secret).into()
    }

    /// The comment it was made with, for people.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    pub(super) fn sign(&self, message: &[u8]) -> ed25519_dalek::Signature {
        self.secret.sign(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public())
    }
}

/// Mode and content come from the same open file, so that it cannot be exchanged between the two.
fn read_private(path: &Path) -> Result<String, KeyError> {
    let file = fs::open(path)?;
    let mode = file.metadata().map_err(fs::failed("look at", path))?.permissions().mode() & 0o7777;
    let mut text = String::new();
    file.take(FILE_LIMIT).read_to_string(&mut text).map_err(fs::failed("read", path))?;
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        return Err(KeyError::PublicHalf(path.to_owned()));
    }
    match mode & 0o077 {
        0 => Ok(text),
        _ => Err(KeyError::Exposed { path: path.to_owned(), mode }),
    }
}

fn decrypted(key: PrivateKey, path: &Path, passphrase: Option<&str>) -> Result<PrivateKey, KeyError> {
    match passphrase {
        _ if !key.is_encrypted() => Ok(key),
        None => Err(KeyError::NeedsPassphrase(path.to_owned())),
        Some(passphrase) => decrypt(key, path, passphrase),
    }
}

#[cfg(feature = "encryption")]
fn decrypt(key: PrivateKey, path: &Path, passphrase: &str) -> Result<PrivateKey, KeyError> {
    key.decrypt(passphrase).map_err(|_| KeyError::WrongPassphrase(path.to_owned()))
}

#[cfg(not(feature = "encryption"))]
fn decrypt(_: PrivateKey, path: &Path, _: &str) -> Result<PrivateKey, KeyError> {
    Err(KeyError::CannotDecrypt(path.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests ask the real ssh-keygen and look at files themselves")]

    use std::process::Command;

    use super::*;

    fn ssh_keygen(arguments: &[&str]) -> String {
        let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A folder, and a path in it for a key.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        (dir, path)
    }

    fn made_by_ssh_keygen(kind: &[&str], passphrase: &str) -> (tempfile::TempDir, PathBuf) {
        let (dir, path) = place();
        ssh_keygen(&[&["-q", "-N", passphrase, "-C", "me@here", "-f", path.to_str().unwrap(), "-t"], kind].concat());
        (dir, path)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn ssh_keygen_reads_what_we_write() {
        let (_dir, path) = place();
        let key = SigningKey::generate("ci of polls").unwrap();
        let public = key.write(&path).unwrap();
        assert_eq!((mode(&path), mode(&public)), (0o600, 0o644));
        let printed = ssh_keygen(&["-y", "-P", "", "-f", path.to_str().unwrap()]);
        assert_eq!(printed, format!("{} ci of polls\n", key.public()));
        assert_eq!(printed, std::fs::read_to_string(&public).unwrap());
        let listed = ssh_keygen(&["-l", "-f", public.to_str().unwrap()]);
        assert!(listed.contains(&key.public().fingerprint()), "{listed}");
    }

    #[test]
    fn we_read_what_ssh_keygen_writes_and_what_we_write() {
        let (_dir, path) = made_by_ssh_keygen(&["ed25519"], "");
        let key = SigningKey::load(&path, None).unwrap();
        assert_eq!(key.comment(), "me@here");
        assert_eq!(PublicKey::load(&path.with_extension("pub")).unwrap(), key.public());
        assert_eq!(PublicKey::load(&path).unwrap(), key.public());
        let again = path.with_file_name("again");
        key.write(&again).unwrap();
        assert_eq!(SigningKey::load(&again, Some("not needed")).unwrap().public(), key.public());
    }

    #[test]
    fn nothing_is_overwritten_and_no_half_is_left() {
        let (_dir, path) = place();
        let (first, second) = (SigningKey::generate("1").unwrap(), SigningKey::generate("2").unwrap());
        let public = first.write(&path).unwrap();
        assert!(matches!(second.write(&path), Err(KeyError::Fs(error)) if error.is_already_there()));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(second.write(&path), Err(KeyError::Fs(error)) if error.is_already_there()));
        assert!(!path.exists());
        assert_eq!(PublicKey::load(&public).unwrap(), first.public());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let (_dir, path) = made_by_ssh_keygen(&["ed25519"], "");
        for bits in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
            let error = SigningKey::load(&path, None).unwrap_err();
            assert!(matches!(error, KeyError::Exposed { mode, .. } if mode == bits), "{error}");
        }
    }

    #[test]
    fn other_files_say_what_they_are() {
        let (_dir, path) = made_by_ssh_keygen(&["ecdsa"], "");
        assert!(matches!(SigningKey::load(&path, None), Err(KeyError::OtherType(_))));
        let error = SigningKey::load(&path.with_extension("pub"), None).unwrap_err();
        assert!(matches!(error, KeyError::PublicHalf(_)), "{error}");
        let (_dir, path) = made_by_ssh_keygen(&["rsa", "-b", "2048"], "");
        assert!(matches!(SigningKey::load(&path, None), Err(KeyError::OtherType(_))));
        std::fs::write(&path, "hello").unwrap();
        assert!(matches!(SigningKey::load(&path, None), Err(KeyError::NotPrivate { .. })));
        assert!(matches!(PublicKey::load(&path), Err(KeyError::NotPublic { .. })));
    }

    #[test]
    fn an_encrypted_key_shows_its_public_half_and_asks_for_its_passphrase() {
        let (_dir, path) = made_by_ssh_keygen(&["ed25519", "-a", "1"], "a secret");
        assert_eq!(PublicKey::load(&path).unwrap(), PublicKey::load(&path.with_extension("pub")).unwrap());
        assert!(matches!(SigningKey::load(&path, None), Err(KeyError::NeedsPassphrase(_))));
    }

    #[test]
    #[cfg(feature = "encryption")]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let (_dir, path) = made_by_ssh_keygen(&["ed25519", "-a", "1"], "a secret");
        let key = SigningKey::load(&path, Some("a secret")).unwrap();
        assert_eq!(key.public(), PublicKey::load(&path).unwrap());
        assert!(matches!(SigningKey::load(&path, Some("a guess")), Err(KeyError::WrongPassphrase(_))));
    }

    #[test]
    #[cfg(not(feature = "encryption"))]
    fn without_the_means_to_decrypt_that_is_said() {
        let (_dir, path) = made_by_ssh_keygen(&["ed25519", "-a", "1"], "a secret");
        assert!(matches!(SigningKey::load(&path, Some("a secret")), Err(KeyError::CannotDecrypt(_))));
    }

    #[test]
    fn a_key_never_prints_its_secret() {
        let key = SigningKey::generate("").unwrap();
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().fingerprint()));
    }
}
