//! What an app on this node does now: what the record says, what the link says, and whether they agree.

use std::path::PathBuf;

use jiff::Timestamp;
use pannier_shared::id::{AppName, ChannelName, Version};
use serde::Serialize;

use crate::journal::Operation;
use crate::node::View;
use crate::state::Standing;

/// One app's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The app.
    pub app: AppName,
    /// All of it in one word.
    pub verdict: Verdict,
    /// The release the record says serves.
    pub live: Option<Version>,
    /// How it stands; none for one that was put there by hand.
    pub standing: Option<Standing>,
    /// Since when it serves.
    pub since: Option<Timestamp>,
    /// The release `current` leads to.
    pub current: Option<Version>,
    /// Where a rollback would go.
    pub previous: Option<Version>,
    /// The root.
    pub root: PathBuf,
    /// The channels seen, each with its highest epoch and serial.
    pub channels: Vec<Seen>,
    /// What was begun and has not ended.
    pub unended: Option<Begun>,
}

/// A status in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A healthy release serves.
    Healthy,
    /// Nothing was activated yet, or it was taken back.
    NothingServes,
    /// A release serves that never passed its check.
    Unconfirmed,
    /// The record and `current` name different releases.
    Differs,
    /// Something is under way, or was interrupted and is not healed yet.
    Unended,
}

/// How far a channel was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The channel.
    pub channel: ChannelName,
    /// Its epoch.
    pub epoch: u64,
    /// Its serial.
    pub serial: u64,
}

/// An operation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// Which kind.
    pub operation: Operation,
    /// About which release.
    pub version: Version,
    /// Since when.
    pub at: Timestamp,
}

/// The status of an app, from a look at it.
pub fn status(view: &View) -> Status {
    let live = view.state.live();
    let seen = |(channel, at): (&ChannelName, crate::state::Position)| Seen {
        channel: channel.clone(),
        epoch: at.epoch,
        serial: at.serial,
    };
    Status {
        app: view.app.clone(),
        verdict: verdict(view),
        live: live.map(|live| live.version.clone()),
        standing: live.and_then(|live| view.state.standing(&live.version)),
        since: live.map(|live| live.since),
        current: view.current.version().cloned(),
        previous: view.state.previous().cloned(),
        root: view.path.clone(),
        channels: view.state.positions().map(seen).collect(),
        unended: view.unended.as_ref().map(|unended| Begun {
            operation: unended.operation,
            version: unended.version.clone(),
            at: unended.at,
        }),
    }
}

fn verdict(view: &View) -> Verdict {
    match view.state.live() {
        _ if view.unended.is_some() => Verdict::Unended,
        live if live.map(|live| &live.version) != view.current.version() => Verdict::Differs,
        None => Verdict::NothingServes,
        Some(live) if live.confirmed => Verdict::Healthy,
        Some(_) => Verdict::Unconfirmed,
    }
}

impl Status {
    /// What serves, in a phrase.
    pub fn serving(&self) -> String {
        match (&self.live, self.standing) {
            (None, _) => "nothing".to_owned(),
            (Some(version), Some(standing)) => format!("{version} ({standing})"),
            (Some(version), None) => format!("{version} (put there by hand)"),
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.app)?;
        let since = self.since.map(|since| format!(" since {since:.0}")).unwrap_or_default();
        writeln!(f, "  serving   {}{since}", self.serving())?;
        if self.verdict == Verdict::Differs {
            let current = self.current.as_ref().map_or("nothing", Version::as_str);
            writeln!(f, "  current   leads to {current}: the next command that changes anything follows it")?;
        }
        if let Some(begun) = &self.unended {
            writeln!(
                f,
                "  begun     {} {} at {:.0}: under way, or interrupted",
                begun.operation, begun.version, begun.at
            )?;
        }
        if let Some(previous) = &self.previous {
            writeln!(f, "  previous  {previous}")?;
        }
        for seen in &self.channels {
            writeln!(f, "  channel   {} (serial {} of epoch {})", seen.channel, seen.serial, seen.epoch)?;
        }
        writeln!(f, "  root      {}", self.root.display())
    }
}
