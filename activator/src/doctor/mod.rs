//! Examines a node: whether what a fetch and an activation will need is there, before they need it.
//!
//! [`table`] is the examination: one row per check, in the order in which a command meets what it looks at. A check only
//! looks (the one of the file system tries things out in the staging folder, under the app's lock, and removes them), and
//! gives what it found: each finding is ok, a warning or wrong, and says what to type unless it is ok. A check whose
//! subject another one found to be missing finds nothing.

use std::fmt;

use jiff::Timestamp;
use pannier_shared::id::AppName;
use pannier_shared::report::human;
use pannier_shared::signature::{Trust, TrustError};
use pannier_shared::store::Store;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::activate::one_line;
use crate::config::{App, Config};

mod app;
mod disk;
mod node;
mod record;
mod store;
mod units;

/// The checks: those of the node first, then those of each app.
fn table() -> [Check; 18] {
    use Look::{App, Node};
    [
        Check { name: "configuration", look: Node(node::configuration) },
        Check { name: "trust", look: Node(node::trust) },
        Check { name: "store", look: Node(store::reach) },
        Check { name: "clock", look: Node(store::clock) },
        Check { name: "confinement", look: Node(node::confinement) },
        Check { name: "root", look: App(disk::root) },
        Check { name: "room", look: App(disk::room) },
        Check { name: "file system", look: App(disk::features) },
        Check { name: "lock", look: App(record::lock) },
        Check { name: "record", look: App(record::record) },
        Check { name: "published", look: App(store::published) },
        Check { name: "releases", look: App(record::releases) },
        Check { name: "user", look: App(app::user) },
        Check { name: "shared", look: App(app::shared) },
        Check { name: "static", look: App(record::static_files) },
        Check { name: "restart", look: App(app::restart) },
        Check { name: "units", look: App(units::differing) },
        Check { name: "health", look: App(app::health) },
    ]
}

/// One row of the table.
struct Check {
    name: &'static str,
    look: Look,
}

/// How a check looks: once, or at each app.
enum Look {
    Node(fn(&Examined) -> Vec<Found>),
    App(fn(&Examined, &Patient) -> Vec<Found>),
}

/// What is examined.
pub struct Examined<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The trusted keys, or why there are none, and the file they are in.
    pub trust: Result<Trust, TrustError>,
    /// The store; none when none is configured, else why it cannot be opened.
    pub store: Result<Option<Box<dyn Store>>, Trouble>,
    /// What the store's calls run on.
    pub runtime: &'a Runtime,
    /// The time.
    pub now: Timestamp,
}

/// The app that is examined.
struct Patient<'a> {
    name: &'a AppName,
    config: &'a App,
}

/// An error, in the words that a finding has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is the matter.
    pub says: String,
    /// What to type.
    pub hint: Option<String>,
}

impl Trouble {
    /// Of an error and its causes.
    pub fn of(error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { says: one_line(error), hint }
    }
}

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// A fetch, an activation or a rollback will fail or go wrong.
    Wrong,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    verdict: Verdict,
    says: String,
    hint: Option<String>,
}

impl Found {
    fn ok(says: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, says: says.into(), hint: None }
    }

    fn warning(says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, says: says.into(), hint: Some(hint.into()) }
    }

    fn wrong(says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, says: says.into(), hint: Some(hint.into()) }
    }

    /// What an error tells; `otherwise` is the hint where the error has none.
    fn trouble(trouble: Trouble, otherwise: &str) -> Self {
        Self::wrong(trouble.says, trouble.hint.unwrap_or_else(|| otherwise.to_owned()))
    }
}

/// One line of the examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// Which app; none for the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// How it is meant.
    pub verdict: Verdict,
    /// What was found.
    pub says: String,
    /// What to type; none when it is ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Examines the node, and of its apps `only` this one where one is given. The configuration must have it.
pub fn examine(examined: &Examined, only: Option<&AppName>) -> Vec<Finding> {
    let patients: Vec<Patient> = examined.config.apps.iter().map(|(name, config)| Patient { name, config }).collect();
    let of_node = table().into_iter().flat_map(|check| check.of_node(examined));
    let apps = patients.iter().filter(|patient| only.is_none_or(|only| only == patient.name));
    let of_apps = apps.flat_map(|patient| table().into_iter().flat_map(|check| check.of_app(examined, patient)));
    of_node.chain(of_apps).collect()
}

/// The one finding of a node whose configuration cannot be used: nothing else can be looked at then.
pub fn without_configuration(trouble: Trouble) -> Finding {
    let found = Found::trouble(trouble, "see docs/activator.md for what can stand in it");
    found.by("configuration", None)
}

impl Check {
    fn of_node(&self, examined: &Examined) -> Vec<Finding> {
        let Look::Node(look) = self.look else { return Vec::new() };
        look(examined).into_iter().map(|found| found.by(self.name, None)).collect()
    }

    fn of_app(&self, examined: &Examined, patient: &Patient) -> Vec<Finding> {
        let Look::App(look) = self.look else { return Vec::new() };
        look(examined, patient).into_iter().map(|found| found.by(self.name, Some(patient.name.clone()))).collect()
    }
}

impl Found {
    fn by(self, check: &'static str, app: Option<AppName>) -> Finding {
        let Self { verdict, says, hint } = self;
        Finding { check, app, verdict, says, hint }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, app, verdict, says, hint } = self;
        let place = app.as_ref().map_or((*check).to_owned(), |app| format!("{app}, {check}"));
        write!(f, "{verdict:<8} {place}: {}", human::harmless(says))?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n         hint: {}", human::harmless(hint)))
    }
}
