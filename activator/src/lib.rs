//! What runs on a node: fetch a release, verify it, unpack it beside the running one, switch, confirm, go back.

pub mod steps;
