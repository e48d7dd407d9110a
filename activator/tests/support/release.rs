//! A release of some small files, packed and signed for real.
#![allow(dead_code, reason = "every test program uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the builder")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pannier_shared::archive::toc::{Class, Group};
use pannier_shared::archive::write::{Content, Member, Options, pack};
use pannier_shared::event::Silent;
use pannier_shared::id::Target;
use pannier_shared::keys;
use pannier_shared::signature::{SigningKey, sign};
use pannier_shared::statement::*;

/// Puts a release whose `app/` holds these files into the directory store `store`, after `change` had its way with the
/// statement.
pub fn publish(
    store: &Path,
    key: &SigningKey,
    version: &str,
    files: &[(&str, &str)],
    change: impl FnOnce(&mut Statement),
) {
    publish_with(store, key, version, files, Vec::new(), change);
}

/// A release that says how it is run, in its statement and in its tree.
pub fn publish_running(store: &Path, key: &SigningKey, version: &str, files: &[(&str, &str)], running: Running) {
    let description = Description { running, ..described(version) };
    publish_described(store, key, version, files, Vec::new(), description);
}

/// A release with these files in `static/`, and a manifest that says that those whose names have two dots are hashed.
pub fn publish_static(store: &Path, key: &SigningKey, version: &str, files: &[(&str, &str)], statics: &[(&str, &str)]) {
    let (source, group) = (tempfile::tempdir().unwrap(), Group { class: Class::Static, name: String::new() });
    let hashed =
        statics.iter().map(|(name, _)| *name).filter(|name| name.split('.').count() == 3 && !name.ends_with(".gz"));
    let paths: BTreeMap<&str, &str> = hashed.map(|name| (name.split('.').next().unwrap(), name)).collect();
    let manifest = serde_json::json!({"paths": paths, "version": "1.1", "hash": ""}).to_string();
    let folder = |path: String| Member { path, group: group.clone(), content: Content::Folder };
    let mut members = vec![folder("static".into())];
    let folders: BTreeSet<&str> = statics.iter().filter_map(|(name, _)| Some(name.rsplit_once('/')?.0)).collect();
    members.extend(folders.into_iter().map(|name| folder(format!("static/{name}"))));
    for (at, (name, text)) in statics.iter().chain([&("staticfiles.json", manifest.as_str())]).enumerate() {
        let path = source.path().join(at.to_string());
        std::fs::write(&path, text).unwrap();
        let content = Content::File { source: path, size: text.len() as u64, executable: false };
        members.push(Member { path: format!("static/{name}"), group: group.clone(), content });
    }
    publish_described(store, key, version, files, members, described(version));
}

/// A release that says this of itself, in its statement and in its tree.
fn publish_described(
    store: &Path,
    key: &SigningKey,
    version: &str,
    files: &[(&str, &str)],
    mut more: Vec<Member>,
    description: Description,
) {
    let source = tempfile::NamedTempFile::new().unwrap();
    let text = serde_json::to_vec(&description).unwrap();
    std::fs::write(source.path(), &text).unwrap();
    let group = Group { class: Class::Release, name: String::new() };
    let content = Content::File { source: source.path().to_owned(), size: text.len() as u64, executable: false };
    let folder = Member { path: ".pannier".into(), group: group.clone(), content: Content::Folder };
    let own = Member { path: ".pannier/release.json".into(), group, content };
    more.extend([folder, own]);
    publish_with(store, key, version, files, more, |statement| statement.release = description);
}

/// Like [`publish`], with more members in the archive.
fn publish_with(
    store: &Path,
    key: &SigningKey,
    version: &str,
    files: &[(&str, &str)],
    more: Vec<Member>,
    change: impl FnOnce(&mut Statement),
) {
    let source = tempfile::tempdir().unwrap();
    let group = Group { class: Class::App, name: String::new() };
    let mut members = vec![Member { path: "app".into(), group: group.clone(), content: Content::Folder }];
    let folders: BTreeSet<&str> = files.iter().filter_map(|(name, _)| Some(name.rsplit_once('/')?.0)).collect();
    for folder in folders {
        std::fs::create_dir_all(source.path().join(folder)).unwrap();
        let path = format!("app/{folder}");
        members.push(Member { path, group: group.clone(), content: Content::Folder });
    }
    for (name, text) in files {
        let path = source.path().join(name);
        std::fs::write(&path, text).unwrap();
        let content = Content::File { source: path, size: text.len() as u64, executable: *name == "run" };
        members.push(Member { path: format!("app/{name}"), group: group.clone(), content });
    }
    let content = Content::Link { target: "health.txt".into() };
    members.push(Member { path: "app/link".into(), group, content });
    members.extend(more);
    let mut bytes = Vec::new();
    let artifact = pack(members, Options { level: 3, workers: 1 }, &mut bytes, &Silent).unwrap();
    let (kind, documents) = (ReleaseType::Release, Default::default());
    let mut statement = Statement { kind, format: FORMAT, release: described(version), artifact, documents };
    change(&mut statement);
    let release = &statement.release;
    put(store, keys::artifact(&release.app, &release.version, &release.target).as_str(), &bytes);
    let name = keys::statement(&release.app, &release.version, &release.target);
    put(store, name.as_str(), &sign(&statement, key).unwrap());
}

/// Puts bytes into a directory store.
pub fn put(store: &Path, key: &str, bytes: &[u8]) {
    let path = store.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// What a release says of itself that leaves running to the node.
pub fn described(version: &str) -> Description {
    Description {
        app: "polls".parse().unwrap(),
        version: version.parse().unwrap(),
        target: Target::host(),
        source: None,
        interpreter: Interpreter {
            origin: InterpreterOrigin::Bundled,
            implementation: "cpython".into(),
            python: "3.11".into(),
            version: "3.11.7".into(),
            abi: "cpython-311-x86_64-linux-gnu".into(),
            cache_tag: "cpython-311".into(),
            link: "venv/bin/python".into(),
        },
        built_on: None,
        libc_floor: None,
        libc_floor_of: None,
        dependencies: Vec::new(),
        django: Django {
            settings: "polls.settings".into(),
            folder: ".".into(),
            wsgi: None,
            asgi: None,
            static_url: "/static/".into(),
            static_hashed: true,
            static_manifest: "staticfiles.json".into(),
        },
        running: Default::default(),
        migrations: Default::default(),
        built_by: "test".into(),
    }
}
