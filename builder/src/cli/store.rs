//! Opens a store by its location.

use pannier_builder::environment::Ambient;
use pannier_shared::store::location::Location;
use pannier_shared::store::{self, Store};
use tokio::runtime::Runtime;

use super::failure::Error;

/// The store at a location; of a remote one nothing is asked yet.
pub fn open(location: &str, env: &Ambient, runtime: &Runtime) -> Result<Box<dyn Store>, Error> {
    let location: Location = location.parse()?;
    let variable = |name: &str| env.get(name).map(|value| value.to_string_lossy().into_owned());
    Ok(runtime.block_on(store::open(&location, &variable))?)
}
