//! Disks that are really full, on a tmpfs of a few MiB or a few hundred files: refused before anything is downloaded where
//! that can be known, and cleaned up after where it cannot. Mounting takes root; elsewhere the tests say that they are
//! skipped.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::process::{Command, Output};

use pannier_s3_server::{Faults, Options, Server};
use pannier_shared::store;
use pannier_tests::disk::Disk;
use pannier_tests::{World, noise, program, runtime, said};

/// Exit 8, with these words; no release and nothing half is left.
fn refused(world: &World, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(8), "{}", said(output));
    for folder in ["releases", ".pannier/staging", ".pannier/toc"] {
        assert_eq!(std::fs::read_dir(world.root().join(folder)).map_or(0, Iterator::count), 0, "{folder}");
    }
    told(world, output)
}

/// What was said, with paths and the figures of this machine made the same.
fn told(world: &World, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.replace(world.path("").to_str().unwrap(), "/WORLD/")
}

#[test]
fn too_little_room_is_refused_before_the_download() {
    let world = World::new();
    let Some(disk) = Disk::tmpfs(&world.root(), "size=2m,nr_inodes=2000") else { return };
    world.publish(&world.build("v1")).unwrap();
    let told = refused(&world, &world.run(&["--quiet", "fetch", "polls", "v1"]));
    insta::assert_snapshot!(told, @r#"
    error: failed to fetch `v1` of `polls`
      caused by: not enough room on the file system of `/WORLD/node`: 3,457,104 bytes and 42 files needed, 2,088,960 bytes and 1,991 files free

    serving: nothing

    hint: see what takes it: `df -h /WORLD/node; df -i /WORLD/node`
    "#);
    drop(disk);
}

#[test]
fn too_few_files_are_refused_before_the_download() {
    let world = World::new();
    let Some(disk) = Disk::tmpfs(&world.root(), "size=64m,nr_inodes=30") else { return };
    world.publish(&world.build("v1")).unwrap();
    let told = refused(&world, &world.run(&["--quiet", "fetch", "polls", "v1"]));
    insta::assert_snapshot!(told, @r#"
    error: failed to fetch `v1` of `polls`
      caused by: not enough room on the file system of `/WORLD/node`: 3,457,104 bytes and 42 files needed, 67,100,672 bytes and 21 files free

    serving: nothing

    hint: see what takes it: `df -h /WORLD/node; df -i /WORLD/node`
    "#);
    drop(disk);
}

/// A release with so many MiB of its own.
fn publish_with(world: &World, version: &str, own: usize) {
    let seed = version.bytes().map(u64::from).sum();
    let built =
        world.build_with(version, |tree| std::fs::write(tree.join("app/own.bin"), noise(own << 20, seed)).unwrap());
    world.publish(&built).unwrap();
}

fn releases(world: &World) -> Vec<String> {
    let names = std::fs::read_dir(world.root().join("releases")).unwrap();
    let mut names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn room_is_made_before_the_download_by_what_need_not_stay_and_no_more() {
    let world = World::new();
    let Some(disk) = Disk::tmpfs(&world.root(), "size=32m") else { return };
    for (version, own) in [("v1", 4), ("v2", 4), ("v3", 4), ("v4", 4), ("v5", 13), ("v6", 40)] {
        publish_with(&world, version, own);
    }
    for version in ["v1", "v2", "v3", "v4"] {
        assert!(world.run(&["fetch", "polls", version]).status.success(), "{version}");
    }
    assert_eq!(releases(&world), ["v1", "v2", "v3", "v4"]);
    // Nothing would make room for this one, so nothing is removed, and it is said what a person could.
    let output = world.run(&["--quiet", "fetch", "polls", "v6"]);
    let words = told(&world, &output);
    assert_eq!(output.status.code(), Some(8), "{words}");
    assert_eq!(releases(&world), ["v1", "v2", "v3", "v4"]);
    let hint = words.split_once("hint: ").unwrap().1;
    assert!(hint.starts_with("remove by hand, below `/WORLD/node/releases`, what is not needed of `v1` ("), "{words}");
    // This one takes one of the two that need not stay.
    let output = world.run(&["--quiet", "fetch", "polls", "v5"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(releases(&world), ["v2", "v3", "v4", "v5"]);
    drop(disk);
}

#[test]
fn a_disk_that_fills_up_during_the_fetch_is_cleaned_up_and_the_next_one_succeeds() {
    let world = World::new();
    let Some(disk) = Disk::tmpfs(&world.root(), "size=64m") else { return };
    let server = Server::start(Options { dir: Some(world.path("s3")), ..Options::default() }).unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL", server.url()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "testtest".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ];
    let store = {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        runtime().block_on(store::open(&"s3://pannier".parse().unwrap(), &value)).unwrap()
    };
    world.configure_store(store.location(), "");
    let built = world.build_with("v1", |tree| std::fs::write(tree.join("app/large.bin"), noise(12 << 20, 9)).unwrap());
    world.publish_to(store, &built).unwrap();

    server.set_faults(Faults { stream_mbps: Some(2), ..Faults::default() });
    let mut fetch = world.activator(&["--quiet", "fetch", "polls", "v1"]);
    let running = fetch.envs(variables.clone()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    while std::fs::read_dir(world.root().join(".pannier/staging")).map_or(0, Iterator::count) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    disk.fill();
    let output = running.wait_with_output().unwrap();
    let told = refused(&world, &output);
    assert!(told.contains("No space left on device"), "{told}");
    assert!(told.contains("hint: see what takes it: `df -h /WORLD/node; df -i /WORLD/node`"), "{told}");

    server.set_faults(Faults::default());
    std::fs::remove_file(world.root().join("filler")).unwrap();
    let again = world.activator(&["fetch", "polls", "v1"]).envs(variables).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
}

#[test]
fn a_build_whose_output_folder_is_full_leaves_nothing_in_it() {
    let world = World::new();
    let Some(disk) = Disk::tmpfs(&world.path("out"), "size=1m") else { return };
    std::fs::create_dir(world.path("site")).unwrap();
    std::fs::write(world.path("site/manage.py"), "").unwrap();
    std::fs::write(world.path("site/film.bin"), noise(2 << 20, 4)).unwrap();
    let mut build = Command::new(program("pannier"));
    build.args(["--quiet", "build", "--app", "polls", "--version", "v1"]).arg(world.path("site"));
    let output = build.arg("--key").arg(world.path("ci")).arg("--out").arg(world.path("out")).output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", said(&output));
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 0);
    insta::assert_snapshot!(told(&world, &output), @r#"
    error: failed to take the app's files
      caused by: failed to copy `/WORLD/site/film.bin`
      caused by: No space left on device (os error 28)

    hint: see what takes it: `df -h /WORLD/out; df -i /WORLD/out`
    "#);
    drop(disk);
}
