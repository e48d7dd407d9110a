//! Memory does not grow with the artifact, through neither kind of store.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::io::Write;
use std::path::Path;
use std::process::Command;

use pannier_s3_server::{Options, Server};
use pannier_tests::{World, noise, program, said};

/// What a fetch may take at its peak.
const LIMIT_KIB: u64 = 128 << 10;

/// What publishing may take: eight parts of 16 MiB, what their connections hold, and the program.
const PUBLISH_LIMIT_KIB: u64 = 256 << 10;

/// 500 MiB that do not compress, half of it in one file, half in many: the artifact is as large.
fn large(tree: &Path) {
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

/// Fetches v1 into a fresh root; gives the peak of its resident memory in KiB.
fn peak_of_fetch(world: &World, variables: &[(&str, &str)]) -> u64 {
    let _ = std::fs::remove_dir_all(world.root());
    let config = world.path("activator.toml");
    peak_of("pannier-activator", &["--config", config.to_str().unwrap(), "fetch", "polls", "v1"], variables)
}

/// Runs one of Pannier's programs; gives the peak of its resident memory in KiB, as the kernel counted it.
fn peak_of(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> u64 {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "peak %M"]).arg(program(name)).args(arguments);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    text.lines().find_map(|line| line.strip_prefix("peak ")).unwrap().parse().unwrap()
}

#[test]
fn fetching_500_mib_takes_less_than_128_and_publishing_them_less_than_256() {
    let world = World::new();
    let built = world.build_with("v1", large);
    std::fs::remove_dir_all(world.path("tree-v1")).unwrap();
    let size = world.statement(&built).artifact.size;
    assert!(size > 500 << 20, "{size}");

    world.publish(&built).unwrap();
    let peak = peak_of_fetch(&world, &[]);
    println!("from a directory: {peak} KiB for {size} bytes");
    assert!(peak < LIMIT_KIB, "the fetch took {peak} KiB at its peak");

    let server = Server::start(Options { dir: Some(world.path("s3")), ..Options::default() }).unwrap();
    let url = server.url();
    let variables = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "testtest"),
        ("AWS_REGION", "us-east-1"),
    ];
    let location = "s3://pannier/large";
    let (folder, trust) = (built.to_str().unwrap(), world.path("trust"));
    let arguments = ["publish", folder, "--store", location, "--trust", trust.to_str().unwrap()];
    let peak = peak_of("pannier", &arguments, &variables);
    println!("publishing to S3: {peak} KiB for {size} bytes");
    assert!(peak < PUBLISH_LIMIT_KIB, "publishing took {peak} KiB at its peak");
    world.configure_store(location, "");
    let peak = peak_of_fetch(&world, &variables);
    println!("from S3: {peak} KiB for {size} bytes");
    assert!(peak < LIMIT_KIB, "the fetch took {peak} KiB at its peak");
}
