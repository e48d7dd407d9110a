//! What is published is never changed: again is fine, different is refused, and of two at once one wins.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use pannier_builder::publish::{Error, Outcome, Publication, TABLE};
use pannier_builder::stages::source::Patterns;
use pannier_builder::static_host::{self, Hosting};
use pannier_shared::event::Silent;
use pannier_shared::id::Target;
use pannier_shared::steps::rehearsal::{Break, rehearse};
use pannier_shared::sys::clock;
use pannier_tests::{World, runtime};

fn published(world: &World) -> PathBuf {
    world.path("store").join("polls/releases/v1").join(Target::host().as_str())
}

/// Another release under the same version.
fn build_other(world: &World) -> PathBuf {
    let first = world.path("dist-v1");
    std::fs::rename(&first, world.path("dist-v1-first")).unwrap();
    std::fs::remove_dir_all(world.path("tree-v1")).unwrap();
    world.build_with("v1", |tree| std::fs::write(tree.join("app/version.txt"), "other").unwrap())
}

fn refused(result: Result<Outcome, Error>) -> bool {
    matches!(result, Err(Error::Different { .. }))
}

#[test]
fn publishing_again_succeeds_and_says_so() {
    let world = World::new();
    let built = world.build("v1");
    assert_eq!(world.publish(&built).unwrap(), Outcome::Published);
    let before = pannier_tests::listing(&world.path("store"));
    assert_eq!(world.publish(&built).unwrap(), Outcome::SameAlready);
    assert_eq!(pannier_tests::listing(&world.path("store")), before);
}

#[test]
fn different_content_is_refused_and_changes_nothing() {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    let before = pannier_tests::listing(&world.path("store"));
    let other = build_other(&world);
    let error = world.publish(&other).unwrap_err();
    assert!(error.to_string().contains("already published with different content"), "{error}");
    assert_eq!(pannier_tests::listing(&world.path("store")), before);
}

#[test]
fn a_try_that_was_cut_off_before_the_statement_is_finished_by_the_next() {
    let world = World::new();
    let built = world.build("v1");
    world.publish(&built).unwrap();
    std::fs::remove_file(published(&world).join("release.json")).unwrap();
    assert_eq!(world.publish(&built).unwrap(), Outcome::Published);
    std::fs::remove_file(published(&world).join("release.json")).unwrap();
    assert!(refused(world.publish(&build_other(&world))));
}

/// What cannot be taken back is what nobody sees; only the last step announces.
#[test]
fn a_publication_that_breaks_at_any_step_is_seen_by_nobody_and_the_next_one_succeeds() {
    for at in Break::all(TABLE.len()) {
        let world = World::new();
        let built = world.build("v1");
        let (store, now) = (Box::new(world.store()), clock::now());
        let place = format!("file://{}", world.path("www").display()).parse().unwrap();
        let host = runtime().block_on(static_host::open(&place, &|_| None)).unwrap();
        let hosting = Hosting { host, immutable: Patterns::new(&["admin".to_owned()]), sink: Arc::new(Silent) };
        let run = Publication::open(&built, store, runtime(), world.trust.clone(), now).unwrap();
        let mut run = run.hosting(Some(hosting));
        assert!(rehearse(TABLE, &mut run, at, &Silent).unwrap().is_empty(), "{at:?}");
        let announced = at == Break::After(TABLE.len() - 1);
        assert_eq!(published(&world).join("release.json").exists(), announced, "{at:?}");
        let is_hosted = world.path("www/admin/base.0123456789ab.css").exists();
        assert!(is_hosted || !published(&world).exists(), "{at:?}: static files come first");
        let again = if announced { Outcome::SameAlready } else { Outcome::Published };
        assert_eq!(world.publish(&built).unwrap(), again, "{at:?}");
    }
}

#[test]
fn an_artifact_that_was_changed_after_the_build_is_not_uploaded() {
    let world = World::new();
    let built = world.build("v1");
    let artifact = built.join("artifact.tar.zst");
    let mut bytes = std::fs::read(&artifact).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    assert!(matches!(world.publish(&built), Err(Error::Artifact { .. })));
    assert!(!published(&world).exists());
}

#[test]
fn of_two_publishers_at_once_one_wins_and_the_store_holds_one_whole_release() {
    for round in 0..10 {
        let world = World::new();
        world.build("v1");
        let other = build_other(&world);
        let folders = [world.path("dist-v1-first"), other];
        let start = Barrier::new(2);
        let publish = |folder: &Path| {
            start.wait();
            world.publish(folder)
        };
        let (a, b) = std::thread::scope(|scope| {
            let first = scope.spawn(|| publish(&folders[0]));
            let second = scope.spawn(|| publish(&folders[1]));
            (first.join().unwrap(), second.join().unwrap())
        });
        let winner = match (&a, &b) {
            (Ok(Outcome::Published), Err(_)) => &folders[0],
            (Err(_), Ok(Outcome::Published)) => &folders[1],
            _ => panic!("round {round}: {a:?} and {b:?}"),
        };
        for file in ["artifact.tar.zst", "release.json"] {
            let (ours, theirs) = (std::fs::read(winner.join(file)), std::fs::read(published(&world).join(file)));
            assert!(ours.unwrap() == theirs.unwrap(), "round {round}: {file}");
        }
    }
}
