//! Every fault of a bad line, in every part of an artifact, through the whole program and both kinds of remote store:
//! a fetch ends with the right tree or with a clear error, soon, and a fault costs at most one frame more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pannier_s3_server::{Options, Server};
use pannier_shared::archive::read::{Contents, Outline, tail_range};
use pannier_shared::digest::Digest;
use pannier_shared::store;
use pannier_tests::proxy::{Fault, Proxy, Seen};
use pannier_tests::{World, listing, noise, runtime, said, web};

/// How long the store may keep the program waiting in these tests, so that a fault which is never over ends soon.
const NETWORK: &str =
    "[network]\nconnect = \"1s\"\nanswer = \"900ms\"\nstall = \"1500ms\"\nslow = \"900ms\"\nretry = \"15s\"\n";
/// All that a fetch may take, whatever is wrong: no attempt begins after 15 s, and none of them takes 2 s.
const DEADLINE: Duration = Duration::from_secs(40);

/// A node in front of a remote store that holds v1, with a bad line between them.
struct Scene {
    world: World,
    proxy: Proxy,
    store: &'static str,
    contents: Contents,
    artifact: PathBuf,
    _server: Option<Server>,
}

/// The kinds of store there are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    S3,
    Web,
}

/// Enough that the frames come in several ranges.
fn large(tree: &Path) {
    for at in 0..8 {
        std::fs::write(tree.join(format!("app/{at}.bin")), noise(800_000, 100 + at)).unwrap();
    }
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let world = World::new();
        let built = world.build_with("v1", large);
        let (upstream, server) = match kind {
            Kind::S3 => {
                let server = Server::start(Options { dir: Some(world.path("s3")), ..Options::default() }).unwrap();
                let value = |name: &str| s3(&server.url()).into_iter().find(|(n, _)| *n == name).map(|(_, v)| v);
                let location = "s3://pannier/releases".parse().unwrap();
                let store = runtime().block_on(store::open(&location, &value)).unwrap();
                world.publish_to(store, &built).unwrap();
                (server.url(), Some(server))
            }
            Kind::Web => {
                world.publish(&built).unwrap();
                let folder = world.path("store");
                let serve = move |asked: &web::Asked| match std::fs::read(folder.join(&asked.path[1..])) {
                    Ok(content) => web::file(asked, &content, &format!("\"{}\"", Digest::of(&content))),
                    Err(_) => (404, Vec::new(), Vec::new()),
                };
                (web::serve(serve), None)
            }
        };
        let (proxy, contents) = (Proxy::start(&upstream), contents(&world, &built));
        let store = if kind == Kind::S3 { "s3://pannier/releases" } else { "" };
        let artifact = built.join("artifact.tar.zst");
        Self { world, proxy, store, contents, artifact, _server: server }
    }

    /// Fetches v1 into a node of this name; ends in time.
    fn fetch(&self, node: &str) -> Output {
        self.fetch_with(node, NETWORK)
    }

    fn fetch_with(&self, node: &str, network: &str) -> Output {
        let store = if self.store.is_empty() { self.proxy.url() } else { self.store.to_owned() };
        self.world.configure_store(&store, network);
        let file = self.world.path("activator.toml");
        let root = self.world.path(node);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(self.world.root().to_str().unwrap(), root.to_str().unwrap())).unwrap();
        let mut command = self.world.activator(&["--quiet", "fetch", "polls", "v1"]);
        let begun = Instant::now();
        let output = command.envs(s3(&self.proxy.url())).output().unwrap();
        assert!(begun.elapsed() < DEADLINE, "it took {:?}: {}", begun.elapsed(), said(&output));
        output
    }

    fn tree(&self, node: &str) -> PathBuf {
        self.world.path(node).join("releases/v1")
    }

    /// A byte in the middle of each part of the artifact, and where the part lies.
    fn parts(&self) -> Vec<(&'static str, Range<u64>)> {
        let end = std::fs::metadata(&self.artifact).unwrap().len();
        let tables = self.contents.outline().tables_range();
        vec![
            ("tail", tables.end..end),
            ("tables", self.contents.outline().table_range(0)),
            (
                "frames",
                self.contents
                    .frames()
                    .iter()
                    .max_by_key(|frame| frame.range.end - frame.range.start)
                    .unwrap()
                    .range
                    .clone(),
            ),
        ]
    }
}

