//! Processes of a release under a real systemd: started in order, on a socket that stays open, looked at, and taken back.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the operator")]

mod support;

#[path = "support/systemd.rs"]
mod booted;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use booted::Systemd;
use pannier_shared::signature::sign;
use pannier_shared::statement::{FORMAT, Process, Running, Shared, Suite, SuiteType, Words, suite};
use support::{Came, World};

/// Answers with the version, on the socket that systemd hands over; asked to end, it ends between two requests.
const SERVER: &str = r#"
import os, pathlib, select, signal, socket
assert os.environ["LISTEN_FDS"] == "1"
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
listener = socket.socket(fileno=3)
version = pathlib.Path("version.txt").read_text()
while signal.SIGTERM not in signal.sigpending():
    if not select.select([listener], [], [], 0.05)[0]:
        continue
    connection, _ = listener.accept()
    connection.recv(4096)
    connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{version}".encode())
    connection.close()
"#;

/// The same for gunicorn.
const WSGI: &str = r#"
import pathlib
VERSION = pathlib.Path("version.txt").read_bytes()
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION]
"#;

fn process(name: &str, command: &[&str], socket: bool) -> Process {
    let command = Words::try_from(command.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).unwrap();
    Process { name: name.parse().unwrap(), command, socket, stop_timeout: None }
}

fn web() -> Process {
    process("web", &["/usr/bin/python3", "server.py"], true)
}

fn worker(seconds: &str) -> Process {
    process("worker", &["sleep", seconds], false)
}

fn publish(world: &World, version: &str, processes: Vec<Process>) {
    let files = [("server.py", SERVER), ("wsgi.py", WSGI), ("version.txt", version)];
    let shared = Shared::new(vec!["media".to_owned().try_into().unwrap()], Vec::new()).unwrap();
    world.publish_running(version, &files, Running { processes, shared, ..Running::default() });
}

/// A node whose root is /srv/polls inside.
fn booted(world: &World) -> Option<Systemd> {
    let systemd = Systemd::boot(world.dir.path())?;
    let text = r#"
        store = "file:///srv/store"
        trust = "/srv/trust"
        [apps.polls]
        root = "/srv/polls"
        restart = "systemd"
        steady = "500ms"
        listen = { web = "/srv/web.sock" }
    "#;
    std::fs::write(world.path("activator.toml"), text).unwrap();
    Some(systemd)
}

/// A suite that tells a bare node what [`booted`] tells its node.
fn set_suite(world: &World) {
    let node = suite::OnNode {
        root: Some("/srv/polls".to_owned()),
        restart: Some(suite::Start::By("systemd".to_owned())),
        steady: Some("500ms".to_owned()),
        listen: [("web".parse().unwrap(), "/srv/web.sock".to_owned())].into(),
        ..suite::OnNode::default()
    };
    let member = suite::Member { runs: suite::Runs::Version("v1".parse().unwrap()), priority: 1, node };
    let suite = Suite {
        kind: SuiteType::Suite,
        format: FORMAT,
        suite: "production".parse().unwrap(),
        epoch: 1,
        serial: 1,
        roles: [("web".parse().unwrap(), [("polls".parse().unwrap(), member)].into())].into(),
        issued: "2026-01-01T00:00:00Z".parse().unwrap(),
        not_after: "2126-01-01T00:00:00Z".parse().unwrap(),
        reason: String::new(),
        who: "test".to_owned(),
    };
    std::fs::create_dir(world.path("store/suites")).unwrap();
    std::fs::write(world.path("store/suites/production.json"), sign(&suite, &world.key).unwrap()).unwrap();
}

