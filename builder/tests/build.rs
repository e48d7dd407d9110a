//! The build's stages on a small real project, with the real uv, pip and Django, as far as the described tree.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails may panic anywhere")]

mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use pannier_builder::build::build;
use pannier_builder::publish::{ARTIFACT_FILE, STATEMENT_FILE};
use pannier_builder::stages::documents::SBOM_FILE;
use pannier_builder::tree::Tree;
use pannier_shared::digest::Digest;
use pannier_shared::event::Sink;
use site::{Site, files};

/// Every entry of a tree: its kind, whether it may be executed, and its content.
fn entries(root: &Path) -> BTreeMap<String, (char, bool, Vec<u8>)> {
    let walk = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    walk.map(|entry| {
        let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let found = if entry.path_is_symlink() {
            ('l', false, std::fs::read_link(entry.path()).unwrap().into_os_string().into_encoded_bytes())
        } else if entry.file_type().is_dir() {
            ('d', false, Vec::new())
        } else {
            let mode = entry.metadata().unwrap().permissions().mode();
            ('f', mode & 0o100 != 0, std::fs::read(entry.path()).unwrap())
        };
        (path, found)
    })
    .collect()
}

#[test]
fn a_build_resolves_ranges_and_delivers_the_signed_release_and_nothing_else() {
    let mut files = files();
    files.insert("requirements.txt", "-i https://elsewhere.example/simple\nDjango>=5.2,<5.3\n".to_owned());
    files.insert("pannier.toml", "index = \"machine\"\n".to_owned());
    let site = Site::of(&files);
    let sink: Arc<dyn Sink> = site.sink.clone();
    let built = build(site.request(site::environment()), &sink).unwrap();
    let said = site.said();
    assert!(said.contains("has no hashes: resolved now") && said.contains("https://elsewhere.example"), "{said}");
    assert_eq!(built.description.dependencies.len(), 3);
    let name = format!("mini-v1-{}", built.description.target);
    assert_eq!(std::fs::canonicalize(site.dir.path().join("out").join(&name)).unwrap(), built.folder);
    let list = |folder: &Path| {
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<String>>()
    };
    assert_eq!(list(&site.dir.path().join("out")), BTreeSet::from([name]));
    let expected =
        [ARTIFACT_FILE, STATEMENT_FILE, "provenance.json", "requirements.lock", "sbom.cdx.json"].map(str::to_owned);
    assert_eq!(list(&built.folder), BTreeSet::from(expected));
    let digest = |name: &str| Digest::of(&std::fs::read(built.folder.join(name)).unwrap());
    assert_eq!((digest(ARTIFACT_FILE), digest(STATEMENT_FILE)), (built.artifact.sha256, built.statement));
    let sbom: serde_json::Value =
        serde_json::from_slice(&std::fs::read(built.folder.join(SBOM_FILE)).unwrap()).unwrap();
    let django = sbom["components"].as_array().unwrap().iter().find(|part| part["name"] == "django").unwrap();
    assert_eq!(django["licenses"][0]["license"]["name"], "BSD-3-Clause");
    let listed = Command::new("tar").arg("--zstd").arg("-tf").arg(built.folder.join(ARTIFACT_FILE)).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.ends_with(".pannier/COMPLETE\n") && listed.contains("\napp/manage.py\n"), "{listed}");
}

#[test]
fn the_tree_holds_what_a_node_needs_and_serves_when_moved() {
    let site = Site::of(&files());
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    let entries = entries(&tree.root);
    for path in [
        "wheels/django-5.2.7-py3-none-any.whl",
        "venv/bin/django-admin",
        "app/manage.py",
        "app/mini/__pycache__/settings.cpython-",
        "static/staticfiles.json",
        "static/mini/site.",
        "static/mini/long.css.gz",
        "static/mini/long.css.br",
        "static/mini/long.css.zst",
        ".pannier/release.json",
    ] {
        assert!(entries.keys().any(|found| found.starts_with(path)), "{path}");
    }
    assert!(!entries.contains_key("venv/bin/python"), "the node makes this link");
    assert!(entries.contains_key("venv/bin/activate") && !entries.contains_key("venv/bin/activate.fish"));
    assert!(!entries.contains_key("venv/.lock"));
    assert_eq!(entries["app/staticfiles"], ('l', false, b"../static".to_vec()));
    assert_eq!(entries["venv/pyvenv.cfg"].2, b"include-system-site-packages = false\n");
    let description = &tree.description;
    assert_eq!(description.django.settings, "mini.settings");
    assert_eq!(description.django.wsgi.as_deref(), Some("mini.wsgi:application"));
    assert_eq!(description.django.asgi.as_deref(), Some("mini.asgi:application"));
    assert!(description.django.static_hashed && description.libc_floor.is_none());
    let names: Vec<&str> = description.dependencies.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["asgiref", "django", "sqlparse"]);
    groups_are_right(tree);
    runs_elsewhere(&tree.root);
}

