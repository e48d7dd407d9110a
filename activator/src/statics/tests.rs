#![allow(clippy::disallowed_methods, reason = "tests play the administrator, and a browser")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use super::*;
use crate::activate::{Activated, OnSchema};
use crate::prune::{Decision, Keep, Unseen, prune};
use crate::rollback::rollback;
use crate::steps::restart::Restart;
use crate::testing::{Fixture, facts, runtime, v};

/// A release with hashed files of these names, which hold their names; a `site` of its own, and a twin of that.
fn lay_release(fixture: &Fixture, version: &str, names: &[&str]) {
    let own = format!("css/site.{version}.css");
    let all: Vec<&str> = names.iter().copied().chain([own.as_str()]).collect();
    let paths: BTreeMap<String, &str> = all.iter().map(|name| (name.replace('.', "-"), *name)).collect();
    let manifest = serde_json::json!({"paths": paths, "version": "1.1", "hash": ""}).to_string();
    let twin = format!("{own}.gz");
    let mut files = vec![("staticfiles.json", manifest.as_str()), ("css/site.css", version), (&twin, "compressed")];
    files.extend(all.iter().map(|name| (*name, *name)));
    fixture.lay_static(version, &files);
}

/// Releases a, b, c ... that share `js/all.00.js`; each has `js/PAIR.11.js` with the one before it.
fn fixture(versions: &[&str]) -> Fixture {
    let mut fixture = Fixture::with(versions);
    fixture.config.keep = Keep { healthy: 2, failed: 1, unseen: Unseen::UseNothing };
    for (at, version) in versions.iter().enumerate() {
        let pairs = [at, at + 1].map(|pair| format!("js/{pair}.11.js"));
        lay_release(&fixture, version, &["js/all.00.js", &pairs[0], &pairs[1]]);
    }
    fixture
}

fn only_a_starts() -> Restart {
    let command = ["sh", "-c", "test \"$PANNIER_VERSION\" = a"].map(str::to_owned).to_vec();
    Restart { command, timeout: Duration::from_secs(20), env_file: None, user: None }
}

/// What each name leads to: "css/a -> v1".
fn names(fixture: &Fixture) -> Vec<String> {
    let root = fixture.root();
    let Ok(dir) = Dir::open(&root.static_files()) else { return Vec::new() };
    let union = Union::read(&dir).unwrap();
    let mut names: Vec<String> = union.ours().map(|(name, version)| format!("{name} -> {version}")).collect();
    names.sort();
    assert!(union.ours().all(|(name, _)| root.static_files().join(name).is_file()), "{names:?}");
    names
}

/// Whether a browser gets all hashed files of these releases.
fn all_of(fixture: &Fixture, versions: &[&str]) -> bool {
    versions
        .iter()
        .all(|version| missing(&fixture.root(), &v(version)).unwrap().is_some_and(|(missing, _)| missing == 0))
}

/// All warnings but that a release was taken up.
fn said(fixture: &Fixture) -> String {
    let warnings = fixture.warnings().into_iter().filter(|text| !text.contains("complete but not recorded"));
    let lines: Vec<String> =
        warnings.map(|text| text.replace(fixture.config.root.to_str().unwrap(), "/srv/polls")).collect();
    lines.join("\n")
}

fn pruned(fixture: &Fixture) -> Vec<Decision> {
    prune(&mut fixture.open().unwrap(), &fixture.told).unwrap()
}

