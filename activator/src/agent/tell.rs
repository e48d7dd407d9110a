//! The receipt: written when something changed, and as a heartbeat. By compare-and-swap, so that two nodes of one name are
//! noticed.

use std::time::Instant;

use jiff::SignedDuration;
use pannier_shared::id::{FleetName, NodeName};
use pannier_shared::keys;
use pannier_shared::receipt::{self, Receipt};
use pannier_shared::store::{self, Condition, Etag, Key, Store};
use pannier_shared::sys::clock;
use tokio::runtime::Runtime;

use crate::config::Fleet;

/// Writes the receipt of one node.
pub struct Teller {
    key: Key,
    etag: Option<Etag>,
    /// What lies in the store, by us.
    written: Option<Receipt>,
    heartbeat: std::time::Duration,
    next: Instant,
}

/// What came of telling.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    /// It lies there, or there was nothing to say.
    All,
    /// Another process writes the same receipt.
    Another(String),
}

impl Teller {
    /// Nothing was said yet.
    pub fn new(fleet: &FleetName, node: &NodeName, config: &Fleet) -> Self {
        let (key, next) = (keys::receipt(fleet, node), clock::monotonic());
        Self { key, etag: None, written: None, heartbeat: config.heartbeat, next }
    }

    /// True when it is time to say that this node is there.
    pub fn is_due(&self) -> bool {
        clock::monotonic() >= self.next
    }

    /// Writes the receipt if it says something new, or it is time.
    pub fn tell(&mut self, receipt: Receipt, store: &dyn Store, runtime: &Runtime) -> store::Result<Told> {
        if !self.is_due() && self.written.as_ref().is_some_and(|written| says_the_same(written, &receipt)) {
            return Ok(Told::All);
        }
        let bytes = serde_json::to_vec_pretty(&receipt).unwrap_or_default();
        let condition = self.etag.clone().map_or(Condition::Absent, Condition::Unchanged);
        match runtime.block_on(store.put(&self.key, bytes.into(), condition)) {
            Ok(etag) => {
                (self.etag, self.written) = (Some(etag), Some(receipt));
                self.next = clock::monotonic() + clock::jittered(self.heartbeat);
                Ok(Told::All)
            }
            Err(store::Error::AlreadyExists { .. } | store::Error::Changed { .. } | store::Error::NotFound { .. }) => {
                self.look(&receipt, store, runtime)
            }
            Err(error) => Err(error),
        }
    }

    /// Learns what lies there instead: at the start what this node said before, later another's.
    fn look(&mut self, ours: &Receipt, store: &dyn Store, runtime: &Runtime) -> store::Result<Told> {
        let found = match runtime.block_on(store.get(&self.key, receipt::LIMIT)) {
            Err(store::Error::NotFound { .. }) => {
                self.etag = None;
                return Ok(Told::All);
            }
            found => found?,
        };
        let is_start = self.etag.is_none();
        self.etag = Some(found.etag);
        match serde_json::from_slice::<Receipt>(&found.bytes) {
            Ok(theirs) if !is_start && theirs.instance != ours.instance => Ok(Told::Another(theirs.instance)),
            _ => Ok(Told::All),
        }
    }
}

/// True when there is no news: the time of writing is none, and of the clock only what differs by a quarter of a second.
fn says_the_same(one: &Receipt, other: &Receipt) -> bool {
    let clock = |receipt: &Receipt| receipt.clock.map(|clock| clock.ahead_ms);
    let moved = match (clock(one), clock(other)) {
        (Some(one), Some(other)) => SignedDuration::from_millis(one - other).abs() > SignedDuration::from_millis(250),
        (one, other) => one.is_some() != other.is_some(),
    };
    !moved && *other == Receipt { written: other.written, clock: other.clock, ..one.clone() }
}
