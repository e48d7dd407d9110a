//! A fleet of real agents in front of our S3 server, each with a root, a configuration and a health check of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pannier_s3_server::{Faults, Options, Server};
use pannier_shared::id::FleetName;
use pannier_shared::keys;
use pannier_shared::published::Published;
use pannier_shared::receipt::{LIMIT, Receipt, Stage};
use pannier_shared::statement::{Document, Phase, Rollout};
use pannier_shared::store::{self, Condition, Store};
use pannier_shared::sys::clock;
use pannier_tests::{APP, World, program, runtime, said, scene, web};

use super::network::Networks;

/// All that anything of a test may take; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(90);

/// The fleet's name.
pub const FLEET: &str = "shop";

/// The fleet.
pub struct Shop {
    pub world: World,
    pub server: Server,
    store: Box<dyn Store>,
    networks: Option<Networks>,
    agents: Arc<Mutex<Vec<Option<Child>>>>,
    runtime: tokio::runtime::Runtime,
}

impl Shop {
    /// So many nodes that serve v1, with v2 published, and the store so many milliseconds away. No agent runs yet.
    pub fn new(nodes: usize, latency: u64) -> Self {
        let world = World::new();
        let networks = Networks::new(nodes);
        let listen = if networks.is_some() { "0.0.0.0:0" } else { "127.0.0.1:0" };
        let server = Server::start(Options { listen: listen.parse().unwrap(), ..Options::default() }).unwrap();
        let url = server.url().replace("0.0.0.0", "127.0.0.1");
        let open = || {
            let value = |name: &str| scene::s3(&url).into_iter().find(|(n, _)| *n == name).map(|(_, v)| v);
            runtime().block_on(store::open(&"s3://pannier/releases".parse().unwrap(), &value)).unwrap()
        };
        for version in ["v1", "v2"] {
            let built = world.build(version);
            world.publish_to(open(), &built).unwrap();
        }
        let store = open();
        let agents = Arc::new(Mutex::new((0..nodes).map(|_| None).collect()));
        let shop = Self { world, server, store, networks, agents, runtime: runtime() };
        for node in 0..nodes {
            shop.configure(node);
            let output = shop.activator(node, &["--quiet", "activate", APP, "v1"]).output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
        }
        shop.server.set_faults(Faults { latency: Duration::from_millis(latency), ..Faults::default() });
        shop
    }

    /// The same, with all agents running and heard of.
    pub fn running(nodes: usize, latency: u64) -> Self {
        let shop = Self::new(nodes, latency);
        (0..nodes).for_each(|node| shop.start(node));
        shop.wait("all are heard of", || (0..nodes).all(|node| shop.receipt(node).is_some()));
        shop
    }

    /// The node is asked over HTTP, and is ill with the version in the file `NAME.ill`.
    fn configure(&self, node: usize) {
        let (name, root) = (name(node), self.root(node));
        let (version, ill) = (root.join("current/app/version.txt"), self.world.path(&format!("{name}.ill")));
        let url = web::serve_at(&self.host(node), move |_| {
            let serving = std::fs::read_to_string(&version).unwrap_or_default();
            let is_ill = std::fs::read_to_string(&ill).is_ok_and(|text| text.trim() == serving);
            (if is_ill { 500 } else { 200 }, Vec::new(), serving.into_bytes())
        });
        let folder = self.world.path(&format!("{name}-state"));
        // As many questions a second however many nodes there are, so that one machine can play them.
        let interval = 400.max(40 * self.agents.lock().unwrap().len());
        let busy = 150.max(10 * self.agents.lock().unwrap().len());
        let text = format!(
            "store = \"s3://pannier/releases\"\ntrust = \"{}\"\n\
             [fleet]\nname = \"{FLEET}\"\nnode = \"{name}\"\ninterval = \"{interval}ms\"\nbusy = \"{busy}ms\"\nstate = \"{}\"\n\
             [apps.{APP}]\nroot = \"{}\"\nunseen = \"use-nothing\"\nrestart = [\"true\"]\n\
             [apps.{APP}.health]\nurl = \"{url}/\"\ndeadline = \"2s\"\ninterval = \"100ms\"\n",
            self.world.path("trust").display(),
            folder.display(),
            root.display(),
        );
        std::fs::write(self.world.path(&format!("{name}.toml")), text).unwrap();
    }

    /// The node's root for the app.
    pub fn root(&self, node: usize) -> PathBuf {
        self.world.path(&name(node))
    }

    /// Where a node finds this machine.
    fn host(&self, node: usize) -> String {
        if self.networks.is_some() { Networks::host(node) } else { "127.0.0.1".to_owned() }
    }

    /// From now on the node is ill with this version.
    pub fn make_ill(&self, node: usize, version: &str) {
        std::fs::write(self.world.path(&format!("{}.ill", name(node))), version).unwrap();
    }

