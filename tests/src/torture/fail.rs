//! Fail: every call that opens, writes, names or syncs fails once, in each of the ways a kernel has. A command then ends
//! with a clean error and the node serves what it served, or it ends well and all is as it should be; the same command run
//! again ends well.
//!
//! Two errors have rules of their own. A sync that failed is never taken for one that did not, and never tried again: the
//! kernel may have dropped what it could not write, and reports that once. And EINTR only says "again" where nothing was
//! done, which is so of an open, a read and a write, and not of a sync.

use std::process::Output;

use super::node::{Facts, Node, Size, VERBS, Verb};
use super::trace::{self, Harmed, Point};
use super::{Extent, Figure, expect};
use crate::said;

/// The ways to fail.
const ERRORS: &[&str] = &["ENOSPC", "EIO", "EDQUOT", "EMFILE", "EINTR"];

/// The calls that fail.
const CALLS: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "syncfs",
    "rename",
    "renameat2",
    "symlink",
    "symlinkat",
    "link",
    "linkat",
    "ioctl",
    "mkdir",
    "mkdirat",
    "fchmod",
    "ftruncate",
];

/// After EINTR these are made again.
const MADE_AGAIN: &[&str] = &["open", "openat", "openat2", "write", "pwrite64", "ftruncate"];

/// What an ended command may say, beside 0: the configuration, the trust file or the machine failed, the restart command
/// could not be started, or the result could not be told. 127 is the loader's, which could not begin.
const CLEAN: &[i32] = &[1, 2, 6, 7, 8, 9, 127];

/// Fails every verb.
pub fn run(extent: Extent, tell: &mut dyn FnMut(Figure)) {
    VERBS.iter().for_each(|verb| fail(verb, extent, tell));
}

fn fail(verb: &Verb, extent: Extent, tell: &mut dyn FnMut(Figure)) {
    let node = Node::ready(verb, Size::Small);
    let before = node.facts();
    let points = match trace::points(&node, verb) {
        Ok(points) => points,
        Err(why) => return tell(Figure::skipped(verb.name, why)),
    };
    let after = node.facts();
    let every = if extent == Extent::Short { 41 } else { 1 };
    let points: Vec<Point> = points.into_iter().filter(|point| CALLS.contains(&point.call.as_str())).collect();
    for (first, error) in ERRORS.iter().enumerate() {
        let mut figure = Figure::of(format!("{error} in {}", verb.name));
        // Not the same ones for each error where not all are tried.
        for point in points.iter().skip(first * 7 % every).step_by(every) {
            node.restore();
            let came = fail_at(&node, verb, point, error, (&before, &after));
            figure.count(point, came);
        }
        tell(figure);
    }
}

fn fail_at(
    node: &Node,
    verb: &Verb,
    point: &Point,
    error: &str,
    (before, after): (&Facts, &Facts),
) -> Result<(), String> {
    let Harmed { output, was, woke } = trace::harmed(node, verb, point, &format!("error={error}"))?;
    if woke {
        return Ok(());
    }
    ended_cleanly(&output)?;
    let ended_well = output.status.success() || said(&output).contains("it is done");
    if was && !output.status.success() && error == "EINTR" && MADE_AGAIN.contains(&point.call.as_str()) {
        return Err(format!("it was not made again: {}", said(&output)));
    }
    let whole = if ended_well { after } else { before };
    let serves = node.serves(whole)?;
    expect("serves", &Some(serves), &served(whole))?;
    expect("started", &node.facts().started, &whole.started)?;
    if was && ended_well && point.call.contains("sync") {
        a_failed_sync_was_told(&output)?;
    }
    node.ok(verb.command)?;
    node.facts().same_as(after)
}

fn served(facts: &Facts) -> Option<String> {
    Some(facts.current.as_ref()?.file_name()?.to_string_lossy().into_owned())
}

fn ended_cleanly(output: &Output) -> Result<(), String> {
    let text = said(output);
    match output.status.code() {
        _ if text.contains("panicked") => Err(text),
        Some(0) => Ok(()),
        Some(code) if CLEAN.contains(&code) => Ok(()),
        _ => Err(text),
    }
}

/// Only two syncs may fail in a command that ends well, and both are told: what they sync is not relied on.
fn a_failed_sync_was_told(output: &Output) -> Result<(), String> {
    let text = said(output);
    let told = ["the journal's last line is missing", "the next fetch will hash more"];
    if told.iter().any(|words| text.contains(words)) {
        Ok(())
    } else {
        Err(format!("a failed sync was hidden: {text}"))
    }
}
