//! Memory does not grow with the artifact.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::io::Write;

use pannier_tests::{World, noise, said};

/// 500 MiB that do not compress, half of it in one file, half in many: the artifact is as large.
fn large(tree: &std::path::Path) {
    let folder = tree.join("venv/lib/python3.11/site-packages/large");
    std::fs::create_dir_all(&folder).unwrap();
    let mut one = std::fs::File::create(folder.join("one.bin")).unwrap();
    for seed in 0..25 {
        one.write_all(&noise(10 << 20, seed + 100)).unwrap();
    }
    for seed in 0..500 {
        std::fs::write(folder.join(format!("{seed}.bin")), noise(512 << 10, seed + 1000)).unwrap();
    }
}

#[test]
fn fetching_500_mib_takes_less_than_128() {
    let world = World::new();
    let built = world.build_with("v1", large);
    let size = world.statement(&built).artifact.size;
    assert!(size > 500 << 20, "{size}");
    world.publish(&built).unwrap();
    let output = std::process::Command::new("/usr/bin/time")
        .args(["-f", "peak %M"])
        .arg(pannier_tests::program("pannier-activator"))
        .arg("--config")
        .arg(world.path("activator.toml"))
        .args(["fetch", "polls", "v1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    let peak: u64 = text.lines().find_map(|line| line.strip_prefix("peak ")).unwrap().parse().unwrap();
    assert!(peak < 128 << 10, "the fetch took {peak} KiB at its peak");
    eprintln!("peak memory of a fetch of {size} bytes: {peak} KiB");
}