/// What the small client needs to know of an S3 server.
fn s3(url: &str) -> Vec<(&'static str, String)> {
    let known = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest"), ("AWS_REGION", "us-east-1")];
    let known = known.map(|(name, value)| (name, value.to_owned()));
    known.into_iter().chain([("AWS_ENDPOINT_URL", url.to_owned())]).collect()
}

fn contents(world: &World, built: &Path) -> Contents {
    let artifact = &world.statement(built).artifact;
    let bytes = std::fs::read(built.join("artifact.tar.zst")).unwrap();
    let part = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
    let outline = Outline::open(artifact, part(tail_range(artifact).unwrap())).unwrap();
    let tables = outline.tables(part(outline.tables_range())).unwrap();
    outline.contents(tables).unwrap()
}

/// Puts the fault under the first answers that have this byte.
fn first(times: usize, byte: u64, fault: Fault) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    let left = AtomicUsize::new(times);
    move |seen| {
        let hit = seen.asks_for(byte)
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if hit { fault.clone() } else { Fault::None }
    }
}

fn faults(at: u64) -> Vec<Fault> {
    vec![
        Fault::None,
        Fault::Latency(Duration::from_millis(300)),
        Fault::Reset(3),
        Fault::Reset(0),
        Fault::Cut(5),
        Fault::Cut(0),
        Fault::Stall(7),
        Fault::Stall(0),
        Fault::Trickle(2),
        Fault::Busy(1),
        Fault::Short,
        Fault::Flip(at),
        Fault::Whole,
        Fault::OtherRange,
        Fault::Long,
    ]
}

/// True for answers that a server gives on purpose: asking it again would only be hoping.
fn is_wrong(fault: &Fault) -> bool {
    matches!(fault, Fault::Whole | Fault::OtherRange | Fault::Long)
}

fn middle(range: &Range<u64>) -> u64 {
    range.start + (range.end - range.start) / 2
}

/// A fault that passes, under each part in turn.
fn a_passing_fault(kind: Kind) {
    let scene = Scene::new(kind);
    let output = scene.fetch("clean");
    assert!(output.status.success(), "{}", said(&output));
    let (clean, sent) = (listing(&scene.tree("clean")), scene.proxy.sent());
    for (name, range) in scene.parts() {
        for (number, fault) in faults(middle(&range)).into_iter().enumerate() {
            let (at, node) = (format!("{kind:?} {name} {fault:?}"), format!("{name}-{number}"));
            scene.proxy.inject(first(1, middle(&range), fault.clone()));
            let output = scene.fetch(&node);
            let done = scene.proxy.artifact().iter().filter(|told| told.fault == fault).count();
            assert!(done == 1 || fault == Fault::None, "{at}: done {done} times");
            if is_wrong(&fault) {
                assert_eq!(output.status.code(), Some(7), "{at}: {}", said(&output));
                assert!(!scene.tree(&node).exists(), "{at}");
                continue;
            }
            assert!(output.status.success(), "{at}: {}", said(&output));
            assert_eq!(listing(&scene.tree(&node)), clean, "{at}");
            let more = scene.proxy.sent().checked_sub(sent).unwrap();
            let most = if matches!(fault, Fault::Flip(_)) { range.end - range.start } else { 0 };
            assert!(more <= most, "{at}: {more} bytes more than without a fault, at most {most} are meant");
        }
    }
}

#[test]
fn a_fault_that_passes_costs_a_web_server_at_most_one_frame() {
    a_passing_fault(Kind::Web);
}

#[test]
fn a_fault_that_passes_costs_s3_at_most_one_frame() {
    a_passing_fault(Kind::S3);
}

/// The cause that a web server's node names for faults that stay, under the first range, without what differs from run to
/// run.
fn lasting(faults: &[Fault]) -> String {
    let scene = Scene::new(Kind::Web);
    assert!(scene.fetch("clean").status.success());
    let first = scene.proxy.ranges().into_iter().find(|range| range.start == 0).unwrap().end;
    let mut told = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        let (spoilt, node) = (fault.clone(), format!("node-{number}"));
        let is_hit = move |seen: &Seen| seen.range.as_ref().is_some_and(|range| range.start < first);
        scene.proxy.inject(move |seen| if is_hit(seen) { spoilt.clone() } else { Fault::None });
        let output = scene.fetch(&node);
        assert!(!scene.tree(&node).exists(), "{fault:?}: {}", said(&output));
        let text = String::from_utf8_lossy(&output.stderr).replace(&scene.proxy.url()[7..], "HOST");
        let cause = text.lines().rfind(|line| line.starts_with("  caused by")).unwrap();
        told.push(format!("{fault:?}: exit {}:{}", output.status.code().unwrap(), &cause["  caused by:".len()..]));
    }
    told.join("\n")
}

