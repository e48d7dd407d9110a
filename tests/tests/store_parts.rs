//! Large files on their way into S3: in parts, side by side, of which S3 copies what it has; whatever goes wrong, the
//! object is the whole file or not there, and no upload is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may do as it likes")]

use std::time::Duration;

use bytes::Bytes;
use pannier_builder::store_aws::AwsStore;
use pannier_s3_server::{Faults, Options, Server};
use pannier_shared::digest::Digest;
use pannier_shared::store::credentials::{Credentials, Source};
use pannier_shared::store::location::Location;
use pannier_shared::store::s3::S3Options;
use pannier_shared::store::upload::{Shared, Upload};
use pannier_shared::store::wire::Patience;
use pannier_shared::store::{Condition, Error, Etag, Key, Store, Stored};
use pannier_tests::noise;

const MIB: usize = 1024 * 1024;

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn options(url: &str) -> S3Options {
    let Ok(Location::S3(bucket)) = "s3://pannier/some+where".parse() else { unreachable!() };
    let keys = Credentials {
        access_key: "test".to_owned(),
        secret_key: "testtest".to_owned(),
        session_token: None,
        expires: None,
    };
    S3Options {
        bucket,
        region: "us-east-1".to_owned(),
        endpoint: Some(url.parse().unwrap()),
        credentials: Source::Known(keys),
        patience: Patience { pause: Duration::from_millis(2), ..Patience::default() },
    }
}

/// A server, a store on it, and files to send.
struct Place {
    server: Server,
    store: AwsStore,
    dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let server = Server::start(Options::default()).unwrap();
        let store = AwsStore::new(options(&server.url())).await;
        Self { server, store, dir: tempfile::tempdir().unwrap() }
    }

    fn upload(&self, name: &str, content: &[u8]) -> Upload {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        Upload::new(&path, content.len() as u64, Digest::of(content))
    }

    async fn put(&self, name: &str, content: &[u8]) -> Result<Stored, Error> {
        self.store.put_file(&key(name), &self.upload(name, content)).await
    }

    async fn read(&self, name: &str) -> Vec<u8> {
        let size = self.store.head(&key(name)).await.unwrap().size;
        self.store.get(&key(name), size).await.unwrap().bytes.to_vec()
    }

    /// An object with this content, of which a later file may have a part.
    async fn old(&self, content: &[u8]) -> Etag {
        let bytes = Bytes::copy_from_slice(content);
        let etag = self.store.put(&key("v1+0/old"), bytes, Condition::Absent).await.unwrap();
        self.server.clear_requests();
        etag
    }

    async fn is_not_there(&self, name: &str) -> bool {
        matches!(self.store.head(&key(name)).await, Err(Error::NotFound { .. })) && self.server.open_uploads() == 0
    }

    /// Bytes that came in bodies of requests.
    fn sent(&self) -> u64 {
        self.server.requests().iter().filter(|request| request.method == "PUT").map(|request| request.sent).sum()
    }

    fn copies(&self) -> usize {
        self.server.requests().iter().filter(|request| request.copied.is_some() && request.status == 200).count()
    }
}

fn shared(range: std::ops::Range<usize>, from: usize, etag: &Etag) -> Shared {
    let (range, from) = (range.start as u64..range.end as u64, from as u64);
    Shared { range, source: key("v1+0/old"), etag: etag.clone(), from }
}

/// An old object and a new file: the same 20 MiB between other beginnings, and then an end of its own.
async fn two_releases(place: &Place) -> (Upload, Vec<u8>, Etag) {
    let stable = noise(20 * MIB, 1);
    let etag = place.old(&[&noise(100, 2), &stable[..], &noise(MIB, 3)].concat()).await;
    let new = [&stable[..], &noise(2 * MIB, 4)].concat();
    let upload = place.upload("new", &new).sharing(vec![shared(0..20 * MIB, 100, &etag)]);
    (upload, new, etag)
}

#[tokio::test]
async fn a_large_file_goes_in_parts_side_by_side_and_not_too_many() {
    let place = Place::new().await;
    place.server.set_faults(Faults { latency: Duration::from_millis(300), ..Faults::default() });
    let content = noise(140 * MIB + 17, 1);
    let stored = place.put("a", &content).await.unwrap();
    assert!(stored.etag.0.ends_with("-9\""), "{stored:?}");
    assert_eq!(place.store.head(&key("a")).await.unwrap().etag, stored.etag);
    assert!(place.read("a").await == content);
    // How many more than one depends on the machine.
    assert!((2..=8).contains(&place.server.most_puts_at_once()));
    assert_eq!((place.sent(), place.server.open_uploads()), (content.len() as u64, 0));
}

