//! How a rollout goes on: a pure function of the order and of what the nodes say of themselves.
//!
//! A barrier is left when every node of its group is ready, or the policy can do without those that are not: those that
//! failed at once, those that are late when the phase's time is over. Before the first node switches, a barrier that
//! cannot be met gives the rollout up and changes nothing; after that it takes every node back. Whether a node has gone
//! back is seen from where its link leads.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pannier_shared::id::NodeName;
use pannier_shared::receipt::{self, Clock, Progress, Receipt, Stage};
use pannier_shared::report::human;
use pannier_shared::statement::{Decided, Phase, Rollout};

/// A node whose clock is certainly off by more than this would not switch with the others.
const CLOCK_OFF_MS: i64 = 1000;

/// What the nodes say of themselves, by name.
pub type Receipts = BTreeMap<NodeName, Receipt>;

/// How it goes on.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// It waits for these.
    Wait(Vec<NodeName>),
    /// This is the order now; its serial and who signs it are for the writer.
    Order(Box<Rollout>),
}

/// How a node stands before a barrier.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    Ready,
    Coming,
    Failed(String),
}

/// Says how it goes on now; `lead` is the time between the decision to switch and the instant.
pub fn judge(order: &Rollout, receipts: &Receipts, now: Timestamp, lead: Duration) -> Next {
    let judged = Judged { order, receipts, now, lead };
    match order.phase {
        Phase::Prepare => judged.barrier(order.nodes(), Judged::prepared, Judged::after_prepare),
        Phase::Migrate => judged.migrated(),
        Phase::Arm => judged.barrier(order.turn(), Judged::armed, Judged::switch),
        Phase::Switch => judged.barrier(order.turn(), Judged::healthy, Judged::after_wave),
        Phase::Pause => judged.paused(),
        Phase::Back => judged.back(),
        Phase::Done | Phase::Aborted | Phase::RolledBack | Phase::Mixed => Next::Wait(Vec::new()),
    }
}

struct Judged<'a> {
    order: &'a Rollout,
    receipts: &'a Receipts,
    now: Timestamp,
    lead: Duration,
}

impl<'a> Judged<'a> {
    fn barrier(
        &self,
        group: impl Iterator<Item = &'a NodeName>,
        stand: fn(&Self, &NodeName) -> Stand,
        then: fn(&Self, Rollout) -> Rollout,
    ) -> Next {
        let mut next = self.order.clone();
        let mut coming = Vec::new();
        for node in group.filter(|node| !self.order.out.contains_key(*node)) {
            match stand(self, node) {
                Stand::Ready => {}
                Stand::Failed(why) => drop(next.out.insert(node.clone(), short(&why))),
                Stand::Coming if self.is_over() => drop(next.out.insert(node.clone(), self.late(node))),
                Stand::Coming => coming.push(node.clone()),
            }
        }
        if next.out.len() > self.order.policy.spares(self.order.nodes().count()) {
            return Next::Order(Box::new(self.stop(&next)));
        }
        if !coming.is_empty() {
            return Next::Wait(coming);
        }
        Next::Order(Box::new(then(self, next)))
    }

    fn is_over(&self) -> bool {
        let limit = SignedDuration::from_secs(self.order.limit().unwrap_or_default().into());
        self.now.duration_since(self.order.since) > limit
    }

    fn late(&self, node: &NodeName) -> String {
        let limit = human::duration(Duration::from_secs(self.order.limit().unwrap_or_default().into()));
        let found = match self.receipts.get(node) {
            None => "it has never said anything".to_owned(),
            Some(Receipt { trouble: Some(trouble), .. }) => trouble.clone(),
            Some(receipt) => match self.progress(node) {
                Some(progress) => format!("it is {}", progress.stage),
                None => format!("it was last heard of at {:.0}", receipt.written),
            },
        };
        format!("it was not ready within the {limit} of `{}`: {found}", self.order.phase)
    }

    /// Given up where nothing has been switched yet, else taken back.
    fn stop(&self, with: &Rollout) -> Rollout {
        let new = with.out.iter().filter(|(node, _)| !self.order.out.contains_key(*node));
        let because: Vec<String> = new.take(3).map(|(node, why)| format!("{node}: {why}")).collect();
        let mut next = self.order.clone();
        next.because = because.join("; ");
        next.phase = if has_switched(self.order) { Phase::Back } else { Phase::Aborted };
        self.since_now(next)
    }

