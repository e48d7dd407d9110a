//! The migrations of a release in words, and in what those of two releases differ.
//!
//! A build does not know which release comes before its own, so only here can it be said that one drops what the other's
//! code has in its models: Django reads every column of a model, so that code fails from the moment the column is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pannier_shared::id::MigrationId;
use pannier_shared::report::human;
use pannier_shared::statement::{Class, Migration, Migrations, Reverse};
use serde::Serialize;

/// A migration that two releases do not have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    id: MigrationId,
    change: Change,
    class: Class,
    /// As the later release has it, or the earlier one, where the later one does not.
    migration: Migration,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Added,
    /// Added, and stands for migrations that the earlier release has.
    Squashed,
    /// It has another text now.
    Changed,
    Removed,
}

/// Something that the later release drops while the earlier one has it in its models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Early {
    migration: MigrationId,
    /// "polls.question.text", or a model.
    drops: String,
}

/// All migrations of a release, each with its name.
fn all(migrations: &Migrations) -> impl Iterator<Item = (MigrationId, &Migration)> {
    migrations.iter().flat_map(|(app, all)| all.iter().map(move |one| (MigrationId::of(app, &one.name), one)))
}

/// In what the migrations of two releases differ: those of the later one in its order, then those that it does not have.
/// Nothing where one of the two says nothing of migrations.
pub fn moved(from: &Migrations, to: &Migrations) -> Vec<Moved> {
    if from.is_empty() || to.is_empty() {
        return Vec::new();
    }
    let (here, there): (BTreeMap<_, _>, BTreeMap<_, _>) = (all(from).collect(), all(to).collect());
    let replaced: BTreeSet<&MigrationId> = there.values().flat_map(|one| &one.replaces).collect();
    let moved =
        |id: MigrationId, change, one: &Migration| Moved { id, change, class: one.class(), migration: one.clone() };
    let later = all(to).filter_map(|(id, one)| {
        let change = match here.get(&id) {
            Some(before) if before.sha256 == one.sha256 && before.class() == one.class() => return None,
            Some(_) => Change::Changed,
            None if !one.replaces.is_empty() && one.replaces.iter().all(|old| here.contains_key(old)) => {
                Change::Squashed
            }
            None => Change::Added,
        };
        Some(moved(id, change, one))
    });
    let gone = all(from).filter(|(id, _)| !there.contains_key(id) && !replaced.contains(id));
    later.chain(gone.map(|(id, one)| moved(id, Change::Removed, one))).collect()
}

/// What the later release drops although the earlier one's code has it in its models. An app that is new in the later
/// release can drop nothing of the earlier one's; a migration that a person judged to be additive was looked at.
pub fn early(from: &Migrations, to: &Migrations) -> Vec<Early> {
    let is_known = |id: &MigrationId| from.iter().any(|(app, all)| app.as_str() == id.app() && !all.is_empty());
    let added = moved(from, to).into_iter().filter(|one| one.change == Change::Added && is_known(&one.id));
    let harmful = added.filter(|one| one.class != Class::Additive);
    let drops = harmful.flat_map(|Moved { id, migration, .. }| {
        let dropped = migration.findings.into_iter().filter(|finding| finding.effect.drops());
        dropped.map(move |finding| Early { migration: id.clone(), drops: finding.on })
    });
    drops.collect()
}

/// How to do in two releases what [`early`] found in one.
pub const IN_TWO_RELEASES: &str = "code of the earlier release fails from then on, where it still runs or is gone back to; \
    in two releases it does not: first take the field or model out of the code alone \
    (`SeparateDatabaseAndState`, with `null=True` for the column), and drop it in the next release (docs/builder.md, Migrations)";

/// The lines of `show`: how many each app has, and those that are to be known of.
pub fn write(f: &mut fmt::Formatter<'_>, migrations: &Migrations) -> fmt::Result {
    let (with, without): (Vec<_>, Vec<_>) = migrations.iter().partition(|(_, all)| !all.is_empty());
    let counts: Vec<String> = with.iter().map(|(app, all)| format!("{app} {}", all.len())).collect();
    let names: Vec<String> = without.iter().map(|(app, _)| app.to_string()).collect();
    if migrations.is_empty() {
        return Ok(());
    }
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    let none = if names.is_empty() { String::new() } else { format!("; none of {}", names.join(", ")) };
    writeln!(f, "migrations {counts}{none}")?;
    for (id, one) in all(migrations).filter(|(_, one)| is_notable(one)) {
        writeln!(f, "           {}  {}", human::harmless(id.as_str()), Said(one))?;
    }
    Ok(())
}

fn is_notable(one: &Migration) -> bool {
    one.class() != Class::Additive || one.judged.is_some() || one.reverse == Reverse::None
}

