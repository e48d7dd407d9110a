//! The documents a node believes: what a release is, which release a channel names, and what a fleet is to do.
//!
//! They are plain data here; how they are signed and verified is `crate::signature`. Field order is the text's order.

use serde::Serialize;
use serde::de::DeserializeOwned;

mod channel;
mod migrations;
mod release;
mod rollout;
mod running;
mod shared_path;
pub mod suite;

pub use channel::{Channel, ChannelType};
pub use migrations::*;
pub use release::*;
pub use rollout::*;
pub use running::*;
pub use shared_path::{BadShared, Shared, SharedPath};
pub use suite::{Suite, SuiteType};

/// A kind of document that can be signed.
pub trait Document: Serialize + DeserializeOwned {
    /// The SSHSIG namespace: part of what is signed, so that no document can be taken for one of another kind.
    const NAMESPACE: &'static str;
    /// What a person calls it: "release statement".
    const NAME: &'static str;
    /// The most bytes a signed one may have, signatures included; more is refused unread.
    const LIMIT: u64;
}
