//! The node's side of Pannier: brings releases to a machine, switches between them, and goes back when one fails.
//!
//! [`mod@fetch`] and [`mod@activate`] are tables of steps. They work on a [`node::Node`]: an app's root, locked and healed.
//! [`layout`] says where things lie in it, [`state`] what is known of its releases, [`journal`] what was begun. Nothing
//! here prints, and there is no way to activate anything that was not verified, or to switch but by `steps::switch`.

pub mod activate;
pub mod admit;
pub mod age;
pub mod agent;
pub mod config;
pub mod described;
pub mod doctor;
pub mod environment;
pub mod evidence;
pub mod fetch;
pub mod heal;
pub mod identity;
pub mod interpreter;
pub mod journal;
pub mod launch;
pub mod layout;
pub mod ledger;
pub mod leftover;
pub mod migrate;
pub mod node;
pub mod plan;
pub mod prune;
pub mod record;
pub mod recover;
pub mod releases;
pub mod repair;
pub mod resolve;
pub mod rollback;
pub mod run;
pub mod state;
pub mod statics;
pub mod status;
pub mod steps;
pub mod units;
pub mod verify;

#[cfg(test)]
mod testing;
