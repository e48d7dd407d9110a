//! Signed documents against the real `ssh-keygen`, against every flipped byte, and against each way to be refused.
#![allow(clippy::disallowed_methods, reason = "tests run the real ssh-keygen and write its files themselves")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::statement::{Channel, ChannelType, Statement};

const NOW: &str = "2026-03-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn pointer() -> Channel {
    Channel {
        kind: ChannelType::Channel,
        format: FORMAT,
        app: "polls".parse().unwrap(),
        channel: "production".parse().unwrap(),
        epoch: 1,
        serial: 7,
        version: "v2".parse().unwrap(),
        statements: BTreeMap::from([("x86_64-linux-gnu".parse().unwrap(), Digest::of(b"statement"))]),
        issued: now(),
        not_after: "2026-04-01T12:00:00Z".parse().unwrap(),
        reason: "first \"light\", ünïcode".to_owned(),
        who: "me".to_owned(),
    }
}

fn key() -> SigningKey {
    SigningKey::generate("test").unwrap()
}

/// A trust file with one line for `key`.
fn trusting(key: &SigningKey, options: &str) -> Trust {
    Trust::parse(&format!("ops {options} {}\n", key.public()), "trust").unwrap()
}

fn trusting_channels(key: &SigningKey) -> Trust {
    trusting(key, "namespaces=\"channel@pannier\"")
}

fn refusal(bytes: &[u8], trust: &Trust) -> Refusal {
    *verify::<Channel>(bytes, trust, now()).unwrap_err().why
}

/// Signs any text as a channel pointer, as only a mistaken or hostile signer would.
fn signed_text(text: &str, key: &SigningKey) -> Vec<u8> {
    [text, &armour::sign(text.as_bytes(), Channel::NAMESPACE, key).unwrap()].concat().into_bytes()
}

fn text_and_armour(bytes: &[u8]) -> (String, String) {
    let whole = String::from_utf8(bytes.to_vec()).unwrap();
    let (text, armour) = whole.split_at(whole.find(BEGIN).unwrap());
    (text.to_owned(), armour.to_owned())
}

#[test]
fn what_is_signed_verifies_and_says_by_whom() {
    let key = key();
    let bytes = sign(&pointer(), &key).unwrap();
    let verified = verify::<Channel>(&bytes, &trusting_channels(&key), now()).unwrap();
    assert_eq!((&*verified, verified.signer()), (&pointer(), "ops"));
    assert_eq!((verified.bytes(), verified.digest()), (&bytes[..], Digest::of(&bytes)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let key = key();
    let trust = trusting_channels(&key);
    let bytes = sign(&pointer(), &key).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(verify::<Channel>(&changed, &trust, now()).is_err(), "byte {at}, bit {bit} was not missed");
        }
    }
}

