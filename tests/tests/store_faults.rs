//! What both S3 clients make of a store that refuses, stumbles or lies: the right kind of error, in words that
//! help, with no secret in them; and where trying again is right, success.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may do as it likes")]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use pannier_builder::store_aws::AwsStore;
use pannier_s3_server::{Faults, Options, Server};
use pannier_shared::digest::Digest;
use pannier_shared::store::conformance;
use pannier_shared::store::credentials::{Credentials, Source};
use pannier_shared::store::location::Location;
use pannier_shared::store::s3::{S3Options, S3Store};
use pannier_shared::store::upload::Upload;
use pannier_shared::store::wire::Patience;
use pannier_shared::store::{Condition, Error, Etag, Key, Result, Store};
use pannier_tests::web;

fn server() -> Server {
    Server::start(Options::default()).unwrap()
}

fn keys(access_key: &str, secret_key: &str) -> Source {
    Source::Known(Credentials {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        session_token: None,
        expires: None,
    })
}

/// Quick pauses, so that failing takes no time.
fn options(url: &str) -> S3Options {
    let Ok(Location::S3(bucket)) = "s3://pannier".parse() else { unreachable!() };
    S3Options {
        bucket,
        region: "us-east-1".to_owned(),
        endpoint: Some(url.parse().unwrap()),
        credentials: keys("test", "testtest"),
        patience: Patience {
            pause: Duration::from_millis(2),
            stall: Duration::from_millis(300),
            ..Patience::default()
        },
    }
}

/// The two clients of one store.
#[derive(Debug, Clone, Copy)]
enum Client {
    Small,
    Sdk,
}

const CLIENTS: [Client; 2] = [Client::Small, Client::Sdk];

impl Client {
    async fn open(self, options: S3Options) -> Box<dyn Store> {
        match self {
            Self::Small => Box::new(S3Store::new(options).unwrap()),
            Self::Sdk => Box::new(AwsStore::new(options).await),
        }
    }

    async fn of(self, server: &Server) -> Box<dyn Store> {
        self.open(options(&server.url())).await
    }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn put(store: &dyn Store, name: &str, content: &str) -> Result<Etag> {
    store.put(&key(name), Bytes::from(content.to_owned()), Condition::Absent).await
}

/// Every verb's error.
async fn every_error(store: &dyn Store) -> Vec<Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "content").unwrap();
    vec![
        store.get(&key("a"), 10).await.unwrap_err(),
        store.head(&key("a")).await.unwrap_err(),
        store.get_range(&key("a"), 0..1, None).await.unwrap_err(),
        store.put(&key("a"), Bytes::new(), Condition::Absent).await.unwrap_err(),
        store.put_file(&key("a"), &Upload::new(&file, 7, Digest::of(b"content"))).await.unwrap_err(),
        store.list("").await.unwrap_err(),
    ]
}

async fn all_are_denied(store: &dyn Store, said: &str) {
    for error in every_error(store).await {
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        holds_no_secret(&error);
    }
}

