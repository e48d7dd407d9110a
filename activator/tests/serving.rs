//! A real app behind the program: switched, taken back, rolled back, and the program killed in the middle of it.
#![allow(clippy::disallowed_methods, reason = "tests play the operator")]

mod support;

use support::{SERVE, World};

#[test]
fn a_release_goes_from_the_store_to_serving_and_back() {
    let world = World::new();
    world.publish_good("v1");
    world.publish_good("v2");
    world.promote("production", "v2", 1);
    assert!(world.ok("fetch polls v1").starts_with("v1 is prepared ("));
    assert_eq!(world.ok("fetch polls v1"), "v1 is prepared already\n");
    assert_eq!(world.current(), None);
    assert_eq!(world.ok("activate polls v1"), "v1 serves\n");
    assert_eq!(world.served().as_deref(), Some("v1"));
    assert_eq!(world.ok("activate polls @production"), "v2 serves (before: v1)\n");
    assert_eq!(world.ok("activate polls v2"), "v2 serves already\n");
    assert_eq!((world.served().as_deref(), world.current().as_deref()), (Some("v2"), Some("v2")));
    assert_eq!(world.ok("rollback polls"), "v1 serves (before: v2)\n");
    assert_eq!((world.served().as_deref(), world.current().as_deref()), (Some("v1"), Some("v1")));
    assert_eq!(world.ok("rollback polls --to v2"), "v2 serves (before: v1)\n");
    assert_eq!(
        world.laid(),
        [vec!["v1", "v2"], vec![], vec!["v1", "v2"]]
            .map(|l: Vec<&str>| l.into_iter().map(str::to_owned).collect::<Vec<_>>())
    );
}

#[test]
fn a_release_that_is_not_healthy_is_taken_back_and_the_old_one_serves() {
    let world = World::new();
    world.publish_good("v1");
    world.publish("v2", &[("version.txt", "v2")]);
    world.ok("activate polls v1");
    world.impatient();
    let came = world.run("activate polls v2 --quiet");
    assert_eq!(came.code, Some(10));
    let log = came.stderr.lines().filter(|line| !line.contains("| 127.0.0.1 ")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(log, @r#"
        error: failed to activate `v2` of `polls`; it was taken back
          caused by: `v2` is not healthy
          caused by: the health check of http://127.0.0.1:PORT/health.txt did not pass within 1.5s
          caused by: expected status 200, got 404 Not Found
          | <!DOCTYPE HTML>
          | <html lang="en">
          |     <head>
          |         <meta charset="utf-8">
          |         <title>Error response</title>
          caused by: what it printed last:

        serving: v1 (healthy)

        hint: once it is mended: `pannier-activator activate polls v2 --even-if-bad`
        "#);
    assert_eq!((world.served().as_deref(), world.current().as_deref()), (Some("v1"), Some("v1")));
    assert_eq!(world.run("activate polls v2").code, Some(5));
    assert_eq!(world.run("rollback polls").code, Some(3));
}

#[test]
fn a_first_release_that_is_not_healthy_needs_a_person() {
    let world = World::new();
    world.publish("v1", &[("version.txt", "v1")]);
    world.impatient();
    let came = world.run("activate polls v1 --quiet");
    assert_eq!((came.code, world.current()), (Some(11), None));
    assert!(came.stderr.contains("serving: nothing"), "{}", came.stderr);
}

#[test]
fn a_program_killed_while_it_restarts_the_app_is_healed_by_the_next_one() {
    let world = World::new();
    world.publish_good("v1");
    world.publish_good("v2");
    world.ok("activate polls v1");
    world.restart_by(&format!("{SERVE}\nkill -9 $PPID"));
    assert_eq!(world.run("activate polls v2").code, None);
    assert_eq!(world.served().as_deref(), Some("v2"));
    assert!(world.ok("status polls").contains("activate v2"));
    world.restart_by(SERVE);
    let healed = world.run("rollback polls --to v1");
    assert_eq!((healed.code, healed.stdout.as_str()), (Some(0), "v1 serves already\n"));
    assert!(healed.stderr.contains("`activate v2` was interrupted and taken back: `v1` serves"), "{}", healed.stderr);
    assert_eq!((world.served().as_deref(), world.current().as_deref()), (Some("v1"), Some("v1")));
    assert_eq!(world.ok("activate polls v2"), "v2 serves (before: v1)\n");
}

#[test]
fn only_one_at_a_time() {
    let world = World::new();
    world.publish_good("v1");
    world.restart_by("exec sleep 60");
    let mut first = world.start("activate polls v1");
    while world.current().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let second = world.run("fetch polls v1");
    assert_eq!(second.code, Some(6), "{second:?}");
    assert!(second.stderr.contains("(activate v1)"), "{}", second.stderr);
    first.kill().unwrap();
    first.wait().unwrap();
}
