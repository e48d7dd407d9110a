//! Releases of a site with a history: thirty migrations over four apps, and what came after them. Each is built by the real
//! builder, once for all tests, and published into the store of a world.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use pannier_tests::{World, program, said};

use super::history;
use super::site::{self, files};

/// App, name and short text of a migration (see `history`).
type Migration = (&'static str, &'static str, &'static str);

/// In the order in which they came, with the migrations that each one adds.
pub const VERSIONS: &[(&str, &[Migration])] = &[
    ("v1", &[]),
    (
        "v2",
        &[
            (
                "audit",
                "0006_run",
                "('audit', '0005_no_time')|migrations.CreateModel('Run', [('id', models.AutoField(primary_key=True)), ('by', models.TextField())])",
            ),
            (
                "audit",
                "0007_count",
                "('audit', '0006_run')|migrations.RunPython(count, migrations.RunPython.noop, hints={'pannier': 'additive'})",
            ),
            (
                "polls",
                "0011_note",
                "('polls', '0010_drop'), ('audit', '0007_count')|migrations.AddField('Question', 'note', models.TextField(null=True))",
            ),
        ],
    ),
    (
        "v3",
        &[
            ("audit", "0008_no_note", "('audit', '0007_count')|migrations.RemoveField('Entry', 'note')"),
            (
                "newcomer",
                "0001_initial",
                "('audit', '0008_no_note');    initial = True|migrations.CreateModel('Thing', [('id', models.AutoField(primary_key=True))])",
            ),
            (
                "polls",
                "0012_mark",
                "('polls', '0011_note')|migrations.AddField('Question', 'mark', models.IntegerField(null=True))",
            ),
        ],
    ),
    ("v4", &[("audit", "0009_lost", "('audit', '0008_no_note')|migrations.RunSQL('DELETE FROM log')")]),
];

/// Two wheels more than the builder's own test site: the driver of PostgreSQL finds the system's library.
const DRIVER: &str = "\
psycopg==3.2.12 --hash=sha256:8a1611a2d4c16ae37eada46438be9029a35bb959bb50b3d0e1e93c0f3d54c9ee
typing_extensions==4.15.0 --hash=sha256:f0fa19c6845758ab08074a0cfa8b7aecb71c999ca73d62883bc25cc018c4e548
";

/// A migration that counts its own runs, and takes long enough to be killed in the middle.
const COUNT: &str = "\
import os, time
def count(apps, schema_editor):
    apps.get_model('audit', 'Run').objects.using(schema_editor.connection.alias).create(by=os.environ.get('PANNIER_FENCE', '?'))
    time.sleep(float(os.environ.get('SLOWLY', '0')))
";

const DATABASES: &str = "
import os
DATABASES = {'default': {
    'ENGINE': 'django.db.backends.' + os.environ.get('DATABASE_ENGINE', 'dummy'),
    'NAME': os.environ.get('DATABASE_NAME', ''),
    'HOST': os.environ.get('DATABASE_HOST', ''),
    'USER': 'polls',
}}
";

/// A folder with the four built releases and the key that signed them.
fn built() -> &'static Path {
    static BUILT: OnceLock<tempfile::TempDir> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let keys = Command::new(program("pannier"))
                .args(["keys", "new", "ci", "--for", "release", "--dir"])
                .arg(folder.path())
                .output();
            std::fs::write(folder.path().join("trust"), keys.unwrap().stdout).unwrap();
            for version in 0..VERSIONS.len() {
                build(folder.path(), version);
            }
            folder
        })
        .path()
}

fn build(folder: &Path, version: usize) {
    let project = folder.join("project");
    for (path, text) in project_files(version) {
        let path = project.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut command = Command::new(program("pannier"));
    command.env_clear().envs(site::variables(!wheels_are_here()));
    command.args(["--quiet", "build", "project", "--version", VERSIONS[version].0, "--out", "dist", "--key", "ci"]);
    let output = command.current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    keep_wheels(folder);
}

/// With these the builds need no index.
fn wheels_are_here() -> bool {
    site::environment();
    site::wheels().join("psycopg-3.2.12-py3-none-any.whl").exists()
}

fn keep_wheels(folder: &Path) {
    if wheels_are_here() {
        return;
    }
    let ran = Command::new("sh")
        .args(["-c", "for artifact in dist/*/artifact.tar.zst; do tar --zstd -xf $artifact --strip-components 1 -C \"$0\" wheels; done"])
        .arg(site::wheels())
        .current_dir(folder)
        .status();
    assert!(ran.unwrap().success());
}

fn project_files(version: usize) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = files().into_iter().map(|(path, text)| (path.to_owned(), text)).collect();
    let migrations = VERSIONS[..=version].iter().flat_map(|(_, more)| more.iter()).chain(history::ALL);
    let mut apps: Vec<&str> = Vec::new();
    for (app, name, short) in migrations {
        if !apps.contains(app) {
            apps.push(app);
        }
        all.insert(format!("{app}/migrations/{name}.py"), COUNT.to_owned() + &history::text(short));
    }
    for app in &apps {
        all.insert(format!("{app}/__init__.py"), String::new());
        all.insert(format!("{app}/migrations/__init__.py"), String::new());
    }
    all.insert("accounts/models.py".to_owned(), history::MODELS.to_owned());
    let listed: String = apps.iter().map(|app| format!(", '{app}'")).collect();
    let settings = all["mini/settings.py"].replace(", 'mini'", &format!(", 'mini'{listed}"));
    all.insert("mini/settings.py".to_owned(), settings + history::SETTINGS + DATABASES);
    all.insert("pannier.toml".to_owned(), "app = \"polls\"\n".to_owned());
    *all.get_mut("requirements.txt").unwrap() += DRIVER;
    all
}

/// A world whose store has all four, whose node finds its databases by `variables`, and says `more` of the app.
pub fn world(variables: &str, more: &str) -> World {
    let world = World::new();
    std::fs::copy(built().join("trust"), world.path("trust")).unwrap();
    std::fs::write(world.path("polls.env"), variables).unwrap();
    world.configure(&configuration(&world, more));
    for (version, _) in VERSIONS {
        let output = world.builder(&["publish"]).arg(dist(version)).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    world
}

/// What a node of this world is told of the app.
pub fn configuration(world: &World, more: &str) -> String {
    format!("env_file = \"{}\"\n{more}\n", world.path("polls.env").display())
}

fn dist(version: &str) -> PathBuf {
    let named =
        |entry: &PathBuf| entry.file_name().unwrap().to_str().unwrap().starts_with(&format!("polls-{version}-"));
    std::fs::read_dir(built().join("dist")).unwrap().map(|entry| entry.unwrap().path()).find(named).unwrap()
}
