//! Migrations of a real site in real databases: when they are asked for, applied and taken back, and by whom.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]

#[path = "migrate/database.rs"]
mod database;
#[path = "../../builder/tests/migrations/history.rs"]
mod history;
#[path = "migrate/nodes.rs"]
mod nodes;
#[path = "migrate/releases.rs"]
mod releases;
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../../builder/tests/site/mod.rs"]
mod site;

use std::process::Stdio;

use database::{Database, Postgres};
use nodes::Nodes;
use pannier_tests::{World, said};

/// What was typed and what a person read.
struct Talk<'a> {
    world: &'a World,
    text: String,
}

impl Talk<'_> {
    fn type_in(&mut self, line: &str) -> &mut Self {
        let output = self.world.activator(&["--quiet"]).args(line.split(' ')).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        let said: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        let end = output.status.code().unwrap();
        self.text += &format!("$ {line}\n{}\n[{end}]\n", said.join("\n"));
        self
    }

    fn said(&mut self) -> String {
        std::mem::take(&mut self.text).replace("(sqlite)", "(VENDOR)").replace("(postgresql)", "(VENDOR)")
    }
}

#[test]
fn what_a_team_meets_with_postgresql() {
    let database = Database::Postgres(Postgres::start());
    let world = from_the_first_release_to_the_last_and_back(&database);
    drop(database);
    let mut talk = Talk { world: &world, text: String::new() };
    talk.type_in("activate polls v3").type_in("rollback polls").type_in("activate polls v2 --pending-ok");
    println!("{}", talk.said());
}

#[test]
fn what_a_team_meets_with_sqlite() {
    from_the_first_release_to_the_last_and_back(&Database::sqlite());
}

