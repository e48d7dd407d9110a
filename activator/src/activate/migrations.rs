//! The row of the table that sees that code and databases fit each other before `current` moves.
//!
//! Forward: what the release needs must be applied; when something is pending, it is refused, or applied first. It is not
//! asked where the release has no more migrations than the one that serves, and is healthy.
//!
//! Back: what is applied beyond what the older release knows must not break it. Additive migrations may stay: the schema is
//! then ahead, which is said. Destructive ones must be taken back first, which only the newer code can do, and what has no way
//! back is refused by name, unless a person takes it upon them. A database that does not answer does not stop a rollback: what
//! the release that serves has is then taken to be applied.
//!
//! The undo of a failed activation does not come here: it goes back without asking. Where migrations were taken back for
//! an older release that then failed, its undo applies them again.

use std::collections::BTreeMap;

use pannier_shared::event::Event;
use pannier_shared::id::Version;
use pannier_shared::statement::Migrations;
use pannier_shared::steps::Done;

use super::{Activation, Error, one_line};
use crate::migrate::schema::{self, Back, Database, Judged, WayBack};
use crate::migrate::{self, Client, Leasing, OnPending, Way, ask, migrate};
use crate::state::Direction;

/// What to do when code and databases do not fit each other.
#[derive(Debug, Clone, Copy)]
pub enum OnSchema<'a> {
    /// Refuse.
    Refuse,
    /// Go on.
    Accept,
    /// Apply what is pending, or take back what is ahead.
    Change(Leasing<'a>),
}

