//! The only door to the operating system: file system, clock, processes, locks and memory.
//!
//! Everything else in Pannier calls these modules instead of `std::fs`, `std::time` or `std::process` (clippy.toml
//! holds it to that). So every error names its path and operation, durability is decided in one place, and a fault
//! can be put under any call.
#![allow(clippy::disallowed_methods, reason = "this is the door the other rooms must use")]

pub mod account;
pub mod clock;
pub mod confine;
pub mod cores;
pub mod dir;
pub mod features;
pub mod fs;
pub mod host;
pub mod in_use;
pub mod lock;
pub mod look;
pub mod memory;
pub mod notify;
pub mod process;
pub(crate) mod sync;
pub mod talk;
