//! A prune and a repair killed at every system call that changes anything: what serves is whole at every instant, and the
//! next run finishes or takes back the rest. A quarter of the calls; `scripts/torture calls` tries all of them.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use support::{World, killed, names, stride, tried};

/// The calls that change what a dead program leaves. One that only makes a file is followed by one that fills it; one that syncs
/// changes nothing that another program sees.
const CALLS: &[&str] = &[
    "write",
    "mkdir",
    "mkdirat",
    "linkat",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
];

/// A node where v1 serves.
fn world() -> World {
    let world = World::new();
    world.restart_by("true");
    world.configure_without_health();
    world.publish_static("v1");
    world.ok("activate polls v1");
    world
}

/// Whatever lies under `releases/` is whole, and v1 serves.
fn is_whole(world: &World, at: &str) {
    assert_eq!(world.current().as_deref(), Some("v1"), "{at}");
    assert!(world.has_static("v1"), "static files of what serves are missing after a kill at {at}");
    assert_eq!(lost_names(world), Vec::<String>::new(), "{at}");
    for version in names(&world.root().join("releases")) {
        let last = world.root().join("releases").join(&version).join(".pannier/COMPLETE");
        assert!(last.is_file(), "{version} is not whole after a kill at {at}");
    }
}

/// Names of static files that lead nowhere: a server that lists them when it starts may stumble over one.
fn lost_names(world: &World) -> Vec<String> {
    let all = ["css", "js"].map(|folder| {
        names(&world.root().join("static").join(folder)).into_iter().map(move |name| format!("{folder}/{name}"))
    });
    all.into_iter().flatten().filter(|name| !world.root().join("static").join(name).is_file()).collect()
}

fn nothing_is_left(world: &World, at: &str) {
    for folder in ["staging", "removed"] {
        assert_eq!(names(&world.root().join(".pannier").join(folder)), Vec::<String>::new(), "{at}");
    }
    let journal = std::fs::read_to_string(world.root().join(".pannier/journal.jsonl")).unwrap();
    assert!(journal.lines().last().unwrap().contains("\"what\":\"ended\""), "{at}");
}

fn all_is_sound(world: &World) {
    let said = world.ok("verify polls --all");
    assert!(said.lines().all(|line| line.contains("is as it was signed")), "{said}");
}

#[test]
fn a_prune_killed_anywhere_removes_whole_releases_or_none() {
    let world = world();
    for version in ["p1", "p2", "p3"] {
        world.publish_static(version);
        world.ok(&format!("fetch polls {version}"));
    }
    let mut kills = 0;
    for (kind, call) in CALLS.iter().enumerate() {
        for at in tried(kind) {
            let here = format!("{call} {at}");
            let lived = !killed(&world, "prune polls", call, at);
            is_whole(&world, &here);
            world.ok("prune polls");
            nothing_is_left(&world, &here);
            let releases = world.laid()[0].clone();
            assert!(releases.iter().all(|version| world.has_static(version)), "{here}");
            assert_eq!(releases.len(), 3, "{here}: {releases:?}");
            let gone = ["p1", "p2", "p3"].into_iter().find(|version| !releases.contains(&version.to_string())).unwrap();
            assert!(!world.root().join(format!("static/js/{gone}.1.js")).is_symlink(), "{here}");
            world.ok(&format!("fetch polls {gone}"));
            if lived {
                break;
            }
            kills += 1;
        }
    }
    all_is_sound(&world);
    assert!(kills > 20 / stride(), "only {kills} kills");
}

#[test]
fn a_repair_killed_anywhere_leaves_a_whole_release_and_the_next_one_mends_it() {
    let world = world();
    let mut kills = 0;
    for (kind, call) in CALLS.iter().enumerate() {
        for at in tried(kind) {
            let here = format!("{call} {at}");
            std::fs::write(world.root().join("releases/v1/app/health.txt"), "no\n").unwrap();
            let lived = !killed(&world, "repair polls", call, at);
            is_whole(&world, &here);
            world.ok("repair polls");
            nothing_is_left(&world, &here);
            all_is_sound(&world);
            if lived {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills > 35 / stride(), "only {kills} kills");
}
