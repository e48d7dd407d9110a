//! Static files through the real program: what is collected, what the project's commands add, what the servers send, and
//! what is said when one of these fails.
#![allow(clippy::disallowed_methods, reason = "tests start programs and look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]
#![allow(dead_code, reason = "what tests share is not used by each of them")]

mod servers;
mod site;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use insta::assert_snapshot;
use servers::{Server, get};
use site::{Site, files};

/// A small site, its files with some of them changed.
fn changed(changes: &[(&'static str, &str)]) -> Site {
    let mut files = files();
    files.extend(changes.iter().map(|(path, text)| (*path, (*text).to_owned())));
    Site::of(&files)
}

/// The settings of the small site, with more at their end.
fn settings(more: &str) -> String {
    files()["mini/settings.py"].clone() + more
}

/// What the program says and ends with when it builds the site, with what differs between machines made the same.
fn built(site: &Site, links: &[PathBuf]) -> String {
    site::environment();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
    command
        .env_clear()
        .envs(["PATH", "HOME", "PYENV_ROOT"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let links: Vec<&str> = links.iter().map(|folder| folder.to_str().unwrap()).collect();
    let index = site::cache().join("index");
    command.env("XDG_CACHE_HOME", site::cache()).env("PIP_NO_INDEX", "1");
    command.env("PIP_FIND_LINKS", format!("{} {}", index.display(), links.join(" "))).current_dir(site.dir.path());
    let mut key = Command::new(env!("CARGO_BIN_EXE_pannier"));
    assert!(
        key.current_dir(site.dir.path())
            .args(["keys", "new", "ci", "--for", "release"])
            .output()
            .unwrap()
            .status
            .success()
    );
    command.args(["--quiet", "build", "project", "--app", "mini", "--version", "v1", "--key", "ci"]);
    let done = command.output().unwrap();
    let told = format!("exit {}\n{}", done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr));
    told.replace(std::fs::canonicalize(site.dir.path()).unwrap().to_str().unwrap(), "/SITE")
}

/// What the program says when the build fails.
fn refused(changes: &[(&'static str, &str)]) -> String {
    let site = changed(changes);
    let told = built(&site, &[]);
    let left = std::fs::read_dir(site.dir.path().join("dist")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "something is left: {told}");
    told
}

#[test]
fn collectstatic_that_needs_a_variable() {
    let storage = "\
import os
from django.contrib.staticfiles.storage import StaticFilesStorage
class Storage(StaticFilesStorage):
    def post_process(self, paths, **options):
        prefix = os.environ['CDN_PREFIX']
        yield from ()
";
    let chosen = settings("STORAGES = {'staticfiles': {'BACKEND': 'mini.storage.Storage'}}\n");
    assert_snapshot!(refused(&[("mini/storage.py", storage), ("mini/settings.py", &chosen)]), @r#"
    exit 9
    warning: static files keep their plain names (`mini.storage.Storage`): browsers may mix those of two releases; a manifest storage gives hashed names
    error: failed to collect static files
      caused by: collectstatic failed
      | File "mini/storage.py", line 5, in post_process
      |   prefix = os.environ['CDN_PREFIX']
      | KeyError: 'CDN_PREFIX'

    hint: the variable `CDN_PREFIX` is probably missing; a build needs no secrets, so give it a placeholder in pannier.toml:

    [build.env]
    CDN_PREFIX = "only-for-the-build"
    "#);
}

#[test]
fn a_settings_module_that_reads_a_missing_file() {
    let text = settings("SITE_NAME = (BASE_DIR / 'conf' / 'name.txt').read_text()\n");
    assert_snapshot!(refused(&[("mini/settings.py", &text)]), @r#"
    exit 9
    error: failed to ask Django about the project
      caused by: the settings module `mini.settings` fails to load
      | File "mini/settings.py", line 11, in <module>
      |   SITE_NAME = (BASE_DIR / 'conf' / 'name.txt').read_text()
      | FileNotFoundError: [Errno 2] No such file or directory: 'conf/name.txt'

    hint: a build has the files that git tracks, less what is excluded: if `conf/name.txt` is one of the app's, track it; if it is made on the node, let the settings do without it here, or take its name from a variable
    "#);
}

#[test]
fn a_log_file_in_a_folder_that_only_nodes_have() {
    let handler = "{'class': 'logging.FileHandler', 'filename': '/var/log/pannier-nowhere/site.log'}";
    let logging = format!("LOGGING = {{'version': 1, 'handlers': {{'file': {handler}}}}}\n");
    assert_snapshot!(refused(&[("mini/settings.py", &settings(&logging))]), @r#"
    exit 9
    error: failed to ask Django about the project
      caused by: the apps that are installed by `mini.settings` fail to load
      | File "django/utils/log.py", line 76, in configure_logging
      |   logging_config_func(logging_settings)
      | ValueError: Unable to configure handler 'file'
      | because of FileNotFoundError: [Errno 2] No such file or directory: '/var/log/pannier-nowhere/site.log'

    hint: a build has the files that git tracks, less what is excluded: if `/var/log/pannier-nowhere/site.log` is one of the app's, track it; if it is made on the node, let the settings do without it here, or take its name from a variable
    "#);
}

#[test]
fn a_variable_whose_absence_the_settings_put_into_their_own_words() {
    let text = settings(
        "import os\ntry:\n    SALT = os.environ['SALT']\nexcept KeyError as error:\n    raise RuntimeError('no salt') from error\n",
    );
    assert_snapshot!(refused(&[("mini/settings.py", &text)]), @r#"
    exit 9
    error: failed to ask Django about the project
      caused by: the settings module `mini.settings` fails to load
      | File "mini/settings.py", line 15, in <module>
      |   raise RuntimeError('no salt') from error
      | RuntimeError: no salt
      | because of KeyError: 'SALT'

    hint: the variable `SALT` is probably missing; a build needs no secrets, so give it a placeholder in pannier.toml:

    [build.env]
    SALT = "only-for-the-build"
    "#);
}

#[test]
fn a_stylesheet_that_refers_to_what_is_not_there() {
    let told = refused(&[("mini/static/mini/site.css", "body { background: url(gone.svg) }\n")]);
    let (before, after) = told.split_once(" object at 0x").unwrap();
    let told = format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    assert_snapshot!(told, @r#"
    exit 9
    error: failed to collect static files
      caused by: collectstatic failed
      | File "django/contrib/staticfiles/storage.py", line 144, in hashed_name
      |   raise ValueError(
      | ValueError: The file 'mini/gone.svg' could not be found with <django.contrib.staticfiles.storage.ManifestStaticFilesStorage>.
      | Post-processing 'mini/site.css' failed!

    hint: a static file refers to `mini/gone.svg`, and no finder has that: add it, or correct what refers to it; where that is a package's, use a storage of your own whose `hashed_name` returns the plain name when it raises ValueError
    "#);
}

/// A command of the site, with this in its `handle`.
fn command(handle: &str) -> String {
    format!(
        "from pathlib import Path\nfrom django.conf import settings\n\
         from django.core.management.base import BaseCommand, CommandError\n\
         class Command(BaseCommand):\n    def handle(self, **options):\n        {handle}\n"
    )
}

#[test]
fn a_command_that_fails() {
    let fails = command("print('a line that nobody needs\\n' * 20)\n        raise CommandError('no template uses it')");
    assert_snapshot!(refused(&[
        ("mini/management/commands/bundle.py", &fails),
        ("pannier.toml", "[build]\ncommands = [\"manage.py bundle --verbosity 2\", \"gone\"]\n"),
    ]), @r"
    exit 9
    error: failed to collect static files
      caused by: a command of `[build] commands` failed
      caused by: `manage.py bundle --verbosity 2` failed: exit status: 1
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | a line that nobody needs
      | 
      | CommandError: no template uses it

    hint: type `manage.py bundle --verbosity 2` in a fresh clone, with the variables of `[build.env]` and no others
    ");
}

#[test]
fn a_command_that_is_not_there() {
    assert_snapshot!(refused(&[("pannier.toml", "[build]\ncommands = [\"compass compile\"]\n")]), @r"
    exit 9
    error: failed to collect static files
      caused by: a command of `[build] commands` failed
      caused by: failed to start `compass compile`
      caused by: No such file or directory (os error 2)

    hint: a command is `manage.py ...`, or a program of the environment, of the project or in /usr/local/bin, /usr/bin and /bin
    ");
}

#[test]
fn a_static_root_that_is_not_committed() {
    assert_snapshot!(refused(&[("pannier.toml", "static = \"committed\"\n"), ("staticfiles/.gitkeep", "")]), @r#"
    exit 3
    error: failed to collect static files
      caused by: static files are to be the committed ones, and the app that is packed has none in `STATIC_ROOT`, `staticfiles`

    hint: commit them (`git add -f staticfiles`), or have them collected: `static = "collect"` in pannier.toml
    "#);
}

/// Paths and contents of the files below a folder of the tree.
fn contents(tree: &Path, below: &str) -> BTreeMap<String, Vec<u8>> {
    let root = tree.join(below);
    let walk = walkdir::WalkDir::new(&root).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let named = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    walk.map(|entry| (named(entry.path()), std::fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn commands_run_in_order_and_only_the_static_root_is_kept_with_the_same_bytes() {
    let first = command(
        "cache = Path(settings.STATIC_ROOT) / 'CACHE'
        cache.mkdir()
        import gzip, json, random, time
        keys = random.sample('abcdefghijklmnopqrstuvwxyz', 26)
        (cache / 'manifest.json').write_text(json.dumps({key: key for key in keys}))
        (cache / 'out.css.gz').write_bytes(gzip.compress(b'a{}', mtime=time.time()))
        (settings.BASE_DIR / 'mini' / 'left.txt').write_text('x')",
    );
    let toml = "[build]\ncommands = [\"manage.py first\", \"sh -c 'cp staticfiles/CACHE/out.css.gz staticfiles/second.gz; echo > left.txt'\"]\n";
    let build = || {
        let site = changed(&[("mini/management/commands/first.py", &first), ("pannier.toml", toml)]);
        let build = site.tree().unwrap();
        let tree = &build.tree().unwrap().root;
        (contents(tree, "static"), contents(tree, "app"))
    };
    let ((first, app), second) = (build(), build());
    assert!(first.contains_key("CACHE/manifest.json") && first.contains_key("second.gz"), "{:?}", first.keys());
    assert!(first.contains_key("mini/site.css") && first.contains_key("mini/long.css.br"), "{:?}", first.keys());
    assert!(!app.keys().any(|path| path.ends_with("left.txt") || path == "pannier.toml"), "{:?}", app.keys());
    assert!((first, app) == second, "the two builds differ");
}

#[test]
fn committed_static_files_are_packed_as_they_are_with_their_twins() {
    let long = files()["mini/static/mini/long.css"].clone();
    let chosen =
        settings("STORAGES['staticfiles']['BACKEND'] = 'django.contrib.staticfiles.storage.StaticFilesStorage'\n");
    let site = changed(&[
        ("pannier.toml", "static = \"committed\"\ncompress = [\"gz\"]\n"),
        ("mini/settings.py", &chosen),
        ("staticfiles/vendor/built.css", &long),
    ]);
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    let names: Vec<String> = contents(&tree.root, "static").into_keys().collect();
    assert_eq!(names, ["vendor/built.css", "vendor/built.css.gz"]);
    assert_eq!(std::fs::read_link(tree.root.join("app/staticfiles")).unwrap(), Path::new("../static"));
    assert!(site.said().contains("static files keep their plain names"), "{}", site.said());
}

/// What Django itself named by content, by its own manifest, goes where browsers get it, with its twins.
#[test]
fn publish_puts_the_hashed_names_of_a_real_manifest_where_they_are_said_to_be() {
    let place = "[publish]\nstatic = \"file:///WWW\"\n";
    let site = changed(&[("mini/static/mini/no twin.txt", "short"), ("mini/static/mini/\u{e9}.css", "a {}\n")]);
    assert_eq!(built(&site, &[]), "exit 0\n");
    let path = |name: &str| site.dir.path().join(name);
    let key = std::fs::read_to_string(path("ci.pub")).unwrap();
    std::fs::write(path("trust"), format!("ci namespaces=\"release@pannier\" {key}")).unwrap();
    std::fs::write(path("pannier.toml"), place.replace("/WWW", path("www").to_str().unwrap())).unwrap();
    std::fs::create_dir(path("store")).unwrap();
    let publish = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
        let store = format!("file://{}", path("store").display());
        let command = command.env_clear().current_dir(site.dir.path());
        let done = command.args(["publish", "--json", "--trust", "trust", "--store", &store]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let result: serde_json::Value =
            serde_json::from_slice(done.stdout.rsplit(|b| *b == b'\n').nth(1).unwrap()).unwrap();
        (result["static"]["files"].as_u64().unwrap(), result["static"]["uploaded"].as_u64().unwrap())
    };
    assert_eq!(publish(), (8, 8));
    assert_eq!(publish(), (8, 0));
    let (there, release) = (contents(&path("www"), ""), servers::unpack(&path("dist")));
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    assert_snapshot!(names.join("\n"), @"
    mini/dot.26625dcd91b3.svg
    mini/long.26749a327966.css
    mini/long.26749a327966.css.br
    mini/long.26749a327966.css.gz
    mini/long.26749a327966.css.zst
    mini/no twin.4f09daa9d95b.txt
    mini/site.69f787d694de.css
    mini/é.2d6c8208b853.css
    ");
    assert!(there.iter().all(|(name, bytes)| std::fs::read(release.join("static").join(name)).unwrap() == *bytes));
}

/// What a site that WhiteNoise serves needs besides Django.
const SERVING: &str = "\
gunicorn==27.0.1 --hash=sha256:378b26b9a38adcf4592f28828233c1716acc55e833ea06bf48719782efaa0d10
packaging==26.3 --hash=sha256:d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c
whitenoise==6.12.0 --hash=sha256:fc5e8c572e33ebf24795b47b6a7da8da3c00cff2349f5b04c02f28d0cc5a3cc2
";

#[test]
fn nginx_and_whitenoise_send_the_twins_as_they_are() {
    let text = settings("ALLOWED_HOSTS = ['site']\nMIDDLEWARE = ['whitenoise.middleware.WhiteNoiseMiddleware']\n");
    let requirements = format!("{}{SERVING}", site::REQUIREMENTS);
    let site = changed(&[("mini/settings.py", &text), ("requirements.txt", &requirements)]);
    let told = built(&site, &[servers::wheels(SERVING)]);
    assert_eq!(told, "exit 0\n");
    let release = servers::unpack(&site.dir.path().join("dist"));
    let file = |ending: &str| std::fs::read(release.join("static/mini").join(format!("long.css{ending}"))).unwrap();
    let (nginx, whitenoise) = (Server::nginx(&release), Server::gunicorn(&release));
    for (server, taken, encoding, ending) in [
        (&nginx, "gzip, br", Some("gzip"), ".gz"),
        (&nginx, "identity", None, ""),
        (&whitenoise, "gzip", Some("gzip"), ".gz"),
        (&whitenoise, "gzip, br", Some("br"), ".br"),
        (&whitenoise, "identity", None, ""),
    ] {
        let answer = get(server, "/static/mini/long.css", taken);
        assert!(answer.head.starts_with("http/1.1 200"), "{}", answer.head);
        assert_eq!(answer.header("content-encoding"), encoding, "{taken}: {}", answer.head);
        assert!(answer.body == file(ending), "{taken}: not the bytes of `long.css{ending}`");
        assert_eq!(answer.header("content-type").map(|kind| kind.starts_with("text/css")), Some(true));
    }
}

#[test]
fn whitenoise_sends_the_files_of_kept_releases_by_the_recipe_and_lets_nobody_keep_a_404() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/static.md")).unwrap();
    let recipe = docs.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let text = settings("ALLOWED_HOSTS = ['site']\nMIDDLEWARE = ['mini.kept.KeptWhiteNoiseMiddleware']\n");
    let requirements = format!("{}{SERVING}", site::REQUIREMENTS);
    let site = changed(&[("mini/settings.py", &text), ("mini/kept.py", recipe), ("requirements.txt", &requirements)]);
    assert_eq!(built(&site, &[servers::wheels(SERVING)]), "exit 0\n");
    let release = servers::unpack(&site.dir.path().join("dist"));
    // What an earlier release left to the node: two files of its own, and a name that leads nowhere.
    let root = site.dir.path().join("root");
    for folder in ["static/mini", "releases/v0/static/mini"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    for name in ["old.0123456789ab.css", "gone.0123456789ab.css", "lost.0123456789ab.css"] {
        let target = format!("../../releases/v0/static/mini/{name}");
        std::os::unix::fs::symlink(target, root.join("static/mini").join(name)).unwrap();
        if !name.starts_with("lost") {
            std::fs::write(root.join("releases/v0/static/mini").join(name), "old").unwrap();
        }
    }
    let server = Server::gunicorn_in(&release, &root);
    let told = |name: &str| {
        let answer = get(&server, &format!("/static/mini/{name}"), "identity");
        let status = answer.head.split(' ').nth(1).unwrap().to_owned();
        format!("{status} {}", answer.header("cache-control").unwrap_or("-"))
    };
    let kept = "200 max-age=315360000, public, immutable";
    assert_eq!((told("old.0123456789ab.css").as_str(), told("gone.0123456789ab.css").as_str()), (kept, kept));
    std::fs::remove_file(root.join("static/mini/gone.0123456789ab.css")).unwrap();
    for missing in ["gone.0123456789ab.css", "gone.0123456789ab.css", "lost.0123456789ab.css", "never.0123456789ab.css"]
    {
        assert_eq!(told(missing), "404 no-store", "{missing}");
    }
    let own = contents(&release, "static/mini").into_keys().find(|name| name.starts_with("site.") && name.len() > 20);
    assert_eq!(told(&own.unwrap()), kept);
    assert_eq!(told("site.css"), "200 max-age=60, public");
}

#[test]
fn the_statement_says_what_a_storage_calls_its_manifest() {
    let storage = "\
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
class Storage(ManifestStaticFilesStorage):
    manifest_name = 'names.json'
";
    let chosen = settings("STORAGES = {'staticfiles': {'BACKEND': 'mini.storage.Storage'}}\n");
    let site = changed(&[("mini/storage.py", storage), ("mini/settings.py", &chosen)]);
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    assert_eq!(tree.description.django.static_manifest, "names.json");
    assert!(tree.root.join("static/names.json").is_file());
}
