//! What `docs/recovery.md` says to type by hand is typed here, and gives the trees that `recover` gives.

use std::path::Path;
use std::process::Command;

use pannier_tests::{listing, said};

use crate::{APPS, Site};

const TEXT: &str = include_str!("../../../docs/recovery.md");

/// The commands between two marks of the document.
fn documented(what: &str) -> String {
    let begin = TEXT.split_once(&format!("<!-- {what}: begin -->")).unwrap().1;
    let block = begin.split_once(&format!("<!-- {what}: end -->")).unwrap().0;
    block.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn sh(script: &str, vars: &[(&str, &Path)]) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("umask 022\n{script}")]).env_clear().env("PATH", "/usr/bin:/bin");
    let output = command.envs(vars.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn by_hand(site: &Site) -> Result<String, String> {
    let target = pannier_shared::id::Target::host();
    let vars = format!("SUITE=production ROLE=web TARGET={target}\nget() {{ cp \"$STORE/$1\" \"$2\"; }}\n");
    let script = format!("umask 022\n{vars}{}", documented("by hand"));
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env_clear().env("PATH", "/usr/bin:/bin");
    let output = command.env("STORE", site.world.path("store")).env("TRUST", site.world.path("trust")).output();
    let output = output.unwrap();
    if output.status.success() { Ok(said(&output)) } else { Err(said(&output)) }
}

#[test]
fn the_documented_commands_give_the_same_trees() {
    let site = Site::new();
    assert_eq!(site.recover(&[]).code, Some(0));
    let digest = |app: &str| sh(&documented("tree digest"), &[("tree", &site.tree(app))]);
    let ours: Vec<_> = APPS.iter().map(|app| (digest(app), listing(&site.tree(app).join("")))).collect();
    site.lose_the_node();
    let text = by_hand(&site).unwrap();
    assert_eq!(text.matches("Good \"release@pannier\" signature").count(), APPS.len(), "{text}");
    for (app, (digest_of_ours, listing_of_ours)) in APPS.iter().zip(ours) {
        assert_eq!(digest(app), digest_of_ours, "{app}");
        assert_eq!(listing(&site.tree(app).join("")), listing_of_ours, "{app}");
    }
}

#[test]
fn the_documented_commands_refuse_what_is_not_as_it_was_signed() {
    let site = Site::new();
    let release = site.world.path("store/one/releases/v1-one").join(pannier_shared::id::Target::host().as_str());
    let spoil = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let whole = std::fs::read(path).unwrap();
        let mut spoilt = whole.clone();
        change(&mut spoilt);
        std::fs::write(path, spoilt).unwrap();
        let text = by_hand(&site).unwrap_err();
        assert!(!site.tree("one").exists(), "{text}");
        std::fs::write(path, whole).unwrap();
        text
    };
    let text = spoil(&release.join("artifact.tar.zst"), &|bytes| bytes[5000] ^= 1);
    assert!(text.contains("artifact.tar.zst: FAILED"), "{text}");
    let text = spoil(&release.join("release.json"), &|bytes| bytes[50] ^= 1);
    assert!(text.contains("Signature verification failed"), "{text}");
    let suite = site.world.path("store/suites/production.json");
    let text = spoil(&suite, &|bytes| bytes[50] ^= 1);
    assert!(text.contains("Signature verification failed"), "{text}");
    // Another app's release, well signed, in this one's place.
    let other = site.world.path("store/two/releases/v1-two").join(pannier_shared::id::Target::host().as_str());
    let statement = std::fs::read(other.join("release.json")).unwrap();
    spoil(&release.join("release.json"), &|bytes| bytes.clone_from(&statement));
    by_hand(&site).unwrap();
}
