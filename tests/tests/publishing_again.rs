//! A release whose predecessor is in the bucket: what both have is copied there, and only the rest is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may do as it likes")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pannier_builder::moving::DAYS;
use pannier_builder::promote::{Order, promote};
use pannier_builder::publish::{self, Outcome, Publication};
use pannier_s3_server::{Options, Server};
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Target;
use pannier_shared::keys;
use pannier_shared::published::Published;
use pannier_shared::store::{Key, Store};
use pannier_shared::sys::clock;
use pannier_tests::{APP, World, noise, runtime};

const MIB: usize = 1024 * 1024;

/// Keeps what the steps say when they are done.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Sink for Said {
    fn emit(&self, event: Event) {
        if let Event::Finished { step, said, .. } = event {
            self.0.lock().unwrap().push(format!("{step}: {said}"));
        }
    }
}

struct Place {
    world: World,
    server: Server,
}

impl Place {
    fn new() -> Self {
        Self { world: World::new(), server: Server::start(Options::default()).unwrap() }
    }

    fn store(&self, runtime: &tokio::runtime::Runtime) -> Box<dyn Store> {
        let url = self.server.url();
        let env = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some(url.clone()),
            "AWS_ACCESS_KEY_ID" => Some("test".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("testtest".to_owned()),
            _ => None,
        };
        let location = "s3://pannier/here".parse().unwrap();
        runtime.block_on(pannier_builder::store::open_store(&location, &env)).unwrap()
    }

    /// A release with 20 MiB that stay, 1 MiB of them in the middle of them by `middle`.
    fn build(&self, version: &str, middle: u64) -> PathBuf {
        self.world.build_with(version, |tree| {
            for (name, length, seed) in [("a", 10 * MIB, 1), ("b", MIB, middle), ("c", 9 * MIB, 3)] {
                std::fs::write(tree.join("venv/lib").join(name), noise(length, seed)).unwrap();
            }
        })
    }

    /// Publishes; gives how many bytes of bodies were sent, and what the upload said.
    fn publish(&self, folder: &Path) -> (u64, String) {
        self.server.clear_requests();
        let runtime = runtime();
        let store = self.store(&runtime);
        let publication = Publication::open(folder, store, runtime, self.world.trust.clone(), clock::now()).unwrap();
        let said = Said::default();
        let outcome = publish::publish(publication, &said).unwrap().outcome;
        assert_eq!(outcome, Outcome::Published);
        let said = said.0.into_inner().unwrap();
        let upload = said.iter().find_map(|line| line.strip_prefix("upload: ")).unwrap().to_owned();
        (self.server.requests().iter().filter(|request| request.method == "PUT").map(|put| put.sent).sum(), upload)
    }

    fn promote(&self, version: &str) {
        let runtime = runtime();
        let store = self.store(&runtime);
        let published = Published { store: &*store, trust: &self.world.trust, now: clock::now() };
        let order = Order {
            app: APP.parse().unwrap(),
            version: version.parse().unwrap(),
            channel: "production".parse().unwrap(),
            reason: String::new(),
            who: "ci".to_owned(),
            days: DAYS,
        };
        runtime.block_on(promote(&published, &self.world.key, &order)).unwrap();
    }

    fn artifact(&self, version: &str) -> Vec<u8> {
        let key: Key = keys::artifact(&APP.parse().unwrap(), &version.parse().unwrap(), &Target::host());
        let runtime = runtime();
        let store = self.store(&runtime);
        runtime.block_on(store.get(&key, 1 << 30)).unwrap().bytes.to_vec()
    }
}

fn built(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join(publish::ARTIFACT_FILE)).unwrap()
}

#[test]
fn only_what_is_new_is_sent() {
    let place = Place::new();
    let (sent, said) = place.publish(&place.build("v1", 1));
    assert!(sent > 23 * MIB as u64, "{sent}");
    assert_eq!(said, "");
    let second = place.build("v2", 1);
    let (sent, said) = place.publish(&second);
    assert!(sent < MIB as u64, "{sent}");
    assert!(said.starts_with("the store copied 24") && said.contains(" of v1, "), "{said}");
    assert!(place.artifact("v2") == built(&second));
}

#[test]
fn a_change_in_the_middle_leaves_two_ranges_to_copy() {
    let place = Place::new();
    place.publish(&place.build("v1", 1));
    let second = place.build("v2", 2);
    let (sent, said) = place.publish(&second);
    assert!(sent < 11 * MIB as u64, "{sent}: {said}");
    assert!(place.artifact("v2") == built(&second));
}

#[test]
fn what_a_channel_names_comes_before_what_is_last_in_the_list() {
    let place = Place::new();
    place.publish(&place.build("v1", 1));
    place.publish(&place.build("v3", 1));
    place.promote("v1");
    let (_, said) = place.publish(&place.build("v4", 1));
    assert!(said.contains(" of v1, "), "{said}");
}

#[test]
fn a_predecessor_that_is_not_to_be_believed_is_no_reason_not_to_publish() {
    let mut place = Place::new();
    place.publish(&place.build("v1", 1));
    place.promote("v1");
    let strangers = World::new();
    place.world = strangers;
    let second = place.build("v2", 1);
    let (sent, _) = place.publish(&second);
    assert!(sent > 23 * MIB as u64, "{sent}");
    assert!(place.artifact("v2") == built(&second));
}
