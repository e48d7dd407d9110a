//! A damaged release, mended: also the one that serves, also when another shares the damage, also when its proof is damaged.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests damage things by hand")]

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use support::{World, names};

/// A node where v1 serves.
fn serving() -> World {
    let world = World::new();
    world.restart_by("echo \"$PANNIER_VERSION\" >> \"$PANNIER_ROOT/shared/started\"");
    world.configure_without_health();
    world.publish_good("v1");
    world.ok("activate polls v1");
    world
}

fn file(world: &World, path: &str) -> PathBuf {
    world.root().join("releases").join(path)
}

fn is_sound(world: &World) {
    let said = world.ok("verify polls --all");
    assert!(said.lines().all(|line| line.contains(" is as it was signed (")), "{said}");
    assert_eq!(world.laid()[1], Vec::<String>::new());
    assert_eq!(names(&world.root().join(".pannier/removed")), Vec::<String>::new());
}

#[test]
fn every_kind_of_damage_is_mended_at_once() {
    let world = serving();
    assert_eq!(world.ok("repair polls"), "v1 is as it was signed\n");
    let app = file(&world, "v1/app");
    std::fs::write(app.join("health.txt"), "no\n").unwrap();
    std::fs::remove_file(app.join("version.txt")).unwrap();
    std::fs::create_dir(app.join("added")).unwrap();
    std::fs::write(app.join("added/file"), "").unwrap();
    std::fs::set_permissions(app.join("run"), PermissionsExt::from_mode(0o777)).unwrap();
    std::fs::remove_file(app.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", app.join("link")).unwrap();
    let came = world.run("verify polls --json");
    let line: serde_json::Value = serde_json::from_str(came.stdout.lines().last().unwrap()).unwrap();
    let kinds = serde_json::json!({ "changed": 1, "extra": 2, "link": 1, "missing": 1, "mode": 1 });
    assert_eq!((came.code, &line["kinds"]), (Some(4), &kinds));
    let said = world.ok("repair polls --quiet");
    let (damage, end) = said.trim_end().rsplit_once('\n').unwrap();
    insta::assert_snapshot!(damage, @"
    app/added: extra
    app/added/file: extra
    app/health.txt: changed
    app/link: leads to `/etc/passwd` instead of `health.txt`
    app/run: mode 0777 instead of 0755
    app/version.txt: missing
    ");
    assert!(end.starts_with("v1 is mended (") && end.ends_with(" fetched)"), "{end}");
    is_sound(&world);
    assert_eq!(world.current().as_deref(), Some("v1"));
    assert_eq!(std::fs::read_to_string(world.root().join("shared/started")).unwrap(), "v1\n");
}

#[test]
fn a_process_that_runs_from_the_old_files_is_told_of_and_a_restart_is_made_on_demand() {
    let world = serving();
    let app = file(&world, "v1/app");
    let mut sleep = std::process::Command::new("sleep").arg("60").current_dir(&app).spawn().unwrap();
    std::fs::write(app.join("health.txt"), "no\n").unwrap();
    let came = world.run("repair polls --quiet");
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    assert_eq!(came.code, Some(0), "{came:?}");
    let words = "the app still runs from the files that were replaced; start it again: `sh DIR/restart.sh`";
    assert!(came.stderr.contains(words), "{}", came.stderr);
    std::fs::write(file(&world, "v1/app/health.txt"), "no\n").unwrap();
    world.ok("repair polls --restart");
    assert_eq!(std::fs::read_to_string(world.root().join("shared/started")).unwrap(), "v1\nv1\n");
    is_sound(&world);
    std::fs::write(file(&world, "v1/app/health.txt"), "no\n").unwrap();
    world.restart_by("echo broken; exit 3");
    let came = world.run("repair polls --restart --quiet");
    assert_eq!(came.code, Some(11), "{came:?}");
    assert!(came.stderr.contains("the release is mended, but `v1` could not be started again"), "{}", came.stderr);
    is_sound(&world);
}

#[test]
fn releases_that_share_the_damage_are_named_and_mended_too() {
    let world = serving();
    world.publish_good("v2");
    world.publish_good("v3");
    world.ok("fetch polls v2");
    world.ok("fetch polls v3");
    let path = file(&world, "v2/app/health.txt");
    let is_shared = path.metadata().unwrap().nlink() == 3;
    std::fs::write(&path, "no\n").unwrap();
    let came = world.run("repair polls v2 --quiet");
    assert_eq!(came.code, Some(0), "{came:?}");
    let mended: Vec<&str> = came.stdout.lines().filter(|line| line.contains(" is mended (")).collect();
    if is_shared {
        assert!(came.stderr.contains("`v1` shares the damaged file `app/health.txt`"), "{}", came.stderr);
        assert!(mended[0].starts_with("v2") && !mended[0].contains("(0 B"), "{mended:?}");
        assert_eq!(mended[1..], ["v1 is mended (0 B fetched)", "v3 is mended (0 B fetched)"]);
    }
    is_sound(&world);
}

#[test]
fn damaged_proof_is_mended_from_the_store_if_it_is_the_same() {
    let world = serving();
    for name in ["tail", "tables", "release.json"] {
        let path = world.root().join(".pannier/toc/v1").join(name);
        let whole = std::fs::read(&path).unwrap();
        for harm in [&whole[..whole.len() - 1], b"", b"nonsense"] {
            std::fs::write(&path, harm).unwrap();
            let said = world.run("verify polls --all --quiet");
            assert_eq!(said.code, Some(4), "{name}: {said:?}");
            assert!(said.stdout.starts_with("v1 cannot be compared: "), "{name}: {said:?}");
            let said = world.ok("repair polls");
            assert!(said.contains("its records: ") && said.contains("v1 is mended ("), "{name}: {said}");
            is_sound(&world);
        }
    }
    std::fs::write(world.root().join(".pannier/toc/v1/release.json"), "nonsense").unwrap();
    world.publish("v1", &[("health.txt", "another")]);
    let came = world.run("repair polls --quiet");
    assert_eq!(came.code, Some(5), "{came:?}");
    assert!(came.stderr.contains("this node has another `v1`"), "{}", came.stderr);
}

#[test]
fn what_cannot_be_mended_stays_as_it_is() {
    let world = serving();
    let health = file(&world, "v1/app/health.txt");
    std::fs::write(&health, "no\n").unwrap();
    let artifact = world.store_file("v1", "artifact.tar.zst");
    std::fs::rename(&artifact, world.path("away")).unwrap();
    let came = world.run("repair polls --quiet");
    assert_eq!((came.code, world.current().as_deref()), (Some(7), Some("v1")), "{came:?}");
    assert_eq!((std::fs::read_to_string(&health).unwrap().as_str(), world.laid()[1].len()), ("no\n", 0));
    assert_eq!(world.run("repair polls v9").code, Some(3));
    // What needs no content needs no store.
    std::fs::write(&health, "ok\n").unwrap();
    std::fs::write(file(&world, "v1/app/added"), "").unwrap();
    assert!(world.ok("repair polls").ends_with("v1 is mended (0 B fetched)\n"));
    is_sound(&world);
}