/// Moves the tree, gives it the node's interpreter, and has the app check itself with an empty environment.
fn runs_elsewhere(tree: &Path) {
    let node = tempfile::tempdir().unwrap();
    let moved = node.path().join("a release");
    std::fs::rename(tree, &moved).unwrap();
    let python = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    std::os::unix::fs::symlink(python.trim(), moved.join("venv/bin/python")).unwrap();
    let script = "import django, django.contrib.staticfiles.storage as s, sys; django.setup(); \
                  print(s.staticfiles_storage.url('mini/site.css'), s.staticfiles_storage.exists(s.staticfiles_storage.stored_name('mini/site.css')), django.__file__.startswith(sys.prefix))";
    let mut command = Command::new(moved.join("venv/bin/python"));
    command.env_clear().env("DJANGO_SETTINGS_MODULE", "mini.settings").current_dir(moved.join("app"));
    let printed = command.args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&printed.stdout).into_owned() + &String::from_utf8_lossy(&printed.stderr);
    assert!(said.starts_with("/static/mini/site.") && said.trim_end().ends_with("True True"), "{said}");
    let admin = Command::new(moved.join("venv/bin/django-admin"))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .arg("--version")
        .output();
    assert_eq!(String::from_utf8_lossy(&admin.unwrap().stdout), "5.2.7\n");
}

/// What changes together, as a person would say it.
fn groups_are_right(tree: &Tree) {
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for (path, _) in entries(&tree.root).iter().filter(|(_, (kind, ..))| *kind != 'd') {
        let group = tree.groups.of(path);
        *counted.entry(format!("{:?}/{}", group.class, group.name)).or_default() += 1;
    }
    let names: Vec<&str> = counted.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "App/",
            "App/mini",
            "Dependency/asgiref",
            "Dependency/django",
            "Dependency/sqlparse",
            "Glue/",
            "Release/",
            "Static/",
            "Static/mini"
        ]
    );
    assert!(counted["Glue/"] < 15, "only the environment's own files are left over: {counted:?}");
}

#[test]
fn an_unmet_requirement_is_a_warning() {
    let mut files = files();
    files.insert("requirements.txt", site::REQUIREMENTS.lines().take(2).map(|line| format!("{line}\n")).collect());
    let site = Site::of(&files);
    // Django itself does not load without sqlparse only when a database is used.
    let _ = site.tree();
    let said = site.said();
    assert!(said.contains("requires `sqlparse"), "{said}");
}

