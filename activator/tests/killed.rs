//! The program killed before every system call of an activation that changes anything: what serves is always one whole
//! release, the next run heals the rest, and the processes that run are those of the release that `current` leads to.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use std::process::Stdio;

use support::World;

/// The calls of the main thread that change something, and that start programs.
const CALLS: &str =
    "openat,write,rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,fsync,fdatasync,clone,clone3,vfork";

/// Writes down what was started; v-bad does not start.
const START: &str = r#"echo "$PANNIER_VERSION" > "$PANNIER_ROOT/shared/started"; test "$PANNIER_VERSION" != bad"#;

/// A node where v1 serves, and v2 and one that does not start are prepared.
fn world() -> World {
    let world = World::new();
    world.restart_by(START);
    world.configure_without_health();
    for version in ["v1", "v2", "bad"] {
        world.publish_good(version);
        world.ok(&format!("fetch polls {version}"));
    }
    world.ok("activate polls v1");
    world
}

/// Runs a command under strace, killed before the n-th of [`CALLS`]; true if it was.
fn killed(world: &World, arguments: &str, at: usize) -> bool {
    let mut command = world.under(
        "strace",
        &[
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &format!("trace={CALLS}"),
            "-e",
            &format!("inject={CALLS}:signal=SIGKILL:when={at}"),
        ],
        arguments,
    );
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(9)
}

fn started(world: &World) -> String {
    std::fs::read_to_string(world.root().join("shared/started")).unwrap().trim().to_owned()
}

/// Kills `activate VERSION` before its first call, its second, ... until it lives to its end.
fn everywhere(world: &World, version: &str) -> usize {
    for at in 1..1000 {
        if !killed(world, &format!("activate polls {version} --even-if-bad"), at) {
            return at - 1;
        }
        assert!(world.current().is_some(), "nothing serves after a kill at {at}");
        world.ok("status polls");
        // Any command that changes something heals first; this one has nothing to do.
        world.ok("fetch polls v1");
        let serving = world.current().unwrap();
        assert_eq!(started(world), serving, "after a kill at {at}");
        let status = world.ok("status polls");
        assert!(
            status.contains(&format!("serving   {serving} (healthy)")) && !status.contains("begun"),
            "at {at}: {status}"
        );
        let left = support::names(&world.root().join(".pannier"));
        assert!(!left.iter().any(|name| name.contains(".tmp-")), "at {at}: {left:?}");
        assert_ne!(serving, "bad");
        world.ok("activate polls v1");
    }
    panic!("it never ended");
}

#[test]
fn an_activation_killed_anywhere_leaves_one_release_serving_and_is_healed() {
    let world = world();
    let kills = everywhere(&world, "v2");
    assert!(kills > 30, "only {kills} kills");
    assert_eq!((world.current().as_deref(), started(&world).as_str()), (Some("v2"), "v2"));
}

#[test]
fn an_undo_killed_anywhere_is_finished_by_the_next_run() {
    let world = world();
    let kills = everywhere(&world, "bad");
    assert!(kills > 40, "only {kills} kills");
    assert_eq!((world.current().as_deref(), started(&world).as_str()), (Some("v1"), "v1"));
}
