//! The clock. Functions that decide take the time as an argument; only the edges ask for it here.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The wall clock, in UTC.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that never steps back, for durations.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Waits.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}
