//! A network for each node: a namespace with an address of its own, at the end of a line of 100 Mbit/s. Root only, and one
//! test at a time, so tests use it when `FLEET_NETWORKS` is set (`scripts/fleet`).

use std::process::Command;

use pannier_tests::said;

/// The rate of a node's line, in both directions.
const LINE: [&str; 6] = ["rate", "100mbit", "burst", "256kbit", "latency", "200ms"];

/// The networks of all nodes; they go with it.
pub struct Networks {
    names: Vec<String>,
    /// This side's end of each line.
    ends: Vec<String>,
}

impl Networks {
    /// So many, at most 250.
    pub fn new(nodes: usize) -> Option<Self> {
        std::env::var_os("FLEET_NETWORKS")?;
        let mut networks = Self { names: Vec::new(), ends: Vec::new() };
        for node in 0..nodes {
            networks.add(node);
        }
        Some(networks)
    }

    fn add(&mut self, node: usize) {
        let name = format!("pannier-{}-{node}", std::process::id());
        let (here, there) = (format!("pn{}h{node}", std::process::id() % 10_000), "eth0");
        ip(&["netns", "add", &name]);
        self.names.push(name.clone());
        ip(&["link", "add", &here, "type", "veth", "peer", "name", there, "netns", &name]);
        self.ends.push(here.clone());
        ip(&["address", "add", &format!("{}/30", Self::host(node)), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        ip(&["-n", &name, "address", "add", &format!("10.77.{node}.2/30"), "dev", there]);
        ip(&["-n", &name, "link", "set", there, "up"]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        run("tc", &[&["qdisc", "add", "dev", &here, "root", "tbf"], &LINE[..]].concat());
        run("tc", &[&["-n", &name, "qdisc", "add", "dev", there, "root", "tbf"], &LINE[..]].concat());
    }

    /// The address at which a node finds this machine.
    pub fn host(node: usize) -> String {
        format!("10.77.{node}.1")
    }

    /// A program that runs in a node's network.
    pub fn command(&self, node: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[node]]).arg(program);
        command
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        // A namespace is gone some time after it was removed, and with it the other ends; ours must be gone now.
        for end in &self.ends {
            let _ = Command::new("ip").args(["link", "del", end]).status();
        }
        for name in &self.names {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    run("ip", arguments);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
}
