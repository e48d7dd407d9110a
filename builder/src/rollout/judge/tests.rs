//! Barriers met and missed, without a store.

use std::collections::BTreeSet;

use pannier_shared::digest::Digest;
use pannier_shared::receipt::{FORMAT, Serving};
use pannier_shared::statement::{self, Deadlines, Policy, RolloutType};

use super::*;

const LEAD: Duration = Duration::from_secs(3);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

/// A rollout of v2 to `a`, `b` and `c` that came to a phase at second 0.
fn order(phase: Phase, waves: &[&[&str]]) -> Rollout {
    let wave = |names: &&[&str]| names.iter().map(|name| node(name)).collect::<BTreeSet<_>>();
    Rollout {
        kind: RolloutType::Rollout,
        format: statement::FORMAT,
        fleet: "shop".parse().unwrap(),
        epoch: 1,
        serial: 9,
        id: 7,
        app: "polls".parse().unwrap(),
        version: "v2".parse().unwrap(),
        statements: BTreeMap::from([("x86_64-linux-gnu".parse().unwrap(), Digest::of(b"v2"))]),
        waves: waves.iter().map(wave).collect(),
        policy: Policy::All,
        deadlines: Deadlines::default(),
        phase,
        wave: 0,
        out: BTreeMap::new(),
        migrator: None,
        switch_at: None,
        began: at(0),
        since: at(0),
        issued: at(0),
        reason: String::new(),
        who: "me".to_owned(),
        because: String::new(),
        decided: BTreeMap::new(),
    }
}

fn together(phase: Phase) -> Rollout {
    order(phase, &[&["a", "b", "c"]])
}

/// What nodes say: name, stage, and where `current` leads.
fn receipts(order: &Rollout, said: &[(&str, Stage, &str)]) -> Receipts {
    let receipt = |(name, stage, link): &(&str, Stage, &str)| {
        let progress = Progress {
            stage: *stage,
            statement: Some(Digest::of(b"v2")),
            tried: *stage > Stage::Migrated,
            before: Some("v1".parse().unwrap()),
            error: (*stage == Stage::Failed).then(|| "it broke".to_owned()),
            ..Progress::of(order, at(1))
        };
        let serving = Serving { current: Some(link.parse().unwrap()), ..Serving::default() };
        Receipt {
            format: FORMAT,
            fleet: order.fleet.clone(),
            node: node(name),
            instance: "i".to_owned(),
            agent: "0".to_owned(),
            target: "x86_64-linux-gnu".parse().unwrap(),
            written: at(1),
            every: 60,
            clock: None,
            order: Some((order.epoch, order.serial)),
            trouble: None,
            progress: Some(progress),
            apps: BTreeMap::from([(order.app.clone(), serving)]),
        }
    };
    said.iter().map(|one| (node(one.0), receipt(one))).collect()
}

fn next(order: &Rollout, receipts: &Receipts, second: i64) -> Rollout {
    match judge(order, receipts, at(second), LEAD) {
        Next::Order(next) => *next,
        waits => panic!("{waits:?}"),
    }
}

fn waits_for(order: &Rollout, receipts: &Receipts) -> Vec<String> {
    match judge(order, receipts, at(5), LEAD) {
        Next::Wait(nodes) => nodes.iter().map(ToString::to_string).collect(),
        next => panic!("{next:?}"),
    }
}

#[test]
fn a_barrier_waits_for_every_node_and_then_goes_on() {
    let order = together(Phase::Prepare);
    let mut said = receipts(&order, &[("a", Stage::Prepared, "v1"), ("b", Stage::Preparing, "v1")]);
    assert_eq!(waits_for(&order, &said), ["b", "c"]);
    said = receipts(&order, &["a", "b", "c"].map(|name| (name, Stage::Prepared, "v1")));
    assert_eq!(next(&order, &said, 5).phase, Phase::Arm);
    let migrating = Rollout { migrator: Some(node("a")), ..order.clone() };
    assert_eq!(next(&migrating, &said, 5).phase, Phase::Migrate);
    said.get_mut(&node("b")).unwrap().progress.as_mut().unwrap().id = 6;
    assert_eq!(waits_for(&order, &said), ["b"], "what it says of another rollout counts for nothing");
}

#[test]
fn before_the_switch_a_failure_gives_it_up_and_after_it_takes_all_back() {
    for (phase, stage, expected) in [
        (Phase::Prepare, Stage::Prepared, Phase::Aborted),
        (Phase::Arm, Stage::Armed, Phase::Aborted),
        (Phase::Switch, Stage::Healthy, Phase::Back),
    ] {
        let order = together(phase);
        let said = receipts(&order, &[("a", stage, "v1"), ("b", Stage::Failed, "v1")]);
        let next = next(&order, &said, 5);
        assert_eq!((next.phase, next.because.as_str()), (expected, "b: it broke"), "{phase}: c is not waited for");
    }
    let order = Rollout { wave: 1, ..order(Phase::Arm, &[&["a"], &["b"]]) };
    assert_eq!(next(&order, &receipts(&order, &[("b", Stage::Failed, "v1")]), 5).phase, Phase::Back);
}

#[test]
fn who_is_late_counts_as_failed_and_is_named() {
    let order = together(Phase::Arm);
    let said = receipts(&order, &[("a", Stage::Armed, "v1"), ("b", Stage::Prepared, "v1")]);
    let next = next(&order, &said, 121);
    assert_eq!(next.phase, Phase::Aborted);
    insta::assert_snapshot!(next.because, @"b: it was not ready within the 2 min 00 s of `arm`: it is prepared; c: it was not ready within the 2 min 00 s of `arm`: it has never said anything");
}

