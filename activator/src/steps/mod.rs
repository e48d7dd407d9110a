//! The steps that the node's operations are made of, one file each, in the order they run.

pub mod fetch;
pub mod unpack;
