//! Ahead: the first of what must come from the store is fetched while folders are made and the node's own files are
//! looked at. Those wait for the disk, this for the line. It takes from the transfer's budget and not more.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pannier_shared::store::Store;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{self, MEMORY};
use super::fetch::Error;
use super::remote::{Remote, Taken};
use crate::plan::Plan;
use crate::plan::ranges::Run;

/// A range that came, with its share of the budget.
#[derive(Debug)]
pub struct Arrived {
    /// What was asked for.
    pub run: Run,
    /// Its bytes.
    pub bytes: Bytes,
    /// Given back when the last of its frames was written.
    pub share: Arc<OwnedSemaphorePermit>,
}

/// What came ahead of the transfer.
#[derive(Debug)]
pub struct Ahead {
    /// The ranges.
    pub arrived: Vec<Arrived>,
    /// Why no more came. It is the transfer's error, after what did come was written: the next fetch goes on from that.
    pub failed: Option<Error>,
    /// The budget they and all others take from.
    pub budget: Arc<Semaphore>,
    /// What was taken from the store so far.
    pub taken: Taken,
}

impl Ahead {
    /// Nothing came yet.
    pub fn nothing(plan: &Plan) -> Self {
        Self { arrived: Vec::new(), failed: None, budget: budget::memory(), taken: plan.taken() }
    }

    /// The frames that came, by number.
    pub fn frames(&self) -> HashSet<usize> {
        self.arrived.iter().flat_map(|arrived| arrived.run.parts.iter().copied()).collect()
    }
}

/// Fetches ranges of what `plan` wants as long as there is room for them and nobody says `enough`.
pub fn fetch_ahead(plan: &Plan, store: &dyn Store, runtime: &Runtime, enough: &AtomicBool) -> Ahead {
    let mut ahead = Ahead::nothing(plan);
    let (remote, budget) = (Remote::new(store, plan.release(), ahead.taken), ahead.budget.clone());
    let take = |run: Run| {
        let (share, remote) = (budget.clone().try_acquire_many_owned(run.length() as u32), &remote);
        async move {
            // There is room for all of them, see `first`, unless another app's fetch has it.
            let Some(share) = share.ok().filter(|_| !enough.load(Ordering::Relaxed)) else { return Ok(None) };
            let bytes = remote.read(run.range.clone()).await?;
            Ok::<_, Error>(Some(Arrived { run, bytes, share: Arc::new(share) }))
        }
    };
    let mut runs = stream::iter(first(plan)).map(take).buffer_unordered(plan.cost().connections);
    runtime.block_on(async {
        while let Some(came) = runs.next().await {
            match came {
                Ok(arrived) => ahead.arrived.extend(arrived),
                Err(error) => {
                    ahead.failed = Some(error);
                    return;
                }
            }
        }
    });
    drop(runs);
    ahead.taken = remote.taken();
    ahead
}

/// The first of what is wanted, as much as the budget has room for.
fn first(plan: &Plan) -> impl Iterator<Item = Run> {
    let mut room = MEMORY;
    plan.runs(&plan.wanted()).into_iter().take_while(move |run| match room.checked_sub(run.length()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    })
}
