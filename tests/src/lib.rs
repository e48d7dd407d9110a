//! What the tests that cross the programs stand on: a small world with a key, a store, a node and releases.
//!
//! Everything in it is real: keys that `ssh-keygen` can use, archives, a directory store, the two programs as processes.
//! Only the site is made of a few files instead of a Django project, where Python is not what is tested.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a library for tests only")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pannier_builder::publish::{self, Outcome, Publication};
use pannier_builder::shelf::Shelf;
use pannier_builder::stages::documents::{self, Facts};
use pannier_builder::stages::{pack, sign};
use pannier_shared::archive::toc::{Class, Group};
use pannier_shared::archive::write::Options;
use pannier_shared::event::Silent;
use pannier_shared::id::{DocumentName, Target};
use pannier_shared::signature::{SigningKey, Trust, Verified, verify};
use pannier_shared::statement::{Artifact, Attached, Description, Django, Interpreter, InterpreterOrigin, Statement};
use pannier_shared::store::Store;
use pannier_shared::store::dir::DirStore;
use pannier_shared::sys::clock;

pub mod delay;
pub mod disk;
pub mod hostile;
pub mod proxy;
pub mod scene;
pub mod torture;
pub mod web;

/// A key, a trust file, a directory store and a node's root, in a temporary folder of their own.
pub struct World {
    folder: tempfile::TempDir,
    /// Signs everything: releases and pointers.
    pub key: SigningKey,
    /// Trusts [`Self::key`].
    pub trust: Trust,
}

/// The app's name in every world.
pub const APP: &str = "polls";

impl World {
    /// Makes a world with a store, a node's configuration, and nothing published.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("ci").unwrap();
        key.write(&folder.path().join("ci")).unwrap();
        let public = std::fs::read_to_string(folder.path().join("ci.pub")).unwrap();
        let line = format!("ci namespaces=\"release@pannier,channel@pannier,suite@pannier,rollout@pannier\" {public}");
        std::fs::write(folder.path().join("trust"), &line).unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        let trust = Trust::parse(&line, "trust").unwrap();
        let world = Self { folder, key, trust };
        world.configure("");
        world
    }

    /// A world with the key, the trust file and the store of another one, which [`Self::keep`] left in `folder`.
    pub fn like(folder: &Path) -> Self {
        let world = Self::new();
        copy_tree(folder, world.folder.path());
        let key = SigningKey::load(&world.path("ci"), None).unwrap();
        let trust = Trust::load(&world.path("trust")).unwrap();
        Self { key, trust, ..world }
    }

    /// Leaves the key, the trust file and the store in a folder, in the place of what was there.
    pub fn keep(&self, folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).unwrap();
        for name in ["ci", "ci.pub", "trust"] {
            std::fs::copy(self.path(name), folder.join(name)).unwrap();
        }
        copy_tree(&self.path("store"), &folder.join("store"));
    }

    /// A path in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The node's root for the app.
    pub fn root(&self) -> PathBuf {
        self.path("node")
    }

    /// Writes the node's configuration; `more` goes into the app's table.
    pub fn configure(&self, more: &str) {
        self.configure_store(&format!("file://{}", self.path("store").display()), more);
    }

    /// Like [`Self::configure`], with another store.
    pub fn configure_store(&self, store: &str, more: &str) {
        let (trust, root) = (self.path("trust"), self.root());
        let text = format!(
            "store = \"{store}\"\ntrust = \"{}\"\n[apps.{APP}]\nroot = \"{}\"\nunseen = \"use-nothing\"\n{more}\n",
            trust.display(),
            root.display()
        );
        std::fs::write(self.path("activator.toml"), text).unwrap();
    }

    /// The directory store.
    pub fn store(&self) -> DirStore {
        DirStore::new(&self.path("store"))
    }

    /// Makes a release of the small sample tree, in which `app/version.txt` says `version`.
    pub fn build(&self, version: &str) -> PathBuf {
        self.build_with(version, |_| ())
    }

    /// Makes a release of the sample tree after `change` had its way with it; gives the folder a build makes.
    pub fn build_with(&self, version: &str, change: impl FnOnce(&Path)) -> PathBuf {
        self.build_as(description(version), change)
    }

    /// The same, of a release that says `description` of itself.
    pub fn build_as(&self, description: Description, change: impl FnOnce(&Path)) -> PathBuf {
        let version = description.version.as_str();
        let tree = self.path(&format!("tree-{version}"));
        sample_tree(&tree, version);
        change(&tree);
        let out = self.path(&format!("dist-{version}"));
        std::fs::create_dir(&out).unwrap();
        let members = pack::members(&tree, group_of).unwrap();
        let options = Options { level: 3, workers: 2 };
        let artifact =
            pack::pack(members, options, &Shelf::none(), &out.join(publish::ARTIFACT_FILE), &Silent).unwrap();
        let documents = documents(&description, &artifact, &out);
        sign::write(description, artifact, documents, &self.key, &out.join(publish::STATEMENT_FILE)).unwrap();
        out
    }

    /// Publishes a folder that [`Self::build`] made into the directory store.
    pub fn publish(&self, folder: &Path) -> Result<Outcome, publish::Error> {
        self.publish_to(Box::new(self.store()), folder)
    }

    /// Publishes a folder into any store.
    pub fn publish_to(&self, store: Box<dyn Store>, folder: &Path) -> Result<Outcome, publish::Error> {
        let publication = Publication::open(folder, store, runtime(), self.trust.clone(), clock::now())?;
        publish::publish(publication, &Silent).map(|announced| announced.outcome)
    }

    /// The verified statement of a built folder.
    pub fn statement(&self, folder: &Path) -> Verified<Statement> {
        let bytes = std::fs::read(folder.join(publish::STATEMENT_FILE)).unwrap();
        verify(&bytes, &self.trust, clock::now()).unwrap()
    }

    /// The builder, ready to run with the world's store and trust file.
    pub fn builder(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("pannier"));
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.folder.path()).arg("--quiet");
        command.env("PANNIER_STORE", format!("file://{}", self.path("store").display())).env("PANNIER_TRUST", "trust");
        command.args(arguments);
        command
    }

    /// The activator, ready to run with the world's configuration.
    pub fn activator(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("pannier-activator"));
        command.env_clear().env("PATH", "/usr/bin:/bin").arg("--config").arg(self.path("activator.toml"));
        command.args(arguments);
        command
    }

    /// Runs the activator to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.activator(arguments).output().unwrap()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn copy_tree(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-r", "--reflink=auto", "-T"]).arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// A runtime for what is asynchronous.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One of Pannier's programs, built beside the program or in the folder above the test that runs.
