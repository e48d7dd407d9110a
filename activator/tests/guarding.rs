//! What a command keeps apart: older releases from newer ones.
#![allow(clippy::disallowed_methods, reason = "tests play the operator and the app")]

mod support;

use pannier_shared::statement::Source;
use support::{GOOD, World};

/// Publishes a release whose commit was made on a day of this month.
fn publish_of(world: &World, version: &str, day: u32) {
    let committed = format!("2026-11-{day:02}T12:00:00Z").parse().ok();
    world.publish_as(version, GOOD, |statement| {
        statement.release.source = Some(Source { commit: "0".repeat(40), dirty: false, committed });
    });
}

/// A node without a health check, whose restart command is this script.
fn node(script: &str) -> World {
    let world = World::new();
    world.restart_by(script);
    world.configure_without_health();
    world
}

#[test]
fn what_is_older_than_what_serves_is_neither_fetched_nor_activated_unasked() {
    let world = node("true");
    publish_of(&world, "new", 9);
    publish_of(&world, "old", 3);
    world.ok("activate polls new");
    let came = world.run("activate polls old --quiet");
    assert_eq!(came.code, Some(5));
    insta::assert_snapshot!(came.stderr, @"
    error: failed to fetch `old` of `polls`
      caused by: `old` is older than `new`, which serves: its source was committed on 2026-11-03T12:00:00Z, that of the other on 2026-11-09T12:00:00Z

    serving: new (healthy)

    hint: to go back: `pannier-activator activate polls old --downgrade`
    ");
    assert_eq!(world.laid()[0], ["new"]);
    world.ok("fetch polls old");
    let came = world.run("activate polls old --quiet");
    assert!(came.code == Some(5) && came.stderr.contains("`old` is older than `new`"), "{came:?}");
    assert_eq!(world.ok("activate polls old --downgrade"), "old serves (before: new)\n");
    assert_eq!(world.ok("activate polls new"), "new serves (before: old)\n");
    assert_eq!(world.ok("rollback polls"), "old serves (before: new)\n");
}

#[test]
fn a_channel_that_was_moved_back_is_an_order_and_one_that_stayed_is_none() {
    let world = node("true");
    publish_of(&world, "new", 9);
    publish_of(&world, "old", 3);
    world.promote("production", "old", 1);
    world.ok("activate polls @production");
    world.ok("activate polls new");
    let came = world.run("activate polls @production --quiet");
    assert!(came.code == Some(5) && came.stderr.contains("`old` is older than `new`"), "{came:?}");
    world.promote("production", "old", 2);
    assert!(world.ok("fetch polls @production").starts_with("old is prepared already"));
    assert_eq!(world.ok("activate polls @production"), "old serves (before: new)\n");
}
