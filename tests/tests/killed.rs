//! A fetch that is killed at any moment, in any of its threads, leaves the node as it was, and the next one succeeds.
//! (`activator/tests/killed.rs` does the same for every call of the main thread, of activations and of undos.)
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use pannier_tests::{World, listing, noise, program, said};

/// A node that serves v1, and a v2 to fetch.
fn world() -> World {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    world.publish(&world.build_with("v2", many_files)).unwrap();
    let output = world.run(&["activate", "polls", "v1"]);
    assert!(output.status.success(), "{}", said(&output));
    world
}

/// Enough files, and one over several frames, for every thread to have much to do.
fn many_files(tree: &Path) {
    for at in 0..400 {
        std::fs::write(tree.join(format!("app/polls/{at}.py")), noise(3000, at)).unwrap();
    }
    std::fs::write(tree.join("app/large.bin"), noise(5 << 20, 5)).unwrap();
}

fn serves(world: &World) -> String {
    std::fs::read_to_string(world.root().join("current/app/version.txt")).unwrap()
}

/// Calls that the threads which unpack make; strace counts each kind, and each thread, for itself.
const CALLS: &[&str] =
    &["openat2", "linkat", "write", "pwrite64", "fchmod", "mkdirat", "symlinkat", "syncfs", "renameat2", "fsync"];

/// Fetches v2 under strace, which kills it, all threads at once, before the n-th call of a kind; true if it was killed.
fn killed(world: &World, call: &str, at: usize) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={at}"));
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]).arg(program("pannier-activator"));
    command.arg("--config").arg(world.path("activator.toml")).args(["fetch", "polls", "v2"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().signal() == Some(9)
}

#[test]
fn killed_in_any_thread_current_stays_and_the_next_run_succeeds() {
    let world = world();
    let before = listing(&world.root().join("releases/v1"));
    let output = world.run(&["fetch", "polls", "v2"]);
    assert!(output.status.success(), "{}", said(&output));
    let clean = listing(&world.root().join("releases/v2"));
    let mut kills = 0;
    for call in CALLS {
        // Every call at the beginning, ever fewer later on.
        for at in [1, 2, 3, 4, 6, 9, 14, 21, 32, 48, 72, 108, 162] {
            forget_v2(&world);
            if !killed(&world, call, at) {
                break;
            }
            kills += 1;
            assert_eq!(serves(&world), "v1", "after a kill at {call} {at}");
            let output = world.run(&["fetch", "polls", "v2"]);
            assert!(output.status.success(), "after a kill at {call} {at}: {}", said(&output));
            assert_eq!(listing(&world.root().join("releases/v2")), clean, "after a kill at {call} {at}");
            let staging = std::fs::read_dir(world.root().join(".pannier/staging")).unwrap().count();
            assert_eq!(staging, 0, "leftovers after a kill at {call} {at}");
        }
    }
    assert!(kills >= 40, "only {kills} runs were killed");
    assert_eq!(listing(&world.root().join("releases/v1")), before);
    let output = world.run(&["activate", "polls", "v2"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(serves(&world), "v2");
}

/// Takes v2 off the node, as a node that never had it.
fn forget_v2(world: &World) {
    let _ = std::fs::remove_dir_all(world.root().join("releases/v2"));
    let _ = std::fs::remove_dir_all(world.root().join(".pannier/toc/v2"));
    let state = world.root().join(".pannier/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    if let Some(releases) = json.get_mut("releases").and_then(serde_json::Value::as_object_mut) {
        releases.remove("v2");
    }
    std::fs::write(&state, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
}
