//! Every fault of a bad line, in every part of an artifact, through the whole program and both kinds of remote store:
//! a fetch ends with the right tree or with a clear error, soon, and a fault costs at most one frame more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pannier_tests::proxy::{Fault, Seen};
use pannier_tests::scene::{Kind, NETWORK, Scene, large};
use pannier_tests::{listing, said};

/// Puts the fault under the first answers that have this byte.
fn first(times: usize, byte: u64, fault: Fault) -> impl Fn(&Seen) -> Fault + Send + Sync + 'static {
    let left = AtomicUsize::new(times);
    move |seen| {
        let hit = seen.asks_for(byte)
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if hit { fault.clone() } else { Fault::None }
    }
}

fn faults(at: u64) -> Vec<Fault> {
    vec![
        Fault::None,
        Fault::Latency(Duration::from_millis(300)),
        Fault::Reset(3),
        Fault::Reset(0),
        Fault::Cut(5),
        Fault::Cut(0),
        Fault::Stall(7),
        Fault::Stall(0),
        Fault::Trickle(2),
        Fault::Busy(1),
        Fault::Short,
        Fault::Flip(at),
        Fault::Whole,
        Fault::OtherRange,
        Fault::Long,
    ]
}

/// True for answers that a server gives on purpose: asking it again would only be hoping.
fn is_wrong(fault: &Fault) -> bool {
    matches!(fault, Fault::Whole | Fault::OtherRange | Fault::Long)
}

fn middle(range: &Range<u64>) -> u64 {
    range.start + (range.end - range.start) / 2
}

/// A fault that passes, under each part in turn.
fn a_passing_fault(kind: Kind) {
    let scene = Scene::new(kind, large);
    let output = scene.fetch("clean");
    assert!(output.status.success(), "{}", said(&output));
    let (clean, sent) = (listing(&scene.tree("clean")), scene.proxy.sent());
    for (name, range) in scene.parts() {
        for (number, fault) in faults(middle(&range)).into_iter().enumerate() {
            let (at, node) = (format!("{kind:?} {name} {fault:?}"), format!("{name}-{number}"));
            scene.proxy.inject(first(1, middle(&range), fault.clone()));
            let output = scene.fetch(&node);
            let done = scene.proxy.artifact().iter().filter(|told| told.fault == fault).count();
            assert!(done == 1 || fault == Fault::None, "{at}: done {done} times");
            if is_wrong(&fault) {
                assert_eq!(output.status.code(), Some(7), "{at}: {}", said(&output));
                assert!(!scene.tree(&node).exists(), "{at}");
                continue;
            }
            assert!(output.status.success(), "{at}: {}", said(&output));
            assert_eq!(listing(&scene.tree(&node)), clean, "{at}");
            let more = scene.proxy.sent().checked_sub(sent).unwrap();
            let most = if matches!(fault, Fault::Flip(_)) { range.end - range.start } else { 0 };
            assert!(more <= most, "{at}: {more} bytes more than without a fault, at most {most} are meant");
        }
    }
}

#[test]
fn a_fault_that_passes_costs_a_web_server_at_most_one_frame() {
    a_passing_fault(Kind::Web);
}

#[test]
fn a_fault_that_passes_costs_s3_at_most_one_frame() {
    a_passing_fault(Kind::S3);
}

/// The cause that a web server's node names for faults that stay, under the first range, without what differs from run to
/// run.
fn lasting(faults: &[Fault]) -> String {
    let scene = Scene::new(Kind::Web, large);
    assert!(scene.fetch("clean").status.success());
    let first = scene.proxy.ranges().into_iter().find(|range| range.start == 0).unwrap().end;
    let mut told = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        let (spoilt, node) = (fault.clone(), format!("node-{number}"));
        let is_hit = move |seen: &Seen| seen.range.as_ref().is_some_and(|range| range.start < first);
        scene.proxy.inject(move |seen| if is_hit(seen) { spoilt.clone() } else { Fault::None });
        let output = scene.fetch(&node);
        assert!(!scene.tree(&node).exists(), "{fault:?}: {}", said(&output));
        let text = String::from_utf8_lossy(&output.stderr).replace(&scene.proxy.url()[7..], "HOST");
        let cause = text.lines().rfind(|line| line.starts_with("  caused by")).unwrap();
        told.push(format!("{fault:?}: exit {}:{}", output.status.code().unwrap(), &cause["  caused by:".len()..]));
    }
    told.join("\n")
}

