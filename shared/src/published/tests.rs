//! Finding and believing, over a directory store.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::signature::{SigningKey, sign};
use crate::store::Condition;
use crate::store::dir::DirStore;
use crate::store::upload::Upload;

const X86: &str = "x86_64-linux-gnu";
const ARM: &str = "aarch64-linux-gnu";

fn statement(app: &str, version: &str, target: &str) -> Statement {
    let digest = Digest::of(version.as_bytes());
    let django = json!({"settings": "polls.settings", "folder": ".", "static_url": "/static/", "static_hashed": true});
    let interpreter = json!({"origin": "bundled", "implementation": "cpython", "python": "3.11", "version": "3.11.7",
        "abi": "cpython-311-x86_64-linux-gnu", "cache_tag": "cpython-311", "link": "venv/bin/python"});
    let release = json!({"app": app, "version": version, "target": target, "interpreter": interpreter,
        "dependencies": [], "django": django, "built_by": "0.1.0"});
    let artifact = json!({"size": 100, "sha256": digest, "toc": {"offset": 10, "length": 20, "sha256": digest},
        "entries": 3, "unpacked": 400});
    let whole = json!({"type": "release", "format": 1, "release": release, "artifact": artifact});
    serde_json::from_value(whole).unwrap()
}

fn pointer(app: &str, channel: &str, version: &str, statements: &[(&str, Digest)]) -> Channel {
    let statements: serde_json::Map<_, _> =
        statements.iter().map(|(target, digest)| ((*target).to_owned(), json!(digest))).collect();
    let whole = json!({"type": "channel", "format": 1, "app": app, "channel": channel, "epoch": 1, "serial": 1,
        "version": version, "statements": statements, "issued": NOW, "not_after": NOW, "reason": "", "who": "me"});
    serde_json::from_value(whole).unwrap()
}

const NOW: &str = "2026-03-01T12:00:00Z";

/// A store, and a key that is trusted with everything.
struct Place {
    _dir: tempfile::TempDir,
    store: DirStore,
    key: SigningKey,
    trust: Trust,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("test").unwrap();
        let line = format!("ci namespaces=\"release@pannier,channel@pannier\" {}\n", key.public());
        let trust = Trust::parse(&line, "trust").unwrap();
        Self { store: DirStore::new(dir.path()), _dir: dir, key, trust }
    }

    fn published(&self) -> Published<'_> {
        Published { store: &self.store, trust: &self.trust, now: NOW.parse().unwrap() }
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.store.put(&key.parse().unwrap(), bytes.into(), Condition::Absent).await.unwrap();
        digest
    }

    async fn publish(&self, app: &str, version: &str, target: &str) -> Digest {
        let bytes = sign(&statement(app, version, target), &self.key).unwrap();
        self.put(&format!("{app}/releases/{version}/{target}/release.json"), bytes).await
    }

    async fn point(&self, channel: &str, document: &Channel) {
        let bytes = sign(document, &self.key).unwrap();
        self.put(&format!("{}/channels/{channel}.json", document.app), bytes).await;
    }
}

fn name<N: std::str::FromStr<Err = id::BadName>>(text: &str) -> N {
    text.parse().unwrap()
}

/// The error's words without the path of the store, and its hint.
fn told<T>(place: &Place, result: Result<T>) -> String {
    let error = result.err().unwrap();
    let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{error}{hint}").replace(place.store.location(), "STORE")
}

