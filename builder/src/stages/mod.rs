//! The stages of a build, each a function from what the stages before it made to what it adds. None of them knows the
//! table that puts them in order.

pub mod interpreter;
pub mod source;
pub mod tools;
