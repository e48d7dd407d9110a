//! When to ask a second time for a range whose first byte does not come: a lost packet, a busy disk of the store.
//!
//! How long a first byte takes is learnt from those that came. Later than [`TIMES`] their median, and than [`LEAST`], is
//! odd enough for a second request; the first answer of the two is used and the other dropped, so that there is only one
//! body in memory. A store that is slow for everybody is not helped by more requests, so few are made: one in
//! [`ONE_IN`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many first bytes are remembered.
const REMEMBERED: usize = 32;
/// How many are needed before anything is concluded from them.
const ENOUGH: usize = 4;
/// So many times the median is late.
const TIMES: u32 = 3;
/// Nothing is late before this.
const LEAST: Duration = Duration::from_millis(500);
/// What is late when nothing is known yet.
const UNKNOWN: Duration = Duration::from_secs(2);
/// Beside one at any time, one second request is made for so many first ones.
const ONE_IN: u64 = 20;

/// What is known of first bytes; clones know the same.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstBytes(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    recent: VecDeque<Duration>,
    asked: u64,
    twice: u64,
}

impl FirstBytes {
    /// A request is made: says after how long its first byte is late.
    pub(super) fn asked(&self) -> Duration {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked += 1;
        known.late()
    }

    /// A first byte came after so long.
    pub(super) fn came(&self, after: Duration) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.recent.len() == REMEMBERED {
            known.recent.pop_front();
        }
        known.recent.push_back(after);
    }

    /// The shortest that one took lately: what the line alone takes.
    pub(super) fn shortest(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recent.iter().min().copied()
    }

    /// True if a second request may be made; it then counts as made.
    pub(super) fn ask_twice(&self) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = known.twice <= known.asked / ONE_IN;
        known.twice += u64::from(may);
        may
    }
}

impl Known {
    fn late(&self) -> Duration {
        if self.recent.len() < ENOUGH {
            return UNKNOWN;
        }
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        (sorted[sorted.len() / 2] * TIMES).max(LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_learnt_from_what_came() {
        let known = FirstBytes::default();
        assert_eq!(known.asked(), UNKNOWN);
        (0..ENOUGH).for_each(|_| known.came(Duration::from_millis(20)));
        assert_eq!(known.asked(), LEAST);
        (0..REMEMBERED).for_each(|_| known.came(Duration::from_millis(400)));
        known.came(Duration::from_secs(10));
        assert_eq!(known.clone().asked(), Duration::from_millis(1200));
    }

    #[test]
    fn the_shortest_is_what_the_line_takes() {
        let known = FirstBytes::default();
        assert_eq!(known.shortest(), None);
        [300, 100, 200].into_iter().for_each(|after| known.came(Duration::from_millis(after)));
        assert_eq!(known.shortest(), Some(Duration::from_millis(100)));
    }

    #[test]
    fn second_requests_are_few() {
        let known = FirstBytes::default();
        let twice = (0..100).filter(|_| known.asked() > Duration::ZERO && known.ask_twice()).count();
        assert_eq!(twice, 6);
    }
}
