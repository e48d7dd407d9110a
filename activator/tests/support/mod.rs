//! A node, a store and a signing key in a temporary folder; releases are packed, signed and published for real.
#![allow(dead_code, reason = "every test program uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the builder, the operator and the app")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use pannier_shared::digest::Digest;
use pannier_shared::id::Target;
use pannier_shared::keys;
use pannier_shared::signature::{SigningKey, sign};
use pannier_shared::statement::*;

mod release;

pub struct World {
    pub dir: tempfile::TempDir,
    pub key: SigningKey,
    pub port: u16,
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_pannier-activator");

/// The files of a release that is healthy.
pub const GOOD: &[(&str, &str)] = &[("health.txt", "ok\n"), ("empty", ""), ("run", "#!/bin/sh\n")];

/// What a command came to.
#[derive(Debug)]
pub struct Came {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate("ci").unwrap();
        let trust = format!("ci namespaces=\"release@pannier,channel@pannier,suite@pannier\" {}\n", key.public());
        std::fs::write(dir.path().join("trust"), trust).unwrap();
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let world = Self { dir, key, port };
        world.restart_by(SERVE);
        world.configure("");
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("srv/polls")
    }

    /// Writes the configuration; `more` goes to the app's table.
    pub fn configure(&self, more: &str) {
        let (dir, port) = (self.dir.path().display(), self.port);
        let text = format!(
            r#"
            store = "file://{dir}/store"
            trust = "{dir}/trust"
            [apps.polls]
            root = "{dir}/srv/polls"
            restart = ["sh", "{dir}/restart.sh"]
            restart_timeout = "20s"
            unseen = "use-nothing"
            {more}
            [apps.polls.health]
            url = "http://127.0.0.1:{port}/health.txt"
            contains = "ok"
            deadline = "10s"
            interval = "50ms"
            "#
        );
        std::fs::write(self.path("activator.toml"), text).unwrap();
    }

    /// Takes the health check out of the configuration.
    pub fn configure_without_health(&self) {
        let path = self.path("activator.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.split("[apps.polls.health]").next().unwrap()).unwrap();
    }

    /// Lets a release that does not become healthy be given up soon.
    pub fn impatient(&self) {
        let path = self.path("activator.toml");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"10s\"", "\"1500ms\"");
        std::fs::write(path, text).unwrap();
    }

    pub fn restart_by(&self, script: &str) {
        let script = script.replace("PORT", &self.port.to_string());
        std::fs::write(self.path("restart.sh"), script).unwrap();
    }

    /// Packs, signs and publishes a release whose `app/` holds these files.
    pub fn publish(&self, version: &str, files: &[(&str, &str)]) {
        self.publish_as(version, files, |_| ());
    }

    /// Like [`Self::publish`], after `change` had its way with the statement.
    pub fn publish_as(&self, version: &str, files: &[(&str, &str)], change: impl FnOnce(&mut Statement)) {
        release::publish(&self.path("store"), &self.key, version, files, change);
    }

    /// A release that says how it is run, in its statement and in its tree.
    pub fn publish_running(&self, version: &str, files: &[(&str, &str)], running: Running) {
        release::publish_running(&self.path("store"), &self.key, version, files, running);
    }

    /// A release that serves `/health.txt` and `/version.txt`.
    pub fn publish_good(&self, version: &str) {
        let own = [("version.txt", version)];
        self.publish(version, &[GOOD, &own].concat());
    }

    /// One with hashed static files, too: `all.0.css` and `VERSION.1.js` with a twin.
    pub fn publish_static(&self, version: &str) {
        let (files, own) = ([GOOD, &[("version.txt", version)]].concat(), format!("js/{version}.1.js"));
        let twin = format!("{own}.gz");
        let statics = [("css/all.0.css", "all"), ("css/all.css", version), (own.as_str(), version), (&twin, "twin")];
        release::publish_static(&self.path("store"), &self.key, version, &files, &statics);
    }

    /// Whether all hashed static files of a release are to be had by their names.
    pub fn has_static(&self, version: &str) -> bool {
        let of = |name: &str| std::fs::read_to_string(self.root().join("static").join(name)).ok();
        let own = of(&format!("js/{version}.1.js")).zip(of(&format!("js/{version}.1.js.gz")));
        of("css/all.0.css").as_deref() == Some("all") && own == Some((version.to_owned(), "twin".to_owned()))
    }

