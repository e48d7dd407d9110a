//! Starts the processes of a release by systemd, in their order, and sees that what runs is that release.
//!
//! Everything that can be refused is found out before the first file is written. Then: units written, `daemon-reload`,
//! processes that the release no longer has stopped, sockets opened, each service restarted and waited for. A socket that is
//! open stays open: what connects while the process behind it is replaced waits in its queue.
//!
//! That `systemctl restart` ended well says only that a program was started. So each process is looked at afterwards
//! ([`look`]): its unit must be active without having been started again by systemd, and the process's working folder or
//! program must lie below the release's own folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id::ProcessName;
use pannier_shared::statement::Process;
use pannier_shared::sys::{clock, fs, process};

use super::restart::PATH;
use crate::launch::Place;
use crate::units::{self, Unfit, Units};

/// How long a question to systemd may take: it answers in milliseconds unless the machine is ill.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a process that was just started may take until it works in its folder.
const SETTLING: Duration = Duration::from_secs(5);

/// The longest that a release can let a process take to end: systemd ends it at the limit that its unit has.
const LONGEST: Duration = Duration::from_secs(3600);

/// So many lines of a process's log are shown when it fails.
pub const LINES: u32 = 10;

/// A release that systemd does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The release names no processes.
    #[error("the release names no processes for systemd")]
    NoProcesses,
    /// A path cannot be written into a unit.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// systemd cannot be asked.
    #[error("systemd does not answer")]
    Silent(#[source] process::Error),
    /// The units cannot be written.
    #[error("the units cannot be written")]
    Write(#[from] fs::Error),
    /// systemd refused something that is not about one process.
    #[error("systemd refused")]
    Refused(#[source] process::Error),
    /// A process was not started.
    #[error("the process `{name}` was not started{log}")]
    NotStarted {
        /// The process.
        name: ProcessName,
        /// What it logged last, ready to follow a message.
        log: String,
        /// What systemctl said.
        source: process::Error,
    },
    /// A process was started and does not stay.
    #[error("the process `{name}` does not stay: its unit is {found}{log}")]
    NotSteady {
        /// The process.
        name: ProcessName,
        /// The unit's state, in systemd's words.
        found: String,
        /// What it logged last, ready to follow a message.
        log: String,
    },
    /// A process runs, but another release.
    #[error("the process `{name}` (pid {pid}) is not of this release: it works in `{}`, expected below `{}`", .found.display(), .expected.display())]
    Elsewhere {
        /// The process.
        name: ProcessName,
        /// Its number.
        pid: u32,
        /// The release's own folder.
        expected: PathBuf,
        /// Where it works.
        found: PathBuf,
    },
}

impl Error {
    /// Whether anything was written or stopped: if not, the processes are as they were.
    pub fn had_begun(&self) -> bool {
        !matches!(self, Error::NoProcesses | Error::Unfit(_) | Error::Silent(_))
    }

    /// The same, with what the processes logged changed: so that it can be passed on without what it must not show.
    pub fn with_log(mut self, change: impl FnOnce(String) -> String) -> Self {
        if let Error::NotStarted { log, .. } | Error::NotSteady { log, .. } = &mut self {
            *log = change(std::mem::take(log));
        }
        self
    }

    /// What a person can type about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NoProcesses => {
                Some("name them in `[processes]` of pannier.toml, or configure `restart` as a command".to_owned())
            }
            Error::Unfit(_) => Some("name a `root` and `units` without them".to_owned()),
            Error::Silent(_) => {
                Some("see `systemctl status`; without systemd configure `restart` as a command".to_owned())
            }
            _ => None,
        }
    }
}

