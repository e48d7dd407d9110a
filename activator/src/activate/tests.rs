//! Activations on a root in a temporary folder, with a script for an app.
#![allow(clippy::disallowed_methods, reason = "tests play the app")]

use pannier_shared::archive::COMPLETE;

use super::*;
use crate::rollback::rollback;
use crate::steps::confirm::Health;
use crate::steps::restart::Restart;
use crate::testing::{Fixture, runtime, v};
use std::time::Duration;

/// A node whose app is a script: it serves as long as `healthy` names its version.
fn fixture(versions: &[&str]) -> Fixture {
    let mut fixture = Fixture::with(versions);
    let script = "echo $PANNIER_VERSION >> $PANNIER_ROOT/started; test ! -e broken || { echo broken >&2; exit 1; }";
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    fixture.config.restart = Some(Restart { command, timeout: Duration::from_secs(20), env_file: None, user: None });
    fixture
}

fn break_release(fixture: &Fixture, version: &str) {
    std::fs::write(fixture.root().release(&v(version)).join("broken"), "").unwrap();
}

fn mend_release(fixture: &Fixture, version: &str) {
    std::fs::remove_file(fixture.root().release(&v(version)).join("broken")).unwrap();
}

fn started(fixture: &Fixture) -> Vec<String> {
    let text = std::fs::read_to_string(fixture.config.root.join("started")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_release_is_started_and_settled_once() {
    let fixture = fixture(&["v1", "v2"]);
    assert_eq!(fixture.activate("v1").unwrap(), Activated::Now { before: None });
    assert_eq!(fixture.activate("v1").unwrap(), Activated::Already);
    assert_eq!(fixture.activate("v2").unwrap(), Activated::Now { before: Some(v("v1")) });
    assert_eq!(started(&fixture), ["v1", "v2"]);
    assert_eq!(fixture.open().unwrap().state.standing(&v("v1")), Some(Standing::Healthy));
}

#[test]
fn a_release_that_does_not_start_is_taken_back_and_the_old_one_started_again() {
    let fixture = fixture(&["v1", "v2"]);
    fixture.activate("v1").unwrap();
    break_release(&fixture, "v2");
    let failure = fixture.activate("v2").unwrap_err();
    assert!(failure.tried && failure.left.is_empty());
    insta::assert_snapshot!(chain(&failure), @"
    failed to activate `v2` of `polls`; it was taken back
    `v2` could not be started
    the restart command failed
    `sh -c echo $PANNIER_VERSION >> $PANNIER_ROOT/started; test ! -e broken || { echo broken >&2; exit 1; }` failed: exit status: 1
      | broken
    ");
    assert_eq!(
        (fixture.current().as_deref(), started(&fixture)),
        (Some("v1"), vec!["v1".into(), "v2".into(), "v1".into()])
    );
    let node = fixture.open().unwrap();
    assert_eq!(node.state.standing(&v("v2")), Some(Standing::Bad));
    assert_eq!(node.state.live().map(|live| live.confirmed), Some(true));
    let kept = node.root.failed().join("v2");
    assert_eq!(std::fs::read_to_string(kept.join("printed.log")).unwrap(), "broken\n");
    assert_eq!(evidence::read(&kept).unwrap().error[..2], ["`v2` could not be started", "the restart command failed"]);
}

#[test]
fn a_restart_command_that_is_not_there_is_not_the_releases_fault() {
    let mut fixture = fixture(&["v1"]);
    fixture.config.restart.as_mut().unwrap().command = vec!["/nowhere/systemctl".to_owned()];
    let failure = fixture.activate("v1").unwrap_err();
    assert!(!failure.tried && failure.left.is_empty());
    assert_eq!(fixture.open().unwrap().state.standing(&v("v1")), Some(Standing::Prepared));
    assert_eq!(fixture.current(), None);
}

#[test]
fn a_bad_release_is_only_tried_again_on_demand() {
    let fixture = fixture(&["v1", "v2"]);
    fixture.activate("v1").unwrap();
    break_release(&fixture, "v2");
    fixture.activate("v2").unwrap_err();
    mend_release(&fixture, "v2");
    assert!(matches!(fixture.activate("v2").unwrap_err().source, Error::Bad { .. }));
    fixture.activate_with("v2", OnBad::TryAgain).unwrap();
    assert_eq!(fixture.current().as_deref(), Some("v2"));
}

#[test]
fn a_first_activation_that_fails_leaves_nothing_serving_and_says_so() {
    let fixture = fixture(&["v1"]);
    break_release(&fixture, "v1");
    let failure = fixture.activate("v1").unwrap_err();
    insta::assert_snapshot!(failure.left[0].error, @"no release served before, so there is none to go back to");
    assert_eq!(fixture.current(), None);
    mend_release(&fixture, "v1");
    fixture.activate_with("v1", OnBad::TryAgain).unwrap();
}

#[test]
fn an_old_release_that_does_not_start_again_is_left_to_a_person() {
    let fixture = fixture(&["v1", "v2"]);
    fixture.activate("v1").unwrap();
    break_release(&fixture, "v1");
    break_release(&fixture, "v2");
    let failure = fixture.activate("v2").unwrap_err();
    assert_eq!(failure.left.iter().map(|left| left.step).collect::<Vec<_>>(), ["keep"]);
    assert_eq!(fixture.current().as_deref(), Some("v1"));
}

#[test]
fn rollback_goes_past_a_bad_release_to_the_last_healthy_one() {
    let fixture = fixture(&["a", "b", "c"]);
    fixture.activate("a").unwrap();
    break_release(&fixture, "b");
    fixture.activate("b").unwrap_err();
    fixture.activate("c").unwrap();
    let back = |to: Option<&str>| {
        let to = to.map(v);
        rollback(&mut fixture.open().unwrap(), to.as_ref(), OnSchema::Refuse, &runtime(), &fixture.told)
    };
    assert_eq!(back(None).unwrap().version, v("a"));
    assert_eq!(fixture.current().as_deref(), Some("a"));
    insta::assert_snapshot!(back(None).unwrap_err(), @"`polls` has no healthy release to go back to");
    insta::assert_snapshot!(back(Some("b")).unwrap_err(), @"`b` of `polls` was never healthy here: it is bad");
    insta::assert_snapshot!(back(Some("d")).unwrap_err(), @"`polls` has no release `d` on this node");
    assert_eq!(back(Some("c")).unwrap().version, v("c"));
}

#[test]
fn a_release_that_is_not_complete_is_not_activated() {
    let fixture = fixture(&["v1"]);
    drop(fixture.open().unwrap());
    std::fs::remove_file(fixture.root().release(&v("v1")).join(COMPLETE)).unwrap();
    insta::assert_snapshot!(chain(&fixture.activate("v1").unwrap_err()), @"
    failed to activate `v1` of `polls`
    `v1` is not complete on the disk: `.pannier/COMPLETE` is missing
    ");
}

#[test]
fn undoing_can_run_twice_and_before_its_steps() {
    let fixture = fixture(&["v1", "v2"]);
    fixture.activate("v1").unwrap();
    let (mut node, runtime) = (fixture.open().unwrap(), runtime());
    let (bad, older) = (OnBad::Refuse, OnOlder::Refuse);
    let (direction, schema) = (Direction::Forward, OnSchema::Refuse);
    let request = Request { version: v("v2"), direction, bad, older, schema, gate: None };
    let mut run = Activation::begin(Operation::Activate, &mut node, &request, &runtime, &fixture.told).unwrap();
    for steps in 0..=table().len() {
        for step in &table()[..steps] {
            (step.run)(&mut run).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(steps::undo(&table(), &mut run, &fixture.told).len(), 0);
            assert_eq!(fixture.current().as_deref(), Some("v1"));
            assert_eq!(run.node.state.live_version(), Some(&v("v1")));
        }
    }
}

#[test]
fn nobody_listening_is_said_with_the_cause() {
    let mut fixture = fixture(&["v1"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fixture.config.health = Some(Health {
        url: format!("http://{free}/").parse().unwrap(),
        status: 200,
        headers: Default::default(),
        contains: None,
        deadline: Duration::from_millis(50),
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(5),
        successes: 1,
    });
    let text = chain(&fixture.activate("v1").unwrap_err()).replace(&free.to_string(), "HOST");
    insta::assert_snapshot!(text, @"
    failed to activate `v1` of `polls`, and not all of it could be undone
    `v1` is not healthy
    the health check of http://HOST/ did not pass within 0.05s
    there was no answer: Connection refused (os error 111)
    ");
}
