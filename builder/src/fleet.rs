//! `pannier fleet status`: what every node of a fleet serves, whether that is what was decided, and what to do where not.
//!
//! It only reads receipts and the order, so it says what the nodes said last, and how long ago.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, FleetName, NodeName, Version};
use pannier_shared::published;
use pannier_shared::receipt::{Clock, Progress, Receipt, Serving, Stage};
use pannier_shared::report::human;
use pannier_shared::statement::{Decided, Phase, Rollout};
use pannier_shared::sys::clock;
use serde::Serialize;

use crate::rollout::desk::Desk;

/// A fleet as its nodes say it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The fleet.
    pub fleet: FleetName,
    /// When it was looked at.
    pub at: Timestamp,
    /// The last rollout; none where there was none.
    pub rollout: Option<Last>,
    /// One row for each node and app.
    pub rows: Vec<Row>,
    /// All of it in one word.
    pub verdict: Verdict,
}

/// The last rollout.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Last {
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// Where it is, or how it ended.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Who moved it last.
    pub who: String,
    /// Why it went back or was given up.
    pub because: String,
}

/// One app on one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// The app; none where the node has none, or has never said anything.
    pub app: Option<AppName>,
    /// What its record says serves.
    pub live: Option<Version>,
    /// How it stands, in a word.
    pub health: String,
    /// How far it has come with the last rollout.
    pub stage: Option<Stage>,
    /// The newest release on its disk.
    pub prepared: Option<Version>,
    /// How much later than the first of its wave it switched in the last rollout, in milliseconds.
    pub skew_ms: Option<f64>,
    /// How far its clock is from the store's.
    pub clock: Option<Clock>,
    /// How old its receipt is, in seconds.
    pub age: Option<i64>,
    /// Where link, record and decision differ.
    pub drift: Option<String>,
    /// What is wrong; none where nothing is.
    pub wrong: Option<String>,
    /// What to type about it.
    pub hint: Option<String>,
}

/// A fleet in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every node serves what was decided, and is healthy.
    InOrder,
    /// A rollout is under way.
    UnderWay,
    /// Something is wrong.
    Wrong,
}

impl Status {
    /// What the program ends with.
    pub fn exit(&self) -> Exit {
        if self.verdict == Verdict::Wrong { Exit::Refused } else { Exit::Done }
    }
}

/// Reads all that the fleet's nodes say.
pub async fn status(desk: &Desk<'_>) -> Result<Status, published::Error> {
    let order = desk.order().await?;
    let order = order.as_ref().map(|order| &*order.document);
    let mut nodes: BTreeSet<NodeName> = desk.nodes().await?.into_iter().collect();
    nodes.extend(order.into_iter().flat_map(Rollout::nodes).cloned());
    let receipts = desk.receipts(nodes.iter()).await?;
    let at = clock::now();
    let seen = Seen { order, at };
    let rows: Vec<Row> = nodes.iter().flat_map(|node| seen.rows(node, receipts.get(node))).collect();
    Ok(Status {
        fleet: desk.fleet.clone(),
        at,
        rollout: order.map(last),
        verdict: verdict(order, &rows),
        rows: with_skew(rows, order, &receipts),
    })
}

fn last(order: &Rollout) -> Last {
    Last {
        app: order.app.clone(),
        version: order.version.clone(),
        phase: order.phase,
        since: order.since,
        who: order.who.clone(),
        because: order.because.clone(),
    }
}

fn verdict(order: Option<&Rollout>, rows: &[Row]) -> Verdict {
    match order {
        _ if rows.iter().any(|row| row.wrong.is_some() || row.drift.is_some()) => Verdict::Wrong,
        Some(order) if !order.phase.is_over() => Verdict::UnderWay,
        Some(Rollout { phase: Phase::Mixed, .. }) => Verdict::Wrong,
        _ => Verdict::InOrder,
    }
}

