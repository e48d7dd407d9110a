//! What all apps of a node share: configuration, trusted keys, and what the kernel does for the decoders.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use pannier_shared::signature::Known;
use pannier_shared::statement::{Document, Statement};
use pannier_shared::sys::{confine, fs, process};

use super::{Examined, Found, Trouble};
use crate::layout::User;

/// A key that expires sooner than this should have a successor on every node.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Who can write the configuration says what is run, and as whom.
pub(super) fn configuration(examined: &Examined) -> Vec<Found> {
    let file = &examined.config.file;
    let mut found: Vec<Found> = written_by_others(file).into_iter().collect();
    match examined.config.apps.len() {
        0 => found.push(Found::warning(
            format!("{} has no app", file.display()),
            format!("add a table `[apps.NAME]` to {}", file.display()),
        )),
        1 => found.push(Found::ok(format!("{}, 1 app", file.display()))),
        many => found.push(Found::ok(format!("{}, {many} apps", file.display()))),
    }
    found
}

pub(super) fn trust(examined: &Examined) -> Vec<Found> {
    let trust = match &examined.trust {
        Ok(trust) => trust,
        Err(error) => {
            let hint = "put the lines that `pannier keys new` printed into it, or name another one by `--trust`";
            return vec![Found::trouble(Trouble::of(error, None), hint)];
        }
    };
    let keys: Vec<Known> = trust.keys().collect();
    let mut found: Vec<Found> = written_by_others(Path::new(trust.origin())).into_iter().collect();
    found.extend(keys.iter().filter_map(|key| age(key, examined.now)));
    found.push(of_releases(&keys, trust.origin(), examined.now));
    found
}

/// A key that counts no more, not yet, or not for long.
fn age(key: &Known, now: Timestamp) -> Option<Found> {
    let who = key.principals.join(", ");
    let (after, before) = (key.validity.after, key.validity.before);
    if let Some(before) = before.filter(|before| *before < now) {
        let hint = format!("take the line of `{who}` out of the trust file, or publish anew what only it has signed");
        return Some(Found::warning(format!("the key of `{who}` counts no more since {before}"), hint));
    }
    if let Some(before) = before.filter(|before| before.duration_since(now) < SOON) {
        let hint = "make the next key (`pannier keys new`) and put its line into the trust file of every node now";
        return Some(Found::warning(format!("the key of `{who}` counts until {before} only"), hint));
    }
    let after = after.filter(|after| *after > now)?;
    let hint = "see whether this machine's clock is right: `date -u`";
    Some(Found::warning(format!("the key of `{who}` counts from {after} on only"), hint))
}

fn of_releases(keys: &[Known], file: &str, now: Timestamp) -> Found {
    let counts =
        |key: &&Known| key.namespaces.iter().any(|name| name == Statement::NAMESPACE) && key.validity.holds_at(now);
    match keys.iter().filter(counts).count() {
        0 => Found::wrong(
            format!("no key in {file} may sign a release now"),
            format!(
                "add a line for one, with `namespaces=\"{}\"`: `pannier keys show` prints it",
                Statement::NAMESPACE
            ),
        ),
        1 => Found::ok(format!("1 key may sign releases, in {file}")),
        many => Found::ok(format!("{many} keys may sign releases, in {file}")),
    }
}

/// A file that decides what is trusted or run, and that others than its owner can write.
fn written_by_others(path: &Path) -> Option<Found> {
    let meta = fs::stat(path).ok()?;
    let file = path.display();
    if meta.mode() & 0o022 != 0 {
        let says = format!("{file} can be written by others than its owner (mode {:04o})", meta.mode() & 0o7777);
        return Some(Found::wrong(says, format!("`chmod go-w {file}`")));
    }
    if ![0, process::user()].contains(&meta.uid()) {
        let says = format!("{file} belongs to {}, who can write it", User(meta.uid()));
        return Some(Found::warning(says, format!("`chown root {file}`")));
    }
    None
}

pub(super) fn confinement(_: &Examined) -> Vec<Found> {
    vec![confined(confine::is_possible())]
}

fn confined(is_possible: bool) -> Found {
    match is_possible {
        true => Found::ok("decoders can write nowhere but into the staging folder (Landlock)"),
        false => Found::warning(
            "this kernel has no Landlock: decoders are not confined to the staging folder",
            "a kernel of version 5.13 or newer has it; see whether it is turned on: `cat /sys/kernel/security/lsm`",
        ),
    }
}
