//! What the unit tests share: a root in a temporary folder, and releases laid into it as a fetch would have left them.
#![allow(clippy::disallowed_methods, reason = "tests lay out roots by hand")]

use std::path::PathBuf;

use pannier_shared::archive::COMPLETE;
use pannier_shared::digest::Digest;
use pannier_shared::event::{Event, Recorder};
use pannier_shared::id::{AppName, Version};
use pannier_shared::statement::{Description, Running};
use pannier_shared::sys::clock;

use crate::activate::{Activated, Failure, OnBad, OnSchema, Request, activate};
use crate::age::OnOlder;
use crate::config::App;
use crate::layout::Root;
use crate::node::{Error, Node};
use crate::record;
use crate::state::{Direction, Release};

mod facts;
#[path = "../../tests/support/release.rs"]
pub mod release;

pub use facts::facts;
pub use release::described;

/// A node of one app, `polls`.
pub struct Fixture {
    _dir: tempfile::TempDir,
    pub config: App,
    pub told: Recorder,
}

pub fn v(name: &str) -> Version {
    name.parse().unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

impl Fixture {
    /// With these releases on the disk, complete, recorded, but not yet in the state file.
    pub fn with(versions: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("polls");
        let config = App { root, ..App::default() };
        let fixture = Self { _dir: dir, config, told: Recorder::default() };
        for version in versions {
            fixture.lay(version);
        }
        fixture
    }

    pub fn app(&self) -> AppName {
        "polls".parse().unwrap()
    }

    pub fn root(&self) -> Root {
        Root::prepare(&self.config.root).unwrap()
    }

    /// Lays one release with a file `version.txt` that holds its version.
    pub fn lay(&self, version: &str) -> PathBuf {
        let (root, version) = (self.root(), v(version));
        let tree = root.release(&version);
        std::fs::create_dir_all(tree.join(".pannier")).unwrap();
        std::fs::write(tree.join(COMPLETE), "").unwrap();
        std::fs::write(tree.join("version.txt"), version.as_str()).unwrap();
        std::fs::create_dir_all(root.toc(&version)).unwrap();
        let release = Release::prepared(Digest::of(version.as_str().as_bytes()), 2, 4, clock::now());
        record::write(&root.toc(&version), &release, b"signed").unwrap();
        tree
    }

    /// Configures an environment file with this text.
    pub fn configure_variables(&mut self, text: &str) {
        let file = self.config.root.with_file_name("polls.env");
        std::fs::write(&file, text).unwrap();
        self.config.env_file = Some(file);
    }

    /// A process that another test is just starting shares our lock's handle until it has become its program, so a lock
    /// that was let go may be held for a moment longer.
    pub fn open(&self) -> Result<Node, Error> {
        for _ in 0..500 {
            match self.try_open() {
                Err(Error::Lock { .. }) => clock::sleep(std::time::Duration::from_millis(10)),
                other => return other,
            }
        }
        self.try_open()
    }

    pub fn try_open(&self) -> Result<Node, Error> {
        Node::open(&self.app(), &self.config, "test", &self.told)
    }

    pub fn activate(&self, version: &str) -> Result<Activated, Box<Failure>> {
        self.activate_with(version, OnBad::Refuse)
    }

    pub fn activate_with(&self, version: &str, bad: OnBad) -> Result<Activated, Box<Failure>> {
        let (direction, older) = (Direction::Forward, OnOlder::Allow);
        let schema = OnSchema::Refuse;
        let request = Request { version: v(version), direction, bad, older, schema, gate: None };
        activate(&mut self.open().unwrap(), &request, &runtime(), &self.told)
    }

    /// Lets a release say of itself that it is run like this.
    pub fn say(&self, version: &str, running: Running) {
        let description = Description { running, ..described(version) };
        let tree = self.root().release(&v(version));
        std::fs::create_dir_all(tree.join("app")).unwrap();
        let path = tree.join(".pannier/release.json");
        std::fs::write(path, serde_json::to_vec(&description).unwrap()).unwrap();
    }

    /// Lays static files into a release, which says that they have hashed names.
    pub fn lay_static(&self, version: &str, files: &[(&str, &str)]) {
        let folder = self.root().release(&v(version)).join("static");
        for (name, text) in files {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.describe(version, |_| ());
    }

    /// Lets a release say of itself what every other says, changed.
    pub fn describe(&self, version: &str, change: impl FnOnce(&mut Description)) {
        let mut description = described(version);
        change(&mut description);
        let path = self.root().release(&v(version)).join(".pannier/release.json");
        std::fs::write(path, serde_json::to_vec(&description).unwrap()).unwrap();
    }

    /// Where `current` leads.
    pub fn current(&self) -> Option<String> {
        self.root().where_current_leads().unwrap().version().map(|version| version.as_str().to_owned())
    }

    /// All warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        let warning = |event| match event {
            Event::Warning { text } => Some(text),
            _ => None,
        };
        self.told.events().into_iter().filter_map(warning).collect()
    }
}