fn from_the_first_release_to_the_last_and_back(database: &Database) -> World {
    let world = releases::world(&database.make("site"), "");
    let mut talk = Talk { world: &world, text: String::new() };
    talk.type_in("activate polls v1").type_in("migrate polls v1").type_in("activate polls v1");
    insta::allow_duplicates! {
        insta::assert_snapshot!(talk.said(), @r"
        $ activate polls v1
        error: failed to activate `v1` of `polls`
          caused by: `v1` needs what is not applied to `default`:
          | accounts.0001_initial: additive
          | accounts.0002_email: additive
          | accounts.0003_fill_email: unknown (runs Python code: RunPython)
          | accounts.0004_email_needed: destructive (narrows the column of accounts.user.email)
          | accounts.0005_email_unique: destructive (can refuse what older code writes to accounts.user (one))
          | shop.0001_initial: additive
          | audit.0001_initial: additive
          | shop.0002_stock: destructive (adds a column that older code cannot fill: shop.item.stock)
          | and 33 more
        serving: nothing
        hint: `pannier-activator migrate polls v1`, or add `--migrate`; `--pending-ok` goes on without
        [5]
        $ migrate polls v1
        41 migrations of v1 were applied
        [0]
        $ activate polls v1
        v1 serves
        [0]
        ");
    }
    assert!(world.run(&["fetch", "polls", "v2"]).status.success());
    talk.type_in("plan polls v2")
        .type_in("activate polls v2")
        .type_in("activate polls v2 --migrate")
        .type_in("rollback polls");
    talk.type_in("activate polls v2");
    insta::allow_duplicates! {
        insta::assert_snapshot!(talk.said(), @r"
        $ plan polls v2
        v2 is prepared already
        database  default (VENDOR): 44 applied, 3 pending
          audit.0006_run: additive
          audit.0007_count: unknown (runs Python code: RunPython)
          polls.0011_note: additive
          going back to v1 afterwards leaves the schema ahead of it
        [0]
        $ activate polls v2
        error: failed to activate `v2` of `polls`
          caused by: `v2` needs what is not applied to `default`:
          | audit.0006_run: additive
          | audit.0007_count: unknown (runs Python code: RunPython)
          | polls.0011_note: additive
        serving: v1 (healthy)
        hint: `pannier-activator migrate polls v2`, or add `--migrate`; `--pending-ok` goes on without
        [5]
        $ activate polls v2 --migrate
        v2 serves (before: v1)
        [0]
        $ rollback polls
        v1 serves (before: v2)
        warning: the schema stays ahead of `v1`, and nobody said what all of that does to its code: audit.0006_run: additive, audit.0007_count: unknown (runs Python code: RunPython), polls.0011_note: additive
        [0]
        $ activate polls v2
        v2 serves (before: v1)
        [0]
        ");
    }

    database.query("site", "INSERT INTO log (note) VALUES ('first')");
    database.query("site", "INSERT INTO audit_run (by) VALUES ('a person')");
    let before = database.schema("site");
    assert!(world.run(&["fetch", "polls", "v3"]).status.success());
    talk.type_in("plan polls v3")
        .type_in("activate polls v3 --migrate")
        .type_in("rollback polls")
        .type_in("rollback polls --reverse-migrations");
    insta::allow_duplicates! {
        insta::assert_snapshot!(talk.said(), @r"
        $ plan polls v3
        v3 is prepared already
        database  default (VENDOR): 47 applied, 3 pending
          audit.0008_no_note: destructive (drops the column of audit.entry.note)
          newcomer.0001_initial: additive
          polls.0012_mark: additive
          going back to v2 afterwards needs `--reverse-migrations`, for audit.0008_no_note
        [0]
        $ activate polls v3 --migrate
        v3 serves (before: v2)
        warning: `v2` serves on, and may fail without what this takes away: audit.0008_no_note: destructive (drops the column of audit.entry.note)
        [0]
        $ rollback polls
        error: failed to rollback `v2` of `polls`
          caused by: `v2` does not know what was applied after it:
          | audit.0008_no_note: destructive (drops the column of audit.entry.note)
        serving: v3 (healthy)
        hint: add `--reverse-migrations` to take it back first (what it removed comes back empty), or `--schema-ahead-ok` if you know that the older code runs
        [5]
        $ rollback polls --reverse-migrations
        v2 serves (before: v3)
        [0]
        ");
    }
    assert_eq!(database.schema("site"), before);
    assert_eq!(database.query("site", "SELECT count(*) FROM audit_run WHERE by = 'a person'"), "1\n");
    assert_eq!(database.query("site", "SELECT note FROM log"), "\n");

    talk.type_in("activate polls v4 --migrate").type_in("rollback polls");
    talk.type_in("rollback polls --reverse-migrations").type_in("rollback polls --schema-ahead-ok");
    insta::allow_duplicates! {
        insta::assert_snapshot!(talk.said(), @r"
        $ activate polls v4 --migrate
        v4 serves (before: v2)
        warning: `v2` serves on, and may fail without what this takes away: audit.0008_no_note: destructive (drops the column of audit.entry.note)
        [0]
        $ rollback polls
        error: failed to rollback `v2` of `polls`
          caused by: what was applied after `v2` has no way back:
          | audit.0009_lost: unknown (runs SQL: RunSQL), no way back
        serving: v4 (healthy)
        hint: mend it by a newer release, or add `--schema-ahead-ok` if you know that the older code runs
        [5]
        $ rollback polls --reverse-migrations
        error: failed to rollback `v2` of `polls`
          caused by: what was applied after `v2` has no way back:
          | audit.0009_lost: unknown (runs SQL: RunSQL), no way back
        serving: v4 (healthy)
        hint: mend it by a newer release, or add `--schema-ahead-ok` if you know that the older code runs
        [5]
        $ rollback polls --schema-ahead-ok
        v2 serves (before: v4)
        warning: the schema stays ahead of `v2`, accepted by `--schema-ahead-ok`: audit.0008_no_note: destructive (drops the column of audit.entry.note), audit.0009_lost: unknown (runs SQL: RunSQL), no way back, newcomer.0001_initial: additive, polls.0012_mark: additive
        [0]
        ");
    }
    let journal = std::fs::read_to_string(world.root().join(".pannier/journal.jsonl")).unwrap();
    assert!(journal.contains("the schema stays ahead of `v2`, accepted by `--schema-ahead-ok`"), "{journal}");
    assert!(journal.contains("applied audit.0009_lost in `default` within"), "{journal}");
    world
}

#[test]
fn five_nodes_migrate_at_once_with_postgresql() {
    five_nodes_migrate_at_once(&Database::Postgres(Postgres::start()));
}

#[test]
fn five_nodes_migrate_at_once_with_sqlite() {
    five_nodes_migrate_at_once(&Database::sqlite());
}

/// Three who hold the lease are killed, one is paused for longer than it is good; all others go on, and all end well.
fn five_nodes_migrate_at_once(database: &Database) {
    let world = releases::world(&(database.make("site") + "SLOWLY=0.7\n"), "");
    let mut nodes = Nodes::new(&world, 5);
    nodes.run(0, &["migrate", "polls", "v1"]);
    nodes.run_all(&["fetch", "polls", "v2"]);
    nodes.start_all(&["migrate", "polls", "v2"]);
    for wait in [0, 600, 1500] {
        nodes.kill_the_holder_after(wait);
    }
    nodes.pause_the_holder();
    nodes.end_all();
    assert_eq!(database.query("site", "SELECT count(*) FROM audit_run"), "1\n");
    let last = "SELECT name FROM django_migrations WHERE app = 'polls' ORDER BY id DESC LIMIT 1";
    assert_eq!(database.query("site", last), "0011_note\n");
}

/// A suite with the one app, signed by the world's own key.
fn set_suite(world: &World) {
    let own = std::fs::read_to_string(world.path("ci.pub")).unwrap();
    let trust = std::fs::read_to_string(world.path("trust")).unwrap();
    std::fs::write(world.path("trust"), format!("{trust}\nme namespaces=\"suite@pannier\" {own}")).unwrap();
    let text = format!(
        "suite = \"production\"\n[roles.web.polls]\nversion = \"v1\"\nroot = \"{}\"\n{}",
        world.root().display(),
        releases::configuration(world, "unseen = \"use-nothing\"")
    );
    std::fs::write(world.path("suite.toml"), text).unwrap();
    let output = world.builder(&["suite", "set", "suite.toml", "--key", "ci"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_recovery_meets_the_database_that_is_there() {
    let database = Database::sqlite();
    let world = releases::world(&database.make("site"), "");
    set_suite(&world);
    let recover = |more: &[&str]| {
        let _ = std::fs::remove_file(world.path("activator.toml"));
        let store = format!("file://{}", world.path("store").display());
        let mut command = world.activator(&["--quiet", "--store", &store, "--trust"]);
        command.arg(world.path("trust")).args(["recover", "--suite", "production", "--role", "web"]).args(more);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), said(&output))
    };
    let (code, text) = recover(&[]);
    assert!(code == 5 && text.contains("| accounts.0001_initial: additive"), "{text}");
    assert!(text.contains("hint: `pannier-activator migrate polls v1`, or add `--migrate`"), "{text}");
    let (code, text) = recover(&["--migrate"]);
    assert!(code == 0 && text.contains("  serves  sha256:"), "{text}");
    // The node burns, the database does not: nothing is to be said about migrations then.
    std::fs::remove_dir_all(world.root()).unwrap();
    let (code, text) = recover(&[]);
    assert!(code == 0 && text.contains("  serves  sha256:"), "{text}");
}

/// The one who migrates is killed in the middle of it.
#[test]
fn a_fleet_migrates_once_and_then_switches() {
    let database = Database::sqlite();
    let world = releases::world(&(database.make("site") + "SLOWLY=0.7\n"), "");
    let public = std::fs::read_to_string(world.path("ci.pub")).unwrap();
    let trust = std::fs::read_to_string(world.path("trust")).unwrap();
    std::fs::write(world.path("trust"), format!("{trust}jane namespaces=\"rollout@pannier\" {public}")).unwrap();
    let mut nodes = Nodes::new(&world, 5);
    nodes.run(0, &["migrate", "polls", "v1"]);
    nodes.run_all(&["activate", "polls", "v1"]);
    nodes.join();
    nodes.start_all(&["agent"]);
    let named = "web-0,web-1,web-2,web-3,web-4";
    let mut rollout = world.builder(&["rollout", "start", "shop", "polls", "v2", "--node", named, "--lead", "2"]);
    let rollout = rollout.env("PANNIER_KEY", "ci").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    nodes.kill_the_holder_after(300);
    let output = rollout.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("polls v2 is decided in shop\n"), "{}", said(&output));
    assert_eq!(database.query("site", "SELECT count(*) FROM audit_run"), "1\n");
    for node in 0..5 {
        let current = std::fs::read_link(world.path(&format!("node-{node}/current"))).unwrap();
        assert!(current.ends_with("v2"), "{}", current.display());
    }
}