#[test]
fn the_policy_says_how_many_it_goes_on_without() {
    let order = Rollout { policy: Policy::AllBut(1), ..together(Phase::Switch) };
    let two = [("a", Stage::Healthy, "v2"), ("b", Stage::Failed, "v1")];
    assert_eq!(waits_for(&order, &receipts(&order, &two)), ["c"], "one that failed does not end the wait for others");
    let three = [two[0], two[1], ("c", Stage::Healthy, "v2")];
    let done = next(&order, &receipts(&order, &three), 5);
    assert_eq!((done.phase, done.out.len()), (Phase::Done, 1));
    assert_eq!(done.decided[&order.app].id, 7);
    let both = [two[0], two[1], ("c", Stage::Failed, "v1")];
    assert_eq!(next(&order, &receipts(&order, &both), 5).phase, Phase::Back);
}

#[test]
fn another_release_of_the_same_name_is_a_failure() {
    let order = together(Phase::Prepare);
    let mut said = receipts(&order, &[("a", Stage::Prepared, "v1")]);
    said.get_mut(&node("a")).unwrap().progress.as_mut().unwrap().statement = Some(Digest::of(b"other"));
    assert!(next(&order, &said, 5).because.starts_with("a: it prepared another release"));
}

#[test]
fn the_instant_is_to_come_for_every_clock_and_comes_soon() {
    let order = together(Phase::Arm);
    let said = receipts(&order, &["a", "b", "c"].map(|name| (name, Stage::Armed, "v1")));
    let instant = |second| next(&order, &said, second).switch_at.unwrap().duration_since(at(0)).as_secs();
    assert_eq!(instant(5), 8);
    assert_eq!(instant(-3600), 1 + 3, "the clock here is behind");
    let patient = Rollout { deadlines: Deadlines { arm: 9999, ..order.deadlines }, ..order.clone() };
    let ahead = next(&patient, &said, 3600).switch_at.unwrap().duration_since(at(0)).as_secs();
    assert_eq!(ahead, 1 + 100 + 3, "the clock here is ahead");
}

#[test]
fn a_node_whose_clock_is_certainly_wrong_does_not_switch_with_the_others() {
    let order = together(Phase::Arm);
    let mut said = receipts(&order, &["a", "b", "c"].map(|name| (name, Stage::Armed, "v1")));
    said.get_mut(&node("b")).unwrap().clock = Some(Clock { ahead_ms: -4000, within_ms: 2999 });
    insta::assert_snapshot!(next(&order, &said, 5).because, @"b: its clock is 4000 ms behind the store's");
    said.get_mut(&node("b")).unwrap().clock = Some(Clock { ahead_ms: -4000, within_ms: 3500 });
    assert_eq!(next(&order, &said, 5).phase, Phase::Switch, "it may be right");
}

#[test]
fn waves_come_one_after_the_other_with_a_pause_between() {
    let mut order = order(Phase::Switch, &[&["a"], &["b"], &["c"]]);
    let said = receipts(&order, &["a", "b", "c"].map(|name| (name, Stage::Healthy, "v2")));
    let armed = next(&order, &said, 5);
    assert_eq!((armed.phase, armed.wave), (Phase::Arm, 1));
    order.deadlines.pause = 60;
    let paused = next(&order, &said, 5);
    assert_eq!(paused.phase, Phase::Pause);
    assert_eq!(judge(&paused, &said, at(60), LEAD), Next::Wait(Vec::new()));
    let armed = next(&paused, &said, 66);
    assert_eq!((armed.phase, armed.wave), (Phase::Arm, 1));
    let last = Rollout { wave: 2, ..order.clone() };
    assert_eq!(next(&last, &said, 5).phase, Phase::Done);
}

#[test]
fn who_has_gone_back_is_seen_by_the_link() {
    let order = Rollout { because: "b: it broke".to_owned(), ..together(Phase::Back) };
    let two = [("a", Stage::Back, "v1"), ("b", Stage::Failed, "v1")];
    let all = |last| receipts(&order, &[two[0], two[1], last]);
    assert_eq!(waits_for(&order, &all(("c", Stage::Healthy, "v2"))), ["c"]);
    assert_eq!(waits_for(&order, &all(("c", Stage::Switched, "v1"))), ["c"], "it is still at it");
    let back = next(&order, &all(("c", Stage::Back, "v1")), 5);
    assert_eq!((back.phase, back.because.as_str()), (Phase::RolledBack, "b: it broke"));
    let mixed = next(&order, &all(("c", Stage::Failed, "v2")), 5);
    assert_eq!(mixed.phase, Phase::Mixed);
    insta::assert_snapshot!(mixed.because, @"b: it broke; c: `current` leads to v2");
    let mut late = all(("c", Stage::Healthy, "v1"));
    late.get_mut(&node("c")).unwrap().order = Some((1, 8));
    assert_eq!(waits_for(&order, &late), ["c"], "it has not seen the order to go back");
    insta::assert_snapshot!(next(&order, &late, 200).because, @"b: it broke; c: it does not answer, so nobody knows what it serves");
}

#[test]
fn who_was_left_out_before_its_turn_and_is_silent_needs_nobody() {
    let mut order = together(Phase::Back);
    order.out.insert(node("c"), "late".to_owned());
    let said = receipts(&order, &[("a", Stage::Back, "v1"), ("b", Stage::Failed, "v1")]);
    assert_eq!(next(&order, &said, 5).phase, Phase::RolledBack);
}
