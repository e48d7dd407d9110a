//! How far this node's clock is ahead of the store's, from the `Date` of answers that come anyway.
//!
//! A `Date` is a whole second, so one answer says little: the node's clock is ahead by more than it was before the question
//! less the end of that second, and by at most what it was after the answer less the second's beginning. What all of
//! the last answers allow is less: it shrinks to about the time of an answer.

use std::collections::VecDeque;

use jiff::Timestamp;
use pannier_shared::receipt::Clock;

/// So many answers count: a clock that drifts by 50 ppm goes astray by 16 ms within 64 questions of five seconds.
const KEPT: usize = 64;

/// What the last answers allow, in milliseconds: least and most.
#[derive(Debug, Default)]
pub struct Offset(VecDeque<(i64, i64)>);

impl Offset {
    /// An answer with this date was asked for and had between these two times of the node's clock.
    pub fn hear(&mut self, date: Timestamp, asked: Timestamp, had: Timestamp) {
        let second = date.as_millisecond();
        let allowed = (asked.as_millisecond() - second - 1000, had.as_millisecond() - second);
        let others = self.allowed();
        // One of the clocks was set: what was heard before says nothing of it any more.
        if others.is_some_and(|(least, most)| allowed.0.max(least) > allowed.1.min(most)) {
            self.0.clear();
        }
        self.0.push_back(allowed);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// What is known.
    pub fn known(&self) -> Option<Clock> {
        let (least, most) = self.allowed()?;
        Some(Clock { ahead_ms: i64::midpoint(least, most), within_ms: (most - least + 1) / 2 })
    }

    fn allowed(&self) -> Option<(i64, i64)> {
        self.0
            .iter()
            .copied()
            .reduce(|(least, most), (other_least, other_most)| (least.max(other_least), most.min(other_most)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + millisecond).unwrap()
    }

    /// Answers of a store, each 20 ms after its question, to a node whose clock is ahead by so much.
    fn heard(ahead: i64, answers: &[i64]) -> Offset {
        let mut offset = Offset::default();
        for store in answers {
            offset.hear(at(store / 1000 * 1000), at(store + ahead - 10), at(store + ahead + 10));
        }
        offset
    }

    #[test]
    fn one_answer_says_it_to_half_a_second_and_many_to_their_own_time() {
        assert_eq!(Offset::default().known(), None);
        let Clock { within_ms, .. } = heard(300, &[700]).known().unwrap();
        assert_eq!(within_ms, 510);
        let Clock { ahead_ms, within_ms } = heard(300, &[700, 1985, 4020, 7510]).known().unwrap();
        assert!((ahead_ms - 300).abs() <= within_ms && within_ms < 40, "{ahead_ms} {within_ms}");
    }

    #[test]
    fn a_clock_that_was_set_is_believed_again() {
        let mut offset = heard(0, &[100, 1900]);
        offset.hear(at(3000), at(63_000), at(63_020));
        let Clock { ahead_ms, within_ms } = offset.known().unwrap();
        assert!((ahead_ms - 60_000).abs() <= within_ms, "{ahead_ms} {within_ms}");
    }
}