/// Of each wave the first to switch has none.
fn with_skew(mut rows: Vec<Row>, order: Option<&Rollout>, receipts: &crate::rollout::judge::Receipts) -> Vec<Row> {
    let Some(order) = order else { return rows };
    let switched = |node: &NodeName| {
        let progress = receipts.get(node)?.progress.as_ref().filter(|progress| progress.id == order.id)?;
        Some(progress.switched?.as_microsecond())
    };
    for wave in &order.waves {
        let Some(first) = wave.iter().filter_map(switched).min() else { continue };
        let ours = rows.iter_mut().filter(|row| wave.contains(&row.node) && row.app.as_ref() == Some(&order.app));
        ours.for_each(|row| row.skew_ms = switched(&row.node).map(|at| (at - first) as f64 / 1000.0));
    }
    rows
}

/// What a node's receipt is held against.
struct Seen<'a> {
    order: Option<&'a Rollout>,
    at: Timestamp,
}

impl Seen<'_> {
    fn rows(&self, node: &NodeName, receipt: Option<&Receipt>) -> Vec<Row> {
        let Some(receipt) = receipt else {
            let wrong = Some("it has never said anything".to_owned());
            let hint = Some("`systemctl status pannier-agent` on it".to_owned());
            return vec![Row { wrong, hint, ..empty(node) }];
        };
        if receipt.apps.is_empty() {
            return vec![Row { wrong: self.of_node(receipt), ..self.row(node, receipt) }];
        }
        receipt.apps.iter().map(|(app, serving)| self.of_app(node, receipt, app, serving)).collect()
    }

    fn row(&self, node: &NodeName, receipt: &Receipt) -> Row {
        let age = self.at.duration_since(receipt.written).as_secs().max(0);
        Row { clock: receipt.clock, age: Some(age), ..empty(node) }
    }

    fn of_app(&self, node: &NodeName, receipt: &Receipt, app: &AppName, serving: &Serving) -> Row {
        let progress = self.progress(receipt, app);
        let decided = self.order.and_then(|order| order.decided.get(app));
        let mut row = Row {
            app: Some(app.clone()),
            live: serving.live.clone(),
            health: serving.unhealthy.clone().map_or_else(|| serving.verdict.clone(), |_| "unhealthy".to_owned()),
            stage: progress.map(|progress| progress.stage),
            prepared: serving.prepared.first().cloned(),
            drift: drift(receipt, serving),
            ..self.row(node, receipt)
        };
        (row.wrong, row.hint) = match self.of_node(receipt) {
            Some(wrong) => (Some(wrong), Some("`systemctl status pannier-agent` on it".to_owned())),
            None => self.wrong(receipt, app, serving, decided),
        };
        row
    }

    fn progress<'b>(&self, receipt: &'b Receipt, app: &AppName) -> Option<&'b Progress> {
        let order = self.order.filter(|order| order.app == *app)?;
        receipt.progress.as_ref().filter(|progress| progress.id == order.id)
    }

    fn of_node(&self, receipt: &Receipt) -> Option<String> {
        if receipt.is_silent(self.at) {
            return Some(format!("it is silent since {:.0}", receipt.written));
        }
        receipt.trouble.clone()
    }

    /// What is wrong with an app, and what to type about it: what is worst comes first.
    fn wrong(
        &self,
        receipt: &Receipt,
        app: &AppName,
        serving: &Serving,
        decided: Option<&Decided>,
    ) -> (Option<String>, Option<String>) {
        let failed = self.progress(receipt, app).filter(|progress| progress.stage == Stage::Failed);
        let is_there = decided.is_none_or(|decided| serving.live.as_ref() == Some(&decided.version));
        if let Some(progress) = failed.filter(|progress| progress.stuck || !is_there) {
            return (progress.error.clone(), progress.hint.clone());
        }
        if let Some(unhealthy) = &serving.unhealthy {
            return (Some(unhealthy.clone()), Some(format!("`pannier-activator status {app}`")));
        }
        if !matches!(serving.verdict.as_str(), "healthy" | "nothing-serves" | "unended") {
            return (Some(serving.verdict.clone()), Some(format!("`pannier-activator status {app}`")));
        }
        let Some(decided) = decided.filter(|_| !is_there) else { return (None, None) };
        let again = Some(format!("`pannier-activator activate {app} {}`", decided.version));
        match (&serving.error, serving.followed == Some(decided.id)) {
            (Some(error), _) => (Some(format!("stale, {} was decided: {error}", decided.version)), again),
            (None, false) => (Some(format!("stale, {} was decided", decided.version)), None),
            (None, true) => (Some(format!("moved by hand, {} was decided", decided.version)), again),
        }
    }
}

