//! The app's variables: they go back with a rollback, and their values are nowhere but where they are needed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pannier_shared::statement::{Hook, HookName, Running, Seconds, Words};
use support::{GOOD, SERVE, World};

const MARKER: &str = "hunter2-marker";

fn write(world: &World, value: &str) {
    let text = format!("# for {value}\nSECRET_KEY=\"{value}\"\nDATABASE=postgres://me:{value}@db/polls\n");
    std::fs::write(world.path("polls.env"), text).unwrap();
}

/// A node whose app writes down what it was started with.
fn world() -> World {
    let world = World::new();
    write(&world, "first-value");
    world.configure(&format!("env_file = \"{}\"", world.path("polls.env").display()));
    let noting = format!("echo \"$PANNIER_VERSION $SECRET_KEY\" >> {}\n{SERVE}", world.path("started").display());
    world.restart_by(&noting);
    world
}

fn started(world: &World) -> Vec<String> {
    std::fs::read_to_string(world.path("started")).unwrap().lines().map(str::to_owned).collect()
}

fn kept(world: &World) -> Vec<String> {
    support::names(&world.root().join(".pannier/env"))
}

#[test]
fn variables_go_back_with_the_release_that_ran_with_them() {
    let world = world();
    world.publish_good("v1");
    world.publish_good("v2");
    world.publish("v3", &[("version.txt", "v3")]);
    world.ok("activate polls v1");
    write(&world, "second-value");
    world.ok("activate polls v2");
    world.ok("rollback polls");
    assert_eq!(started(&world), ["v1 first-value", "v2 second-value", "v1 first-value"]);
    write(&world, "third-value");
    world.impatient();
    assert_eq!(world.run("activate polls v3").code, Some(10));
    assert_eq!(started(&world)[3..], ["v3 third-value", "v1 first-value"]);
    // Two releases, two copies; that of the failed one is gone with it.
    assert_eq!(kept(&world).len(), 2);
    for name in kept(&world) {
        let mode = std::fs::metadata(world.root().join(".pannier/env").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }
    world.ok("activate polls v1");
    assert_eq!(world.ok("activate polls v2"), "v2 serves (before: v1)\n");
    assert_eq!(started(&world).last().unwrap(), "v2 third-value");
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let world = world();
    world.publish_good("v1");
    std::fs::write(world.path("polls.env"), format!("A=1\n{MARKER}\n")).unwrap();
    let came = world.run("activate polls v1 --quiet");
    assert_eq!((came.code, world.current()), (Some(2), None));
    insta::assert_snapshot!(came.stderr, @"
    error: failed to activate `v1` of `polls`
      caused by: the app's variables cannot be kept
      caused by: line 2 of `DIR/polls.env` is not NAME=VALUE

    serving: nothing

    hint: see to `env_file` in the app's configuration
    ");
    assert_eq!(kept(&world), [""; 0]);
}

/// Every file below a folder that holds the marker.
fn marked(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in support::names(folder) {
        let path = folder.join(&name);
        if path.is_dir() && !path.is_symlink() {
            found.extend(marked(&path));
        } else if std::fs::read(&path).is_ok_and(|bytes| bytes.windows(MARKER.len()).any(|at| at == MARKER.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn no_value_is_shown_or_written_down_whatever_the_app_prints() {
    let world = world();
    let leak = "echo \"leak: $SECRET_KEY $DATABASE\" >&2; exit 1";
    let words = Words::try_from(["sh", "-c", leak].map(str::to_owned).to_vec()).unwrap();
    let hook = |name: HookName| (name, Hook { command: words.clone(), timeout: Seconds::default() });
    let failing =
        Running { hooks: [hook(HookName::BeforeSwitch), hook(HookName::OnFailure)].into(), ..Running::default() };
    world.publish_good("v1");
    world.publish_running("v2", GOOD, failing);
    world.publish_running("v3", GOOD, Running { hooks: [hook(HookName::AfterSwitch)].into(), ..Running::default() });
    world.publish("v4", &[("health.txt", &format!("bad: {MARKER}"))]);
    world.publish_good("v5");
    write(&world, MARKER);
    world.ok("activate polls v1");
    world.impatient();
    let mut shown = String::new();
    for (version, code) in [("v2", 9), ("v3", 10), ("v4", 10)] {
        for json in ["", " --json"] {
            let came = world.run(&format!("activate polls {version} --even-if-bad{json}"));
            assert_eq!(came.code, Some(code), "{version}: {came:?}");
            shown += &format!("{}{}", came.stdout, came.stderr);
        }
    }
    world.restart_by(leak);
    let came = world.run("activate polls v5");
    assert_eq!(came.code, Some(11), "{came:?}");
    shown += &came.stderr;
    assert!(shown.contains("leak: [SECRET_KEY] [DATABASE]") && shown.contains("bad: [SECRET_KEY]"), "{shown}");
    assert!(!shown.contains(MARKER), "{shown}");
    // The copies have it, and what the app itself printed last; v4 brought it as a file of its own.
    let found = marked(&world.root());
    let expected =
        |path: &String| ["/.pannier/env/", "/restart.log", "/releases/v4/"].iter().any(|part| path.contains(part));
    assert_eq!(found.iter().filter(|path| !expected(path)).collect::<Vec<_>>(), [&""; 0]);
    assert!(found.iter().any(|path| path.contains("/.pannier/env/")), "{found:?}");
}
