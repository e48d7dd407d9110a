//! Stock tools are enough: they extract the tree that the node unpacks, and agree about digests and signatures.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::Path;
use std::process::Command;

use pannier_tests::{World, listing, said};

fn sh(folder: &Path, script: &str) -> String {
    let output =
        Command::new("sh").args(["-ec", script]).current_dir(folder).env("LC_ALL", "C.UTF-8").output().unwrap();
    assert!(output.status.success(), "{script}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A world with one built release, and the tree as the node unpacks it.
fn unpacked() -> (World, std::path::PathBuf, Vec<String>) {
    let world = World::new();
    let built = world.build("v1");
    world.publish(&built).unwrap();
    let output = world.run(&["fetch", "polls", "v1", "--json"]);
    // Every byte is fetched, and once.
    let (text, size) = (said(&output), world.statement(&built).artifact.size);
    let numbers = text.split("\"bytes\":").skip(1).filter_map(|rest| rest.split([',', '}']).next()?.parse().ok());
    let bytes: u64 = numbers.max().unwrap();
    assert!(output.status.success() && bytes == size, "{bytes} of {size}: {text}");
    let tree = listing(&world.root().join("releases/v1"));
    (world, built, tree)
}

#[test]
fn gnu_tar_bsdtar_and_python_extract_the_same_tree() {
    let (world, built, ours) = unpacked();
    let artifact = built.join("artifact.tar.zst").display().to_string();
    for (name, script) in [
        ("gnu", format!("tar --zstd -xf '{artifact}'")),
        ("bsd", format!("bsdtar -xf '{artifact}'")),
        (
            "python",
            format!(
                "zstd -dcq '{artifact}' > ../all.tar && python3 -c \"import tarfile; \
                 tarfile.open('../all.tar').extractall('.')\""
            ),
        ),
    ] {
        let folder = world.path(name);
        std::fs::create_dir(&folder).unwrap();
        sh(&folder, &format!("umask 022; {script}"));
        assert_eq!(listing(&folder), ours, "{name}");
    }
}

#[test]
fn file_and_zstd_recognise_the_archive() {
    let (_world, built, _) = unpacked();
    sh(&built, "zstd -tq artifact.tar.zst");
    let members = sh(&built, "tar --zstd -tf artifact.tar.zst");
    assert_eq!(members.lines().last(), Some(".pannier/COMPLETE"));
    let headers = sh(&built, "tar --zstd --numeric-owner --utc --full-time -tvf artifact.tar.zst");
    assert!(headers.lines().all(|line| line.contains(" 0/0 ") && line.contains(" 1980-01-01 00:00:00 ")), "{headers}");
}

#[test]
fn sha256sum_and_ssh_keygen_agree_with_the_statement() {
    let (world, built, _) = unpacked();
    let statement = world.statement(&built);
    let sum = sh(&built, "sha256sum artifact.tar.zst");
    assert!(sum.starts_with(&statement.artifact.sha256.to_string()), "{sum}");
    let trust = world.path("trust").display().to_string();
    let good = sh(
        &built,
        &format!(
            "sed '/BEGIN SSH SIGNATURE/,$d' release.json > text; sed -n '/BEGIN SSH SIGNATURE/,$p' release.json > sig; \
             ssh-keygen -Y verify -f '{trust}' -I ci -n release@pannier -s sig < text"
        ),
    );
    assert!(good.contains("Good \"release@pannier\" signature for ci"), "{good}");
}
