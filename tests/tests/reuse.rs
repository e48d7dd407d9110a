//! What the node has is not fetched again, and what it only seems to have is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use pannier_activator::config::Config;
use pannier_activator::fetch::{Fetched, Origin, fetch};
use pannier_activator::ledger::Rehash;
use pannier_activator::node::{Node, View};
use pannier_activator::steps::fetch::Transferred;
use pannier_activator::verify::verify;
use pannier_shared::archive::read::{Contents, Outline, tail_range};
use pannier_shared::archive::toc::Class;
use pannier_shared::event::{Event, Recorder};
use pannier_shared::statement::Artifact;
use pannier_shared::store::dir::DirStore;
use pannier_shared::store::upload::Upload;
use pannier_shared::store::{Condition, Etag, Glance, Key, Meta, Object, Result, Store, Stored};
use pannier_tests::{APP, World, executable, listing, noise, runtime, said};
use proptest::prelude::*;

/// A store that writes down which ranges it was asked for.
struct Asked(DirStore, Mutex<Vec<Range<u64>>>);

#[async_trait::async_trait]
impl Store for Asked {
    fn location(&self) -> &str {
        self.0.location()
    }
    async fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        self.0.get(key, limit).await
    }
    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance> {
        self.0.glance(key, limit, known).await
    }
    async fn head(&self, key: &Key) -> Result<Meta> {
        self.0.head(key).await
    }
    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        self.1.lock().unwrap().push(range.clone());
        self.0.get_range(key, range, pin).await
    }
    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> Result<Etag> {
        self.0.put(key, bytes, condition).await
    }
    async fn put_file(&self, key: &Key, upload: &Upload) -> Result<Stored> {
        self.0.put_file(key, upload).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix).await
    }
}

/// What a fetch did.
struct Came {
    moved: Transferred,
    /// What the step that reuses said.
    reuse: String,
    asked: Vec<Range<u64>>,
    warnings: Vec<String>,
    tree: PathBuf,
}

/// Fetches a release into one of the world's nodes, and compares it with what was signed.
fn fetch_to(world: &World, node: &str, version: &str) -> Came {
    fetch_with(Rehash::Weekly, world, node, version)
}

fn fetch_with(rehash: Rehash, world: &World, node: &str, version: &str) -> Came {
    let mut config = Config::load(&world.path("activator.toml")).unwrap();
    let app = APP.parse().unwrap();
    let settings = config.apps.get_mut(&app).unwrap();
    (settings.root, settings.rehash) = (world.path(node), rehash);
    let (store, told, runtime) = (Asked(world.store(), Mutex::default()), Recorder::default(), runtime());
    let origin = Origin { store: &store, trust: &world.trust, runtime: &runtime };
    let mut open = Node::open(&app, settings, "test", &told).unwrap();
    let Fetched { moved, .. } = fetch(&mut open, &version.parse().unwrap(), origin, &told).unwrap();
    drop(open);
    let view = View::open(&app, settings).unwrap();
    let report = verify(&view, Some(&version.parse().unwrap()), &world.trust, &told).unwrap();
    assert_eq!(report.damaged, [], "{version}");
    let events = told.events();
    let reuse = events.iter().find_map(|event| match event {
        Event::Finished { step: "reuse", said, .. } => Some(said.clone()),
        _ => None,
    });
    let warning = |event| if let Event::Warning { text } = event { Some(text) } else { None };
    Came {
        moved: moved.unwrap(),
        asked: store.1.into_inner().unwrap(),
        reuse: reuse.unwrap_or_default(),
        warnings: events.into_iter().filter_map(warning).collect(),
        tree: world.path(node).join("releases").join(version),
    }
}

