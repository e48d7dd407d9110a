//! Hashed static files through a real nginx: a page's files are there before, during and after every switch, until the release
//! that rendered it is removed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

#[path = "support/nginx.rs"]
mod nginx;
mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nginx::Nginx;
use support::World;

const KEPT: &str = "200 public, max-age=31536000, immutable";
const MISSING: &str = "404 no-store";

/// A node that keeps three healthy releases; of v1 to v5 v1 serves.
fn world() -> World {
    let world = World::new();
    world.restart_by("true");
    world.configure("keep = 3");
    world.configure_without_health();
    for version in ["v1", "v2", "v3", "v4", "v5"] {
        world.publish_static(version);
    }
    world.ok("activate polls v1");
    world
}

/// How a page of this release gets the file that all have, and its own.
fn page(nginx: &Nginx, version: &str) -> (String, String) {
    let own = nginx.get(&format!("/static/js/{version}.1.js"));
    assert!(own.status != 200 || (own.body == "twin" && own.header("content-encoding") == Some("gzip")), "{own:?}");
    (nginx.get("/static/css/all.0.css").told(), own.told())
}

fn all(told: &str) -> (String, String) {
    (told.to_owned(), told.to_owned())
}

#[test]
fn a_page_gets_its_files_through_all_switches_until_its_release_is_removed() {
    let world = world();
    let nginx = Nginx::start(&world.root());
    assert_eq!(page(&nginx, "v1"), all(KEPT));
    for version in ["v2", "v3"] {
        world.ok(&format!("activate polls {version}"));
        for loaded in ["v1", "v2", version] {
            assert_eq!(page(&nginx, loaded), all(KEPT), "{loaded} after {version}");
        }
    }
    world.ok("rollback polls");
    for loaded in ["v1", "v2", "v3"] {
        assert_eq!(page(&nginx, loaded), all(KEPT), "{loaded} after the rollback");
    }
    world.ok("activate polls v3");
    world.ok("activate polls v4");
    assert_eq!(world.laid()[0], ["v2", "v3", "v4"]);
    for loaded in ["v2", "v3", "v4"] {
        assert_eq!(page(&nginx, loaded), all(KEPT), "{loaded} after v1 was removed");
    }
    assert_eq!(page(&nginx, "v1"), (KEPT.to_owned(), MISSING.to_owned()));
    // Another node may have switched to what this one has only prepared.
    world.ok("fetch polls v5");
    assert_eq!(page(&nginx, "v5"), all(KEPT));
}

#[test]
fn plain_names_are_those_of_what_serves_and_nobody_keeps_what_is_missing() {
    let world = world();
    let nginx = Nginx::start(&world.root());
    for version in ["v1", "v2"] {
        world.ok(&format!("activate polls {version}"));
        let answer = nginx.get("/static/css/all.css");
        assert_eq!((answer.told().as_str(), answer.body.as_str()), ("200 no-cache", version));
        assert_eq!((answer.header("etag"), answer.header("last-modified")), (None, None));
        // All files of all releases have one time, which therefore must not count.
        let asked = nginx.get_with("/static/css/all.css", "If-Modified-Since: Tue, 01 Jan 1980 00:00:00 GMT\r\n");
        assert_eq!((asked.status, asked.body.as_str()), (200, version));
    }
    for name in ["css/none.0.css", "none", "css", "js/v1.1.js.br"] {
        assert_eq!(nginx.get(&format!("/static/{name}")).told(), MISSING, "{name}");
    }
    assert!(!world.root().join("static/staticfiles.json").exists());
}

#[test]
fn what_was_removed_by_hand_is_found_by_the_doctor_and_laid_by_the_next_activation() {
    let world = world();
    world.ok("activate polls v2");
    let doctor = || {
        let said = world.run("doctor polls").stdout;
        let lines: Vec<&str> = said.lines().skip_while(|line| !line.contains("polls, static:")).take(2).collect();
        lines.join("\n")
    };
    assert!(doctor().starts_with("ok       polls, static: all 2 hashed names are there\n"), "{}", doctor());
    std::fs::remove_dir_all(world.root().join("static")).unwrap();
    insta::assert_snapshot!(doctor(), @"
    warning  polls, static: 2 of 2 hashed names of `v2` are not in DIR/srv/polls/static
             hint: `pannier-activator repair polls` lays them again, and so does the next activation
    ");
    world.ok("repair polls");
    assert!(world.has_static("v1") && world.has_static("v2"));
    std::fs::remove_dir_all(world.root().join("static")).unwrap();
    world.ok("rollback polls");
    assert!(world.has_static("v1") && world.has_static("v2"));
    std::fs::remove_dir_all(world.root().join("static")).unwrap();
    std::fs::write(world.root().join("static"), "").unwrap();
    let said = world.run("activate polls v2 --downgrade --quiet");
    assert_eq!(said.code, Some(0));
    insta::assert_snapshot!(said.stderr, @"warning: older pages may miss their static files: `DIR/srv/polls/static` is a file, not a folder; look at it, then move it away: `mv DIR/srv/polls/static DIR/srv/polls/static.old`");
    insta::assert_snapshot!(doctor(), @"
    warning  polls, static: older pages may miss their static files: `DIR/srv/polls/static` is a file, not a folder
             hint: look at it, then move it away: `mv DIR/srv/polls/static DIR/srv/polls/static.old`
    ");
}

#[test]
fn no_request_for_a_kept_file_fails_while_releases_come_and_go() {
    let world = world();
    let (nginx, done, asked) = (Nginx::start(&world.root()), AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let told = nginx.get("/static/css/all.0.css").told();
                assert_eq!(told, KEPT, "after {asked:?} requests");
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        for version in ["v2", "v3", "v4", "v5"] {
            world.ok(&format!("activate polls {version}"));
        }
        world.ok("rollback polls");
        world.ok("prune polls");
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
    assert!(asked.into_inner() > 20);
}
