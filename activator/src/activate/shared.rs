//! The row of the table that sees to the release's shared paths, on the way back too: a release that serves needs them.

use pannier_shared::steps::Done;

use super::{Activation, Error};
use crate::identity;
use crate::steps::share;

pub fn make_ready(run: &mut Activation) -> Result<Done, Error> {
    let shared = run.description.as_ref().map(|said| &said.running.shared).filter(|shared| !shared.is_empty());
    let Some(shared) = shared else { return Ok(Done::said("it has none")) };
    let owner = identity::owner(run.node.config.user.as_deref())?;
    let made = share::make_ready(&run.node.root, shared, owner.as_ref()).map_err(|error| run.because(error.into()))?;
    Ok(Done::said(if made == 0 { String::new() } else { format!("folders made: {made}") }))
}
