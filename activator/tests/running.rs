//! A person's command, run as the app's own commands run.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use std::io::Write;
use std::process::Stdio;

use pannier_shared::statement::Running;
use support::World;

/// A node where v1 serves and v2 is prepared; both have a program of their own.
fn world(more: &str) -> World {
    let world = World::new();
    world.restart_by("true");
    std::fs::write(world.path("polls.env"), "SECRET_KEY=abcdef\nPANNIER_VERSION=mine\n").unwrap();
    world.configure(&format!("env_file = \"{}\"\n{more}", world.path("polls.env").display()));
    world.configure_without_health();
    for version in ["v1", "v2"] {
        world.publish_running(version, &[("tell", "#!/bin/sh\necho \"$@\"; exit 7\n")], Running::default());
        world.ok(&format!("fetch polls {version}"));
    }
    world.ok("activate polls v1");
    world
}

#[test]
fn it_has_the_code_the_variables_and_the_folder_of_what_serves() {
    let world = world("");
    let said = world.ok("run polls -- /usr/bin/env");
    let has = |line: &str| said.lines().any(|found| found == line);
    assert!(
        has("SECRET_KEY=abcdef") && has("PANNIER_VERSION=v1") && has("DJANGO_SETTINGS_MODULE=polls.settings"),
        "{said}"
    );
    assert!(has("PANNIER_RELEASE=DIR/srv/polls/releases/v1") && !said.contains("PANNIER_CONFIG"), "{said}");
    assert_eq!(world.ok("run polls -- pwd"), "DIR/srv/polls/releases/v1/app\n");
    assert_eq!(world.ok("run polls --release v2 -- pwd"), "DIR/srv/polls/releases/v2/app\n");
}

#[test]
fn streams_words_and_the_exit_status_are_its_own() {
    let world = world("");
    let came = world.run("run polls -- sh ./tell one --two -- three");
    assert_eq!((came.code, came.stdout.as_str(), came.stderr.as_str()), (Some(7), "one --two -- three\n", ""));
    let mut cat = world.under("/usr/bin/env", &[], "run polls -- cat");
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"typed").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"typed");
}

#[test]
fn what_cannot_be_run_is_said() {
    let world = world("");
    insta::assert_snapshot!(world.run("run polls -- nowhere").stderr, @"
    error: failed to start `nowhere`
      caused by: No such file or directory (os error 2)

    serving: v1 (healthy)

    hint: a name is looked for in the release's `venv/bin`, then in the system's folders
    ");
    assert_eq!(world.run("run polls -- nowhere").code, Some(9));
    insta::assert_snapshot!(world.run("run polls --release v3 -- pwd").stderr, @"
    error: `polls` has no release `v3` on this node

    serving: v1 (healthy)

    hint: see what is here: `pannier-activator releases polls`
    ");
    let bare = World::new();
    bare.configure("");
    insta::assert_snapshot!(bare.run("run polls -- pwd").stderr, @"
    error: nothing serves of `polls`

    serving: nothing

    hint: name one of `pannier-activator releases polls` by `--release`
    ");
    assert_eq!(bare.run("run polls").code, Some(2));
}
