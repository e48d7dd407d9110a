//! What stands in the units. Every value that is not ours is quoted for systemd's own rules (systemd.service(5)).

use std::path::Path;

use pannier_shared::statement::Process;

use super::{Units, socket as socket_name};
use crate::launch::{Launch, Place};

/// Said at the top of each file.
const WRITTEN: &str =
    "# Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.\n";

/// What a web process needs of the system, and no more: it writes to the app's shared folder and its own /tmp.
const HARDENING: &str = "\
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0027
";

/// The part of a service that is the same for every release.
pub fn service(units: &Units, place: &Place, process: &Process) -> String {
    let Place { app, root, .. } = place;
    let name = &process.name;
    let mut text = format!("{WRITTEN}[Unit]\nDescription={name} of {app}\nAfter=network.target\n");
    if process.socket {
        let socket = socket_name(app, name);
        text += &format!("Requires={socket}\nAfter={socket}\n");
    }
    // `mixed`: servers end their workers themselves, each after its last request; what is left is killed at the limit.
    text += "\n[Service]\nType=exec\nRestart=always\nRestartSec=1\nKillMode=mixed\nTimeoutStopSec=30\n";
    if let Some(user) = &units.user {
        text += &format!("User={user}\n");
    }
    text += HARDENING;
    text += &format!("ReadWritePaths=-{}\n", root.join("shared").display());
    text + "\n[Install]\nWantedBy=multi-user.target\n"
}

/// The part that names the release.
pub fn drop_in(place: &Place, process: &Process, env: Option<&Path>) -> String {
    let Launch { program, arguments } = place.launch(&process.command);
    let words: Vec<String> = std::iter::once(&program).chain(&arguments).map(|word| quoted(word)).collect();
    let mut text = format!("{WRITTEN}[Service]\nWorkingDirectory={}\n", place.folder().display());
    for (name, value) in place.variables() {
        text += &format!("Environment={}\n", quoted_value(&format!("{name}={value}")));
    }
    if let Some(env) = env {
        text += &format!("EnvironmentFile={}\n", env.display());
    }
    if let Some(limit) = process.stop_timeout {
        text += &format!("TimeoutStopSec={}\n", u32::from(limit));
    }
    // The empty one takes back what an older file may have said.
    text + &format!("ExecStart=\nExecStart={}\n", words.join(" "))
}

/// The socket that stays open while the process is replaced.
pub fn socket(units: &Units, place: &Place, process: &Process) -> String {
    let (app, name) = (&place.app, &process.name);
    let address = units.address(app, name);
    format!(
        "{WRITTEN}[Unit]\nDescription=socket of {name} of {app}\n\n[Socket]\nListenStream={address}\nBacklog=2048\n\n\
         [Install]\nWantedBy=sockets.target\n"
    )
}

/// A word of a command line: nothing in it is expanded, neither `%` nor `$`.
fn quoted(word: &str) -> String {
    quoted_value(word).replace('$', "$$")
}

/// A text in quotes in which no `%` is expanded.
fn quoted_value(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%"))
}