fn empty(node: &NodeName) -> Row {
    Row {
        node: node.clone(),
        app: None,
        live: None,
        health: "unknown".to_owned(),
        stage: None,
        prepared: None,
        skew_ms: None,
        clock: None,
        age: None,
        drift: None,
        wrong: None,
        hint: None,
    }
}

/// While a node works, its record is ahead of its link for a moment.
fn drift(receipt: &Receipt, serving: &Serving) -> Option<String> {
    let name = |version: &Option<Version>| version.as_ref().map_or("nothing".to_owned(), Version::to_string);
    let is_at_work = serving.verdict == "unended"
        || receipt.progress.as_ref().is_some_and(|it| matches!(it.stage, Stage::Armed | Stage::Switched));
    let differs = serving.live != serving.current && !is_at_work;
    differs.then(|| format!("`current` leads to {}, the record says {}", name(&serving.current), name(&serving.live)))
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rollout {
            None => writeln!(f, "{}: no rollout yet", self.fleet)?,
            Some(last) => writeln!(
                f,
                "{}: {} {} is at `{}` since {:.0} ({})",
                self.fleet,
                last.app,
                last.version,
                last.phase,
                last.since,
                human::harmless(&last.who)
            )?,
        }
        writeln!(
            f,
            "{:<20} {:<12} {:<12} {:<12} {:<10} {:<12} {:>8} {:>9} {:>7}",
            "node", "app", "live", "health", "rollout", "newest", "skew", "clock", "heard"
        )?;
        self.rows.iter().try_for_each(|row| write!(f, "{row}"))?;
        let wrong: BTreeSet<&NodeName> =
            self.rows.iter().filter(|row| row.wrong.is_some() || row.drift.is_some()).map(|row| &row.node).collect();
        match (self.verdict, wrong.len()) {
            (Verdict::InOrder, _) => writeln!(f, "all is in order"),
            (Verdict::UnderWay, _) => writeln!(f, "a rollout is under way"),
            (Verdict::Wrong, 0) => {
                writeln!(f, "the last rollout needs a person: `pannier rollout status {}`", self.fleet)
            }
            (Verdict::Wrong, 1) => writeln!(f, "1 node needs a look"),
            (Verdict::Wrong, count) => writeln!(f, "{count} nodes need a look"),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |name: Option<&dyn fmt::Display>| name.map_or("-".to_owned(), ToString::to_string);
        let skew = self.skew_ms.map_or("-".to_owned(), |skew| format!("{skew:.1} ms"));
        let clock = self.clock.map_or("-".to_owned(), |clock| format!("{:+} ms", clock.ahead_ms));
        let age = self.age.map_or("-".to_owned(), |age| human::duration(Duration::from_secs(age.unsigned_abs())));
        writeln!(
            f,
            "{:<20} {:<12} {:<12} {:<12} {:<10} {:<12} {skew:>8} {clock:>9} {age:>7}",
            self.node.as_str(),
            text(self.app.as_ref().map(|app| app as &dyn fmt::Display)),
            text(self.live.as_ref().map(|live| live as &dyn fmt::Display)),
            human::harmless(&self.health),
            text(self.stage.as_ref().map(|stage| stage as &dyn fmt::Display)),
            text(self.prepared.as_ref().map(|prepared| prepared as &dyn fmt::Display)),
        )?;
        for line in self.drift.iter().chain(&self.wrong) {
            writeln!(f, "    ! {}", human::harmless(line))?;
        }
        self.hint.iter().try_for_each(|hint| writeln!(f, "      {}", human::harmless(hint)))
    }
}
