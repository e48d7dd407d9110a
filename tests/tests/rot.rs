//! A hundred random damages to a release on a node: each is named, none of it gets into the next release, all is mended.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pannier_activator::config::{App, Config};
use pannier_activator::fetch::{Origin, fetch};
use pannier_activator::node::{Node, View};
use pannier_activator::repair::{Repaired, repair};
use pannier_activator::verify::{Report, verify};
use pannier_shared::event::Silent;
use pannier_tests::{APP, World, executable, listing, noise, runtime};

const ROUNDS: u64 = 10;
const EACH: usize = 10;

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

/// A node with v1, and v2 in the store: files small and large, some of them in both.
struct Node1 {
    world: World,
    config: App,
    runtime: tokio::runtime::Runtime,
    size: u64,
}

fn lay(tree: &Path, version: &str) {
    let folder = tree.join("app/many");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..40 {
        let own = if number % 4 == 0 { version } else { "" };
        let length = [30, 700, 9_000, 300_000][number % 4] + own.len();
        let path = folder.join(format!("{number}.bin"));
        std::fs::write(&path, noise(length, number as u64)).unwrap();
        if number % 5 == 0 {
            executable(&path);
        }
    }
    std::fs::write(tree.join("venv/lib/python3.11/site-packages/big.bin"), noise(1_500_000, 7)).unwrap();
}

impl Node1 {
    fn new() -> Self {
        let world = World::new();
        let mut size = 0;
        for version in ["v1", "v2"] {
            let built = world.build_with(version, |tree| lay(tree, version));
            world.publish(&built).unwrap();
            size = world.statement(&built).artifact.size;
        }
        let mut config = Config::load(&world.path("activator.toml")).unwrap();
        let config = config.apps.remove(&APP.parse().unwrap()).unwrap();
        let node = Self { world, config, runtime: runtime(), size };
        node.fetch("v1");
        node
    }

    fn tree(&self, version: &str) -> PathBuf {
        self.world.root().join("releases").join(version)
    }

    fn open(&self) -> Node {
        Node::open(&APP.parse().unwrap(), &self.config, "test", &Silent).unwrap()
    }

    fn fetch(&self, version: &str) {
        let store = self.world.store();
        let origin = Origin { store: &store, trust: &self.world.trust, runtime: &self.runtime };
        fetch(&mut self.open(), &version.parse().unwrap(), origin, &Silent).unwrap();
    }

    fn repair(&self, version: &str) -> Vec<Repaired> {
        let store = self.world.store();
        let origin = Origin { store: &store, trust: &self.world.trust, runtime: &self.runtime };
        repair(&mut self.open(), Some(&version.parse().unwrap()), origin, &Silent).unwrap()
    }

    fn verify(&self, version: &str) -> Report {
        let view = View::open(&APP.parse().unwrap(), &self.config).unwrap();
        verify(&view, Some(&version.parse().unwrap()), &self.world.trust, &Silent).unwrap()
    }

    /// Files that are not empty, by path.
    fn files(&self) -> Vec<String> {
        let lines = listing(&self.tree("v1"));
        let file = |line: &String| {
            let (path, rest) = line.split_once(" file ")?;
            (rest.split(' ').nth(1)? != "0").then(|| path.to_owned())
        };
        lines.iter().filter_map(file).collect()
    }
}

/// Damages one file; gives the path that is then wrong, and how `verify` should call it.
fn damage(tree: &Path, path: &str, dice: &mut Dice) -> (String, &'static str) {
    let full = tree.join(path);
    let content = std::fs::read(&full).unwrap();
    let write = |content: &[u8]| std::fs::write(&full, content).unwrap();
    match dice.below(6) {
        0 => {
            let mut content = content;
            let at = dice.below(content.len());
            content[at] ^= 1 << dice.below(8);
            write(&content);
            (path.to_owned(), "changed")
        }
        1 => {
            write(&content[..dice.below(content.len())]);
            (path.to_owned(), "changed")
        }
        2 => {
            write(&vec![0; content.len()]);
            (path.to_owned(), "changed")
        }
        3 => {
            std::fs::remove_file(&full).unwrap();
            (path.to_owned(), "missing")
        }
        4 => {
            let mode = full.metadata().unwrap().permissions().mode();
            std::fs::set_permissions(&full, PermissionsExt::from_mode(mode ^ (1 << dice.below(6)))).unwrap();
            (path.to_owned(), "mode")
        }
        _ => {
            let added = format!("{path}.orig");
            std::fs::copy(&full, tree.join(&added)).unwrap();
            (added, "extra")
        }
    }
}

#[test]
fn a_hundred_damages_are_named_not_reused_and_mended() {
    let (node, mut dice) = (Node1::new(), Dice(5));
    let (whole, mut seen) = (listing(&node.tree("v1")), BTreeMap::<&str, u64>::new());
    for round in 0..ROUNDS {
        let mut files = node.files();
        let mut harmed = BTreeMap::new();
        for _ in 0..EACH {
            let path = files.swap_remove(dice.below(files.len()));
            let (path, kind) = damage(&node.tree("v1"), &path, &mut dice);
            *seen.entry(kind).or_default() += 1;
            harmed.insert(path, kind);
        }
        let report = node.verify("v1");
        let found = report.damaged.iter().map(|finding| (finding.path.clone(), finding.damage.kind())).collect();
        assert_eq!(harmed, found, "round {round}");

        node.fetch("v2");
        assert_eq!(node.verify("v2").damaged, [], "round {round}");

        let repaired = node.repair("v1");
        assert_eq!((repaired.len(), repaired[0].damaged.len()), (1, EACH), "round {round}: {repaired:?}");
        assert!(repaired[0].bytes < node.size, "round {round}: {} of {}", repaired[0].bytes, node.size);
        assert_eq!(listing(&node.tree("v1")), whole, "round {round}");
        assert_eq!((node.verify("v1").damaged, node.verify("v2").damaged), (Vec::new(), Vec::new()));
        std::fs::remove_dir_all(node.tree("v2")).unwrap();
    }
    assert!(["changed", "extra", "missing", "mode"].iter().all(|kind| seen[kind] > 5), "{seen:?}");
}

#[test]
fn a_repair_asks_for_the_frame_of_what_is_damaged_and_nothing_else() {
    let node = Node1::new();
    std::fs::write(node.tree("v1").join("app/version.txt"), "v0").unwrap();
    let repaired = node.repair("v1");
    assert_eq!(repaired[0].requests, 1);
    assert!(repaired[0].bytes < node.size / 2, "{} of {}", repaired[0].bytes, node.size);
    std::fs::set_permissions(node.tree("v1").join("app/empty"), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(node.repair("v1")[0].requests, 0);
    assert_eq!(node.verify("v1").damaged, []);
}