#[tokio::test]
async fn what_the_store_has_is_copied_and_only_the_rest_is_sent() {
    let place = Place::new().await;
    let (upload, new, _) = two_releases(&place).await;
    let stored = place.store.put_file(&key("new"), &upload).await.unwrap();
    assert_eq!(stored.copied, 20 * MIB as u64);
    assert_eq!((place.sent(), place.copies()), (2 * MIB as u64, 2));
    assert!(place.read("new").await == new);
}

#[tokio::test]
async fn a_change_in_the_middle_is_sent_with_what_makes_it_a_part() {
    let place = Place::new().await;
    let old = noise(30 * MIB, 1);
    let etag = place.old(&old).await;
    let mut new = old.clone();
    new[14 * MIB] ^= 1;
    let hints = vec![shared(0..14 * MIB, 0, &etag), shared(15 * MIB..30 * MIB, 15 * MIB, &etag)];
    let stored = place.store.put_file(&key("new"), &place.upload("new", &new).sharing(hints)).await.unwrap();
    assert_eq!((stored.copied, place.sent()), (25 * MIB as u64, 5 * MIB as u64));
    assert!(place.read("new").await == new);
}

#[tokio::test]
async fn what_cannot_be_copied_is_sent() {
    let place = Place::new().await;
    let (upload, new, etag) = two_releases(&place).await;
    let gone = Shared { source: key("gone"), ..upload.shared()[0].clone() };
    let replaced = Shared { etag: Etag("\"0123\"".to_owned()), ..upload.shared()[0].clone() };
    let halfway =
        vec![shared(0..10 * MIB, 100, &etag), Shared { source: key("gone"), ..shared(10 * MIB..20 * MIB, 0, &etag) }];
    for (name, hints) in [("gone", vec![gone]), ("replaced", vec![replaced]), ("halfway", halfway)] {
        let stored = place.store.put_file(&key(name), &upload.clone().sharing(hints)).await.unwrap();
        assert!(stored.copied <= 10 * MIB as u64, "{name}: {stored:?}");
        assert!(place.read(name).await == new, "{name}");
    }
    assert_eq!(place.server.open_uploads(), 0);
}

#[tokio::test]
async fn a_copy_of_other_bytes_is_noticed_and_sent_instead() {
    let place = Place::new().await;
    let (upload, new, etag) = two_releases(&place).await;
    place.server.set_faults(Faults { wrong_copies: 1, ..Faults::default() });
    let stored = place.store.put_file(&key("new"), &upload).await.unwrap();
    assert!(stored.copied < 20 * MIB as u64);
    assert!(place.read("new").await == new);
    // A hint that is wrong altogether does no more harm.
    let wrong = upload.sharing(vec![shared(0..20 * MIB, 0, &etag)]);
    let stored = place.store.put_file(&key("again"), &wrong).await.unwrap();
    assert_eq!(stored.copied, 0);
    assert!(place.read("again").await == new);
}

#[tokio::test]
async fn a_whole_that_is_not_the_file_is_refused_by_the_store_and_sent_without_copies() {
    let place = Place::new().await;
    let (upload, new, _) = two_releases(&place).await;
    place.server.set_faults(Faults { wrong_copies: 1, silent_copies: true, ..Faults::default() });
    let stored = place.store.put_file(&key("new"), &upload).await.unwrap();
    assert_eq!(stored.copied, 0);
    assert!(place.server.requests().iter().any(|request| request.method == "POST" && request.status == 400));
    assert!(place.read("new").await == new);
    assert_eq!(place.server.open_uploads(), 0);
}

#[tokio::test]
async fn a_store_that_does_not_prove_the_whole_gets_it_in_one_piece() {
    let place = Place::new().await;
    let (upload, new, _) = two_releases(&place).await;
    place.server.set_faults(Faults { no_checksum_of_the_whole: true, ..Faults::default() });
    let stored = place.store.put_file(&key("new"), &upload).await.unwrap();
    assert_eq!((stored.copied, place.sent()), (0, new.len() as u64));
    assert!(place.read("new").await == new);
    assert_eq!(place.server.open_uploads(), 0);
}