/// A world with v1 on its node, and a v2 that `change` made of it.
fn updated(change: impl FnOnce(&Path)) -> (World, PathBuf) {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    fetch_to(&world, "node", "v1");
    let built = world.build_with("v2", |tree| {
        std::fs::write(tree.join("app/version.txt"), "v1").unwrap();
        change(tree);
    });
    world.publish(&built).unwrap();
    (world, built)
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

/// The frame that holds the first byte of a file.
fn frame_of(contents: &Contents, path: &str) -> Range<u64> {
    let number = contents.files().position(|file| file.path == path).unwrap();
    contents.frames().iter().find(|frame| contents.files_in(frame).any(|file| file == number)).unwrap().range.clone()
}

/// Holds a request against what it should be for: an artifact's end, with the tables that change with every release (the
/// last ones) and hardly a byte more.
fn assert_is_end(asked: &Range<u64>, contents: &Contents, artifact: &Artifact) {
    let groups = &contents.outline().root().groups;
    let first = groups.iter().position(|row| row.class >= Class::App).unwrap();
    let (tables, tail) = (contents.outline().table_range(first), tail_range(artifact).unwrap());
    assert!(asked.start <= tables.start, "{asked:?} {tables:?}");
    assert!(asked.start >= tables.start - (tail.start - tables.start) / 16 - 32, "{asked:?} {tables:?}");
    assert_eq!(asked.end, artifact.size);
}

#[test]
fn a_change_of_the_app_asks_for_the_end_and_its_frame() {
    let (world, built) = updated(|tree| std::fs::write(tree.join("app/version.txt"), "v2").unwrap());
    let came = fetch_to(&world, "node", "v2");
    let (contents, artifact) = (contents(&world, &built), world.statement(&built).artifact.clone());
    let path = "app/version.txt";
    let [end, frame] = came.asked.as_slice() else { panic!("{:?}", came.asked) };
    assert_is_end(end, &contents, &artifact);
    assert_eq!(*frame, frame_of(&contents, path));
    assert_eq!(came.moved.bytes, end.end - end.start + frame.end - frame.start);
    let with_content = contents.files().filter(|file| file.size > 0).count() as u64;
    assert_eq!((came.moved.reused_files, came.moved.requests), (with_content - 1, 2));
    assert_eq!(came.warnings, Vec::<String>::new());
}

#[test]
fn a_rebuild_with_the_same_content_asks_for_the_end_only() {
    let (world, built) = updated(|_| ());
    let came = fetch_to(&world, "node", "v2");
    let [end] = came.asked.as_slice() else { panic!("{:?}", came.asked) };
    assert_is_end(end, &contents(&world, &built), &world.statement(&built).artifact);
    assert_eq!(listing(&came.tree), listing(&world.path("node/releases/v1")));
}

#[test]
fn a_file_that_moved_is_not_fetched_again() {
    let (world, built) = updated(|tree| {
        let site = tree.join("venv/lib/python3.11/site-packages");
        std::fs::rename(site.join("big.bin"), tree.join("app/moved.bin")).unwrap();
    });
    let came = fetch_to(&world, "node", "v2");
    assert!(came.moved.bytes < world.statement(&built).artifact.size / 4, "{:?}", came.moved);
}

#[test]
fn a_first_fetch_takes_every_byte() {
    let world = World::new();
    let built = world.build("v1");
    world.publish(&built).unwrap();
    let Came { moved, mut asked, .. } = fetch_to(&world, "node", "v1");
    let size = world.statement(&built).artifact.size;
    asked.sort_by_key(|range| range.start);
    let reached =
        asked.iter().fold(0, |reached, range| if range.start <= reached { range.end.max(reached) } else { 0 });
    assert_eq!((reached, moved.reused_files), (size, 0), "{asked:?}");
    assert_eq!(moved.bytes, size, "{asked:?}");
}

/// What is done to a file.
type Harm = fn(&Path);

#[test]
fn a_damaged_source_is_named_and_its_frame_is_fetched() {
    let path = "app/polls/views.py";
    let harm: &[(&str, Harm)] = &[
        ("changed", |file| std::fs::write(file, "def index(request): .!.\n").unwrap()),
        ("changed", |file| std::fs::write(file, "def").unwrap()),
        ("mode 0664 instead of 0644", |file| {
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o664)).unwrap();
        }),
        ("missing", |file| std::fs::remove_file(file).unwrap()),
        ("a link instead of a file", |file| {
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", file).unwrap();
        }),
        ("a folder instead of a file", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
    ];
    for (damage, harm) in harm {
        let (world, built) = updated(|_| ());
        harm(&world.path("node/releases/v1").join(path));
        let came = fetch_to(&world, "node", "v2");
        let [warning] = came.warnings.as_slice() else { panic!("{damage}: {:?}", came.warnings) };
        let expected = format!("`{path}` of the release `v1` is damaged on this node and not reused: {damage}");
        assert!(warning.starts_with(&expected), "{warning}");
        let [end, frame] = came.asked.as_slice() else { panic!("{damage}: {:?}", came.asked) };
        let contents = contents(&world, &built);
        assert_is_end(end, &contents, &world.statement(&built).artifact);
        assert_eq!(*frame, frame_of(&contents, path), "{damage}");
    }
}

