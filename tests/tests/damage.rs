//! One wrong byte anywhere is refused by name, and a refused release leaves nothing behind that could be served.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::Path;

use pannier_tests::{World, said};

/// Flips one byte of a published file, fetches to an empty node, and gives what the program said; nothing may be under `releases/`.
fn fetch_with_flip(world: &World, file: &Path, at: u64) -> String {
    let good = std::fs::read(file).unwrap();
    let mut bad = good.clone();
    bad[at as usize] ^= 0x04;
    std::fs::write(file, &bad).unwrap();
    // What an earlier fetch left would be used, and only what is used is looked at.
    let _ = std::fs::remove_dir_all(world.root());
    let output = world.run(&["fetch", "polls", "v1"]);
    std::fs::write(file, &good).unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "byte {at} of {}: {text}", file.display());
    let releases = std::fs::read_dir(world.root().join("releases")).map_or(0, Iterator::count);
    assert_eq!(releases, 0, "byte {at}: something is under releases/");
    assert!(std::fs::symlink_metadata(world.root().join("current")).is_err(), "byte {at}");
    text
}

#[test]
fn a_flipped_byte_anywhere_is_refused_and_named() {
    let world = World::new();
    let built = world.build("v1");
    world.publish(&built).unwrap();
    let artifact = world.statement(&built).artifact.clone();
    let target = pannier_shared::id::Target::host();
    let published = world.path("store").join("polls/releases/v1").join(target.as_str());
    let (document, archive) = (published.join("release.json"), published.join("artifact.tar.zst"));
    let text = std::fs::read_to_string(&document).unwrap();
    let signature = text.find("-----BEGIN").unwrap() as u64;
    for (file, at, named) in [
        (&document, 30, "release statement"),
        (&document, signature - 3, "release statement"),
        (&document, signature + 60, "release statement"),
        (&document, text.len() as u64 - 30, "release statement"),
        (&archive, 10, "frame 0"),
        (&archive, 2_000_000, "frame"),
        (&archive, artifact.toc.offset - 20, "table of group"),
        (&archive, artifact.toc.offset - 4, "table of contents"),
        (&archive, artifact.toc.offset + 5, "table of contents"),
        (&archive, artifact.size - 66, "footer"),
        (&archive, artifact.size - 1, "footer"),
    ] {
        let text = fetch_with_flip(&world, file, at);
        assert!(text.contains(named), "byte {at} of {}: expected {named:?} in {text}", file.display());
    }
    // The same release, unharmed, is fetched as if nothing had been.
    let output = world.run(&["fetch", "polls", "v1"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_cut_artifact_is_refused() {
    let world = World::new();
    let built = world.build("v1");
    world.publish(&built).unwrap();
    let target = pannier_shared::id::Target::host();
    let archive = world.path("store").join("polls/releases/v1").join(target.as_str()).join("artifact.tar.zst");
    let bytes = std::fs::read(&archive).unwrap();
    for length in [0, 1000, bytes.len() - 1] {
        std::fs::write(&archive, &bytes[..length]).unwrap();
        let output = world.run(&["fetch", "polls", "v1"]);
        assert!(!output.status.success(), "{length}: {}", said(&output));
        assert_eq!(std::fs::read_dir(world.root().join("releases")).map_or(0, Iterator::count), 0);
    }
}
