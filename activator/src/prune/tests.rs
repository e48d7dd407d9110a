#![allow(clippy::disallowed_methods, reason = "tests play the operator, and a crash")]

use std::fs::File;
use std::process::{Command, Stdio};

use super::*;
use crate::state::Standing;
use crate::testing::{Fixture, v};

/// A node where `a`, `b` and `c` were healthy in this order and two stay; each has a hashed file of its own, and all have one.
fn serving() -> Fixture {
    let mut fixture = Fixture::with(&["a", "b", "c"]);
    for version in ["a", "b", "c"] {
        let own = format!("js/{version}.1f.js");
        let manifest = format!(r#"{{"version": "1.1", "paths": {{"own": "{own}", "all": "all.0f.js"}}}}"#);
        fixture.lay_static(version, &[("staticfiles.json", &manifest), (&own, version), ("all.0f.js", "all")]);
    }
    fixture.config.keep = Keep { healthy: 2, failed: 1, unseen: Unseen::UseNothing };
    fixture.configure_variables("SECRET_KEY=one\n");
    for version in ["a", "b", "c"] {
        fixture.activate(version).unwrap();
    }
    fixture
}

/// What came of each release, as a person is told.
fn pruned(fixture: &Fixture) -> String {
    let decisions = prune(&mut fixture.open().unwrap(), &fixture.told).unwrap();
    decisions.iter().map(|Decision { version, verdict }| format!("{version} {verdict}\n")).collect()
}

/// How many copies of the app's variables are kept.
fn copies(fixture: &Fixture) -> usize {
    fs::list(&fixture.root().envs()).unwrap().len()
}

/// How many names of hashed static files there are; each leads to a file.
fn static_names(fixture: &Fixture) -> usize {
    let union = fixture.root().static_files();
    let js = fs::list(&union.join("js")).unwrap_or_default();
    assert!(js.iter().all(|name| union.join("js").join(name).is_file()) && union.join("all.0f.js").is_file());
    js.len() + 1
}

/// The facts about the disk that a prune may change.
fn facts(fixture: &Fixture) -> (Vec<OsString>, Vec<OsString>, Vec<OsString>, State) {
    let root = fixture.root();
    let [releases, removed, records] = [root.releases(), root.removed(), root.tocs()].map(|it| fs::list(&it).unwrap());
    (releases, removed, records, State::load(&root.state(), &fixture.app()).unwrap())
}

#[test]
fn what_need_not_stay_is_removed_with_its_records() {
    let fixture = serving();
    assert_eq!(copies(&fixture), 3);
    let size = freed([fixture.root().release(&v("a")).as_path()]).unwrap();
    assert_eq!(
        pruned(&fixture).replace(&size.to_string(), "SIZE"),
        "a removed: SIZE\nb stays: it is one of the last healthy ones\nc stays: it serves\n"
    );
    let (releases, removed, records, state) = facts(&fixture);
    assert_eq!((releases.len(), removed.len(), records.len(), copies(&fixture)), (2, 0, 2, 2));
    assert_eq!((state.release(&v("a")), state.previous()), (None, Some(&v("b"))));
    assert_eq!(fixture.current().as_deref(), Some("c"));
    assert!(!pruned(&fixture).contains("removed"));
}

#[test]
fn what_current_resolves_to_stays_whatever_the_record_says() {
    let fixture = serving();
    let mut node = fixture.open().unwrap();
    std::fs::remove_file(node.root.current()).unwrap();
    std::os::unix::fs::symlink("releases/alias", node.root.current()).unwrap();
    std::os::unix::fs::symlink("a/.pannier", node.root.releases().join("alias")).unwrap();
    let before = facts(&fixture);
    assert_eq!(remove_one(&mut node, &v("a"), &fixture.told).unwrap(), Verdict::Stays(Stay::Current));
    let decisions = decide(&node.root, &node.state, node.config.keep).unwrap();
    assert_eq!(decisions[0].verdict, Verdict::Stays(Stay::Current));
    assert_eq!(facts(&fixture), before);
}

#[test]
fn what_a_process_works_in_stays_until_it_ends() {
    let fixture = serving();
    let mut command = Command::new("sleep");
    command.arg("60").current_dir(fixture.root().release(&v("a"))).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    // It is `sleep` only when the kernel has made it so.
    while std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() != "sleep\n" {}
    let said = pruned(&fixture).replace(&child.id().to_string(), "PID");
    assert_eq!(said.lines().next(), Some("a stays: sleep (PID) works in it (`.`)"));
    // Found only after it was hidden, it is put back.
    let before = facts(&fixture);
    let verdict = remove_one(&mut fixture.open().unwrap(), &v("a"), &fixture.told).unwrap();
    assert!(matches!(verdict, Verdict::Stays(Stay::InUse { .. })), "{verdict}");
    assert_eq!(facts(&fixture), before);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(pruned(&fixture).starts_with("a removed: "));
}

#[test]
fn what_is_leased_stays_until_the_lock_is_let_go() {
    let fixture = serving();
    let lease = File::open(fixture.root().release(&v("a"))).unwrap();
    lease.lock_shared().unwrap();
    assert!(pruned(&fixture).starts_with("a stays: somebody holds a lock on its folder\n"));
    drop(lease);
    assert!(pruned(&fixture).starts_with("a removed: "));
}

#[test]
fn processes_that_cannot_be_looked_at_count_as_using() {
    let stay = |count, such_as: &str| Stay::Unseen { count, such_as: such_as.to_owned() }.to_string();
    insta::assert_snapshot!(stay(1, "postgres (7)"), @"postgres (7) may use it, and cannot be looked at (see `unseen` in the configuration)");
    insta::assert_snapshot!(stay(9, "systemd (1)"), @"9 processes such as systemd (1) may use it, and cannot be looked at (see `unseen` in the configuration)");
}

#[test]
fn failed_ones_are_kept_apart_and_their_number_is_limited() {
    let fixture = serving();
    let mut node = fixture.open().unwrap();
    for name in ["x", "y"] {
        fixture.lay(name);
        let record = node.state.release(&v("a")).unwrap().clone();
        node.state.add(&v(name), record);
        node.state.mark_bad(&v(name), "500", pannier_shared::sys::clock::now());
    }
    node.save().unwrap();
    drop(node);
    pruned(&fixture);
    let state = facts(&fixture).3;
    assert_eq!(state.standing(&v("y")), Some(Standing::Bad));
    assert_eq!(state.releases().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["b", "c", "y"]);
}

#[test]
fn undoing_can_run_twice_and_after_any_step_but_the_last() {
    let fixture = serving();
    let before = facts(&fixture);
    let mut node = fixture.open().unwrap();
    let mut run = Removal::begin(&mut node, &v("a"), &fixture.told).unwrap();
    for steps in 0..table().len() {
        for step in &table()[..steps] {
            (step.run)(&mut run).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(steps::undo(&table(), &mut run, &fixture.told).len(), 0);
            assert_eq!(facts(&fixture), before, "after {steps} steps");
            assert_eq!(run.node.state, before.3);
            assert_eq!(static_names(&fixture), 4, "after {steps} steps");
        }
    }
}

#[test]
fn an_interrupted_removal_is_taken_back_or_finished() {
    for steps in 0..=table().len() {
        let fixture = serving();
        let before = facts(&fixture);
        let mut node = fixture.open().unwrap();
        let mut run = Removal::begin(&mut node, &v("a"), &fixture.told).unwrap();
        for step in &table()[..steps] {
            run.ongoing.note(step.name, steps::Phase::Run).unwrap();
            (step.run)(&mut run).unwrap();
        }
        // It dies here.
        drop(run);
        drop(node);
        drop(fixture.open().unwrap());
        let after = facts(&fixture);
        match steps {
            0..=3 => {
                assert_eq!((after, copies(&fixture)), (before, 3), "after {steps} steps");
                assert_eq!(static_names(&fixture), 4, "after {steps} steps");
            }
            _ => {
                let counts = (after.0.len(), after.1.len(), after.2.len(), copies(&fixture));
                assert_eq!(counts, (2, 0, 2, 2), "after {steps} steps");
                assert_eq!(static_names(&fixture), 3, "after {steps} steps");
            }
        }
        assert_eq!(fixture.current().as_deref(), Some("c"));
        assert_eq!(fixture.open().unwrap().journal.unended().unwrap(), None);
    }
}

#[test]
fn what_cannot_be_removed_stops_nothing_else() {
    let fixture = serving();
    let root = fixture.root();
    std::fs::create_dir(root.removed().join("unknown~1")).unwrap();
    std::fs::write(root.removed().join("file"), "").unwrap();
    assert_eq!(tidy(&root, &facts(&fixture).3).unwrap(), Vec::<String>::new());
    assert_eq!(facts(&fixture).1, Vec::<OsString>::new());
}
