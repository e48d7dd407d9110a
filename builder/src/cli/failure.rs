//! Every error a command can end with, and what each means for the exit status and the person who reads it. One
//! place, and no wildcard that a new error could hide behind.

use std::io;
use std::path::PathBuf;

use pannier_builder::moving::NotSigned;
use pannier_builder::stages::{
    bundle, django, documents, elf, interpreter, libc, pack, proof, requirements, scratch, sign, source, static_files,
    tools, venv, wheels,
};
use pannier_builder::suite::{self, mirror};
use pannier_builder::{build, inside, promote, publish, rollout, settings, static_host};
use pannier_shared::archive::read;
use pannier_shared::exit::Exit;
use pannier_shared::report::Failure;
use pannier_shared::signature::{KeyError, SignError, TrustError};
use pannier_shared::store::location::BadLocation;
use pannier_shared::sys::{fs, process};
use pannier_shared::{published, store};

mod suites;

use suites::{of_mirror, of_suite};

/// What a command can end with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Settings(#[from] settings::Error),
    #[error("the app has no name")]
    NoApp,
    #[error("neither a version to build nor one to verify against is named")]
    NoVersion,
    #[error(transparent)]
    Build(#[from] Box<build::Failed>),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the trusted keys cannot be read")]
    Trust(#[from] TrustError),
    #[error("no store is named")]
    NoStore,
    #[error("the store cannot be opened")]
    Location(#[from] BadLocation),
    #[error("the store cannot be opened")]
    Store(#[from] store::Error),
    #[error("the place for static files cannot be opened")]
    HostLocation(#[source] BadLocation),
    #[error("the place for static files cannot be opened")]
    Host(#[source] store::Error),
    #[error(
        "static files cannot be put into {host}: the store {store} lies in it, and whoever reads them could read the releases"
    )]
    LaidOpen { host: String, store: String },
    #[error("there is no built release in `{}`", .0.display())]
    NothingBuilt(PathBuf),
    #[error("there are several built releases: {}", .0.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", "))]
    ManyBuilt(Vec<PathBuf>),
    #[error("the program could not start its runtime")]
    Runtime(#[source] io::Error),
    #[error(transparent)]
    Publish(#[from] publish::Error),
    #[error(transparent)]
    Promote(#[from] promote::Error),
    #[error(transparent)]
    SuiteFile(#[from] suite::BadFile),
    #[error(transparent)]
    Suite(#[from] suite::Error),
    #[error(transparent)]
    Mirror(#[from] mirror::Error),
    #[error("{0} cannot be copied onto itself")]
    OntoItself(String),
    #[error(transparent)]
    Rollout(#[from] rollout::Error),
    #[error(transparent)]
    Published(#[from] Box<published::Error>),
    #[error(transparent)]
    Inside(#[from] inside::Error),
    #[error("the second of the two releases cannot be planned for")]
    Archive(#[from] read::Error),
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person is told: the error and its causes, what could not be undone, and what to type.
    pub fn into_failure(self) -> Failure {
        let mut failure = Failure::of(self.exit(), &self).hints(self.hint());
        if let Self::Build(build) = &self {
            let left = build.left.iter().map(|not| format!("`{}` could not be undone: {}", not.step, not.error));
            failure.causes.extend(left);
            failure = failure.or_full_disk(&build.out);
        }
        failure
    }

    /// What is true now, as a number.
    fn exit(&self) -> Exit {
        match self {
            Self::Settings(settings::Error::NoProject(_)) => Exit::NotFound,
            Self::Settings(settings::Error::Fs(_)) | Self::Runtime(_) | Self::Fs(_) => Exit::Machine,
            Self::Settings(_) | Self::NoApp | Self::NoVersion | Self::Trust(_) | Self::NoStore | Self::Location(_) => {
                Exit::Usage
            }
            Self::ManyBuilt(_) | Self::LaidOpen { .. } | Self::HostLocation(_) => Exit::Usage,
            Self::Store(error) | Self::Host(error) => Exit::from(error),
            Self::NothingBuilt(_) => Exit::NotFound,
            Self::Build(failed) if !failed.left.is_empty() => Exit::Mixed,
            Self::Build(failed) => of_build(&failed.source),
            Self::Key(error) => of_key(error),
            Self::Publish(error) => of_publish(error),
            Self::Promote(error) => of_promote(error),
            Self::SuiteFile(suite::BadFile::Fs(error)) if !error.is_not_found() => Exit::Machine,
            Self::SuiteFile(_) | Self::OntoItself(_) => Exit::Usage,
            Self::Suite(error) => of_suite(error),
            Self::Mirror(error) => of_mirror(error),
            Self::Rollout(error) => of_rollout(error),
            Self::Published(error) => Exit::from(error.as_ref()),
            Self::Inside(error) => of_inside(error),
            Self::Archive(_) => Exit::Verification,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(settings::Error::NoProject(_)) => {
                Some("run `pannier build` with the folder of the Django project".to_owned())
            }
            Self::Settings(_) | Self::Location(_) | Self::HostLocation(_) | Self::Runtime(_) | Self::Fs(_) => None,
            Self::Store(error) | Self::Host(error) => error.hint(),
            Self::NoApp => Some("give it with `--app NAME`, or `app = \"NAME\"` in pannier.toml".to_owned()),
            Self::NoVersion => Some("give `--version` and `--key`, or `--verify-against` and `--trust`".to_owned()),
            Self::Build(failed) => failed.source.hint(),
            Self::Key(error) => key_hint(error),
            Self::Trust(_) => {
                Some("put the line that `pannier keys new` printed into a file and name it with `--trust`".to_owned())
            }
            Self::NoStore => Some("name it with `--store`, `PANNIER_STORE`, or `store` in pannier.toml".to_owned()),
            Self::LaidOpen { .. } => Some("give them a prefix, or a bucket, of their own".to_owned()),
            Self::NothingBuilt(_) => Some("run `pannier build` first, or name the folder that it made".to_owned()),
            Self::ManyBuilt(_) => Some("name the one to publish: `pannier publish FOLDER`".to_owned()),
            Self::Publish(error) => error.hint(),
            Self::Promote(promote::Error::Published(error)) => published_hint(error),
            Self::Promote(error) => error.hint(),
            Self::SuiteFile(_) | Self::OntoItself(_) => None,
            Self::Suite(suite::Error::Published(error)) => published_hint(error),
            Self::Suite(error) => error.hint(),
            Self::Mirror(mirror::Error::Source(error)) => published_hint(error),
            Self::Mirror(error) => error.hint(),
            Self::Rollout(rollout::Error::Published(error)) => published_hint(error),
            Self::Rollout(error) => error.hint(),
            Self::Published(error) => published_hint(error),
            Self::Inside(inside::Error::Published(error)) => published_hint(error),
            Self::Inside(error) => error.hint(),
            Self::Archive(_) => None,
        }
    }
}

fn of_build(error: &build::Error) -> Exit {
    match error {
        build::Error::Fs(_) => Exit::Machine,
        build::Error::Source(error) => of_source(error),
        build::Error::Interpreter(error) => of_interpreter(error),
        build::Error::Bundle(error) => of_bundle(error),
        build::Error::Proof(error) => of_proof(error),
        build::Error::Target(_) => Exit::Refused,
        build::Error::Tools(tools::Error::Fs(_) | tools::Error::NoCache) => Exit::Machine,
        build::Error::Tools(tools::Error::PipElsewhere(_)) => Exit::Usage,
        build::Error::Tools(_) => Exit::Program,
        build::Error::Wheels(error) => of_wheels(error),
        build::Error::Venv(error) | build::Error::Libc(libc::Error::Venv(error)) => of_venv(error),
        build::Error::Libc(libc::Error::Foreign { .. }) => Exit::Refused,
        build::Error::Bytecode(_) => Exit::Program,
        build::Error::Scratch(error) => of_scratch(error),
        build::Error::Django(error) => of_django(error),
        build::Error::Static(error) => of_static(error),
        build::Error::Description(_) | build::Error::TooEarly(_) => Exit::Unexpected,
        build::Error::Pack(error) => of_pack(error),
        build::Error::Documents(documents::Error::Fs(_)) => Exit::Machine,
        build::Error::Documents(_) | build::Error::Reread(_) => Exit::Unexpected,
        build::Error::Sign(sign::Error::Fs(_)) => Exit::Machine,
        build::Error::Sign(sign::Error::Sign(_)) => Exit::Unexpected,
    }
}

fn of_source(error: &source::Error) -> Exit {
    match error {
        source::Error::Fs(_) | source::Error::Walk { .. } => Exit::Machine,
        source::Error::NoProject(_) | source::Error::NoManage { .. } => Exit::NotFound,
        source::Error::Git { .. } => Exit::Program,
        source::Error::ManyManage(_) | source::Error::WrongManage(_) => Exit::Usage,
        source::Error::NotUtf8(_) | source::Error::LinkOut { .. } => Exit::Refused,
        source::Error::NotAFile(_) | source::Error::Secrets(_) => Exit::Refused,
        source::Error::NoCommit(_) | source::Error::Dirty(_) | source::Error::Shared(_) => Exit::Refused,
    }
}

fn of_interpreter(error: &interpreter::Error) -> Exit {
    match error {
        interpreter::Error::Silent { source: process::Error::NotStarted { .. }, .. } => Exit::NotFound,
        interpreter::Error::Silent { .. } | interpreter::Error::Strange { .. } => Exit::Program,
        interpreter::Error::Version { .. } | interpreter::Error::Kind { .. } => Exit::Refused,
        interpreter::Error::Machine { .. } => Exit::Refused,
    }
}

fn of_bundle(error: &bundle::Error) -> Exit {
    match error {
        bundle::Error::Fs(_) | bundle::Error::Walk(_) | bundle::Error::Elf(elf::Error::Fs(_)) => Exit::Machine,
        bundle::Error::Missing(_) | bundle::Error::NoneInstalled { .. } => Exit::NotFound,
        bundle::Error::Silent { .. } => Exit::Program,
        bundle::Error::Environment(_) | bundle::Error::NoPrefix { .. } | bundle::Error::Version(_) => Exit::Refused,
        bundle::Error::NotForTarget { .. } | bundle::Error::AnotherAbi { .. } => Exit::Refused,
        bundle::Error::Foreign { .. } | bundle::Error::Fixed { .. } | bundle::Error::Elf(_) => Exit::Refused,
        bundle::Error::Lacks { .. } | bundle::Error::Needed { .. } => Exit::Refused,
    }
}

fn of_proof(error: &proof::Error) -> Exit {
    match error {
        proof::Error::Fs(_) => Exit::Machine,
        proof::Error::Dead { .. } | proof::Error::Strange(_) => Exit::Program,
        proof::Error::Outside(_) => Exit::Refused,
    }
}

fn of_wheels(error: &wheels::Error) -> Exit {
    match error {
        wheels::Error::Fs(_) | wheels::Error::Walk { .. } => Exit::Machine,
        wheels::Error::Requirements(error) => of_requirements(error),
        wheels::Error::Twice { .. } | wheels::Error::NoWheel { .. } | wheels::Error::NotPortable { .. } => {
            Exit::Refused
        }
        wheels::Error::Mismatch { .. } => Exit::Verification,
        wheels::Error::NotFound { .. } => Exit::NotFound,
        wheels::Error::Unresolved { .. } | wheels::Error::Fetch { .. } | wheels::Error::Build { .. } => Exit::Program,
        wheels::Error::Report(_) | wheels::Error::NotGiven { .. } | wheels::Error::Platform(_) => Exit::Program,
    }
}

fn of_venv(error: &venv::Error) -> Exit {
    match error {
        venv::Error::Fs(_) | venv::Error::Walk(_) => Exit::Machine,
        venv::Error::Make(_) | venv::Error::Install(_) => Exit::Program,
        venv::Error::Fixed(_) => Exit::Refused,
    }
}

fn of_requirements(error: &requirements::Error) -> Exit {
    use requirements::Error as Requirements;
    match error {
        Requirements::Fs(_) => Exit::Machine,
        Requirements::None { .. } | Requirements::NotThere { .. } => Exit::NotFound,
        Requirements::ManyLocks(_) | Requirements::NoSuch { .. } | Requirements::Unset { .. } => Exit::Usage,
        Requirements::NeedsUv { .. } => Exit::Usage,
        Requirements::Export { .. } => Exit::Program,
        Requirements::Circle(_) | Requirements::Refused { .. } | Requirements::HashMissing { .. } => Exit::Refused,
        Requirements::Toml { .. } | Requirements::Json { .. } | Requirements::NotInProject { .. } => Exit::Refused,
        Requirements::NeedsLock { .. } | Requirements::LockVersion { .. } | Requirements::Stale { .. } => Exit::Refused,
        Requirements::Marker { .. } | Requirements::Python { .. } => Exit::Refused,
    }
}

fn of_scratch(error: &scratch::Error) -> Exit {
    match error {
        scratch::Error::Fs(_) | scratch::Error::Walk(_) => Exit::Machine,
        scratch::Error::Died(_) | scratch::Error::Answer(_) => Exit::Program,
    }
}

fn of_django(error: &django::Error) -> Exit {
    match error {
        django::Error::Scratch(error) => of_scratch(error),
        django::Error::NoSettings => Exit::Usage,
        django::Error::NoDjango => Exit::Refused,
        django::Error::Migrations(_) => Exit::Usage,
        django::Error::Manage { .. }
        | django::Error::Import { .. }
        | django::Error::Describe { .. }
        | django::Error::Migration { .. }
        | django::Error::Unfitting { .. } => Exit::Program,
    }
}

fn of_static(error: &static_files::Error) -> Exit {
    match error {
        static_files::Error::Fs(_) | static_files::Error::Walk(_) => Exit::Machine,
        static_files::Error::Scratch(error) => of_scratch(error),
        static_files::Error::NoRoot { .. } | static_files::Error::Remote { .. } => Exit::Refused,
        static_files::Error::RootIsProject { .. } => Exit::Refused,
        static_files::Error::NotCommitted { .. } => Exit::NotFound,
        static_files::Error::Collect { .. } | static_files::Error::Command(_) => Exit::Program,
        static_files::Error::Compress { .. } => Exit::Unexpected,
    }
}

fn of_pack(error: &pack::Error) -> Exit {
    use pannier_shared::archive::write::Error as Write;
    match error {
        pack::Error::Fs(_) | pack::Error::Pack(Write::Fs(_) | Write::Output(_)) => Exit::Machine,
        pack::Error::NotText(_) | pack::Error::Special(_) | pack::Error::Shared(_) => Exit::Refused,
        pack::Error::Pack(Write::Refused(_)) => Exit::Refused,
        pack::Error::Pack(Write::Changed { .. } | Write::Table(_) | Write::Frame(_) | Write::Cut(_)) => {
            Exit::Unexpected
        }
    }
}

fn of_key(error: &KeyError) -> Exit {
    match error {
        KeyError::Fs(error) if error.is_not_found() => Exit::NotFound,
        KeyError::Fs(_) | KeyError::NoRandomness(_) => Exit::Machine,
        KeyError::Encode(_) => Exit::Unexpected,
        KeyError::Exposed { .. } | KeyError::OtherType(_) | KeyError::WrongPassphrase(_) => Exit::Refused,
        KeyError::PublicHalf(_) | KeyError::NotPrivate { .. } | KeyError::NotPublic { .. } => Exit::Usage,
        KeyError::NeedsPassphrase(_) | KeyError::CannotDecrypt(_) => Exit::Usage,
    }
}

fn key_hint(error: &KeyError) -> Option<String> {
    match error {
        KeyError::Fs(error) if error.is_not_found() => {
            Some("make one with `pannier keys new NAME --for release,channel`".to_owned())
        }
        KeyError::NeedsPassphrase(_) => Some("give it in `PANNIER_KEY_PASSPHRASE`".to_owned()),
        _ => None,
    }
}

fn of_publish(error: &publish::Error) -> Exit {
    match error {
        publish::Error::Fs(error) if error.is_not_found() => Exit::NotFound,
        publish::Error::Fs(_) => Exit::Machine,
        publish::Error::Statement { .. } | publish::Error::Artifact { .. } => Exit::Verification,
        publish::Error::Document { .. } => Exit::Verification,
        publish::Error::Static { source, .. } => of_hosting(source),
        publish::Error::Store(error) => Exit::from(error),
        publish::Error::Different { .. } => Exit::Refused,
    }
}

fn of_hosting(error: &static_host::Error) -> Exit {
    match error {
        static_host::Error::None | static_host::Error::NotHashed { .. } => Exit::Refused,
        static_host::Error::Manifest { .. } | static_host::Error::Different { .. } => Exit::Refused,
        static_host::Error::Artifact(error) => of_inside(error),
        static_host::Error::Store(error) => Exit::from(error),
        static_host::Error::Fs(_) => Exit::Machine,
    }
}

fn of_inside(error: &inside::Error) -> Exit {
    match error {
        inside::Error::Fs(error) if error.is_not_found() => Exit::NotFound,
        inside::Error::Fs(_) => Exit::Machine,
        inside::Error::NoRelease(_) => Exit::NotFound,
        inside::Error::Store(error) => Exit::from(error),
        inside::Error::Published(error) => Exit::from(error.as_ref()),
        inside::Error::Statement { .. } | inside::Error::Archive { .. } => Exit::Verification,
        inside::Error::Document { .. } => Exit::Verification,
        inside::Error::ManyTargets { .. } => Exit::Usage,
    }
}

fn of_signing(error: &NotSigned) -> Exit {
    match error {
        NotSigned::Sign(SignError::TooLarge { .. }) => Exit::Usage,
        NotSigned::Sign(_) => Exit::Unexpected,
        NotSigned::KeyNotTrusted { .. } => Exit::Refused,
    }
}

fn of_promote(error: &promote::Error) -> Exit {
    match error {
        promote::Error::Published(error) => Exit::from(error),
        promote::Error::NotSigned(error) => of_signing(error),
        promote::Error::Overtaken { .. } | promote::Error::SerialUsedUp(_) => Exit::Refused,
        promote::Error::Days(_) => Exit::Usage,
    }
}

fn of_rollout(error: &rollout::Error) -> Exit {
    use rollout::Error as E;
    match error {
        E::Published(error) => Exit::from(error),
        E::NotSigned(error) => of_signing(error),
        E::StrangeCanary(_) => Exit::Usage,
        E::Held(_) => Exit::Locked,
        E::Silent { .. } | E::Over(_) | E::Overtaken | E::SerialUsedUp => Exit::Refused,
        E::Never(_) | E::NoNodes(..) => Exit::NotFound,
    }
}

/// What is near, else the command that shows what there is.
fn published_hint(error: &published::Error) -> Option<String> {
    error.hint().or_else(|| match error {
        published::Error::UnknownVersion { store, .. } if store.starts_with("https://") => None,
        published::Error::UnknownVersion { app, .. } | published::Error::UnknownChannel { app, .. } => {
            Some(format!("`pannier releases {app}` shows what there is"))
        }
        _ => None,
    })
}
