//! Why a rollout did not happen, or cannot be moved on, and what a person can type about it.

use jiff::Timestamp;
use pannier_shared::id::{AppName, FleetName, NodeName};
use pannier_shared::published;
use pannier_shared::report::human;
use pannier_shared::statement::{Phase, Rollout};

use crate::moving::NotSigned;

/// A rollout that did not happen, or cannot be moved on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The release or the order cannot be found or believed.
    #[error(transparent)]
    Published(#[from] published::Error),
    /// The order is not signed, or not by a key that may.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// A rollout is under way.
    #[error("the fleet `{}` is held: {}", .0.fleet, holder(.0))]
    Held(Box<Rollout>),
    /// There is nothing to move on.
    #[error("the fleet `{0}` has never had a rollout")]
    Never(FleetName),
    /// The rollout is over.
    #[error("the rollout of `{}` {} in `{}` is over: {}", .0.app, .0.version, .0.fleet, .0.phase)]
    Over(Box<Rollout>),
    /// Nobody is there to roll out to.
    #[error("no node of the fleet `{0}` has the app `{1}`")]
    NoNodes(FleetName, AppName),
    /// Nodes that were heard of are silent now.
    #[error("silent nodes of the fleet may serve `{app}` as well: {}", listed(.nodes))]
    Silent {
        /// The app.
        app: AppName,
        /// Who, and since when.
        nodes: Vec<(NodeName, Timestamp)>,
    },
    /// A node that goes first is none of those.
    #[error("the canary `{0}` is none of the rollout's nodes")]
    StrangeCanary(NodeName),
    /// Somebody else changed the order in between.
    #[error("somebody else has moved the rollout on meanwhile")]
    Overtaken,
    /// The serial is as high as it can be.
    #[error("the serial of the order is used up: only a new epoch can move it")]
    SerialUsedUp,
}

fn listed(nodes: &[(NodeName, Timestamp)]) -> String {
    nodes.iter().map(|(node, since)| format!("{node} since {since:.0}")).collect::<Vec<_>>().join(", ")
}

fn holder(order: &Rollout) -> String {
    let reason = if order.reason.is_empty() { String::new() } else { format!(" ({})", human::harmless(&order.reason)) };
    format!(
        "{} rolls out `{}` {}{reason} since {:.0}, and is at `{}`",
        human::harmless(&order.who),
        order.app,
        order.version,
        order.began,
        order.phase
    )
}

impl Error {
    /// What a person may do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Published(error) => error.hint(),
            Self::NotSigned(error) => error.hint(),
            Self::Held(order) => Some(format!(
                "`pannier rollout status {0}` shows how far it is, `pannier rollout resume {0}` goes on with it, `pannier rollout abort {0}` ends it",
                order.fleet
            )),
            Self::NoNodes(..) => {
                Some("name them with `--node`, or see that `pannier-activator agent` runs on them".to_owned())
            }
            Self::Silent { nodes, .. } => {
                let names: Vec<&str> = nodes.iter().map(|(node, _)| node.as_str()).collect();
                Some(format!("start their agents, or leave them out: `--without {}`", names.join(",")))
            }
            Self::Overtaken => Some("see `pannier rollout status`".to_owned()),
            Self::Over(order) if order.phase == Phase::Done => {
                Some("to go back, roll out the version that served before".to_owned())
            }
            _ => None,
        }
    }
}
