//! The part of a plan that is about databases: what is applied, what is pending and does what to code that runs on, and what
//! a way back would need afterwards.

use std::collections::BTreeSet;
use std::fmt;

use pannier_shared::id::{MigrationId, Version};
use pannier_shared::statement::{Description, Migrations};
use serde::Serialize;

use crate::activate::one_line;
use crate::config::App;
use crate::environment;
use crate::layout::Root;
use crate::migrate::schema::{self, Back, Database, Judged};
use crate::migrate::{Client, Error, ask, of_release};
use crate::node::View;

/// What is known of the databases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// What each one says.
    Databases(Vec<Planned>),
    /// Why they were not asked.
    Unasked(String),
}

/// What a release means for a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Its alias in the settings.
    pub alias: String,
    /// Its kind, as Django calls it.
    pub vendor: String,
    /// How many migrations are applied.
    pub applied: usize,
    /// What the release would apply, in order.
    pub pending: Vec<Judged>,
    /// What is applied and the release does not know.
    pub ahead: Vec<Judged>,
    /// What going back to the release that serves would need, once this one is activated; none when nothing serves.
    pub back: Option<WayBack>,
}

/// What a way back would need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// To which release.
    pub to: Version,
    /// What it would need.
    #[serde(flatten)]
    pub needs: Back,
}

/// Asks the databases what `release` means for them; nothing for a release that names no migrations.
pub fn schema(view: &View, config: &App, release: &Description) -> Option<Schema> {
    let own = Some(&release.migrations).filter(|own| !own.is_empty())?;
    let asked = view.root.as_ref().and_then(|root| asker(view, root, config, &release.version));
    let Some(client) = asked else {
        return Some(Schema::Unasked("no release is here whose code could ask them".to_owned()));
    };
    Some(match client.and_then(|client| Ok((client.version().clone(), ask(&client)?))) {
        Ok((by, found)) => {
            Schema::Databases(found.into_iter().map(|it| planned(view, &by, &release.version, own, it)).collect())
        }
        Err(error) => Schema::Unasked(one_line(&error)),
    })
}

/// The release itself, else the one that serves, else any.
fn asker(view: &View, root: &Root, config: &App, version: &Version) -> Option<Result<Client, Error>> {
    let here = |version: &&Version| view.state.release(version).is_some();
    let own = Some(version).filter(here).or_else(|| view.state.live_version().filter(here));
    let version = own.or_else(|| view.state.releases().map(|(version, _)| version).next())?;
    let env_file = environment::file_of(root, &view.state, config, version);
    Some(Client::of(root, config, version, env_file.as_deref()))
}

fn planned(view: &View, by: &Version, version: &Version, own: &Migrations, found: Database) -> Planned {
    let Database { alias, vendor, applied, pending } = found;
    let pending = if by == version { pending } else { schema::pending(&applied, own) };
    let others = others(view, version);
    let others: Vec<&Migrations> = others.iter().collect();
    Planned {
        ahead: schema::ahead(&applied, own, &others),
        back: back(view, version, own, &applied, &pending),
        applied: applied.len(),
        pending: schema::judged(&pending, own),
        alias,
        vendor,
    }
}

/// To the release that serves, when all that is pending is applied.
fn back(
    view: &View,
    version: &Version,
    own: &Migrations,
    applied: &BTreeSet<MigrationId>,
    pending: &[MigrationId],
) -> Option<WayBack> {
    let live = view.state.live_version().filter(|live| *live != version)?;
    let theirs = of_release(view.root.as_ref()?, live)?;
    let then = applied.iter().chain(pending).cloned().collect();
    Some(WayBack { to: live.clone(), needs: schema::back_over(&schema::ahead(&then, &theirs, &[own])) })
}

fn others(view: &View, version: &Version) -> Vec<Migrations> {
    let Some(root) = &view.root else { return Vec::new() };
    let others = view.state.releases().map(|(other, _)| other).filter(|other| *other != version);
    others.filter_map(|other| of_release(root, other)).collect()
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schema::Unasked(why) => writeln!(f, "database  not asked: {why}"),
            Schema::Databases(all) => all.iter().try_for_each(|planned| planned.fmt(f)),
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Planned { alias, vendor, applied, pending, ahead, back } = self;
        writeln!(f, "database  {alias} ({vendor}): {applied} applied, {} pending", pending.len())?;
        pending.iter().try_for_each(|one| writeln!(f, "  {one}"))?;
        ahead.iter().try_for_each(|one| writeln!(f, "  not known to it: {one}"))?;
        let Some(WayBack { to, needs }) = back else { return Ok(()) };
        let names = |all: &[Judged]| all.iter().map(|one| one.migration.to_string()).collect::<Vec<_>>().join(", ");
        match needs {
            Back::Fits => writeln!(f, "  going back to {to} afterwards needs nothing"),
            Back::StaysAhead(_) => writeln!(f, "  going back to {to} afterwards leaves the schema ahead of it"),
            Back::Breaks(all) => {
                writeln!(f, "  going back to {to} afterwards needs `--reverse-migrations`, for {}", names(all))
            }
            Back::NoWayBack(all) => writeln!(f, "  there is no way back to {to} afterwards over {}", names(all)),
        }
    }
}