#[test]
fn a_recovery_installs_and_starts_the_units_of_a_bare_node() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    publish(&world, "v1", vec![web(), worker("1000")]);
    set_suite(&world);
    std::fs::remove_file(world.path("activator.toml")).unwrap();
    let recover = "--store file:///srv/store --trust /srv/trust --quiet recover --suite production --role web";
    let said = systemd.ok(recover);
    assert!(said.contains("1 of 1 apps of production/web (serial 1) are back"), "{said}");
    assert_eq!(asked(&world), "v1");
    for unit in ["pannier-polls.web.service", "pannier-polls.web.socket", "pannier-polls.worker.service"] {
        assert_eq!(systemd.property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(systemd.property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    assert!(systemd.ok(recover).contains("served already"));
    assert!(systemd.ok("status").contains("v1"));
}

fn asked(world: &World) -> String {
    ask(&world.path("web.sock")).unwrap()
}

fn ask(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.rsplit("\r\n\r\n").next().unwrap().to_owned())
}

/// The process that is asked: gunicorn where `scripts/under-load` brings one, else [`SERVER`].
fn asked_process(world: &World) -> Process {
    let Some(packages) = std::env::var_os("PANNIER_GUNICORN") else { return web() };
    let copied = Command::new("cp").arg("-r").arg(packages).arg(world.path("packages")).status().unwrap();
    assert!(copied.success());
    let words = "/usr/bin/env PYTHONPATH=/srv/packages /usr/bin/python3 -m gunicorn --workers 2 wsgi:application";
    process("web", &words.split(' ').collect::<Vec<_>>(), true)
}

/// How many times it goes forward and back.
fn rounds() -> usize {
    std::env::var("PANNIER_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap())
}

#[test]
fn no_request_fails_while_releases_change_behind_the_socket() {
    let world = World::new();
    let Some(systemd) = booted(&world) else {
        assert!(std::env::var_os("PANNIER_GUNICORN").is_none(), "no systemd of its own can be booted here");
        return;
    };
    let process = asked_process(&world);
    publish(&world, "v1", vec![process.clone()]);
    publish(&world, "v2", vec![process]);
    systemd.ok("activate polls v1 --quiet");
    let (socket, over) = (world.path("web.sock"), AtomicBool::new(false));
    let until_over = || {
        let mut answers = Vec::new();
        while !over.load(Ordering::Relaxed) {
            answers.push(ask(&socket).map_err(|error| error.to_string()));
        }
        answers
    };
    let answers = std::thread::scope(|scope| {
        let asking = [scope.spawn(until_over), scope.spawn(until_over)];
        for _ in 0..rounds() {
            systemd.ok("activate polls v2 --quiet");
            systemd.ok("rollback polls --quiet");
        }
        over.store(true, Ordering::Relaxed);
        asking.map(|thread| thread.join().unwrap()).concat()
    });
    let of = |version: &str| answers.iter().filter(|answer| answer.as_deref() == Ok(version)).count();
    assert_eq!(of("v1") + of("v2"), answers.len(), "{:?}", answers.iter().find(|answer| answer.is_err()));
    assert!(of("v1") > 0 && of("v2") > 0);
    println!("{} requests, {} by v1 and {} by v2, none failed", answers.len(), of("v1"), of("v2"));
}

#[test]
fn all_processes_are_replaced_in_order_and_the_socket_stays_open() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    publish(&world, "v1", vec![web(), worker("1000")]);
    publish(&world, "v2", vec![web(), worker("1000")]);
    assert_eq!(systemd.ok("activate polls v1 --quiet"), "v1 serves\n");
    assert_eq!(asked(&world), "v1");
    let (socket, service) = ("pannier-polls.web.socket", "pannier-polls.web.service");
    let opened = systemd.property(socket, "ActiveEnterTimestampMonotonic");
    assert_eq!(systemd.ok("activate polls v2 --quiet"), "v2 serves (before: v1)\n");
    assert_eq!(asked(&world), "v2");
    assert_eq!(systemd.property(socket, "ActiveEnterTimestampMonotonic"), opened);
    for unit in [service, "pannier-polls.worker.service"] {
        assert_eq!(systemd.works_in(unit), "/srv/polls/releases/v2/app");
    }
    let began = |unit: &str| systemd.property(unit, "ExecMainStartTimestampMonotonic").parse::<u64>().unwrap();
    assert!(began(service) < began("pannier-polls.worker.service"));
    let examined = systemd.run("doctor polls --quiet").stdout;
    for well in ["ok       polls, restart: by systemd\n", "ok       polls, units: 5 files in /etc/systemd/system start"]
    {
        assert!(examined.contains(well), "{examined}");
    }
    // A restart by hand, or a boot, starts what the last switch said.
    systemd.ok("rollback polls --quiet");
    assert_eq!(systemd.inside("systemctl", &["restart", service]).code, Some(0));
    assert_eq!((asked(&world).as_str(), systemd.property(service, "UnitFileState").as_str()), ("v1", "enabled"));
}

#[test]
fn a_process_that_does_not_stay_is_taken_back_with_its_last_lines() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    publish(&world, "v1", vec![web(), worker("1000")]);
    publish(
        &world,
        "v2",
        vec![web(), process("worker", &["sh", "-c", "echo no such broker; sleep 0.3; exit 3"], false)],
    );
    systemd.ok("activate polls v1 --quiet");
    // Long beside the worker's life, however busy the machine is.
    let config = std::fs::read_to_string(world.path("activator.toml")).unwrap();
    std::fs::write(world.path("activator.toml"), config.replace("500ms", "2s")).unwrap();
    let came = systemd.run("activate polls v2 --quiet");
    assert_eq!(came.code, Some(10), "{came:?}");
    insta::assert_snapshot!(steady(&came), @"
    error: failed to activate `v2` of `polls`; it was taken back
      caused by: `v2` could not be started
      caused by: the process `worker` does not stay: its unit is STATE
      | no such broker

    serving: v1 (healthy)

    hint: once it is mended: `pannier-activator activate polls v2 --even-if-bad`
    ");
    assert_eq!(asked(&world), "v1");
    assert_eq!(systemd.works_in("pannier-polls.worker.service"), "/srv/polls/releases/v1/app");
    let kept = std::fs::read_to_string(world.path("polls/.pannier/failed/v2/printed.log")).unwrap();
    assert!(kept.contains("worker: no such broker\n"), "{kept}");
}

#[test]
fn a_mended_release_is_started_again_when_asked_for() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    publish(&world, "v1", vec![web(), worker("1000")]);
    systemd.ok("activate polls v1 --quiet");
    let damage = || std::fs::write(world.path("polls/releases/v1/app/version.txt"), "x1").unwrap();
    let began = || systemd.property("pannier-polls.worker.service", "ExecMainStartTimestampMonotonic");
    let first = began();
    damage();
    let came = systemd.run("repair polls --quiet");
    let how = "start it again: `systemctl restart 'pannier-polls.*.service'`, or the next time";
    assert!(came.code == Some(0) && came.stderr.contains(how), "{came:?}");
    assert_eq!(began(), first);
    damage();
    systemd.ok("repair polls --restart --quiet");
    assert_ne!(began(), first);
    assert_eq!(systemd.works_in("pannier-polls.worker.service"), "/srv/polls/releases/v1/app");
    assert_eq!(asked(&world), "v1");
}

