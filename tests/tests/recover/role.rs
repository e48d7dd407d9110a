//! From a bucket, by the role of the machine: a metadata service that insists on its token, and keys that expire midway.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pannier_s3_server::{Faults, Options, Server};
use pannier_tests::{scene, web};

use crate::{Came, Site};

/// A metadata service, version 2 only. It counts how often it gave keys, and how often it was asked without its token.
struct Metadata {
    url: String,
    given: Arc<AtomicUsize>,
    without: Arc<AtomicUsize>,
}

fn metadata(session: Arc<Mutex<String>>) -> Metadata {
    let (given, without) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (gives, refuses) = (Arc::clone(&given), Arc::clone(&without));
    let url = web::serve(move |asked| {
        let roles = "/latest/meta-data/iam/security-credentials/";
        let lives =
            asked.headers.get("x-aws-ec2-metadata-token-ttl-seconds").is_some_and(|text| text.parse::<u32>().is_ok());
        if asked.method == "PUT" && asked.path == "/latest/api/token" && lives {
            return (200, Vec::new(), b"t0ken".to_vec());
        }
        if asked.headers.get("x-aws-ec2-metadata-token").is_none_or(|token| token != "t0ken") {
            refuses.fetch_add(1, Ordering::Relaxed);
            return (401, Vec::new(), Vec::new());
        }
        if asked.path == roles {
            return (200, Vec::new(), b"web-node".to_vec());
        }
        gives.fetch_add(1, Ordering::Relaxed);
        let expires = pannier_shared::sys::clock::now() + Duration::from_secs(3600);
        let session = session.lock().unwrap();
        let text = format!(
            r#"{{"Code":"Success","AccessKeyId":"test","SecretAccessKey":"testtest","Token":"{session}","Expiration":"{expires}"}}"#
        );
        (200, Vec::new(), text.into_bytes())
    });
    Metadata { url, given, without }
}

#[test]
fn a_bare_node_asks_as_its_role_and_goes_on_when_its_keys_expire() {
    let site = Site::new();
    let session = Arc::new(Mutex::new("session-1".to_owned()));
    let server = Server::start(Options { dir: Some(site.world.path("s3")), ..Options::default() }).unwrap();
    let arguments = ["suite", "mirror", "production", "--to", "s3://pannier/prod"];
    let output = site.world.builder(&arguments).envs(scene::s3(&server.url())).output().unwrap();
    assert!(output.status.success());
    server.renew_session("session-1");
    server.set_faults(Faults { latency: Duration::from_millis(10), ..Faults::default() });
    server.clear_requests();
    let service = metadata(Arc::clone(&session));
    let arguments = ["--json", "recover", "--suite", "production", "--role", "web"];
    let mut command = site.command("s3://pannier/prod", &arguments);
    command.env("AWS_ENDPOINT_URL", server.url()).env("AWS_REGION", "us-east-1").env("HOME", "/nowhere");
    command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &service.url);
    let came = std::thread::scope(|scope| {
        let running = scope.spawn(|| Came::of(command.output().unwrap()));
        while server.requests().len() < 15 && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        *session.lock().unwrap() = "session-2".to_owned();
        server.renew_session("session-2");
        running.join().unwrap()
    });
    assert_eq!((came.code, came.verdicts()), (Some(0), vec!["serves"]), "{}", came.text);
    assert!(server.requests().iter().any(|asked| asked.status == 400), "the first keys expired on the way");
    assert!(service.given.load(Ordering::Relaxed) >= 2);
    assert_eq!(service.without.load(Ordering::Relaxed), 0);
}
