//! What the migrations of a database mean for the releases on this node: what is pending for one, what is ahead of it, and
//! what an older one comes to. Pure: from what a database says is applied, and from what the statements say.
//!
//! *Ahead* of a release is what is applied, unknown to it, and known to another release here. Rows that no release knows (of
//! apps that were taken out of the project years ago) are in nobody's way, and nothing can be said of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pannier_shared::id::MigrationId;
use pannier_shared::report::human::harmless;
use pannier_shared::statement::{Class, Migration, Migrations, Reverse};
use serde::Serialize;

/// What a database says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its alias in the settings.
    pub alias: String,
    /// Its kind, as Django calls it: "postgresql".
    pub vendor: String,
    /// What is applied.
    pub applied: BTreeSet<MigrationId>,
    /// What the release that asked would apply, in order.
    pub pending: Vec<MigrationId>,
}

/// A migration, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Which.
    pub migration: MigrationId,
    /// What it does to older code; none when nothing here says.
    pub class: Option<Class>,
    /// Whether it can be undone; none when nothing here says.
    pub reverse: Option<Reverse>,
    /// What older code notices of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Why a person judged it so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Judged {
    fn of(id: MigrationId, known: Option<&Migration>) -> Self {
        Self {
            migration: id,
            class: known.map(Migration::class),
            reverse: known.map(|migration| migration.reverse),
            findings: known.iter().flat_map(|it| &it.findings).map(ToString::to_string).collect(),
            reason: known.and_then(|it| it.judged.as_ref()).map(|judged| judged.reason.to_string()),
        }
    }

    /// Whether older code that uses what it takes away fails.
    pub fn is_destructive(&self) -> bool {
        self.class == Some(Class::Destructive)
    }

    /// Whether nobody said what it does to older code.
    pub fn is_unknown(&self) -> bool {
        matches!(self.class, None | Some(Class::Unknown))
    }

    /// Whether it has no way back.
    pub fn is_irreversible(&self) -> bool {
        self.reverse == Some(Reverse::None)
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", harmless(self.migration.as_ref()))?;
        match self.class {
            Some(class) => class.fmt(f)?,
            None => f.write_str("no release here knows it")?,
        }
        if let Some(reason) = &self.reason {
            write!(f, " (a person says: {})", harmless(reason))?;
        } else if !self.findings.is_empty() {
            write!(f, " ({})", self.findings.join("; "))?;
        }
        match self.reverse {
            Some(Reverse::None) => f.write_str(", no way back"),
            Some(Reverse::UnlessRowsForbid) => f.write_str(", its way back may be refused for the rows that are there"),
            Some(Reverse::Whole) | None => Ok(()),
        }
    }
}

/// All migrations of a release, by name.
fn by_id(migrations: &Migrations) -> impl Iterator<Item = (MigrationId, &Migration)> {
    migrations.iter().flat_map(|(app, all)| all.iter().map(move |one| (MigrationId::of(app, &one.name), one)))
}

/// What a release knows: its migrations, and those that they stand for.
pub fn known(migrations: &Migrations) -> BTreeSet<MigrationId> {
    by_id(migrations).flat_map(|(id, one)| one.replaces.iter().cloned().chain([id])).collect()
}

/// What is applied that `release` does not know and one of `others` does. The first of `others` that knows one has the
/// word. A squashed one whose parts the release has is nothing new to it.
pub fn ahead(applied: &BTreeSet<MigrationId>, release: &Migrations, others: &[&Migrations]) -> Vec<Judged> {
    let own = known(release);
    let is_new = |id: &MigrationId, one: &Migration| {
        applied.contains(id)
            && !own.contains(id)
            && (one.replaces.is_empty() || !one.replaces.iter().all(|it| own.contains(it)))
    };
    let mut found: BTreeMap<MigrationId, &Migration> = BTreeMap::new();
    for (id, one) in others.iter().flat_map(|other| by_id(other)).filter(|(id, one)| is_new(id, one)) {
        found.entry(id).or_insert(one);
    }
    found.into_iter().map(|(id, one)| Judged::of(id, Some(one))).collect()
}