#[test]
fn every_flipped_byte_of_a_second_signature_is_refused_too() {
    let (known, other) = (key(), key());
    let trust = trusting_channels(&known);
    let bytes = sign(&pointer(), &known).unwrap();
    let second = text_and_armour(&sign(&pointer(), &other).unwrap()).1;
    let both = [&bytes[..], second.as_bytes()].concat();
    assert_eq!(verify::<Channel>(&both, &trust, now()).unwrap().signer(), "ops");
    for at in bytes.len()..both.len() {
        let mut changed = both.clone();
        changed[at] ^= 1;
        assert!(verify::<Channel>(&changed, &trust, now()).is_err(), "byte {at} was not missed");
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let key = key();
    let trust = trusting_channels(&key);
    let bytes = sign(&pointer(), &key).unwrap();
    for end in 0..bytes.len() {
        assert!(verify::<Channel>(&bytes[..end], &trust, now()).is_err(), "cut at {end} was not missed");
    }
    for extra in ["\n", " ", "x", "\0", "-----BEGIN SSH SIGNATURE-----\n"] {
        assert!(verify::<Channel>(&[&bytes[..], extra.as_bytes()].concat(), &trust, now()).is_err(), "{extra:?}");
        assert!(verify::<Channel>(&[extra.as_bytes(), &bytes[..]].concat(), &trust, now()).is_err(), "{extra:?}");
    }
}

#[test]
fn a_changed_text_is_told_apart() {
    let key = key();
    let (text, armour) = text_and_armour(&sign(&pointer(), &key).unwrap());
    let changed = [text.replace("\"serial\": 7", "\"serial\": 8"), armour].concat();
    let error = verify::<Channel>(changed.as_bytes(), &trusting_channels(&key), now()).unwrap_err();
    assert_eq!(error.to_string(), "the channel pointer is refused");
    assert!(matches!(*error.why, Refusal::Mismatch { .. }), "{:?}", error.why);
}

#[test]
fn an_unsigned_document_is_told_apart() {
    let trust = trusting_channels(&key());
    for bytes in [&b""[..], b"{}", b"{}\n", b"{} -----BEGIN SSH SIGNATURE-----\n"] {
        assert!(matches!(refusal(bytes, &trust), Refusal::NotSigned), "{bytes:?}");
    }
    insta::assert_snapshot!(refusal(b"{}\n", &trust), @"it is not signed: it has no line `-----BEGIN SSH SIGNATURE-----`");
}

#[test]
fn a_document_of_another_kind_is_refused() {
    let key = key();
    let trust = trusting(&key, "namespaces=\"channel@pannier,release@pannier\"");
    let bytes = sign(&pointer(), &key).unwrap();
    let error = verify::<Statement>(&bytes, &trust, now()).unwrap_err();
    insta::assert_snapshot!(error.why, @"it was signed as `channel@pannier`, but expected is `release@pannier`");
}

#[test]
fn an_unknown_key_is_shown_by_its_fingerprint() {
    let (known, other) = (key(), key());
    let text = refusal(&sign(&pointer(), &other).unwrap(), &trusting_channels(&known)).to_string();
    assert_eq!(text, format!("its key {} is not in the trust file `trust`", other.public().fingerprint()));
}

#[test]
fn a_key_for_other_documents_says_for_which() {
    let key = key();
    let text =
        refusal(&sign(&pointer(), &key).unwrap(), &trusting(&key, "namespaces=\"release@pannier,git\"")).to_string();
    let fingerprint = key.public().fingerprint();
    assert_eq!(
        text,
        format!(
            "the key of `ops` ({fingerprint}) is trusted for `release@pannier`, `git`, but not for `channel@pannier`"
        )
    );
}

#[test]
fn a_key_is_valid_from_its_first_moment_to_its_last() {
    let key = key();
    let bytes = sign(&pointer(), &key).unwrap();
    let valid = |options: &str| {
        let trust = trusting(&key, &format!("namespaces=\"channel@pannier\",{options}"));
        verify::<Channel>(&bytes, &trust, now()).map_err(|error| *error.why)
    };
    for good in ["valid-after=\"20260301120000Z\"", "valid-before=\"20260301120000Z\"", "valid-before=\"20260302Z\""] {
        valid(good).unwrap();
    }
    for bad in ["valid-after=\"20260301120001Z\"", "valid-before=\"202603011159Z\"", "valid-before=\"20260301Z\""] {
        assert!(matches!(valid(bad), Err(Refusal::NotValidNow { .. })), "{bad}");
    }
    let text = valid("valid-after=\"20250101Z\",valid-before=\"20260101Z\"").unwrap_err().to_string();
    let text = text.replace(&key.public().fingerprint(), "SHA256:...");
    insta::assert_snapshot!(text, @"the key of `ops` (SHA256:...) is valid from 2025-01-01T00:00:00Z until 2026-01-01T00:00:00Z, and now is 2026-03-01T12:00:00Z");
}

#[test]
fn several_lines_for_one_key_add_up() {
    let key = key();
    let lines = [("old", "valid-before=\"20250101Z\""), ("new", "valid-after=\"20260101Z\"")]
        .map(|(name, time)| format!("{name} namespaces=\"channel@pannier\",{time} {}\n", key.public()));
    let trust = Trust::parse(&lines.concat(), "trust").unwrap();
    assert_eq!(verify::<Channel>(&sign(&pointer(), &key).unwrap(), &trust, now()).unwrap().signer(), "new");
}

#[test]
fn too_many_signatures_are_refused_before_they_are_read() {
    let key = key();
    let trust = trusting_channels(&key);
    let (text, armour) = text_and_armour(&sign(&pointer(), &key).unwrap());
    let with = |blocks: usize| [text.clone(), armour.repeat(blocks)].concat().into_bytes();
    assert!(verify::<Channel>(&with(MAX_SIGNATURES), &trust, now()).is_ok());
    assert!(matches!(refusal(&with(MAX_SIGNATURES + 1), &trust), Refusal::TooManySignatures(5)));
}

#[test]
fn too_large_a_document_is_refused_unread_and_never_made() {
    let key = key();
    let mut big = pointer();
    big.reason = "x".repeat(Channel::LIMIT as usize);
    insta::assert_snapshot!(sign(&big, &key).unwrap_err().to_string().replace(char::is_numeric, "#"), @"the signed channel pointer would have ##### bytes, but at most ##### are allowed");
    let refused = refusal(&signed_text(&"x".repeat(Channel::LIMIT as usize), &key), &trusting_channels(&key));
    assert!(matches!(refused, Refusal::TooLarge { limit: Channel::LIMIT, .. }), "{refused}");
}

#[test]
fn a_newer_document_says_so_whatever_else_is_in_it() {
    let key = key();
    let refused = refusal(&signed_text("{\"format\": 2, \"unheard_of\": []}\n", &key), &trusting_channels(&key));
    assert!(VerifyError { document: "", why: Box::new(Refusal::NewerFormat { found: 2 }) }.hint().is_some());
    insta::assert_snapshot!(refused, @"it has format 2, but this Pannier reads format 1: it was written by a newer Pannier");
}

#[test]
fn well_signed_text_in_another_spelling_is_refused() {
    let key = key();
    let trust = trusting_channels(&key);
    let (text, _) = text_and_armour(&sign(&pointer(), &key).unwrap());
    let respelled = [
        text.trim_end().to_owned(),
        format!("{text}\n"),
        text.replace("  ", "\t"),
        text.replace('\n', "\r\n"),
        text.replace("\"serial\": 7", "\"serial\": 7.0"),
        text.replace("\"serial\": 7", "\"serial\": 6,\n  \"serial\": 7"),
        text.replace("\"who\": \"me\"", "\"who\": \"\\u006de\""),
        text.replace("\"who\": \"me\"", "\"who\": \"me\",\n  \"admin\": true"),
        text.replace("\"format\": 1", "\"format\": 0"),
        format!("\u{feff}{text}"),
        format!("{text}{text}"),
    ];
    for other in respelled {
        assert_ne!(other, text);
        let refused = refusal(&signed_text(&other, &key), &trust);
        let told = matches!(refused, Refusal::Spelling | Refusal::Unreadable(_) | Refusal::NotSigned);
        assert!(told, "{other:?}: {refused}");
    }
}

#[test]
fn armour_in_another_spelling_is_refused() {
    let key = key();
    let trust = trusting_channels(&key);
    let (text, armour) = text_and_armour(&sign(&pointer(), &key).unwrap());
    let lines: Vec<&str> = armour.lines().collect();
    let rewrapped = format!("{BEGIN}{}\n{}\n", lines[1..lines.len() - 1].concat(), lines[lines.len() - 1]);
    for other in [armour.replace('\n', "\r\n").replacen("\r\n", "\n", 1), rewrapped, format!("{armour}\n")] {
        let refused = refusal(&[text.clone(), other].concat().into_bytes(), &trust);
        assert!(matches!(refused, Refusal::Malformed { block: 1, .. }), "{refused}");
    }
}

#[test]
fn a_trust_file_without_a_key_is_its_own_error() {
    for text in ["", "\n\n", "# nobody yet\n"] {
        let error = Trust::parse(text, "/etc/pannier/trust").unwrap_err();
        assert!(matches!(error, crate::signature::TrustError::NoKey { .. }), "{error}");
    }
    insta::assert_snapshot!(Trust::parse("", "/etc/pannier/trust").unwrap_err(), @"the trust file `/etc/pannier/trust` names no key: put the line that `pannier keys new` printed into it");
}

#[test]
fn a_bad_line_of_a_trust_file_is_named() {
    let text = format!("# keys\n\nci {}\n", key().public());
    insta::assert_snapshot!(Trust::parse(&text, "/etc/pannier/trust").unwrap_err(), @"line 3 of the trust file `/etc/pannier/trust` is refused");
}

/// A folder with a key that `ssh-keygen` made.
fn keygen_key() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    (dir, path)
}

