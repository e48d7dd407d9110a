//! How an app is started and asked: whom its commands run as, whether they are there, and what the health check says now.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::statement::SharedPath;
use pannier_shared::sys::{fs, process};

use super::{Examined, Found, Patient, Trouble};
use crate::config::App;
use crate::described::described;
use crate::identity;
use crate::layout::{Root, User};
use crate::node::View;
use crate::steps::confirm;
use crate::steps::restart::{PATH, Restart, variables_of};
use crate::steps::share;
use crate::units;

/// How long `systemctl` may take to say whether a unit is there.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn user(_: &Examined, patient: &Patient) -> Vec<Found> {
    let user = patient.config.user.as_deref();
    let as_root = as_root(patient.config).filter(|_| process::user() == 0);
    vec![match (identity::of(user), user, as_root) {
        (Err(error), _, _) => {
            Found::trouble(Trouble::of(&error, error.hint()), "see to `user` in the app's configuration")
        }
        (Ok(_), Some(user), _) => Found::ok(format!("its commands run as `{user}`")),
        (Ok(_), None, Some(says)) => Found::warning(
            says,
            format!("name its user by `user` in the table `[apps.{}]` of the configuration", patient.name),
        ),
        (Ok(_), None, None) => Found::ok(format!("its commands run as {}", User(process::user()))),
    }]
}

/// What an app without a `user` starts as root.
fn as_root(config: &App) -> Option<&'static str> {
    match (&config.restart, &config.supervised) {
        (Some(restart), _) if restart.asks_systemd() => None,
        (Some(_), _) => Some("its restart command runs as root, and so does what it starts"),
        (None, Some(_)) => Some("its processes run as root"),
        (None, None) => None,
    }
}

/// What the release that serves shares with others, if it does.
pub(super) fn shared(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Ok(View { root: Some(root), state, .. }) = View::open(patient.name, patient.config) else { return Vec::new() };
    let Some(Ok(Some(said))) = state.live_version().map(|version| described(&root.release(version))) else {
        return Vec::new();
    };
    let shared = &said.running.shared;
    let folder = |path: &SharedPath| root.shared().join(path.as_str()).display().to_string();
    match share::check(&root, shared).and_then(|()| share::missing(&root, shared)) {
        Err(error) => {
            vec![Found::trouble(
                Trouble::of(&error, error.hint()),
                "see what is there with `ls -lR` on the app's `shared`",
            )]
        }
        Ok(missing) if missing.is_empty() && shared.is_empty() => Vec::new(),
        Ok(missing) if missing.is_empty() => {
            vec![Found::ok(format!("all {} paths that the release shares are there", shared.paths().count()))]
        }
        Ok(missing) => {
            let says = |path: &SharedPath| format!("the shared folder `{}` is not there", folder(path));
            let hint = |path: &SharedPath| format!("make it for the app's user: `mkdir -p {}`", folder(path));
            missing.into_iter().map(|path| Found::wrong(says(path), hint(path))).collect()
        }
    }
}

pub(super) fn restart(_: &Examined, patient: &Patient) -> Vec<Found> {
    let App { restart, supervised, env_file, .. } = patient.config;
    let mut found: Vec<Found> = env_file.as_deref().map(environment).unwrap_or_default();
    let well = match (restart, supervised) {
        (Some(restart), _) => {
            found.extend(program(restart, patient));
            format!("`{}`", restart.command.join(" "))
        }
        (None, Some(_)) => {
            found.extend(without_systemd("it is to be started by systemd"));
            "by systemd".to_owned()
        }
        (None, None) => {
            found.push(Found::warning(
                "no command is configured: after a switch the old processes serve on",
                format!("add `restart` to the table `[apps.{}]` of the configuration", patient.name),
            ));
            String::new()
        }
    };
    if found.iter().all(|found| found.verdict == super::Verdict::Ok) {
        found.push(Found::ok(well));
    }
    found
}