    fn activator(&self, node: usize, arguments: &[&str]) -> Command {
        let program = program("pannier-activator");
        let mut command = match &self.networks {
            Some(networks) => networks.command(node, &program),
            None => Command::new(program),
        };
        let url = format!("http://{}:{}", self.host(node), self.server.address().port());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").envs(scene::s3(&url));
        command.arg("--config").arg(self.world.path(&format!("{}.toml", name(node)))).args(arguments);
        command
    }

    /// Starts a node's agent.
    pub fn start(&self, node: usize) {
        let log = self.world.path(&format!("{}.log", name(node)));
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.activator(node, &["agent"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.agents.lock().unwrap()[node] = Some(command.spawn().unwrap());
    }

    /// Kills a node's agent.
    pub fn kill(&self, node: usize) {
        let mut child = self.agents.lock().unwrap()[node].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a signal to a node's agent.
    pub fn signal(&self, node: usize, signal: &str) {
        let pid = self.agents.lock().unwrap()[node].as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// `pannier` with the store and the key.
    pub fn pannier(&self, line: &str) -> Command {
        let mut command = Command::new(program("pannier"));
        let url = self.server.url().replace("0.0.0.0", "127.0.0.1");
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(scene::s3(&url));
        command.env("PANNIER_STORE", "s3://pannier/releases").env("PANNIER_TRUST", self.world.path("trust"));
        command.env("PANNIER_KEY", self.world.path("ci")).args(line.split(' '));
        command
    }

    /// Runs `pannier` to its end; gives its status and its result.
    pub fn run(&self, line: &str) -> (i32, serde_json::Value) {
        ended(&self.pannier(&format!("--json {line}")).output().unwrap())
    }

    /// Starts `pannier` and lets it run.
    pub fn spawn(&self, line: &str) -> Child {
        let mut command = self.pannier(&format!("--json {line}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The order as it lies in the store.
    pub fn order(&self) -> Option<Rollout> {
        let published = Published { store: self.store.as_ref(), trust: &self.world.trust, now: clock::now() };
        let order = self.runtime.block_on(published.order_if_there(&fleet())).ok()??;
        Some(Rollout::clone(&order.document))
    }

    /// The signed order.
    pub fn bytes_of_order(&self) -> Vec<u8> {
        self.runtime.block_on(self.store.get(&keys::rollout(&fleet()), Rollout::LIMIT)).unwrap().bytes.to_vec()
    }

    /// Puts another order over the one that is there, as whoever may write to the store can.
    pub fn put_order(&self, bytes: Vec<u8>) {
        let key = keys::rollout(&fleet());
        let etag = self.runtime.block_on(self.store.head(&key)).unwrap().etag;
        self.runtime.block_on(self.store.put(&key, bytes.into(), Condition::Unchanged(etag))).unwrap();
    }

    /// What a node says.
    pub fn receipt(&self, node: usize) -> Option<Receipt> {
        let key = keys::receipt(&fleet(), &name(node).parse().unwrap());
        let object = self.runtime.block_on(self.store.get(&key, LIMIT)).ok()?;
        serde_json::from_slice(&object.bytes).ok()
    }

    /// How far a node has come with the rollout in the store.
    pub fn stage(&self, node: usize) -> Option<Stage> {
        let order = self.order()?;
        self.receipt(node)?.progress.filter(|progress| progress.id == order.id).map(|progress| progress.stage)
    }

    /// Waits until the rollout is at a phase.
    pub fn wait_for(&self, phase: Phase) {
        self.wait(phase.name(), || self.order().is_some_and(|order| order.phase == phase));
    }

    /// Waits until something is so.
    pub fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < DEADLINE, "{what} never happens: {:?}\n{}", self.order(), self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where the nodes' links lead.
    pub fn links(&self) -> Vec<String> {
        let nodes = 0..self.agents.lock().unwrap().len();
        let link = |node| std::fs::read_link(self.root(node).join("current")).unwrap();
        nodes.map(|node| link(node).file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// The store answers nothing but 503 for so long.
    pub fn away(&self, time: Duration) {
        self.server.set_faults(Faults { slowdown_every: Some(1), ..Faults::default() });
        std::thread::sleep(time);
        self.server.set_faults(Faults::default());
    }

    /// What the agents printed.
    pub fn logs(&self) -> String {
        let nodes = 0..self.agents.lock().unwrap().len();
        let log = |node| std::fs::read_to_string(self.world.path(&format!("{}.log", name(node)))).unwrap_or_default();
        nodes.map(|node| format!("--- {}\n{}", name(node), log(node))).collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        for mut child in self.agents.lock().unwrap().iter_mut().filter_map(Option::take) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many nodes the larger tests have: 5, or what `scripts/fleet` says.
pub fn count() -> usize {
    std::env::var("FLEET_NODES").map_or(5, |count| count.parse().unwrap())
}

/// What a node is called.
pub fn name(node: usize) -> String {
    format!("web-{node}")
}

fn fleet() -> FleetName {
    FLEET.parse().unwrap()
}

/// The status and the last line of a program that was told `--json`.
pub fn ended(output: &Output) -> (i32, serde_json::Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", said(output)));
    (output.status.code().unwrap(), serde_json::from_str(last).unwrap())
}
