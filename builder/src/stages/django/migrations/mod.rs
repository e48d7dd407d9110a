//! The migrations of every installed app, as Django's loader finds them on the disk, each judged by its operations.
//!
//! The facts come from `python/migrations.py`, in the same run of the interpreter as the settings; what they mean is decided
//! here. A person's judgement in pannier.toml goes over what was found, which is kept beside it.

use std::collections::{BTreeMap, BTreeSet};

use pannier_shared::id::{self, AppLabel, MigrationId};
use pannier_shared::statement::{self, Judgement, Migrations, Transaction};

mod column;
mod judge;
mod operation;

use judge::{BadDeclaration, Judged};
pub use operation::Told;

/// What pannier.toml says of migrations.
pub type Judgements = BTreeMap<MigrationId, Judgement>;

/// Migrations that cannot be described.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// pannier.toml judges a migration that is not there.
    #[error("`[migrations]` in pannier.toml names `{name}`, and no installed app has that{}", did_you_mean(.near))]
    NoSuch {
        /// The name there.
        name: MigrationId,
        /// The one that was probably meant.
        near: Option<String>,
    },
    /// A migration says of itself what it cannot say.
    #[error("the migration `{migration}` declares `pannier = \"{given}\"`; it can be \"additive\" or \"destructive\"")]
    Declaration {
        /// Which one.
        migration: MigrationId,
        /// What it says.
        given: String,
    },
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The migrations as the statement has them, by app and in the order in which they are applied.
pub fn judged(told: Told, judgements: &Judgements) -> Result<Migrations, Error> {
    let mut migrations: Migrations = told.apps.into_iter().map(|app| (app, Vec::new())).collect();
    // Models of initial migrations, by app.
    let mut first: BTreeMap<AppLabel, BTreeSet<String>> = BTreeMap::new();
    for one in told.all {
        let id = MigrationId::of(&one.app, &one.name);
        let mut alone = BTreeSet::new();
        let new = if one.initial { first.entry(one.app.clone()).or_default() } else { &mut alone };
        let found = judge::judge(&one.operations, new)
            .map_err(|BadDeclaration(given)| Error::Declaration { migration: id.clone(), given })?;
        migrations.entry(one.app.clone()).or_default().push(stated(one, found, judgements.get(&id).cloned()));
    }
    all_are_there(judgements, &migrations)?;
    Ok(migrations)
}

fn stated(one: operation::Migration, found: Judged, judged: Option<Judgement>) -> statement::Migration {
    statement::Migration {
        name: one.name,
        sha256: one.sha256,
        depends_on: one.depends_on,
        run_before: one.run_before,
        replaces: one.replaces,
        initial: one.initial,
        transaction: if one.atomic { Transaction::One } else { Transaction::None },
        findings: found.findings,
        reverse: found.reverse,
        judged,
    }
}

fn all_are_there(judgements: &Judgements, migrations: &Migrations) -> Result<(), Error> {
    let ids = migrations.iter().flat_map(|(app, all)| all.iter().map(move |one| MigrationId::of(app, &one.name)));
    let known: BTreeSet<MigrationId> = ids.collect();
    let Some(name) = judgements.keys().find(|name| !known.contains(*name)) else { return Ok(()) };
    let near = id::near(name.as_str(), known.iter().map(MigrationId::as_str)).first().map(|near| (*near).to_owned());
    Err(Error::NoSuch { name: name.clone(), near })
}

#[cfg(test)]
mod tests {
    use crate::settings::{FILE, parse};
    use crate::testing::told;

    #[test]
    fn a_judgement_of_a_migration_has_a_class_and_a_reason() {
        let settings =
            parse("[migrations]\n\"polls.0002_x\" = { class = \"additive\", reason = \"unread\" }", FILE).unwrap();
        let (id, judged) = settings.migrations.first_key_value().unwrap();
        assert_eq!((id.as_str(), judged.reason.to_string().as_str()), ("polls.0002_x", "unread"));
        let refused = |text: &str| told(&parse(&format!("[migrations]\n{text}"), FILE).unwrap_err());
        insta::assert_snapshot!(refused("\"polls.0002_x\" = { class = \"additive\" }"), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 18
          |
        2 | "polls.0002_x" = { class = "additive" }
          |                  ^^^^^^^^^^^^^^^^^^^^^^
        missing field `reason`
        "#);
        insta::assert_snapshot!(refused("\"polls.0002_x\" = { class = \"safe\", reason = \"x\" }"), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 28
          |
        2 | "polls.0002_x" = { class = "safe", reason = "x" }
          |                            ^^^^^^
        unknown variant `safe`, expected one of `additive`, `unknown`, `destructive`
        "#);
        insta::assert_snapshot!(refused("polls = { class = \"additive\", reason = \"x\" }"), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 1
          |
        2 | polls = { class = "additive", reason = "x" }
          | ^^^^^
        `polls` is not a valid migration: it must be an app label and a name: `app.0001_name`
        "#);
    }
}
