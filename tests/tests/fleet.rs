//! Fleets of real agents: all switch together, or none does; whoever dies is replaced; what was decided reaches all.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may do as it likes")]

#[path = "fleet/network.rs"]
mod network;
#[path = "fleet/shop.rs"]
mod shop;

use std::time::{Duration, Instant};

use pannier_shared::receipt::Stage;
use pannier_shared::signature::{SigningKey, sign};
use pannier_shared::statement::{Phase, Rollout};
use shop::{Shop, ended};

/// A rollout of v2 whose phases end soon.
const START: &str =
    "rollout start shop polls v2 --lead 1 --prepare-within 60 --arm-within 60 --confirm-within 30 --who jane";

#[test]
fn all_switch_together() {
    let nodes = shop::count();
    let shop = Shop::running(nodes, 50);
    let begun = Instant::now();
    let lead = if nodes > 20 { "--lead 4" } else { "--lead 1" };
    let (exit, summary) = shop.run(&START.replace("--lead 1", lead));
    let took = begun.elapsed();
    assert_eq!(exit, 0, "{summary:#}\n{}", shop.logs());
    assert_eq!(shop.links(), vec!["v2"; nodes]);
    let skew = summary["skew_ms"].as_f64().unwrap();
    println!("{nodes} nodes with 50 ms to the store: skew {skew:.1} ms, {:.1} s in all", took.as_secs_f64());
    println!("{} requests", shop.server.requests().len());
    assert!(skew < 1000.0, "{summary:#}");
    let order = shop.order().unwrap();
    for node in 0..nodes {
        let switched = shop.receipt(node).unwrap().progress.unwrap().switched.unwrap();
        assert!(switched > order.began, "{switched}");
    }
    shop.wait("all have followed", || (0..nodes).all(|node| followed(&shop, node)));
    let (exit, status) = shop.run("fleet status shop");
    assert_eq!((exit, status["verdict"].as_str()), (0, Some("in-order")), "{status:#}");
}

fn followed(shop: &Shop, node: usize) -> bool {
    let app = &"polls".parse().unwrap();
    shop.receipt(node).is_some_and(|receipt| receipt.apps[app].followed.is_some())
}

#[test]
fn one_that_cannot_prepare_changes_nothing_and_the_others_keep_what_they_have() {
    let nodes = shop::count();
    let shop = Shop::running(nodes, 10);
    let in_the_way = shop.root(3).join("releases/v2");
    std::fs::create_dir(&in_the_way).unwrap();
    let (exit, summary) = shop.run(START);
    assert_eq!(exit, 5, "{summary:#}");
    assert_eq!(shop.links(), vec!["v1"; nodes]);
    let text = summary["because"].as_str().unwrap().to_owned();
    assert!(text.starts_with("web-3: ") && text.contains("is there already, and no fetch has put it there"), "{text}");
    // The others were not told to stop at what they had begun.
    shop.wait("the others have it", || (0..nodes).all(|node| node == 3 || shop.stage(node) == Some(Stage::Prepared)));
    assert!(shop.receipt(0).unwrap().progress.unwrap().bytes > 0);
    std::fs::remove_dir(&in_the_way).unwrap();
    let (exit, summary) = shop.run(START);
    assert_eq!(exit, 0, "{summary:#}\n{}", shop.logs());
    let rows = summary["nodes"].as_array().unwrap();
    let fetched = rows.iter().filter(|row| row["bytes"].as_u64() != Some(0)).map(|row| row["node"].as_str().unwrap());
    assert_eq!(fetched.collect::<Vec<_>>(), ["web-3"]);
    assert_eq!(shop.links(), vec!["v2"; nodes]);
}

#[test]
fn one_that_is_ill_takes_all_back() {
    let shop = Shop::running(3, 10);
    shop.make_ill(1, "v2");
    let (exit, summary) = shop.run(START);
    assert_eq!(exit, 10, "{summary:#}\n{}", shop.logs());
    assert_eq!(shop.links(), ["v1"; 3]);
    let text = summary["because"].as_str().unwrap();
    assert!(text.starts_with("web-1: failed to activate `v2` of `polls`; it was taken back"), "{text}");
    assert_eq!(shop.order().unwrap().phase, Phase::RolledBack);
}