/// Restarts all processes of the release at `place`, in order; `limit` holds for each.
pub fn supervise(
    units: &Units,
    place: &Place,
    processes: &[Process],
    env: Option<&Path>,
    limit: Duration,
) -> Result<(), Error> {
    if processes.is_empty() {
        return Err(Error::NoProcesses);
    }
    let files = units.files(place, processes, env)?;
    systemctl(&["show", "--property=Version"], PATIENCE).map_err(Error::Silent)?;
    let written = units::write(&units.folder, &files)?;
    let names: Vec<String> = processes.iter().flat_map(|process| names(place, process)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    systemctl(&[&["enable", "--quiet", "--no-reload"], &names[..]].concat(), PATIENCE).map_err(Error::Refused)?;
    systemctl(&["daemon-reload"], PATIENCE).map_err(Error::Refused)?;
    retire(units, place, processes, limit)?;
    for process in processes {
        // By then its unit, with this limit of its own, has been read again: what is stopped first may take so long to end.
        let ending = process.stop_timeout.map(Duration::from).unwrap_or_default();
        start(place, process, &written, limit + ending)?;
    }
    look(place, processes, Duration::ZERO)
}

/// The units of a process: those that are started at boot.
fn names(place: &Place, process: &Process) -> Vec<String> {
    let socket = process.socket.then(|| units::socket(&place.app, &process.name));
    socket.into_iter().chain([units::service(&place.app, &process.name)]).collect()
}

/// Stops the processes that an earlier release had and this one has not. Their units stay and name no release.
fn retire(units: &Units, place: &Place, processes: &[Process], limit: Duration) -> Result<(), Error> {
    let gone =
        units.present(&place.app)?.into_iter().filter(|name| processes.iter().all(|process| process.name != *name));
    for name in gone {
        let (service, socket) = (units::service(&place.app, &name), units::socket(&place.app, &name));
        let both = if fs::exists(&units.folder.join(&socket)) { vec![socket, service] } else { vec![service] };
        let both: Vec<&str> = both.iter().map(String::as_str).collect();
        systemctl(&[&["disable", "--now", "--quiet"], &both[..]].concat(), limit + LONGEST).map_err(Error::Refused)?;
        fs::remove_file(&units.drop_in(&place.app, &name))?;
    }
    Ok(())
}

/// Restarts one process. A socket whose file changed is opened anew, which cannot be done without a gap.
fn start(place: &Place, process: &Process, written: &[String], limit: Duration) -> Result<(), Error> {
    let (service, socket) = (units::service(&place.app, &process.name), units::socket(&place.app, &process.name));
    let done = |arguments: &[&str]| systemctl(arguments, limit);
    let started = if process.socket && written.contains(&socket) {
        done(&["stop", &service]).and_then(|_| done(&["restart", &socket]))
    } else if process.socket {
        done(&["start", &socket])
    } else {
        Ok(String::new())
    };
    let restarted = started.and_then(|_| done(&["restart", &service]));
    restarted.map(|_| ()).map_err(|source| Error::NotStarted {
        name: process.name.clone(),
        log: process::last_lines(&log(&service, LINES)),
        source,
    })
}

/// Looks whether every process runs, was not started again since, and is of the release at `place`; again and again for as
/// long as `steady`. A worker that cannot reach its broker, or import its code, needs a moment to end.
pub fn look(place: &Place, processes: &[Process], steady: Duration) -> Result<(), Error> {
    let end = clock::monotonic() + steady;
    loop {
        processes.iter().try_for_each(|process| look_at(place, process))?;
        let left = end.saturating_duration_since(clock::monotonic());
        if left.is_zero() {
            return Ok(());
        }
        clock::sleep(left.min(Duration::from_millis(250)));
    }
}

/// What systemd says of a unit.
#[derive(Debug, Default)]
struct Standing {
    active: String,
    sub: String,
    restarts: String,
    pid: u32,
}

fn look_at(place: &Place, process: &Process) -> Result<(), Error> {
    let service = units::service(&place.app, &process.name);
    let end = clock::monotonic() + SETTLING;
    loop {
        let standing = standing(&service)?;
        if standing.active != "active" || standing.restarts != "0" {
            let again = if standing.restarts == "0" { "" } else { ", and systemd had to start it again" };
            let found = format!("{} ({}){again}", standing.active, standing.sub);
            let log = process::last_lines(&log(&service, LINES));
            return Err(Error::NotSteady { name: process.name.clone(), found, log });
        }
        let found = process::whereabouts(standing.pid);
        if found.iter().any(|path| path.starts_with(&place.tree)) {
            return Ok(());
        }
        if clock::monotonic() >= end {
            let (name, expected) = (process.name.clone(), place.tree.clone());
            let found = found.into_iter().next().unwrap_or_default();
            return Err(Error::Elsewhere { name, pid: standing.pid, expected, found });
        }
        clock::sleep(Duration::from_millis(20));
    }
}

fn standing(service: &str) -> Result<Standing, Error> {
    let asked = ["show", "--property=ActiveState,SubState,NRestarts,MainPID", service];
    let answer = systemctl(&asked, PATIENCE).map_err(Error::Refused)?;
    let mut standing = Standing::default();
    for (name, value) in answer.lines().filter_map(|line| line.split_once('=')) {
        match name {
            "ActiveState" => standing.active = value.to_owned(),
            "SubState" => standing.sub = value.to_owned(),
            "NRestarts" => standing.restarts = value.to_owned(),
            "MainPID" => standing.pid = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    Ok(standing)
}

/// What the processes logged last, at most so many lines of each, every one with its process's name.
pub fn logs(place: &Place, processes: &[Process], most: u32) -> String {
    let lines = |process: &Process| {
        let log = log(&units::service(&place.app, &process.name), most);
        log.lines().map(|line| format!("{}: {line}\n", process.name)).collect::<String>()
    };
    processes.iter().map(lines).collect()
}

/// The last lines of a unit's log; nothing when they cannot be read, because they only adorn another error.
fn log(service: &str, most: u32) -> String {
    let mut command = process::program("journalctl");
    command.env("PATH", PATH).args(["--unit", service, "--output", "cat", "--no-pager", "--quiet"]);
    command.args(["--lines", &most.to_string()]);
    let printed = process::run(&mut command, PATIENCE).map(|printed| printed.stdout).unwrap_or_default();
    String::from_utf8_lossy(&printed).into_owned()
}

fn systemctl(arguments: &[&str], limit: Duration) -> Result<String, process::Error> {
    let mut command = process::program("systemctl");
    command.env("PATH", PATH).arg("--no-ask-password").args(arguments);
    let printed = process::run(&mut command, limit)?;
    Ok(String::from_utf8_lossy(&printed.stdout).into_owned())
}
