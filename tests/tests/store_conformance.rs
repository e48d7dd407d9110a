//! Every remote store passes the conformance suite. (The directory's is beside its code.)
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may do as it likes")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use bytes::Bytes;
use pannier_s3_server::{Options, Server};
use pannier_shared::digest::Digest;
use pannier_shared::store::conformance;
use pannier_shared::store::http::WebStore;
use pannier_shared::store::location::Location;
use pannier_shared::store::upload::Upload;
use pannier_shared::store::wire::Patience;
use pannier_shared::store::{Condition, Error, Key, Store};
use pannier_tests::{noise, web};

/// An environment with the keys of the server at `endpoint`.
fn env(endpoint: String) -> impl Fn(&str) -> Option<String> {
    move |name| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.clone()),
        "AWS_ACCESS_KEY_ID" => Some("test".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("testtest".to_owned()),
        "AWS_SESSION_TOKEN" => Some("token/+=".to_owned()),
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        _ => None,
    }
}

async fn small_client(endpoint: String, location: &str) -> Box<dyn Store> {
    pannier_shared::store::open(&location.parse().unwrap(), &env(endpoint)).await.unwrap()
}

async fn aws_sdk(endpoint: String, location: &str) -> Box<dyn Store> {
    pannier_builder::store::open_store(&location.parse().unwrap(), &env(endpoint)).await.unwrap()
}

#[tokio::test]
async fn the_small_s3_client_conforms() {
    let server = Server::start(Options::default()).unwrap();
    conformance::all(&*small_client(server.url(), "s3://pannier").await).await;
}

#[tokio::test]
async fn the_aws_sdk_conforms() {
    let server = Server::start(Options::default()).unwrap();
    conformance::all(&*aws_sdk(server.url(), "s3://pannier").await).await;
}

/// Below a prefix, with a session token, and with a server that keeps its objects on disk.
async fn conforms_elsewhere(store: &dyn Store, whole_bucket: &dyn Store) {
    conformance::all(store).await;
    let outside = whole_bucket.list("").await.unwrap();
    assert_eq!(outside, ["some"], "nothing is written outside of the prefix");
}

