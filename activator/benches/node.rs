//! The inner parts of an update on the node: the plan of 30,000 entries against a release that is here, and their reuse.
//!
//! `cargo bench -p pannier-activator --bench node`. The release is a real one, packed, signed, and fetched by the library
//! from a directory store; it lies below the target folder, on whatever file system that is.
#![allow(missing_docs, reason = "criterion's macros make functions")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a bench plays the builder and takes times")]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pannier_activator::config::App;
use pannier_activator::fetch::{Origin, fetch};
use pannier_activator::ledger::Ledger;
use pannier_activator::node::Node;
use pannier_activator::plan::{Kept, Plan};
use pannier_activator::steps::reuse::{Method, reuse};
use pannier_shared::event::Silent;
use pannier_shared::id::Target;
use pannier_shared::keys;
use pannier_shared::signature::{SigningKey, Trust, Verified, sign, verify};
use pannier_shared::statement::*;
use pannier_shared::store::dir::DirStore;
use pannier_shared::sys::clock;
use pannier_shared::sys::dir::Dir;
use tokio::runtime::{Builder, Runtime};

#[path = "../../shared/benches/release/mod.rs"]
mod release;

/// A store with two releases, and a node that has the first.
struct World {
    folder: tempfile::TempDir,
    store: DirStore,
    key: SigningKey,
    trust: Trust,
    runtime: Runtime,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let key = SigningKey::generate("ci").unwrap();
        let trust = Trust::parse(&format!("ci namespaces=\"release@pannier\" {}", key.public()), "trust").unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { store: DirStore::new(&folder.path().join("store")), folder, key, trust, runtime }
    }

    fn origin(&self) -> Origin<'_> {
        Origin { store: &self.store, trust: &self.trust, runtime: &self.runtime }
    }

    /// Publishes a version whose app is its own.
    fn publish(&self, version: u64) -> Verified<Statement> {
        let source = self.folder.path().join("source");
        let (artifact, bytes) = release::packed(&source, version);
        let release = described(&format!("v{version}"));
        let statement =
            Statement { kind: ReleaseType::Release, format: FORMAT, release, artifact, documents: Default::default() };
        let (app, target) = (&statement.release.app, &statement.release.target);
        let signed = sign(&statement, &self.key).unwrap();
        let put = |key: &str, bytes: &[u8]| {
            let path = self.folder.path().join("store").join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put(keys::artifact(app, &statement.release.version, target).as_str(), &bytes);
        put(keys::statement(app, &statement.release.version, target).as_str(), &signed);
        std::fs::remove_dir_all(&source).unwrap();
        verify(&signed, &self.trust, clock::now()).unwrap()
    }

    fn node(&self) -> Node {
        let root = self.folder.path().join("polls");
        let config = App { root, ..App::default() };
        Node::open(&"polls".parse().unwrap(), &config, "bench", &Silent).unwrap()
    }
}

fn node(criterion: &mut Criterion) {
    let world = World::new();
    world.publish(1);
    let statement = world.publish(2);
    let mut node = world.node();
    fetch(&mut node, &"v1".parse().unwrap(), world.origin(), &Silent).unwrap();
    let method = Method::of(&Dir::open(&node.root.staging()).unwrap());
    let plan = || {
        let kept = Kept::all(&node.root, &node.state, &world.trust, &Silent);
        Plan::make(&world.origin(), &statement, kept, method, &Silent).unwrap()
    };

    let mut group = criterion.benchmark_group("update");
    group.sample_size(10).throughput(Throughput::Elements(release::ENTRIES));
    group.bench_function("plan", |bencher| bencher.iter(plan));
    let plan = plan();
    let staging = node.root.staging().join("bench");
    let known = Ledger::load(&node.root.ledger(), clock::now());
    assert!(!known.is_empty(), "the fetch has left no ledger");
    for (name, ledger) in [("reuse, hashed again", &Ledger::default()), ("reuse, nothing touched", &known)] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| reused(&plan, ledger, &staging)).sum())
        });
    }
    group.finish();
}

/// How long it takes to share all that is here into an empty folder.
fn reused(plan: &Plan, ledger: &Ledger, staging: &Path) -> Duration {
    std::fs::create_dir(staging).unwrap();
    let folder = Dir::open(staging).unwrap();
    let began = Instant::now();
    let reused = reuse(plan, ledger, &folder, &Silent).unwrap();
    let took = began.elapsed();
    assert!(reused.files > release::ENTRIES * 9 / 10, "{} files", reused.files);
    std::fs::remove_dir_all(staging).unwrap();
    took
}

fn described(version: &str) -> Description {
    Description {
        app: "polls".parse().unwrap(),
        version: version.parse().unwrap(),
        target: Target::host(),
        source: None,
        interpreter: Interpreter {
            origin: InterpreterOrigin::Bundled,
            implementation: "cpython".to_owned(),
            python: "3.11".to_owned(),
            version: "3.11.7".to_owned(),
            abi: "cpython-311-x86_64-linux-gnu".to_owned(),
            cache_tag: "cpython-311".to_owned(),
            link: "venv/bin/python".to_owned(),
        },
        built_on: None,
        libc_floor: None,
        libc_floor_of: None,
        dependencies: Vec::new(),
        django: Django {
            settings: "polls.settings".to_owned(),
            folder: ".".to_owned(),
            wsgi: None,
            asgi: None,
            static_url: "/static/".to_owned(),
            static_hashed: true,
            static_manifest: "staticfiles.json".into(),
        },
        running: Default::default(),
        migrations: Default::default(),
        built_by: "bench".to_owned(),
    }
}

criterion_group!(benches, node);
criterion_main!(benches);
