//! What a node knows of an app's releases: read, changed in memory by verbs, written once.
//!
//! No verb here touches the disk; `steps::switch` and [`State::save`] do. The order in which releases became healthy
//! stands in `healthy` and comes from what happened, never from a directory listing or a date: rollback goes to the
//! last one of it. That `current` agrees with `live` is the business of `steps::switch` and, after a crash, of `heal`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, ChannelName, Version};
use pannier_shared::sys::fs;
use serde::{Deserialize, Serialize};

use crate::environment::EnvId;

mod error;

pub use error::Error;

/// The form of the state file this program reads and writes.
const SCHEMA: u32 = 1;

/// The most bytes a state file may have: 10,000 releases at about 500 bytes, with room to spare.
const LIMIT: u64 = 16 << 20;

/// How a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Complete on the disk; never confirmed.
    Prepared,
    /// `current` leads to it, and it is not confirmed yet.
    Live,
    /// It was activated and confirmed; it may serve now or have served before.
    Healthy,
    /// It failed when it was activated.
    Bad,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Standing::Prepared => "prepared",
            Standing::Live => "live, not confirmed",
            Standing::Healthy => "healthy",
            Standing::Bad => "bad",
        })
    }
}

/// One release on this node. The same record lies beside the release, so that it can be taken up again when the node
/// stops between the rename that commits a release and the state file that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Prepared, healthy or bad; that the live one is not confirmed yet is in [`Live`].
    standing: Standing,
    /// SHA-256 of its signed statement file.
    pub statement: Digest,
    /// Bytes of all its files.
    pub unpacked: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// When it was prepared here.
    pub prepared: Timestamp,
    /// Since when it stands as it does.
    pub since: Timestamp,
    /// Why it is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When its source was committed, by its statement; none where that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Timestamp>,
    /// The variables that it was healthy with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<EnvId>,
}

impl Release {
    /// A release that was just unpacked.
    pub fn prepared(statement: Digest, unpacked: u64, entries: u64, now: Timestamp) -> Self {
        let (standing, reason, committed, env) = (Standing::Prepared, None, None, None);
        Self { standing, statement, unpacked, entries, prepared: now, since: now, reason, committed, env }
    }

    /// Of a source that was committed at this time.
    pub fn of_source(mut self, committed: Option<Timestamp>) -> Self {
        self.committed = committed;
        self
    }
}

/// What serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// The release `current` leads to.
    pub version: Version,
    /// Since when.
    pub since: Timestamp,
    /// False from the switch until the health check has passed.
    pub confirmed: bool,
    /// How far channels were seen when it was switched to: one that has moved since then is an order (see `age`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub seen: BTreeMap<ChannelName, Position>,
    /// The variables it runs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<EnvId>,
}

/// The newest pointer of a channel this node has seen; it never goes below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The channel's epoch: compared first.
    pub epoch: u64,
    /// The channel's serial.
    pub serial: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "serial {} of epoch {}", self.serial, self.epoch)
    }
}

/// How an activation came about, which decides where the next rollback goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By name or channel: the release that served before is the next to go back to.
    Forward,
    /// By rollback: what was newer in the chain is left behind, so that the next rollback goes further back.
    Back,
}

/// All a node knows of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    schema: u32,
    app: AppName,
    live: Option<Live>,
    /// Healthy releases in the order in which they were confirmed, each once, the last one last.
    healthy: Vec<Version>,
    /// The others in the order in which they came to stand as they do (prepared, failed, gone back from), the last one last.
    #[serde(default)]
    others: Vec<Version>,
    releases: BTreeMap<Version, Release>,
    channels: BTreeMap<ChannelName, Position>,
}

impl State {
    /// Of a node that never had the app.
    pub fn new(app: &AppName) -> Self {
        let (live, healthy, others) = (None, Vec::new(), Vec::new());
        let (releases, channels) = (BTreeMap::new(), BTreeMap::new());
        Self { schema: SCHEMA, app: app.clone(), live, healthy, others, releases, channels }
    }

    /// Reads the state file; none there is the state of a new node.
    pub fn load(path: &Path, app: &AppName) -> Result<Self, Error> {
        let Some(text) = fs::if_there(fs::read(path, LIMIT))? else { return Ok(Self::new(app)) };
        let state = Self::parse(&text, path)?;
        if state.app == *app {
            Ok(state)
        } else {
            Err(Error::OtherApp { path: path.to_owned(), found: state.app, wanted: app.clone() })
        }
    }

