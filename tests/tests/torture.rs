//! The short form of each part of the torture; `scripts/torture` does the whole.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::io::Write;

use pannier_tests::torture::{Extent, PARTS};

/// Parts for which a disk is mounted, which takes root.
const MOUNTED: &[&str] = &["cut", "full"];

/// Nothing broke; what cannot be tried here is said.
fn holds(part: &str) {
    let part = PARTS.iter().find(|known| known.name == part).unwrap();
    (part.run)(Extent::Short, &mut |figure| match &figure.skipped {
        // Not by `println`, which nobody sees of a test that passes.
        Some(why) if MOUNTED.contains(&part.name) && why.contains("mount") => {
            drop(writeln!(std::io::stderr(), "skipped: {}: {why}", figure.what))
        }
        _ => assert!(figure.holds(), "{figure}"),
    });
}

#[test]
fn killed() {
    holds("kill");
}

#[test]
fn failed() {
    holds("fail");
}

#[test]
fn cut() {
    holds("cut");
}

#[test]
fn full() {
    holds("full");
}

#[test]
fn poisoned() {
    holds("poison");
}