#[test]
fn what_was_hashed_and_not_touched_since_is_not_hashed_again() {
    let (world, _) = updated(|_| ());
    for version in ["v3", "v4"] {
        world.publish(&world.build(version)).unwrap();
    }
    // v1 was hashed when it was unpacked, v2 is made of links to it, which touches it, and v3 of links to those.
    for version in ["v2", "v3"] {
        let came = fetch_to(&world, "node", version);
        assert!(came.reuse.ends_with(", 0 hashed again"), "{version}: {}", came.reuse);
        assert!(came.moved.reused_files > 5);
    }
    let came = fetch_with(Rehash::Always, &world, "node", "v4");
    assert!(came.reuse.ends_with(&format!(", {} hashed again", came.moved.reused_files)), "{}", came.reuse);
}

#[test]
fn only_what_was_touched_is_hashed_again() {
    let (world, _) = updated(|_| ());
    let file = world.path("node/releases/v1/app/polls/views.py");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let came = fetch_to(&world, "node", "v2");
    assert!(came.reuse.ends_with(", 1 hashed again"), "{}", came.reuse);
    assert_eq!(came.warnings, Vec::<String>::new());
}

#[test]
fn a_change_that_hides_its_time_is_found() {
    let (world, _) = updated(|_| ());
    let path = world.path("node/releases/v1/app/polls/views.py");
    let meta = path.metadata().unwrap();
    // Kernels before 6.13 count a file's times in steps of up to 10 ms.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut content = std::fs::read(&path).unwrap();
    content[3] ^= 1;
    std::fs::write(&path, &content).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    let came = fetch_to(&world, "node", "v2");
    assert!(came.warnings[0].ends_with("is damaged on this node and not reused: changed"), "{:?}", came.warnings);
}

#[test]
fn without_a_ledger_everything_is_hashed_again() {
    for harm in [
        |ledger: &Path| std::fs::remove_file(ledger).unwrap(),
        |ledger: &Path| {
            let mut bytes = std::fs::read(ledger).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(ledger, &bytes).unwrap();
        },
    ] {
        let (world, _) = updated(|_| ());
        harm(&world.path("node/.pannier/ledger"));
        let came = fetch_to(&world, "node", "v2");
        assert!(came.reuse.ends_with(&format!(", {} hashed again", came.moved.reused_files)), "{}", came.reuse);
    }
}

#[test]
fn damaged_tables_are_fetched_and_the_files_reused_all_the_same() {
    let (world, _) = updated(|_| ());
    let tables = world.path("node/.pannier/toc/v1/tables");
    let mut bytes = std::fs::read(&tables).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 1);
    std::fs::write(&tables, &bytes).unwrap();
    let came = fetch_to(&world, "node", "v2");
    assert_eq!((came.asked.len(), came.warnings.len()), (2, 0), "{:?} {:?}", came.asked, came.warnings);
    std::fs::remove_file(&tables).unwrap();
    world.publish(&world.build("v3")).unwrap();
    let came = fetch_to(&world, "node", "v3");
    assert!(came.warnings[0].starts_with("nothing of `v1` is reused: "), "{:?}", came.warnings);
}

