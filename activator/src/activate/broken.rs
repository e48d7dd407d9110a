//! Each step of an activation breaks in turn, and each undo runs twice.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk")]

use std::time::Duration;

use pannier_shared::event::Silent;
use pannier_shared::steps::rehearsal::{Break, rehearse};

use super::*;
use crate::steps::restart::Restart;
use crate::testing::{Fixture, facts, runtime, v};

/// A node where v1 serves and v2 is prepared, with variables; what was started last stands in `started`. Both have a hashed file of
/// one name, which is not the same file.
fn serving() -> Fixture {
    let mut fixture = Fixture::with(&["v1", "v2"]);
    for version in ["v1", "v2"] {
        let manifest = r#"{"version": "1.1", "paths": {"a.js": "a.0f.js"}}"#;
        fixture.lay_static(version, &[("staticfiles.json", manifest), ("a.0f.js", version)]);
    }
    fixture.configure_variables("SECRET_KEY=one\n");
    let command = ["sh", "-c", "echo $PANNIER_VERSION > ../../started"].map(str::to_owned).to_vec();
    fixture.config.restart = Some(Restart { command, timeout: Duration::from_secs(20), env_file: None, user: None });
    fixture.activate("v1").unwrap();
    fixture
}

#[test]
fn an_activation_that_breaks_at_any_step_leaves_the_disk_as_it_was() {
    for (version, direction) in [("v2", Direction::Forward), ("v2", Direction::Back)] {
        for at in Break::all(table().len()) {
            let fixture = serving();
            let before = facts(&fixture.config.root);
            let (mut node, runtime) = (fixture.open().unwrap(), runtime());
            let (bad, older) = (OnBad::Refuse, OnOlder::Allow);
            let request = Request { version: v(version), direction, bad, older, schema: OnSchema::Refuse, gate: None };
            let mut run = Activation::begin(Operation::Activate, &mut node, &request, &runtime, &Silent).unwrap();
            let left = rehearse(&table(), &mut run, at, &Silent).unwrap();
            assert!(left.is_empty(), "{at:?}: {left:?}");
            assert_eq!(facts(&fixture.config.root), before, "{at:?}");
            assert_eq!(node.state, State::load(&node.root.state(), &node.app).unwrap(), "{at:?}");
        }
    }
}

#[test]
fn a_release_that_failed_is_marked_as_bad_and_nothing_else_differs() {
    let fixture = serving();
    let root = fixture.config.root.clone();
    let but_state =
        || -> Vec<String> { facts(&root).into_iter().filter(|fact| !fact.contains("state.json")).collect() };
    let before = but_state();
    let (mut node, runtime) = (fixture.open().unwrap(), runtime());
    let (direction, bad, older) = (Direction::Forward, OnBad::Refuse, OnOlder::Refuse);
    let request = Request { version: v("v2"), direction, bad, older, schema: OnSchema::Refuse, gate: None };
    let mut run = Activation::begin(Operation::Activate, &mut node, &request, &runtime, &Silent).unwrap();
    run.verdict = Some("it does not answer".to_owned());
    let restart = table().iter().position(|step| step.name == "restart").unwrap();
    rehearse(&table(), &mut run, Break::After(restart), &Silent).unwrap();
    assert_eq!((but_state(), node.state.standing(&v("v2"))), (before, Some(Standing::Bad)));
}
