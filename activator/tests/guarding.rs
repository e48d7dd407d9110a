//! What a command keeps apart: older releases from newer ones, one command from another, one app from the next, and the
//! app's user from the releases.
#![allow(clippy::disallowed_methods, reason = "tests play the operator and the app")]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// Tries until it is there: another process makes it.
fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come");
}

#[test]
fn who_waits_is_told_for_whom_and_goes_on_when_the_holder_is_killed() {
    let hang = r#"test "$PANNIER_VERSION" != v2 || { sleep 600 & echo $! > "$PANNIER_ROOT/shared/asleep"; wait; }"#;
    let world = node(hang);
    for version in ["v1", "v2", "v3"] {
        world.publish_good(version);
    }
    world.ok("activate polls v1");
    let mut holder = world.start("activate polls v2");
    let asleep = || std::fs::read_to_string(world.root().join("shared/asleep")).ok()?.trim().parse::<u32>().ok();
    let asleep = wait_for("the restart", asleep);

    let came = world.run("fetch polls v3 --quiet");
    let since = came.stderr.split("since ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap().to_owned();
    let said = came.stderr.replace(&format!("process {}", holder.id()), "process PID").replace(&since, "TIME");
    assert_eq!(came.code, Some(6));
    insta::assert_snapshot!(said, @"
    error: the lock of `polls` cannot be taken
      caused by: the lock is held by process PID (activate v2) since TIME

    serving: v2 (live, not confirmed)

    hint: wait until it is done, or add `--wait`; see `pannier-activator status polls`
    ");
    let came = world.run("fetch polls v3 --wait=60ms --quiet");
    assert!(came.code == Some(6) && came.stderr.contains("and was waited for 60 ms"), "{came:?}");

    let mut waiter = world.under("env", &[], "fetch polls v3 --wait").stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(waiter.stderr.take().unwrap()).read_line(&mut told).unwrap();
    let expected = format!("held by process {} (activate v2) since", holder.id());
    assert!(
        told.contains("waiting for the lock of `polls`, for at most 10 min 00 s") && told.contains(&expected),
        "{told}"
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(waiter.wait().unwrap().success());
    assert_eq!(
        (world.current().as_deref(), world.laid()[0].clone()),
        (Some("v1"), vec!["v1".into(), "v2".into(), "v3".into()])
    );
    let _ = Command::new("kill").arg(asleep.to_string()).status();
}

#[test]
fn apps_on_one_node_neither_wait_for_nor_touch_each_other() {
    let world = World::new();
    let apps = ["polls", "blog", "shop"];
    let mut text = format!("store = \"file://{0}/store\"\ntrust = \"{0}/trust\"\n", world.dir.path().display());
    for app in apps {
        let dir = world.dir.path().display();
        text += &format!(
            "[apps.{app}]\nroot = \"{dir}/srv/{app}\"\nrestart = [\"sh\", \"{dir}/restart.sh\"]\nrestart_timeout = \"30s\"\n"
        );
        for version in ["v1", "v2"] {
            world.publish_as(version, GOOD, |statement| statement.release.app = app.parse().unwrap());
        }
    }
    std::fs::write(world.path("activator.toml"), text).unwrap();
    world.restart_by("true");
    for app in apps {
        world.ok(&format!("activate {app} v1"));
    }
    // Each restart ends only when all three are under way; the blog's then fails.
    let dir = world.dir.path().display().to_string();
    world.restart_by(&format!(
        r#"cd {dir}; touch began-$PANNIER_APP; until [ -e began-polls ] && [ -e began-blog ] && [ -e began-shop ]; do sleep 0.02; done
        test "$PANNIER_APP-$PANNIER_VERSION" != blog-v2"#
    ));
    let started = apps.map(|app| world.start(&format!("activate {app} v2")));
    let ended = started.map(|mut command| command.wait().unwrap().code());
    assert_eq!(ended, [Some(0), Some(10), Some(0)]);
    for (app, version) in [("polls", "v2"), ("blog", "v1"), ("shop", "v2")] {
        let status = world.ok(&format!("status {app}"));
        assert!(status.contains(&format!("serving   {version} (healthy)")), "{status}");
        assert!(world.ok(&format!("verify {app}")).starts_with(&format!("{version} is as it was signed")));
    }
}

#[test]
fn the_apps_user_runs_its_commands_and_cannot_write_to_its_releases() {
    let me = std::fs::metadata("/proc/self").unwrap().uid();
    if me != 0 {
        return; // Only root can become another user.
    }
    let script = r#"cd "$PANNIER_RELEASE"; id -u > "$PANNIER_ROOT/shared/who"
        for path in app/health.txt app/new new ../new ../../.pannier/state.json ../../.pannier/new ../../current; do
            test ! -w "$path" || echo "may write to $path"
            (echo x >> "$path") 2>/dev/null && echo "wrote to $path"
        done; rm -rf "$PANNIER_RELEASE" 2>/dev/null; true"#;
    let world = World::new();
    world.restart_by(script);
    world.configure("user = \"nobody\"");
    world.configure_without_health();
    for folder in [world.dir.path().to_owned(), world.path("restart.sh")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    world.publish_good("v1");
    world.ok("activate polls v1");
    let root = world.root();
    assert_eq!(std::fs::read_to_string(root.join("shared/who")).unwrap(), "65534\n");
    assert_eq!(std::fs::read_to_string(root.join(".pannier/restart.log")).unwrap(), "");
    assert!(world.ok("verify polls").starts_with("v1 is as it was signed"));
    let owner = |path: &Path| std::fs::symlink_metadata(path).unwrap().uid();
    assert_eq!((owner(&root.join("releases/v1/app/health.txt")), owner(&root.join("shared"))), (0, 65534));

    world.configure("user = \"no-such-user\"");
    let came = world.run("activate polls v1 --quiet");
    assert_eq!(came.code, Some(2));
    insta::assert_snapshot!(came.stderr, @"
    error: the user of `polls` cannot be used
      caused by: the machine has no user `no-such-user`

    serving: v1 (healthy)

    hint: make it (`useradd --system --shell /usr/sbin/nologin no-such-user`), or name another `user` in the app's configuration; only /etc/passwd is looked into
    ");
}

/// Each thread that decodes confines itself before it makes its first file, and no other thread is confined.
#[test]
fn decoders_are_confined_before_they_write() {
    let world = node("true");
    world.publish_good("v1");
    let log = world.path("strace.log");
    let trace = "trace=landlock_restrict_self,openat2";
    let traced = ["-f", "-qq", "-o", log.to_str().unwrap(), "-e", trace];
    assert!(world.under("strace", &traced, "fetch polls v1 --quiet").status().unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    if log.contains("ENOSYS") || log.contains("EOPNOTSUPP") {
        return; // This kernel has no Landlock.
    }
    let thread = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let main = thread(log.lines().next().unwrap());
    let confined = |line: &str| line.contains("landlock_restrict_self");
    assert!(!log.lines().any(|line| confined(line) && thread(line) == main), "{log}");
    let made: Vec<&str> = log.lines().filter(|line| line.contains("O_CREAT") && thread(line) != main).collect();
    assert!(made.len() >= 3, "{log}");
    for line in made {
        let mut before = log.lines().take_while(|other| *other != line);
        assert!(before.any(|other| confined(other) && thread(other) == thread(line)), "{line}\n{log}");
    }
}