#[test]
fn every_activated_release_has_its_names_until_it_is_removed() {
    let fixture = fixture(&["a", "b", "c"]);
    for version in ["a", "b", "c"] {
        fixture.activate(version).unwrap();
        assert!(all_of(&fixture, &[version]));
    }
    assert!(all_of(&fixture, &["a", "b", "c"]));
    let back = rollback(&mut fixture.open().unwrap(), None, OnSchema::Refuse, &runtime(), &fixture.told).unwrap();
    assert_eq!(back.activated, Activated::Now { before: Some(v("c")) });
    assert!(all_of(&fixture, &["a", "b", "c"]));
    fixture.activate("c").unwrap();
    assert!(pruned(&fixture)[0].verdict.to_string().starts_with("removed"));
    insta::assert_debug_snapshot!(names(&fixture), @r#"
    [
        "css/site.b.css -> b",
        "css/site.b.css.gz -> b",
        "css/site.c.css -> c",
        "css/site.c.css.gz -> c",
        "js/1.11.js -> b",
        "js/2.11.js -> c",
        "js/3.11.js -> c",
        "js/all.00.js -> c",
    ]
    "#);
    assert_eq!(said(&fixture), "");
}

#[test]
fn a_release_that_failed_keeps_its_names_as_long_as_it_stays() {
    let mut fixture = fixture(&["a", "b"]);
    fixture.activate("a").unwrap();
    fixture.config.restart = Some(only_a_starts());
    fixture.activate("b").unwrap_err();
    assert!(all_of(&fixture, &["a", "b"]));
    set_right(&fixture.root(), &[v("a")]).unwrap();
    assert!(all_of(&fixture, &["a"]) && names(&fixture).iter().all(|name| name.ends_with("-> a")));
}

#[test]
fn plain_names_and_the_manifest_are_never_in_it() {
    let fixture = fixture(&["a", "b"]);
    fixture.activate("a").unwrap();
    fixture.activate("b").unwrap();
    let root = fixture.root();
    for name in ["staticfiles.json", "css/site.css"] {
        assert!(!fs::exists(&root.static_files().join(name)), "{name}");
    }
    let mode = |path: &str| fs::lstat(&root.static_files().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("css")), (0o755, 0o755));
}

#[test]
fn a_release_with_plain_names_has_none_and_that_is_no_error() {
    let fixture = Fixture::with(&["a"]);
    fixture.lay_static("a", &[("site.css", "")]);
    fixture.describe("a", |said| said.django.static_hashed = false);
    fixture.activate("a").unwrap();
    assert!(!fs::exists(&fixture.root().static_files()));
    assert_eq!(said(&fixture), "");
}

#[test]
fn a_folder_that_was_removed_is_laid_again_for_all_that_are_kept() {
    let fixture = fixture(&["a", "b"]);
    fixture.activate("a").unwrap();
    fixture.activate("b").unwrap();
    let before = names(&fixture).len();
    std::fs::remove_dir_all(fixture.root().static_files()).unwrap();
    fixture.activate("a").unwrap();
    assert_eq!(names(&fixture).len(), before);
    assert!(all_of(&fixture, &["a", "b"]));
}

#[test]
fn a_release_that_was_removed_by_hand_is_left_by_the_next_command() {
    let fixture = fixture(&["a", "b"]);
    fixture.activate("a").unwrap();
    fixture.activate("b").unwrap();
    std::fs::remove_dir_all(fixture.root().release(&v("a"))).unwrap();
    drop(fixture.open().unwrap());
    assert!(names(&fixture).iter().all(|name| name.ends_with("-> b")), "{:?}", names(&fixture));
    assert!(all_of(&fixture, &["b"]));
}

#[test]
fn what_is_not_ours_stays_and_is_named() {
    let fixture = fixture(&["a"]);
    let union = fixture.root().static_files();
    std::fs::create_dir_all(union.join("css")).unwrap();
    std::fs::write(union.join("css/site.a.css"), "theirs").unwrap();
    std::fs::write(union.join("robots.txt"), "theirs").unwrap();
    symlink("/elsewhere", union.join("js")).unwrap();
    fixture.activate("a").unwrap();
    insta::assert_snapshot!(said(&fixture), @"`/srv/polls/static/js/all.00.js` was put there by somebody else and is left as it is, and 3 more");
    assert_eq!(names(&fixture), Vec::<String>::new());
    set_right(&fixture.root(), &[]).unwrap();
    assert_eq!(fs::list(&union).unwrap(), ["css", "js", "robots.txt"]);
}

#[test]
fn a_union_that_is_not_a_folder_of_ours_keeps_nobody_from_deploying() {
    let fixture = fixture(&["a"]);
    symlink("/nowhere", fixture.root().static_files()).unwrap();
    fixture.activate("a").unwrap();
    insta::assert_snapshot!(said(&fixture), @"older pages may miss their static files: `/srv/polls/static` is a link, not a folder; look at it, then move it away: `mv /srv/polls/static /srv/polls/static.old`");
    assert_eq!(fixture.current().as_deref(), Some("a"));
}

#[test]
fn a_manifest_that_is_none_keeps_nobody_from_deploying() {
    let fixture = fixture(&["a"]);
    fixture.lay_static("a", &[("staticfiles.json", "{\"paths\": 7}")]);
    fixture.activate("a").unwrap();
    insta::assert_snapshot!(said(&fixture), @"`/srv/polls/releases/a/static/staticfiles.json` is not the manifest of a static files storage: invalid type: integer `7`, expected a map at line 1 column 11");
}

