//! Copies of a suite: made, kept current, refused, and recovered from when the first store is away.

use std::path::Path;
use std::process::Output;

use pannier_s3_server::{Options, Server};
use pannier_tests::{said, scene};
use serde_json::Value;

use crate::{Came, Site, trees, walk};

/// A folder that is there, as a disk that is mounted.
fn folder(site: &Site, name: &str) -> String {
    std::fs::create_dir(site.world.path(name)).unwrap();
    format!("file://{}", site.world.path(name).display())
}

fn mirror(site: &Site, to: &str) -> Output {
    site.world.builder(&["suite", "mirror", "production", "--to", to, "--json"]).output().unwrap()
}

fn copied(output: &Output) -> [u64; 3] {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    ["releases", "there", "moved"].map(|name| result[name].as_u64().unwrap())
}

fn refused(site: &Site, to: &str, code: i32) -> String {
    let output = site.world.builder(&["suite", "mirror", "production", "--to", to]).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    let text = String::from_utf8(output.stderr).unwrap();
    text.replace(site.world.path("").to_str().unwrap(), "DIR/").split_once("error: ").unwrap().1.to_owned()
}

#[test]
fn a_node_comes_back_from_a_copy_when_the_store_is_away() {
    let site = Site::new();
    assert_eq!(site.recover(&[]).code, Some(0));
    let first = trees(&site);
    let copy = folder(&site, "copy");
    assert_eq!(copied(&mirror(&site, &copy)), [10, 0, 10]);
    assert_eq!(copied(&mirror(&site, &copy)), [0, 10, 0]);
    // Only what is new is copied.
    site.publish("two", "v2-two", 1);
    assert_eq!(copied(&mirror(&site, &copy)), [1, 9, 1]);
    std::fs::rename(site.world.path("store"), site.world.path("away")).unwrap();
    site.lose_the_node();
    let arguments = ["--json", "recover", "--suite", "production", "--role", "web"];
    let came = Came::of(site.command(&copy, &arguments).output().unwrap());
    assert_eq!((came.code, came.verdicts()), (Some(0), vec!["serves"]), "{}", came.text);
    assert_eq!(trees(&site)[2..], first[2..]);
    let trust = std::fs::read(site.world.path("copy/suites/production.trust")).unwrap();
    assert_eq!(trust, std::fs::read(site.world.path("trust")).unwrap());
    let output = mirror(&site, &copy);
    assert_eq!(output.status.code(), Some(7), "the source is away: {}", said(&output));
}

#[test]
fn a_copy_goes_to_a_bucket_and_back() {
    let site = Site::new();
    let server = Server::start(Options::default()).unwrap();
    let bucket = |arguments: &[&str]| {
        let output = site.world.builder(arguments).envs(scene::s3(&server.url())).output().unwrap();
        copied(&output)
    };
    assert_eq!(bucket(&["suite", "mirror", "production", "--to", "s3://pannier/copy", "--json"]), [10, 0, 10]);
    let back = folder(&site, "back");
    let arguments = ["suite", "mirror", "production", "--store", "s3://pannier/copy", "--to", &back, "--json"];
    assert_eq!(bucket(&arguments), [10, 0, 10]);
    let relative = |folder: &Path| {
        let all = walk(folder)
            .into_iter()
            .map(|path| (path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(path).unwrap()));
        let mut all: Vec<_> = all.filter(|(path, _)| !path.starts_with(".pannier~")).collect();
        all.retain(|(path, _)| path.extension().is_none_or(|end| end != "trust"));
        all.sort();
        all
    };
    assert!(relative(&site.world.path("back")) == relative(&site.world.path("store")));
}

