//! A node to be harmed: what it is doing, how it is put back to where it was, and the facts about its disk that count.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{World, listing, noise, said};

/// One command that changes a node, from a node where v1 serves.
pub struct Verb {
    /// Its name in figures.
    pub name: &'static str,
    /// What brings the node to where it begins.
    pub before: &'static [&'static [&'static str]],
    /// How many healthy releases the node is told to keep then.
    pub keep: usize,
    /// The command. Run once more after it succeeded, it must succeed and change nothing.
    pub command: &'static [&'static str],
    /// Whether threads of its own do a part of the work.
    pub threads: Threads,
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The main thread, and programs it starts, which are not to be harmed.
    Main,
    /// Several.
    Several,
}

/// All that changes a node.
pub const VERBS: &[Verb] = &[
    FETCH,
    Verb { name: "activate", before: &[FETCH_V2], command: ACTIVATE_V2, threads: Threads::Main, ..FETCH },
    Verb {
        name: "rollback",
        before: &[FETCH_V2, ACTIVATE_V2],
        command: &["rollback", "polls", "--to", "v1"],
        threads: Threads::Main,
        ..FETCH
    },
    Verb {
        name: "prune",
        before: &[
            &["fetch", "polls", "v3"],
            &["activate", "polls", "v3"],
            &["rollback", "polls", "--to", "v1"],
            FETCH_V2,
            ACTIVATE_V2,
        ],
        keep: 2,
        command: &["prune", "polls"],
        threads: Threads::Main,
    },
];

/// The first of all.
pub const FETCH: Verb = Verb { name: "fetch", before: &[], keep: KEEP, command: FETCH_V2, threads: Threads::Several };
/// As without a setting.
const KEEP: usize = 5;
const FETCH_V2: &[&str] = &["fetch", "polls", "v2"];
const ACTIVATE_V2: &[&str] = &["activate", "polls", "v2"];

/// How large the releases are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 20 files.
    Small,
    /// 11,000 files.
    Large,
}

impl Size {
    /// For figures.
    pub fn name(self) -> &'static str {
        match self {
            Size::Small => "20 files",
            Size::Large => "11,000 files",
        }
    }

    fn more(self, tree: &Path, version: u64) {
        let count = if self == Size::Small { 6 } else { 11_000 };
        for at in 0..count {
            let folder = tree.join(format!("app/part{}", at / 200));
            std::fs::create_dir_all(&folder).unwrap();
            // A tenth of the files is new in each version; the others are there to be reused.
            let seed = if at % 10 == 0 { at * 10 + version } else { at * 10 };
            std::fs::write(folder.join(format!("{at}.py")), noise(1500, seed)).unwrap();
        }
        // One static file that all versions have, and one of its own.
        let own = format!("site.{version:012x}.css");
        std::fs::write(tree.join("static").join(&own), version.to_string()).unwrap();
        let manifest = format!(
            r#"{{"version":"1.1","paths":{{"admin/base.css":"admin/base.0123456789ab.css","site.css":"{own}"}}}}"#
        );
        std::fs::write(tree.join("static/staticfiles.json"), manifest).unwrap();
        if self == Size::Large {
            std::fs::write(tree.join("app/large.bin"), noise(5 << 20, version)).unwrap();
        }
    }
}

/// A world whose node can be put back.
pub struct Node {
    /// Where it is.
    pub world: World,
    kept: PathBuf,
}

impl Node {
    /// v1 serves, v2 and v3 are published; then what `verb` wants done before was done.
    pub fn ready(verb: &Verb, size: Size) -> Self {
        let node = Self::serving(size);
        verb.before.iter().for_each(|command| node.ok(command).unwrap());
        node.configure(verb.keep);
        node.keep();
        node
    }

    /// v1 serves, v2 and v3 are published.
    pub fn serving(size: Size) -> Self {
        let world = World::new();
        for (version, seed) in [("v1", 1), ("v2", 2), ("v3", 3)] {
            world.publish(&world.build_with(version, |tree| size.more(tree, seed))).unwrap();
        }
        let kept = world.path("kept");
        let node = Self { world, kept };
        node.configure(KEEP);
        node.ok(&["activate", "polls", "v1"]).unwrap();
        node
    }