fn holds_no_secret(error: &Error) {
    let text = format!("{error} {error:?}");
    for secret in ["X-Amz", "Signature=", "testtest", "hunter2"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn wrong_keys_are_denied_in_the_words_of_s3() {
    for client in CLIENTS {
        let server = server();
        let with = |credentials| client.open(S3Options { credentials, ..options(&server.url()) });
        all_are_denied(&*with(keys("test", "hunter2")).await, "SignatureDoesNotMatch").await;
        all_are_denied(&*with(keys("other", "hunter2")).await, "InvalidAccessKeyId").await;
    }
}

#[tokio::test]
async fn without_keys_it_is_said_where_they_were_looked_for() {
    let server = server();
    let env = |name: &str| (name == "AWS_EC2_METADATA_DISABLED").then(|| "true".to_owned());
    let credentials = Source::from_env(&env);
    let store = Client::Small.open(S3Options { credentials, ..options(&server.url()) }).await;
    all_are_denied(&*store, "no credentials in the environment (`AWS_ACCESS_KEY_ID`)").await;
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_key() {
    for client in CLIENTS {
        let server = Server::start(Options { buckets: vec!["another".to_owned()], ..Options::default() }).unwrap();
        for error in every_error(&*client.of(&server).await).await {
            assert_eq!(error.to_string(), "the store s3://pannier is unavailable: there is no bucket `pannier`");
        }
    }
}

#[tokio::test]
async fn who_cannot_be_reached_is_named_with_the_cause() {
    for client in CLIENTS {
        for error in every_error(&*client.open(options("http://127.0.0.1:1")).await).await {
            let text = error.to_string();
            let expected = "the store s3://pannier is unavailable: `127.0.0.1:1` cannot be reached: \
                tcp connect error: Connection refused (os error 111) (5 attempts)";
            assert_eq!(text, expected, "{client:?}");
        }
    }
}

/// Of a thousand requests, some are unlucky more than five times.
async fn stubborn(client: Client, server: &Server) -> Box<dyn Store> {
    let patience = Patience { attempts: 20, ..options(&server.url()).patience };
    client.open(S3Options { patience, ..options(&server.url()) }).await
}

#[tokio::test]
async fn slowing_down_is_waited_out() {
    for client in CLIENTS {
        let server = server();
        server.set_faults(Faults { slowdown_every: Some(3), ..Faults::default() });
        conformance::all(&*stubborn(client, &server).await).await;
    }
}

#[tokio::test]
async fn a_store_that_only_says_slow_down_is_unavailable() {
    for client in CLIENTS {
        let server = server();
        server.set_faults(Faults { slowdown_every: Some(1), ..Faults::default() });
        for error in every_error(&*client.of(&server).await).await {
            let text = error.to_string();
            assert!(text.starts_with("the store s3://pannier is unavailable: 503"), "{client:?}: {text}");
            assert!(text.ends_with("(5 attempts)"), "{client:?}: {text}");
        }
    }
}

#[tokio::test]
async fn bodies_that_break_off_are_asked_for_again() {
    for client in CLIENTS {
        let server = server();
        server.set_faults(Faults { cut_every: Some(3), ..Faults::default() });
        conformance::all(&*stubborn(client, &server).await).await;
    }
}

#[tokio::test]
async fn bodies_that_stall_are_asked_for_again() {
    for client in CLIENTS {
        let server = server();
        let store = client.of(&server).await;
        put(&*store, "a", &"x".repeat(1000)).await.unwrap();
        server.set_faults(Faults { stall_every: Some(2), ..Faults::default() });
        for _ in 0..3 {
            assert_eq!(store.get_range(&key("a"), 0..1000, None).await.unwrap().len(), 1000);
        }
        server.set_faults(Faults { stall_every: Some(1), ..Faults::default() });
        let error = store.get(&key("a"), 1000).await.unwrap_err().to_string();
        assert!(error.contains("stopped sending for 0.3 s (5 attempts)"), "{client:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    for client in CLIENTS {
        let server = server();
        server.set_faults(Faults { latency: Duration::from_secs(60), ..Faults::default() });
        let wait = Duration::from_millis(50);
        let patience =
            Patience { first_byte: wait, after_upload: wait, attempts: 2, ..options(&server.url()).patience };
        let store = client.open(S3Options { patience, ..options(&server.url()) }).await;
        for error in every_error(&*store).await {
            assert!(matches!(error, Error::Unavailable { .. }), "{client:?}: {error}");
            let text = error.to_string();
            assert!(text.contains("gave no answer") && text.ends_with("(2 attempts)"), "{client:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_server_that_takes_a_file_and_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, "content").unwrap();
    let url = web::serve(|asked| match asked.method.as_str() {
        "PUT" => loop {
            std::thread::park();
        },
        _ => (404, Vec::new(), Vec::new()),
    });
    for client in CLIENTS {
        let after_upload = Duration::from_millis(50);
        let patience = Patience { after_upload, attempts: 2, ..options(&url).patience };
        let store = client.open(S3Options { patience, ..options(&url) }).await;
        let error =
            store.put_file(&key("a"), &Upload::new(&file, 7, Digest::of(b"content"))).await.unwrap_err().to_string();
        assert!(error.ends_with("gave no answer within 0.05 s (2 attempts)"), "{client:?}: {error}");
    }
}

#[tokio::test]
async fn what_was_not_asked_for_is_not_data() {
    for client in CLIENTS {
        let server = server();
        let store = client.of(&server).await;
        let etag = put(&*store, "a", "0123456789").await.unwrap();
        let whole = Faults { whole_body_for_range: true, ..Faults::default() };
        let other = Faults { wrong_content_range: true, ..Faults::default() };
        for (faults, said) in [
            (whole, "it gave the whole object: it cannot give ranges"),
            (other, "asked for bytes 2-3, and it gave 3-4"),
        ] {
            server.set_faults(faults);
            for pin in [None, Some(&etag)] {
                let error = store.get_range(&key("a"), 2..4, pin).await.unwrap_err();
                assert!(matches!(error, Error::WrongAnswer { .. }), "{client:?}: {error}");
                assert!(error.to_string().ends_with(said), "{client:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn a_conflict_is_tried_again_and_never_read_as_a_loss() {
    for client in CLIENTS {
        let server = server();
        let store = client.of(&server).await;
        server.set_faults(Faults { conflicts: 2, ..Faults::default() });
        let etag = put(&*store, "a", "first").await.unwrap();
        server.set_faults(Faults { conflicts: 2, ..Faults::default() });
        store.put(&key("a"), Bytes::from("second"), Condition::Unchanged(etag)).await.unwrap();
        server.set_faults(Faults { conflicts: 1000, ..Faults::default() });
        let error = put(&*store, "b", "x").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{client:?}: {error}");
        assert!(error.to_string().contains("409 ConditionalRequestConflict"), "{client:?}: {error}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_knows_its_own_work() {
    for client in CLIENTS {
        let server = server();
        let store = client.of(&server).await;
        let lose_one = || server.set_faults(Faults { lost_answers: 1, ..Faults::default() });
        lose_one();
        let etag = put(&*store, "a", "first").await.unwrap();
        lose_one();
        let swapped = store.put(&key("a"), Bytes::from("second"), Condition::Unchanged(etag)).await.unwrap();
        assert_eq!(store.head(&key("a")).await.unwrap().etag, swapped);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "content").unwrap();
        lose_one();
        store.put_file(&key("b"), &Upload::new(&file, 7, Digest::of(b"content"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_write_that_lost_does_not_claim_the_work_of_another_even_if_it_is_alike() {
    for client in CLIENTS {
        let server = server();
        let store = client.of(&server).await;
        put(&*store, "a", "alike").await.unwrap();
        server.set_faults(Faults { slowdown_every: Some(2), ..Faults::default() });
        store.head(&key("a")).await.unwrap();
        let error = put(&*store, "a", "alike").await.unwrap_err();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{client:?}: {error}");
    }
}

/// A metadata service that gives these keys one after the other, good for so many seconds.
fn metadata(given: &[(&'static str, &'static str, i64)]) -> String {
    let given = Mutex::new(given.iter().copied().collect::<VecDeque<_>>());
    web::serve(move |asked| {
        let has_token = asked.headers.get("x-aws-ec2-metadata-token").is_some_and(|token| token == "t0ken");
        let roles = "/latest/meta-data/iam/security-credentials/";
        match (asked.method.as_str(), asked.path.as_str()) {
            ("PUT", "/latest/api/token") => (200, Vec::new(), b"t0ken".to_vec()),
            ("GET", path) if path == roles && has_token => (200, Vec::new(), b"web-node\n".to_vec()),
            ("GET", path) if path == format!("{roles}web-node") && has_token => {
                let (access, secret, seconds) = given.lock().unwrap().pop_front().unwrap();
                let expires = pannier_shared::sys::clock::now() + Duration::from_secs(seconds as u64);
                let text = format!(
                    r#"{{"Code":"Success","AccessKeyId":"{access}","SecretAccessKey":"{secret}","Token":"session","Expiration":"{expires}"}}"#
                );
                (200, Vec::new(), text.into_bytes())
            }
            _ => (401, Vec::new(), Vec::new()),
        }
    })
}

#[tokio::test]
async fn an_instance_asks_as_its_role_and_renews_its_keys_in_time() {
    let session_token = Some("session".to_owned());
    let server = Server::start(Options { session_token, ..Options::default() }).unwrap();
    let url = metadata(&[("test", "testtest", 60), ("test", "testtest", 3600)]);
    let credentials = Source::Instance(url.parse().unwrap());
    let store = Client::Small.open(S3Options { credentials, ..options(&server.url()) }).await;
    put(&*store, "a", "x").await.unwrap();
    // The first keys are too short-lived to be kept; the second are, or the service would run out.
    for _ in 0..3 {
        store.get(&key("a"), 10).await.unwrap();
    }
}

#[tokio::test]
async fn a_metadata_service_that_does_not_answer_is_named() {
    let server = server();
    let credentials = Source::Instance("http://127.0.0.1:1".parse().unwrap());
    let store = Client::Small.open(S3Options { credentials, ..options(&server.url()) }).await;
    let error = store.head(&key("a")).await.unwrap_err().to_string();
    assert!(
        error.contains("the instance's metadata service does not answer: `127.0.0.1:1` cannot be reached"),
        "{error}"
    );
}
