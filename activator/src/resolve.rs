//! From what a person asks for, a version or a channel, to one verified statement.
//!
//! `published` believes a document only at its place. What it cannot know is the past: a store (or whoever stands
//! between) could show yesterday's pointer of a channel for ever. So the node remembers the highest (epoch, serial) it
//! has seen, durably and before it acts on it, and refuses to go back. A pointer that should have been signed again is
//! a warning and no more: a signing job that stopped must not stop a recovery.

use std::fmt;
use std::str::FromStr;

use pannier_shared::digest::Digest;
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, BadName, ChannelName, Target, Version};
use pannier_shared::published::{self, Published};
use pannier_shared::signature::Verified;
use pannier_shared::statement::{Channel, Statement};
use pannier_shared::sys::fs;
use tokio::runtime::Runtime;

use crate::node::Node;
use crate::state::{Position, State};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A version by name.
    Version(Version),
    /// The version a channel names now: "@production".
    Channel(ChannelName),
}

impl FromStr for What {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.strip_prefix('@') {
            Some(channel) => channel.parse().map(Self::Channel),
            None => text.parse().map(Self::Version),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Version(version) => write!(f, "{version}"),
            What::Channel(channel) => write!(f, "@{channel}"),
        }
    }
}

/// What cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not published, or not to be believed.
    #[error(transparent)]
    Published(#[from] Box<published::Error>),
    /// The channel's pointer is older than one seen before.
    #[error("the channel `{channel}` shows {found}, but this node has seen {seen}: it would go back")]
    WentBack {
        /// The channel.
        channel: ChannelName,
        /// What the store shows.
        found: Position,
        /// What was seen before.
        seen: Position,
    },
    /// The state file could not be written.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

/// Another release of that version is here.
#[derive(Debug, thiserror::Error)]
#[error("this node has another `{version}`: its statement is sha256:{here}, the store's is sha256:{there}")]
pub struct AnotherHere {
    /// The version.
    pub version: Version,
    /// Digest of the statement it came with.
    pub here: Digest,
    /// Digest of the statement in the store.
    pub there: Digest,
}

impl From<published::Error> for Error {
    fn from(error: published::Error) -> Self {
        Error::Published(Box::new(error))
    }
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Published(error) => error.hint(),
            Error::WentBack { channel, .. } => Some(format!(
                "the store is stale or was tampered with; promote again with `pannier promote` to move `{channel}` forward, or name the version instead"
            )),
            Error::Fs(_) => None,
        }
    }
}

/// Finds the statement of `what` for this machine, and remembers how far its channel has come.
pub fn resolve(
    node: &mut Node,
    published: &Published,
    what: &What,
    runtime: &Runtime,
    sink: &dyn Sink,
) -> Result<Verified<Statement>, Error> {
    if let What::Channel(channel) = what {
        let pointer = point(&node.app, &node.state, published, channel, runtime)?;
        remember(node, channel, &pointer)?;
        return follow(published, &pointer, runtime, sink);
    }
    look(&node.app, &node.state, published, what, runtime, sink)
}

/// Like [`resolve`], and remembers nothing: for whoever only looks.
pub fn look(
    app: &AppName,
    state: &State,
    published: &Published,
    what: &What,
    runtime: &Runtime,
    sink: &dyn Sink,
) -> Result<Verified<Statement>, Error> {
    match what {
        What::Version(version) => Ok(runtime.block_on(published.statement(app, version, &Target::host()))?),
        What::Channel(channel) => follow(published, &point(app, state, published, channel, runtime)?, runtime, sink),
    }
}

/// The version when this very release is here; an error when another one of its name is.
pub fn already_here(state: &State, statement: &Verified<Statement>) -> Result<Option<Version>, AnotherHere> {
    let version = &statement.release.version;
    let Some(release) = state.release(version) else { return Ok(None) };
    let (here, there) = (release.statement, statement.digest());
    if here == there { Ok(Some(version.clone())) } else { Err(AnotherHere { version: version.clone(), here, there }) }
}

/// A channel's pointer; refused when it is below the highest one seen.
fn point(
    app: &AppName,
    state: &State,
    published: &Published,
    channel: &ChannelName,
    runtime: &Runtime,
) -> Result<Verified<Channel>, Error> {
    let pointer = runtime.block_on(published.channel(app, channel))?.document;
    let found = position(&pointer);
    match state.position(channel) {
        Some(seen) if found < seen => Err(Error::WentBack { channel: channel.clone(), found, seen }),
        _ => Ok(pointer),
    }
}

/// Remembers a pointer durably, where it is a new one.
fn remember(node: &mut Node, channel: &ChannelName, pointer: &Channel) -> Result<(), Error> {
    if node.state.position(channel) == Some(position(pointer)) {
        return Ok(());
    }
    node.state.see(channel, position(pointer));
    Ok(node.save()?)
}

fn follow(
    published: &Published,
    pointer: &Verified<Channel>,
    runtime: &Runtime,
    sink: &dyn Sink,
) -> Result<Verified<Statement>, Error> {
    if pointer.not_after < published.now {
        let text =
            format!("the channel `{}` should have been signed again before {}", pointer.channel, pointer.not_after);
        sink.emit(Event::Warning { text });
    }
    Ok(runtime.block_on(published.named_by(pointer, &Target::host()))?)
}

fn position(pointer: &Channel) -> Position {
    Position { epoch: pointer.epoch, serial: pointer.serial }
}
