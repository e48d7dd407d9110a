//! What a build says of a project's migrations, with the real Django, as far as the described tree.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]

#[path = "migrations/history.rs"]
mod history;
#[allow(dead_code, reason = "not all of it is used here")]
mod site;
#[path = "migrations/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use pannier_builder::settings;
use pannier_builder::stages::django::{Error, describe};
use pannier_builder::stages::scratch::{Run, Scratch};
use pannier_builder::stages::venv::{Link, Venv};
use pannier_shared::digest::Digest;
use pannier_shared::event::Silent;
use pannier_shared::statement::{Migration, Migrations, Reverse};
use site::{Site, files};

/// Django imports the driver with its operations for PostgreSQL; nothing of it is used to read them.
const DRIVER: &str = "\
class Any(type):
    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return 0
def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return Any(name, (), {})
";

/// An environment with Django and nothing else, made once of the wheels that the site's tests fetched.
fn venv() -> Venv {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        site::environment();
        let root = site::cache().join("django-alone");
        if !root.exists() {
            let making = site::cache().join(format!("django-alone-{}", std::process::id()));
            ran(Command::new("python3").args(["-m", "venv"]).arg(&making));
            let mut pip = Command::new(making.join("bin/python"));
            ran(pip
                .args(["-m", "pip", "install", "-q", "--no-index", "--find-links"])
                .arg(site::wheels())
                .arg("Django"));
            // Where two test programs make it at once, either one's is good.
            let _ = std::fs::rename(&making, &root);
        }
        root
    });
    Venv { root: root.clone(), site: String::new(), link: Link::Node }
}

