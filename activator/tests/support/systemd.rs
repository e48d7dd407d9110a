//! A real systemd as the first process of a PID, mount and cgroup namespace of its own. In it the world's folder is `/srv`,
//! the programs lie in `/mnt`, the units in its folder `units`, `/run` and `/tmp` are empty and everything else is read-only, so that nothing of the machine can be changed.
#![allow(dead_code, reason = "every test program uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests play the machine")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Came;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pannier-activator");

/// Runs as the namespace's first process: sets it up, and becomes systemd.
const BOOT: &str = r#"
set -e
dir=$1 programs=$2
mount --make-rprivate /
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/tmp
mount --bind "$dir" /srv
mount --bind "$programs" /mnt
mount --bind "$dir/units" /etc/systemd/system
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
mkdir -p /run/systemd/system /run/lock
export container=test SYSTEMD_UNIT_PATH=/etc/systemd/system:/srv/machine container_uuid=00000000000000000000000000000001
exec /lib/systemd/systemd --system --unit=machine.target --log-target=console --show-status=no
"#;

/// The least of a machine that services expect, and a journal.
const MACHINE: &[(&str, &str)] = &[
    ("machine.target", "[Unit]\nDefaultDependencies=no\nWants=systemd-journald.socket\nAllowIsolate=yes\n"),
    ("sysinit.target", ""),
    ("basic.target", ""),
    ("network.target", ""),
    ("sockets.target", ""),
    ("multi-user.target", ""),
    ("shutdown.target", ""),
    (
        "systemd-journald.socket",
        "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/systemd/journal/stdout\n\
         ListenDatagram=/run/systemd/journal/socket\nPassCredentials=yes\nService=systemd-journald.service\n",
    ),
    (
        "systemd-journald.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nExecStart=/lib/systemd/systemd-journald\n\
         Sockets=systemd-journald.socket\nStandardOutput=null\n",
    ),
];

/// A running systemd; it and all it started end with this value.
pub struct Systemd {
    unshare: Child,
    pid: u32,
    cgroup: PathBuf,
}

impl Systemd {
    /// Starts one with `dir` as `/srv`; nothing where that cannot be done: without root, without systemd, or without a
    /// cgroup2 tree.
    pub fn boot(dir: &Path) -> Option<Self> {
        let root = std::fs::read_to_string("/proc/self/status").unwrap().contains("\nUid:\t0\t0\t0");
        let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let tree = trees.into_iter().find(|tree| tree.join("cgroup.controllers").exists())?;
        if !root || !Path::new("/lib/systemd/systemd").exists() {
            return None;
        }
        for folder in ["units", "machine"] {
            std::fs::create_dir(dir.join(folder)).unwrap();
        }
        for (name, text) in MACHINE {
            let text = if text.is_empty() { "[Unit]\nDefaultDependencies=no\n" } else { text };
            std::fs::write(dir.join("machine").join(name), text).unwrap();
        }
        let cgroup = tree.join(format!("pannier-test-{}", dir.file_name().unwrap().to_str().unwrap()));
        std::fs::create_dir(&cgroup).unwrap();
        let log = std::fs::File::create(dir.join("systemd.log")).unwrap();
        let enter = "echo $$ > $1/cgroup.procs && exec unshare --fork --kill-child=KILL --pid --mount --mount-proc --cgroup --uts sh -c \"$2\" sh \"$3\" \"$4\"";
        let mut unshare = Command::new("sh");
        unshare.args(["-c", enter, "sh"]).arg(&cgroup).arg(BOOT).arg(dir).arg(Path::new(PROGRAM).parent().unwrap());
        let unshare = unshare.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut booted = Self { unshare, pid: 0, cgroup };
        booted.wait_until_up(dir);
        Some(booted)
    }

    fn wait_until_up(&mut self, dir: &Path) {
        let children = format!("/proc/{0}/task/{0}/children", self.unshare.id());
        for _ in 0..500 {
            std::thread::sleep(Duration::from_millis(20));
            let child = std::fs::read_to_string(&children).unwrap_or_default();
            self.pid = child.trim().parse().unwrap_or_default();
            let up = |systemd: &Self| {
                systemd.inside("systemctl", &["is-active", "--quiet", "machine.target"]).code == Some(0)
            };
            if self.pid != 0 && up(self) {
                return;
            }
        }
        panic!("systemd did not start: {}", std::fs::read_to_string(dir.join("systemd.log")).unwrap());
    }

    /// Runs a program inside, to its end.
    pub fn inside(&self, program: &str, arguments: &[&str]) -> Came {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.pid.to_string(), "--mount", "--pid", "--cgroup", "--uts", program]);
        nsenter.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = nsenter.env("PANNIER_CONFIG", "/srv/activator.toml").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Came { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the activator inside, to its end.
    pub fn run(&self, arguments: &str) -> Came {
        self.inside("/mnt/pannier-activator", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    /// Like [`Self::run`], and it must go well; gives its standard output.
    pub fn ok(&self, arguments: &str) -> String {
        let came = self.run(arguments);
        assert_eq!(came.code, Some(0), "{arguments}: {came:?}");
        came.stdout
    }

    /// What `systemctl show` says of one property.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.inside("systemctl", &["show", "--value", "--property", name, unit]).stdout.trim().to_owned()
    }

    /// The working folder of a unit's main process, seen from outside.
    pub fn works_in(&self, unit: &str) -> String {
        let pid = self.property(unit, "MainPID");
        self.inside("readlink", &[&format!("/proc/{pid}/cwd")]).stdout.trim().to_owned()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // All of the namespace ends with its first process.
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        for _ in 0..100 {
            let removed = Command::new("find").arg(&self.cgroup).args(["-depth", "-type", "d", "-delete"]).output();
            if removed.is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