    /// The schema is looked at alone and first: a newer file is "newer", not "unknown field".
    fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let damaged = |source| Error::Damaged { path: path.to_owned(), source };
        let Schema { schema: found } = serde_json::from_slice(text).map_err(damaged)?;
        if found > SCHEMA {
            return Err(Error::Newer { path: path.to_owned(), found });
        }
        let mut state: Self = serde_json::from_slice(text).map_err(damaged)?;
        state.put_in_order();
        Ok(state)
    }

    /// A file that was written before there was an order of the others has one by the times it tells.
    fn put_in_order(&mut self) {
        let has_place = |version: &&Version| self.healthy.contains(version) || self.others.contains(version);
        let mut without: Vec<Version> = self.releases.keys().filter(|version| !has_place(version)).cloned().collect();
        without.sort_by_key(|version| self.releases.get(version).map(|release| release.since));
        self.others.splice(0..0, without);
    }

    /// Writes the state file: after `Ok` it survives a power cut, before it the old one does.
    pub fn save(&self, path: &Path) -> fs::Result<()> {
        // A map with text keys and plain fields always has a JSON form.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        fs::write_durably(path, &text)
    }

    /// What serves, if anything does.
    pub fn live(&self) -> Option<&Live> {
        self.live.as_ref()
    }

    /// The version that serves, if any does.
    pub fn live_version(&self) -> Option<&Version> {
        self.live.as_ref().map(|live| &live.version)
    }

    /// A release, if it is known here.
    pub fn release(&self, version: &Version) -> Option<&Release> {
        self.releases.get(version)
    }

    /// All releases by name.
    pub fn releases(&self) -> impl Iterator<Item = (&Version, &Release)> {
        self.releases.iter()
    }

    /// How a release stands; nothing for one that is not here.
    pub fn standing(&self, version: &Version) -> Option<Standing> {
        let recorded = self.releases.get(version)?.standing;
        match &self.live {
            Some(live) if live.version == *version && !live.confirmed => Some(Standing::Live),
            _ => Some(recorded),
        }
    }

    /// Where a rollback goes: the last healthy release that is not the one that serves.
    pub fn previous(&self) -> Option<&Version> {
        self.healthy.iter().rev().find(|version| Some(*version) != self.live_version())
    }

    /// The healthy releases that are here, in the order in which they are gone back to: those that a rollback went past
    /// first, then the chain, the last one last.
    pub fn healthy(&self) -> impl Iterator<Item = &Version> {
        let chain = self.healthy.iter().filter(|version| self.releases.contains_key(version));
        self.others(Standing::Healthy).chain(chain)
    }

    /// The releases outside the chain that stand like this, in the order in which they came to, the last one last.
    pub fn others(&self, standing: Standing) -> impl Iterator<Item = &Version> {
        self.others.iter().filter(move |version| self.releases.get(version).is_some_and(|r| r.standing == standing))
    }

    /// The newest position seen of a channel.
    pub fn position(&self, channel: &ChannelName) -> Option<Position> {
        self.channels.get(channel).copied()
    }

    /// All channels seen.
    pub fn positions(&self) -> impl Iterator<Item = (&ChannelName, Position)> {
        self.channels.iter().map(|(channel, position)| (channel, *position))
    }

    /// Whether a channel has moved since what serves was switched to, as far as it was seen.
    pub fn has_moved(&self, channel: &ChannelName) -> bool {
        let then = self.live.as_ref().and_then(|live| live.seen.get(channel).copied());
        self.position(channel) > then
    }

    /// Remembers a channel's position. The caller has made sure that it is not below the one remembered.
    pub fn see(&mut self, channel: &ChannelName, position: Position) {
        let highest = self.channels.entry(channel.clone()).or_insert(position);
        *highest = position.max(*highest);
    }

    /// A release is complete on the disk.
    pub fn add(&mut self, version: &Version, release: Release) {
        self.releases.insert(version.clone(), release);
        self.set_aside(version);
    }

    /// Makes a release the last one of those outside the chain.
    fn set_aside(&mut self, version: &Version) {
        self.healthy.retain(|healthy| healthy != version);
        self.others.retain(|other| other != version);
        if self.releases.contains_key(version) {
            self.others.push(version.clone());
        }
    }

    /// A release is not on the disk any more.
    pub fn forget(&mut self, version: &Version) {
        self.releases.remove(version);
        self.healthy.retain(|healthy| healthy != version);
        self.others.retain(|other| other != version);
        if self.live_version() == Some(version) {
            self.live = None;
        }
    }

    /// `current` is about to lead to this release, which is yet to be confirmed. One that served without being confirmed is
    /// the last that is worth keeping of its kind.
    pub fn switch_to(&mut self, version: &Version, now: Timestamp) {
        if let Some(before) = self.live_version().filter(|before| !self.healthy.contains(before)).cloned() {
            self.set_aside(&before);
        }
        let seen = self.channels.clone();
        self.live = Some(Live { version: version.clone(), since: now, confirmed: false, seen, env: None });
    }

    /// What serves, or is about to, runs with these variables.
    pub fn run_with(&mut self, env: Option<EnvId>) {
        if let Some(live) = &mut self.live {
            live.env = env;
        }
    }

    /// The variables of a release: those it runs with, else those it was healthy with.
    pub fn env_of(&self, version: &Version) -> Option<&EnvId> {
        match &self.live {
            Some(live) if live.version == *version => live.env.as_ref(),
            _ => self.releases.get(version)?.env.as_ref(),
        }
    }

    /// All variables that are still of use.
    pub fn envs(&self) -> impl Iterator<Item = &EnvId> {
        let kept = self.releases.values().filter_map(|release| release.env.as_ref());
        kept.chain(self.live.iter().filter_map(|live| live.env.as_ref()))
    }

    /// What serves is taken to be this release, as it was before something that is now taken back; confirmed when it
    /// ever was. `None`: nothing serves.
    pub fn return_to(&mut self, version: Option<&Version>, now: Timestamp) {
        self.live = version.map(|version| {
            let release = self.releases.get(version);
            let confirmed = release.is_some_and(|release| release.standing == Standing::Healthy);
            let env = release.and_then(|release| release.env.clone());
            Live { version: version.clone(), since: now, confirmed, seen: BTreeMap::new(), env }
        });
    }

    /// What serves has passed its check: it is healthy, and the last one in the chain.
    pub fn confirm(&mut self, direction: Direction, now: Timestamp) {
        let Some(live) = &mut self.live else { return };
        live.confirmed = true;
        let (version, env) = (live.version.clone(), live.env.clone());
        if let Some(release) = self.releases.get_mut(&version) {
            release.env = env;
            (release.standing, release.since, release.reason) = (Standing::Healthy, now, None);
        }
        let known = self.healthy.iter().position(|healthy| *healthy == version);
        self.others.retain(|other| *other != version);
        match (direction, known) {
            (Direction::Back, Some(at)) => {
                let left_behind = self.healthy.split_off(at).into_iter().skip(1);
                self.others.extend(left_behind);
            }
            _ => self.healthy.retain(|healthy| *healthy != version),
        }
        self.healthy.push(version);
    }

    /// A release failed when it was activated: it is not gone back to, and only activated again on demand.
    pub fn mark_bad(&mut self, version: &Version, reason: &str, now: Timestamp) {
        if let Some(release) = self.releases.get_mut(version) {
            (release.standing, release.since, release.reason) = (Standing::Bad, now, Some(reason.to_owned()));
        }
        self.set_aside(version);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write state files by hand")]

    use super::*;

    fn v(name: &str) -> Version {
        name.parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn state(versions: &[&str]) -> State {
        let mut state = State::new(&"polls".parse().unwrap());
        for name in versions {
            state.add(&v(name), Release::prepared(Digest::of(name.as_bytes()), 1, 1, now()));
        }
        state
    }

    fn serve(state: &mut State, name: &str, direction: Direction) {
        state.switch_to(&v(name), now());
        state.confirm(direction, now());
    }

    fn previous(state: &State) -> Option<&str> {
        state.previous().map(Version::as_str)
    }

    #[test]
    fn good_bad_good_goes_back_to_the_first_good_one() {
        let mut state = state(&["a", "b", "c"]);
        serve(&mut state, "a", Direction::Forward);
        state.switch_to(&v("b"), now());
        assert_eq!(state.standing(&v("b")), Some(Standing::Live));
        state.return_to(Some(&v("a")), now());
        state.mark_bad(&v("b"), "500", now());
        serve(&mut state, "c", Direction::Forward);
        assert_eq!(previous(&state), Some("a"));
        assert_eq!(state.standing(&v("b")), Some(Standing::Bad));
    }

    #[test]
    fn each_rollback_goes_further_back() {
        let mut state = state(&["a", "b", "c"]);
        for name in ["a", "b", "c"] {
            serve(&mut state, name, Direction::Forward);
        }
        assert_eq!(previous(&state), Some("b"));
        serve(&mut state, "b", Direction::Back);
        assert_eq!(previous(&state), Some("a"));
        serve(&mut state, "a", Direction::Back);
        assert_eq!(previous(&state), None);
    }

    #[test]
    fn the_order_of_all_releases_comes_from_what_happened() {
        let mut state = state(&["a", "b", "c", "d", "e"]);
        for name in ["c", "b", "a"] {
            serve(&mut state, name, Direction::Forward);
        }
        let names = |versions: Vec<&Version>| versions.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(names(state.healthy().collect()), "c b a");
        serve(&mut state, "c", Direction::Back);
        assert_eq!(names(state.healthy().collect()), "b a c");
        state.mark_bad(&v("e"), "500", now());
        state.mark_bad(&v("b"), "500", now());
        assert_eq!(names(state.others(Standing::Bad).collect()), "e b");
        serve(&mut state, "e", Direction::Forward);
        assert_eq!((names(state.others(Standing::Prepared).collect()), previous(&state)), ("d".to_owned(), Some("c")));
        assert_eq!(names(state.healthy().collect()), "a c e");
    }

    #[test]
    fn a_file_without_the_order_gets_one_by_its_times() {
        let mut state = state(&["a", "b", "c"]);
        serve(&mut state, "a", Direction::Forward);
        state.mark_bad(&v("b"), "500", now() + jiff::SignedDuration::from_secs(1));
        let mut text = serde_json::to_value(&state).unwrap();
        text.as_object_mut().unwrap().remove("others").unwrap();
        let read = State::parse(text.to_string().as_bytes(), Path::new("state.json")).unwrap();
        assert_eq!(read.others, [v("c"), v("b")]);
    }

    #[test]
    fn activating_an_older_release_by_name_can_be_rolled_back() {
        let mut state = state(&["a", "b"]);
        for name in ["a", "b", "a"] {
            serve(&mut state, name, Direction::Forward);
        }
        assert_eq!(previous(&state), Some("b"));
    }

    #[test]
    fn returning_keeps_what_was_known_of_a_release() {
        let mut state = state(&["a", "b"]);
        serve(&mut state, "a", Direction::Forward);
        let before = state.clone();
        state.switch_to(&v("b"), now());
        assert_eq!(previous(&state), Some("a"));
        state.return_to(Some(&v("a")), now());
        assert_eq!(state, before);
        assert_eq!(state.standing(&v("b")), Some(Standing::Prepared));
    }

    #[test]
    fn a_forgotten_release_leaves_no_trace() {
        let mut state = state(&["a"]);
        serve(&mut state, "a", Direction::Forward);
        state.forget(&v("a"));
        assert_eq!((state.live(), state.previous(), state.releases().count()), (None, None, 0));
    }

    #[test]
    fn a_channel_never_goes_back() {
        let mut state = state(&[]);
        let production = "production".parse().unwrap();
        for (epoch, serial) in [(1, 7), (1, 3), (2, 1), (1, 9)] {
            state.see(&production, Position { epoch, serial });
        }
        assert_eq!(state.position(&production), Some(Position { epoch: 2, serial: 1 }));
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let mut state = state(&["a", "b"]);
        serve(&mut state, "a", Direction::Forward);
        state.mark_bad(&v("b"), "connection refused", now());
        state.save(&path).unwrap();
        assert_eq!(State::load(&path, &state.app).unwrap(), state);
        assert_eq!(State::load(&dir.path().join("none"), &state.app).unwrap(), State::new(&state.app));
    }

    #[test]
    fn newer_damaged_and_foreign_files_are_refused_by_name() {
        let refuse = |text: &str| {
            let parsed = State::parse(text.as_bytes(), Path::new("/srv/polls/.pannier/state.json"));
            let error = parsed.unwrap_err();
            format!("{error}\n{}", error.hint().unwrap())
        };
        insta::assert_snapshot!(refuse(r#"{"schema":2,"future":1}"#), @"
        the state file `/srv/polls/.pannier/state.json` has schema 2, this program knows up to 1
        use the newer pannier-activator that wrote it
        ");
        insta::assert_snapshot!(refuse("{"), @"
        the state file `/srv/polls/.pannier/state.json` is damaged
        move it away: `mv /srv/polls/.pannier/state.json /srv/polls/.pannier/state.json.damaged`; the next command learns it anew from the releases
        ");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        state(&[]).save(&path).unwrap();
        let error = State::load(&path, &"blog".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("the root belongs to the app `polls`, not to `blog`"), "{error}");
    }
}
