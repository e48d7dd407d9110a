//! Opens a store by its location.

use pannier_shared::store::Store;
use pannier_shared::store::dir::DirStore;
use pannier_shared::store::location::Location;

use super::failure::Error;

/// The store at a location; nothing is asked of it yet.
pub fn open(location: &str) -> Result<Box<dyn Store>, Error> {
    match location.parse()? {
        Location::Dir(path) => Ok(Box::new(DirStore::new(&path))),
        other => Err(Error::NoBackend(other.to_string())),
    }
}
