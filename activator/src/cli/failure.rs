//! Every error a command can end with, and what each means for the exit status and the person who reads it. One
//! place, and no wildcard that a new error could hide behind.

use std::io;

use pannier_activator::activate::Unfit;
use pannier_activator::migrate::lease;
use pannier_activator::plan::forecast;
use pannier_activator::steps::share;
use pannier_activator::units::of_release;
use pannier_activator::{
    activate, agent, config, described, fetch, migrate, node, prune, recover, repair, resolve, rollback, run, state,
    verify,
};
use pannier_shared::exit::Exit;
use pannier_shared::report::Failure;
use pannier_shared::signature::TrustError;
use pannier_shared::store::location::BadLocation;
use pannier_shared::sys::lock;
use pannier_shared::{published, steps, store};

/// What a command can end with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error("the store cannot be opened")]
    Location(#[from] BadLocation),
    #[error("the store cannot be opened")]
    Store(#[from] store::Error),
    #[error("no store is configured")]
    NoStore,
    #[error("the trusted keys cannot be read")]
    Trust(#[from] TrustError),
    #[error("the program could not start its runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    NotHere(#[from] node::NotHere),
    #[error(transparent)]
    Fetch(#[from] Box<fetch::Failure>),
    #[error(transparent)]
    Plan(#[from] Box<forecast::Failure>),
    #[error(transparent)]
    Activate(#[from] Box<activate::Failure>),
    #[error(transparent)]
    Rollback(#[from] rollback::Error),
    #[error(transparent)]
    Migrate(#[from] Box<migrate::Failure>),
    #[error(transparent)]
    Published(#[from] Box<published::Error>),
    #[error(transparent)]
    Verify(#[from] verify::Error),
    #[error(transparent)]
    Prune(#[from] Box<prune::Failure>),
    #[error(transparent)]
    Repair(#[from] Box<repair::Failure>),
    #[error(transparent)]
    NotStarted(#[from] Box<repair::NotStarted>),
    #[error(transparent)]
    Run(#[from] run::Error),
    #[error(transparent)]
    Units(#[from] of_release::Error),
    #[error(transparent)]
    Recover(#[from] recover::Error),
    #[error(transparent)]
    Damaged(#[from] recover::Damaged),
    #[error(transparent)]
    Agent(#[from] agent::Error),
}

/// What went wrong with one app of a recovery, as it is said when it is the only one.
impl From<recover::Trouble> for Error {
    fn from(trouble: recover::Trouble) -> Self {
        match trouble {
            recover::Trouble::Config(error) => error.into(),
            recover::Trouble::Node(error) => error.into(),
            recover::Trouble::Fetch(failure) => failure.into(),
            recover::Trouble::Activate(failure) => failure.into(),
            recover::Trouble::Verify(error) => error.into(),
            recover::Trouble::Damaged(error) => error.into(),
        }
    }
}

impl Error {
    /// What a person is told: the error and its causes, what could not be undone, what serves, and what to type.
    pub fn into_failure(self, serving: Option<String>) -> Failure {
        let mut failure = Failure::of(self.exit(), &self).hints(self.hint());
        failure.causes.extend(self.more());
        failure.serving = serving;
        failure
    }

    /// What is true now, as a number.
    fn exit(&self) -> Exit {
        match self {
            Error::Config(config::Error::NoApp { .. }) => Exit::NotFound,
            Error::Config(_) | Error::Location(_) | Error::NoStore | Error::Trust(_) => Exit::Usage,
            Error::Store(error) => Exit::from(error),
            Error::Runtime(_) => Exit::Machine,
            Error::Node(error) => of_node(error),
            Error::NotHere(_) => Exit::NotFound,
            Error::Fetch(failure) if !failure.left.is_empty() => Exit::Mixed,
            Error::Fetch(failure) => of_fetch(&failure.source),
            Error::Plan(failure) => of_fetch(&failure.source),
            Error::Activate(failure) | Error::Rollback(rollback::Error::Failed(failure)) => of_activation(failure),
            Error::Rollback(rollback::Error::NoneHealthy { .. } | rollback::Error::NotHere(_)) => Exit::NotFound,
            Error::Rollback(rollback::Error::NeverHealthy { .. }) => Exit::Refused,
            Error::Migrate(failure) => of_migration(&failure.source),
            Error::Published(error) => Exit::from(error.as_ref()),
            Error::Verify(error) => of_verify(error),
            Error::Prune(failure) => of_prune(failure),
            Error::Repair(failure) if !failure.left.is_empty() => Exit::Mixed,
            Error::Repair(failure) => of_repair(&failure.source),
            Error::NotStarted(_) => Exit::Mixed,
            Error::Run(error) => of_run(error),
            Error::Units(error) => of_units(error),
            Error::Recover(error) => of_recover(error),
            Error::Damaged(_) => Exit::Verification,
            Error::Agent(error) => of_agent(error),
        }
    }

    /// What a person can type about it.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Error::Config(error) => error.hint(),
            Error::Location(_) | Error::Runtime(_) => None,
            Error::Store(error) => error.hint(),
            Error::NoStore => {
                Some("name one by `store` in the configuration, by `--store` or by `PANNIER_STORE`".to_owned())
            }
            Error::Trust(_) => Some(
                "put the lines that `pannier keys new` printed into it, or name another one by `--trust`".to_owned(),
            ),
            Error::Node(error) => error.hint(),
            Error::NotHere(error) | Error::Rollback(rollback::Error::NotHere(error)) => Some(error.hint()),
            Error::Fetch(failure) => fetch_hint(&failure.source),
            Error::Plan(failure) => fetch_hint(&failure.source),
            Error::Activate(failure) | Error::Rollback(rollback::Error::Failed(failure)) => failure.hint(),
            Error::Rollback(rollback::Error::NoneHealthy { app }) => {
                Some(format!("activate one by name; see `pannier-activator releases {app}`"))
            }
            Error::Rollback(rollback::Error::NeverHealthy { app, version, .. }) => {
                Some(format!("`pannier-activator activate {app} {version}` gives it a try"))
            }
            Error::Migrate(failure) => failure.hint(),
            Error::Published(error) => published_hint(error),
            Error::Verify(error) => verify_hint(error),
            Error::Prune(_) => None,
            Error::Repair(failure) => repair_hint(failure),
            Error::NotStarted(error) => error
                .hint()
                .or_else(|| Some("see to `restart`, `env_file` and `health` in the app's configuration".to_owned())),
            Error::Run(error) => error.hint(),
            Error::Units(error) => error.hint(),
            Error::Recover(recover::Error::Published(error)) if is_away(error) => Some(
                "check the address and the network, or name a copy with `--store`: `pannier suite mirror` makes one"
                    .to_owned(),
            ),
            Error::Recover(recover::Error::Published(error)) => published_hint(error),
            Error::Recover(error) => error.hint(),
            Error::Damaged(_) => Some("look at the disk of this machine, and run it again".to_owned()),
            Error::Agent(error) => error.hint(),
        }
    }

    /// What the app printed, and what could not be undone, one line for each.
    fn more(&self) -> Vec<String> {
        fn lines<E: std::error::Error>(left: &[steps::NotUndone<E>]) -> Vec<String> {
            left.iter()
                .map(|not| format!("`{}` could not be undone: {}", not.step, activate::one_line(&not.error)))
                .collect()
        }
        match self {
            Error::Activate(failure) | Error::Rollback(rollback::Error::Failed(failure)) => {
                let printed = failure.printed().map(|printed| format!("what it printed last:{printed}"));
                printed.into_iter().chain(lines(&failure.left)).collect()
            }
            Error::Fetch(failure) => lines(&failure.left),
            Error::Prune(failure) => lines(&failure.left),
            Error::Repair(failure) => lines(&failure.left),
            _ => Vec::new(),
        }
    }
}

fn of_node(error: &node::Error) -> Exit {
    match error {
        node::Error::Lock { source: lock::Error::Held(_) | lock::Error::StillHeld { .. }, .. } => Exit::Locked,
        node::Error::Lock { source: lock::Error::Fs(_), .. } => Exit::Machine,
        node::Error::User { .. } => Exit::Usage,
        node::Error::Layout { .. } | node::Error::Fs(_) => Exit::Machine,
        node::Error::State(state::Error::OtherApp { .. }) => Exit::Usage,
        node::Error::State(state::Error::Newer { .. }) => Exit::Refused,
        node::Error::State(state::Error::Damaged { .. } | state::Error::Fs(_)) => Exit::Machine,
    }
}

fn of_fetch(error: &fetch::Error) -> Exit {
    use pannier_activator::steps::fetch::Error as Transfer;
    match error {
        fetch::Error::Resolve(resolve::Error::Published(error)) => Exit::from(error.as_ref()),
        fetch::Error::Resolve(resolve::Error::WentBack { .. }) => Exit::Verification,
        fetch::Error::Resolve(resolve::Error::Fs(_)) => Exit::Machine,
        fetch::Error::Admit(_) | fetch::Error::Older(_) => Exit::Refused,
        fetch::Error::AnotherHere { .. } | fetch::Error::InTheWay(_) | fetch::Error::Mounted(_) => Exit::Refused,
        fetch::Error::Prune(failure) => of_prune(failure),
        fetch::Error::NoRoom { .. } | fetch::Error::Fs(_) | fetch::Error::Transfer(Transfer::Fs(_)) => Exit::Machine,
        fetch::Error::Transfer(Transfer::Store { source, .. }) => match Exit::from(source) {
            // The statement is there and its artifact is not: the store is at fault, not what was asked for.
            Exit::NotFound => Exit::Store,
            other => other,
        },
        fetch::Error::Transfer(Transfer::Archive(_) | Transfer::Content(_)) => Exit::Verification,
        fetch::Error::NotComplete | fetch::Error::Shared(_) => Exit::Verification,
        fetch::Error::NoPlan | fetch::Error::Transfer(Transfer::Thread) => Exit::Unexpected,
    }
}

fn fetch_hint(error: &fetch::Error) -> Option<String> {
    use pannier_activator::steps::fetch::Error as Transfer;
    match error {
        fetch::Error::Resolve(resolve::Error::Published(error)) => published_hint(error),
        fetch::Error::Transfer(Transfer::Store { source, .. }) => source.hint(),
        other => other.hint(),
    }
}

fn of_activation(failure: &activate::Failure) -> Exit {
    match &failure.source {
        _ if !failure.left.is_empty() => Exit::Mixed,
        _ if failure.tried => Exit::RolledBack,
        activate::Error::NotHere(_) => Exit::NotFound,
        activate::Error::Bad { .. } | activate::Error::Older(_) | activate::Error::Closed(_) => Exit::Refused,
        activate::Error::Incomplete { .. } => Exit::Verification,
        activate::Error::Restart { .. } => Exit::Program,
        activate::Error::Health { .. } => Exit::RolledBack,
        activate::Error::NoneBefore => Exit::Mixed,
        activate::Error::Hook(_) => Exit::Program,
        activate::Error::Environment { .. } => Exit::Usage,
        activate::Error::Folder(_) => Exit::Refused,
        activate::Error::User(_) => Exit::Usage,
        activate::Error::Schema(Unfit::Pending { .. } | Unfit::Breaks { .. } | Unfit::NoWayBack { .. }) => {
            Exit::Refused
        }
        activate::Error::Schema(Unfit::Unasked(error)) => of_migration(error),
        activate::Error::Schema(Unfit::Failed(failure)) => of_migration(&failure.source),
        activate::Error::Shared(share::Error::Fs(_)) => Exit::Machine,
        activate::Error::Shared(_) => Exit::Refused,
        activate::Error::Described(described::Error::Form { .. }) => Exit::Verification,
        activate::Error::Described(described::Error::Fs(_)) | activate::Error::Fs(_) => Exit::Machine,
    }
}

fn of_migration(error: &migrate::Error) -> Exit {
    use migrate::Error as E;
    match error {
        E::NotHere(_) => Exit::NotFound,
        E::Incomplete(_) | E::Described(described::Error::Form { .. }) => Exit::Verification,
        E::NotDescribed(_) | E::Folder(_) => Exit::Refused,
        E::User(_) | E::Env(_) => Exit::Usage,
        E::Unreachable { .. } | E::Program { .. } | E::Differs { .. } => Exit::Program,
        E::Lease(lease::Error::Held { .. } | lease::Error::Lost(_)) => Exit::Locked,
        E::Lease(lease::Error::Store(error)) => Exit::from(error),
        E::Lease(lease::Error::Form { .. }) => Exit::Store,
        E::Described(described::Error::Fs(_)) | E::Fs(_) => Exit::Machine,
    }
}

fn of_prune(failure: &prune::Failure) -> Exit {
    match &failure.source {
        _ if !failure.left.is_empty() => Exit::Mixed,
        prune::Error::Stays { .. } => Exit::Refused,
        prune::Error::Fs(_) => Exit::Machine,
    }
}

fn of_repair(error: &repair::Error) -> Exit {
    match error {
        repair::Error::NotHere(_) | repair::Error::NothingServes(_) => Exit::NotFound,
        repair::Error::Published(error) => Exit::from(error.as_ref()),
        repair::Error::AnotherHere(_) => Exit::Refused,
        repair::Error::Fetch(error) => of_fetch(error),
        repair::Error::Fs(_) => Exit::Machine,
    }
}

fn repair_hint(failure: &repair::Failure) -> Option<String> {
    match &failure.source {
        repair::Error::NotHere(error) => Some(error.hint()),
        repair::Error::NothingServes(app) => Some(format!("name one of `pannier-activator releases {app}`")),
        repair::Error::Published(error) => published_hint(error),
        repair::Error::Fetch(error) => fetch_hint(error),
        repair::Error::AnotherHere(_) | repair::Error::Fs(_) => None,
    }
}

fn of_verify(error: &verify::Error) -> Exit {
    match error {
        verify::Error::NotHere(_) | verify::Error::NothingServes(_) => Exit::NotFound,
        verify::Error::Statement { .. } | verify::Error::Replaced { .. } | verify::Error::Tables { .. } => {
            Exit::Verification
        }
        verify::Error::Fs(_) => Exit::Machine,
    }
}

fn of_run(error: &run::Error) -> Exit {
    use run::Error as E;
    match error {
        E::NothingServes(_) | E::NotHere(_) => Exit::NotFound,
        E::NotDescribed(_) | E::Folder(_) => Exit::Refused,
        E::Described(described::Error::Form { .. }) => Exit::Verification,
        E::Described(described::Error::Fs(_)) => Exit::Machine,
        E::User(_) | E::Env(_) => Exit::Usage,
        E::Program(_) => Exit::Program,
    }
}

fn of_units(error: &of_release::Error) -> Exit {
    use of_release::Error as E;
    match error {
        E::NotSupervised(_) => Exit::Usage,
        E::NothingServes(_) | E::NotHere(_) => Exit::NotFound,
        E::NoProcesses { .. } | E::Folder(_) | E::Unfit(_) => Exit::Refused,
        E::Described(described::Error::Form { .. }) => Exit::Verification,
        E::Described(described::Error::Fs(_)) | E::Fs(_) => Exit::Machine,
    }
}

fn of_recover(error: &recover::Error) -> Exit {
    match error {
        recover::Error::Published(error) => Exit::from(error.as_ref()),
        recover::Error::UnknownRole { .. } => Exit::NotFound,
        recover::Error::WentBack(_) => Exit::Verification,
        recover::Error::NotAside(_) | recover::Error::Config(_) => Exit::Usage,
        recover::Error::Fs(_) => Exit::Machine,
        recover::Error::NotRead => Exit::Unexpected,
    }
}

fn of_agent(error: &agent::Error) -> Exit {
    use agent::Error as E;
    match error {
        E::NoFleet | E::NoStore | E::Location(_) | E::Origin(agent::origin::Error::Trust(_)) => Exit::Usage,
        E::Origin(agent::origin::Error::Store(error)) => Exit::from(error),
        E::Lock(lock::Error::Held(_) | lock::Error::StillHeld { .. }) => Exit::Locked,
        E::Lock(lock::Error::Fs(_)) | E::Memory(_) | E::Fs(_) | E::Runtime(_) => Exit::Machine,
    }
}

fn verify_hint(error: &verify::Error) -> Option<String> {
    match error {
        verify::Error::NotHere(error) => Some(error.hint()),
        verify::Error::NothingServes(app) => Some(format!("name one of `pannier-activator releases {app}`")),
        verify::Error::Statement { source, .. } => source.hint(),
        verify::Error::Replaced { .. } | verify::Error::Tables { .. } | verify::Error::Fs(_) => None,
    }
}

fn is_away(error: &published::Error) -> bool {
    matches!(error, published::Error::Store(store::Error::Unavailable { .. }))
}

/// What is near, else the command that shows what there is.
fn published_hint(error: &published::Error) -> Option<String> {
    error.hint().or_else(|| match error {
        published::Error::UnknownVersion { store, .. } if store.starts_with("https://") => None,
        published::Error::UnknownVersion { app, .. } => {
            Some(format!("`pannier-activator releases {app} --published` shows what there is"))
        }
        _ => None,
    })
}