/// What a migration does, in words.
struct Said<'a>(&'a Migration);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(one) = self;
        write!(f, "{}", one.class())?;
        if let Some(judged) = &one.judged {
            write!(f, ", as pannier.toml says ({})", human::harmless(&judged.reason.to_string()))?;
        }
        match one.reverse {
            Reverse::Whole => {}
            Reverse::UnlessRowsForbid => f.write_str(", back unless rows forbid it")?,
            Reverse::None => f.write_str(", no way back")?,
        }
        let found: Vec<String> = one.findings.iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(()) } else { write!(f, ": {}", found.join("; ")) }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, said) = (human::harmless(self.id.as_str()), Said(&self.migration));
        match self.change {
            Change::Added => write!(f, "+ {id}  {said}"),
            Change::Squashed => write!(f, "+ {id}  stands for {} that were there", self.migration.replaces.len()),
            Change::Changed => write!(f, "~ {id}  another text, which a database that has it does not see; {said}"),
            Change::Removed => write!(f, "- {id}  {said}"),
        }
    }
}

impl fmt::Display for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, drops) = (human::harmless(self.migration.as_str()), human::harmless(&self.drops));
        write!(f, "`{id}` drops `{drops}`, which the earlier release has in its models")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Migrations of `polls`: name, text, and the rest of the JSON.
    fn polls(all: &[(&str, &str, &str)]) -> Migrations {
        let one = |(name, text, more): &(&str, &str, &str)| {
            let digest = pannier_shared::digest::Digest::of(text.as_bytes());
            serde_json::from_str(&format!(r#"{{"name":"{name}","sha256":"{digest}"{more}}}"#)).unwrap()
        };
        let polls = ("polls".parse().unwrap(), all.iter().map(one).collect());
        BTreeMap::from([polls, ("staticfiles".parse().unwrap(), Vec::new())])
    }

    const DROP: &str = r#","findings":[{"effect":"drops_column","on":"polls.a.b"}],"reverse":"unless_rows_forbid""#;
    const CODE: &str = r#","findings":[{"effect":"runs_python","on":"RunPython"}],"reverse":"none""#;
    const JUDGED: &str =
        r#","findings":[{"effect":"drops_table","on":"polls.c"}],"judged":{"class":"additive","reason":"never used"}"#;

    fn told(from: &Migrations, to: &Migrations) -> String {
        let moved: Vec<String> = moved(from, to).iter().map(ToString::to_string).collect();
        let early: Vec<String> = early(from, to).iter().map(ToString::to_string).collect();
        format!("{}\n{}", moved.join("\n"), early.join("\n"))
    }

    struct Shown(Migrations);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, &self.0)
        }
    }

    #[test]
    fn show_counts_them_and_names_those_to_be_known_of() {
        let all = polls(&[("0001_a", "", ""), ("0002_b", "", DROP), ("0003_c", "", CODE), ("0004_d", "", JUDGED)]);
        insta::assert_snapshot!(Shown(all), @"
        migrations polls 4; none of staticfiles
                   polls.0002_b  destructive, back unless rows forbid it: drops the column of polls.a.b
                   polls.0003_c  unknown, no way back: runs Python code: RunPython
                   polls.0004_d  additive, as pannier.toml says (never used): drops the table of polls.c
        ");
        insta::assert_snapshot!(Shown(polls(&[])), @"migrations none; none of polls, staticfiles");
        assert_eq!(Shown(Migrations::new()).to_string(), "", "an older release says nothing");
    }

    #[test]
    fn diff_tells_what_came_went_and_changed() {
        let from = polls(&[("0001_a", "1", ""), ("0002_b", "2", ""), ("0003_c", "3", "")]);
        let to =
            polls(&[("0001_a", "1", ""), ("0002_b", "changed", ""), ("0004_d", "4", DROP), ("0005_e", "5", JUDGED)]);
        insta::assert_snapshot!(told(&from, &to), @"
        ~ polls.0002_b  another text, which a database that has it does not see; additive
        + polls.0004_d  destructive, back unless rows forbid it: drops the column of polls.a.b
        + polls.0005_e  additive, as pannier.toml says (never used): drops the table of polls.c
        - polls.0003_c  additive
        `polls.0004_d` drops `polls.a.b`, which the earlier release has in its models
        ");
        assert_eq!(told(&to, &to), "\n");
        assert_eq!(told(&Migrations::new(), &to), "\n", "nothing can be said beside an older release");
    }

    #[test]
    fn a_squashed_migration_is_no_new_one_and_a_new_app_drops_nothing_of_the_old_code() {
        let from = polls(&[("0001_a", "1", ""), ("0002_b", "2", DROP)]);
        let squashed = format!(r#","replaces":["polls.0001_a","polls.0002_b"]{DROP}"#);
        insta::assert_snapshot!(told(&from, &polls(&[("0001_squashed", "9", &squashed)])), @"+ polls.0001_squashed  stands for 2 that were there");
        let without = Migrations::from([("staticfiles".parse().unwrap(), Vec::new())]);
        assert!(early(&without, &from).is_empty());
    }
}
