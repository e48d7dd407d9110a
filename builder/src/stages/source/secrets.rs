//! Files that must not be in a release: recognised by name or by their first bytes.
//!
//! A release is copied to every node and kept for years. Names alone miss renamed keys, and content alone misses
//! environment files, so both are looked at. Text that only names a key's header passes; one with a key in it does not.

/// How many bytes of a file [`recognise`] wants to see: keys stand in small files.
pub const HEAD: u64 = 256 * 1024;

/// How a PEM header begins.
const BEGIN: &[u8] = b"-----BEGIN ";

/// How that of a private key ends.
const END_OF_LABEL: &[u8] = b"PRIVATE KEY-----";

/// Bytes of the rest of a header: "ENCRYPTED PRIVATE KEY-----".
const LABEL: usize = 40;

/// Bytes after a header in which the key begins.
const BODY: usize = 512;

/// Characters of a line that is a key's: the shortest key, of Ed25519, has 64 in its first; a placeholder is shorter.
const KEY_LINE: usize = 40;

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

/// A key's header at the start, or anywhere else with the key's own lines after it: in a bundle of certificate and key,
/// in JSON or YAML, between the quotes of a source file.
fn is_private_key(head: &[u8]) -> bool {
    let mut rest = head;
    while let Some(at) = find(rest, BEGIN) {
        let at_start = rest.len() == head.len() && head[..at].trim_ascii().is_empty();
        rest = &rest[at + BEGIN.len()..];
        let line = &rest[..rest.len().min(LABEL)];
        let Some(label) = find(line, END_OF_LABEL).filter(|end| line[..*end].iter().all(is_label)) else { continue };
        if at_start || is_key(&rest[label + END_OF_LABEL.len()..]) {
            return true;
        }
    }
    head.starts_with(b"PuTTY-User-Key-File-")
}

/// The algorithm before "PRIVATE KEY": "RSA ", "OPENSSH ", "ENCRYPTED ".
fn is_label(byte: &u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' '
}

/// True when base64 follows a line's end, real or written as `\n`; before an old encrypted key stand two more lines.
fn is_key(after: &[u8]) -> bool {
    let shown = String::from_utf8_lossy(&after[..after.len().min(BODY)]);
    let shown = shown.replace("\\r", "").replace("\\n", "\n");
    let lines = shown.lines().skip(1).map(str::trim).filter(|line| !line.is_empty());
    let mut lines = lines.skip_while(|line| line.contains(": "));
    let length = |line: &str| line.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/=".contains(*c)).count();
    lines.next().is_some_and(|line| length(line) >= KEY_LINE)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|found| found == wanted)
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
    fn a_key_is_found_wherever_it_stands() {
        let body = "MC4CAQAwBQYDK2VwBCIEIKw1Qm9yb3VnaGx5bm90YXNlY3JldGtleSE=";
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bundle = format!("{certificate}-----BEGIN PRIVATE KEY-----\n{body}\n");
        let json =
            format!("{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{body}\\n-----END PRIVATE KEY-----\\n\"}}");
        let yaml = format!("tls:\n  key: |\n    -----BEGIN EC PRIVATE KEY-----\r\n    {body}\r\n");
        let source = format!("KEY = '-----BEGIN RSA PRIVATE KEY-----\n{body}\n'");
        let old =
            format!("x\n-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0\n\n{body}\n");
        for text in [bundle, json, yaml, source, old, "PuTTY-User-Key-File-3: ssh-ed25519\n".to_owned()] {
            assert_eq!(recognise("a.txt", text.as_bytes()), Some("a private key"), "{text}");
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
            ("README.md", b"Paste it:\n\n-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"),
            ("check.py", b"if text.startswith('-----BEGIN ') and '-----BEGIN RSA PRIVATE KEY-----' in text: pass"),
            (
                "bundle.pem",
                b"x\n-----BEGIN CERTIFICATE-----\nMC4CAQAwBQYDK2VwBCIEIKw1Qm9yb3VnaGx5bm90YXNlY3JldGtleSE=\n",
            ),
        ] {
            assert_eq!(recognise(path, head), None, "{path}");
        }
    }
}
