//! An app on this node: its root, what is configured for it and what is known of it.
//!
//! [`Node::open`] is for whoever changes something: it takes the lock and heals what an interrupted run left behind, so
//! that everybody who holds a [`Node`] works on a root that is in order. [`View::open`] is for whoever only looks: it
//! takes no lock and changes nothing, so that `status` answers also while something is under way.

use std::path::PathBuf;
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::{AppName, Version, near};
use pannier_shared::report::human;
use pannier_shared::sys::fs;
use pannier_shared::sys::lock::{self, Lock};

use crate::config::App;
use crate::heal;
use crate::identity;
use crate::journal::{Journal, Unended};
use crate::layout::{self, Current, Root};
use crate::state::{self, State};

/// A node that cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its root is not fit.
    #[error("the root of `{app}` cannot be used")]
    Layout {
        /// The app.
        app: AppName,
        /// Why.
        source: layout::Error,
    },
    /// Somebody else is at work, or the lock file is not fit.
    #[error("the lock of `{app}` cannot be taken")]
    Lock {
        /// The app.
        app: AppName,
        /// Who has it, or what is wrong with it.
        source: lock::Error,
    },
    /// Its `user` cannot be used.
    #[error("the user of `{app}` cannot be used")]
    User {
        /// The app.
        app: AppName,
        /// Why.
        source: identity::Error,
    },
    /// Its state file is not fit.
    #[error(transparent)]
    State(#[from] state::Error),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Layout { source, .. } => source.hint(),
            Error::Lock { app, source: lock::Error::Held(_) | lock::Error::StillHeld { .. } } => {
                Some(format!("wait until it is done, or add `--wait`; see `pannier-activator status {app}`"))
            }
            Error::User { source, .. } => source.hint(),
            Error::State(error) => error.hint(),
            Error::Lock { .. } | Error::Fs(_) => None,
        }
    }
}

/// An app on this node, locked and healed.
pub struct Node {
    /// The app.
    pub app: AppName,
    /// What is configured for it.
    pub config: App,
    /// Its root.
    pub root: Root,
    /// What is known of its releases; as on the disk between two operations.
    pub state: State,
    /// What was begun and ended.
    pub journal: Journal,
    _lock: Lock,
}

impl Node {
    /// Takes the app's lock, for a `reason` that others are told, and heals what was left behind.
    pub fn open(app: &AppName, config: &App, reason: &str, sink: &dyn Sink) -> Result<Self, Error> {
        Self::open_within(app, config, reason, Duration::ZERO, sink)
    }

    /// Like [`Self::open`], and waits for the lock for at most `wait`; `sink` is told for whom.
    pub fn open_within(
        app: &AppName,
        config: &App,
        reason: &str,
        wait: Duration,
        sink: &dyn Sink,
    ) -> Result<Self, Error> {
        let layout = |source| Error::Layout { app: app.clone(), source };
        let user = |source| Error::User { app: app.clone(), source };
        let owner = identity::owner(config.user.as_deref()).map_err(user)?;
        let root = Root::prepare_for(&config.root, owner.as_ref()).map_err(layout)?;
        let lock = take_lock(app, &root, reason, wait, sink)?;
        let current = root.where_current_leads().map_err(layout)?;
        let state = State::load(&root.state(), app)?;
        let journal = Journal::at(&root.journal());
        let mut node = Self { app: app.clone(), config: config.clone(), root, state, journal, _lock: lock };
        heal::heal(&mut node, &current, sink)?;
        Ok(node)
    }

    /// Writes the state down; what serves must not have changed (that is `steps::switch`).
    pub fn save(&self) -> fs::Result<()> {
        self.state.save(&self.root.state())
    }
}

/// Without anything to wait for, being refused at once is [`lock::Error::Held`].
fn take_lock(app: &AppName, root: &Root, reason: &str, wait: Duration, sink: &dyn Sink) -> Result<Lock, Error> {
    let mut waits = |holder: &Option<lock::Holder>| {
        let (whom, limit) = (lock::describe(holder), human::duration(wait));
        sink.emit(Event::Note {
            text: format!("waiting for the lock of `{app}`, for at most {limit}: it is held by {whom}"),
        });
    };
    let taken = match wait {
        Duration::ZERO => lock::acquire(&root.lock(), reason),
        wait => lock::acquire_within(&root.lock(), reason, wait, &mut waits),
    };
    taken.map_err(|source| Error::Lock { app: app.clone(), source })
}

/// An app on this node, looked at as it is.
pub struct View {
    /// The app.
    pub app: AppName,
    /// Where its root is, or will be.
    pub path: PathBuf,
    /// Its root, if it is there.
    pub root: Option<Root>,
    /// What is known of its releases.
    pub state: State,
    /// Where `current` leads.
    pub current: Current,
    /// What was begun and not ended: it is under way, or was interrupted.
    pub unended: Option<Unended>,
}

impl View {
    /// Looks at an app; one that was never fetched has nothing to show, and that is no error.
    pub fn open(app: &AppName, config: &App) -> Result<Self, Error> {
        let layout = |source| Error::Layout { app: app.clone(), source };
        let root = match Root::look(&config.root) {
            Err(layout::Error::Missing(path)) => return Ok(Self::of_nothing(app, path)),
            other => other.map_err(layout)?,
        };
        let current = root.where_current_leads().map_err(layout)?;
        let state = State::load(&root.state(), app)?;
        let unended = Journal::at(&root.journal()).unended()?;
        Ok(Self { app: app.clone(), path: root.path().to_owned(), root: Some(root), state, current, unended })
    }

    fn of_nothing(app: &AppName, path: PathBuf) -> Self {
        let state = State::new(app);
        Self { app: app.clone(), path, root: None, state, current: Current::Absent, unended: None }
    }
}

/// The release in a view or node is not here.
#[derive(Debug, thiserror::Error)]
#[error("`{app}` has no release `{version}` on this node")]
pub struct NotHere {
    /// The app.
    pub app: AppName,
    /// The release asked for.
    pub version: Version,
    /// What may have been meant.
    pub near: Vec<String>,
}

impl NotHere {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        match self.near.as_slice() {
            [] => format!("see what is here: `pannier-activator releases {}`", self.app),
            near => format!("did you mean `{}`?", near.join("` or `")),
        }
    }

    /// Says that `state` does not have `version`, and which names are near.
    pub fn of(app: &AppName, version: &Version, state: &State) -> Self {
        let known = state.releases().map(|(version, _)| version.as_str());
        let near = near(version.as_str(), known).into_iter().map(str::to_owned).collect();
        Self { app: app.clone(), version: version.clone(), near }
    }
}
