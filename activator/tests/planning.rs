//! What `plan` says to a person, and that it changes nothing.

mod support;

use support::{GOOD, World};

#[test]
fn a_plan_says_what_a_fetch_would_do_and_changes_nothing() {
    let world = World::new();
    world.publish_good("v1");
    let more = [("version.txt", "v2"), ("more.txt", "more")];
    world.publish("v2", &[GOOD, &more].concat());
    insta::assert_snapshot!(world.ok("plan polls v1"), @"
        here      0 of 4 files (0 B)
        wire      1.6 kB of 1.6 kB in 3 requests
        disk      32.8 kB and 8 inodes
        ");
    assert_eq!(support::names(&world.path("srv")), [""; 0]);
    world.ok("activate polls v1");
    insta::assert_snapshot!(world.ok("plan polls v2"), @"
        against   v1: 5 kept, 1 changed, 1 added, 0 removed
        here      3 of 5 files (59 B)
        wire      1.3 kB of 1.7 kB in 3 requests
        disk      24.6 kB and 6 inodes
        ");
    assert_eq!(world.laid()[0], ["v1"]);
    world.ok("fetch polls v2");
    assert_eq!(world.ok("plan polls v2"), "v2 is prepared already\n");
}

#[test]
fn what_cannot_be_planned_is_refused_as_a_fetch_would_be() {
    let world = World::new();
    world.publish_good("v1");
    let came = world.run("plan polls v2 --quiet");
    assert_eq!((came.code, came.stdout.as_str()), (Some(3), ""));
    insta::assert_snapshot!(came.stderr, @"
        error: failed to plan the fetch of `v2` of `polls`
          caused by: `polls` has no version `v2` in the store file://DIR/store

        serving: nothing

        hint: `pannier-activator releases polls --published` shows what there is
        ");
}
