//! `pannier rollout`: brings a release to all nodes of a fleet, and lets them switch together.
//!
//! The state is one signed order in the store, which [`judge`] moves on by what the nodes' receipts say, each time by
//! compare-and-swap. Nothing is kept here: whoever drives it may be killed at any point, and another who has the key goes on
//! with `resume`, or gives it up with `abort`. Two who drive the same rollout do not harm it: one of them is too late with
//! each step, looks again, and sees it done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, NodeName, Version};
use pannier_shared::published::{self, Order};
use pannier_shared::receipt::Receipt;
use pannier_shared::signature::SigningKey;
use pannier_shared::statement::{Deadlines, FORMAT, Phase, Policy, Rollout, RolloutType};
use pannier_shared::store;
use pannier_shared::sys::clock;

pub mod desk;
mod error;
pub mod judge;
pub mod summary;

use desk::Desk;
pub use error::Error;
use judge::{Next, has_switched, judge};
use summary::Summary;

/// How often the nodes' receipts are looked at.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a store may be away before this is said again.
const AWAY: Duration = Duration::from_secs(30);

/// What is to be rolled out.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// On which nodes; all that have the app and were heard of, where none is named.
    pub nodes: BTreeSet<NodeName>,
    /// On which not.
    pub without: BTreeSet<NodeName>,
    /// How many must come along.
    pub policy: Policy,
    /// Who goes first.
    pub strategy: Strategy,
    /// How long each phase may take.
    pub deadlines: Deadlines,
    /// Why, for those who read the order.
    pub reason: String,
}

/// Who goes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// All at once.
    AllAtOnce,
    /// These, then the others at once.
    Canary(BTreeSet<NodeName>),
    /// So many at a time.
    Batches(usize),
}

/// Who moves a rollout on, and how.
pub struct Hand<'a> {
    /// Signs.
    pub key: &'a SigningKey,
    /// Who it is, for people.
    pub who: String,
    /// How long before it a wave is told its instant: longer than the nodes' looks are apart.
    pub lead: Duration,
    /// Is told how it goes.
    pub sink: &'a dyn Sink,
}

/// Begins a rollout and drives it to its end.
pub async fn start(desk: &Desk<'_>, wanted: &Wanted, hand: &Hand<'_>) -> Result<Summary, Error> {
    let present = desk.order().await?;
    if let Some(order) = present.as_ref().filter(|order| !order.document.phase.is_over()) {
        return Err(Error::Held(Box::new(Rollout::clone(&order.document))));
    }
    let draft = draft(desk, wanted, present.as_ref()).await?;
    match desk.write(&draft, present.as_ref(), hand.key, &hand.who).await {
        Ok(order) => say(hand.sink, &order),
        Err(Error::Overtaken) => return Err(held_by(desk).await),
        Err(error) => return Err(error),
    }
    drive(desk, hand).await
}

async fn held_by(desk: &Desk<'_>) -> Error {
    match desk.order().await {
        Ok(Some(order)) => Error::Held(Box::new(Rollout::clone(&order.document))),
        _ => Error::Overtaken,
    }
}

/// Goes on with a rollout that somebody began. Where nodes still wait for something, its time begins again.
pub async fn resume(desk: &Desk<'_>, hand: &Hand<'_>) -> Result<Summary, Error> {
    let present = undecided(desk).await?;
    if present.document.phase != Phase::Switch {
        let next = Rollout { since: clock::now(), ..Rollout::clone(&present.document) };
        match desk.write(&next, Some(&present), hand.key, &hand.who).await {
            Ok(_) | Err(Error::Overtaken) => {}
            Err(error) => return Err(error),
        }
    }
    drive(desk, hand).await
}

/// Ends a rollout: before the first node has switched nothing changes, after that all go back.
pub async fn abort(desk: &Desk<'_>, reason: &str, hand: &Hand<'_>) -> Result<Summary, Error> {
    loop {
        let present = undecided(desk).await?;
        let mut next = Rollout::clone(&present.document);
        if next.phase != Phase::Back {
            next.phase = if has_switched(&next) { Phase::Back } else { Phase::Aborted };
            let colon = if reason.is_empty() { "" } else { ": " };
            next.because = format!("ended by {}{colon}{reason}", hand.who);
        }
        next.since = clock::now();
        match desk.write(&next, Some(&present), hand.key, &hand.who).await {
            Err(Error::Overtaken) => {}
            Err(error) => return Err(error),
            Ok(order) => {
                say(hand.sink, &order);
                return drive(desk, hand).await;
            }
        }
    }
}