/// Code and databases that do not fit each other.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Something is pending.
    #[error("`{version}` needs what is not applied to `{alias}`:{}", lines(.pending))]
    Pending {
        /// The release.
        version: Version,
        /// The database.
        alias: String,
        /// What is pending.
        pending: Vec<Judged>,
    },
    /// Something is applied that breaks the older release.
    #[error("`{version}` does not know what was applied after it:{}", lines(.ahead))]
    Breaks {
        /// The release.
        version: Version,
        /// What it does not know and cannot do with.
        ahead: Vec<Judged>,
    },
    /// It has no way back.
    #[error("what was applied after `{version}` has no way back:{}", lines(.ahead))]
    NoWayBack {
        /// The release.
        version: Version,
        /// What cannot be taken back.
        ahead: Vec<Judged>,
    },
    /// The databases cannot be asked.
    #[error("it is not known what is applied")]
    Unasked(#[from] migrate::Error),
    /// Applying, or taking back, failed.
    #[error(transparent)]
    Failed(#[from] Box<migrate::Failure>),
}

/// A first activation has all of them pending.
const SHOWN: usize = 8;

fn lines(judged: &[Judged]) -> String {
    let lines = judged.iter().take(SHOWN).map(|one| format!("\n  | {one}"));
    let more = judged.len().checked_sub(SHOWN).filter(|more| *more > 0);
    lines.chain(more.map(|more| format!("\n  | and {more} more"))).collect()
}

impl Unfit {
    /// What a person can type about it.
    pub fn hint(&self, app: &pannier_shared::id::AppName) -> Option<String> {
        match self {
            Unfit::Pending { version, .. } => Some(format!(
                "`pannier-activator migrate {app} {version}`, or add `--migrate`; `--pending-ok` goes on without"
            )),
            Unfit::Breaks { .. } => Some(
                "add `--reverse-migrations` to take it back first (what it removed comes back empty), or `--schema-ahead-ok` if you know that the older code runs"
                    .to_owned(),
            ),
            Unfit::NoWayBack { .. } => {
                Some("mend it by a newer release, or add `--schema-ahead-ok` if you know that the older code runs".to_owned())
            }
            Unfit::Unasked(error) => error.hint(app).map(|hint| format!("{hint}; `--pending-ok` goes on without")),
            Unfit::Failed(failure) => failure.hint(),
        }
    }
}

/// Sees that they fit, or makes them.
pub fn fit(run: &mut Activation) -> Result<Done, Error> {
    let own = run.description.as_ref().map(|description| description.migrations.clone()).unwrap_or_default();
    if own.is_empty() {
        return Ok(Done::said("it names none"));
    }
    match run.direction {
        Direction::Forward => forward(run, &own),
        Direction::Back => back(run, &own),
    }
    .map_err(|unfit| run.because(unfit.into()))
}

fn forward(run: &mut Activation, own: &Migrations) -> Result<Done, Unfit> {
    if run.node.config.migrate.pending == OnPending::Ignore || matches!(run.schema, OnSchema::Accept) {
        return Ok(Done::said("not asked"));
    }
    if let Some(healthy) = healthy_with(run, own) {
        return Ok(Done::said(format!("as with `{healthy}`, which serves")));
    }
    if let OnSchema::Change(leasing) = run.schema {
        return Ok(moved(change(run, run.version.clone(), Way::Forward, leasing)?, "applied"));
    }
    let client = client(run, &run.version)?;
    for Database { alias, pending, .. } in ask(&client)? {
        if !pending.is_empty() {
            let (version, pending) = (run.version.clone(), schema::judged(&pending, own));
            return Err(Unfit::Pending { version, alias, pending });
        }
    }
    Ok(Done::said("all are applied"))
}

/// What serves and is healthy, if it has all of these migrations.
fn healthy_with(run: &Activation, own: &Migrations) -> Option<Version> {
    let live = run.back.live().filter(|live| live.confirmed)?;
    let theirs = schema::known(&migrate::of_release(&run.node.root, &live.version)?);
    schema::known(own).is_subset(&theirs).then(|| live.version.clone())
}

fn back(run: &mut Activation, own: &Migrations) -> Result<Done, Unfit> {
    let others = others(run);
    let theirs: Vec<&Migrations> = others.iter().map(|(_, theirs)| theirs).collect();
    if schema::ahead_by_statements(own, &theirs).is_empty() {
        return Ok(Done::said("no release here has more"));
    }
    let newest = others.first().map_or(&run.version, |(version, _)| version).clone();
    let found = client(run, &newest).and_then(|client| Ok(ask(&client)?));
    let ahead: BTreeMap<String, Vec<Judged>> = match found {
        Ok(databases) => {
            let ahead = |it: Database| (it.alias, schema::ahead(&it.applied, own, &theirs));
            databases.into_iter().map(ahead).filter(|(_, ahead)| !ahead.is_empty()).collect()
        }
        Err(unasked) if !matches!(run.schema, OnSchema::Change(_)) => {
            let text = format!("{}; what `{newest}` has is taken to be applied", one_line(&unasked));
            run.sink.emit(Event::Warning { text });
            [("default".to_owned(), schema::ahead_by_statements(own, &theirs[..1]))].into()
        }
        Err(unasked) => return Err(unasked),
    };
    go_back_over(run, own, newest, ahead)
}

fn go_back_over(
    run: &mut Activation,
    own: &Migrations,
    newest: Version,
    ahead: BTreeMap<String, Vec<Judged>>,
) -> Result<Done, Unfit> {
    let all: Vec<Judged> = ahead.values().flatten().cloned().collect();
    if all.is_empty() {
        return Ok(Done::said("the schema is that of the release"));
    }
    let version = run.version.clone();
    match (run.schema, schema::back_over(&all)) {
        (OnSchema::Change(leasing), _) => {
            let lost: Vec<Judged> = all.into_iter().filter(Judged::is_irreversible).collect();
            if !lost.is_empty() {
                return Err(Unfit::NoWayBack { version, ahead: lost });
            }
            let way = |(alias, ahead): (String, Vec<Judged>)| (alias, schema::way_back(&ahead, own));
            let ways = ahead.into_iter().map(way).collect();
            Ok(moved(take_back(run, newest, ways, leasing)?, "taken back"))
        }
        (OnSchema::Refuse, Back::NoWayBack(ahead)) => Err(Unfit::NoWayBack { version, ahead }),
        (OnSchema::Refuse, Back::Breaks(ahead)) => Err(Unfit::Breaks { version, ahead }),
        _ => Ok(stays_ahead(run, &all)),
    }
}

/// What was taken back in part is to be applied again, too.
fn take_back(
    run: &mut Activation,
    newest: Version,
    ways: BTreeMap<String, WayBack>,
    leasing: Leasing,
) -> Result<usize, Box<migrate::Failure>> {
    let taken = change(run, newest.clone(), Way::Back(ways), leasing);
    if taken.as_ref().map_or_else(|failure| failure.moved, |moved| *moved) > 0 {
        run.reversed = Some(newest);
    }
    taken
}

/// Says it, and writes it into the journal.
fn stays_ahead(run: &Activation, ahead: &[Judged]) -> Done {
    let names = ahead.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let why = match run.schema {
        OnSchema::Accept => "accepted by `--schema-ahead-ok`",
        _ if ahead.iter().any(Judged::is_unknown) => "and nobody said what all of that does to its code",
        _ => "and its code can run on that",
    };
    let text = format!("the schema stays ahead of `{}`, {why}: {names}", run.version);
    // What cannot be written down is said at least.
    let _ = run.ongoing.say(&text);
    run.sink.emit(Event::Warning { text });
    Done::said("the schema stays ahead")
}

/// Applies again what was taken back for a release that does not serve now.
pub fn undo(run: &mut Activation) -> Result<(), Error> {
    let (Some(version), OnSchema::Change(leasing)) = (run.reversed.take(), run.schema) else { return Ok(()) };
    change(run, version, Way::Forward, leasing).map_err(Unfit::from)?;
    Ok(())
}

fn change(run: &mut Activation, version: Version, way: Way, leasing: Leasing) -> Result<usize, Box<migrate::Failure>> {
    let env_file = run.env_file_of(&version);
    let request = migrate::Request { version, way, leasing, env_file };
    Ok(migrate(run.node, &request, run.runtime, run.sink)?.moved.len())
}

fn moved(count: usize, what: &str) -> Done {
    match count {
        0 => Done::said("all are applied"),
        1 => Done::said(format!("1 {what}")),
        _ => Done::said(format!("{count} {what}")),
    }
}

fn client(run: &Activation, version: &Version) -> Result<Client, Unfit> {
    let env_file = run.env_file_of(version);
    Ok(Client::of(&run.node.root, &run.node.config, version, env_file.as_deref())?)
}

/// What the other releases here have: that of the one that serves first, then as they were healthy last.
fn others(run: &Activation) -> Vec<(Version, Migrations)> {
    let state = &run.back;
    let healthy: Vec<&Version> = state.healthy().collect();
    let rest = state.releases().map(|(version, _)| version).filter(|version| !healthy.contains(version));
    let all = state.live_version().into_iter().chain(healthy.iter().rev().copied()).chain(rest);
    let mut found: Vec<(Version, Migrations)> = Vec::new();
    for version in all.filter(|version| **version != run.version) {
        if found.iter().all(|(known, _)| known != version) {
            found.extend(migrate::of_release(&run.node.root, version).map(|theirs| (version.clone(), theirs)));
        }
    }
    found
}
