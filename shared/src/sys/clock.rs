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

/// Waits until the wall clock says `instant`; not at all for one that has passed. A clock that is set meanwhile is
/// followed within a tenth of a second.
pub fn sleep_until(instant: Timestamp) {
    const LOOK: Duration = Duration::from_millis(100);
    while let Ok(left) = Duration::try_from(instant.duration_since(now()))
        && left > Duration::ZERO
    {
        sleep(left.min(LOOK));
    }
}

/// A random time from four to six fifths of `duration`: many who wait as long do not come all at once.
pub fn jittered(duration: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness it is the least of them.
    let _ = getrandom::fill(&mut bytes);
    duration.mul_f64(0.8 + 0.4 * f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_has_passed_is_not_waited_for_and_one_to_come_is() {
        let hour = jiff::SignedDuration::from_hours(1);
        sleep_until(now() - hour);
        let soon = now() + jiff::SignedDuration::from_millis(20);
        sleep_until(soon);
        assert!(now() >= soon);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let second = Duration::from_secs(1);
        for _ in 0..100 {
            let wait = jittered(second);
            assert!(wait >= second.mul_f64(0.79) && wait <= second.mul_f64(1.21), "{wait:?}");
        }
    }
}