fn with_stdin(command: &mut Command, file: &Path) -> std::process::Output {
    command.stdin(Stdio::from(std::fs::File::open(file).unwrap())).output().unwrap()
}

/// What the manual tells a person to do by hand.
fn keygen_verifies(dir: &Path, bytes: &[u8], key: &SigningKey, options: &str) -> bool {
    let (text, armour) = text_and_armour(bytes);
    let [trust_file, text_file, armour_file] = ["trust", "text", "text.sig"].map(|name| dir.join(name));
    std::fs::write(&trust_file, format!("ops {options} {}\n", key.public())).unwrap();
    std::fs::write(&text_file, text).unwrap();
    std::fs::write(&armour_file, armour).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-I", "ops", "-n", Channel::NAMESPACE, "-f"]).arg(trust_file);
    with_stdin(command.arg("-s").arg(armour_file), &text_file).status.success()
}

#[test]
fn ssh_keygen_verifies_what_we_sign_with_its_key_and_refuses_what_we_refuse() {
    let (dir, path) = keygen_key();
    let key = SigningKey::load(&path, None).unwrap();
    let bytes = sign(&pointer(), &key).unwrap();
    for options in [
        "namespaces=\"channel@pannier\"",
        "namespaces=\"release@pannier,channel@pannier\",valid-after=\"20200101Z\"",
        "namespaces=\"channel@pannier\",valid-after=\"202001010000Z\",valid-before=\"29990101000000Z\"",
        "namespaces=\"release@pannier\"",
        "namespaces=\"channel@pannier\",valid-before=\"202001010000Z\"",
        "namespaces=\"channel@pannier\",valid-after=\"29990101000000Z\"",
    ] {
        let ours = verify::<Channel>(&bytes, &trusting(&key, options), now()).is_ok();
        assert_eq!(keygen_verifies(dir.path(), &bytes, &key, options), ours, "{options}");
    }
}

