//! What goes wrong on purpose. Set at the start or at any time; counting starts when they are set.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The faults of a server. The default is none.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Each request waits this long before anything happens.
    pub latency: Duration,
    /// Each body is sent at most this fast, in millions of bytes per second.
    pub stream_mbps: Option<u32>,
    /// Every so-many-th request is answered with 503 SlowDown.
    pub slowdown_every: Option<u64>,
    /// Every so-many-th body breaks off in its middle, with the connection.
    pub cut_every: Option<u64>,
    /// Every so-many-th body stops in its middle for ever, with the connection open.
    pub stall_every: Option<u64>,
    /// A range is answered with 200 and the whole object.
    pub whole_body_for_range: bool,
    /// A range is answered with a Content-Range, and the bytes, one further than asked for.
    pub wrong_content_range: bool,
    /// So many of the next conditional writes are answered with 409 ConditionalRequestConflict and not done.
    pub conflicts: u64,
    /// So many of the next PUTs are done, but the connection breaks before the answer.
    pub lost_answers: u64,
    /// The same for the completion of multipart uploads.
    pub lost_completions: u64,
    /// So many of the next completions and copies of parts are not done: an error in a body with status 200 says so.
    pub errors_in_200: u64,
    /// So many of the next copies of parts take the bytes one further than asked for.
    pub wrong_copies: u64,
    /// Answers to copies of parts do not say a checksum.
    pub silent_copies: bool,
    /// Multipart uploads are begun without the checksum that was asked for.
    pub no_checksum_of_the_whole: bool,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Whole,
    Cut,
    Stalled,
}

/// The faults in force and what was counted for them.
#[derive(Debug, Default)]
pub(crate) struct Active(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    faults: Faults,
    requests: u64,
    bodies: u64,
}

impl Active {
    pub(crate) fn set(&self, faults: Faults) {
        *self.lock() = Counted { faults, ..Counted::default() };
    }

    pub(crate) fn current(&self) -> Faults {
        self.lock().faults.clone()
    }

    /// Counts a request: true if it is to be told to slow down.
    pub(crate) fn slows_down(&self) -> bool {
        let mut counted = self.lock();
        counted.requests += 1;
        is_nth(counted.requests, counted.faults.slowdown_every)
    }

    /// Counts a body: how it is to end.
    pub(crate) fn ending(&self) -> Ending {
        let mut counted = self.lock();
        counted.bodies += 1;
        match counted.faults {
            Faults { cut_every, .. } if is_nth(counted.bodies, cut_every) => Ending::Cut,
            Faults { stall_every, .. } if is_nth(counted.bodies, stall_every) => Ending::Stalled,
            _ => Ending::Whole,
        }
    }

    pub(crate) fn conflicts(&self) -> bool {
        take_one(&mut self.lock().faults.conflicts)
    }

    pub(crate) fn loses_answer(&self) -> bool {
        take_one(&mut self.lock().faults.lost_answers)
    }

    pub(crate) fn loses_completion(&self) -> bool {
        take_one(&mut self.lock().faults.lost_completions)
    }

    pub(crate) fn fails_in_200(&self) -> bool {
        take_one(&mut self.lock().faults.errors_in_200)
    }

    pub(crate) fn copies_wrongly(&self) -> bool {
        take_one(&mut self.lock().faults.wrong_copies)
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_nth(count: u64, every: Option<u64>) -> bool {
    every.is_some_and(|every| every > 0 && count.is_multiple_of(every))
}

fn take_one(left: &mut u64) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}
