//! Where orders are read and written, and receipts read: the only state is in the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::{StreamExt, stream};
use pannier_shared::id::{FleetName, NodeName};
use pannier_shared::keys;
use pannier_shared::published::{self, Order, Published};
use pannier_shared::receipt::{self, Receipt};
use pannier_shared::signature::{SigningKey, Trust};
use pannier_shared::statement::Rollout;
use pannier_shared::store::{self, Etag, Store};
use pannier_shared::sys::clock;

use super::Error;
use super::judge::Receipts;
use crate::moving::{self, Stored};

/// How many receipts are asked for at once.
const AT_ONCE: usize = 32;

/// A fleet's desk.
pub struct Desk<'a> {
    /// The fleet.
    pub fleet: FleetName,
    /// The store.
    pub store: &'a dyn Store,
    /// Whose signatures count.
    pub trust: &'a Trust,
    /// What was read last: it is not sent again while it is the same.
    read: Mutex<BTreeMap<NodeName, (Etag, Receipt)>>,
}

impl<'a> Desk<'a> {
    /// Nothing was read yet.
    pub fn new(fleet: FleetName, store: &'a dyn Store, trust: &'a Trust) -> Self {
        Self { fleet, store, trust, read: Mutex::default() }
    }

    fn published(&self) -> Published<'_> {
        Published { store: self.store, trust: self.trust, now: clock::now() }
    }

    /// The order that lies there.
    pub async fn order(&self) -> Result<Option<Order>, published::Error> {
        self.published().order_if_there(&self.fleet).await
    }

    /// The nodes that ever said anything.
    pub async fn nodes(&self) -> store::Result<Vec<NodeName>> {
        let files = self.store.list(&keys::nodes(&self.fleet)).await?;
        Ok(files.iter().filter_map(|file| file.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// What these nodes say; nothing of one that never did, or whose receipt is none.
    pub async fn receipts(&self, nodes: impl Iterator<Item = &NodeName>) -> store::Result<Receipts> {
        let read = stream::iter(nodes.cloned().collect::<Vec<_>>())
            .map(async |node| (self.receipt(&node).await, node))
            .buffer_unordered(AT_ONCE);
        let read: Vec<_> = read.collect().await;
        let mut receipts = Receipts::new();
        for (receipt, node) in read {
            receipts.extend(receipt?.map(|receipt| (node, receipt)));
        }
        Ok(receipts)
    }

    async fn receipt(&self, node: &NodeName) -> store::Result<Option<Receipt>> {
        let known = self.known(node);
        let etag = known.as_ref().map(|(etag, _)| etag);
        let glance = self.store.glance(&keys::receipt(&self.fleet, node), receipt::LIMIT, etag).await;
        let object = match glance {
            Err(store::Error::NotFound { .. }) => return Ok(None),
            glance => glance?.object,
        };
        let Some(object) = object else { return Ok(known.map(|(_, receipt)| receipt)) };
        let Ok(receipt) = serde_json::from_slice::<Receipt>(&object.bytes) else { return Ok(None) };
        if (&receipt.fleet, &receipt.node) != (&self.fleet, node) {
            return Ok(None);
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.insert(node.clone(), (object.etag, receipt.clone()));
        Ok(Some(receipt))
    }

    fn known(&self, node: &NodeName) -> Option<(Etag, Receipt)> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned()
    }

    /// Signs the next order and puts it into the place of `present`, exactly. What the nodes would refuse is not stored.
    pub async fn write(
        &self,
        next: &Rollout,
        present: Option<&Order>,
        key: &SigningKey,
        who: &str,
    ) -> Result<Rollout, Error> {
        let after = moving::after(present.map(|order| (order.document.epoch, order.document.serial)));
        let (epoch, serial) = after.ok_or(Error::SerialUsedUp)?;
        let next = Rollout { epoch, serial, issued: clock::now(), who: who.to_owned(), ..next.clone() };
        let bytes = moving::signed(&next, "roll out", key, self.trust, clock::now())?;
        let (place, there) = (keys::rollout(&self.fleet), present.map(|order| &order.etag));
        match moving::put_over(self.store, &place, there, bytes).await.map_err(published::Error::from)? {
            Stored::Now => Ok(next),
            Stored::Overtaken(_) => Err(Error::Overtaken),
        }
    }
}