#[test]
fn a_server_that_does_not_keep_to_the_protocol_is_not_asked_twice() {
    insta::assert_snapshot!(lasting(&[Fault::Whole, Fault::OtherRange, Fault::Long]), @"
    Whole: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and it gave the whole object: it cannot give ranges
    OtherRange: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and it gave 1-4852402
    Long: exit 7: the store http://HOST/ gave a wrong answer for `polls/releases/v1/x86_64-linux-gnu/artifact.tar.zst`: asked for bytes 0-4852401, and its body has more
    ");
}

#[test]
fn a_line_that_stays_bad_is_given_up_and_said_to_be() {
    insta::assert_snapshot!(lasting(&[
        Fault::Reset(3),
        Fault::Cut(3),
        Fault::Stall(3),
        Fault::Trickle(3),
        Fault::Short,
        Fault::Latency(Duration::from_secs(4)),
    ]), @"
    Reset(3): exit 7: the store http://HOST/ is unavailable: `HOST` broke the connection: error reading a body from connection: Connection reset by peer (os error 104) (5 attempts)
    Cut(3): exit 7: the store http://HOST/ is unavailable: `HOST` broke the connection: error reading a body from connection: end of file before message length reached (5 attempts)
    Stall(3): exit 7: the store http://HOST/ is unavailable: `HOST` stopped sending for 1.5 s (5 attempts)
    Trickle(3): exit 7: the store http://HOST/ is unavailable: `HOST` sent less than 8 KiB per second for 0.9 s (5 attempts)
    Short: exit 7: the store http://HOST/ is unavailable: `HOST` sent 0 of 1 bytes (5 attempts)
    Latency(4s): exit 7: the store http://HOST/ is unavailable: `HOST` gave no answer within 0.9 s (5 attempts)
    ");
}

#[test]
fn a_busy_store_is_asked_again_when_it_wants_to_be() {
    insta::assert_snapshot!(lasting(&[Fault::Busy(1), Fault::Busy(3600)]), @"
    Busy(1): exit 7: the store http://HOST/ is unavailable: status 503 (5 attempts)
    Busy(3600): exit 7: the store http://HOST/ is unavailable: status 503, to be asked again in 3600 s
    ");
}

#[test]
fn damage_that_stays_is_named_by_its_part() {
    let scene = Scene::new(Kind::Web, large);
    for (_, range) in scene.parts() {
        let byte = middle(&range);
        scene.proxy.inject(first(usize::MAX, byte, Fault::Flip(byte)));
        let output = scene.fetch("node");
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        let (first, again) = (scene.proxy.ranges(), scene.proxy.artifact());
        let again = again.iter().filter(|told| told.seen.asks_for(byte)).skip(1).collect::<Vec<_>>();
        assert_eq!(again.len(), 1, "{first:?}");
        assert_eq!(again[0].seen.headers.get("cache-control").map(String::as_str), Some("no-cache"));
        assert!(again[0].sent <= range.end - range.start);
    }
}

#[test]
fn a_line_that_spoils_everything_is_not_given_a_second_try_for_each_frame() {
    let scene = Scene::new(Kind::Web, large);
    let frames = scene.contents.frames().to_vec();
    let artifact = scene.contents.outline().tables_range().start;
    scene.proxy.inject(move |seen| match seen.range.as_ref().filter(|range| range.start < artifact) {
        Some(range) => Fault::Flip(middle(range)),
        None => Fault::None,
    });
    let output = scene.fetch("node");
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(scene.proxy.artifact().len() < 2 * frames.len() + 8);
}

#[test]
fn a_first_byte_that_does_not_come_is_asked_for_again_meanwhile() {
    let scene = Scene::new(Kind::Web, large);
    let byte = middle(&scene.parts()[2].1);
    // Longer than the program waits for an answer, and only the first time.
    scene.proxy.inject(first(1, byte, Fault::Latency(Duration::from_secs(30))));
    let network = NETWORK.replace("answer = \"900ms\"", "answer = \"20s\"");
    let begun = Instant::now();
    let output = scene.fetch_with("node", &network);
    assert!(output.status.success() && begun.elapsed() < Duration::from_secs(15), "{}", said(&output));
}