#[tokio::test]
async fn what_was_published_is_found_by_name_and_by_channel() {
    let place = Place::new();
    let digest = place.publish("polls", "v1", X86).await;
    place.publish("polls", "v1", ARM).await;
    place.point("production", &pointer("polls", "production", "v1", &[(X86, digest)])).await;
    let published = place.published();
    let polls = name("polls");
    assert_eq!(published.versions(&polls).await.unwrap(), [name("v1")]);
    assert_eq!(published.channels(&polls).await.unwrap(), [name("production")]);
    assert_eq!(published.statement(&polls, &name("v1"), &name(X86)).await.unwrap().digest(), digest);
    let targets: Vec<Target> =
        published.release(&polls, &name("v1")).await.unwrap().into_iter().map(|(target, _)| target).collect();
    assert_eq!(targets, [name(ARM), name(X86)]);
    let pointer = published.channel(&polls, &name("production")).await.unwrap();
    assert_eq!(published.named_by(&pointer.document, &name(X86)).await.unwrap().digest(), digest);
    let error = told(&place, published.named_by(&pointer.document, &name(ARM)).await);
    insta::assert_snapshot!(error, @r"
        the channel `production` of `polls` has nothing for `aarch64-linux-gnu`, only for `x86_64-linux-gnu`
        hint: build and publish the version for this kind of machine too: there, or with `pannier build --target aarch64-linux-gnu`
        ");
}

#[tokio::test]
async fn unknown_names_are_answered_with_near_ones() {
    let place = Place::new();
    let digest = place.publish("polls", "2026.1", X86).await;
    place.point("production", &pointer("polls", "production", "2026.1", &[(X86, digest)])).await;
    let (published, polls) = (place.published(), name("polls"));
    insta::assert_snapshot!(told(&place, published.versions(&name("pols")).await), @r#"
        the app `pols` has no release in the store STORE
        hint: did you mean `polls`?
        "#);
    insta::assert_snapshot!(told(&place, published.release(&name("pols"), &name("v1")).await), @r#"
        the app `pols` has no release in the store STORE
        hint: did you mean `polls`?
        "#);
    insta::assert_snapshot!(told(&place, published.statement(&polls, &name("2026.2"), &name(X86)).await), @r#"
        `polls` has no version `2026.2` in the store STORE
        hint: did you mean `2026.1`?
        "#);
    insta::assert_snapshot!(told(&place, published.statement(&polls, &name("2026.1"), &name(ARM)).await), @r"
        `polls` 2026.1 has nothing for `aarch64-linux-gnu`, only for `x86_64-linux-gnu`
        hint: build and publish the version for this kind of machine too: there, or with `pannier build --target aarch64-linux-gnu`
        ");
    insta::assert_snapshot!(told(&place, published.channel(&polls, &name("prodution")).await), @r#"
        `polls` has no channel `prodution` in the store STORE
        hint: did you mean `production`?
        "#);
    insta::assert_snapshot!(told(&place, published.channel(&name("pols"), &name("production")).await), @r#"
        the app `pols` has no release in the store STORE
        hint: did you mean `polls`?
        "#);
}

/// A store that gives what it is asked for and lists nothing, like a web server.
struct Unlisted<'a>(&'a DirStore);

#[async_trait::async_trait]
impl Store for Unlisted<'_> {
    fn location(&self) -> &str {
        self.0.location()
    }
    async fn get(&self, key: &Key, limit: u64) -> store::Result<Object> {
        self.0.get(key, limit).await
    }
    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> store::Result<store::Glance> {
        self.0.glance(key, limit, known).await
    }
    async fn head(&self, key: &Key) -> store::Result<store::Meta> {
        self.0.head(key).await
    }
    async fn get_range(&self, key: &Key, range: std::ops::Range<u64>, pin: Option<&Etag>) -> store::Result<Bytes> {
        self.0.get_range(key, range, pin).await
    }
    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> store::Result<Etag> {
        self.0.put(key, bytes, condition).await
    }
    async fn put_file(&self, key: &Key, upload: &Upload) -> store::Result<store::Stored> {
        self.0.put_file(key, upload).await
    }
    async fn list(&self, _: &str) -> store::Result<Vec<String>> {
        Err(store::Error::Unsupported { store: self.location().to_owned(), what: "be listed" })
    }
}

#[tokio::test]
async fn what_is_not_in_a_store_that_cannot_list_is_still_not_there() {
    let place = Place::new();
    place.publish("polls", "v1", X86).await;
    let published = Published { store: &Unlisted(&place.store), ..place.published() };
    let polls = name("polls");
    published.statement(&polls, &name("v1"), &name(X86)).await.unwrap();
    insta::assert_snapshot!(told(&place, published.statement(&polls, &name("v2"), &name(X86)).await), @"`polls` has no version `v2` in the store STORE");
    insta::assert_snapshot!(told(&place, published.channel(&polls, &name("production")).await), @"`polls` has no channel `production` in the store STORE");
    assert!(matches!(published.versions(&polls).await, Err(Error::Store(store::Error::Unsupported { .. }))));
}

#[tokio::test]
async fn a_version_without_a_statement_is_not_published() {
    let place = Place::new();
    place.put(&format!("polls/releases/v1/{X86}/artifact.tar.zst"), vec![1]).await;
    let published = place.published();
    assert!(matches!(published.release(&name("polls"), &name("v1")).await, Err(Error::UnknownVersion { .. })));
    place.publish("polls", "v1", ARM).await;
    assert_eq!(published.release(&name("polls"), &name("v1")).await.unwrap().len(), 1);
}

#[tokio::test]
async fn documents_of_other_things_are_refused_though_they_are_well_signed() {
    let place = Place::new();
    let other = sign(&statement("blog", "v9", X86), &place.key).unwrap();
    for target in [X86, ARM] {
        place.put(&format!("polls/releases/v1/{target}/release.json"), other.clone()).await;
    }
    let published = place.published();
    let read = published.statement(&name("polls"), &name("v1"), &name(X86)).await;
    insta::assert_snapshot!(told(&place, read), @"`polls/releases/v1/x86_64-linux-gnu/release.json` is well signed, but it is the one of `blog` v9 for `x86_64-linux-gnu`: it was put into the wrong place");
    place.point("production", &pointer("polls", "staging", "v1", &[])).await;
    let read = published.channel(&name("polls"), &name("production")).await;
    insta::assert_snapshot!(told(&place, read), @"`polls/channels/production.json` is well signed, but it is the one of the channel `staging` of `polls`: it was put into the wrong place");
}

#[tokio::test]
async fn a_document_nobody_trusted_signed_is_refused_with_its_place() {
    let place = Place::new();
    let stranger = SigningKey::generate("stranger").unwrap();
    place
        .put(&format!("polls/releases/v1/{X86}/release.json"), sign(&statement("polls", "v1", X86), &stranger).unwrap())
        .await;
    let error = place.published().statement(&name("polls"), &name("v1"), &name(X86)).await.unwrap_err();
    insta::assert_snapshot!(error, @"failed to verify `polls/releases/v1/x86_64-linux-gnu/release.json`");
    assert!(error.hint().unwrap().contains("pannier keys show"));
    let release = place.published().release(&name("polls"), &name("v1")).await.unwrap();
    assert!(matches!(release[0].1, Err(Error::Refused { .. })));
}

#[tokio::test]
async fn a_statement_that_a_channel_does_not_name_is_refused() {
    let place = Place::new();
    place.publish("polls", "v1", X86).await;
    place.point("production", &pointer("polls", "production", "v1", &[(X86, Digest::of(b"another"))])).await;
    let published = place.published();
    let pointer = published.channel(&name("polls"), &name("production")).await.unwrap();
    let error = published.named_by(&pointer.document, &name(X86)).await.unwrap_err();
    assert!(matches!(error, Error::NotTheNamed { .. }), "{error}");
}