#[test]
fn a_server_that_does_not_keep_to_the_protocol_is_not_asked_twice() {
    insta::assert_snapshot!(lasting(&[Fault::Whole, Fault::OtherRange, Fault::Long]), @"
    Whole: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and it gave the whole object: it cannot give ranges
    OtherRange: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and it gave 1-4852402
    Long: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and its body has more
    ");
}

#[test]
fn a_line_that_stays_bad_is_given_up_and_said_to_be() {
    insta::assert_snapshot!(lasting(&[
        Fault::Reset(3),
        Fault::Cut(3),
        Fault::Stall(3),
        Fault::Trickle(3),
        Fault::Short,
        Fault::Latency(Duration::from_secs(4)),
    ]), @"
    Reset(3): exit 7: the store http://HOST/ is unavailable: `HOST` broke the connection: error reading a body from connection: Connection reset by peer (os error 104) (5 attempts)
    Cut(3): exit 7: the store http://HOST/ is unavailable: `HOST` broke the connection: error reading a body from connection: end of file before message length reached (5 attempts)
    Stall(3): exit 7: the store http://HOST/ is unavailable: `HOST` stopped sending for 1.5 s (5 attempts)
    Trickle(3): exit 7: the store http://HOST/ is unavailable: `HOST` sent less than 8 KiB per second for 0.9 s (5 attempts)
    Short: exit 7: the store http://HOST/ is unavailable: `HOST` sent 0 of 1 bytes (5 attempts)
    Latency(4s): exit 7: the store http://HOST/ is unavailable: `HOST` gave no answer within 0.9 s (5 attempts)
    ");
}

#[test]
fn a_busy_store_is_asked_again_when_it_wants_to_be() {
    insta::assert_snapshot!(lasting(&[Fault::Busy(1), Fault::Busy(3600)]), @"
    Busy(1): exit 7: the store http://HOST/ is unavailable: status 503 (5 attempts)
    Busy(3600): exit 7: the store http://HOST/ is unavailable: status 503, to be asked again in 3600 s
    ");
}

#[test]
fn damage_that_stays_is_named_by_its_part() {
    let scene = Scene::new(Kind::Web);
    for (_, range) in scene.parts() {
        let byte = middle(&range);
        scene.proxy.inject(first(usize::MAX, byte, Fault::Flip(byte)));
        let output = scene.fetch("node");
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        let (first, again) = (scene.proxy.ranges(), scene.proxy.artifact());
        let again = again.iter().filter(|told| told.seen.asks_for(byte)).skip(1).collect::<Vec<_>>();
        assert_eq!(again.len(), 1, "{first:?}");
        assert_eq!(again[0].seen.headers.get("cache-control").map(String::as_str), Some("no-cache"));
        assert!(again[0].sent <= range.end - range.start);
    }
}

#[test]
fn a_line_that_spoils_everything_is_not_given_a_second_try_for_each_frame() {
    let scene = Scene::new(Kind::Web);
    let frames = scene.contents.frames().to_vec();
    let artifact = scene.contents.outline().tables_range().start;
    scene.proxy.inject(move |seen| match seen.range.as_ref().filter(|range| range.start < artifact) {
        Some(range) => Fault::Flip(middle(range)),
        None => Fault::None,
    });
    let output = scene.fetch("node");
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(scene.proxy.artifact().len() < 2 * frames.len() + 8);
}

#[test]
fn a_first_byte_that_does_not_come_is_asked_for_again_meanwhile() {
    let scene = Scene::new(Kind::Web);
    let byte = middle(&scene.parts()[2].1);
    // Longer than the program waits for an answer, and only the first time.
    scene.proxy.inject(first(1, byte, Fault::Latency(Duration::from_secs(30))));
    let network = NETWORK.replace("answer = \"900ms\"", "answer = \"20s\"");
    let begun = Instant::now();
    let output = scene.fetch_with("node", &network);
    assert!(output.status.success() && begun.elapsed() < Duration::from_secs(15), "{}", said(&output));
}
