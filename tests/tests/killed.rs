//! A fetch that is killed at any moment leaves the node as it was, and the next one succeeds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::process::{Command, Stdio};

use pannier_tests::{World, listing, program, said};

/// A node that serves v1, and a v2 to fetch.
fn world() -> World {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    world.publish(&world.build("v2")).unwrap();
    let output = world.run(&["activate", "polls", "v1"]);
    assert!(output.status.success(), "{}", said(&output));
    world
}

fn serves(world: &World) -> String {
    std::fs::read_to_string(world.root().join("current/app/version.txt")).unwrap()
}

/// Runs a fetch of v2 under strace; with `kill_at`, the n-th system call that changes anything kills it before it acts.
/// Gives whether it was killed, and how many such calls there were.
fn fetch_under_strace(world: &World, kill_at: Option<usize>) -> (bool, usize) {
    const CALLS: &str = "openat,openat2,write,pwrite64,mkdirat,mkdir,symlinkat,symlink,fchmod,fchmodat,rename,renameat,\
                         renameat2,fsync,fdatasync,syncfs,unlink,unlinkat,rmdir";
    let log = world.path("strace.log");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log).arg("-e").arg(format!("trace={CALLS}"));
    if let Some(at) = kill_at {
        command.arg("-e").arg(format!("inject={CALLS}:signal=SIGKILL:when={at}"));
    }
    command.arg(program("pannier-activator")).arg("--config").arg(world.path("activator.toml"));
    let status = command.args(["fetch", "polls", "v2"]).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let calls = std::fs::read_to_string(&log).unwrap();
    (!status.success(), calls.lines().filter(|line| line.contains('(') && !line.contains("resumed")).count())
}

#[test]
fn killed_anywhere_current_stays_and_the_next_run_succeeds() {
    let world = world();
    let before = listing(&world.root().join("releases/v1"));
    let (_, calls) = fetch_under_strace(&world, None);
    assert!(calls > 60, "only {calls} calls were seen");
    let clean = listing(&world.root().join("releases/v2"));
    // Thirty points over the whole run, and each of the last fifteen, where the release is committed. strace counts per
    // thread; a point that the main thread does not reach only means a run that was not killed.
    let spread = (1..=30).map(|n| n * calls / 31 + 1);
    let mut killed = 0;
    for at in spread.chain(calls.saturating_sub(15)..=calls).chain(1..=25) {
        forget_v2(&world);
        killed += usize::from(fetch_under_strace(&world, Some(at)).0);
        assert_eq!(serves(&world), "v1", "after a kill at call {at}");
        let output = world.run(&["fetch", "polls", "v2"]);
        assert!(output.status.success(), "after a kill at call {at}: {}", said(&output));
        assert_eq!(listing(&world.root().join("releases/v2")), clean, "after a kill at call {at}");
        assert_eq!(std::fs::read_dir(world.root().join(".pannier/staging")).unwrap().count(), 0, "leftovers at {at}");
    }
    assert!(killed >= 20, "only {killed} runs were killed");
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
