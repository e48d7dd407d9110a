//! What came of a rollout: one line a node, how far apart they switched, and what to type next.

use std::fmt;

use jiff::Timestamp;
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, FleetName, NodeName, Version};
use pannier_shared::receipt::{Clock, Progress, Stage};
use pannier_shared::report::human;
use pannier_shared::statement::{Phase, Rollout};
use serde::Serialize;

use super::judge::Receipts;

/// What came of a rollout, or how it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The fleet.
    pub fleet: FleetName,
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// Where it is, or how it ended.
    pub phase: Phase,
    /// Who moved it last.
    pub who: String,
    /// Why it was begun.
    pub reason: String,
    /// When it was begun.
    pub began: Timestamp,
    /// Why it went back or was given up.
    pub because: String,
    /// From the first node of a wave that switched to its last, in milliseconds; the widest of all waves.
    pub skew_ms: Option<f64>,
    /// The clock that is furthest from the store's, and by how much.
    pub worst_clock: Option<(NodeName, Clock)>,
    /// Its nodes.
    pub nodes: Vec<Row>,
    /// What to type next.
    pub next: Vec<String>,
}

/// How one node stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The node.
    pub node: NodeName,
    /// How far it has come; none where it said nothing of this rollout.
    pub stage: Option<Stage>,
    /// What serves.
    pub live: Option<Version>,
    /// When it switched.
    pub switched: Option<Timestamp>,
    /// Bytes that it fetched for it.
    pub bytes: u64,
    /// Migrations that it applied.
    pub migrated: u32,
    /// Why it failed, or is left out.
    pub error: Option<String>,
    /// What to type there.
    pub hint: Option<String>,
}

impl Summary {
    /// Of an order and what its nodes say.
    pub fn of(order: &Rollout, receipts: &Receipts) -> Self {
        let nodes: Vec<Row> = order.nodes().map(|node| row(order, node, receipts)).collect();
        let clocks = receipts.iter().filter_map(|(node, receipt)| Some((node.clone(), receipt.clock?)));
        Self {
            fleet: order.fleet.clone(),
            app: order.app.clone(),
            version: order.version.clone(),
            phase: order.phase,
            who: order.who.clone(),
            reason: order.reason.clone(),
            began: order.began,
            because: order.because.clone(),
            skew_ms: skew(order, &nodes),
            worst_clock: clocks.max_by_key(|(_, clock)| clock.ahead_ms.abs()),
            next: next(order),
            nodes,
        }
    }

    /// What the program ends with.
    pub fn exit(&self) -> Exit {
        match self.phase {
            Phase::Aborted => Exit::Refused,
            Phase::RolledBack => Exit::RolledBack,
            Phase::Mixed => Exit::Mixed,
            _ => Exit::Done,
        }
    }
}

fn row(order: &Rollout, node: &NodeName, receipts: &Receipts) -> Row {
    let receipt = receipts.get(node);
    let progress = receipt.and_then(|receipt| receipt.progress.as_ref());
    let progress: Option<&Progress> = progress.filter(|progress| progress.id == order.id);
    let serving = receipt.and_then(|receipt| receipt.apps.get(&order.app));
    let said = progress.and_then(|progress| progress.error.clone());
    Row {
        node: node.clone(),
        stage: progress.map(|progress| progress.stage),
        live: serving.and_then(|serving| serving.live.clone()),
        switched: progress.and_then(|progress| progress.switched),
        bytes: progress.map_or(0, |progress| progress.bytes),
        migrated: progress.map_or(0, |progress| progress.migrated),
        error: said.or_else(|| order.out.get(node).cloned()),
        hint: progress.and_then(|progress| progress.hint.clone()),
    }
}

fn skew(order: &Rollout, nodes: &[Row]) -> Option<f64> {
    let of_wave = |wave: &std::collections::BTreeSet<NodeName>| {
        let rows = nodes.iter().filter(|row| wave.contains(&row.node));
        let instants: Vec<i64> = rows.filter_map(|row| Some(row.switched?.as_microsecond())).collect();
        Some((instants.iter().max()? - instants.iter().min()?) as f64 / 1000.0)
    };
    order.waves.iter().filter_map(of_wave).reduce(f64::max)
}

fn next(order: &Rollout) -> Vec<String> {
    let fleet = &order.fleet;
    let again = format!("pannier rollout start {fleet} {} {}", order.app, order.version);
    match order.phase {
        Phase::Done if order.out.is_empty() => Vec::new(),
        Phase::Done => vec![format!("pannier fleet status {fleet}")],
        Phase::Aborted | Phase::RolledBack => vec![again],
        Phase::Mixed => vec![format!("pannier fleet status {fleet}"), again],
        _ => vec![format!("pannier rollout resume {fleet}"), format!("pannier rollout abort {fleet}")],
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fleet, app, version, phase, .. } = self;
        let said = match phase {
            Phase::Done => "is decided".to_owned(),
            Phase::Aborted => "was given up, and nothing was switched".to_owned(),
            Phase::RolledBack => "was taken back on every node".to_owned(),
            Phase::Mixed => "was taken back, but not everywhere: a person is needed".to_owned(),
            phase => format!("is at `{phase}`, moved last by {}", human::harmless(&self.who)),
        };
        writeln!(f, "{app} {version} {said} in {fleet}")?;
        if !self.because.is_empty() {
            writeln!(f, "because    {}", human::harmless(&self.because))?;
        }
        if let Some(skew) = self.skew_ms {
            writeln!(f, "skew       {skew:.1} ms from the first to the last")?;
        }
        if let Some((node, clock)) = &self.worst_clock {
            writeln!(
                f,
                "clocks     {node} is furthest: {} ms ahead of the store's (to {} ms)",
                clock.ahead_ms, clock.within_ms
            )?;
        }
        self.nodes.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        self.next.iter().try_for_each(|next| writeln!(f, "next       `{next}`"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage.map_or("silent".to_owned(), |stage| stage.to_string());
        let live = self.live.as_ref().map_or("nothing", Version::as_str);
        write!(f, "  {:<20} {stage:<10} serves {live}", self.node.as_str())?;
        if let Some(error) = &self.error {
            write!(f, "  {}", human::harmless(error))?;
        }
        match &self.hint {
            Some(hint) => write!(f, " (there: {})", human::harmless(hint)),
            None => Ok(()),
        }
    }
}