    fn since_now(&self, mut next: Rollout) -> Rollout {
        next.since = self.now;
        next
    }

    fn progress(&self, node: &NodeName) -> Option<&'a Progress> {
        self.receipts.get(node)?.progress.as_ref().filter(|progress| progress.id == self.order.id)
    }

    fn stage(&self, node: &NodeName, ready: fn(Stage) -> bool) -> Stand {
        match self.progress(node) {
            Some(Progress { stage: Stage::Failed, error, .. }) => {
                Stand::Failed(error.clone().unwrap_or_else(|| "it failed".to_owned()))
            }
            Some(progress) if ready(progress.stage) => Stand::Ready,
            _ => Stand::Coming,
        }
    }

    /// It must have prepared the very release that the order names.
    fn prepared(&self, node: &NodeName) -> Stand {
        let stand = self.stage(node, |stage| stage > Stage::Preparing);
        let (Stand::Ready, Some(receipt), Some(progress)) = (&stand, self.receipts.get(node), self.progress(node))
        else {
            return stand;
        };
        match progress.statement {
            None => stand,
            found if found == self.order.statements.get(&receipt.target).copied() => stand,
            Some(found) => Stand::Failed(format!("it prepared another release: its statement is sha256:{found}")),
        }
    }

    fn after_prepare(&self, mut next: Rollout) -> Rollout {
        let first = next.nodes().find(|node| !next.out.contains_key(*node)).cloned();
        next.migrator = next.migrator.and(first);
        next.phase = if next.migrator.is_some() { Phase::Migrate } else { Phase::Arm };
        self.since_now(next)
    }

    /// There is no doing without the one who migrates.
    fn migrated(&self) -> Next {
        let Some(node) = &self.order.migrator else { return self.after_migrate() };
        let stop = |why: String| {
            let mut with = self.order.clone();
            with.out.insert(node.clone(), why);
            Next::Order(Box::new(self.stop(&with)))
        };
        match self.stage(node, |stage| stage > Stage::Prepared) {
            Stand::Ready => self.after_migrate(),
            Stand::Failed(why) => stop(why),
            Stand::Coming if self.is_over() => stop(self.late(node)),
            Stand::Coming => Next::Wait(vec![node.clone()]),
        }
    }

    fn after_migrate(&self) -> Next {
        let next = Rollout { phase: Phase::Arm, ..self.order.clone() };
        Next::Order(Box::new(self.since_now(next)))
    }

    fn armed(&self, node: &NodeName) -> Stand {
        let clock = self.receipts.get(node).and_then(|receipt| receipt.clock);
        match clock {
            Some(Clock { ahead_ms, within_ms }) if ahead_ms.abs() - within_ms > CLOCK_OFF_MS => {
                let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
                Stand::Failed(format!("its clock is {} ms {side} the store's", ahead_ms.abs()))
            }
            _ => self.stage(node, |stage| matches!(stage, Stage::Armed | Stage::Switched | Stage::Healthy)),
        }
    }

    /// The instant must be one to come for every node, also when the clock here is behind theirs, and must come soon, also
    /// when it is ahead: nodes that live have written within a heartbeat.
    fn switch(&self, mut next: Rollout) -> Rollout {
        let receipts = || next.turn().filter_map(|node| self.receipts.get(node));
        let written = receipts().map(|receipt| receipt.written).max().unwrap_or(self.now);
        let heartbeat = receipts().map(|receipt| receipt.every).max().unwrap_or_default();
        let latest = written + SignedDuration::from_secs(i64::from(heartbeat) * 3 / 2 + 10);
        let instant = whole_milliseconds(self.now.clamp(written, latest) + self.lead);
        (next.phase, next.switch_at, next.since) = (Phase::Switch, Some(instant), instant);
        next
    }

    fn healthy(&self, node: &NodeName) -> Stand {
        match self.progress(node) {
            Some(Progress { stage: Stage::Back, .. }) => Stand::Failed("it went back".to_owned()),
            _ => self.stage(node, |stage| stage == Stage::Healthy),
        }
    }

    fn after_wave(&self, mut next: Rollout) -> Rollout {
        next.switch_at = None;
        let is_there = |wave: &usize| next.waves[*wave].iter().any(|node| !next.out.contains_key(node));
        match (next.wave + 1..next.waves.len()).find(is_there) {
            None => {
                next.phase = Phase::Done;
                let decided =
                    Decided { version: next.version.clone(), statements: next.statements.clone(), id: next.id };
                next.decided.insert(next.app.clone(), decided);
            }
            Some(_) if next.deadlines.pause > 0 => next.phase = Phase::Pause,
            Some(wave) => (next.phase, next.wave) = (Phase::Arm, wave),
        }
        self.since_now(next)
    }

    fn paused(&self) -> Next {
        if !self.is_over() {
            return Next::Wait(Vec::new());
        }
        let mut next = self.order.clone();
        let is_there = |wave: &usize| next.waves[*wave].iter().any(|node| !next.out.contains_key(node));
        let wave = (next.wave + 1..next.waves.len()).find(is_there).unwrap_or(next.wave);
        (next.phase, next.wave) = (Phase::Arm, wave);
        Next::Order(Box::new(self.since_now(next)))
    }

    fn back(&self) -> Next {
        let (mut coming, mut stuck) = (Vec::new(), Vec::new());
        for node in self.order.waves.iter().take(self.order.wave + 1).flatten() {
            match self.gone_back(node) {
                Stand::Ready => {}
                Stand::Failed(why) => stuck.push(format!("{node}: {why}")),
                // It was left out before its turn, and does nothing by itself.
                Stand::Coming if self.order.out.contains_key(node) && !self.was_tried(node) => {}
                Stand::Coming if self.is_over() => {
                    stuck.push(format!("{node}: it does not answer, so nobody knows what it serves"));
                }
                Stand::Coming => coming.push(node.clone()),
            }
        }
        if !coming.is_empty() {
            return Next::Wait(coming);
        }
        let mut next = self.order.clone();
        next.phase = if stuck.is_empty() { Phase::RolledBack } else { Phase::Mixed };
        let because = std::iter::once(next.because).chain(stuck);
        next.because = because.filter(|why| !why.is_empty()).collect::<Vec<_>>().join("; ");
        next.switch_at = None;
        Next::Order(Box::new(self.since_now(next)))
    }

    fn was_tried(&self, node: &NodeName) -> bool {
        self.progress(node).is_some_and(|progress| progress.tried)
    }

    /// By where its link leads, once it has seen the order to go back.
    fn gone_back(&self, node: &NodeName) -> Stand {
        let receipt = self.receipts.get(node);
        let has_seen = |receipt: &&Receipt| receipt.order >= Some((self.order.epoch, self.order.serial));
        let Some(receipt) = receipt.filter(has_seen) else { return Stand::Coming };
        let Some(progress) = self.progress(node).filter(|progress| progress.tried) else { return Stand::Ready };
        let link = receipt.apps.get(&self.order.app).and_then(|app| app.current.as_ref());
        match progress.stage {
            _ if progress.stuck => Stand::Failed(progress.error.clone().unwrap_or_default()),
            Stage::Armed | Stage::Switched => Stand::Coming,
            _ if link == progress.before.as_ref() => Stand::Ready,
            Stage::Back if progress.before.is_none() => {
                Stand::Failed("nothing served before, so it stays with the new release".to_owned())
            }
            Stage::Failed | Stage::Back => {
                Stand::Failed(format!("`current` leads to {}", link.map_or("nothing", AsRef::as_ref)))
            }
            _ => Stand::Coming,
        }
    }
}

/// They read better, and no node keeps to a finer time.
fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// A node's words, as much of them as an order has room for.
fn short(why: &str) -> String {
    why.chars().take(receipt::ERROR).collect()
}

/// True once a node may have switched.
pub fn has_switched(order: &Rollout) -> bool {
    order.wave > 0 || matches!(order.phase, Phase::Switch | Phase::Pause | Phase::Back)
}

#[cfg(test)]
mod tests;