    /// Configures the node to keep so many releases. What was started last is what `started` says.
    pub fn configure(&self, keep: usize) {
        let start = r#"echo "$PANNIER_VERSION" > "$PANNIER_ROOT/shared/started""#;
        self.world.configure(&format!("keep = {keep}\nrestart = [\"sh\", \"-c\", '{start}']"));
    }

    /// Keeps the node as it is now, for [`Self::restore`].
    pub fn keep(&self) {
        copy(&self.world.root(), &self.kept);
    }

    /// Puts the node back to where it was kept.
    pub fn restore(&self) {
        let root = self.world.root();
        let _ = std::fs::remove_dir_all(&root);
        copy(&self.kept, &root);
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, command: &[&str]) -> Result<(), String> {
        let output = self.world.run(command);
        if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", said(&output))) }
    }

    /// Where `current` leads, which must be a release that is whole.
    pub fn serves(&self, whole: &Facts) -> Result<String, String> {
        let root = self.world.root();
        let target = std::fs::read_link(root.join("current")).map_err(|error| format!("no `current`: {error}"))?;
        let version = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let tree = |all: &[String]| -> Vec<String> {
            let prefix = format!("releases/{version}/");
            all.iter().filter(|line| line.starts_with(&prefix)).cloned().collect()
        };
        let found = tree(&releases(&root));
        if found.is_empty() || found != tree(&whole.releases) {
            return Err(format!("`current` leads to `{version}`, which is not whole"));
        }
        Ok(version)
    }

    /// The facts about its disk.
    pub fn facts(&self) -> Facts {
        Facts::of(&self.world.root())
    }
}

/// What is true on a node's disk, without times and random names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Every entry below `releases/`, with mode and digest.
    pub releases: Vec<String>,
    /// Where `current` leads.
    pub current: Option<PathBuf>,
    /// What was started last.
    pub started: Option<String>,
    /// What lies beside all that; what the journal and the ledger hold is not looked at.
    pub own: BTreeSet<String>,
    /// What the state file says, without times.
    pub state: Value,
}

impl Facts {
    /// Those of the node with this root.
    pub fn of(root: &Path) -> Self {
        // The log of the restart command is not there when it could not be made, which stops nothing.
        let is_counted = |line: &String| !line.starts_with("releases/") && !line.starts_with(".pannier/restart.log");
        let own = listing(root).into_iter().filter(is_counted).map(|line| {
            let is_of_its_time = ["journal.jsonl", "ledger", "lock", "state.json", "record.json"];
            let path = line.split(" file ").next().unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            if is_of_its_time.contains(&name) { path.to_owned() } else { line }
        });
        let text = std::fs::read(root.join(".pannier/state.json")).unwrap_or_default();
        Self {
            releases: releases(root),
            current: std::fs::read_link(root.join("current")).ok(),
            started: std::fs::read_to_string(root.join("shared/started")).ok(),
            own: own.collect(),
            state: without_times(serde_json::from_slice(&text).unwrap_or_default()),
        }
    }

    /// Says in which way these are not the `expected` ones, by the lines that differ.
    pub fn same_as(&self, expected: &Facts) -> Result<(), String> {
        let lines = |facts: &Facts| -> BTreeSet<String> {
            let rest = format!("{:?} {:?} {}", facts.current, facts.started, facts.state);
            facts.releases.iter().chain(&facts.own).cloned().chain([rest]).collect()
        };
        let (found, expected) = (lines(self), lines(expected));
        let (more, less): (Vec<_>, Vec<_>) =
            (found.difference(&expected).take(5).collect(), expected.difference(&found).take(5).collect());
        if more.is_empty() && less.is_empty() { Ok(()) } else { Err(format!("found {more:?} instead of {less:?}")) }
    }
}

fn releases(root: &Path) -> Vec<String> {
    let folder = root.join("releases");
    if !folder.is_dir() {
        return Vec::new();
    }
    listing(&folder).into_iter().map(|line| format!("releases/{line}")).collect()
}

fn without_times(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            ["since", "prepared", "at"].iter().for_each(|time| {
                if fields.get(*time).is_some_and(Value::is_string) {
                    fields.remove(*time);
                }
            });
            fields.values_mut().for_each(|field| *field = without_times(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_times(item.take())),
        _ => {}
    }
    value
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    let status = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(status.success(), "{} could not be copied", from.display());
}
