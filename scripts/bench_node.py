"""What the benches stand on: namespaces of their own, a node's disk in memory, a web server, and what one command cost.

Everything lives in the namespaces of the script that imports it and ends with it. Needs root.
"""
import contextlib
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

ENTERED = "PANNIER_BENCH_ENTERED"
# Addresses of a line between two namespaces. The node speaks plain HTTP to 127.0.0.0/8 only, so they are of it.
NEAR, FAR = "127.91.0.1", "127.91.0.2"


def enter_own_namespaces():
    """Starts the script again with a network and mounts of its own."""
    if ENTERED not in os.environ:
        os.environ[ENTERED] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", "--propagation", "private", sys.executable, *sys.argv])
    call("ip", "link", "set", "lo", "up")


def call(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def said(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Cost:
    """What a command cost: seconds on the clock, CPU seconds of it and its children, MiB of the largest process."""

    def __init__(self, command, output=subprocess.DEVNULL):
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        self.wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        self.cpu = used.ru_utime + used.ru_stime
        self.rss = used.ru_maxrss / 1024

    def figures(self):
        return {"wall": round(self.wall, 4), "cpu": round(self.cpu, 4), "rss": round(self.rss, 1)}


class Disk:
    """A node's disk: an ext4 in an image file in memory, since the machine's own disk is shared with others."""

    def __init__(self, mount, bytes_per_inode=65536):
        self.mount, self.bytes_per_inode = mount, bytes_per_inode
        self.image = f"/dev/shm/bench-node-{os.getpid()}.img"
        os.makedirs(mount, exist_ok=True)

    def fresh(self):
        self.close()
        call("truncate", "-s", "12G", self.image)
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        call("mkfs.ext4", "-q", "-F", "-E", lazy, "-i", str(self.bytes_per_inode), self.image)
        self._mount()

    def keep(self, name):
        """Remembers what is on it."""
        call("umount", self.mount)
        call("cp", "--sparse=always", self.image, f"{self.image}.{name}")
        self._mount()

    def back(self, name):
        """Makes it what it was when it was kept."""
        call("umount", self.mount)
        call("cp", "--sparse=always", f"{self.image}.{name}", self.image)
        self._mount()

    def close(self):
        if os.path.ismount(self.mount):
            call("umount", self.mount)
        for image in glob.glob(self.image + "*"):
            os.remove(image)

    def _mount(self):
        call("mount", "-o", "loop,noatime", self.image, self.mount)
        call("sync", "-f", self.mount)


class Activator:
    """The node's program, configured for one root and one store."""

    def __init__(self, program, run, root, store):
        self.program, self.root = program, root
        self.config = os.path.join(run, f"node-{os.getpid()}.toml")
        self.events = os.path.join(run, f"node-{os.getpid()}.jsonl")
        self.to_store(store, os.path.join(run, "trust"))

    def to_store(self, store, trust=None):
        self.trust = trust or self.trust
        with open(self.config, "w") as out:
            out.write(f'store = "{store}"\ntrust = "{self.trust}"\n\n[apps.polls]\nroot = "{self.root}"\n')

    def activate(self, version):
        """What it cost, and how long each step took by its own account."""
        call("sync", "-f", os.path.dirname(self.root))
        with open(self.events, "w") as out:
            cost = Cost([self.program, "--json", "--config", self.config, "activate", "polls", version, "--downgrade"], out)
        return cost, steps(self.events)[0]

    def close(self):
        for path in (self.config, self.events):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)


def steps(path):
    """Of each run of a program whose `--json` lines a file holds: how long each step took, in seconds."""
    runs = []
    for line in open(path):
        event = json.loads(line)
        if event.get("event") == "schema":
            runs.append({})
        if event.get("event") == "finished":
            runs[-1][event["step"]] = event["took"]
    return runs


class Web:
    """nginx over a folder, at an address of this machine or, `far`, behind a line of its own whose rate can be set."""

    def __init__(self, folder, scratch, far=False):
        self.address, self.far, self.started = (FAR if far else "127.0.0.1"), None, []
        if far:
            self.far = self._start("unshare", "-n", "sleep", "infinity")
            wait_for(lambda: os.readlink(f"/proc/{self.far.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
            self._lay_line()
        self.log = os.path.join(scratch, f"nginx-{os.getpid()}")
        with open(self.log + ".conf", "w") as out:
            out.write(NGINX.format(log=self.log, address=self.address, folder=folder))
        self.start_far("nginx", "-c", self.log + ".conf")
        time.sleep(0.5)

    def _lay_line(self):
        pid = str(self.far.pid)
        call("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid)
        for address, device, enter in ((NEAR, "near", []), (FAR, "far", ["nsenter", "-t", pid, "-n"])):
            # Without 127.0.0.1/8 the loopback device does not claim the line's addresses.
            call(*enter, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet")
            call(*enter, "ip", "link", "set", "lo", "up")
            call(*enter, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
            call(*enter, "ip", "addr", "add", f"{address}/24", "dev", device)
            call(*enter, "ip", "link", "set", device, "up")

    def rate(self, mbit):
        """Bits per second, in millions, from the server to the node; None for as fast as the machine is."""
        tc = ["nsenter", "-t", str(self.far.pid), "-n", "tc", "qdisc"]
        subprocess.run([*tc, "del", "dev", "far", "root"], stderr=subprocess.DEVNULL, check=False)
        if mbit:
            burst = max(16_000, int(mbit * 1e6 / 8 * 0.002))
            call(*tc, "add", "dev", "far", "root", "tbf", "rate", f"{mbit}mbit", "burst", str(burst), "latency", "50ms")

    def delayed(self, proxy, port, milliseconds):
        """The URL by which the server answers after that many milliseconds a round trip."""
        if milliseconds:
            self.start_far(proxy, f"{self.address}:{port}", f"{self.address}:8200", str(milliseconds))
            time.sleep(0.3)
        return f"http://{self.address}:{port if milliseconds else 8200}"

    def start_far(self, *command):
        enter = ["nsenter", "-t", str(self.far.pid), "-n"] if self.far else []
        return self._start(*enter, *command)

    def _start(self, *command):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.started.append(process)
        return process

    def close(self):
        for process in reversed(self.started):
            process.terminate()
            process.wait()


NGINX = """
worker_processes 1; pid {log}.pid; error_log {log}.err; daemon off; user root;
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; types {{ }}
  default_type application/octet-stream; server {{ listen {address}:8200; root {folder}; }} }}
"""


def wait_for(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError("a namespace was not made")


def bar(name, figure, at_most, unit):
    """A figure beside what it may be; `at_most` None for one that is only shown."""
    return {"bar": name, "figure": figure, "at_most": at_most, "unit": unit}


def write(path, **figures):
    with open(path, "w") as out:
        json.dump({**figures, "load": os.getloadavg()[0]}, out, indent=1)


def median(values):
    values = list(values)
    return statistics.median(values) if values else None


def empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
