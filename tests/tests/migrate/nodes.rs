//! Several nodes with one store and one database, whose commands run at the same time, are killed and begin again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pannier_tests::{World, program, said};

use super::releases;

/// All that the commands of a test may take; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// The nodes of a world.
pub struct Nodes<'a> {
    world: &'a World,
    typed: Vec<String>,
    running: Vec<Option<Child>>,
}

impl<'a> Nodes<'a> {
    /// So many, each with a root of its own and leases of two seconds.
    pub fn new(world: &'a World, count: usize) -> Self {
        world.configure(&releases::configuration(world, "migrate = { lease = \"2s\" }"));
        let text = std::fs::read_to_string(world.path("activator.toml")).unwrap();
        for node in 0..count {
            let root = world.path(&format!("node-{node}"));
            let text = text.replace(world.root().to_str().unwrap(), root.to_str().unwrap());
            std::fs::write(world.path(&format!("node-{node}.toml")), text).unwrap();
        }
        Self { world, typed: Vec::new(), running: (0..count).map(|_| None).collect() }
    }

    /// Makes them one fleet, `shop`.
    pub fn join(&self) {
        for node in 0..self.running.len() {
            let file = self.world.path(&format!("node-{node}.toml"));
            let state = self.world.path(&format!("node-{node}-state"));
            let (name, pace) = (format!("name = \"shop\"\nnode = \"web-{node}\""), "interval = \"400ms\"");
            let fleet = format!("[fleet]\n{name}\n{pace}\nstate = \"{}\"\n", state.display());
            std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &fleet).unwrap();
        }
    }

    fn command(&self, node: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("pannier-activator"));
        command.env_clear().env("PATH", "/usr/bin:/bin").arg("--quiet");
        command.arg("--config").arg(self.world.path(&format!("node-{node}.toml"))).args(arguments);
        command
    }

    /// Runs a command on one to its end, which must be good.
    pub fn run(&self, node: usize, arguments: &[&str]) {
        let output = self.command(node, arguments).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    /// The same on all.
    pub fn run_all(&self, arguments: &[&str]) {
        (0..self.running.len()).for_each(|node| self.run(node, arguments));
    }

    /// Starts a command on all.
    pub fn start_all(&mut self, arguments: &[&str]) {
        self.typed = arguments.iter().map(|word| (*word).to_owned()).collect();
        (0..self.running.len()).for_each(|node| self.start(node));
    }

    fn start(&mut self, node: usize) {
        let words: Vec<&str> = self.typed.iter().map(String::as_str).collect();
        let log = self.log(node);
        let mut command = self.command(node, &words);
        let out = std::fs::File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        self.running[node] = Some(command.spawn().unwrap());
    }

    fn log(&self, node: usize) -> PathBuf {
        self.world.path(&format!("node-{node}.log"))
    }

    /// Waits until one of ours holds the lease.
    fn holder(&self) -> usize {
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            let paper = std::fs::read_to_string(self.world.path("store/polls/leases/default/migrate.json"));
            let paper: serde_json::Value = serde_json::from_str(&paper.unwrap_or_default()).unwrap_or_default();
            let owner = paper["owner"].as_str().unwrap_or_default();
            let pid = owner.rsplit(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
            let is_it = |child: &Option<Child>| child.as_ref().is_some_and(|child| child.id() == pid);
            if let (Some(node), Some(false)) = (self.running.iter().position(is_it), paper["free"].as_bool()) {
                return node;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nobody takes the lease");
    }

    /// Kills who holds the lease, so many milliseconds after it was seen to, and starts it again.
    pub fn kill_the_holder_after(&mut self, wait: u64) {
        let node = self.holder();
        std::thread::sleep(Duration::from_millis(wait));
        let mut child = self.running[node].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        self.start(node);
    }

    /// Stops who holds the lease for longer than it is good, and lets it go on.
    pub fn pause_the_holder(&mut self) {
        let node = self.holder();
        let signal = |name: &str| {
            let pid = self.running[node].as_ref().unwrap().id().to_string();
            assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        std::thread::sleep(Duration::from_millis(300));
        signal("-STOP");
        std::thread::sleep(Duration::from_secs(4));
        signal("-CONT");
    }

    /// Waits until all have ended; who lost the lease is started again, and nothing else may go wrong.
    pub fn end_all(&mut self) {
        for node in 0..self.running.len() {
            let begun = Instant::now();
            loop {
                let ended = self.running[node].as_mut().unwrap().try_wait().unwrap();
                match ended.map(|status| status.code()) {
                    Some(Some(0)) => break,
                    Some(Some(6)) => self.start(node),
                    None if begun.elapsed() < DEADLINE => std::thread::sleep(Duration::from_millis(20)),
                    other => panic!("node {node}: {other:?}: {}", std::fs::read_to_string(self.log(node)).unwrap()),
                }
            }
        }
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        for mut child in self.running.iter_mut().filter_map(Option::take) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
