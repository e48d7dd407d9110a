//! Building a published release again, through the real program: the same, and different in what and where.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod site;

use std::process::Command;

use insta::assert_snapshot;
use pannier_shared::id::Target;
use site::{Site, files};

/// A project, a key, and a store with its release v1.
fn published() -> Site {
    // Fills the caches.
    site::environment();
    let site = Site::of(&files());
    let key = run(&site, &["keys", "new", "ci", "--for", "release"]);
    std::fs::write(site.dir.path().join("trust"), key.split_once('\n').unwrap().1).unwrap();
    std::fs::create_dir(site.dir.path().join("store")).unwrap();
    run(&site, &["build", "project", "--app", "mini", "--version", "v1", "--key", "ci"]);
    assert!(run(&site, &["publish"]).starts_with("exit 0"));
    site
}

/// What the program says and ends with; what differs from run to run made the same.
fn run(site: &Site, arguments: &[&str]) -> String {
    let root = std::fs::canonicalize(site.dir.path()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
    command.env_clear().envs(site::variables(false)).current_dir(&root).arg("--quiet").args(arguments);
    command.env("PANNIER_TRUST", "trust").env("PANNIER_STORE", format!("file://{}", root.join("store").display()));
    let done = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let told = format!("exit {}\n{}{}", done.status.code().unwrap(), text(&done.stderr), text(&done.stdout));
    told.replace(root.to_str().unwrap(), "/SITE").replace(Target::host().as_str(), "HOST")
}

fn again(site: &Site) -> String {
    let before = names(site);
    let told = run(site, &["build", "project", "--app", "mini", "--verify-against", "v1"]);
    assert_eq!(names(site), before, "something is left, or was published");
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = told.split_inclusive([' ', ':', '\n'].as_slice()).map(|word| {
        let end = word.trim_end_matches([' ', ':', '\n'].as_slice());
        if is_digest(end) { word.replace(end, "<sha256>") } else { word.to_owned() }
    });
    words.collect()
}

fn names(site: &Site) -> Vec<String> {
    let all = |folder: &str| {
        walkdir::WalkDir::new(site.dir.path().join(folder))
            .sort_by_file_name()
            .into_iter()
            .map(|entry| entry.unwrap().path().display().to_string())
    };
    all("dist").chain(all("store")).collect()
}

#[test]
fn a_release_is_the_same_or_said_to_differ() {
    let site = published();
    assert_snapshot!(again(&site), @r"
    exit 0
    mini v1 for HOST is the same when built again: sha256:<sha256>
    ");
    let urls = site.project().join("mini/urls.py");
    std::fs::write(&urls, "urlpatterns = [] # changed\n").unwrap();
    assert_snapshot!(again(&site), @r"
    exit 12
    mini v1 for HOST DIFFERS when built again, in 2 of its files and links
    the first is `app/mini/urls.py`: its content is published as sha256 <sha256> and was rebuilt as <sha256>
    ");
    std::fs::remove_file(&urls).unwrap();
    std::fs::write(&urls, "urlpatterns = []\n").unwrap();
    std::fs::write(site.project().join("mini/added.txt"), "new").unwrap();
    assert_snapshot!(again(&site), @r"
    exit 12
    mini v1 for HOST DIFFERS when built again, in 1 of its files and links
    the first is `app/mini/added.txt`: it was rebuilt, and is not published
    ");
    std::fs::remove_file(site.project().join("mini/added.txt")).unwrap();
    std::fs::remove_file(site.project().join("mini/asgi.py")).unwrap();
    assert_snapshot!(again(&site), @r"
    exit 12
    mini v1 for HOST DIFFERS when built again, in 3 of its files and links
    the first is `app/mini/asgi.py`: it is published only, and was not rebuilt
    asgi           mini.asgi:application -> none
    ");
}

#[test]
fn what_is_not_published_is_not_built() {
    let site = published();
    let told = run(&site, &["build", "project", "--app", "mini", "--verify-against", "v11"]);
    assert_snapshot!(told, @r"
    exit 3
    error: `mini` has no version `v11` in the store file:///SITE/store

    hint: did you mean `v1`?
    ");
    let told = run(&site, &["build", "project", "--app", "mini", "--verify-against", "v1", "--version", "v1"]);
    assert_snapshot!(told, @r"
    exit 2
    error: the argument '--verify-against <VERSION>' cannot be used with '--version <VERSION>'

    Usage: pannier build --app <APP> --verify-against <VERSION> --store <URL> --trust <FILE> <PROJECT>

    For more information, try '--help'.
    ");
}
