//! Reading: from a signed statement to proven bytes, link by link. Nothing here fetches or writes; callers bring the
//! bytes of the ranges they are told, and get back only what was proven.
//!
//! ```text
//! Artifact (signed) -> tail_range  -> Outline::open(tail)       root and footer are proven
//!                      tables_range -> Outline::tables(bytes)    each table is proven; the tree passes the policy
//!                      Contents    -> Contents::open_frame(..)   a frame is proven, decoded, its headers compared
//! ```
//!
//! Every byte of an artifact is accounted for: frames lie without gaps from byte 0, tables behind them, then the root,
//! then the footer at the end of the file.

mod contents;
mod error;
mod outline;

pub use contents::{Body, Contents, Frame, OpenFrame};
pub use error::{Error, Result};
pub use outline::{Outline, tail_range};
