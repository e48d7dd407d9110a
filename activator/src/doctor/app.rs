//! How an app is started and asked: whom its commands run as, whether they are there, and what the health check says now.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::sys::{fs, process};

use super::{Examined, Found, Patient, Trouble};
use crate::identity;
use crate::layout::{Root, User};
use crate::node::View;
use crate::steps::confirm;
use crate::steps::restart::{PATH, Restart, variables};

/// How long `systemctl` may take to say whether a unit is there.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn user(_: &Examined, patient: &Patient) -> Vec<Found> {
    let user = patient.config.user.as_deref();
    vec![match (identity::of(user), user) {
        (Err(error), _) => {
            Found::trouble(Trouble::of(&error, error.hint()), "see to `user` in the app's configuration")
        }
        (Ok(_), Some(user)) => Found::ok(format!("its commands run as `{user}`")),
        (Ok(_), None) if process::user() == 0 && patient.config.restart.as_ref().is_some_and(starts) => Found::warning(
            "its restart command runs as root, and so does what it starts",
            format!("name its user by `user` in the table `[apps.{}]` of the configuration", patient.name),
        ),
        (Ok(_), None) => Found::ok(format!("its commands run as {}", User(process::user()))),
    }]
}

fn starts(restart: &Restart) -> bool {
    !restart.asks_systemd()
}

pub(super) fn restart(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Some(restart) = &patient.config.restart else {
        return vec![Found::warning(
            "no command is configured: after a switch the old processes serve on",
            format!("add `restart` to the table `[apps.{}]` of the configuration", patient.name),
        )];
    };
    let mut found: Vec<Found> = restart.env_file.as_deref().map(environment).unwrap_or_default();
    found.extend(program(restart, patient));
    if found.iter().all(|found| found.verdict == super::Verdict::Ok) {
        found.push(Found::ok(format!("`{}`", restart.command.join(" "))));
    }
    found
}

/// Secrets are in it.
fn environment(file: &Path) -> Vec<Found> {
    let hint = "see to `env_file` in the app's configuration: NAME=VALUE lines, readable for who runs the activator";
    let parsed = fs::read_text(file, 1 << 20).map_err(|error| Trouble::of(&error, None));
    let parsed = parsed.and_then(|text| variables(&text, file).map(|_| ()).map_err(|error| Trouble::of(&error, None)));
    match (parsed, fs::stat(file)) {
        (Err(trouble), _) => vec![Found::trouble(trouble, hint)],
        (Ok(()), Ok(meta)) if meta.mode() & 0o004 != 0 => {
            let file = file.display();
            vec![Found::warning(format!("{file} can be read by everybody"), format!("`chmod o-r {file}`"))]
        }
        (Ok(()), _) => Vec::new(),
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

/// Whether there is a systemd to ask, and whether it knows the units that are named.
fn systemd(arguments: &[String]) -> Vec<Found> {
    if !fs::exists(Path::new("/run/systemd/system")) {
        let hint = "name a command that starts the app without it by `restart` in the app's configuration";
        return vec![Found::wrong("`systemctl` is there, but this machine was not started by systemd", hint)];
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
            "no check is configured: a release counts as healthy once its restart command ended well",
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
            let log = Root::look(&patient.config.root).map(|root| root.restart_log().display().to_string());
            let see = log.map_or("see to `health` in the app's configuration".to_owned(), |log| {
                format!("see what the app says: `tail {log}`")
            });
            let trouble = Trouble::of(&error, None);
            Found::wrong(format!("{}: {}", health.url, trouble.says), see)
        }
    }]
}