/// The same, with what the releases say alone: all that one of `others` has counts as applied.
pub fn ahead_by_statements(release: &Migrations, others: &[&Migrations]) -> Vec<Judged> {
    let all = others.iter().flat_map(|other| by_id(other)).map(|(id, _)| id).collect();
    ahead(&all, release, others)
}

/// What a release says of these.
pub fn judged(ids: &[MigrationId], release: &Migrations) -> Vec<Judged> {
    let known: BTreeMap<_, _> = by_id(release).collect();
    ids.iter().map(|id| Judged::of(id.clone(), known.get(id).copied())).collect()
}

/// What `release` would apply, when that cannot be asked of its own code: all that it knows and that is not applied, in an
/// order that its dependencies allow. Of a squashed one and its parts Django applies the one, or what is missing of the others.
pub fn pending(applied: &BTreeSet<MigrationId>, release: &Migrations) -> Vec<MigrationId> {
    let squashed: Vec<_> = by_id(release).filter(|(_, one)| !one.replaces.is_empty()).collect();
    let begun = |one: &Migration| one.replaces.iter().any(|part| applied.contains(part));
    let is_stood_for = |id: &MigrationId| {
        squashed.iter().any(|(by, one)| one.replaces.contains(id) && (applied.contains(by) || !begun(one)))
    };
    let is_done = |id: &MigrationId, one: &Migration| {
        applied.contains(id) || (!one.replaces.is_empty() && begun(one)) || is_stood_for(id)
    };
    let mut missing: Vec<_> = by_id(release).filter(|(id, one)| !is_done(id, one)).collect();
    let mut ordered = Vec::new();
    while !missing.is_empty() {
        let waits: BTreeSet<MigrationId> = missing.iter().map(|(id, _)| id.clone()).collect();
        let before = |id: &MigrationId| missing.iter().any(|(_, one)| one.run_before.contains(id));
        let is_free =
            |(id, one): &(MigrationId, &Migration)| !one.depends_on.iter().any(|it| waits.contains(it)) && !before(id);
        let (free, rest): (Vec<_>, Vec<_>) = missing.iter().cloned().partition(is_free);
        // A circle is for Django to refuse.
        ordered.extend(if free.is_empty() { &rest } else { &free }.iter().map(|(id, _)| id.clone()));
        missing = if free.is_empty() { Vec::new() } else { rest };
    }
    ordered
}

/// What an older release comes to over what is ahead of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "needs", content = "over", rename_all = "kebab-case")]
pub enum Back {
    /// Nothing is ahead.
    Fits,
    /// It can do with all of that, or nobody said that it cannot.
    StaysAhead(Vec<Judged>),
    /// These take away what it uses, and can be taken back.
    Breaks(Vec<Judged>),
    /// These may take away what it uses, and cannot be taken back.
    NoWayBack(Vec<Judged>),
}

/// What going back over these needs. What is additive may stay, so it needs no way back.
pub fn back_over(ahead: &[Judged]) -> Back {
    let some = |is: fn(&Judged) -> bool| ahead.iter().filter(|one| is(one)).cloned().collect::<Vec<_>>();
    let lost = some(|one| one.is_irreversible() && one.class != Some(Class::Additive));
    let breaks = some(Judged::is_destructive);
    match () {
        () if !lost.is_empty() => Back::NoWayBack(lost),
        () if !breaks.is_empty() => Back::Breaks(breaks),
        () if !ahead.is_empty() => Back::StaysAhead(ahead.to_vec()),
        () => Back::Fits,
    }
}

/// What takes a database back to what an older release knows, for our Python: by app, the last migration that the release
/// has of it, or none for an app that it does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// App label and migration name.
    pub targets: Vec<(String, Option<String>)>,
    /// All that this takes back.
    pub expected: Vec<MigrationId>,
}

