//! `pannier keys new` and `pannier keys show`: keys that `ssh-keygen` can use, and the lines that make them trusted.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pannier_shared::signature::{KeyError, PublicKey, SigningKey};
use pannier_shared::statement::{Channel, Document, Rollout, Statement, Suite};
use pannier_shared::sys::fs;

/// A key's name: its file's name, its comment and the principal of its line in a trust file. Letters, digits and `.`, `_`,
/// `-`, `@`, beginning with a letter or digit, at most 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// A text that is no key name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a key name: expected 1 to 64 letters, digits, `.`, `_`, `-` or `@`, beginning with a letter or digit \
     and not ending in `.pub`"
)]
pub struct BadKeyName(String);

impl FromStr for KeyName {
    type Err = BadKeyName;
    fn from_str(text: &str) -> Result<Self, BadKeyName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        let good = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(allowed)
            && !text.ends_with(".pub");
        if good { Ok(Self(text.to_owned())) } else { Err(BadKeyName(text.chars().take(80).collect())) }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a key is for: the kind of document that it may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Release statements: the key of CI.
    Release,
    /// Channel pointers: the key of who promotes, on another machine.
    Channel,
    /// Suites: usually the same key as [`Self::Channel`].
    Suite,
    /// Orders of fleets: the key of who rolls out.
    Rollout,
}

impl Role {
    /// All of them, for messages and for the command line.
    pub const ALL: [Self; 4] = [Self::Release, Self::Channel, Self::Suite, Self::Rollout];

    /// The namespace of the documents it may sign.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::Release => Statement::NAMESPACE,
            Self::Channel => Channel::NAMESPACE,
            Self::Suite => Suite::NAMESPACE,
            Self::Rollout => Rollout::NAMESPACE,
        }
    }
}

/// The role as it is typed.
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "release",
            Self::Channel => "channel",
            Self::Suite => "suite",
            Self::Rollout => "rollout",
        })
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is nothing a key can be for: expected `release`, `channel`, `suite` or `rollout`")]
pub struct BadRole(String);

impl FromStr for Role {
    type Err = BadRole;
    fn from_str(text: &str) -> Result<Self, BadRole> {
        Self::ALL.into_iter().find(|role| role.to_string() == text).ok_or_else(|| BadRole(text.to_owned()))
    }
}

/// A key that was made.
#[derive(Debug)]
pub struct NewKey {
    /// The file of the private half, mode 0600.
    pub private: PathBuf,
    /// The file of the public half.
    pub public: PathBuf,
    /// Its fingerprint, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The line to be put into trust files.
    pub trust_line: String,
}

/// Makes a key `name` in `dir`, and that where it is not there. Nothing is overwritten. `roles` may hold duplicates, but not nothing.
pub fn new(name: &KeyName, roles: &[Role], dir: &Path) -> Result<NewKey, KeyError> {
    let key = SigningKey::generate(&name.0)?;
    fs::create_dir_all(dir)?;
    let private = dir.join(&name.0);
    let public = key.write(&private)?;
    let (fingerprint, trust_line) = (key.public().fingerprint(), trust_line(name, roles, &key.public()));
    Ok(NewKey { private, public, fingerprint, trust_line })
}

/// The line of a trust file that trusts `key` with `roles`.
pub fn trust_line(name: &KeyName, roles: &[Role], key: &PublicKey) -> String {
    let mut roles = roles.to_vec();
    roles.sort();
    roles.dedup();
    let namespaces: Vec<&str> = roles.into_iter().map(Role::namespace).collect();
    format!("{name} namespaces=\"{}\" {key}", namespaces.join(","))
}

/// What a key file holds.
#[derive(Debug)]
pub struct Shown {
    /// The key's fingerprint, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// Its public half, `ssh-ed25519 BASE64`.
    pub line: String,
}

/// Looks into a key file; either half does, and a private one need not be decrypted.
pub fn show(file: &Path) -> Result<Shown, KeyError> {
    let key = PublicKey::load(file)?;
    Ok(Shown { fingerprint: key.fingerprint(), line: key.to_string() })
}

#[cfg(test)]
mod tests {
    use pannier_shared::signature::{Trust, sign, verify};

    use super::*;
    use crate::testing;

    #[test]
    fn a_new_key_signs_what_its_line_trusts_it_with() {
        let dir = tempfile::tempdir().unwrap();
        let made = new(&"ci".parse().unwrap(), &[Role::Release], dir.path()).unwrap();
        let key = SigningKey::load(&made.private, None).unwrap();
        assert_eq!(made.public, dir.path().join("ci.pub"));
        assert_eq!(made.trust_line, format!("ci namespaces=\"release@pannier\" {}", key.public()));
        let trust = Trust::parse(&made.trust_line, "trust").unwrap();
        let bytes = sign(&testing::statement("v1", testing::X86), &key).unwrap();
        assert_eq!(verify::<Statement>(&bytes, &trust, testing::now()).unwrap().signer(), "ci");
    }

    #[test]
    fn the_folder_for_a_key_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let made = new(&"ci".parse().unwrap(), &[Role::Release], &dir.path().join("new/keys")).unwrap();
        assert!(SigningKey::load(&made.private, None).is_ok());
    }

    #[test]
    fn a_key_for_both_has_one_line() {
        let key = SigningKey::generate("").unwrap().public();
        let line = trust_line(&"me@home".parse().unwrap(), &[Role::Channel, Role::Release, Role::Channel], &key);
        assert_eq!(line, format!("me@home namespaces=\"release@pannier,channel@pannier\" {key}"));
    }

    #[test]
    fn show_tells_the_same_of_both_halves() {
        let dir = tempfile::tempdir().unwrap();
        let made = new(&"ci".parse().unwrap(), &[Role::Channel], dir.path()).unwrap();
        let (private, public) = (show(&made.private).unwrap(), show(&made.public).unwrap());
        assert_eq!((&private.fingerprint, &private.line), (&public.fingerprint, &public.line));
        assert_eq!(private.fingerprint, made.fingerprint);
        assert!(made.trust_line.ends_with(&private.line));
    }

    #[test]
    fn a_key_is_never_made_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let name = "ci".parse().unwrap();
        new(&name, &[Role::Release], dir.path()).unwrap();
        assert!(
            matches!(new(&name, &[Role::Release], dir.path()), Err(KeyError::Fs(error)) if error.is_already_there())
        );
    }

    #[test]
    fn names_are_safe_as_files_and_as_principals() {
        for good in ["ci", "jane@example.com", "ci-2026.1"] {
            assert_eq!(good.parse::<KeyName>().unwrap().to_string(), good);
        }
        for bad in ["", ".ssh", "-x", "a/b", "a b", "a,b", "a\"b", "ci.pub", "*", &"x".repeat(65)] {
            assert!(bad.parse::<KeyName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn roles_are_parsed_as_they_are_printed() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
        }
        insta::assert_snapshot!("root".parse::<Role>().unwrap_err(), @"`root` is nothing a key can be for: expected `release`, `channel`, `suite` or `rollout`");
    }
}
