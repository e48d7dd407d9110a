//! What stays on a node, and what goes: after good and bad releases, by hand, and when something fails on the way.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use support::{World, names};

/// A node whose releases start when they have `health.txt`.
fn world(keep: &str) -> World {
    let world = World::new();
    world.restart_by("echo started; test -e \"$PANNIER_RELEASE/app/health.txt\"");
    world.configure(keep);
    world.configure_without_health();
    world
}

fn good(world: &World, version: &str) {
    world.publish_good(version);
    world.ok(&format!("activate polls {version}"));
}

fn bad(world: &World, version: &str) {
    world.publish(version, &[("version.txt", version)]);
    assert_eq!(world.run(&format!("activate polls {version}")).code, Some(10));
}

fn releases(world: &World) -> String {
    let [releases, staging, records] = world.laid();
    assert_eq!((&releases, &staging), (&records, &Vec::new()));
    assert_eq!(names(&world.root().join(".pannier/removed")), Vec::<String>::new());
    releases.join(" ")
}

#[test]
fn good_bad_good_goes_back_to_the_first_good_one() {
    let world = world("keep = 2\nkeep_failed = 0");
    good(&world, "a");
    bad(&world, "b");
    good(&world, "c");
    assert_eq!(releases(&world), "a c");
    assert_eq!(world.ok("rollback polls"), "a serves (before: c)\n");
}

#[test]
fn five_failures_do_not_push_the_first_good_one_out() {
    let world = world("");
    good(&world, "a");
    for version in ["b", "c", "d", "e", "f"] {
        bad(&world, version);
    }
    good(&world, "g");
    assert_eq!(releases(&world), "a e f g");
    assert_eq!(world.ok("rollback polls"), "a serves (before: g)\n");
    // What is known of all five is still there.
    let failed = world.root().join(".pannier/failed");
    assert_eq!(names(&failed), ["b", "c", "d", "e", "f"]);
    assert_eq!(std::fs::read_to_string(failed.join("b/printed.log")).unwrap(), "started\n");
    let why = std::fs::read_to_string(failed.join("b/why.json")).unwrap();
    assert!(why.contains("`b` could not be started") && why.contains("exit status: 1"), "{why}");
}

#[test]
fn an_activation_removes_what_is_too_old_and_a_rollback_nothing() {
    let world = world("keep = 2");
    for version in ["a", "b", "c"] {
        good(&world, version);
    }
    assert_eq!(releases(&world), "b c");
    world.ok("rollback polls");
    world.configure("keep = 2");
    world.configure_without_health();
    assert_eq!(releases(&world), "b c");
    good(&world, "d");
    assert_eq!(releases(&world), "b d");
    assert_eq!(world.ok("rollback polls"), "b serves (before: d)\n");
}

#[test]
fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let world = world("keep = 9");
    for version in ["a", "b", "c"] {
        good(&world, version);
    }
    world.configure("keep = 2");
    let said = world.ok("prune polls --dry-run");
    let a = said.lines().next().unwrap();
    assert!(a.starts_with("a would be removed: ") && a.ends_with(" files"), "{said}");
    assert_eq!(
        said.lines().skip(1).collect::<Vec<_>>(),
        ["b stays: it is one of the last healthy ones", "c stays: it serves"]
    );
    assert_eq!(releases(&world), "a b c");
    let came = world.run("prune polls --json");
    let line: serde_json::Value = serde_json::from_str(came.stdout.lines().last().unwrap()).unwrap();
    let said = |at: usize| {
        ["version", "verdict", "why"].map(|key| line["releases"][at][key].as_str().unwrap_or("-").to_owned()).join(" ")
    };
    assert_eq!(
        (said(0), said(1), said(2)),
        ("a removed -".into(), "b stays last-healthy".into(), "c stays serves".into())
    );
    assert!(line["releases"][0]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(releases(&world), "b c");
}

#[test]
fn a_prune_that_fails_after_an_activation_is_only_a_warning() {
    let world = world("keep = 2");
    good(&world, "a");
    good(&world, "b");
    world.publish_good("c");
    world.ok("fetch polls c");
    let log = world.path("strace.log");
    let inject =
        ["-qq", "-o", log.to_str().unwrap(), "-e", "trace=renameat2", "-e", "inject=renameat2:error=EIO:when=1"];
    let output = world.under("strace", &inject, "activate polls c --quiet").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), world.current().as_deref()), (Some(0), Some("c")), "{said}");
    assert!(
        said.starts_with("warning: older releases were not removed: failed to prune `polls`: failed to rename"),
        "{said}"
    );
    assert_eq!(releases(&world), "a b c");
    world.ok("prune polls");
    assert_eq!(releases(&world), "b c");
}

#[test]
fn what_runs_from_a_release_keeps_it() {
    let world = world("keep = 2");
    good(&world, "a");
    let program = world.root().join("releases/a/app/health.txt");
    let held = std::fs::File::open(&program).unwrap();
    let mut cat = std::process::Command::new("sleep").arg("60").stdin(held).spawn().unwrap();
    good(&world, "b");
    good(&world, "c");
    assert_eq!(releases(&world), "a b c");
    let said = world.ok("prune polls");
    assert!(said.starts_with(&format!("a stays: sleep ({}) has it open (`app/health.txt`)\n", cat.id())), "{said}");
    cat.kill().unwrap();
    cat.wait().unwrap();
    world.ok("prune polls");
    assert_eq!(releases(&world), "b c");
}
