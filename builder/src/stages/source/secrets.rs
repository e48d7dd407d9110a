//! Files that must not be in a release: recognised by name or by their first bytes.
//!
//! A release is copied to every node and kept for years. Names alone miss renamed keys, and content alone misses
//! environment files, so both are looked at. Text that merely holds a key somewhere, such as a test's source, passes.

/// How many bytes of a file [`recognise`] wants to see.
pub const HEAD: u64 = 256;

/// Key stores in binary form, by extension.
const KEY_STORES: &[&str] = &[".p12", ".pfx", ".jks", ".keystore"];

/// Endings of environment files that are examples.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist"];

/// What kind of secret a file is, if any; `head` is its first [`HEAD`] bytes.
pub fn recognise(path: &str, head: &[u8]) -> Option<&'static str> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if is_environment_file(name) {
        Some("an environment file")
    } else if head.starts_with(b"SQLite format 3\0") {
        Some("an SQLite database")
    } else if KEY_STORES.iter().any(|end| name.ends_with(end)) {
        Some("a key store")
    } else if is_private_key(head) {
        Some("a private key")
    } else {
        None
    }
}

/// `.env` and `.env.local`, but not `.env.example`.
pub fn is_environment_file(name: &str) -> bool {
    name == ".env" || name.strip_prefix(".env.").is_some_and(|end| !EXAMPLES.contains(&end))
}

fn is_private_key(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    line.starts_with(b"-----BEGIN ") && line.ends_with(b"PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised() {
        assert_eq!(recognise("a/.env", b""), Some("an environment file"));
        assert_eq!(recognise(".env.production", b""), Some("an environment file"));
        assert_eq!(recognise("data", b"SQLite format 3\0..."), Some("an SQLite database"));
        assert_eq!(recognise("x.pfx", b""), Some("a key store"));
        for kind in ["", "RSA ", "OPENSSH ", "EC "] {
            let text = format!("-----BEGIN {kind}PRIVATE KEY-----\nabc");
            assert_eq!(recognise("server.txt", text.as_bytes()), Some("a private key"), "{kind}");
        }
    }

    #[test]
    fn ordinary_files_pass() {
        for (path, head) in [
            (".env.example", &b"A=1"[..]),
            ("env.py", b"x"),
            ("cert.pem", b"-----BEGIN CERTIFICATE-----\n"),
            ("id.pub", b"ssh-ed25519 AAAA"),
            ("tests.py", b"KEY = '''-----BEGIN PRIVATE KEY-----\n"),
        ] {
            assert_eq!(recognise(path, head), None, "{path}");
        }
    }
}
