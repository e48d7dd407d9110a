//! Paths that releases share: written through one, read through the next, and never a way out for anybody.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the app, the operator and the attacker")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use pannier_shared::statement::{Running, Shared};
use support::{GOOD, World, names};

const FILES: &[(&str, &str)] = &[("health.txt", "ok\n"), ("var/own.txt", ""), ("run", "#!/bin/sh\n")];

fn sharing(folders: &[&str], files: &[&str]) -> Running {
    let paths = |list: &[&str]| list.iter().map(|&path| path.to_owned().try_into().unwrap()).collect();
    Running { shared: Shared::new(paths(folders), paths(files)).unwrap(), ..Running::default() }
}

fn world(more: &str) -> World {
    let world = World::new();
    world.restart_by("true");
    world.configure(more);
    world.configure_without_health();
    world
}

fn publish(world: &World, version: &str, folders: &[&str], files: &[&str]) {
    world.publish_running(version, FILES, sharing(folders, files));
}

/// A node where v1 serves with two shared folders and a file.
fn serving() -> World {
    let world = world("keep = 2");
    publish(&world, "v1", &["media", "var/uploads"], &["local.py"]);
    world.ok("fetch polls v1");
    std::fs::write(world.root().join("shared/local.py"), "DEBUG = False\n").unwrap();
    world.ok("activate polls v1");
    world
}

fn app(world: &World, version: &str) -> PathBuf {
    world.root().join("releases").join(version).join("app")
}

fn sound(world: &World) {
    let said = world.ok("verify polls --all");
    assert!(said.lines().all(|line| line.contains(" is as it was signed (")), "{said}");
}

#[test]
fn what_one_release_wrote_the_next_one_reads_and_it_outlives_both() {
    let world = serving();
    let read = |path: &str| std::fs::read_to_string(world.root().join("current/app").join(path)).unwrap();
    std::fs::write(app(&world, "v1").join("media/photo"), "of v1").unwrap();
    std::fs::write(app(&world, "v1").join("var/uploads/letter"), "to v2").unwrap();
    for version in ["v2", "v3"] {
        publish(&world, version, &["media", "var/uploads"], &["local.py"]);
        world.ok(&format!("activate polls {version}"));
        assert_eq!(
            [read("media/photo"), read("var/uploads/letter"), read("local.py")],
            ["of v1", "to v2", "DEBUG = False\n"]
        );
    }
    assert_eq!(world.laid()[0], ["v2", "v3"]);
    sound(&world);
    std::fs::write(app(&world, "v3").join("media/photo"), "of v3").unwrap();
    world.ok("rollback polls");
    assert_eq!((world.current().as_deref(), read("media/photo")), (Some("v2"), "of v3".to_owned()));
    let targets =
        ["media", "var/uploads", "local.py"].map(|path| std::fs::read_link(app(&world, "v2").join(path)).unwrap());
    assert_eq!(
        targets,
        ["../../../shared/media", "../../../../shared/var/uploads", "../../../shared/local.py"].map(PathBuf::from)
    );
    // A release that shares something else, and back.
    publish(&world, "v4", &["other"], &[]);
    world.ok("activate polls v4");
    assert!(!app(&world, "v4").join("media").exists() && world.root().join("shared/other").is_dir());
    world.ok("rollback polls");
    assert_eq!(read("media/photo"), "of v3");
    world.ok("prune polls");
    assert_eq!(names(&world.root().join("shared")), ["local.py", "media", "other", "var"]);
    sound(&world);
}