/// systemd's words for a process that ended just now depend on when one asks.
fn steady(came: &Came) -> String {
    let state = came.stderr.split_once("its unit is ").map(|(_, rest)| rest.split_once('\n').unwrap().0.to_owned());
    came.stderr.replace(&state.unwrap_or_default(), "STATE")
}

#[test]
fn a_process_that_the_new_release_has_not_is_stopped_and_comes_back() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    // What is shared is all of a release that it can write to.
    let writes = "touch media/by-the-worker && ! touch here && exec sleep 1000";
    publish(&world, "v1", vec![web(), process("worker", &["sh", "-c", writes], false)]);
    publish(&world, "v2", vec![web()]);
    let worker = |systemd: &Systemd| systemd.property("pannier-polls.worker.service", "ActiveState");
    systemd.ok("activate polls v1 --quiet");
    assert_eq!(worker(&systemd), "active");
    assert!(world.path("polls/shared/media/by-the-worker").exists());
    systemd.ok("activate polls v2 --quiet");
    assert_eq!(worker(&systemd), "inactive");
    systemd.ok("rollback polls --quiet");
    assert_eq!(worker(&systemd), "active");
}

#[test]
fn a_release_without_processes_is_refused_before_anything_is_touched() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    publish(&world, "v1", vec![]);
    let came = systemd.run("activate polls v1 --quiet");
    assert_eq!((came.code, world.dir.path().join("polls/current").exists()), (Some(9), false));
    insta::assert_snapshot!(came.stderr, @"
    error: failed to activate `v1` of `polls`
      caused by: `v1` could not be started
      caused by: the release names no processes for systemd

    serving: nothing

    hint: name them in `[processes]` of pannier.toml, or configure `restart` as a command
    ");
    assert_eq!(std::fs::read_dir(world.path("units")).unwrap().count(), 0);
}

/// Ends a task of a second when it is told to end, as celery does.
const WORKER: &str = r#"
say() { echo "$PANNIER_VERSION $*" >> "$PANNIER_ROOT/shared/log"; }
trap 'sleep 1; say worker ended its task; exit 0' TERM
say worker begins
while :; do sleep 0.05; done
"#;