#[test]
fn a_fleet_can_do_without_some() {
    let shop = Shop::running(3, 10);
    shop.make_ill(1, "v2");
    let (exit, summary) = shop.run(&format!("{START} --all-but 1"));
    assert_eq!(exit, 0, "{summary:#}\n{}", shop.logs());
    assert_eq!(shop.links(), ["v2", "v1", "v2"]);
    let (exit, status) = shop.run("fleet status shop");
    assert_eq!((exit, status["verdict"].as_str()), (5, Some("wrong")), "{status:#}");
}

#[test]
fn a_canary_that_is_ill_stays_alone_and_goes_back() {
    let shop = Shop::running(3, 10);
    shop.make_ill(2, "v2");
    let (exit, summary) = shop.run(&format!("{START} --canary web-2"));
    assert_eq!((exit, shop.links()), (10, vec!["v1".to_owned(); 3]), "{summary:#}");
    let switched = |node: usize| shop.receipt(node).unwrap().progress.unwrap().switched;
    assert!(switched(0).is_none() && switched(2).is_some());
    std::fs::remove_file(shop.world.path("web-2.ill")).unwrap();
    let (exit, summary) = shop.run(&format!("{START} --canary web-2 --pause 1"));
    assert_eq!((exit, shop.links()), (0, vec!["v2".to_owned(); 3]), "{summary:#}\n{}", shop.logs());
    assert!(switched(0) > switched(2));
}

#[test]
fn a_late_batch_takes_the_earlier_ones_back() {
    let shop = Shop::running(3, 10);
    shop.make_ill(2, "v2");
    let (exit, summary) = shop.run(&format!("{START} --batches 1"));
    assert_eq!((exit, shop.links()), (10, vec!["v1".to_owned(); 3]), "{summary:#}\n{}", shop.logs());
    assert!(shop.receipt(0).unwrap().progress.unwrap().switched.is_some());
}

#[test]
fn who_drives_it_may_die_in_any_phase() {
    let shop = Shop::running(3, 10);
    for (at, phase) in [Phase::Prepare, Phase::Arm, Phase::Switch, Phase::Back].into_iter().enumerate() {
        let version = if at % 2 == 0 { "v2" } else { "v1" };
        if phase == Phase::Back {
            shop.make_ill(0, version);
        }
        // One that does not move holds the phases before the switch open.
        if matches!(phase, Phase::Prepare | Phase::Arm) {
            shop.signal(1, "-STOP");
        }
        if phase == Phase::Arm {
            shop.signal(1, "-CONT");
        }
        let mut driver = shop.spawn(&START.replace("v2", version));
        shop.wait_for(phase);
        driver.kill().unwrap();
        driver.wait().unwrap();
        shop.signal(1, "-CONT");
        let before = shop.order().unwrap();
        assert!(!before.phase.is_over(), "{phase}: it was killed too late");
        let (exit, summary) = shop.run("rollout resume shop --lead 1 --who joe");
        let expected = if phase == Phase::Back { (10, "v2") } else { (0, version) };
        assert_eq!(exit, expected.0, "{phase}: {summary:#}\n{}", shop.logs());
        // The rollout of v1 that went back leaves what the one before it decided.
        let serves = if phase == Phase::Back { "v2" } else { expected.1 };
        assert_eq!(shop.links(), [serves; 3], "{phase}");
        assert_eq!(shop.order().unwrap().who, "joe");
    }
}

#[test]
fn a_node_may_die_at_any_stage() {
    let shop = Shop::running(3, 10);
    for (at, stage) in [Stage::Prepared, Stage::Armed, Stage::Switched].into_iter().enumerate() {
        let version = if at % 2 == 0 { "v2" } else { "v1" };
        let driver = shop.spawn(&START.replace("v2", version));
        let id = shop.order().map_or(0, |order| order.id);
        shop.wait("its rollout begins", || shop.order().is_some_and(|order| order.id > id || !order.phase.is_over()));
        shop.wait("it comes there", || shop.stage(1) >= Some(stage));
        shop.kill(1);
        shop.start(1);
        let (exit, summary) = ended(&driver.wait_with_output().unwrap());
        assert_eq!((exit, shop.links()), (0, vec![version.to_owned(); 3]), "{stage}: {summary:#}\n{}", shop.logs());
    }
}

