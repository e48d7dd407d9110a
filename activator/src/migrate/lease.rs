//! The lease: one migration at a time in an environment, across nodes. It is a small object in the store that is only ever
//! changed by compare-and-swap.
//!
//! Its holder renews it every third of its time. Whoever finds it held waits until it is given back, or until it has not
//! changed for its whole time by the waiter's own clock: no two clocks are compared, so that a wrong one takes nothing from
//! anybody. Only what was over long ago by its own date (more than clocks differ) is taken at once, and what this very root
//! held before: its process is dead, or the root's lock could not have been had.
//!
//! Every change of hands has a higher number, the *fence*. Our Python has to ask for leave after it has the database's own lock
//! and before it changes anything, and that is given only by a renewal that succeeds: so who was paused, and lost the
//! lease meanwhile, changes nothing. Migrations can read the number in `PANNIER_FENCE`.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, ChannelName};
use pannier_shared::report::human;
use pannier_shared::store::{self, Condition, Etag, Key, Store};
use pannier_shared::sys::clock;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// The most bytes of one.
const LIMIT: u64 = 64 * 1024;

/// Clocks of nodes and a lease's date differ by less.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// Held leases are looked at again after so long, at most.
const PAUSE: Duration = Duration::from_secs(2);

/// What lies in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Paper {
    /// Who holds it, for a person.
    owner: String,
    /// The root that holds it: nothing else on earth has this text.
    root: String,
    /// What for: "migrate v2".
    reason: String,
    /// Which holder it is, counted.
    fence: u64,
    since: Timestamp,
    expires: Timestamp,
    /// For how long it is good after each change, in seconds.
    seconds: f64,
    /// True once it was given back.
    free: bool,
}

/// Who holds a lease, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    owner: String,
    reason: String,
    since: Timestamp,
    expires: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owner, reason, since, expires } = self;
        let (owner, reason) = (human::harmless(owner), human::harmless(reason));
        write!(f, "{owner} ({reason}) since {since:.0}, and good until {expires:.0}")
    }
}

impl From<Paper> for Holder {
    fn from(paper: Paper) -> Self {
        Self { owner: paper.owner, reason: paper.reason, since: paper.since, expires: paper.expires }
    }
}

/// A lease that could not be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds it, and did not give it back in time.
    #[error("the lease to migrate `{environment}` is held by {holder}, and was waited for {}", human::duration(*.waited))]
    Held {
        /// What it is for.
        environment: ChannelName,
        /// Who holds it.
        holder: Holder,
        /// For how long.
        waited: Duration,
    },
    /// Somebody else has it now.
    #[error("the lease was lost to {0}: this was paused, or away from the store, for longer than it is good")]
    Lost(Holder),
    /// The store cannot be written to, or cannot be asked.
    #[error("the lease in the store cannot be had")]
    Store(#[from] store::Error),
    /// What lies there is no lease.
    #[error("`{key}` in the store is no lease: {source}")]
    Form {
        /// The key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Which lease, and for whom.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The app.
    pub app: AppName,
    /// The environment: what shares the databases.
    pub environment: ChannelName,
    /// Who wants it, for a person.
    pub owner: String,
    /// The root that wants it: no other has this text.
    pub root: String,
    /// What for.
    pub reason: String,
    /// How long it is good after each renewal.
    pub good_for: Duration,
    /// How long it is waited for.
    pub wait: Duration,
}

/// A lease that is held.
pub struct Lease<'a> {
    store: &'a dyn Store,
    runtime: &'a Runtime,
    key: Key,
    etag: Etag,
    paper: Paper,
    renewed: Instant,
}

/// A look at what lies in the store.
struct Seen {
    paper: Paper,
    etag: Etag,
}

