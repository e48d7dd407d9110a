//! The node's side of Pannier: brings releases to a machine, switches between them, and goes back when one fails.
//!
//! [`activate`] and `fetch` are tables of steps. They work on a [`node::Node`]: an app's root, locked and healed.
//! [`layout`] says where things lie in it, [`state`] what is known of its releases, [`journal`] what was begun. Nothing
//! here prints, and there is no way to activate anything that was not verified, or to switch but by `steps::switch`.

pub mod activate;
pub mod config;
pub mod heal;
pub mod journal;
pub mod layout;
pub mod node;
pub mod record;
pub mod rollback;
pub mod state;
pub mod steps;

#[cfg(test)]
mod testing;