#[test]
fn we_verify_what_ssh_keygen_signs_with_either_hash() {
    let (dir, path) = keygen_key();
    let key = SigningKey::load(&path, None).unwrap();
    let text_file = dir.path().join("text");
    std::fs::write(&text_file, text_of(&pointer()).unwrap()).unwrap();
    for hash in ["sha512", "sha256"] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-O", &format!("hashalg={hash}"), "-n", Channel::NAMESPACE, "-f"]).arg(&path);
        let armour = with_stdin(&mut command, &text_file).stdout;
        let bytes = [std::fs::read(&text_file).unwrap(), armour].concat();
        assert_eq!(*verify::<Channel>(&bytes, &trusting_channels(&key), now()).unwrap(), pointer(), "{hash}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), armour in "[A-Za-z0-9+/=\n]{0,400}") {
        let trust = trusting_channels(&key());
        let wrapped = [&bytes[..], b"\n", BEGIN.as_bytes(), armour.as_bytes(), b"\n-----END SSH SIGNATURE-----\n"].concat();
        prop_assert!(verify::<Channel>(&bytes, &trust, now()).is_err());
        prop_assert!(verify::<Channel>(&wrapped, &trust, now()).is_err());
    }

    #[test]
    fn no_change_of_the_armour_makes_it_panic(changes in proptest::collection::vec((any::<usize>(), "[A-Za-z0-9+/]"), 1..20)) {
        let key = key();
        let bytes = sign(&pointer(), &key).unwrap();
        let base64 = bytes.len() - text_and_armour(&bytes).1.len() + BEGIN.len()..bytes.len() - 30;
        let mut changed = bytes.clone();
        for (at, letter) in changes {
            changed[base64.start + at % base64.len()] = letter.as_bytes()[0];
        }
        prop_assert!(verify::<Channel>(&changed, &trusting_channels(&key), now()).is_err() || changed == bytes);
    }

    #[test]
    fn no_trust_file_makes_it_panic(text in "(ci|,|\\*| |\t|namespaces|valid-before|=|\"|a@b|20260101|Z|ssh-ed25519|AAAA|\n|#|é){0,30}") {
        let _ = Trust::parse(&text, "trust");
    }
}
