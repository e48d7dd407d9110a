//! `units`: the units of a release on this node, to be looked at or written before the first activation.

use std::path::Path;

use pannier_shared::id::{AppName, Version};
use pannier_shared::sys::fs;
use serde::Serialize;

use super::{File, Unfit, write};
use crate::config::App;
use crate::described::{self, described};
use crate::environment;
use crate::launch::{BadFolder, Place};
use crate::node::{NotHere, View};

/// Units that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app is not kept by systemd.
    #[error("`{0}` is not started by systemd")]
    NotSupervised(AppName),
    /// No release was named, and none serves.
    #[error("nothing of `{0}` serves, so there is no release to take the processes of")]
    NothingServes(AppName),
    /// The release is not here.
    #[error(transparent)]
    NotHere(#[from] NotHere),
    /// The release has no processes.
    #[error("`{version}` of `{app}` names no processes")]
    NoProcesses {
        /// The app.
        app: AppName,
        /// The release.
        version: Version,
    },
    /// What the release says of itself cannot be read.
    #[error(transparent)]
    Described(#[from] described::Error),
    /// What it says of itself is wrong.
    #[error(transparent)]
    Folder(#[from] BadFolder),
    /// A path cannot stand in a unit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NotSupervised(app) => Some(format!("set `restart = \"systemd\"` in `[apps.{app}]`")),
            Error::NothingServes(app) => Some(format!("name one of `pannier-activator releases {app}`")),
            Error::NotHere(error) => Some(error.hint()),
            Error::NoProcesses { .. } => {
                Some("name them in `[processes]` of pannier.toml and build it again".to_owned())
            }
            Error::Unfit(_) => Some("name a `root` and `units` without them".to_owned()),
            Error::Described(_) | Error::Folder(_) | Error::Fs(_) => None,
        }
    }
}

/// The units of a release.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The release whose processes they start.
    pub version: Version,
    /// All of them.
    pub files: Vec<File>,
    /// The paths of those that were written because they say something new; nothing when none were to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Vec<String>>,
}

/// Makes the units of `version`, or with none named of the release that serves, and writes them into `folder`, if one is
/// given.
pub fn units(view: &View, config: &App, version: Option<&Version>, folder: Option<&Path>) -> Result<Written, Error> {
    let app = &view.app;
    let supervised = config.supervised.as_ref().ok_or_else(|| Error::NotSupervised(app.clone()))?;
    let version = version.or(view.state.live_version()).ok_or_else(|| Error::NothingServes(app.clone()))?;
    let not_here = || NotHere::of(app, version, &view.state);
    let root = view.root.as_ref().filter(|root| root.release(version).is_dir()).ok_or_else(not_here)?;
    let description = described(&root.release(version))?.filter(|said| !said.running.processes.is_empty());
    let description = description.ok_or_else(|| Error::NoProcesses { app: app.clone(), version: version.clone() })?;
    let place = Place::new(root, version, &description)?;
    let env = environment::file_of(root, &view.state, config, version);
    let files = supervised.units.files(&place, &description.running.processes, env.as_deref())?;
    let written = folder.map(|folder| write(folder, &files)).transpose()?;
    Ok(Written { version: version.clone(), files, written })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::time::Duration;

    use pannier_shared::statement::{Process, Running, Words};

    use super::super::Units;
    use super::*;
    use crate::steps::start::Supervised;
    use crate::testing::{Fixture, v};

    fn fixture() -> Fixture {
        let mut fixture = Fixture::with(&["v1", "v2"]);
        let units = Units { folder: PathBuf::from("/etc/systemd/system"), user: None, listen: BTreeMap::new() };
        fixture.config.supervised = Some(Supervised { units, timeout: Duration::from_secs(1), steady: Duration::ZERO });
        let command = Words::try_from(vec!["gunicorn".to_owned()]).unwrap();
        let web = Process { name: "web".parse().unwrap(), command, socket: false, stop_timeout: None };
        fixture.say("v2", Running { processes: vec![web], ..Running::default() });
        drop(fixture.open().unwrap());
        fixture
    }

    fn asked(fixture: &Fixture, version: Option<&str>) -> Result<Written, Error> {
        let view = View::open(&fixture.app(), &fixture.config).unwrap();
        units(&view, &fixture.config, version.map(v).as_ref(), None)
    }

    fn refused(fixture: &Fixture, version: Option<&str>) -> String {
        let error = asked(fixture, version).unwrap_err();
        let text = format!("{error}\n{}", error.hint().unwrap());
        text.replace(fixture.root().path().to_str().unwrap(), "ROOT")
    }

    #[test]
    fn a_release_with_processes_has_a_service_and_a_drop_in_for_each() {
        let found = asked(&fixture(), Some("v2")).unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["pannier-polls.web.service", "pannier-polls.web.service.d/50-release.conf"]);
        assert!(found.written.is_none());
    }

    #[test]
    fn what_has_no_units_is_said_with_what_to_type() {
        let mut fixture = fixture();
        insta::assert_snapshot!(refused(&fixture, None), @"
        nothing of `polls` serves, so there is no release to take the processes of
        name one of `pannier-activator releases polls`
        ");
        insta::assert_snapshot!(refused(&fixture, Some("v1")), @"
        `v1` of `polls` names no processes
        name them in `[processes]` of pannier.toml and build it again
        ");
        insta::assert_snapshot!(refused(&fixture, Some("v3")), @"
        `polls` has no release `v3` on this node
        see what is here: `pannier-activator releases polls`
        ");
        let odd = Units { folder: PathBuf::from("/etc/a b"), user: None, listen: BTreeMap::new() };
        fixture.config.supervised.as_mut().unwrap().units = odd;
        insta::assert_snapshot!(refused(&fixture, Some("v2")), @"
        `/etc/a b` cannot stand in a systemd unit: only letters, digits and `/._+@-` are allowed
        name a `root` and `units` without them
        ");
        fixture.config.supervised = None;
        insta::assert_snapshot!(refused(&fixture, Some("v2")), @r#"
        `polls` is not started by systemd
        set `restart = "systemd"` in `[apps.polls]`
        "#);
    }
}
