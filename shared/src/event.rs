//! What the libraries tell while they work: events go to a [`Sink`], and only the programs draw or print them.
//!
//! Two kinds of news: that a step began, ended, failed or was undone must never be lost; how far it has come may
//! be dropped or merged by a sink that is busy.

use std::time::Duration;

use serde::Serialize;

/// How much was done or is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Bytes; 0 where bytes say nothing.
    pub bytes: u64,
    /// Files, wheels, frames: whatever the step counts. 0 where counting says nothing.
    pub items: u64,
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step begins.
    Started {
        /// The step's name in its table.
        step: &'static str,
        /// What it does, as a phrase: "collect static files".
        does: &'static str,
    },
    /// A step came further. May be dropped.
    Advanced {
        /// The step's name.
        step: &'static str,
        /// Done so far.
        done: Amount,
        /// Out of how much, where it is known.
        total: Option<Amount>,
    },
    /// A step ended well.
    Finished {
        /// The step's name.
        step: &'static str,
        /// How long it took.
        #[serde(serialize_with = "seconds")]
        took: Duration,
        /// What it moved.
        moved: Amount,
        /// One line for a person: what it did; empty if there is nothing to say.
        said: String,
    },
    /// A step failed; its undo and those of the steps before it follow.
    Failed {
        /// The step's name.
        step: &'static str,
        /// The error's own line; the whole chain is returned to the caller.
        error: String,
    },
    /// A step was taken back.
    Undone {
        /// The step's name.
        step: &'static str,
        /// What could not be undone, if anything.
        error: Option<String>,
    },
    /// Something a person may want to know.
    Note {
        /// One line.
        text: String,
    },
    /// Something a person should look at.
    Warning {
        /// One line.
        text: String,
    },
}

fn seconds<S: serde::Serializer>(took: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64((took.as_secs_f64() * 1e6).round() / 1e6)
}

/// Takes the news. Implementations must not block for long: they are called from the code that works.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// Drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

/// Keeps everything, for tests and for reports written at the end.
#[derive(Debug, Default)]
pub struct Recorder(std::sync::Mutex<Vec<Event>>);

impl Recorder {
    /// All events so far, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}
