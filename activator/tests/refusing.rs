//! What is refused: each with its exit status and words, and nothing of it appears under `releases/`.
#![allow(clippy::disallowed_methods, reason = "tests damage things by hand")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};

use pannier_shared::statement::InterpreterOrigin;
use support::{GOOD, World};

/// A node where v1 and v2 are published and v1 serves.
fn serving() -> World {
    let world = World::new();
    world.publish_good("v1");
    world.publish_good("v2");
    world.ok("activate polls v1");
    world
}

/// Refused with this status; v1 serves on and is all there is.
fn refused(world: &World, arguments: &str, code: i32) -> String {
    let came = world.run(&format!("{arguments} --quiet"));
    assert_eq!((came.code, came.stdout.as_str()), (Some(code), ""), "{arguments}: {came:?}");
    assert_eq!(world.current().as_deref(), Some("v1"));
    assert_eq!(world.laid(), [vec!["v1".to_owned()], vec![], vec!["v1".to_owned()]]);
    came.stderr
}

#[test]
fn unknown_names_come_with_near_ones() {
    let world = serving();
    world.promote("production", "v2", 1);
    insta::assert_snapshot!(refused(&world, "fetch polls v22", 3), @"
        error: failed to fetch `v22` of `polls`
          caused by: `polls` has no version `v22` in the store file://DIR/store

        serving: v1 (healthy)

        hint: did you mean `v2`?
        ");
    insta::assert_snapshot!(refused(&world, "activate polls @prodution", 3), @"
        error: failed to fetch `@prodution` of `polls`
          caused by: `polls` has no channel `prodution` in the store file://DIR/store

        serving: v1 (healthy)

        hint: did you mean `production`?
        ");
    insta::assert_snapshot!(refused(&world, "fetch pols v1", 3), @"
        error: the app `pols` is not in DIR/activator.toml

        hint: did you mean `polls`?
        ");
    insta::assert_snapshot!(refused(&world, "rollback polls", 3), @"
        error: `polls` has no healthy release to go back to

        serving: v1 (healthy)

        hint: activate one by name; see `pannier-activator releases polls`
        ");
}

#[test]
fn a_key_that_is_not_trusted_is_refused() {
    let world = serving();
    let stranger = World::new();
    stranger.publish_good("v2");
    std::fs::copy(stranger.store_file("v2", "release.json"), world.store_file("v2", "release.json")).unwrap();
    let said = refused(&world, "fetch polls v2", 4);
    assert!(said.contains("is not in the trust file"), "{said}");
    std::fs::write(world.path("trust"), "").unwrap();
    let said = refused(&world, "fetch polls v2", 2);
    assert!(said.contains("names no key"), "{said}");
}

#[test]
fn a_channel_that_goes_back_is_refused() {
    let world = serving();
    world.promote("production", "v1", 7);
    assert_eq!(world.ok("activate polls @production"), "v1 serves already\n");
    world.promote("production", "v2", 6);
    insta::assert_snapshot!(refused(&world, "fetch polls @production", 4), @"
        error: failed to fetch `@production` of `polls`
          caused by: the channel `production` shows serial 6 of epoch 1, but this node has seen serial 7 of epoch 1: it would go back

        serving: v1 (healthy)

        hint: the store is stale or was tampered with; promote again with `pannier promote` to move `production` forward, or name the version instead
        ");
}

#[test]
fn another_release_of_the_same_name_is_refused() {
    let world = serving();
    world.publish("v1", &[("health.txt", "ok, but another")]);
    let said = refused(&world, "fetch polls v1", 5);
    assert!(said.contains("this node has another `v1`"), "{said}");
}

#[test]
fn what_lies_in_the_way_is_left_alone() {
    let world = serving();
    std::fs::create_dir(world.root().join("releases/v2")).unwrap();
    let came = world.run("fetch polls v2 --quiet");
    assert_eq!(came.code, Some(5), "{came:?}");
    assert!(came.stderr.contains("hint: if it is not needed, move it away"), "{}", came.stderr);
}

#[test]
fn an_unreachable_store_stops_a_fetch_and_not_an_activation() {
    let world = serving();
    world.ok("fetch polls v2");
    std::fs::rename(world.path("store"), world.path("away")).unwrap();
    let came = world.run("fetch polls v3 --quiet");
    assert_eq!(came.code, Some(7), "{came:?}");
    assert_eq!(world.ok("activate polls v2"), "v2 serves (before: v1)\n");
}

#[test]
fn a_missing_or_wrong_configuration_is_a_usage_error() {
    let world = serving();
    insta::assert_snapshot!(refused(&world, "status --config /nowhere/activator.toml", 2), @"
        error: the configuration cannot be read
          caused by: failed to open `/nowhere/activator.toml`
          caused by: No such file or directory (os error 2)

        hint: write it, or name another one with `--config` or `PANNIER_CONFIG`
        ");
    world.configure("colour = 1");
    insta::assert_snapshot!(refused(&world, "status", 2), @"error: DIR/activator.toml: unknown key `apps.polls.colour`");
}

#[test]
fn damage_on_the_disk_is_named_one_by_one() {
    let world = serving();
    assert!(world.ok("verify polls").starts_with("v1 is as it was signed ("));
    let app = world.root().join("releases/v1/app");
    std::fs::write(app.join("health.txt"), "no\n").unwrap();
    std::fs::remove_file(app.join("empty")).unwrap();
    std::fs::write(app.join("added"), "").unwrap();
    std::fs::set_permissions(app.join("run"), std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::remove_file(app.join("link")).unwrap();
    symlink("/etc/passwd", app.join("link")).unwrap();
    let came = world.run("verify polls v1 --quiet");
    assert_eq!((came.code, came.stderr.as_str()), (Some(4), ""));
    insta::assert_snapshot!(came.stdout, @"
        app/added: extra
        app/empty: missing
        app/health.txt: changed
        app/link: leads to `/etc/passwd` instead of `health.txt`
        app/run: mode 0777 instead of 0755
        v1 is damaged in 5 places: 1 changed, 1 extra, 1 link, 1 missing, 1 mode (8 entries, 61 B)
        ");
    assert_eq!(world.run("verify polls v2").code, Some(3));
}

#[test]
fn a_release_that_cannot_run_here_is_refused_before_it_is_fetched() {
    let world = serving();
    world.publish_as("v3", GOOD, |statement| {
        statement.release.libc_floor = Some("9.99".into());
        statement.release.libc_floor_of = Some("venv/lib/fast.so".into());
    });
    std::fs::remove_file(world.store_file("v3", "artifact.tar.zst")).unwrap();
    let said = refused(&world, "activate polls v3", 5);
    let words = "the release needs glibc 9.99 or newer (for `venv/lib/fast.so`), this node has";
    assert!(said.contains(words) && said.contains("serving: "), "{said}");
    world.publish_as("v3", GOOD, |statement| statement.artifact.unpacked = 1 << 60);
    let said = refused(&world, "activate polls v3", 4);
    assert!(
        said.contains("the statement says 7 entries with 1152921504606846976 bytes, the tables 7 with 59"),
        "{said}"
    );
}

#[test]
fn the_nodes_interpreter_must_be_the_one_the_release_needs() {
    let world = serving();
    let python = world.path("python3.11");
    let answers = |abi: &str| {
        let answer = format!(
            r#"{{"implementation": "cpython", "python": "3.11", "abi": "{abi}", "cache_tag": "cpython-311", "where": "{}"}}"#,
            python.display()
        );
        let answer = format!("#!/bin/sh\necho '{answer}'\n");
        std::fs::write(&python, answer).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    world.configure(&format!("python = \"{}\"", python.display()));
    world.publish_as("v3", GOOD, |statement| {
        statement.release.interpreter.origin = InterpreterOrigin::System;
        statement.release.interpreter.link = "app/python".into();
    });
    answers("cpython-311-other");
    let said = refused(&world, "fetch polls v3", 5);
    assert!(
        said.contains("but `DIR/python3.11` is cpython 3.11 (extensions cpython-311-other, byte code cpython-311)"),
        "{said}"
    );
    answers("cpython-311-x86_64-linux-gnu");
    world.ok("fetch polls v3");
    let link = world.root().join("releases/v3/app/python");
    assert_eq!(std::fs::read_link(&link).unwrap(), python);
    assert!(world.ok("verify polls v3").starts_with("v3 is as it was signed ("));
    std::fs::remove_file(&link).unwrap();
    symlink("/bin/sh", &link).unwrap();
    let came = world.run("verify polls v3 --quiet");
    insta::assert_snapshot!(came.stdout, @"
        app/python: interpreter: `/bin/sh` does not say what it is
        v3 is damaged in 1 place: 1 interpreter (8 entries, 59 B)
        ");
}

#[test]
fn a_channel_that_was_not_signed_again_is_a_warning_only() {
    let world = serving();
    world.promote_until("production", "v2", 1, "2020-01-01T00:00:00Z");
    let came = world.run("activate polls @production --quiet");
    assert_eq!((came.code, came.stdout.as_str()), (Some(0), "v2 serves (before: v1)\n"));
    insta::assert_snapshot!(came.stderr, @"warning: the channel `production` should have been signed again before 2020-01-01T00:00:00Z");
}

#[test]
fn releases_are_listed_with_how_they_stand() {
    let world = serving();
    world.ok("activate polls v2");
    let listed = world.ok("releases polls");
    let words: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    assert_eq!(words, [["*", "v2", "healthy"], ["<", "v1", "healthy"]]);
    world.publish_good("v3");
    let published = world.ok("releases polls --published");
    assert_eq!(published.lines().map(str::trim_end).collect::<Vec<_>>().len(), 3);
    assert!(published.ends_with("v3\n"), "{published}");
}

#[test]
fn machines_get_json() {
    let world = serving();
    let came = world.run("status --json");
    let line: serde_json::Value = serde_json::from_str(came.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(line["event"], "result");
    assert_eq!(line["apps"][0]["live"], "v1");
    assert_eq!(line["apps"][0]["verdict"], "healthy");
    let came = world.run("fetch polls v9 --json");
    let line: serde_json::Value = serde_json::from_str(came.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["exit"], &line["serving"]), (&"error".into(), &3.into(), &"v1 (healthy)".into()));
}