/// Two releases whose `x.00.js` differs, and of which the first has a twin of it.
fn ambiguous() -> Fixture {
    let fixture = Fixture::with(&["a", "b"]);
    for version in ["a", "b"] {
        lay_release(&fixture, version, &["x.00.js"]);
        fixture.lay_static(version, &[("x.00.js", version)]);
    }
    fixture.lay_static("a", &[("x.00.js.gz", "compressed a")]);
    fixture
}

fn served(fixture: &Fixture) -> String {
    std::fs::read_to_string(fixture.root().static_files().join("x.00.js")).unwrap()
}

#[test]
fn a_name_of_two_contents_is_that_of_what_serves() {
    let fixture = ambiguous();
    fixture.activate("a").unwrap();
    let root = fixture.root();
    let outcome = lay(&root, &v("b"), Some(&v("a")), &[v("a"), v("b")]).unwrap();
    assert_eq!((served(&fixture).as_str(), outcome.other), ("a", Some(("x.00.js".into(), v("a"), 1))));
    fixture.activate("b").unwrap();
    insta::assert_snapshot!(said(&fixture), @"
    `x.00.js` is another file in `a` than in `b`, whatever its hash says: pages of one get the other's
    `x.00.js` is another file in `b` than in `a`, whatever its hash says: pages of one get the other's
    ");
    // The twin is of the other content, and `b` has none.
    assert_eq!((served(&fixture).as_str(), fs::exists(&root.static_files().join("x.00.js.gz"))), ("b", false));
    let back = rollback(&mut fixture.open().unwrap(), None, OnSchema::Refuse, &runtime(), &fixture.told).unwrap();
    assert_eq!((back.version, served(&fixture).as_str()), (v("a"), "a"));
    assert!(fs::exists(&root.static_files().join("x.00.js.gz")));
}

#[test]
fn a_failed_activation_leaves_a_name_of_two_contents_to_what_serves() {
    let mut fixture = ambiguous();
    fixture.activate("a").unwrap();
    fixture.config.restart = Some(only_a_starts());
    fixture.activate("b").unwrap_err();
    assert_eq!(served(&fixture), "a");
}

#[test]
fn twins_that_were_made_otherwise_are_no_other_content() {
    let fixture = fixture(&["a", "b"]);
    for (version, twin) in [("a", "older gzip"), ("b", "newer gzip")] {
        fixture.lay_static(version, &[("js/all.00.js.gz", twin)]);
    }
    fixture.lay_static("b", &[("js/all.00.js.br", "brotli")]);
    fixture.activate("a").unwrap();
    fixture.activate("b").unwrap();
    let all: Vec<String> = names(&fixture).into_iter().filter(|name| name.starts_with("js/all")).collect();
    assert_eq!(all, ["js/all.00.js -> b", "js/all.00.js.br -> b", "js/all.00.js.gz -> b"]);
    assert_eq!(said(&fixture), "");
}

#[test]
fn wherever_an_interrupted_one_ended_it_is_set_right() {
    let fixture = fixture(&["a", "b"]);
    fixture.activate("a").unwrap();
    fixture.activate("b").unwrap();
    let root = fixture.root();
    let all = names(&fixture);
    let dir = Dir::open(&root.static_files()).unwrap();
    for lost in 0..all.len() {
        let mut union = Union::read(&dir).unwrap();
        for name in &all[..lost] {
            union.remove(name.split(' ').next().unwrap()).unwrap();
        }
        symlink("../releases/b/static/x", root.static_files().join(".x.tmp-0011223344556677")).unwrap();
        set_right(&root, &[v("b"), v("a")]).unwrap();
        assert!(all_of(&fixture, &["a", "b"]), "{lost}");
        assert_eq!(names(&fixture).len(), all.len());
        assert!(!facts(root.path()).iter().any(|fact| fact.contains(".tmp-")));
    }
    assert_eq!(set_right(&root, &[v("b"), v("a")]).unwrap(), 0);
}

#[test]
fn while_a_damaged_release_cannot_say_what_it_needs_no_name_is_taken_away() {
    let fixture = fixture(&["a", "b", "c"]);
    for version in ["a", "b", "c"] {
        fixture.activate(version).unwrap();
    }
    let (root, before) = (fixture.root(), names(&fixture).len());
    fixture.lay_static("b", &[("staticfiles.json", "damaged")]);
    set_right(&root, &[v("c"), v("b")]).unwrap();
    assert_eq!(names(&fixture).len(), before);
    assert!(all_of(&fixture, &["a", "c"]));
}
