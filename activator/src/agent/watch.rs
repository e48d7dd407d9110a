//! Looks at the fleet's order: at most one request, and no body while it is the one known.

use pannier_shared::id::FleetName;
use pannier_shared::keys;
use pannier_shared::published::{self, Published};
use pannier_shared::statement::{Document, Rollout};
use pannier_shared::store::{self, Etag, Store};
use pannier_shared::sys::clock;
use tokio::runtime::Runtime;

use super::offset::Offset;
use super::origin::{self, Origins};
use crate::state::Position;

/// The order as it was seen last.
pub struct Watch {
    fleet: FleetName,
    known: Option<Etag>,
}

/// What a look came to.
pub enum Watched {
    /// There is no order.
    None,
    /// It is the one known.
    Same,
    /// It is another one.
    New(Box<Rollout>),
}

/// A look that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error("the order cannot be read")]
    Store(#[from] store::Error),
    /// The keys cannot be read.
    #[error(transparent)]
    Origin(#[from] origin::Error),
    /// It is not to be believed.
    #[error("the order is not followed")]
    Refused(#[from] Box<published::Error>),
    /// It is older than one seen before.
    #[error("the order is not followed: it has {found}, but this node has seen {seen}")]
    WentBack {
        /// What the store shows.
        found: Position,
        /// What was seen before.
        seen: Position,
    },
}

impl Watch {
    /// Nothing was seen yet.
    pub fn new(fleet: &FleetName) -> Self {
        Self { fleet: fleet.clone(), known: None }
    }

    /// What was seen last could not be taken: it is to be seen again.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// Looks; what is refused is looked at again the next time, because keys may change.
    pub fn look(
        &mut self,
        store: &dyn Store,
        origins: &Origins,
        seen: Option<Position>,
        runtime: &Runtime,
        offset: &mut Offset,
    ) -> Result<Watched, Error> {
        let (key, asked) = (keys::rollout(&self.fleet), clock::now());
        let glance = match runtime.block_on(store.glance(&key, Rollout::LIMIT, self.known.as_ref())) {
            Err(store::Error::NotFound { .. }) => return Ok(Watched::None),
            glance => glance?,
        };
        if let Some(date) = glance.date {
            offset.hear(date, asked, clock::now());
        }
        let Some(object) = glance.object else { return Ok(Watched::Same) };
        let trust = origins.trust()?;
        let published = Published { store, trust: &trust, now: clock::now() };
        let order = published.order(&self.fleet, &object.bytes).map_err(Box::new)?;
        let found = position(&order);
        if let Some(seen) = seen.filter(|seen| found < *seen) {
            return Err(Error::WentBack { found, seen });
        }
        self.known = Some(object.etag);
        Ok(Watched::New(Box::new(Rollout::clone(&order))))
    }
}

/// Where an order stands among others.
pub fn position(order: &Rollout) -> Position {
    Position { epoch: order.epoch, serial: order.serial }
}
