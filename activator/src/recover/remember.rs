//! How far a suite was seen to come. As with channels, a store could show yesterday's for ever; so the signed file is kept
//! beside the configuration, durably and before anything is done by it, and an older one is refused afterwards. It is also
//! the answer to what this node was told to be.

use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::SuiteName;
use pannier_shared::published::Published;
use pannier_shared::signature::{Verified, verify};
use pannier_shared::statement::{Document, Suite};
use pannier_shared::sys::fs;

use super::Error;
use crate::activate::one_line;
use crate::state::Position;

/// A suite that is older than one seen before.
#[derive(Debug, thiserror::Error)]
#[error("the suite `{suite}` shows {found}, but this node has seen {seen}: it would go back")]
pub struct WentBack {
    /// The suite.
    pub suite: SuiteName,
    /// What the store shows.
    pub found: Position,
    /// What was seen before.
    pub seen: Position,
    /// Where that is remembered.
    pub file: String,
}

impl WentBack {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        format!(
            "the store is stale or was tampered with: set the suite again with `pannier suite set`, or remove {} if you \
             know why it is older",
            self.file
        )
    }
}

/// Refuses what is older than what is remembered in `file`, else remembers it. A suite that should have been signed again is a
/// warning and no more: a signing job that stopped must not stop a recovery.
pub fn remember(file: &Path, suite: &Verified<Suite>, published: &Published, sink: &dyn Sink) -> Result<(), Error> {
    if suite.not_after < published.now {
        let text = format!("the suite `{}` should have been signed again before {}", suite.suite, suite.not_after);
        sink.emit(Event::Warning { text });
    }
    let kept = fs::if_there(fs::read(file, Suite::LIMIT))?;
    if kept.as_deref() == Some(suite.bytes()) {
        return Ok(());
    }
    if let Some(kept) = kept {
        match verify::<Suite>(&kept, published.trust, published.now) {
            Ok(kept) if position(&kept) > position(suite) => {
                let (found, seen) = (position(suite), position(&kept));
                let file = file.display().to_string();
                return Err(WentBack { suite: suite.suite.clone(), found, seen, file }.into());
            }
            Ok(_) => {}
            Err(error) => sink.emit(Event::Warning {
                text: format!("what was remembered of the suite counts for nothing now: {}", one_line(&error)),
            }),
        }
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write_durably(file, suite.bytes())?)
}

fn position(suite: &Suite) -> Position {
    Position { epoch: suite.epoch, serial: suite.serial }
}