#[test]
fn a_damaged_link_is_named_and_mended_and_what_it_led_to_stays() {
    let world = serving();
    std::fs::write(app(&world, "v1").join("media/photo"), "kept").unwrap();
    let app = app(&world, "v1");
    for path in ["media", "local.py", "var/uploads"] {
        std::fs::remove_file(app.join(path)).unwrap();
    }
    symlink("/etc", app.join("media")).unwrap();
    std::fs::create_dir(app.join("var/uploads")).unwrap();
    symlink("../../../shared/media", app.join("var/more")).unwrap();
    let said = world.run("repair polls --quiet");
    insta::assert_snapshot!(said.stdout.lines().take(4).collect::<Vec<_>>().join("\n"), @"
    app/local.py: missing
    app/media: leads to `/etc` instead of `../../../shared/media`
    app/var/more: extra
    app/var/uploads: a folder instead of a link
    ");
    assert!(said.code == Some(0) && said.stdout.contains("v1 is mended ("), "{said:?}");
    sound(&world);
    assert_eq!(std::fs::read_to_string(app.join("media/photo")).unwrap(), "kept");
}

/// Refused before anything was changed: v1 serves on, and `shared/` is as it was.
fn refused(world: &World, version: &str, code: i32) -> String {
    let before = names(&world.root().join("shared"));
    let came = world.run(&format!("activate polls {version} --quiet"));
    assert_eq!((came.code, came.stdout.as_str()), (Some(code), ""), "{came:?}");
    assert_eq!((world.current().as_deref(), names(&world.root().join("shared"))), (Some("v1"), before));
    came.stderr
}

#[test]
fn a_release_that_lacks_a_shared_file_is_refused_before_anything_is_made() {
    let world = serving();
    publish(&world, "v2", &["new"], &["conf.py"]);
    insta::assert_snapshot!(refused(&world, "v2", 5), @"
    error: failed to activate `v2` of `polls`
      caused by: the shared file `DIR/srv/polls/shared/conf.py` is not there

    serving: v1 (healthy)

    hint: put it there, for the app's user to read: `install -D -o USER -m 0600 FILE DIR/srv/polls/shared/conf.py`
    ");
    let shared = world.root().join("shared");
    std::fs::create_dir(shared.join("conf.py")).unwrap();
    insta::assert_snapshot!(refused(&world, "v2", 5), @"
    error: failed to activate `v2` of `polls`
      caused by: the release shares `DIR/srv/polls/shared/conf.py` as a file, but it is a folder

    serving: v1 (healthy)

    hint: look at it, then move it away: `mv DIR/srv/polls/shared/conf.py DIR/srv/polls/shared/conf.py.old`
    ");
    std::fs::remove_dir(shared.join("conf.py")).unwrap();
    std::fs::write(shared.join("conf.py"), "").unwrap();
    std::fs::write(shared.join("new"), "").unwrap();
    insta::assert_snapshot!(refused(&world, "v2", 5), @"
    error: failed to activate `v2` of `polls`
      caused by: the release shares `DIR/srv/polls/shared/new` as a folder, but it is a file

    serving: v1 (healthy)

    hint: look at it, then move it away: `mv DIR/srv/polls/shared/new DIR/srv/polls/shared/new.old`
    ");
    std::fs::remove_file(shared.join("new")).unwrap();
    symlink("/nowhere", shared.join("new")).unwrap();
    let said = refused(&world, "v2", 5);
    assert!(said.contains("shared/new` as a folder, but it is a link that leads nowhere"), "{said}");
    // An operator's link to a mount is as good as a folder.
    std::fs::remove_file(shared.join("new")).unwrap();
    std::fs::create_dir(world.path("mount")).unwrap();
    symlink(world.path("mount"), shared.join("new")).unwrap();
    world.ok("activate polls v2");
    std::fs::write(app(&world, "v2").join("new/file"), "").unwrap();
    assert_eq!(names(&world.path("mount")), ["file"]);
    assert!(
        world
            .run("doctor polls")
            .stdout
            .contains("ok       polls, shared: all 2 paths that the release shares are there\n")
    );
    std::fs::remove_file(shared.join("conf.py")).unwrap();
    std::fs::remove_file(shared.join("new")).unwrap();
    let told = world.run("doctor polls").stdout;
    assert!(
        told.contains("wrong    polls, shared: the shared file `DIR/srv/polls/shared/conf.py` is not there\n"),
        "{told}"
    );
    std::fs::write(shared.join("conf.py"), "").unwrap();
    let told = world.run("doctor polls").stdout;
    assert!(told.contains("hint: make it for the app's user: `mkdir -p DIR/srv/polls/shared/new`"), "{told}");
}

#[test]
fn nothing_is_made_behind_a_link_that_somebody_planted() {
    let world = serving();
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, world.root().join("shared/deep")).unwrap();
    publish(&world, "v2", &["deep/er/est"], &[]);
    world.publish_running(
        "v2",
        &[("health.txt", "ok\n"), ("deep/er/own", ""), ("deep/own", "")],
        sharing(&["deep/er/est"], &[]),
    );
    insta::assert_snapshot!(refused(&world, "v2", 5), @"
    error: failed to activate `v2` of `polls`
      caused by: the shared folder `DIR/srv/polls/shared/deep/er/est` is not there, and is not made behind the link `DIR/srv/polls/shared/deep`

    serving: v1 (healthy)

    hint: make it, and give it to the app's user: `mkdir -p DIR/srv/polls/shared/deep/er/est`
    ");
    assert_eq!(names(&outside), Vec::<String>::new());
    // What is there already needs not be made.
    std::fs::create_dir_all(outside.join("er/est")).unwrap();
    world.ok("activate polls v2");
}

#[test]
fn folders_that_are_made_belong_to_the_apps_user() {
    let world = world("user = \"nobody\"");
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return; // Only root can give something away.
    }
    std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(world.path("srv")).unwrap();
    world.restart_by("touch app/var/uploads/by-the-app && ! touch app/var/not-by-the-app");
    publish(&world, "v1", &["media", "var/uploads"], &[]);
    world.ok("activate polls v1");
    let looks = |path: &str| {
        let meta = std::fs::metadata(world.root().join("shared").join(path)).unwrap();
        (meta.uid() != 0, meta.mode() & 0o7777)
    };
    for path in [".", "media", "var", "var/uploads"] {
        assert_eq!(looks(path), (true, 0o755), "{path}");
    }
    assert!(looks("var/uploads/by-the-app").0);
}

/// Refused by the fetch, with nothing left of it.
fn hostile(files: &[(&str, &str)], folders: &[&str], shared_files: &[&str]) -> String {
    let world = world("");
    world.publish_running("v1", files, sharing(folders, shared_files));
    let came = world.run("fetch polls v1 --quiet");
    assert_eq!((came.code, world.laid()), (Some(4), [vec![], vec![], vec![]]), "{came:?}");
    assert_eq!(names(&world.root().join("shared")), Vec::<String>::new());
    came.stderr
}

#[test]
fn a_statement_that_its_archive_has_no_room_for_is_refused() {
    insta::assert_snapshot!(hostile(GOOD, &[], &["health.txt"]), @"
    error: failed to fetch `v1` of `polls`
      caused by: the release names a shared path that its tree has no place for
      caused by: entry `app/health.txt` is not allowed: the node makes a link at `app/health.txt`

    serving: nothing

    hint: nothing is wrong with this node: whoever signed the release has to build it again
    ");
    for (files, shared) in [
        (FILES, "var"),
        (FILES, "var/own.txt/x"),
        (FILES, "Var"),
        (FILES, "no/media"),
        // `app/link` is a link to `health.txt`.
        (FILES, "link/media"),
        (&[("run", "")], "health.txt"),
    ] {
        let said = hostile(files, &[shared], &[]);
        assert!(said.contains("the release names a shared path that its tree has no place for"), "{shared}: {said}");
    }
}