/// Secrets are in it.
fn environment(file: &Path) -> Vec<Found> {
    let hint = "see to `env_file` in the app's configuration: NAME=VALUE lines, readable for who runs the activator";
    match (variables_of(file), fs::stat(file)) {
        (Err(error), _) => vec![Found::trouble(Trouble::of(&error, None), hint)],
        (Ok(_), Ok(meta)) if meta.mode() & 0o004 != 0 => {
            let file = file.display();
            vec![Found::warning(format!("{file} can be read by everybody"), format!("`chmod o-r {file}`"))]
        }
        (Ok(_), _) => Vec::new(),
    }
}

fn program(restart: &Restart, patient: &Patient) -> Vec<Found> {
    let Some((program, arguments)) = restart.command.split_first() else { return Vec::new() };
    let Some(path) = found_at(program, patient) else {
        let hint = "install it, or name its full path by `restart` in the app's configuration";
        return vec![Found::wrong(format!("there is no program `{program}` in {PATH}"), hint)];
    };
    match fs::stat(&path) {
        Ok(meta) if meta.mode() & 0o111 == 0 || !meta.is_file() => {
            let path = path.display();
            vec![Found::wrong(format!("{path} cannot be run"), format!("`chmod +x {path}`"))]
        }
        Ok(_) if restart.asks_systemd() => systemd(arguments),
        Ok(_) => Vec::new(),
        Err(error) => vec![Found::trouble(
            Trouble::of(&error, None),
            "install it, or name another one by `restart` in the app's configuration",
        )],
    }
}

/// Where the system would find a program: by its path, in the release that serves, or in the system's folders.
fn found_at(program: &str, patient: &Patient) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(patient.config.root.join("current").join(program));
    }
    PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| fs::exists(path))
}

/// What there is to say where no systemd can be asked; `although` says who wants to.
fn without_systemd(although: &str) -> Option<Found> {
    let hint = "name a command that starts the app without it by `restart` in the app's configuration";
    let is_there = fs::exists(Path::new("/run/systemd/system"));
    (!is_there).then(|| Found::wrong(format!("{although}, but this machine was not started by systemd"), hint))
}

/// Whether there is a systemd to ask, and whether it knows the units that are named.
fn systemd(arguments: &[String]) -> Vec<Found> {
    if let Some(found) = without_systemd("`systemctl` is there") {
        return vec![found];
    }
    let units = arguments.iter().skip(1).filter(|argument| !argument.starts_with('-'));
    let unknown = units.filter(|unit| {
        let mut command = process::program("systemctl");
        command.args(["cat", "--", unit]).env("PATH", PATH);
        process::run(&mut command, PATIENCE).is_err()
    });
    let found = |unit: &String| {
        Found::wrong(
            format!("systemd does not know the unit `{unit}`"),
            format!("write /etc/systemd/system/{unit}.service, then `systemctl daemon-reload`"),
        )
    };
    unknown.map(found).collect()
}

/// Asked once, as it is now.
pub(super) fn health(examined: &Examined, patient: &Patient) -> Vec<Found> {
    let Some(health) = &patient.config.health else {
        return vec![Found::warning(
            "no check is configured: a release counts as healthy once its restart ended well",
            format!("add a table `[apps.{}.health]` with a `url` to the configuration", patient.name),
        )];
    };
    let serves = View::open(patient.name, patient.config).is_ok_and(|view| view.state.live().is_some());
    if !serves {
        return vec![Found::ok(format!("{} will be asked: nothing serves yet", health.url))];
    }
    vec![match confirm::once(health, examined.runtime) {
        Ok(()) => Found::ok(format!("{} is as it should be", health.url)),
        Err(error) => {
            let trouble = Trouble::of(&error, None);
            let see = format!("see what the app says: `{}`", command_for_log(patient));
            Found::wrong(format!("{}: {}", health.url, trouble.says), see)
        }
    }]
}

fn command_for_log(patient: &Patient) -> String {
    match (&patient.config.supervised, Root::look(&patient.config.root)) {
        (Some(_), _) => format!("journalctl --unit '{}'", units::services(patient.name)),
        (None, Ok(root)) => format!("tail {}", root.restart_log().display()),
        (None, Err(_)) => format!("pannier-activator status {}", patient.name),
    }
}
