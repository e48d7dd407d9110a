//! What tests of several rooms share.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]

use std::error::Error;
use std::path::Path;

use jiff::Timestamp;
use pannier_shared::digest::Digest;
use pannier_shared::keys;
use pannier_shared::published::Published;
use pannier_shared::signature::{SigningKey, Trust, sign};
use pannier_shared::statement::{Channel, Statement};
use pannier_shared::store::dir::DirStore;
use pannier_shared::store::{Condition, Store};
use serde_json::json;

use crate::environment::Ambient;
use crate::stages::interpreter::Interpreter;

/// An error as a person is told it: its own line, then each cause on a line of its own.
pub fn told(error: &dyn Error) -> String {
    let causes =
        std::iter::successors(error.source(), |cause| (*cause).source()).map(|cause| format!("caused by: {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join("\n")
}

/// The environment the tests run in.
pub fn ambient() -> Ambient {
    Ambient::of(std::env::vars_os())
}

/// The relative paths of all files and links below a folder, sorted.
pub fn files(root: &Path) -> Vec<String> {
    let entries =
        walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let relative = |entry: walkdir::DirEntry| entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let mut paths: Vec<String> = entries.map(relative).collect();
    paths.sort();
    paths
}

/// Two kinds of machines.
pub const X86: &str = "x86_64-linux-gnu";
pub const ARM: &str = "aarch64-linux-gnu";

/// CPython 3.11 of an ordinary machine.
pub fn python() -> Interpreter {
    Interpreter {
        executable: "/usr/bin/python3".into(),
        python: "3.11".to_owned(),
        version: "3.11.7".to_owned(),
        abi: "cpython-311-x86_64-linux-gnu".to_owned(),
        cache_tag: "cpython-311".to_owned(),
        target: X86.parse().unwrap(),
        glibc: Some("2.18".to_owned()),
    }
}

/// The time of the tests.
pub fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// A statement of the app `polls`.
pub fn statement(version: &str, target: &str) -> Statement {
    let digest = Digest::of(version.as_bytes());
    let django = json!({"settings": "polls.settings", "folder": ".", "static_url": "/static/", "static_hashed": true});
    let interpreter = json!({"origin": "bundled", "implementation": "cpython", "python": "3.11", "version": "3.11.7",
        "abi": "cpython-311-x86_64-linux-gnu", "cache_tag": "cpython-311", "link": "venv/bin/python"});
    let release = json!({"app": "polls", "version": version, "target": target, "interpreter": interpreter,
        "dependencies": [], "django": django, "built_by": "0.1.0"});
    let artifact = json!({"size": 100, "sha256": digest, "toc": {"offset": 10, "length": 20, "sha256": digest},
        "entries": 3, "unpacked": 400});
    serde_json::from_value(json!({"type": "release", "format": 1, "release": release, "artifact": artifact})).unwrap()
}

/// A store in a folder, and a key `ci` that is trusted with everything.
pub struct Place {
    _dir: tempfile::TempDir,
    store: DirStore,
    trust: Trust,
    /// The key.
    pub key: SigningKey,
}

impl Place {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("ci").unwrap();
        let line = format!(
            "ci namespaces=\"release@pannier,channel@pannier,suite@pannier,rollout@pannier\" {}\n",
            key.public()
        );
        Self { store: DirStore::new(dir.path()), _dir: dir, trust: Trust::parse(&line, "trust").unwrap(), key }
    }

    pub fn published(&self) -> Published<'_> {
        Published { store: &self.store, trust: &self.trust, now: now() }
    }

    pub async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.store.put(&key.parse().unwrap(), bytes.into(), Condition::Absent).await.unwrap();
    }

    /// Publishes a statement of `polls`; gives the digest of its file.
    pub async fn publish(&self, version: &str, target: &str) -> Digest {
        self.publish_signed_by(version, target, &self.key).await
    }

    pub async fn publish_signed_by(&self, version: &str, target: &str, key: &SigningKey) -> Digest {
        let bytes = sign(&statement(version, target), key).unwrap();
        let digest = Digest::of(&bytes);
        self.put(&format!("polls/releases/{version}/{target}/release.json"), bytes).await;
        digest
    }

    /// Signs a pointer and puts it over the one that is there, whatever it says.
    pub async fn replace_pointer(&self, pointer: &Channel) {
        let key = keys::channel(&pointer.app, &pointer.channel);
        let present = self.store.head(&key).await.unwrap().etag;
        let bytes = sign(pointer, &self.key).unwrap();
        self.store.put(&key, bytes.into(), Condition::Unchanged(present)).await.unwrap();
    }
}