#[test]
fn requirements_that_do_not_resolve_show_uvs_words() {
    let mut files = files();
    files.insert("requirements.txt", "Django==5.2.7\nasgiref==2.0\n".to_owned());
    insta::assert_snapshot!(Site::of(&files).failure(), @r#"
    in wheels: the requirements in `requirements.txt` do not resolve for Python 3.X
    caused by: `uv pip compile --no-index` failed: exit status: 1
      | error: No solution found when resolving dependencies
      |   cause: Because all versions of django depend on asgiref>=3.8.1 and you require django==5.2.7, we can conclude that you require asgiref>=3.8.1.
      |          And because you require asgiref==2.0, we can conclude that your requirements are unsatisfiable.
    hint: change the requirements, or build with another interpreter: `--python 3.X`
    "#);
}

#[test]
fn a_changed_hash_is_refused() {
    let mut files = files();
    files.insert("requirements.txt", site::REQUIREMENTS.replace("59a13a65", "00000000"));
    let told = Site::of(&files).failure();
    assert!(told.contains("`django==5.2.7` is not the file that the lock names: expected sha256 00000000"), "{told}");
}

#[test]
fn settings_that_want_a_variable_say_which() {
    let mut files = files();
    let settings = files["mini/settings.py"].replace("'placeholder'", "os.environ['MINI_SECRET']");
    files.insert("mini/settings.py", format!("import os\n{settings}"));
    insta::assert_snapshot!(Site::of(&files).failure(), @r#"
    in django: the settings module `mini.settings` fails to load
      | File "mini/settings.py", line 4, in <module>
      |   SECRET_KEY = os.environ['MINI_SECRET']
      | KeyError: 'MINI_SECRET'
    hint: the variable `MINI_SECRET` is probably missing; a build needs no secrets, so give it a placeholder in pannier.toml:

    [build.env]
    MINI_SECRET = "only-for-the-build"
    "#);
}

#[test]
fn an_app_that_fails_to_import_is_told_apart() {
    let mut files = files();
    let settings = files["mini/settings.py"].replace("'mini']", "'mini', 'elsewhere']");
    files.insert("mini/settings.py", settings);
    insta::assert_snapshot!(Site::of(&files).failure(), @r#"
    in django: the apps that are installed by `mini.settings` fail to load
      | File "django/apps/config.py", line 193, in create
      |   import_module(entry)
      | ModuleNotFoundError: No module named 'elsewhere'
    hint: if 'elsewhere' is a dependency, add it to the requirements; if it is the project's own, it is not packed
    "#);
}

#[test]
fn no_static_root_names_the_setting() {
    let mut files = files();
    let settings = files["mini/settings.py"].replace("STATIC_ROOT", "OTHER");
    files.insert("mini/settings.py", settings);
    insta::assert_snapshot!(Site::of(&files).failure(), @r#"
    in static: `STATIC_ROOT` is not set in `mini.settings`, so it is not known where static files are
    hint: set `STATIC_ROOT = BASE_DIR / "staticfiles"`, or, where the release holds no static files, `static = "none"` in pannier.toml
    "#);
    files.insert("pannier.toml", "static = \"none\"\n".to_owned());
    let site = Site::of(&files);
    assert!(!site.tree().unwrap().tree().unwrap().root.join("static").exists());
}

#[test]
fn placeholders_reach_the_settings_and_a_static_root_outside_of_the_project_is_a_warning() {
    let mut files = files();
    let settings = files["mini/settings.py"].replace("BASE_DIR / 'staticfiles'", "os.environ['MINI_STATIC']");
    files.insert("mini/settings.py", format!("import os\n{settings}"));
    files.insert("pannier.toml", "[build.env]\nMINI_STATIC = \"/var/www/pannier-test\"\n".to_owned());
    let site = Site::of(&files);
    let build = site.tree().unwrap();
    assert!(build.tree().unwrap().root.join("static/staticfiles.json").exists());
    assert!(!Path::new("/var/www/pannier-test").exists());
    assert!(
        site.said().contains("`STATIC_ROOT` is `/var/www/pannier-test`, outside of the project"),
        "{}",
        site.said()
    );
}

#[test]
fn a_project_without_manage_py_leaves_nothing_behind() {
    let mut files = files();
    files.remove("manage.py");
    insta::assert_snapshot!(Site::of(&files).failure(), @r#"
    in source: there is no manage.py in `/SITE/project`: looked at its top and two folders deep, in every folder not on the ignore list
    hint: run `pannier build` with the folder of the Django project, or name the file with `manage = "PATH"` in pannier.toml
    "#);
}

#[test]
fn manage_py_may_lie_deeper_and_prepare_the_path_and_pyproject_toml_list_the_dependencies() {
    let mut files = files();
    let manage = format!(
        "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent.parent / 'src'))\n{}",
        files["manage.py"]
    );
    let moved = |path: &str| -> &'static str { Box::leak(format!("src/{path}").into_boxed_str()) };
    let package: Vec<&'static str> = files.keys().copied().filter(|path| path.starts_with("mini/")).collect();
    for path in package {
        let text = files.remove(path).unwrap();
        files.insert(moved(path), text);
    }
    files.remove("manage.py");
    files.insert("bin/manage.py", manage);
    files.remove("requirements.txt");
    files.insert("pyproject.toml", "[project]\nname = \"mini\"\ndependencies = [\"Django==5.2.7\"]\n".to_owned());
    let site = Site::of(&files);
    let build = site.tree().unwrap();
    let tree = build.tree().unwrap();
    assert_eq!((tree.description.django.folder.as_str(), tree.description.dependencies.len()), ("bin", 3));
    assert_eq!(std::fs::read_link(tree.root.join("app/src/staticfiles")).unwrap(), Path::new("../../static"));
}
