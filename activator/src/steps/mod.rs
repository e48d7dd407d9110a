//! The steps that the tables in `fetch` and `activate` are made of, one file each.

pub mod ahead;
pub mod budget;
pub mod confirm;
pub mod fetch;
pub mod hook;
pub mod remote;
pub mod restart;
pub mod reuse;
pub mod room;
pub mod share;
pub mod start;
pub mod supervise;
pub mod switch;
pub mod unpack;