#[test]
fn the_store_may_be_away_in_any_phase() {
    let shop = Shop::running(3, 10);
    for (at, phase) in [Phase::Prepare, Phase::Arm, Phase::Switch].into_iter().enumerate() {
        let version = if at % 2 == 0 { "v2" } else { "v1" };
        let driver = shop.spawn(&START.replace("v2", version));
        shop.wait_for(phase);
        shop.away(Duration::from_secs(2));
        let (exit, summary) = ended(&driver.wait_with_output().unwrap());
        assert_eq!((exit, shop.links()), (0, vec![version.to_owned(); 3]), "{phase}: {summary:#}\n{}", shop.logs());
    }
}

#[test]
fn of_two_who_roll_out_the_second_is_told_who_holds_the_fleet() {
    let shop = Shop::running(2, 10);
    shop.signal(1, "-STOP");
    let first = shop.spawn(&format!("{START} --reason friday"));
    shop.wait_for(Phase::Prepare);
    let (exit, refusal) = shop.run(&START.replace("jane", "joe"));
    let began = shop.order().unwrap().began;
    let message = refusal["message"].as_str().unwrap().replace(&format!("{began:.0}"), "TIME");
    insta::assert_snapshot!(message, @"the fleet `shop` is held: jane rolls out `polls` v2 (friday) since TIME, and is at `prepare`");
    assert_eq!(exit, 6);
    // Two who drive the same one do not harm it.
    let others: Vec<_> = (0..2).map(|_| shop.spawn("rollout resume shop --lead 1")).collect();
    shop.signal(1, "-CONT");
    for driver in others.into_iter().chain([first]) {
        let (exit, summary) = ended(&driver.wait_with_output().unwrap());
        assert_eq!(exit, 0, "{summary:#}\n{}", shop.logs());
    }
    assert_eq!(shop.links(), ["v2"; 2]);
}

#[test]
fn it_can_be_ended_before_and_after_the_switch() {
    let shop = Shop::running(2, 10);
    shop.signal(1, "-STOP");
    let driver = shop.spawn(START);
    shop.wait_for(Phase::Prepare);
    let (exit, summary) = shop.run("rollout abort shop --reason no --who joe");
    assert_eq!((exit, summary["because"].as_str()), (5, Some("ended by joe: no")));
    shop.signal(1, "-CONT");
    assert_eq!(ended(&driver.wait_with_output().unwrap()).0, 5);
    assert_eq!(shop.links(), ["v1"; 2]);
    let driver = shop.spawn(&format!("{START} --batches 1 --pause 60"));
    shop.wait_for(Phase::Pause);
    assert_eq!(shop.links(), ["v2", "v1"]);
    assert_eq!(shop.run("rollout abort shop").0, 10);
    assert_eq!(ended(&driver.wait_with_output().unwrap()).0, 10);
    assert_eq!(shop.links(), ["v1"; 2]);
}

#[test]
fn who_comes_during_a_rollout_prepares_only_and_who_comes_after_it_follows() {
    let shop = Shop::new(4, 10);
    (0..2).for_each(|node| shop.start(node));
    shop.wait("they are heard of", || (0..2).all(|node| shop.receipt(node).is_some()));
    let driver = shop.spawn(&format!("{START} --batches 1 --pause 3"));
    shop.wait_for(Phase::Pause);
    shop.start(2);
    shop.wait("it has prepared it", || shop.stage(2) == Some(Stage::Prepared));
    assert_eq!(shop.links(), ["v2", "v1", "v1", "v1"]);
    assert_eq!(ended(&driver.wait_with_output().unwrap()).0, 0);
    shop.start(3);
    shop.wait("all follow", || shop.links() == ["v2"; 4]);
    shop.wait("all say so", || (0..4).all(|node| followed(&shop, node)));
    let (exit, status) = shop.run("fleet status shop");
    assert_eq!(exit, 0, "{status:#}");
}

