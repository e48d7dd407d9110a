//! One function per thing that a node reads from outside. None may panic, whatever it is given; what it accepts must be
//! written again as it was read. `scripts/torture fuzz` lets libFuzzer look for more; `tests/tests/corpus.rs` gives them the
//! seeds, and changes of them, with every test run.

use std::collections::HashSet;
use std::path::Path;
use std::sync::LazyLock;

use pannier_activator::config::Config;
use pannier_shared::archive::frame::{self, Decoder, MAX_FRAME};
use pannier_shared::archive::read::{Outline, tail_range};
use pannier_shared::archive::toc::{self, Class, Table};
use pannier_shared::archive::{footer, layout, policy};
use pannier_shared::digest::Digest;
use pannier_shared::signature::{SigningKey, Trust, sign, verify};
use pannier_shared::statement::{Artifact, Channel, Document, Rollout, Statement, Suite, TocRef};
use pannier_shared::sys::clock;

/// What one of them may hold, in bytes: for texts a multiple of their length, for frames the largest frame and a buffer.
pub type Limit = fn(&[u8]) -> usize;

/// A target: its name, how much it may hold, and what it does.
pub type Target = (&'static str, Limit, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("footer", |_| 4096, footer),
    ("toc", |data| (1 << 20) + 200 * data.len(), toc),
    ("frame", |data| MAX_FRAME as usize + (1 << 16) + 2 * data.len(), frame),
    ("document", |data| (1 << 20) + 200 * data.len(), document),
    ("config", |data| (1 << 20) + 200 * data.len(), config),
    ("signers", |data| (1 << 20) + 200 * data.len(), signers),
];

/// An archive's last bytes.
pub fn footer(data: &[u8]) {
    if let Some(toc) = footer::decode(data) {
        assert_eq!(footer::encode(&toc), data);
    }
}

/// The text of a table, or of a root, that was proven: a trusted signer's, who may be hostile.
pub fn toc(data: &[u8]) {
    let Ok(compressed) = frame::encode(data, 1) else { return };
    if let Ok(table) = toc::decode_table(&compressed, data.len() as u64) {
        describe(&table);
    }
    let (length, sha256) = (compressed.len() as u64, Digest::of(&compressed));
    let toc = TocRef { offset: footer::SKIPPABLE_HEADER, length, sha256 };
    let size = toc.offset + length + footer::FOOTER_FRAME;
    let artifact = Artifact { size, sha256, toc, entries: 0, unpacked: 0 };
    let tail = [&footer::skippable_header(length as u32)[..], &compressed, &footer::encode(&toc)].concat();
    assert_eq!(tail_range(&artifact).ok(), Some(0..size));
    if let Ok(outline) = Outline::open(&artifact, &tail) {
        let _ = outline.contents(vec![Table::default()]);
    }
}

/// What is done with a table that could be read: it is held against the policy, and cut into its frames.
fn describe(table: &Table) {
    let allowed = policy::check_tree(table.kinds());
    for class in [Class::App, Class::Complete] {
        let lengths = table.frames.iter().map(|frame| frame.plain);
        let _ = layout::slice(table, class, lengths);
    }
    if allowed.is_ok() {
        let paths: HashSet<&str> = table.kinds().map(|(path, _)| path).collect();
        assert_eq!(paths.len(), table.entries());
        assert!(paths.iter().all(|path| !path.starts_with('/') && !path.split('/').any(|part| part == "..")));
    }
}

/// A compressed frame that was proven.
pub fn frame(data: &[u8]) {
    let Ok(plain) = frame::content_size(data) else { return };
    if plain > MAX_FRAME {
        return;
    }
    let mut decoder = Decoder::default();
    if let Ok(bytes) = decoder.decode(data, plain) {
        assert_eq!(bytes.len() as u64, plain);
    }
    assert!(decoder.decode(data, plain + 1).is_err());
}

/// A signed document as it comes from a store, and its text as a trusted signer could write it.
pub fn document(data: &[u8]) {
    document_of::<Statement>(data);
    document_of::<Channel>(data);
    document_of::<Suite>(data);
    document_of::<Rollout>(data);
}

fn document_of<D: Document>(data: &[u8]) {
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("fuzz").expect("a key"));
    let key = &*KEY;
    let line = format!("fuzz namespaces=\"{}\" {}\n", D::NAMESPACE, key.public());
    let trust = Trust::parse(&line, "trust").expect("a trust file");
    assert!(verify::<D>(data, &trust, clock::now()).is_err(), "nobody signed it");
    let Ok(document) = serde_json::from_slice::<D>(data) else { return };
    let Ok(signed) = sign(&document, key) else { return };
    let _ = verify::<D>(&signed, &trust, clock::now());
}

/// A node's configuration.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = Config::parse(text, Path::new("activator.toml")) {
        let _ = (error.to_string(), error.hint());
    }
}

/// A trust file, which others than us write.
pub fn signers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = Trust::parse(text, "trust") {
        let _ = error.to_string();
    }
}