fn server_on_disk(dir: &Path) -> Server {
    let session_token = Some("token/+=".to_owned());
    Server::start(Options { dir: Some(dir.join("objects")), session_token, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn the_small_s3_client_conforms_below_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let server = server_on_disk(dir.path());
    let store = small_client(server.url(), "s3://pannier/some/where").await;
    conforms_elsewhere(&*store, &*small_client(server.url(), "s3://pannier").await).await;
}

#[tokio::test]
async fn the_aws_sdk_conforms_below_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let server = server_on_disk(dir.path());
    let store = aws_sdk(server.url(), "s3://pannier/some/where").await;
    conforms_elsewhere(&*store, &*aws_sdk(server.url(), "s3://pannier").await).await;
}

#[tokio::test]
async fn both_clients_see_the_same_objects() {
    let server = Server::start(Options::default()).unwrap();
    let small = small_client(server.url(), "s3://pannier").await;
    let aws = aws_sdk(server.url(), "s3://pannier").await;
    let key: Key = "app/v1+2".parse().unwrap();
    let etag = aws.put(&key, Bytes::from("one"), Condition::Absent).await.unwrap();
    assert_eq!(small.get(&key, 9).await.unwrap().etag, etag);
    let etag = small.put(&key, Bytes::from("two"), Condition::Unchanged(etag)).await.unwrap();
    assert_eq!(aws.get_range(&key, 0..3, Some(&etag)).await.unwrap(), "two");
}

/// The same promises in front of moto, an S3 server by other hands: what passes here is not only our own reading of S3.
/// `scripts/moto` starts it and says its address. Where moto differs from S3, as far as these tests could notice:
///
/// * any keys, and any signature, are good: wrong keys are tried on our own server only;
/// * a wrong SHA-256 of an upload is not noticed: our own check while sending must be enough;
/// * it never answers 409: conflicts are tried on our own server only;
/// * it looks at a condition and writes in two steps, so that of several who write at once two may win: races are tried on
///   our own server only;
/// * it copies ranges of whatever content the source has, and takes any checksum for the whole: that copies are pinned
///   and proven is tried on our own server only. It does compute the checksum of the whole, and that one is compared.
async fn conforms_with_moto(open: impl AsyncFn(String, &str) -> Box<dyn Store>, bucket: &str) {
    let Ok(url) = std::env::var("PANNIER_MOTO_URL") else {
        // Written past the harness, which would keep it to itself.
        let said = "SKIPPED, as `PANNIER_MOTO_URL` is not set: `scripts/moto` starts the server and says its address\n";
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return;
    };
    let missing = open(url.clone(), &format!("s3://{bucket}-missing")).await;
    let error = missing.head(&"a".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    make_bucket(&url, bucket);
    let store = open(url, &format!("s3://{bucket}/some/where")).await;
    conformance::one_after_the_other(&*store).await;
    a_large_file_is_stored_whole(&*store).await;
}

/// Of 40 MiB, so that it goes in parts where the client can.
async fn a_large_file_is_stored_whole(store: &dyn Store) {
    let content = noise(40 << 20, 1);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let key: Key = format!("large/{}", pannier_shared::sys::fs::random_name()).parse().unwrap();
    let upload = Upload::new(file.path(), content.len() as u64, Digest::of(&content));
    let stored = store.put_file(&key, &upload).await.unwrap();
    assert_eq!(store.head(&key).await.unwrap().etag, stored.etag);
    assert!(store.get(&key, content.len() as u64).await.unwrap().bytes == content);
}

/// The stores make no buckets; moto takes this without a signature.
fn make_bucket(url: &str, bucket: &str) {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "PUT /{bucket} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    // From an earlier run, it may be there already.
    assert!(answer.starts_with("HTTP/1.1 200") || answer.contains("BucketAlready"), "{answer}");
}

#[tokio::test]
async fn the_small_s3_client_conforms_with_moto() {
    conforms_with_moto(small_client, "small-client").await;
}

#[tokio::test]
async fn the_aws_sdk_conforms_with_moto() {
    conforms_with_moto(aws_sdk, "aws-sdk").await;
}

#[tokio::test]
async fn the_web_store_reads() {
    let content = Bytes::from((0..100_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>());
    let served = content.clone();
    let url = web::serve(move |asked| match asked.path.as_str() {
        "/store/a/artifact" => web::file(asked, &served, "\"v1\""),
        "/store/a/moved" => (302, vec![("location", "/store/a/artifact".to_owned())], Vec::new()),
        "/store/a/forbidden" => (403, Vec::new(), Vec::new()),
        _ => (404, Vec::new(), Vec::new()),
    });
    let location: Location = format!("{url}/store/").parse().unwrap();
    let store = pannier_shared::store::open(&location, &|_| None).await.unwrap();
    for key in ["a/artifact", "a/moved"] {
        conformance::reading(&*store, &key.parse().unwrap(), &content).await;
    }
    let other = Some(&pannier_shared::store::Etag("\"v0\"".to_owned()));
    let pinned = store.get_range(&"a/artifact".parse().unwrap(), 0..9, other).await;
    assert!(matches!(pinned, Err(Error::Changed { .. })), "{pinned:?}");
    let missing: Key = "a/none".parse().unwrap();
    assert!(matches!(store.head(&missing).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.get(&missing, 9).await, Err(Error::NotFound { .. })));
    let forbidden = store.get(&"a/forbidden".parse().unwrap(), 9).await.unwrap_err();
    assert!(matches!(forbidden, Error::Denied { .. }), "{forbidden}");
}

#[tokio::test]
async fn a_web_server_without_etags_is_pinned_by_date() {
    let url = web::serve(|asked| {
        let (status, _, body) = web::file(asked, b"0123456789", "");
        let size = body.len();
        let range = asked.headers.contains_key("range").then(|| ("content-range", format!("bytes 0-{}/10", size - 1)));
        let date =
            if asked.path.ends_with("new") { "Sat, 21 Nov 2026 00:00:00 GMT" } else { "Fri, 20 Nov 2026 00:00:00 GMT" };
        (status, range.into_iter().chain([("last-modified", date.to_owned())]).collect(), body)
    });
    let store = WebStore::new(url.parse().unwrap(), Patience::default()).unwrap();
    let key: Key = "old".parse().unwrap();
    let etag = store.head(&key).await.unwrap().etag;
    assert_eq!(store.get_range(&key, 0..3, Some(&etag)).await.unwrap(), "012");
    let changed = store.get_range(&"new".parse().unwrap(), 0..3, Some(&etag)).await;
    assert!(matches!(changed, Err(Error::Changed { .. })), "{changed:?}");
}

#[tokio::test]
async fn a_web_server_that_cannot_give_ranges_is_named_as_such() {
    let url = web::serve(|_| (200, vec![("etag", "\"x\"".to_owned())], b"0123456789".to_vec()));
    let store = WebStore::new(url.parse().unwrap(), Patience::default()).unwrap();
    let error = store.get_range(&"a".parse().unwrap(), 2..4, None).await.unwrap_err();
    assert!(error.to_string().ends_with("it gave the whole object: it cannot give ranges"), "{error}");
}

#[tokio::test]
async fn the_web_store_is_for_reading() {
    let store = WebStore::new("http://127.0.0.1:1/".parse().unwrap(), Patience::default()).unwrap();
    let put = store.put(&"a".parse().unwrap(), Bytes::new(), Condition::Absent).await.unwrap_err();
    assert_eq!(put.to_string(), "the store http://127.0.0.1:1/ cannot be written to");
    let list = store.list("").await.unwrap_err();
    assert_eq!(list.to_string(), "the store http://127.0.0.1:1/ cannot be listed");
}

#[tokio::test]
async fn a_look_at_what_is_known_costs_no_body() {
    let server = Server::start(Options::default()).unwrap();
    for store in [small_client(server.url(), "s3://pannier/a").await, aws_sdk(server.url(), "s3://pannier/b").await] {
        let key: Key = "fleets/shop/rollout.json".parse().unwrap();
        let etag = store.put(&key, Bytes::from("an order"), Condition::Absent).await.unwrap();
        let asked = server.requests().len();
        let looked = store.glance(&key, 100, Some(&etag)).await.unwrap();
        assert_eq!(looked.object, None);
        let log: Vec<(u16, u64)> = server.requests()[asked..].iter().map(|one| (one.status, one.length)).collect();
        assert_eq!(log, [(304, 0)], "one request, without a body");
    }
}
