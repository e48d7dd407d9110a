//! A plan in figures, for a person or a program to look at before anything is done.

use std::fmt;

use pannier_shared::archive::compare::{Change, Comparison};
use pannier_shared::archive::toc::Table;
use pannier_shared::event::Sink;
use pannier_shared::id::{AppName, Version};
use pannier_shared::published::Published;
use pannier_shared::report::human;
use pannier_shared::sys::clock;
use pannier_shared::sys::dir::Dir;
use serde::Serialize;

use super::schema::{Schema, schema};
use super::{Choice, Kept, Plan};
use crate::admit::admit;
use crate::config::App;
use crate::fetch::{Error, Origin};
use crate::node::View;
use crate::resolve::{What, already_here, look};
use crate::steps::reuse::Method;

/// A release that cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("failed to plan the fetch of `{what}` of `{app}`")]
pub struct Failure {
    /// The app.
    pub app: AppName,
    /// What was asked for.
    pub what: What,
    /// Why.
    pub source: Error,
}

/// What a fetch would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// The release.
    pub version: Version,
    /// What it would take; none when the release is here already.
    pub todo: Option<Todo>,
    /// What it means for the databases; none for a release that names no migrations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Schema>,
}

/// What bringing a release would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Todo {
    /// How it differs from the release that serves; none when none serves.
    pub changes: Option<Changes>,
    /// Files whose content is on the node.
    pub reused_files: u64,
    /// Their bytes.
    pub reused_bytes: u64,
    /// All its files that have content.
    pub files: u64,
    /// Bytes from the store, those that were read to make the plan among them.
    pub wire_bytes: u64,
    /// Requests, those that were made to make the plan among them.
    pub requests: u64,
    /// Bytes of the whole artifact.
    pub artifact_bytes: u64,
    /// Bytes needed on the disk.
    pub disk_bytes: u64,
    /// Files, folders and links needed on the disk.
    pub inodes: u64,
}

/// How files and links differ from those of another release, by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// The other release.
    pub from: Version,
    /// As they were.
    pub kept: u64,
    /// Of another content, mode or target.
    pub changed: u64,
    /// New ones.
    pub added: u64,
    /// No longer there.
    pub removed: u64,
}

/// Says what `fetch` would do on this node. Takes no lock and remembers nothing; the store is asked for the
/// statement, the root and the tables that are not on the node.
pub fn forecast(
    view: &View,
    config: &App,
    what: &What,
    origin: Origin,
    sink: &dyn Sink,
) -> Result<Forecast, Box<Failure>> {
    let failed = |source| Box::new(Failure { app: view.app.clone(), what: what.clone(), source });
    todo(view, config, what, origin, sink).map_err(failed)
}

fn todo(view: &View, config: &App, what: &What, origin: Origin, sink: &dyn Sink) -> Result<Forecast, Error> {
    let published = Published { store: origin.store, trust: origin.trust, now: clock::now() };
    let statement = look(&view.app, &view.state, &published, what, origin.runtime, sink)?;
    let version = statement.release.version.clone();
    let schema = schema(view, config, &statement.release);
    if already_here(&view.state, &statement)?.is_some() {
        return Ok(Forecast { version, todo: None, schema });
    }
    admit(&statement.release, config.python.as_deref())?;
    let (kept, method) = match &view.root {
        Some(root) => (
            Kept::all(root, &view.state, origin.trust, sink),
            Dir::open(&root.staging()).map_or(Method::Link, |dir| Method::of(&dir)),
        ),
        None => (Vec::new(), Method::Link),
    };
    let plan = Plan::make(&origin, &statement, kept, method, sink)?;
    let live = plan.kept().iter().find(|kept| view.state.live_version() == Some(&kept.version));
    let changes = live.map(|live| changes(plan.contents().tables(), live)).transpose()?;
    Ok(Forecast { version, todo: Some(plan.todo(changes)), schema })
}

impl Plan {
    /// The plan in figures.
    pub fn todo(&self, changes: Option<Changes>) -> Todo {
        let (runs, needs) = (self.runs(&self.wanted()), self.needs());
        let here = self.contents().files().zip(self.choices()).filter(|(_, choice)| matches!(choice, Choice::Here(_)));
        let (reused_files, reused_bytes) =
            here.fold((0, 0), |(files, bytes), (file, _)| (files + 1, bytes + file.size));
        Todo {
            changes,
            reused_files,
            reused_bytes,
            files: self.files(),
            wire_bytes: self.taken().bytes + runs.iter().map(super::ranges::Run::length).sum::<u64>(),
            requests: self.taken().requests + runs.len() as u64,
            artifact_bytes: self.artifact.size,
            disk_bytes: needs.bytes,
            inodes: needs.inodes,
        }
    }
}

fn changes(new: &[Table], old: &Kept) -> Result<Changes, Error> {
    let mut comparison = Comparison::with(new);
    let mut changes = Changes { from: old.version.clone(), kept: 0, changed: 0, added: 0, removed: 0 };
    for group in 0..old.groups().len() {
        for (_, change) in comparison.take(&old.table(group)?) {
            match change {
                Change::Kept => changes.kept += 1,
                Change::Changed(_) => changes.changed += 1,
                Change::Removed => changes.removed += 1,
            }
        }
    }
    changes.added = comparison.added().count() as u64;
    Ok(changes)
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.todo {
            Some(todo) => todo.fmt(f)?,
            None => writeln!(f, "{} is prepared already", self.version)?,
        }
        self.schema.iter().try_for_each(|schema| schema.fmt(f))
    }
}

impl fmt::Display for Todo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Todo { changes, reused_files, reused_bytes, files, wire_bytes, requests, .. } = self;
        let number = |count: &u64| human::number(*count);
        if let Some(Changes { from, kept, changed, added, removed }) = changes {
            let (kept, changed, added) = (number(kept), number(changed), number(added));
            writeln!(
                f,
                "against   {from}: {kept} kept, {changed} changed, {added} added, {} removed",
                number(removed)
            )?;
        }
        let (here, all) = (number(reused_files), number(files));
        writeln!(f, "here      {here} of {all} files ({})", human::bytes(*reused_bytes))?;
        let requests = if *requests == 1 { "1 request".to_owned() } else { format!("{} requests", number(requests)) };
        let artifact = human::bytes(self.artifact_bytes);
        writeln!(f, "wire      {} of {artifact} in {requests}", human::bytes(*wire_bytes))?;
        let inodes = number(&self.inodes);
        writeln!(f, "disk      {} and {inodes} inodes", human::bytes(self.disk_bytes))
    }
}