#[test]
fn a_worker_ends_its_task_and_the_scheduler_comes_last() {
    let world = World::new();
    let Some(systemd) = booted(&world) else { return };
    let worker =
        Process { stop_timeout: Some(20.try_into().unwrap()), ..process("worker", &["/bin/sh", "worker.sh"], false) };
    let beat = "echo \"$PANNIER_VERSION beat begins\" >> \"$PANNIER_ROOT/shared/log\"; exec sleep 600";
    let processes = vec![worker, process("beat", &["/bin/sh", "-c", beat], false)];
    for version in ["v1", "v2"] {
        world.publish_running(
            version,
            &[("worker.sh", WORKER)],
            Running { processes: processes.clone(), ..Running::default() },
        );
    }
    systemd.ok("activate polls v1 --quiet");
    systemd.ok("activate polls v2 --quiet");
    let log = std::fs::read_to_string(world.path("polls/shared/log")).unwrap();
    insta::assert_snapshot!(log, @"
    v1 worker begins
    v1 beat begins
    v1 worker ended its task
    v2 worker begins
    v2 beat begins
    ");
}

#[test]
fn units_are_what_systemd_takes() {
    let world = World::new();
    let config = std::fs::read_to_string(world.path("activator.toml")).unwrap();
    let restart = config.lines().find(|line| line.contains("restart = [")).unwrap();
    let supervised = r#"restart = "systemd"
        user = "daemon"
        env_file = "/etc/polls.env""#;
    std::fs::write(world.path("activator.toml"), config.replace(restart, supervised)).unwrap();
    let strange = process("web", &["/bin/echo", "50%", "$HOME", "it's \"x\\\""], true);
    let slow = Process { stop_timeout: Some(900.try_into().unwrap()), ..worker("5") };
    publish(&world, "v1", vec![strange, slow]);
    world.ok("fetch polls v1");
    insta::assert_snapshot!(world.ok("units polls v1"), @r#"
    ### pannier-polls.web.service
    # Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.
    [Unit]
    Description=web of polls
    After=network.target
    Requires=pannier-polls.web.socket
    After=pannier-polls.web.socket

    [Service]
    Type=exec
    Restart=always
    RestartSec=1
    KillMode=mixed
    TimeoutStopSec=30
    User=daemon
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
    ReadWritePaths=-DIR/srv/polls/shared

    [Install]
    WantedBy=multi-user.target

    ### pannier-polls.web.service.d/50-release.conf
    # Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.
    [Service]
    WorkingDirectory=DIR/srv/polls/releases/v1/app
    Environment="PATH=DIR/srv/polls/releases/v1/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    Environment="DJANGO_SETTINGS_MODULE=polls.settings"
    Environment="PYTHONDONTWRITEBYTECODE=1"
    Environment="PYTHONUNBUFFERED=1"
    Environment="PANNIER_APP=polls"
    Environment="PANNIER_VERSION=v1"
    Environment="PANNIER_ROOT=DIR/srv/polls"
    Environment="PANNIER_RELEASE=DIR/srv/polls/releases/v1"
    EnvironmentFile=/etc/polls.env
    ExecStart=
    ExecStart="/bin/echo" "50%%" "$$HOME" "it's \"x\\\""

    ### pannier-polls.web.socket
    # Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.
    [Unit]
    Description=socket of web of polls

    [Socket]
    ListenStream=/run/pannier-polls.web.sock
    Backlog=2048

    [Install]
    WantedBy=sockets.target

    ### pannier-polls.worker.service
    # Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.
    [Unit]
    Description=worker of polls
    After=network.target

    [Service]
    Type=exec
    Restart=always
    RestartSec=1
    KillMode=mixed
    TimeoutStopSec=30
    User=daemon
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
    ReadWritePaths=-DIR/srv/polls/shared

    [Install]
    WantedBy=multi-user.target

    ### pannier-polls.worker.service.d/50-release.conf
    # Written by pannier-activator and written anew when it differs. Your own lines: `systemctl edit NAME`.
    [Service]
    WorkingDirectory=DIR/srv/polls/releases/v1/app
    Environment="PATH=DIR/srv/polls/releases/v1/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    Environment="DJANGO_SETTINGS_MODULE=polls.settings"
    Environment="PYTHONDONTWRITEBYTECODE=1"
    Environment="PYTHONUNBUFFERED=1"
    Environment="PANNIER_APP=polls"
    Environment="PANNIER_VERSION=v1"
    Environment="PANNIER_ROOT=DIR/srv/polls"
    Environment="PANNIER_RELEASE=DIR/srv/polls/releases/v1"
    EnvironmentFile=/etc/polls.env
    TimeoutStopSec=900
    ExecStart=
    ExecStart="sleep" "5"
    "#);
    let units = world.path("units");
    world.ok(&format!("units polls v1 --write {}", units.display()));
    let Ok(analyze) = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(["pannier-polls.web.service", "pannier-polls.worker.service", "pannier-polls.web.socket"])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
        .output()
    else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&analyze.stderr), "");
    assert!(analyze.status.success());
}
