//! The stages of a build, each a function from what the stages before it made to what it adds. None of them knows the
//! table that puts them in order.

pub mod bundle;
pub mod bytecode;
pub mod django;
pub mod documents;
pub mod elf;
pub mod interpreter;
pub mod libc;
pub mod pack;
pub mod platform;
pub mod proof;
pub mod requirements;
pub mod scratch;
pub mod sign;
pub mod source;
pub mod static_files;
pub mod target;
pub mod tools;
pub mod venv;
pub mod wheels;
