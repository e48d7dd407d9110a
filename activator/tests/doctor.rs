//! `doctor`: each thing that can be the matter with a node, made so, and what is said of it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests break nodes by hand")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use pannier_shared::statement::{Process, Running, Words};
use support::{GOOD, World};

/// A node where v1 serves.
fn serving() -> World {
    let world = World::new();
    world.publish_good("v1");
    world.ok("activate polls v1");
    world
}

/// What is found by these checks, and the exit status.
fn found(world: &World, checks: &[&str]) -> String {
    let came = world.run("doctor --quiet");
    let mut lines = vec![format!("exit {}", came.code.unwrap())];
    let mut wanted = false;
    for line in came.stdout.lines() {
        if !line.starts_with("         ") {
            wanted = checks
                .iter()
                .any(|check| line.split_once(": ").is_some_and(|(head, _)| head.ends_with(&format!(" {check}"))));
        }
        lines.extend(wanted.then(|| line.to_owned()));
    }
    assert_eq!(came.stderr, "");
    lines.join("\n")
}

fn mode(path: impl AsRef<Path>, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn change(world: &World, from: &str, to: &str) {
    let path = world.path("activator.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn on_a_node_that_is_well_nothing_is_wrong() {
    let world = serving();
    let came = world.run("doctor polls --quiet");
    assert_eq!((came.code, came.stderr.as_str()), (Some(0), ""));
    let checks: Vec<&str> = came
        .stdout
        .lines()
        .filter_map(|line| line.get(9..)?.split_once(": "))
        .map(|(check, _)| check)
        .filter(|check| *check != "hint")
        .collect();
    assert_eq!(
        checks,
        [
            "configuration",
            "trust",
            "store",
            "clock",
            "confinement",
            "polls, root",
            "polls, room",
            "polls, file system",
            "polls, lock",
            "polls, record",
            "polls, published",
            "polls, releases",
            "polls, user",
            "polls, restart",
            "polls, health"
        ]
    );
    insta::assert_snapshot!(found(&world, &["configuration", "trust", "store", "clock", "lock", "record", "published", "releases", "restart", "health"]), @"
    exit 0
    ok       configuration: DIR/activator.toml, 1 app
    ok       trust: 1 key may sign releases, in DIR/trust
    ok       store: file://DIR/store answers
    ok       clock: the store has no clock to compare it with
    ok       polls, lock: free
    ok       polls, record: v1 (healthy) serves
    ok       polls, published: `v1`, which is here, is in the store and well signed
    ok       polls, releases: all 1 on this node can run on it
    ok       polls, restart: `sh DIR/restart.sh`
    ok       polls, health: http://127.0.0.1:PORT/health.txt is as it should be
    ");
    let json = world.run("doctor --json");
    let last: serde_json::Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["command"], &last["wrong"], &last["findings"][0]["check"]),
        (&"doctor".into(), &0.into(), &"configuration".into())
    );
    assert_eq!(last["findings"][0]["verdict"], "ok");
}

#[test]
fn a_configuration_that_cannot_be_used_is_the_one_finding() {
    let world = serving();
    change(&world, "restart_timeout", "restart_timout");
    let came = world.run("doctor --quiet");
    assert_eq!(came.code, Some(5));
    insta::assert_snapshot!(came.stdout, @"
    wrong    configuration: DIR/activator.toml: unknown key `apps.polls.restart_timout`
             hint: did you mean `restart_timeout` or `restart`?
    1 thing is wrong (0 warnings)
    ");
    assert_eq!(world.run("doctor pols").code, Some(5));
    change(&world, "restart_timout", "restart_timeout");
    assert_eq!(world.run("doctor pols").code, Some(3));
    mode(world.path("activator.toml"), 0o666);
    insta::assert_snapshot!(found(&world, &["configuration"]), @"
    exit 5
    wrong    configuration: DIR/activator.toml can be written by others than its owner (mode 0666)
             hint: `chmod go-w DIR/activator.toml`
    ok       configuration: DIR/activator.toml, 1 app
    ");
}

#[test]
fn keys_that_count_no_more_or_not_for_long_are_named() {
    let world = serving();
    let line = std::fs::read_to_string(world.path("trust")).unwrap();
    let with = |more: &str| line.replace("ci namespaces", &format!("ci {more},namespaces"));
    std::fs::write(world.path("trust"), with("valid-before=\"20200101Z\"")).unwrap();
    let old = found(&world, &["trust"]);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 7);
    let soon = soon.strftime("%Y%m%d%H%M%SZ").to_string();
    std::fs::write(world.path("trust"), with(&format!("valid-before=\"{soon}\""))).unwrap();
    let expiring = found(&world, &["trust"]);
    std::fs::write(world.path("trust"), "").unwrap();
    let empty = found(&world, &["trust"]);
    std::fs::write(world.path("trust"), "ci ssh-rsa AAAA\n").unwrap();
    let refused = found(&world, &["trust"]);
    std::fs::write(world.path("trust"), &line).unwrap();
    mode(world.path("trust"), 0o664);
    let open = found(&world, &["trust"]);
    let until = expiring.split("until ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    insta::assert_snapshot!([old, expiring.replace(&until, "SOON"), empty, refused, open].join("\n\n"), @r#"
    exit 5
    warning  trust: the key of `ci` counts no more since 2020-01-01T00:00:00Z
             hint: take the line of `ci` out of the trust file, or publish anew what only it has signed
    wrong    trust: no key in DIR/trust may sign a release now
             hint: add a line for one, with `namespaces="release@pannier"`: `pannier keys show` prints it

    exit 0
    warning  trust: the key of `ci` counts until SOON only
             hint: make the next key (`pannier keys new`) and put its line into the trust file of every node now
    ok       trust: 1 key may sign releases, in DIR/trust

    exit 5
    wrong    trust: the trust file `DIR/trust` names no key: put the line that `pannier keys new` printed into it
             hint: put the lines that `pannier keys new` printed into it, or name another one by `--trust`

    exit 5
    wrong    trust: line 1 of the trust file `DIR/trust` is refused: its key cannot be used: it is a key of type `ssh-rsa`, but Pannier takes `ssh-ed25519` only
             hint: put the lines that `pannier keys new` printed into it, or name another one by `--trust`

    exit 5
    wrong    trust: DIR/trust can be written by others than its owner (mode 0664)
             hint: `chmod go-w DIR/trust`
    ok       trust: 1 key may sign releases, in DIR/trust
    "#);
}

#[test]
fn a_store_that_does_not_answer_or_is_none_is_named() {
    let world = serving();
    std::fs::rename(world.path("store"), world.path("away")).unwrap();
    let away = found(&world, &["store", "published"]);
    change(&world, "file://", "ftp://");
    let unknown = found(&world, &["store", "published"]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = world.path("activator.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let rest = text.split_once("trust =").unwrap().1;
    std::fs::write(&path, format!("store = \"http://{free}/\"\ntrust ={rest}")).unwrap();
    let dead = found(&world, &["store"]).replace(&free.to_string(), "HOST");
    std::fs::write(&path, format!("trust ={rest}")).unwrap();
    let none = found(&world, &["store", "published"]);
    insta::assert_snapshot!([away, unknown, dead, none].join("\n\n"), @"
    exit 5
    wrong    store: the store file://DIR/store is unavailable: there is no such folder
             hint: check the address and the network, then type it again
    wrong    polls, published: the store file://DIR/store is unavailable: there is no such folder
             hint: check the address and the network, then type it again

    exit 5
    wrong    store: the store cannot be opened: `ftp://DIR/store` is not a store location: expected `file:///path`, `s3://bucket/prefix` or `https://host/path`
             hint: see to `store` in the configuration

    exit 5
    wrong    store: the store http://HOST/ is unavailable: `HOST` cannot be reached: tcp connect error: Connection refused (os error 111)
             hint: check the address and the network, then type it again

    exit 0
    warning  store: none is configured: only what is here can be activated
             hint: name one by `store` in the configuration, by `--store` or by `PANNIER_STORE`
    ");
}

/// A web server that answers every request with this date.
fn server_at(date: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    address
}

#[test]
fn a_clock_that_the_store_does_not_share_is_wrong() {
    let world = serving();
    let server = server_at("Sun, 06 Nov 1994 08:49:37 GMT");
    let came = world.run(&format!("doctor --quiet --store {server}"));
    assert_eq!(came.code, Some(5));
    let line = came.stdout.lines().find(|line| line.contains(" clock: ")).unwrap();
    assert!(
        line.starts_with("wrong    clock: it is ") && line.contains(" s ahead of that of the store: beyond 900 s"),
        "{line}"
    );
}

#[test]
fn what_is_published_is_read_as_a_fetch_would() {
    let world = serving();
    change(&world, "restart_timeout", "channel = \"production\"\nrestart_timeout");
    let unknown = found(&world, &["published"]);
    world.promote_until("production", "v1", 7, "2020-01-01T00:00:00Z");
    let stale = found(&world, &["published"]);
    world.promote("production", "v1", 8);
    world.ok("fetch polls @production");
    world.promote("production", "v1", 7);
    let back = found(&world, &["published"]);
    world.publish_as("v2", GOOD, |statement| statement.release.libc_floor = Some("9.99".into()));
    world.promote("production", "v2", 9);
    let unfit = found(&world, &["published"]);
    let unfit = unfit.split("this node has").next().unwrap().to_owned();
    std::fs::write(world.store_file("v2", "release.json"), "{}").unwrap();
    let damaged = found(&world, &["published"]);
    insta::assert_snapshot!([unknown, stale, back, unfit, damaged].join("\n\n"), @"
    exit 0
    warning  polls, published: `polls` has no channel `production` in the store file://DIR/store
             hint: publish and promote it: `pannier publish`, `pannier promote polls VERSION --to CHANNEL`

    exit 0
    warning  polls, published: the channel `production` should have been signed again before 2020-01-01T00:00:00Z
             hint: promote again: `pannier promote polls v1 --to production`
    ok       polls, published: the channel `production` names `v1` (serial 7 of epoch 1)

    exit 5
    wrong    polls, published: the channel `production` shows serial 7 of epoch 1, but this node has seen serial 8 of epoch 1
             hint: the store is stale or was tampered with; promote again with `pannier promote`
    ok       polls, published: the channel `production` names `v1` (serial 7 of epoch 1)

    exit 5
    ok       polls, published: the channel `production` names `v2` (serial 9 of epoch 1)
    wrong    polls, published: `v2`: the release needs glibc 9.99 or newer, 

    exit 5
    wrong    polls, published: failed to verify `polls/releases/v2/TARGET/release.json`: the release statement is refused: it is not signed: it has no line `-----BEGIN SSH SIGNATURE-----`
             hint: find out who put it there, and publish it anew
    ");
}

#[test]
fn a_root_that_others_can_change_or_that_is_not_ours_is_wrong() {
    let world = serving();
    let root = world.root();
    mode(root.join("releases"), 0o777);
    let open = found(&world, &["root"]);
    mode(root.join("releases"), 0o755);
    std::fs::remove_file(root.join("current")).unwrap();
    symlink("/etc", root.join("current")).unwrap();
    let elsewhere = found(&world, &["root", "record"]);
    std::fs::remove_file(root.join("current")).unwrap();
    symlink("releases/v1", root.join("current")).unwrap();
    let mut all = vec![open, elsewhere];
    if std::fs::metadata(&root).unwrap().uid() == 0 {
        chown(root.join("releases"), Some(1), None).unwrap();
        all.push(found(&world, &["root"]));
        chown(root.join("releases"), Some(0), None).unwrap();
        change(&world, "restart_timeout", "user = \"nobody\"\nrestart_timeout");
        mode(world.dir.path(), 0o700);
        mode(root.join("shared"), 0o755);
        all.push(found(&world, &["root", "user"]));
        change(&world, "nobody", "no-such-user");
        all.push(found(&world, &["user"]));
        insta::assert_snapshot!(all.join("\n\n"), @"
    exit 5
    wrong    polls, root: DIR/srv/polls/releases can be written by others than its owner
             hint: `chmod go-w DIR/srv/polls/releases`

    exit 5
    wrong    polls, root: `DIR/srv/polls/current` leads to `/etc`, which is not a release of this root
             hint: see what is there with `ls DIR/srv/polls/releases`, then `rm DIR/srv/polls/current`

    exit 5
    wrong    polls, root: `DIR/srv/polls/releases` belongs to `daemon`, but this runs as `root`
             hint: run this as `daemon`, or give the folder to `root`: `chown -R root DIR/srv/polls/releases`

    exit 5
    wrong    polls, root: the user `nobody` cannot enter DIR
             hint: `chmod o+x DIR`
    wrong    polls, root: the user `nobody` cannot write to DIR/srv/polls/shared
             hint: `chown -R nobody DIR/srv/polls/shared`
    ok       polls, user: its commands run as `nobody`

    exit 5
    wrong    polls, user: the machine has no user `no-such-user`
             hint: make it (`useradd --system --shell /usr/sbin/nologin no-such-user`), or name another `user` in the app's configuration; only /etc/passwd is looked into
    ");
    }
    std::fs::rename(&root, world.path("moved")).unwrap();
    insta::assert_snapshot!(found(&world, &["root"]), @"
    exit 5
    ok       polls, root: DIR/srv/polls is not there yet: the first fetch makes it
    ");
}

#[test]
fn what_was_left_unfinished_or_is_held_is_named() {
    let world = serving();
    let pannier = world.root().join(".pannier");
    let journal = std::fs::read_to_string(pannier.join("journal.jsonl")).unwrap();
    let began =
        r#"{"at":"2026-11-20T12:00:00Z","id":"ab","what":"began","operation":"activate","version":"v2","from":"v1"}"#;
    std::fs::write(pannier.join("journal.jsonl"), format!("{journal}{began}\n")).unwrap();
    let interrupted = found(&world, &["record", "lock"]);
    std::fs::write(pannier.join("journal.jsonl"), journal).unwrap();
    let state = std::fs::read_to_string(pannier.join("state.json")).unwrap();
    std::fs::write(pannier.join("state.json"), "{").unwrap();
    let damaged = found(&world, &["record"]);
    std::fs::write(pannier.join("state.json"), state.replace("\"confirmed\": true", "\"confirmed\": false")).unwrap();
    let unconfirmed = found(&world, &["record"]);
    std::fs::write(pannier.join("state.json"), state).unwrap();
    std::fs::create_dir(world.root().join("releases/v0")).unwrap();
    std::fs::remove_file(world.root().join("current")).unwrap();
    symlink("releases/v0", world.root().join("current")).unwrap();
    let differs = found(&world, &["record"]);
    std::fs::remove_file(world.root().join("current")).unwrap();
    symlink("releases/v1", world.root().join("current")).unwrap();
    let lock = pannier_shared::sys::lock::acquire(&pannier.join("lock"), "activate v2").unwrap();
    let mut holder: serde_json::Value = serde_json::from_slice(&std::fs::read(pannier.join("lock")).unwrap()).unwrap();
    holder["since"] = "2026-11-20T12:00:00Z".into();
    std::fs::write(pannier.join("lock"), holder.to_string()).unwrap();
    let held = found(&world, &["lock", "file system"]).replace(&std::process::id().to_string(), "PID");
    drop(lock);
    insta::assert_snapshot!([interrupted, damaged, unconfirmed, differs, held].join("\n\n"), @"
    exit 0
    ok       polls, lock: free
    warning  polls, record: `activate v2` was interrupted at 2026-11-20T12:00:00Z and is not healed yet
             hint: the next command that changes anything heals it: `pannier-activator activate polls v1`

    exit 5
    wrong    polls, record: the state file `DIR/srv/polls/.pannier/state.json` is damaged: EOF while parsing an object at line 1 column 1
             hint: move it away: `mv DIR/srv/polls/.pannier/state.json DIR/srv/polls/.pannier/state.json.damaged`; the next command learns it anew from the releases

    exit 0
    warning  polls, record: `v1` serves and never passed its check
             hint: `pannier-activator activate polls v1`

    exit 0
    warning  polls, record: it says that `v1` serves, but `current` leads to `v0`
             hint: the next command that changes anything follows `current`: see `pannier-activator status polls`

    exit 0
    ok       polls, file system: not tried while another command works on the app
    warning  polls, lock: held by process PID (activate v2) since 2026-11-20T12:00:00Z
             hint: see what it does: `ps -fp PID`; it is freed when that ends
    ");
}

#[test]
fn a_release_that_could_not_be_started_here_any_more_is_named() {
    let world = serving();
    let path = world.root().join(".pannier/toc/v1/release.json");
    world.publish_as("v2", GOOD, |statement| statement.release.libc_floor = Some("9.99".into()));
    std::fs::copy(world.store_file("v2", "release.json"), &path).unwrap();
    let upgraded = found(&world, &["releases"]);
    let upgraded = upgraded.split("this node has").next().unwrap().to_owned();
    std::fs::write(&path, "{}").unwrap();
    let damaged = found(&world, &["releases"]);
    insta::assert_snapshot!([upgraded, damaged].join("\n\n"), @"
    exit 5
    wrong    polls, releases: `v2`: the release needs glibc 9.99 or newer, 

    exit 0
    warning  polls, releases: `v1`: the release statement is refused: it is not signed: it has no line `-----BEGIN SSH SIGNATURE-----`
             hint: fetch it anew once it is moved away: `mv DIR/srv/polls/releases/v1 DIR/srv/polls/releases/v1.old`
    ");
}

#[test]
fn a_restart_command_that_is_not_there_is_named() {
    let world = serving();
    let env = world.path("env");
    std::fs::write(&env, "A=1\n").unwrap();
    mode(&env, 0o644);
    change(&world, "restart_timeout", &format!("env_file = \"{}\"\nrestart_timeout", env.display()));
    let readable = found(&world, &["restart"]);
    std::fs::write(&env, "hunter2\n").unwrap();
    let broken = found(&world, &["restart"]);
    std::fs::write(&env, "A=1\n").unwrap();
    mode(&env, 0o600);
    change(&world, "[\"sh\"", "[\"gunicornx\"");
    let nowhere = found(&world, &["restart"]);
    change(&world, "gunicornx", env.to_str().unwrap());
    let no_program = found(&world, &["restart"]);
    change(&world, &format!("restart = [\"{}\"", env.display()), &format!("restart = [\"{}-gone\"", env.display()));
    let gone = found(&world, &["restart"]);
    let text = std::fs::read_to_string(world.path("activator.toml")).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("restart =")).collect();
    std::fs::write(world.path("activator.toml"), lines.join("\n")).unwrap();
    let none = found(&world, &["restart"]);
    insta::assert_snapshot!([readable, broken, nowhere, no_program, gone, none].join("\n\n"), @"
    exit 0
    warning  polls, restart: DIR/env can be read by everybody
             hint: `chmod o-r DIR/env`

    exit 5
    wrong    polls, restart: line 1 of `DIR/env` is not NAME=VALUE
             hint: see to `env_file` in the app's configuration: NAME=VALUE lines, readable for who runs the activator

    exit 5
    wrong    polls, restart: there is no program `gunicornx` in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
             hint: install it, or name its full path by `restart` in the app's configuration

    exit 5
    wrong    polls, restart: DIR/env cannot be run
             hint: `chmod +x DIR/env`

    exit 5
    wrong    polls, restart: failed to look at `DIR/env-gone`: No such file or directory (os error 2)
             hint: install it, or name another one by `restart` in the app's configuration

    exit 0
    warning  polls, restart: no command is configured: after a switch the old processes serve on
             hint: add `restart` to the table `[apps.polls]` of the configuration
    ");
}

#[test]
fn an_app_that_is_not_healthy_now_is_named() {
    let world = serving();
    change(&world, "contains = \"ok\"", "contains = \"fine\"");
    let other = found(&world, &["health"]);
    let pid = std::fs::read_to_string(world.root().join("shared/pid")).unwrap();
    std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    while world.run("doctor").stdout.contains("does not contain") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let down = found(&world, &["health"]);
    world.configure_without_health();
    let none = found(&world, &["health"]);
    insta::assert_snapshot!([other, down, none].join("\n\n"), @"
    exit 5
    wrong    polls, health: http://127.0.0.1:PORT/health.txt: the answer does not contain `fine`
             hint: see what the app says: `tail DIR/srv/polls/.pannier/restart.log`

    exit 5
    wrong    polls, health: http://127.0.0.1:PORT/health.txt: there was no answer: Connection refused (os error 111)
             hint: see what the app says: `tail DIR/srv/polls/.pannier/restart.log`

    exit 0
    warning  polls, health: no check is configured: a release counts as healthy once its restart ended well
             hint: add a table `[apps.polls.health]` with a `url` to the configuration
    ");
}

#[test]
fn units_that_would_not_start_what_serves_are_named() {
    let world = World::new();
    let process = |name: &str| {
        let command = Words::try_from(vec!["gunicorn".to_owned()]).unwrap();
        Process { name: name.parse().unwrap(), command, socket: name == "web", stop_timeout: None }
    };
    let running = || Running { processes: vec![process("web"), process("worker")], ..Running::default() };
    world.publish_running("v1", GOOD, running());
    world.publish_running("v2", GOOD, running());
    world.ok("activate polls v1");
    world.ok("fetch polls v2");
    let restart = format!("restart = [\"sh\", \"{}\"]", world.path("restart.sh").display());
    let units = world.path("units");
    change(&world, &restart, &format!("restart = \"systemd\"\nunits = \"{}\"", units.display()));
    let none = found(&world, &["units"]);
    world.ok(&format!("units polls --write {}", units.display()));
    let well = found(&world, &["units"]).lines().skip(1).map(str::to_owned).collect::<String>();
    std::fs::write(units.join("pannier-polls.worker.service"), "[Service]\n").unwrap();
    std::fs::remove_file(units.join("pannier-polls.web.service.d/50-release.conf")).unwrap();
    let changed = found(&world, &["units"]);
    world.ok(&format!("units polls v2 --write {}", units.display()));
    let another = found(&world, &["units"]);
    insta::assert_snapshot!([none, well, changed, another].join("\n\n"), @"
    exit 5
    wrong    polls, units: DIR/units lacks `pannier-polls.web.service`, `pannier-polls.web.service.d/50-release.conf`, `pannier-polls.web.socket`, `pannier-polls.worker.service`, `pannier-polls.worker.service.d/50-release.conf`
             hint: `pannier-activator units polls --write DIR/units`, then `systemctl enable --now pannier-polls.web.service pannier-polls.web.socket pannier-polls.worker.service`

    ok       polls, units: 5 files in DIR/units start what serves

    exit 5
    wrong    polls, units: DIR/units lacks `pannier-polls.web.service.d/50-release.conf`
             hint: `pannier-activator units polls --write DIR/units`, then `systemctl daemon-reload`
    warning  polls, units: in DIR/units say something else than they should: `pannier-polls.worker.service`
             hint: `pannier-activator units polls --write DIR/units`, then `systemctl daemon-reload`

    exit 5
    wrong    polls, units: in DIR/units say something else than they should: `pannier-polls.web.service.d/50-release.conf`, `pannier-polls.worker.service.d/50-release.conf`
             hint: `pannier-activator units polls --write DIR/units`, then `systemctl daemon-reload`
    ");
}
