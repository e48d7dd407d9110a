//! Where an agent's orders and releases come from. It is opened anew for each job, so that changed keys and credentials
//! count without a restart.

use std::path::Path;

use pannier_shared::signature::{Trust, TrustError};
use pannier_shared::store::location::Location;
use pannier_shared::store::wire::Patience;
use pannier_shared::store::{self, Store};
use tokio::runtime::Runtime;

/// The environment's variables, by name.
pub type Variables = dyn Fn(&str) -> Option<String> + Sync;

/// Where things come from.
pub struct Origins<'a> {
    /// The store.
    pub location: Location,
    /// The file of trusted keys.
    pub trust: &'a Path,
    /// How long the store may keep a fetch waiting.
    pub patience: Patience,
    /// Where credentials may be.
    pub variables: &'a Variables,
}

/// The two, opened.
pub struct Opened {
    /// The store.
    pub store: Box<dyn Store>,
    /// Whose signatures count.
    pub trust: Trust,
}

/// What cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[from] store::Error),
    /// The trusted keys.
    #[error("the trusted keys cannot be read")]
    Trust(#[from] TrustError),
}

impl Origins<'_> {
    /// Opens both, as a fetch wants them.
    pub fn open(&self, runtime: &Runtime) -> Result<Opened, Error> {
        Ok(Opened { store: self.store(runtime, self.patience.clone())?, trust: self.trust()? })
    }

    /// Opens the store.
    pub fn store(&self, runtime: &Runtime, patience: Patience) -> Result<Box<dyn Store>, Error> {
        Ok(runtime.block_on(store::open_with(&self.location, &self.variables, patience))?)
    }

    /// Reads the trusted keys.
    pub fn trust(&self) -> Result<Trust, Error> {
        Ok(Trust::load(self.trust)?)
    }
}