#[test]
fn a_copy_that_broke_off_is_gone_on_with() {
    let site = Site::new();
    let (url, copy) = (folder(&site, "copy"), site.world.path("copy"));
    let artifact = walk(&site.world.path("store/six")).into_iter().find(|path| path.ends_with("artifact.tar.zst"));
    let (artifact, aside) = (artifact.clone().unwrap(), site.world.path("aside"));
    std::fs::rename(&artifact, &aside).unwrap();
    let text = refused(&site, &url, 7);
    assert!(text.starts_with("failed to fetch `six/releases/v1-six/"), "{text}");
    assert!(!copy.join("suites").exists(), "the suite comes last");
    std::fs::rename(&aside, &artifact).unwrap();
    let [releases, there, moved] = copied(&mirror(&site, &url));
    assert!(releases < 10 && releases + there == 10 && moved == 10, "{releases} {there}");
    // Spoilt in the source: it is not passed on.
    site.publish("six", "v2-six", 2);
    let artifact = walk(&site.world.path("store/six/releases/v2-six"));
    let artifact = artifact.into_iter().find(|path| path.ends_with("artifact.tar.zst")).unwrap();
    let mut bytes = std::fs::read(&artifact).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    let text = refused(&site, &url, 4);
    assert!(text.starts_with("failed to copy `six` v2-six\n"), "{text}");
    assert!(!copy.join("six/releases/v2-six").exists());
}

#[test]
fn what_would_go_back_or_change_what_is_published_is_refused_before_anything_is_copied() {
    let site = Site::new();
    let (url, copy) = (folder(&site, "copy"), site.world.path("copy"));
    copied(&mirror(&site, &url));
    let (pointer, source) = ("one/channels/production.json", site.world.path("store"));
    let old = std::fs::read(source.join(pointer)).unwrap();
    site.publish("one", "v2-one", 0);
    copied(&mirror(&site, &url));
    let new = std::fs::read(source.join(pointer)).unwrap();
    std::fs::write(source.join(pointer), old).unwrap();
    insta::assert_snapshot!(refused(&site, &url, 5), @"
    the channel `production` of `one` has the serial 2 in the copy and 1 in the source: it would go back

    hint: the source may be stale, or was restored from a backup: look at both before anything is moved
    ");
    assert_eq!(std::fs::read(copy.join(pointer)).unwrap(), new);
    std::fs::write(source.join(pointer), new).unwrap();
    // The copy has another release of that name.
    let statement = walk(&copy.join("nine/releases")).into_iter().find(|path| path.ends_with("release.json")).unwrap();
    std::fs::write(&statement, "{}\n").unwrap();
    let text = refused(&site, &url, 5);
    assert!(text.starts_with("the copy has another `nine` v1-nine for `"), "{text}");
    insta::assert_snapshot!(refused(&site, "file:///nowhere/at/all", 7), @"
    the copy cannot be compared
      caused by: the store file:///nowhere/at/all is unavailable: there is no such folder

    hint: mount the disk, or make the folder: a copy must not go to where a disk should be
    ");
    let text = refused(&site, &site.store(), 2);
    assert!(text.contains("cannot be copied onto itself"), "{text}");
}

#[test]
fn a_suite_says_what_each_role_would_run_and_what_of_it_cannot_be_had() {
    let site = Site::new();
    let show = || {
        let output = site.world.builder(&["suite", "show", "production"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = show();
    assert_eq!((code, text.lines().count()), (Some(0), 11), "{text}");
    assert!(text.starts_with("production (serial 1, signed by ci, fresh until "), "{text}");
    assert!(text.contains("\nweb/one                     0  @production          v1-one               "), "{text}");
    std::fs::remove_dir_all(site.world.path("store/two/releases")).unwrap();
    let (code, text) = show();
    assert!(
        code == Some(3) && text.contains("web/two                     1  @production          REFUSED: "),
        "{text}"
    );
    let again = site.world.builder(&["suite", "set", "suite.toml", "--key", "ci"]).output().unwrap();
    let text = String::from_utf8(again.stderr).unwrap();
    assert!(again.status.code() == Some(3) && text.contains("the role `web` cannot run `two` now"), "{text}");
}