fn ran(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A project with these apps and migrations, by path, beside what it always has.
fn project(apps: &[String], more: &BTreeMap<String, String>, toml: &str) -> Site {
    let mut files = files();
    let listed: String = apps.iter().map(|app| format!(", '{app}'")).collect();
    let settings = files["mini/settings.py"].replace(", 'mini'", &format!(", 'mini'{listed}"));
    files.insert("mini/settings.py", settings + "SWAPPED_MODEL = 'elsewhere.Model'\n");
    files.insert("pannier.toml", toml.to_owned());
    files.insert("psycopg2/__init__.py", DRIVER.to_owned());
    files.insert("psycopg2/extras.py", DRIVER.to_owned());
    let site = Site::of(&files);
    for (path, text) in more {
        let path = site.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    site
}

/// Asks Django about a project, as the build does.
fn asked(site: &Site) -> Result<Migrations, Error> {
    let settings = settings::load(&site.project()).unwrap();
    let run = Run { manage: "manage.py", settings: None, placeholders: &BTreeMap::new() };
    let root = site.dir.path().join("scratch");
    let scratch = Scratch::copy_of(&site.project(), &root, &venv(), run).unwrap();
    Ok(describe(&scratch, "", &settings.migrations, &Silent)?.migrations)
}

fn put(files: &mut BTreeMap<String, String>, app: &str, name: &str, text: String) {
    files.insert(format!("{app}/__init__.py"), String::new());
    files.insert(format!("{app}/migrations/__init__.py"), String::new());
    files.insert(format!("{app}/migrations/{name}.py"), text);
}

fn said(migration: &Migration) -> String {
    let found: Vec<String> = migration.findings.iter().map(ToString::to_string).collect();
    format!("{} {:?} [{}]", migration.class(), migration.reverse, found.join("; "))
}

#[test]
fn every_operation_of_the_table_is_classified_as_it_is_labelled() {
    let name = |row: usize| format!("row{row:03}");
    let apps: Vec<String> = (0..table::ROWS.len()).map(name).collect();
    let mut files = BTreeMap::new();
    for (app, (operations, ..)) in apps.iter().zip(table::ROWS) {
        put(&mut files, app, "0001_initial", table::BASE.replace("LABEL", app));
        put(&mut files, app, "0002_row", table::second(app, operations));
    }
    let found = asked(&project(&apps, &files, "")).unwrap();
    assert!(table::ROWS.len() >= 60);
    let mut wrong = Vec::new();
    for (app, (operations, class, reverse)) in apps.iter().zip(table::ROWS) {
        let [first, second] = found[&app.parse().unwrap()].as_slice() else { panic!("{app}: two migrations") };
        assert_eq!(said(first), "additive Whole []", "{app}");
        assert_eq!(second.depends_on, [format!("{app}.0001_initial").parse().unwrap()]);
        if (second.class(), second.reverse) != (*class, *reverse) {
            wrong.push(format!("{operations}\n    is {}\n    not {class} {reverse:?}", said(second)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The site of [`history`]; one migration of it is judged in pannier.toml.
fn grown() -> Site {
    let mut files = BTreeMap::new();
    for (app, name, text) in history::ALL {
        put(&mut files, app, name, history::text(text));
    }
    let apps = ["accounts", "polls", "shop", "audit", "bare", "silent"].map(str::to_owned);
    files.insert("accounts/models.py".to_owned(), history::MODELS.to_owned());
    files.insert("bare/__init__.py".to_owned(), String::new());
    let toml = "[migrations]\n\"shop.0007_copy\" = { class = \"additive\", reason = \"fills a column that is new\" }\n";
    let site = project(&apps, &files, toml);
    let path = site.project().join("mini/settings.py");
    let settings = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, settings + history::SETTINGS).unwrap();
    site
}

#[test]
fn a_history_of_thirty_migrations_is_told_in_the_order_in_which_it_is_applied() {
    let site = grown();
    let build = site.tree().unwrap_or_else(|failure| panic!("{failure:#?}"));
    let found = build.tree().unwrap().description.migrations.clone();
    assert_eq!(found, asked(&site).unwrap(), "what is said does not depend on where it is asked");
    let mut told = String::new();
    for (app, all) in &found {
        told += &format!("{app}\n");
        for one in all {
            told += &format!("  {} {}\n", one.name, said(one));
        }
    }
    insta::assert_snapshot!(told, @"
    accounts
      0001_initial additive Whole []
      0002_email additive Whole []
      0003_fill_email unknown Whole [runs Python code: RunPython]
      0004_email_needed destructive Whole [narrows the column of accounts.user.email]
      0005_email_unique destructive Whole [can refuse what older code writes to accounts.user (one)]
    audit
      0001_initial additive Whole []
      0002_ordered additive Whole []
      0003_note additive Whole []
      0004_table destructive Whole [renames the table of audit.entry]
      0005_no_time destructive Whole [drops the column of audit.entry.at]
    auth
      0001_initial additive Whole []
      0002_alter_permission_name_max_length additive UnlessRowsForbid []
      0003_alter_user_email_max_length additive Whole []
      0004_alter_user_username_opts additive Whole []
      0005_alter_user_last_login_null additive Whole []
      0006_require_contenttypes_0002 additive Whole []
      0007_alter_validators_add_error_messages additive Whole []
      0008_alter_user_username_max_length additive Whole []
      0009_alter_user_last_name_max_length additive Whole []
      0010_alter_group_name_max_length additive UnlessRowsForbid []
      0011_update_proxy_permissions unknown Whole [runs Python code: RunPython]
      0012_alter_user_first_name_max_length additive Whole []
    bare
    contenttypes
      0001_initial additive Whole []
      0002_remove_content_type_name destructive UnlessRowsForbid [drops the column of contenttypes.contenttype.name]
    mini
    polls
      0001_initial additive Whole []
      0002_text additive Whole []
      0003_longer additive UnlessRowsForbid []
      0004_shorter destructive Whole [narrows the column of polls.question.text]
      0002_squashed_0004 additive Whole []
      0005_choice additive Whole []
      0006_index additive Whole []
      0007_rename destructive Whole [renames the column of polls.choice.votes]
      0008_wider additive UnlessRowsForbid []
      0009_forget additive UnlessRowsForbid []
      0010_drop additive Whole [declared to be additive: RunSQL]
    shop
      0001_initial additive Whole []
      0002_stock destructive Whole [adds a column that older code cannot fill: shop.item.stock]
      0003_price destructive UnlessRowsForbid [changes the type of shop.item.price]
      0004_tag additive Whole []
      0005_label destructive Whole [renames the table of shop.tag]
      0006_net additive Whole []
      0007_copy additive None [runs SQL: RunSQL]
      0008_code unknown None [runs Python code: RunPython]
      0009_untag destructive Whole [drops the table of shop.item.tags; drops the table of shop.label]
    silent
    staticfiles
    ");
}

#[test]
fn each_migration_is_told_with_its_digest_and_what_it_is_tied_to() {
    let found = asked(&grown()).unwrap();
    assert_eq!(history::ALL.iter().filter(|(app, ..)| *app != "silent").count(), 30);
    for (app, name, text) in history::ALL.iter().filter(|(app, ..)| *app != "silent") {
        let one = found[&app.parse().unwrap()].iter().find(|one| one.name.as_str() == *name).unwrap();
        assert_eq!(one.sha256, Digest::of(history::text(text).as_bytes()), "{app}.{name}");
    }
    let names = |list: &[pannier_shared::id::MigrationId]| {
        list.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let of = |app: &str, name: &str| found[&app.parse().unwrap()].iter().find(|one| one.name.as_str() == name).unwrap();
    assert_eq!(names(&of("polls", "0001_initial").depends_on), "accounts.0001_initial", "the swapped user's first one");
    assert_eq!(names(&of("audit", "0001_initial").run_before), "shop.0002_stock");
    assert_eq!(
        names(&of("polls", "0002_squashed_0004").replaces),
        "polls.0002_text polls.0003_longer polls.0004_shorter"
    );
    assert_eq!(of("shop", "0008_code").reverse, Reverse::None);
    assert_eq!(of("shop", "0007_copy").judged.as_ref().unwrap().reason.to_string(), "fills a column that is new");
}

/// A project of one app with two migrations; the second as given.
fn refused(second: &str, toml: &str) -> String {
    let mut files = BTreeMap::new();
    put(&mut files, "polls", "0001_initial", table::BASE.replace("LABEL", "polls"));
    put(&mut files, "polls", "0002_more", second.to_owned());
    let error = asked(&project(&["polls".to_owned()], &files, toml)).unwrap_err();
    error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}\nhint: {hint}"))
}

#[test]
fn migrations_that_cannot_be_read_are_named() {
    let import = "from django.db import migrations\nfrom polls.models import Gone\n";
    insta::assert_snapshot!(refused(import, ""), @r#"
    the migration module `polls.migrations.0002_more` fails to load
      | File "polls/migrations/0002_more.py", line 2, in <module>
      |   from polls.models import Gone
      | ModuleNotFoundError: No module named 'polls.models'
    hint: if 'polls.models' is a dependency, add it to the requirements; if it is the project's own, it is not packed
    "#);
    let with = |dependencies: &str, operations: &str| {
        table::second("polls", operations).replace("('polls', '0001_initial')", dependencies)
    };
    insta::assert_snapshot!(refused(&with("('polls', '0001_initail')", ""), ""), @r#"
    the migrations of the installed apps do not fit together
      | File "django/db/migrations/graph.py", line 60, in raise_error
      |   raise NodeNotFoundError(self.error_message, self.key, origin=self.origin)
      | django.db.migrations.exceptions.NodeNotFoundError: Migration polls.0002_more dependencies reference nonexistent parent node ('polls', '0001_initail')
    hint: add the missing migration to git, or correct `dependencies`; `manage.py showmigrations` says the same
    "#);
    let lost = with("('polls', '0001_initial')", "")
        .replace("    operations", "    run_before = [('polls', '0001_initial')]\n    operations");
    insta::assert_snapshot!(refused(&lost, ""), @r#"
    the migrations of the installed apps do not fit together
      | File "django/db/migrations/graph.py", line 284, in ensure_not_cyclic
      |   raise CircularDependencyError(
      | django.db.migrations.exceptions.CircularDependencyError: polls.0001_initial, polls.0002_more
    hint: take one of them out of the other's `dependencies`, or move what needs both into a migration of its own
    "#);
    insta::assert_snapshot!(refused("class Migrations: pass\n", ""), @r#"
    the migration module `polls.migrations.0002_more` fails to load
      | File "django/db/migrations/loader.py", line 130, in load_disk
      |   raise BadMigrationError(
      | django.db.migrations.exceptions.BadMigrationError: Migration 0002_more in app polls has no Migration class
    "#);
}

#[test]
fn what_is_said_of_migrations_must_fit_them() {
    let code = table::second("polls", "declared(migrations.RunSQL('x'), 'aditive')");
    insta::assert_snapshot!(refused(&code, ""), @r#"the migration `polls.0002_more` declares `pannier = "aditive"`; it can be "additive" or "destructive""#);
    let toml = "[migrations]\n\"polls.0002_mor\" = { class = \"additive\", reason = \"x\" }\n";
    insta::assert_snapshot!(refused(&table::second("polls", ""), toml), @"`[migrations]` in pannier.toml names `polls.0002_mor`, and no installed app has that; did you mean `polls.0002_more`?");
}