pub fn program(name: &str) -> PathBuf {
    let us = std::env::current_exe().unwrap();
    let places = us.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("`{name}` is missing: run `cargo build --workspace` first"))
}

/// What a finished program printed, for messages.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\nstdout: {}\nstderr: {}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Writes the documents of a release, as a build does.
fn documents(release: &Description, artifact: &Artifact, out: &Path) -> BTreeMap<DocumentName, Attached> {
    let (licences, requirements) = (BTreeMap::new(), BTreeMap::new());
    let facts = Facts { release, artifact, licences: &licences, requirements: &requirements };
    documents::write(&facts, out).unwrap()
}

/// The groups of the sample tree.
pub fn group_of(path: &str) -> Group {
    let class = match path.split('/').next() {
        Some("python") => Class::Interpreter,
        Some("venv" | "wheels") => Class::Dependency,
        Some("static") => Class::Static,
        Some(".pannier") => Class::Release,
        _ => Class::App,
    };
    Group { class, name: String::new() }
}

/// What the sample release says of itself: it brings its own interpreter, so that no test depends on the machine's.
pub fn description(version: &str) -> Description {
    Description {
        app: APP.parse().unwrap(),
        version: version.parse().unwrap(),
        target: Target::host(),
        source: None,
        interpreter: Interpreter {
            origin: InterpreterOrigin::Bundled,
            implementation: "cpython".to_owned(),
            python: "3.11".to_owned(),
            version: "3.11.7".to_owned(),
            abi: "cpython-311-x86_64-linux-gnu".to_owned(),
            cache_tag: "cpython-311".to_owned(),
            link: "venv/bin/python".to_owned(),
        },
        built_on: None,
        libc_floor: None,
        libc_floor_of: None,
        dependencies: Vec::new(),
        django: Django {
            settings: "polls.settings".to_owned(),
            folder: ".".to_owned(),
            wsgi: Some("polls.wsgi:application".to_owned()),
            asgi: None,
            static_url: "/static/".to_owned(),
            static_hashed: true,
            static_manifest: "staticfiles.json".into(),
        },
        running: Default::default(),
        migrations: Default::default(),
        built_by: "0.0.0-test".to_owned(),
    }
}

/// Lays down a small tree with every kind of entry a release may hold.
pub fn sample_tree(tree: &Path, version: &str) {
    let write = |path: &str, content: &[u8]| {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write("app/version.txt", version.as_bytes());
    write("app/polls/__init__.py", b"");
    write("app/polls/views.py", b"def index(request): ...\n");
    write(&format!("app/{}.txt", "long".repeat(40)), b"long");
    write("app/\u{e9}t\u{e9} \u{2603}.txt", "neige".as_bytes());
    write("python/bin/python3.11", b"#!/bin/sh\nexit 0\n");
    write("venv/lib/python3.11/site-packages/big.bin", &noise(3 << 20, 7));
    write("wheels/django-5.2-py3-none-any.whl", &noise(100_000, 3));
    write("static/admin/base.0123456789ab.css", b"body { color: black }\n");
    std::fs::create_dir_all(tree.join("app/empty")).unwrap();
    std::fs::create_dir_all(tree.join("venv/bin")).unwrap();
    executable(&tree.join("python/bin/python3.11"));
    std::os::unix::fs::symlink("../../python/bin/python3.11", tree.join("venv/bin/python")).unwrap();
    std::os::unix::fs::symlink("python", tree.join("venv/bin/python3")).unwrap();
}

/// Makes a file executable.
pub fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tree as one list of lines, sorted: kind, mode, path, and digest or target. Two trees with the same list are equal.
pub fn listing(root: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let name = path.strip_prefix(root).unwrap().display().to_string();
            lines.push(if meta.is_symlink() {
                format!("{name} link {}", std::fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                todo.push(path);
                format!("{name} folder {mode:o}")
            } else {
                let digest = pannier_shared::digest::Digest::of(&std::fs::read(&path).unwrap());
                format!("{name} file {mode:o} {} {digest}", meta.len())
            });
        }
    }
    lines.sort();
    lines
}