/// The way back over what is `ahead` of `release`.
pub fn way_back(ahead: &[Judged], release: &Migrations) -> WayBack {
    let apps: BTreeSet<&str> = ahead.iter().map(|judged| judged.migration.app()).collect();
    let last = |app: &str| {
        let of_app = release.iter().find(|(label, _)| label.as_str() == app)?.1;
        of_app.last().map(|one| one.name.to_string())
    };
    WayBack {
        targets: apps.into_iter().map(|app| (app.to_owned(), last(app))).collect(),
        expected: ahead.iter().map(|judged| judged.migration.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use pannier_shared::digest::Digest;

    use super::*;

    /// A release's migrations: "polls.0001 after auth.0001 replaces polls.0000 drops oneway".
    fn release(lines: &[&str]) -> Migrations {
        let mut all = Migrations::new();
        for line in lines {
            let mut words = line.split(' ');
            let (app, name) = words.next().unwrap().split_once('.').unwrap();
            let mut one: Migration =
                serde_json::from_str(&format!(r#"{{"name":"{name}","sha256":"{}"}}"#, Digest::of(b""))).unwrap();
            while let Some(word) = words.next() {
                match word {
                    "after" => one.depends_on.push(words.next().unwrap().parse().unwrap()),
                    "replaces" => one.replaces.push(words.next().unwrap().parse().unwrap()),
                    "drops" => {
                        one.findings
                            .push(serde_json::from_str(r#"{"effect":"drops_column","on":"polls.a.b"}"#).unwrap());
                    }
                    _ => one.reverse = Reverse::None,
                }
            }
            all.entry(app.parse().unwrap()).or_default().push(one);
        }
        all
    }

    fn applied(names: &[&str]) -> BTreeSet<MigrationId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn names(ids: &[MigrationId]) -> Vec<&str> {
        ids.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn ahead_is_what_another_release_brought() {
        let (old, new) = (release(&["polls.0001"]), release(&["polls.0001", "polls.0002 drops", "shop.0001 oneway"]));
        let rows = applied(&["polls.0001", "polls.0002", "shop.0001", "gone.0001"]);
        let ahead = ahead(&rows, &old, &[&new]);
        let said: Vec<String> = ahead.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["polls.0002: destructive (drops the column of polls.a.b)", "shop.0001: additive, no way back"]
        );
        assert_eq!(way_back(&ahead, &old).targets, [("polls".into(), Some("0001".into())), ("shop".into(), None)]);
        assert!(super::ahead(&applied(&["polls.0001"]), &old, &[&new]).is_empty());
        assert_eq!(ahead_by_statements(&old, &[&new]).len(), 2);
        assert!(ahead_by_statements(&new, &[&old]).is_empty());
    }

    #[test]
    fn a_squashed_one_of_known_parts_is_nothing_new() {
        let old = release(&["polls.0001", "polls.0002"]);
        let squashed = "polls.0001_squashed_0002 replaces polls.0001 replaces polls.0002";
        let new = release(&[squashed, "polls.0003 after polls.0001_squashed_0002"]);
        let rows = applied(&["polls.0001", "polls.0002", "polls.0001_squashed_0002", "polls.0003"]);
        let found: Vec<_> = ahead(&rows, &old, &[&new]).into_iter().map(|judged| judged.migration).collect();
        assert_eq!(names(&found), ["polls.0003"]);
        assert!(ahead(&applied(&["polls.0001", "polls.0002"]), &new, &[&old]).is_empty());
    }

    #[test]
    fn what_is_pending_comes_in_an_order_that_works() {
        let new = release(&["a.0001", "a.0002 after z.0001", "z.0001 after a.0001", "z.0002 after a.0002"]);
        assert_eq!(names(&pending(&applied(&[]), &new)), ["a.0001", "z.0001", "a.0002", "z.0002"]);
        assert_eq!(names(&pending(&applied(&["a.0001", "z.0001"]), &new)), ["a.0002", "z.0002"]);
        assert!(pending(&known(&new), &new).is_empty());
    }

    #[test]
    fn of_a_squashed_one_and_its_parts_only_what_django_would_apply_is_pending() {
        let parts = ["p.0001", "p.0002 after p.0001", "p.0001_squashed_0002 replaces p.0001 replaces p.0002"];
        let new = release(&parts);
        let pending = |rows: &[&str]| pending(&applied(rows), &new).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(pending(&[]), ["p.0001_squashed_0002"]);
        assert_eq!(pending(&["p.0001"]), ["p.0002"]);
        assert!(pending(&["p.0001", "p.0002"]).is_empty());
        assert!(pending(&["p.0001_squashed_0002"]).is_empty());
    }
}