    /// Points a channel at a published version.
    pub fn promote(&self, channel: &str, version: &str, serial: u64) {
        self.promote_until(channel, version, serial, "2126-01-01T00:00:00Z");
    }

    /// Like [`Self::promote`], to be signed again before a time.
    pub fn promote_until(&self, channel: &str, version: &str, serial: u64, not_after: &str) {
        let statement = self.store_file(version, "release.json");
        let digest = Digest::of(&std::fs::read(statement).unwrap());
        let pointer = Channel {
            kind: ChannelType::Channel,
            format: FORMAT,
            app: "polls".parse().unwrap(),
            channel: channel.parse().unwrap(),
            epoch: 1,
            serial,
            version: version.parse().unwrap(),
            statements: BTreeMap::from([(Target::host(), digest)]),
            issued: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: not_after.parse().unwrap(),
            reason: String::new(),
            who: "test".into(),
        };
        let key = keys::channel(&pointer.app, &pointer.channel);
        release::put(&self.path("store"), key.as_str(), &sign(&pointer, &self.key).unwrap());
    }

    pub fn store_file(&self, version: &str, name: &str) -> PathBuf {
        self.path("store").join(format!("polls/releases/{version}/{}/{name}", Target::host()))
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("PATH", "/nowhere").env("PANNIER_CONFIG", self.path("activator.toml"));
        command.args(arguments.split_whitespace());
        command
    }

    /// The program run by another one.
    pub fn under(&self, other: &str, its_arguments: &[&str], arguments: &str) -> Command {
        let mut command = Command::new(other);
        command.args(its_arguments).arg(PROGRAM).args(arguments.split_whitespace());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PANNIER_CONFIG", self.path("activator.toml"));
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &str) -> Came {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap().replace(self.dir.path().to_str().unwrap(), "DIR");
            text.replace(&self.port.to_string(), "PORT").replace(Target::host().as_str(), "TARGET")
        };
        Came { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs the program to its end, which must be a good one; gives its standard output.
    pub fn ok(&self, arguments: &str) -> String {
        let came = self.run(arguments);
        assert_eq!(came.code, Some(0), "{arguments}: {came:?}");
        came.stdout
    }

    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The version `current` leads to.
    pub fn current(&self) -> Option<String> {
        let target = std::fs::read_link(self.root().join("current")).ok()?;
        assert!(self.root().join("current/.pannier/COMPLETE").is_file(), "{target:?} is not complete");
        Some(target.file_name().unwrap().to_str().unwrap().to_owned())
    }

    /// The version the app says it is; a server that was just started gets a moment to listen.
    pub fn served(&self) -> Option<String> {
        for _ in 0..400 {
            match self.ask() {
                None => std::thread::sleep(std::time::Duration::from_millis(25)),
                answer => return answer,
            }
        }
        None
    }

    fn ask(&self) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.write_all(b"GET /version.txt HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// What lies below `releases/`, and below `staging/` and `toc/`.
    pub fn laid(&self) -> [Vec<String>; 3] {
        ["releases", ".pannier/staging", ".pannier/toc"].map(|folder| names(&self.root().join(folder)))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(pid) = std::fs::read_to_string(self.root().join("shared/pid")) {
            let _ = Command::new("kill").arg(pid.trim()).status();
        }
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Of how many calls of a kind one is tried: with `PANNIER_TORTURE=whole`, as `scripts/torture` has it, of each.
pub fn stride() -> usize {
    if std::env::var("PANNIER_TORTURE").is_ok_and(|extent| extent == "whole") { 1 } else { 4 }
}

/// Which calls of the `kind`-th kind are tried: the first, or second, ... and so on, not the same ones of each kind.
pub fn tried(kind: usize) -> impl Iterator<Item = usize> {
    (1 + kind % stride()..).step_by(stride())
}

/// Runs a command under strace, killed before its n-th call of a kind; true if it was.
pub fn killed(world: &World, arguments: &str, call: &str, at: usize) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=SIGKILL:when={at}"));
    let mut command = world.under("strace", &["-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject], arguments);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.signal() == Some(9)
}

/// Ends the server that runs and starts one for the release.
pub const SERVE: &str = r#"
pid=$(cat "$PANNIER_ROOT/shared/pid" 2>/dev/null) && kill "$pid" && while grep -q . "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.02; done
cd "$PANNIER_RELEASE/app"
python3 -m http.server --bind 127.0.0.1 PORT &
echo $! > "$PANNIER_ROOT/shared/pid"
"#;