#[test]
fn the_same_content_under_another_mode_is_a_file_of_its_own() {
    let (world, _) = updated(|tree| executable(&tree.join("app/polls/views.py")));
    let before = listing(&world.path("node/releases/v1"));
    let came = fetch_to(&world, "node", "v2");
    assert_eq!((came.moved.requests, came.warnings.len()), (1, 0));
    let [old, new] = ["v1", "v2"]
        .map(|version| world.path("node/releases").join(version).join("app/polls/views.py").metadata().unwrap());
    assert_ne!(old.ino(), new.ino());
    assert_eq!((old.mode() & 0o7777, new.mode() & 0o7777), (0o644, 0o755));
    assert_eq!(listing(&world.path("node/releases/v1")), before);
}

#[test]
fn removing_a_source_leaves_what_was_shared_from_it() {
    let (world, _) = updated(|_| ());
    let came = fetch_to(&world, "node", "v2");
    let before = listing(&came.tree);
    std::fs::remove_dir_all(world.path("node/releases/v1")).unwrap();
    assert_eq!(listing(&came.tree), before);
}

#[test]
fn the_plan_says_what_the_fetch_then_does() {
    let (world, _) = updated(|tree| {
        std::fs::write(tree.join("app/large.bin"), noise(2 << 20, 9)).unwrap();
        std::fs::remove_file(tree.join("app/polls/views.py")).unwrap();
        std::fs::write(tree.join("static/admin/base.0123456789ab.css"), "body {}").unwrap();
    });
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = world.run(arguments);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_str(String::from_utf8(output.stdout).unwrap().lines().last().unwrap()).unwrap()
    };
    json(&["activate", APP, "v1", "--json"]);
    let plan = json(&["plan", APP, "v2", "--json"]);
    let todo = &plan["todo"];
    let changes = ["kept", "changed", "added", "removed"].map(|what| todo["changes"][what].as_u64().unwrap());
    assert_eq!(changes, [10, 1, 1, 1], "{plan}");
    let fetched = json(&["fetch", APP, "v2", "--json"]);
    for (planned, done) in [("wire_bytes", "bytes"), ("requests", "requests"), ("reused_files", "reused_files")] {
        assert_eq!(todo[planned], fetched[done], "{planned}");
    }
    assert_eq!(json(&["plan", APP, "v2", "--json"])["todo"], serde_json::Value::Null);
}

/// Files by path: which of a few contents, and whether executable.
fn tree() -> impl Strategy<Value = BTreeMap<String, (u8, bool)>> {
    let path = ("(app|static|venv)/[a-d]", "[a-e]{1,2}").prop_map(|(folder, name)| format!("{folder}/{name}.x"));
    proptest::collection::btree_map(path, (0..12u8, any::<bool>()), 0..30)
}

fn lay(tree: &Path, files: &BTreeMap<String, (u8, bool)>) {
    for (path, (content, is_executable)) in files {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Nothing, a few bytes, or more than a frame holds.
        let length = [0, 1, 700, 300_000, 1_200_000][usize::from(*content) % 5];
        std::fs::write(&path, noise(length, u64::from(*content))).unwrap();
        if *is_executable {
            executable(&path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fetch_with_reuse_gives_the_tree_of_a_fetch_without(old in tree(), new in tree(), common in tree()) {
        let world = World::new();
        for (version, files) in [("v1", old), ("v2", new)] {
            let files = files.into_iter().chain(common.clone()).collect();
            world.publish(&world.build_with(version, |tree| lay(tree, &files))).unwrap();
        }
        fetch_to(&world, "node", "v1");
        let warm = fetch_to(&world, "node", "v2");
        let cold = fetch_to(&world, "empty", "v2");
        prop_assert_eq!(listing(&warm.tree), listing(&cold.tree));
        // What comes unseen with the root is a guess, and may be longer than the tables are.
        let (most, reused) = (cold.moved.bytes + 500, warm.moved.reused_files);
        prop_assert!(warm.moved.bytes <= most && reused > 0, "{} of {most}, {reused} reused", warm.moved.bytes);
    }
}
