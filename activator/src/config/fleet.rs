//! The part of the configuration that makes a node one of a fleet.

use std::path::PathBuf;
use std::time::Duration;

use pannier_shared::id::{FleetName, NodeName};
use pannier_shared::sys::host;

use super::Error;
use super::section::Section;

/// How this node takes part in a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// The fleet whose orders it follows.
    pub name: FleetName,
    /// What it is called there.
    pub node: NodeName,
    /// How often it looks for an order while nothing is under way.
    pub interval: Duration,
    /// The same while a rollout is.
    pub busy: Duration,
    /// How often it says at least that it is there.
    pub heartbeat: Duration,
    /// The folder in which it keeps what it must not forget.
    pub state: PathBuf,
}

/// Reads `[fleet]`.
pub(super) fn read(section: Section) -> Result<Fleet, Error> {
    let name = section.parsed("name")?.ok_or_else(|| section.wrong("name", "it is missing"))?;
    let node = match section.parsed("node")? {
        Some(node) => node,
        None => host::name().parse().map_err(|error| {
            section.wrong("node", format!("it is missing, and the machine's own name will not do: {error}"))
        })?,
    };
    let interval = section.duration("interval")?.unwrap_or(Duration::from_secs(5));
    let fleet = Fleet {
        name,
        node,
        interval,
        busy: section.duration("busy")?.unwrap_or(Duration::from_secs(1)).min(interval),
        heartbeat: section.duration("heartbeat")?.unwrap_or(Duration::from_secs(60)),
        state: section.path("state")?.unwrap_or_else(|| "/var/lib/pannier".into()),
    };
    section.finish()?;
    Ok(fleet)
}
