//! Which of two releases is the older one, so that nothing goes back that nobody ordered back.
//!
//! Versions are free text, and a release has no time of its own, or it could not be built again to the same bytes. What is
//! known of it:
//!
//! 1. When its commit was made: signed in its statement, by the committer's clock. A fix on an old branch is a new commit
//!    and counts as newer; so does one that was rebased.
//! 2. Where either of the two does not say (no git, or an older builder): whether it was healthy on this node, and came
//!    here before the one that serves did.
//!
//! What neither tells is not called older: a guess that refuses would be worse than none. To go back is `rollback`,
//! `activate --downgrade`, or a channel that was moved since the release that serves was switched to: whoever moved it
//! to an older one ordered that, with a higher serial, signed. A channel that stayed where it was when somebody
//! activated a newer release by name is no such order.

use std::fmt;

use jiff::Timestamp;
use pannier_shared::id::{AppName, Version};

use crate::resolve::What;
use crate::state::{Standing, State};

/// What to do when a release is older than what serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOlder {
    /// Refuse.
    Refuse,
    /// Activate it.
    Allow,
}

/// A release that is older than what serves.
#[derive(Debug, thiserror::Error)]
#[error("`{version}` is older than `{serving}`, which serves: {sign}")]
pub struct Older {
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// What serves.
    pub serving: Version,
    /// How that is known.
    pub sign: Sign,
    /// Whether a rollback can go to it.
    pub was_healthy: bool,
}

/// How it is known which of two releases is the older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// By their commits.
    Committed {
        /// When that of the older one was made.
        older: Timestamp,
        /// When that of the one that serves was made.
        serving: Timestamp,
    },
    /// It was healthy here, and came here before the other did.
    ServedBefore,
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Committed { older, serving } => {
                write!(f, "its source was committed on {older}, that of the other on {serving}")
            }
            Sign::ServedBefore => f.write_str("it served here before the other came"),
        }
    }
}

impl Older {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        let Self { app, version, .. } = self;
        let downgrade = format!("`pannier-activator activate {app} {version} --downgrade`");
        match self.was_healthy {
            true => format!("to go back: `pannier-activator rollback {app} --to {version}`, or {downgrade}"),
            false => format!("to go back: {downgrade}"),
        }
    }
}

/// What is to be done when `what` leads to an older release: a channel that was moved is an order.
pub fn consent(state: &State, what: &What, given: OnOlder) -> OnOlder {
    match what {
        What::Channel(channel) if state.has_moved(channel) => OnOlder::Allow,
        _ => given,
    }
}

impl OnOlder {
    /// Refuses a release that is older than what serves, unless that is allowed; `committed` is what its statement says.
    pub fn check(
        self,
        state: &State,
        app: &AppName,
        version: &Version,
        committed: Option<Timestamp>,
    ) -> Result<(), Older> {
        let Some(serving) = state.live_version().filter(|_| self == OnOlder::Refuse) else { return Ok(()) };
        let Some(sign) = sign(state, version, committed, serving) else { return Ok(()) };
        let was_healthy = state.standing(version) == Some(Standing::Healthy);
        Err(Older { app: app.clone(), version: version.clone(), serving: serving.clone(), sign, was_healthy })
    }
}

