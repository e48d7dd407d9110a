//! What `suite show` gives: a line for each app of each role, with what it would run now.

use std::fmt::{self, Display};

use jiff::Timestamp;
use pannier_builder::suite::show::{Release, Seen, Shown};
use pannier_shared::digest::Digest;
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, RoleName, SuiteName, Target, Version};
use pannier_shared::report::human;
use serde::Serialize;

/// A suite, and what it comes to.
#[derive(Debug, Serialize)]
pub struct SuiteView {
    suite: SuiteName,
    serial: u64,
    signer: String,
    who: String,
    reason: String,
    not_after: Timestamp,
    /// True when it should have been signed again by now.
    stale: bool,
    apps: Vec<AppRow>,
    #[serde(skip)]
    exit: Option<Exit>,
}

/// One app of one role.
#[derive(Debug, Serialize)]
struct AppRow {
    role: RoleName,
    app: AppName,
    priority: u32,
    /// `@CHANNEL`, or a version.
    runs: String,
    releases: Vec<ReleaseRow>,
    /// Why no node can run it now.
    refused: Option<String>,
}

/// What it is for one kind of machine.
#[derive(Debug, Serialize)]
struct ReleaseRow {
    target: Target,
    version: Version,
    statement: Digest,
    size: u64,
}

impl SuiteView {
    pub(super) fn of(shown: Shown) -> Self {
        let Shown { suite, stale, apps } = shown;
        let failed = apps.iter().find_map(|seen| seen.found.as_ref().err());
        Self {
            suite: suite.suite.clone(),
            serial: suite.serial,
            signer: suite.signer().to_owned(),
            who: suite.who.clone(),
            reason: suite.reason.clone(),
            not_after: suite.not_after,
            stale,
            exit: failed.map(Exit::from),
            apps: apps.into_iter().map(AppRow::of).collect(),
        }
    }

    /// Of the first app that no node can run now.
    pub(super) fn exit(&self) -> Exit {
        self.exit.unwrap_or(Exit::Done)
    }
}

impl AppRow {
    fn of(seen: Seen) -> Self {
        let Seen { role, app, priority, runs, found } = seen;
        let row = |Release { target, version, statement, size }| ReleaseRow { target, version, statement, size };
        let (releases, refused) = match found {
            Ok(found) => (found.into_iter().map(row).collect(), None),
            Err(error) => (Vec::new(), Some(super::in_one_line(&error))),
        };
        Self { role, app, priority, runs: runs.to_string(), releases, refused }
    }
}

impl Display for SuiteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, serial, signer, not_after, stale, apps, .. } = self;
        let signer = human::harmless(signer);
        writeln!(f, "{suite} (serial {serial}, signed by {signer}, fresh until {not_after})")?;
        if *stale {
            writeln!(f, "STALE: should have been renewed by now")?;
        }
        apps.iter().try_for_each(|row| row.fmt(f))
    }
}

impl Display for AppRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, app, priority, runs, releases, refused } = self;
        let name = format!("{role}/{app}");
        if let Some(why) = refused {
            return writeln!(f, "{name:<24} {priority:>4}  {runs:<20} REFUSED: {}", human::harmless(why));
        }
        releases.iter().try_for_each(|ReleaseRow { target, version, size, .. }| {
            let (version, target, size) = (version.as_str(), target.as_str(), human::bytes(*size));
            writeln!(f, "{name:<24} {priority:>4}  {runs:<20} {version:<20} {target:<20} {size:>10}")
        })
    }
}
