//! A node in front of a remote store with a bad line between them, for the tests of faults and of what survives them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use pannier_s3_server::{Options, Server};
use pannier_shared::archive::read::{Contents, Outline, tail_range};
use pannier_shared::digest::Digest;
use pannier_shared::store;

use crate::proxy::Proxy;
use crate::{World, noise, runtime, said, web};

/// How long the store may keep the program waiting in these tests, so that a fault which is never over ends soon.
pub const NETWORK: &str =
    "[network]\nconnect = \"1s\"\nanswer = \"900ms\"\nstall = \"1500ms\"\nslow = \"900ms\"\nretry = \"15s\"\n";
/// All that a fetch may take, whatever is wrong: no attempt begins after 15 s, and none of them takes 2 s.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// A node in front of a remote store that holds v1, with a bad line between them.
pub struct Scene {
    /// The node's side, and the key.
    pub world: World,
    /// The line.
    pub proxy: Proxy,
    /// What v1 holds.
    pub contents: Contents,
    artifact: PathBuf,
    store: &'static str,
    _server: Option<Server>,
}

/// The kinds of store there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Our S3 server.
    S3,
    /// A plain web server.
    Web,
}

/// Enough that the frames come in several ranges.
pub fn large(tree: &Path) {
    for at in 0..8 {
        std::fs::write(tree.join(format!("app/{at}.bin")), noise(800_000, 100 + at)).unwrap();
    }
}

impl Scene {
    /// With v1 published, the sample tree after `change` had its way with it.
    pub fn new(kind: Kind, change: impl FnOnce(&Path)) -> Self {
        let world = World::new();
        let built = world.build_with("v1", change);
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
    pub fn fetch(&self, node: &str) -> Output {
        self.fetch_with(node, NETWORK)
    }

    /// The same, with other limits of the network.
    pub fn fetch_with(&self, node: &str, network: &str) -> Output {
        let begun = Instant::now();
        let output = self.command(node, network, &["--quiet", "fetch", "polls", "v1"]).output().unwrap();
        assert!(begun.elapsed() < DEADLINE, "it took {:?}: {}", begun.elapsed(), said(&output));
        output
    }

    /// The activator on a node of this name, ready to run.
    pub fn command(&self, node: &str, network: &str, arguments: &[&str]) -> Command {
        let store = if self.store.is_empty() { self.proxy.url() } else { self.store.to_owned() };
        self.world.configure_store(&store, network);
        let file = self.world.path("activator.toml");
        let root = self.world.path(node);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(self.world.root().to_str().unwrap(), root.to_str().unwrap())).unwrap();
        let mut command = self.world.activator(arguments);
        command.envs(s3(&self.proxy.url()));
        command
    }

    /// Where v1 lies on a node.
    pub fn tree(&self, node: &str) -> PathBuf {
        self.world.path(node).join("releases/v1")
    }

    /// A part of each kind of the artifact, and where it lies.
    pub fn parts(&self) -> Vec<(&'static str, Range<u64>)> {
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
pub fn s3(url: &str) -> Vec<(&'static str, String)> {
    let known = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest"), ("AWS_REGION", "us-east-1")];
    let known = known.map(|(name, value)| (name, value.to_owned()));
    known.into_iter().chain([("AWS_ENDPOINT_URL", url.to_owned())]).collect()
}

/// The table of contents of a built release.
fn contents(world: &World, built: &Path) -> Contents {
    let artifact = &world.statement(built).artifact;
    let bytes = std::fs::read(built.join("artifact.tar.zst")).unwrap();
    let part = |range: Range<u64>| &bytes[range.start as usize..range.end as usize];
    let outline = Outline::open(artifact, part(tail_range(artifact).unwrap())).unwrap();
    let tables = outline.tables(part(outline.tables_range())).unwrap();
    outline.contents(tables).unwrap()
}