/// How it is known that `version` is older than what is `serving`; none when it is not, or not known.
fn sign(state: &State, version: &Version, committed: Option<Timestamp>, serving: &Version) -> Option<Sign> {
    let live = state.release(serving).filter(|_| version != serving)?;
    if let (Some(older), Some(serving)) = (committed, live.committed) {
        return (older < serving).then_some(Sign::Committed { older, serving });
    }
    let came = state.release(version).filter(|_| state.standing(version) == Some(Standing::Healthy))?.prepared;
    (came < live.prepared).then_some(Sign::ServedBefore)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Direction, Position, Release};
    use pannier_shared::digest::Digest;

    fn v(name: &str) -> Version {
        name.parse().unwrap()
    }

    fn at(day: u32) -> Timestamp {
        format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
    }

    /// Releases in the order in which they came here, with the day of their commit where they say it; the last of
    /// `served` serves.
    fn state(came: &[(&str, Option<u32>)], served: &[&str]) -> State {
        let mut state = State::new(&"polls".parse().unwrap());
        for (day, (name, committed)) in came.iter().enumerate() {
            let release = Release::prepared(Digest::of(b""), 1, 1, at(day as u32 + 1));
            state.add(&v(name), release.of_source(committed.map(at)));
        }
        for name in served {
            state.switch_to(&v(name), at(20));
            state.confirm(Direction::Forward, at(20));
        }
        state
    }

    fn check(state: &State, name: &str) -> Result<(), String> {
        let committed = state.release(&v(name)).and_then(|release| release.committed);
        let checked = OnOlder::Refuse.check(state, &"polls".parse().unwrap(), &v(name), committed);
        checked.map_err(|error| format!("{error}\n{}", error.hint()))
    }

    #[test]
    fn an_earlier_commit_is_older_whenever_it_came_here() {
        let state = state(&[("new", Some(9)), ("old", Some(3)), ("fix", Some(10))], &["new"]);
        insta::assert_snapshot!(check(&state, "old").unwrap_err(), @"
        `old` is older than `new`, which serves: its source was committed on 2026-11-03T12:00:00Z, that of the other on 2026-11-09T12:00:00Z
        to go back: `pannier-activator activate polls old --downgrade`
        ");
        assert_eq!((check(&state, "fix"), check(&state, "new")), (Ok(()), Ok(())));
        assert!(OnOlder::Allow.check(&state, &"polls".parse().unwrap(), &v("old"), Some(at(3))).is_ok());
    }

    #[test]
    fn without_a_commit_what_served_before_the_other_came_is_older() {
        let state = state(&[("v1", None), ("v2", Some(3)), ("v3", None)], &["v1", "v2"]);
        insta::assert_snapshot!(check(&state, "v1").unwrap_err(), @"
        `v1` is older than `v2`, which serves: it served here before the other came
        to go back: `pannier-activator rollback polls --to v1`, or `pannier-activator activate polls v1 --downgrade`
        ");
        assert_eq!(check(&state, "v3"), Ok(()));
    }

    #[test]
    fn after_a_downgrade_the_newer_one_is_not_older() {
        for day in [None, Some(1)] {
            let state = state(&[("v1", day), ("v2", day.map(|day| day + 1))], &["v1", "v2", "v1"]);
            assert_eq!(check(&state, "v2"), Ok(()));
        }
    }

    #[test]
    fn what_is_not_known_is_not_older() {
        let prepared = state(&[("first", None), ("second", None)], &["second"]);
        assert_eq!(check(&prepared, "first"), Ok(()), "it never served");
        let mut by_hand = state(&[("v1", Some(1))], &["v1"]);
        by_hand.switch_to(&v("by-hand"), at(21));
        assert_eq!(check(&by_hand, "v1"), Ok(()));
        assert_eq!(check(&state(&[("v1", Some(1))], &[]), "v1"), Ok(()));
    }

    #[test]
    fn a_channel_is_an_order_once_it_has_moved() {
        let production: What = "@production".parse().unwrap();
        let move_to = |state: &mut State, serial| {
            state.see(&"production".parse().unwrap(), Position { epoch: 1, serial });
        };
        let mut state = state(&[("v1", Some(1)), ("v2", Some(2))], &["v1"]);
        move_to(&mut state, 7);
        state.switch_to(&v("v2"), at(21));
        let consent = |state: &State| consent(state, &production, OnOlder::Refuse);
        assert_eq!(consent(&state), OnOlder::Refuse, "it stayed where it was when v2 was activated");
        move_to(&mut state, 8);
        assert_eq!(consent(&state), OnOlder::Allow);
        assert_eq!(super::consent(&state, &"v1".parse().unwrap(), OnOlder::Refuse), OnOlder::Refuse);
    }
}
