//! The program killed, or refused by the kernel, at every system call that changes anything: what serves is always one
//! whole release, a failed run changes nothing, and the next run heals the rest. A quarter of the calls; `scripts/torture
//! calls` tries all of them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use support::{World, killed, stride, tried};

/// The calls that change something or start a program. strace counts each kind for itself, so each has a turn of its own.
const CALLS: &[&str] = &[
    "openat",
    "write",
    "rename",
    "renameat2",
    "symlink",
    "symlinkat",
    "mkdirat",
    "renameat",
    "unlink",
    "unlinkat",
    "rmdir",
    "fsync",
    "fdatasync",
    "flock",
    "ftruncate",
    "clone3",
    "clone",
    "vfork",
    "wait4",
    "waitid",
];

/// Writes down what was started; v-bad does not start.
const START: &str = r#"echo "$PANNIER_VERSION" > "$PANNIER_ROOT/shared/started"; test "$PANNIER_VERSION" != bad"#;

/// A node where v1 serves, and v2 and one that does not start are prepared.
fn world() -> World {
    let world = World::new();
    world.restart_by(START);
    world.configure_without_health();
    for version in ["v1", "v2", "bad"] {
        world.publish_static(version);
        world.ok(&format!("fetch polls {version}"));
    }
    world.ok("activate polls v1");
    world
}

/// The calls that can fail for want of room or by a broken disk.
const DISK_CALLS: &[&str] = &[
    "openat",
    "openat2",
    "write",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "symlink",
    "symlinkat",
    "linkat",
    "ioctl",
    "unlink",
    "rmdir",
    "fsync",
    "fdatasync",
    "syncfs",
];

/// A command whose n-th call of a kind fails; `None` when it makes fewer.
fn failed(world: &World, arguments: &str, call: &str, at: usize) -> Option<std::process::Output> {
    let (log, trace) = (world.path("strace.log"), format!("trace={call}"));
    let inject = format!("inject={call}:error=EIO:when={at}");
    let mine = ["-qq", "-o", log.to_str().unwrap(), "-e", &trace, "-e", &inject];
    let output = world.under("strace", &mine, arguments).output().unwrap();
    std::fs::read_to_string(log).unwrap().contains("(INJECTED)").then_some(output)
}

fn started(world: &World) -> String {
    std::fs::read_to_string(world.root().join("shared/started")).unwrap().trim().to_owned()
}

/// Kills `activate VERSION`, of whose static files one name is missing, before its first call of each kind, its second, ... until it lives to its end; gives how
/// often it was killed, and how often the new release stayed.
fn everywhere(world: &World, version: &str) -> (usize, usize) {
    let (mut kills, mut stayed) = (0, 0);
    for (kind, call) in CALLS.iter().enumerate() {
        for at in tried(kind) {
            let _ = std::fs::remove_file(world.root().join(format!("static/js/{version}.1.js")));
            let lived = !killed(world, &format!("activate polls {version} --even-if-bad"), call, at);
            stayed += usize::from(!lived && settled(world, &format!("{call} {at}")) == version);
            world.ok("activate polls v1 --downgrade");
            if lived {
                break;
            }
            kills += 1;
        }
    }
    (kills, stayed)
}

/// Heals, and sees that one release serves, that it is the one that was started last, and that nothing is left over.
fn settled(world: &World, at: &str) -> String {
    assert!(world.current().is_some(), "nothing serves after a kill at {at}");
    world.ok("status polls");
    // Any command that changes something heals first; this one has nothing else to do.
    world.ok("fetch polls v1");
    let serving = world.current().unwrap();
    assert_eq!(started(world), serving, "after a kill at {at}");
    assert!(world.has_static("v1") && world.has_static(&serving), "after a kill at {at}");
    let status = world.ok("status polls");
    assert!(
        status.contains(&format!("serving   {serving} (healthy)")) && !status.contains("begun"),
        "at {at}: {status}"
    );
    let left = support::names(&world.root().join(".pannier"));
    assert!(!left.iter().any(|name| name.contains(".tmp-")), "at {at}: {left:?}");
    serving
}

#[test]
fn an_activation_killed_anywhere_leaves_one_release_serving_and_is_healed() {
    let world = world();
    let (kills, stayed) = everywhere(&world, "v2");
    assert!(
        kills > 50 / stride() && stayed > 0 && stayed < kills / 2,
        "{kills} kills, after {stayed} of them v2 served"
    );
}

#[test]
fn a_fetch_killed_anywhere_leaves_no_half_release_and_the_next_one_succeeds() {
    const FETCH_CALLS: &[&str] = &["openat2", "linkat", "mkdirat", "symlinkat", "syncfs", "mkdir", "chmod", "fchmodat"];
    let world = world();
    forget(&world, "v2");
    let mut kills = 0;
    for (kind, call) in CALLS.iter().chain(FETCH_CALLS).enumerate() {
        for at in tried(kind) {
            let lived = !killed(&world, "fetch polls v2", call, at);
            assert_eq!(world.current().as_deref(), Some("v1"), "{call} {at}");
            world.ok("fetch polls v2");
            assert!(world.ok("verify polls v2").contains("is as it was signed"), "{call} {at}");
            assert_eq!(world.laid()[1], Vec::<String>::new(), "{call} {at}");
            forget(&world, "v2");
            if lived {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 60 / stride(), "only {kills} kills");
}

#[test]
fn an_undo_killed_anywhere_is_finished_by_the_next_run() {
    let world = world();
    let (kills, stayed) = everywhere(&world, "bad");
    assert!(kills > 60 / stride() && stayed == 0, "{kills} kills, after {stayed} of them the bad release served");
}

#[test]
fn a_call_that_fails_anywhere_fails_the_run_cleanly_or_not_at_all() {
    let world = World::new();
    world.restart_by(START);
    world.configure_without_health();
    world.publish_static("v1");
    world.publish_static("v2");
    world.ok("activate polls v1");
    for (kind, call) in DISK_CALLS.iter().enumerate() {
        for at in tried(kind) {
            let Some(output) = failed(&world, "activate polls v2", call, at) else {
                forget(&world, "v2");
                break;
            };
            let said = format!("{call} {at}: {}", String::from_utf8_lossy(&output.stderr));
            let (serving, started) = (world.current().unwrap(), started(&world));
            let expected = match output.status.code() {
                Some(0) => "v2",
                // Done, and nobody could be told on stdout.
                Some(1) if said.contains("it is done") => "v2",
                // The machine; or the configuration could not be read, or the restart command not be started.
                Some(8 | 2 | 9) => "v1",
                other => panic!("{other:?} by {said}"),
            };
            assert_eq!((serving.as_str(), started.as_str()), (expected, expected), "{said}");
            assert!(world.has_static("v1") && (expected == "v1" || world.has_static("v2")), "{said}");
            let synced =
                !call.contains("sync") || expected == "v1" || said.contains("the journal's last line is missing");
            assert!(synced, "a sync that failed was taken for one that did not: {said}");
            forget(&world, "v2");
        }
    }
}

/// Goes back to v1 and takes another release from the disk, so that it is fetched again.
fn forget(world: &World, version: &str) {
    world.ok("activate polls v1 --downgrade");
    assert_eq!(world.laid()[1], Vec::<String>::new());
    let _ = std::fs::remove_dir_all(world.root().join("releases").join(version));
}
