//! A fetch that was killed or given up is gone on with: no frame whose files were all proven is fetched a second time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pannier_shared::digest::Digest;
use pannier_tests::proxy::{Fault, Seen};
use pannier_tests::scene::{Kind, NETWORK, Scene};
use pannier_tests::{listing, noise, said};

/// Unwanted frames up to this size come along when both their neighbours are wanted (`archive::ranges::Cost`).
const GAP: u64 = 250_000;

/// So many ranges that some have come and some have not wherever a fetch ends; one file lies in several frames.
fn huge(tree: &Path) {
    for at in 0..30 {
        std::fs::write(tree.join(format!("app/{at}.bin")), noise(900_000, 100 + at)).unwrap();
    }
}

/// Nothing comes of the artifact's frames from here on, but of the tables behind them.
fn stalled_from(scene: &Scene, byte: u64) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    let tables = scene.contents.outline().tables_range().start;
    move |seen| {
        let stalls = seen.range.as_ref().is_some_and(|range| range.end > byte && range.start < tables);
        if stalls && seen.is_artifact() { Fault::Stall(0) } else { Fault::None }
    }
}

/// The stages on a node.
fn stages(scene: &Scene, node: &str) -> Vec<PathBuf> {
    let names = std::fs::read_dir(scene.world.path(node).join(".pannier/staging"));
    names.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

/// The files below a tree that hold what they should.
fn whole(scene: &Scene, tree: &Path) -> BTreeSet<usize> {
    let is_whole = |path: &str, digest: Digest| std::fs::read(tree.join(path)).is_ok_and(|b| Digest::of(&b) == digest);
    let files = scene.contents.files().enumerate();
    files.filter(|(_, file)| is_whole(&file.path, file.sha256)).map(|(number, _)| number).collect()
}

/// Where the frames lie of which nothing is missing, but for those that may come along.
fn proven(scene: &Scene, whole: &BTreeSet<usize>) -> Vec<Range<u64>> {
    let has_all = |frame: &&_| scene.contents.files_in(frame).all(|file| whole.contains(&file));
    let frames = scene.contents.frames().iter().filter(has_all);
    frames.map(|frame| frame.range.clone()).filter(|range| range.end - range.start > GAP).collect()
}

/// Runs `fetch` until the line stalls, and what came before was written; then kills it.
fn killed(scene: &Scene, node: &str) {
    let network = NETWORK.replace("1500ms", "1h");
    let mut child = scene.command(node, &network, &["fetch", "polls", "v1"]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let stalled = || scene.proxy.told().iter().any(|told| told.fault == Fault::Stall(0));
    let mut before = 0;
    // Until the line stalls and no further file was finished for a while.
    loop {
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        let now = stages(scene, node).first().map_or(0, |stage| whole(scene, &stage.join("tree")).len());
        if stalled() && now == before {
            break;
        }
        before = now;
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Fetches what is left over a good line, and sees that nothing proven was among it; gives how much that was.
fn gone_on_with(scene: &Scene, node: &str, clean: &[String]) -> usize {
    let [stage] = stages(scene, node).try_into().unwrap();
    let proven = proven(scene, &whole(scene, &stage.join("tree")));
    scene.proxy.inject(|_| Fault::None);
    let output = scene.fetch(node);
    assert!(output.status.success(), "{}", said(&output));
    assert!(!said(&output).contains("warning"), "{}", said(&output));
    assert_eq!(listing(&scene.tree(node)), clean);
    assert_eq!(stages(scene, node), Vec::<PathBuf>::new());
    for asked in scene.proxy.ranges() {
        let again = proven.iter().find(|frame| frame.start < asked.end && asked.start < frame.end);
        assert_eq!(again, None, "the frame was proven and {asked:?} was asked for");
    }
    proven.len()
}

#[test]
fn a_killed_fetch_is_gone_on_with_wherever_it_was() {
    let scene = Scene::new(Kind::S3, huge);
    assert!(scene.fetch("clean").status.success());
    let clean = listing(&scene.tree("clean"));
    let frames = scene.contents.frames().len();
    let mut saved = Vec::new();
    for part in [1, 4, 7] {
        let node = format!("node-{part}");
        scene.proxy.inject(stalled_from(&scene, scene.contents.frames()[frames * part / 8].range.start));
        killed(&scene, &node);
        saved.push(gone_on_with(&scene, &node, &clean));
    }
    assert!(saved.is_sorted() && saved[2] > frames / 2, "{saved:?} of {frames}");
}

#[test]
fn a_fetch_that_gave_up_is_gone_on_with_and_a_second_time_too() {
    let scene = Scene::new(Kind::Web, huge);
    assert!(scene.fetch("clean").status.success());
    let clean = listing(&scene.tree("clean"));
    let frames = scene.contents.frames().len();
    for part in [2, 6] {
        scene.proxy.inject(stalled_from(&scene, scene.contents.frames()[frames * part / 8].range.start));
        let output = scene.fetch("node");
        assert_eq!(output.status.code(), Some(7), "{}", said(&output));
        assert_eq!(stages(&scene, "node").len(), 1);
    }
    assert!(gone_on_with(&scene, "node", &clean) > frames / 2);
}

#[test]
fn what_was_left_is_not_believed() {
    let scene = Scene::new(Kind::Web, huge);
    assert!(scene.fetch("clean").status.success());
    let clean = listing(&scene.tree("clean"));
    scene.proxy.inject(stalled_from(&scene, scene.contents.frames()[20].range.start));
    assert_eq!(scene.fetch("node").status.code(), Some(7));
    let stage = stages(&scene, "node").remove(0);
    let file =
        scene.contents.files().find(|file| stage.join("tree").join(&file.path).exists() && file.size > 1000).unwrap();
    let path = stage.join("tree").join(&file.path);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    gone_on_with(&scene, "node", &clean);
}

#[test]
fn what_was_left_without_good_records_is_of_no_use_and_no_harm() {
    for record in ["release.json", "tail", "tables"] {
        let scene = Scene::new(Kind::Web, huge);
        assert!(scene.fetch("clean").status.success());
        scene.proxy.inject(stalled_from(&scene, scene.contents.frames()[20].range.start));
        assert_eq!(scene.fetch("node").status.code(), Some(7));
        std::fs::write(stages(&scene, "node")[0].join("records").join(record), "").unwrap();
        scene.proxy.inject(|_| Fault::None);
        let output = scene.fetch("node");
        assert!(output.status.success() && !said(&output).contains("warning"), "{}", said(&output));
        assert_eq!(listing(&scene.tree("node")), listing(&scene.tree("clean")));
        assert_eq!(stages(&scene, "node"), Vec::<PathBuf>::new());
    }
}