/// How the last rollout stands; nothing is moved on.
pub async fn status(desk: &Desk<'_>) -> Result<Summary, Error> {
    let order = desk.order().await?.ok_or_else(|| Error::Never(desk.fleet.clone()))?;
    let receipts = desk.receipts(order.document.nodes()).await.map_err(published::Error::from)?;
    Ok(Summary::of(&order.document, &receipts))
}

async fn undecided(desk: &Desk<'_>) -> Result<Order, Error> {
    let order = desk.order().await?.ok_or_else(|| Error::Never(desk.fleet.clone()))?;
    if order.document.phase.is_over() {
        return Err(Error::Over(Box::new(Rollout::clone(&order.document))));
    }
    Ok(order)
}

/// The order with which it begins.
async fn draft(desk: &Desk<'_>, wanted: &Wanted, present: Option<&Order>) -> Result<Rollout, Error> {
    let now = clock::now();
    let published = published::Published { store: desk.store, trust: desk.trust, now };
    let (mut statements, mut has_migrations) = (BTreeMap::new(), false);
    for (target, statement) in published.release(&wanted.app, &wanted.version).await? {
        let statement = statement?;
        has_migrations |= !statement.release.migrations.is_empty();
        statements.insert(target, statement.digest());
    }
    let nodes = nodes(desk, wanted).await?;
    let migrator = nodes.first().filter(|_| has_migrations).cloned();
    Ok(Rollout {
        kind: RolloutType::Rollout,
        format: FORMAT,
        fleet: desk.fleet.clone(),
        epoch: 1,
        serial: 0,
        id: present.map_or(0, |order| order.document.serial) + 1,
        app: wanted.app.clone(),
        version: wanted.version.clone(),
        statements,
        waves: waves(nodes, &wanted.strategy)?,
        policy: wanted.policy,
        deadlines: wanted.deadlines,
        phase: Phase::Prepare,
        wave: 0,
        out: BTreeMap::new(),
        migrator,
        switch_at: None,
        began: now,
        since: now,
        issued: now,
        reason: wanted.reason.clone(),
        who: String::new(),
        because: String::new(),
        decided: present.map(|order| order.document.decided.clone()).unwrap_or_default(),
    })
}

async fn nodes(desk: &Desk<'_>, wanted: &Wanted) -> Result<BTreeSet<NodeName>, Error> {
    let mut nodes = wanted.nodes.clone();
    if nodes.is_empty() {
        let heard = desk.nodes().await.map_err(published::Error::from)?;
        let receipts = desk.receipts(heard.iter()).await.map_err(published::Error::from)?;
        let has_app = |(node, receipt): &(NodeName, Receipt)| {
            receipt.apps.contains_key(&wanted.app) && !wanted.without.contains(node)
        };
        let receipts: Vec<_> = receipts.into_iter().filter(has_app).collect();
        let silent = receipts.iter().filter(|(_, receipt)| receipt.is_silent(clock::now()));
        let silent: Vec<_> = silent.map(|(node, receipt)| (node.clone(), receipt.written)).collect();
        if !silent.is_empty() {
            return Err(Error::Silent { app: wanted.app.clone(), nodes: silent });
        }
        nodes.extend(receipts.into_iter().map(|(node, _)| node));
    }
    nodes.retain(|node| !wanted.without.contains(node));
    if nodes.is_empty() { Err(Error::NoNodes(desk.fleet.clone(), wanted.app.clone())) } else { Ok(nodes) }
}

fn waves(nodes: BTreeSet<NodeName>, strategy: &Strategy) -> Result<Vec<BTreeSet<NodeName>>, Error> {
    Ok(match strategy {
        Strategy::AllAtOnce => vec![nodes],
        Strategy::Canary(first) => {
            if let Some(strange) = first.difference(&nodes).next() {
                return Err(Error::StrangeCanary(strange.clone()));
            }
            let rest: BTreeSet<_> = nodes.difference(first).cloned().collect();
            [first.clone(), rest].into_iter().filter(|wave| !wave.is_empty()).collect()
        }
        Strategy::Batches(size) => {
            let nodes: Vec<_> = nodes.into_iter().collect();
            nodes.chunks((*size).max(1)).map(|wave| wave.iter().cloned().collect()).collect()
        }
    })
}