#[tokio::test]
async fn stumbles_are_overcome() {
    let content = noise(40 * MIB, 1);
    for faults in [
        Faults { slowdown_every: Some(3), ..Faults::default() },
        Faults { conflicts: 2, ..Faults::default() },
        Faults { lost_answers: 2, ..Faults::default() },
        Faults { lost_completions: 1, ..Faults::default() },
        Faults { errors_in_200: 2, ..Faults::default() },
    ] {
        let place = Place::new().await;
        place.server.set_faults(faults.clone());
        let stored = place.put("a", &content).await.unwrap();
        place.server.set_faults(Faults::default());
        assert_eq!(place.store.head(&key("a")).await.unwrap().etag, stored.etag, "{faults:?}");
        assert!(place.read("a").await == content, "{faults:?}");
        assert_eq!(place.server.open_uploads(), 0, "{faults:?}");
    }
}

#[tokio::test]
async fn copies_overcome_stumbles_too() {
    for faults in [
        Faults { slowdown_every: Some(3), ..Faults::default() },
        Faults { conflicts: 1, ..Faults::default() },
        Faults { lost_answers: 2, ..Faults::default() },
        Faults { errors_in_200: 3, ..Faults::default() },
    ] {
        let place = Place::new().await;
        let (upload, new, _) = two_releases(&place).await;
        place.server.set_faults(faults.clone());
        let stored = place.store.put_file(&key("new"), &upload).await.unwrap();
        place.server.set_faults(Faults::default());
        assert_eq!(stored.copied, 20 * MIB as u64, "{faults:?}");
        assert!(place.read("new").await == new, "{faults:?}");
        assert_eq!(place.server.open_uploads(), 0, "{faults:?}");
    }
}

#[tokio::test]
async fn a_store_that_never_gets_there_is_given_up_and_left_clean() {
    let place = Place::new().await;
    place.server.set_faults(Faults { conflicts: 1000, ..Faults::default() });
    let error = place.put("a", &noise(40 * MIB, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("409 ConditionalRequestConflict"), "{error}");
    place.server.set_faults(Faults::default());
    assert!(place.is_not_there("a").await);
}

#[tokio::test]
async fn a_file_that_is_not_what_was_measured_is_not_stored_and_left_clean() {
    let place = Place::new().await;
    let content = noise(40 * MIB, 1);
    let upload = place.upload("a", &content);
    let size = content.len() as u64;
    for wrong in [
        Upload::new(upload.path(), size, Digest::of(b"another")),
        Upload::new(upload.path(), size - 1, upload.digest()),
        Upload::new(upload.path(), size + 1, upload.digest()),
    ] {
        let error = place.store.put_file(&key("a"), &wrong).await.unwrap_err();
        assert!(matches!(error, Error::FileChanged { .. }), "{error}");
        assert!(place.is_not_there("a").await);
    }
}

#[tokio::test]
async fn an_upload_that_nobody_waits_for_is_aborted() {
    let place = Place::new().await;
    let upload = place.upload("a", &noise(40 * MIB, 1));
    place.server.set_faults(Faults { latency: Duration::from_millis(20), ..Faults::default() });
    {
        let name = key("a");
        let put = place.store.put_file(&name, &upload);
        let begun = async {
            while place.server.most_puts_at_once() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = put => panic!("{ended:?}"),
            () = begun => {}
        }
    }
    assert_eq!(place.server.open_uploads(), 1);
    while place.server.open_uploads() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_two_at_once_one_wins_and_the_object_is_whole() {
    let place = Place::new().await;
    let contents = [noise(40 * MIB, 1), noise(40 * MIB, 2)];
    let uploads = [place.upload("one", &contents[0]), place.upload("two", &contents[1])];
    let name = key("a");
    let both = tokio::join!(place.store.put_file(&name, &uploads[0]), place.store.put_file(&name, &uploads[1]));
    let winner = match &both {
        (Ok(_), Err(Error::AlreadyExists { .. })) => 0,
        (Err(Error::AlreadyExists { .. }), Ok(_)) => 1,
        other => panic!("{other:?}"),
    };
    assert!(place.read("a").await == contents[winner]);
    assert_eq!(place.server.open_uploads(), 0);
}