#[test]
fn while_nothing_is_new_nothing_is_sent() {
    let shop = Shop::running(2, 0);
    assert_eq!(shop.run(START).0, 0);
    shop.wait("all have followed", || (0..2).all(|node| followed(&shop, node)));
    std::thread::sleep(Duration::from_secs(1));
    let before = shop.server.requests().len();
    std::thread::sleep(Duration::from_secs(4));
    let log = shop.server.requests()[before..].to_vec();
    let looks = 2.0 * 4.0 / 0.4;
    println!("{} requests of 2 nodes in {looks} intervals", log.len());
    assert!(log.len() as f64 <= 2.0 * looks, "{log:#?}");
    assert!(log.iter().all(|one| one.status == 304 && one.length == 0 && one.sent == 0), "{log:#?}");
}

#[test]
fn an_older_order_and_one_of_a_stranger_are_not_followed() {
    let shop = Shop::running(2, 0);
    shop.signal(1, "-STOP");
    let driver = shop.spawn(START);
    shop.wait_for(Phase::Prepare);
    let early = shop.bytes_of_order();
    shop.signal(1, "-CONT");
    assert_eq!(ended(&driver.wait_with_output().unwrap()).0, 0);
    shop.wait("all have followed", || (0..2).all(|node| followed(&shop, node)));
    let trouble = |text: &'static str| {
        let says =
            move |node: usize, shop: &Shop| shop.receipt(node).unwrap().trouble.is_some_and(|it| it.contains(text));
        shop.wait(text, || (0..2).all(|node| says(node, &shop)));
        shop.receipt(0).unwrap().trouble.unwrap()
    };
    shop.put_order(early);
    let text = trouble("has seen");
    insta::assert_snapshot!(text, @"the order is not followed: it has serial 1 of epoch 1, but this node has seen serial 4 of epoch 1");
    let stranger = SigningKey::generate("stranger").unwrap();
    let order = Rollout { serial: 99, ..shop.order().unwrap() };
    shop.put_order(sign(&order, &stranger).unwrap());
    let text = trouble("refused").replace(&stranger.public().fingerprint(), "KEY");
    insta::assert_snapshot!(text.replace(&shop.world.path("").display().to_string(), ""), @"the order is not followed: failed to verify `fleets/shop/rollout.json`: the rollout order is refused: its key KEY is not in the trust file `trust`");
    assert_eq!(shop.links(), ["v2"; 2]);
}

#[test]
fn one_that_is_dead_on_the_way_back_needs_a_person_and_goes_back_when_it_lives() {
    let shop = Shop::running(3, 10);
    shop.make_ill(0, "v2");
    let driver = shop.spawn(&START.replace("--confirm-within 30", "--confirm-within 6"));
    shop.wait("it is healthy", || shop.stage(2) == Some(Stage::Healthy));
    shop.kill(2);
    let (exit, summary) = ended(&driver.wait_with_output().unwrap());
    assert_eq!((exit, shop.links()), (11, ["v1", "v1", "v2"].map(str::to_owned).to_vec()), "{summary:#}");
    let because = summary["because"].as_str().unwrap();
    assert!(because.ends_with("web-2: it does not answer, so nobody knows what it serves"), "{because}");
    shop.start(2);
    shop.wait("it goes back", || shop.links() == ["v1"; 3]);
}

#[test]
fn a_dead_one_can_be_spared_and_follows_when_it_lives() {
    let shop = Shop::running(3, 10);
    shop.kill(1);
    let (exit, summary) =
        shop.run(&format!("{START} --at-least 2").replace("--prepare-within 60", "--prepare-within 4"));
    assert_eq!((exit, shop.links()), (0, ["v2", "v1", "v2"].map(str::to_owned).to_vec()), "{summary:#}");
    let error = summary["nodes"][1]["error"].as_str().unwrap();
    assert!(error.starts_with("it was not ready within the 4.0 s of `prepare`"), "{error}");
    shop.start(1);
    shop.wait("it follows", || shop.links() == ["v2"; 3]);
}
