//! Which releases may go: from the state alone, in which the order of all that happened stands. No folder is listed, no date
//! looked at.

use pannier_shared::id::Version;

use crate::state::{Standing, State};

/// How many releases stay on a node besides the one that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Healthy ones, the one that serves among them.
    pub healthy: usize,
    /// Those that failed; they take no place of a healthy one.
    pub failed: usize,
    /// What is taken of processes that cannot be looked at.
    pub unseen: Unseen,
}

impl Default for Keep {
    fn default() -> Self {
        Self { healthy: 5, failed: 2, unseen: Unseen::MayUse }
    }
}

/// What is taken of processes that cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// They may use any release.
    MayUse,
    /// They use none: somebody knows it.
    UseNothing,
}

/// What is not `may-use` or `use-nothing`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not `may-use` or `use-nothing`")]
pub struct BadUnseen(String);

impl std::str::FromStr for Unseen {
    type Err = BadUnseen;
    fn from_str(text: &str) -> Result<Self, BadUnseen> {
        match text {
            "may-use" => Ok(Self::MayUse),
            "use-nothing" => Ok(Self::UseNothing),
            other => Err(BadUnseen(other.chars().take(80).collect())),
        }
    }
}

/// How many prepared releases stay that never served: the next one, and the one after it. More are what was fetched and
/// then given up.
const PREPARED: usize = 2;

/// Why the record wants a release to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It serves.
    Serves,
    /// It is one of the last healthy ones.
    LastHealthy,
    /// It is one of the last that failed.
    LastFailed,
    /// It is one of the last that were prepared.
    LastPrepared,
}

/// All releases with why they stay; those that may go have no reason, and come in the order in which they are missed least:
/// what never served, what failed, what was healthy longest ago.
pub fn choose(state: &State, keep: Keep) -> Vec<(Version, Option<Wanted>)> {
    let live = |version: &&Version| state.live_version() == Some(*version);
    let others = |standing| state.others(standing).filter(|version| !live(version)).collect::<Vec<_>>();
    let mut chosen = last(others(Standing::Prepared), PREPARED, Wanted::LastPrepared);
    chosen.extend(last(others(Standing::Bad), keep.failed, Wanted::LastFailed));
    chosen.extend(last(state.healthy().collect(), keep.healthy, Wanted::LastHealthy));
    chosen.retain(|(version, _)| !live(&version));
    let serving = state.live_version().filter(|version| state.release(version).is_some());
    chosen.extend(serving.map(|version| (version.clone(), Some(Wanted::Serves))));
    chosen
}

/// The last `count` of some releases are wanted, the first ones may go.
fn last(releases: Vec<&Version>, count: usize, wanted: Wanted) -> Vec<(Version, Option<Wanted>)> {
    let spare = releases.len().saturating_sub(count);
    let place = |(at, version): (usize, &Version)| (version.clone(), (at >= spare).then_some(wanted));
    releases.into_iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Direction, Release};
    use pannier_shared::digest::Digest;

    fn v(name: &str) -> Version {
        name.parse().unwrap()
    }

    /// What stands after a story: `+v` is prepared, `v` serves healthy, `!v` fails, `<v` is rolled back to.
    fn after(story: &str) -> State {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let mut state = State::new(&"polls".parse().unwrap());
        for word in story.split(' ') {
            let name = v(word.trim_start_matches(['+', '!', '<']));
            if state.release(&name).is_none() {
                state.add(&name, Release::prepared(Digest::of(b""), 1, 1, now));
            }
            let direction = if word.starts_with('<') { Direction::Back } else { Direction::Forward };
            match word.as_bytes()[0] {
                b'+' => {}
                b'!' => state.mark_bad(&name, "500", now),
                _ => {
                    state.switch_to(&name, now);
                    state.confirm(direction, now);
                }
            }
        }
        state
    }

    fn goes(story: &str, healthy: usize, failed: usize) -> String {
        let chosen = choose(&after(story), Keep { healthy, failed, ..Keep::default() });
        let goes = chosen.iter().filter(|(_, wanted)| wanted.is_none());
        goes.map(|(version, _)| version.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_oldest_healthy_ones_go() {
        assert_eq!(goes("a b c d e f g", 5, 2), "a b");
        assert_eq!(goes("a b c d e a f", 5, 2), "b");
    }

    #[test]
    fn failed_ones_take_no_place_of_a_healthy_one() {
        assert_eq!(goes("a !b !c !d !e !f g", 5, 2), "b c d");
        assert_eq!(goes("a !b !c g", 5, 0), "b c");
    }

    #[test]
    fn of_those_that_never_served_the_two_last_stay() {
        assert_eq!(goes("a +b +c +d", 5, 2), "b");
        assert_eq!(goes("+d +c +b a", 5, 2), "d");
    }

    #[test]
    fn what_a_rollback_went_past_goes_before_what_it_went_to() {
        assert_eq!(goes("a b c d <a", 2, 2), "b c");
        assert_eq!(goes("a b <a", 2, 2), "");
        assert_eq!(goes("a b <a c", 2, 2), "b");
    }

    #[test]
    fn what_serves_stays_however_it_stands() {
        let mut state = after("a b c d");
        state.switch_to(&v("a"), "2026-11-20T12:00:00Z".parse().unwrap());
        let chosen = choose(&state, Keep { healthy: 2, failed: 0, ..Keep::default() });
        let of = |name: &str| chosen.iter().find(|(version, _)| *version == v(name)).unwrap().1;
        assert_eq!([of("a"), of("b"), of("c")], [Some(Wanted::Serves), None, Some(Wanted::LastHealthy)]);
        assert_eq!(chosen.len(), 4);
    }

    #[test]
    fn what_goes_is_missed_least_first() {
        assert_eq!(goes("a !x b +p c !y +q +r !z", 2, 1), "p x y a");
    }
}