/// Moves the rollout on until it is over. A store that is away is waited for: nothing is lost meanwhile.
async fn drive(desk: &Desk<'_>, hand: &Hand<'_>) -> Result<Summary, Error> {
    let mut told = Told::default();
    loop {
        match turn(desk, hand, &mut told).await {
            Ok(Some(summary)) => return Ok(summary),
            Ok(None) => {}
            Err(Error::Published(published::Error::Store(error @ store::Error::Unavailable { .. }))) => {
                told.away(&error, hand.sink);
                tokio::time::sleep(PAUSE * 4).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One look, and one step where one is due.
async fn turn(desk: &Desk<'_>, hand: &Hand<'_>, told: &mut Told) -> Result<Option<Summary>, Error> {
    let Some(present) = desk.order().await? else { return Err(Error::Never(desk.fleet.clone())) };
    let order = &present.document;
    let receipts = desk.receipts(order.nodes()).await.map_err(published::Error::from)?;
    if order.phase.is_over() {
        return Ok(Some(Summary::of(order, &receipts)));
    }
    match judge(order, &receipts, clock::now(), hand.lead) {
        Next::Wait(nodes) => {
            told.waiting(order, &nodes, hand.sink);
            tokio::time::sleep(PAUSE).await;
        }
        Next::Order(next) => match desk.write(&next, Some(&present), hand.key, &hand.who).await {
            Ok(order) => say(hand.sink, &order),
            Err(Error::Overtaken) => {}
            Err(error) => return Err(error),
        },
    }
    Ok(None)
}

/// What was told, so that it is told once.
#[derive(Default)]
struct Told {
    waiting: Option<(u64, Vec<NodeName>)>,
    away: Option<std::time::Instant>,
}

impl Told {
    fn waiting(&mut self, order: &Rollout, nodes: &[NodeName], sink: &dyn Sink) {
        self.away = None;
        let now = (order.serial, nodes.to_vec());
        if self.waiting.as_ref() == Some(&now) || nodes.is_empty() {
            return;
        }
        let named: Vec<&str> = nodes.iter().take(5).map(AsRef::as_ref).collect();
        let more = nodes.len().checked_sub(5).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
        let text = format!("{}: waiting for {}{}", order.phase, named.join(", "), more.unwrap_or_default());
        sink.emit(Event::Note { text });
        self.waiting = Some(now);
    }

    fn away(&mut self, error: &store::Error, sink: &dyn Sink) {
        if self.away.is_none_or(|since| since.elapsed() > AWAY) {
            sink.emit(Event::Warning { text: format!("{error}; the rollout stays as it is, and goes on after that") });
            self.away = Some(clock::monotonic());
        }
    }
}

fn say(sink: &dyn Sink, order: &Rollout) {
    let nodes = |count: usize| if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
    let turn = nodes(order.turn().count());
    let what = match order.phase {
        Phase::Prepare => {
            format!("{} bring `{}` {} to their disks", nodes(order.nodes().count()), order.app, order.version)
        }
        Phase::Migrate => {
            format!("{} applies the migrations", order.migrator.as_ref().map_or("nobody", AsRef::as_ref))
        }
        Phase::Arm => format!("{turn} make ready to switch"),
        Phase::Switch => format!("{turn} switch at {}", order.switch_at.map(|at| at.to_string()).unwrap_or_default()),
        Phase::Pause => "the next nodes wait".to_owned(),
        Phase::Done => format!("`{}` {} is decided", order.app, order.version),
        Phase::Back => format!("all go back: {}", order.because),
        Phase::Aborted => format!("nothing is switched: {}", order.because),
        Phase::RolledBack => "all have gone back".to_owned(),
        Phase::Mixed => format!("a person is needed: {}", order.because),
    };
    sink.emit(Event::Note { text: format!("{}: {what}", order.phase) });
}