impl<'a> Lease<'a> {
    /// Takes it, or waits for it; `sink` is told for whom.
    pub fn take(store: &'a dyn Store, wanted: &Wanted, runtime: &'a Runtime, sink: &dyn Sink) -> Result<Self, Error> {
        let key = key(wanted);
        let begun = clock::monotonic();
        let mut watch = Watch::default();
        loop {
            let seen = runtime.block_on(look(store, &key))?;
            let Some(holder) = seen.as_ref().filter(|seen| watch.is_held(seen, wanted)) else {
                match runtime.block_on(write(store, &key, wanted, seen)) {
                    Ok((etag, paper)) => {
                        return Ok(Self { store, runtime, key, etag, paper, renewed: clock::monotonic() });
                    }
                    // Somebody else was quicker.
                    Err(store::Error::AlreadyExists { .. } | store::Error::Changed { .. }) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            let waited = begun.elapsed();
            let holder = Holder::from(holder.paper.clone());
            if waited >= wanted.wait {
                return Err(Error::Held { environment: wanted.environment.clone(), holder, waited: wanted.wait });
            }
            watch.tell(&holder, sink);
            clock::sleep(PAUSE.min(wanted.good_for / 10));
        }
    }

    /// Its number.
    pub fn fence(&self) -> u64 {
        self.paper.fence
    }

    /// Renews it if a third of its time is over.
    pub fn keep(&mut self) -> Result<(), Error> {
        if self.renewed.elapsed() >= Duration::from_secs_f64(self.paper.seconds / 3.0) { self.renew() } else { Ok(()) }
    }

    /// Whether its time is over, so that somebody else may have taken it.
    pub fn is_over(&self) -> bool {
        self.renewed.elapsed() >= Duration::from_secs_f64(self.paper.seconds)
    }

    /// Renews it now: proof that it is still held.
    pub fn renew(&mut self) -> Result<(), Error> {
        let paper = Paper { expires: expiry(self.paper.seconds), ..self.paper.clone() };
        let begun = clock::monotonic();
        self.swap(paper)?;
        self.renewed = begun;
        Ok(())
    }

    /// Gives it back; one that was lost has been taken by somebody else.
    pub fn give_back(mut self) -> Result<(), Error> {
        let paper = Paper { free: true, ..self.paper.clone() };
        match self.swap(paper) {
            Err(Error::Lost(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// An answer that was lost can have been a yes: then what lies there is what was written.
    fn swap(&mut self, paper: Paper) -> Result<(), Error> {
        let text = serde_json::to_vec(&paper).unwrap_or_default();
        let put = self.store.put(&self.key, text.into(), Condition::Unchanged(self.etag.clone()));
        let etag = match self.runtime.block_on(put) {
            Ok(etag) => etag,
            Err(store::Error::Changed { .. } | store::Error::NotFound { .. }) => {
                match self.runtime.block_on(look(self.store, &self.key))? {
                    Some(seen) if seen.paper == paper => seen.etag,
                    Some(seen) => return Err(Error::Lost(seen.paper.into())),
                    None => return Err(Error::Lost(self.paper.clone().into())),
                }
            }
            Err(error) => return Err(error.into()),
        };
        (self.etag, self.paper) = (etag, paper);
        Ok(())
    }
}

/// Whom it was waited for, and since when what lies there has not changed.
#[derive(Default)]
struct Watch {
    since: Option<(Etag, Instant)>,
    told: Option<Holder>,
}

impl Watch {
    fn is_held(&mut self, seen: &Seen, wanted: &Wanted) -> bool {
        let Paper { free, root, expires, seconds, .. } = &seen.paper;
        if *free || *root == wanted.root || clock::now().duration_since(*expires) > CLOCKS {
            return false;
        }
        let unchanged = self.since.as_ref().filter(|(etag, _)| *etag == seen.etag).map(|(_, since)| since.elapsed());
        if unchanged.is_none() {
            self.since = Some((seen.etag.clone(), clock::monotonic()));
        }
        !unchanged.is_some_and(|unchanged| unchanged.as_secs_f64() >= *seconds)
    }

    fn tell(&mut self, holder: &Holder, sink: &dyn Sink) {
        let is_same = |told: &Holder| (&told.owner, told.since) == (&holder.owner, holder.since);
        if !self.told.as_ref().is_some_and(is_same) {
            sink.emit(Event::Note { text: format!("waiting for the lease: it is held by {holder}") });
            self.told = Some(holder.clone());
        }
    }
}

fn key(wanted: &Wanted) -> Key {
    // App and environment are names: they cannot break a key.
    let text = format!("{}/leases/{}/migrate.json", wanted.app, wanted.environment);
    text.parse().unwrap_or_else(|_| unreachable!("`{text}` is a key"))
}

async fn look(store: &dyn Store, key: &Key) -> Result<Option<Seen>, Error> {
    let object = match store.get(key, LIMIT).await {
        Ok(object) => object,
        Err(store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let form = |source| Error::Form { key: key.to_string(), source };
    Ok(Some(Seen { paper: serde_json::from_slice(&object.bytes).map_err(form)?, etag: object.etag }))
}

async fn write(store: &dyn Store, key: &Key, wanted: &Wanted, seen: Option<Seen>) -> store::Result<(Etag, Paper)> {
    let (fence, condition) = match seen {
        Some(seen) => (seen.paper.fence + 1, Condition::Unchanged(seen.etag)),
        None => (1, Condition::Absent),
    };
    let seconds = wanted.good_for.as_secs_f64();
    let paper = Paper {
        owner: wanted.owner.clone(),
        root: wanted.root.clone(),
        reason: wanted.reason.clone(),
        fence,
        since: clock::now(),
        expires: expiry(seconds),
        seconds,
        free: false,
    };
    let etag = store.put(key, serde_json::to_vec(&paper).unwrap_or_default().into(), condition).await?;
    Ok((etag, paper))
}

fn expiry(seconds: f64) -> Timestamp {
    SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|good| clock::now().checked_add(good).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write what lies in the store by hand")]

    use pannier_shared::event::{Recorder, Silent};
    use pannier_shared::store::dir::DirStore;

    use super::*;
    use crate::testing::runtime;

    fn wanted(root: &str, good_for: u64, wait: u64) -> Wanted {
        Wanted {
            app: "polls".parse().unwrap(),
            environment: "production".parse().unwrap(),
            owner: format!("{root}, process 1"),
            root: root.to_owned(),
            reason: "migrate to v2".to_owned(),
            good_for: Duration::from_millis(good_for),
            wait: Duration::from_millis(wait),
        }
    }

    fn store() -> (tempfile::TempDir, DirStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = DirStore::new(dir.path());
        (dir, store)
    }

    #[test]
    fn one_holds_it_and_every_change_of_hands_has_a_higher_number() {
        let ((_dir, store), runtime) = (store(), runtime());
        let take = |wanted: &Wanted| Lease::take(&store, wanted, &runtime, &Silent);
        let first = take(&wanted("one", 60_000, 0)).unwrap();
        let refused = take(&wanted("other", 60_000, 0)).err().unwrap().to_string();
        let refused = refused.split(" since ").next().unwrap();
        insta::assert_snapshot!(refused, @"the lease to migrate `production` is held by one, process 1 (migrate to v2)");
        assert_eq!(first.fence(), 1);
        first.give_back().unwrap();
        assert_eq!(take(&wanted("other", 60_000, 0)).unwrap().fence(), 2);
        assert_eq!(take(&wanted("other", 60_000, 0)).unwrap().fence(), 3, "what this root held before is its own");
    }

    #[test]
    fn one_that_does_not_change_for_its_whole_time_is_taken_whatever_clocks_say() {
        let ((dir, store), runtime) = (store(), runtime());
        let mut dead = Lease::take(&store, &wanted("dead", 300, 0), &runtime, &Silent).unwrap();
        // By its own date it is good for years.
        let path = dir.path().join("polls/leases/production/migrate.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once(r#""expires":""#).unwrap();
        std::fs::write(&path, format!(r#"{before}"expires":"9{}"#, &after[1..])).unwrap();
        let told = Recorder::default();
        let begun = clock::monotonic();
        let next = Lease::take(&store, &wanted("next", 300, 20_000), &runtime, &told).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(300));
        assert_eq!((next.fence(), told.events().len()), (2, 1));
        assert!(matches!(dead.renew(), Err(Error::Lost(holder)) if holder.owner == "next, process 1"));
        dead.give_back().unwrap();
        drop(next);
    }

    #[test]
    fn one_that_is_renewed_is_not_taken() {
        let ((_dir, store), runtime) = (store(), runtime());
        let mut held = Lease::take(&store, &wanted("one", 200, 0), &runtime, &Silent).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let runtime = crate::testing::runtime();
                Lease::take(&store, &wanted("other", 200, 800), &runtime, &Silent).err().map(|error| error.to_string())
            });
            while !other.is_finished() {
                held.renew().unwrap();
                clock::sleep(Duration::from_millis(10));
            }
            assert!(other.join().unwrap().unwrap().contains("is held by one"));
        });
    }

    #[test]
    fn one_that_was_over_long_ago_is_taken_at_once() {
        let ((dir, store), runtime) = (store(), runtime());
        drop(Lease::take(&store, &wanted("dead", 60_000, 0), &runtime, &Silent).unwrap());
        let path = dir.path().join("polls/leases/production/migrate.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, after) = text.split_once(r#""expires":""#).unwrap();
        std::fs::write(&path, format!(r#"{before}"expires":"1{}"#, &after[1..])).unwrap();
        assert_eq!(Lease::take(&store, &wanted("next", 60_000, 0), &runtime, &Silent).unwrap().fence(), 2);
    }

    #[test]
    fn what_is_no_lease_is_named() {
        let ((dir, store), runtime) = (store(), runtime());
        std::fs::create_dir_all(dir.path().join("polls/leases/production")).unwrap();
        std::fs::write(dir.path().join("polls/leases/production/migrate.json"), "{}").unwrap();
        let error = Lease::take(&store, &wanted("one", 1000, 0), &runtime, &Silent).err().unwrap();
        insta::assert_snapshot!(error, @"`polls/leases/production/migrate.json` in the store is no lease: missing field `owner` at line 1 column 2");
    }
}
