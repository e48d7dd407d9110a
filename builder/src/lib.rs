//! Pannier's builder: packs a Django site once into a signed, reproducible release and publishes it.
//!
//! [`build`] holds the table of steps; each [`stages`] room does one of them. Nothing here prints or exits.

pub mod build;
pub mod command_line;
pub mod environment;
pub mod fleet;
pub mod inside;
pub mod keys;
pub mod moving;
pub mod promote;
pub mod publish;
pub mod releases;
pub mod rollout;
pub mod settings;
pub mod shelf;
pub mod stages;
pub mod static_host;
pub mod store;
#[cfg(feature = "aws")]
pub mod store_aws;
pub mod suite;
#[cfg(test)]
mod testing;
pub mod tree;
mod workshop;
