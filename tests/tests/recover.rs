//! A node that comes back from nothing: ten apps by one command, killed and typed again, from a directory, from a bucket by
//! the role of the machine, from a copy, and by hand with stock tools.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use pannier_tests::{World, description, listing, noise, program, said, web};
use serde_json::Value;

mod recover {
    pub mod apart;
    pub mod by_hand;
    pub mod copies;
    pub mod role;
    pub mod stock_image;
}

/// Ten apps of five different trees, in the order of their priorities.
const APPS: [&str; 10] = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const TREES: usize = 5;
/// Files of each tree beside the sample's own.
const FILES: usize = 500;

static MADE: LazyLock<PathBuf> = LazyLock::new(Site::make);

/// A world with ten apps published, promoted and in a suite; nothing of them is on a node.
struct Site {
    world: World,
    /// Answers for the apps' health, by what their restart command wrote.
    health: String,
}

impl Site {
    fn new() -> Self {
        let world = World::like(&MADE);
        let srv = world.path("srv");
        let health = web::serve(move |asked| {
            let started = srv.join(&asked.path[1..]).join("shared/started");
            if started.is_file() { (200, Vec::new(), b"ok".to_vec()) } else { (503, Vec::new(), Vec::new()) }
        });
        let site = Self { world, health };
        site.set(&site.suite(""));
        site
    }

    /// The store of all of them, which is made once; gives where it was left.
    fn make() -> PathBuf {
        let site = Self { world: World::new(), health: String::new() };
        for (number, app) in APPS.iter().enumerate() {
            site.publish(app, &format!("v1-{app}"), number % TREES);
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recover");
        site.world.keep(&folder);
        folder
    }

    fn publish(&self, app: &str, version: &str, tree: usize) {
        let mut description = description(version);
        description.app = app.parse().unwrap();
        let built = self.world.build_as(description, |folder| fill(folder, tree as u64));
        self.world.publish(&built).unwrap();
        self.builder(&["promote", app, version, "--to", "production", "--key", "ci"]);
    }

    fn builder(&self, arguments: &[&str]) -> String {
        let output = self.world.builder(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The suite as a person writes it; `more` goes to the app `three`.
    fn suite(&self, more: &str) -> String {
        let mut text = "suite = \"production\"\n".to_owned();
        for (number, app) in APPS.iter().enumerate() {
            let (root, health) = (self.world.path("srv").join(app), &self.health);
            text += &format!(
                "[roles.web.{app}]\nchannel = \"production\"\npriority = {number}\nroot = \"{}\"\nunseen = \"use-nothing\"\n\
                 restart = [\"sh\", \"-c\", \"echo $PANNIER_VERSION > $PANNIER_ROOT/shared/started\"]\n\
                 health = {{ url = \"{health}/{app}\", deadline = \"10s\", interval = \"50ms\" }}\n",
                root.display()
            );
            if *app == "three" {
                text += &format!("{more}\n");
            }
        }
        text
    }

    fn set(&self, text: &str) -> String {
        std::fs::write(self.world.path("suite.toml"), text).unwrap();
        self.builder(&["suite", "set", "suite.toml", "--key", "ci"])
    }

    fn store(&self) -> String {
        format!("file://{}", self.world.path("store").display())
    }

    /// The activator of a bare node: it has a trust file and the address of a store.
    fn command(&self, store: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("pannier-activator"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PANNIER_CONFIG", self.config());
        command.args(["--store", store, "--trust"]).arg(self.world.path("trust")).args(arguments);
        command
    }

    fn config(&self) -> PathBuf {
        self.world.path("etc/activator.toml")
    }

    fn recover(&self, more: &[&str]) -> Came {
        let arguments = [&["--json", "recover", "--suite", "production", "--role", "web"], more].concat();
        Came::of(self.command(&self.store(), &arguments).output().unwrap())
    }

    /// The same program on the node that came back: it knows the rest from what was written.
    fn node(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("pannier-activator"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("PANNIER_CONFIG", self.config());
        command.args(arguments).output().unwrap()
    }

    fn tree(&self, app: &str) -> PathBuf {
        self.world.path("srv").join(app).join("current")
    }

    /// Nothing is there of the node.
    fn lose_the_node(&self) {
        for folder in ["srv", "etc"] {
            let _ = std::fs::remove_dir_all(self.world.path(folder));
        }
    }
}

/// What a recovery said.
struct Came {
    code: Option<i32>,
    result: Value,
    text: String,
}

impl Came {
    fn of(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_default();
        Self { code: output.status.code(), result: serde_json::from_str(last).unwrap_or_default(), text: said(&output) }
    }

    fn apps(&self) -> &Vec<Value> {
        self.result["apps"].as_array().unwrap_or_else(|| panic!("{}", self.text))
    }

    fn app(&self, name: &str) -> &Value {
        self.apps().iter().find(|row| row["app"] == name).unwrap()
    }

    /// What is true of the apps, each verdict once.
    fn verdicts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.apps().iter().map(|row| row["verdict"].as_str().unwrap()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Small files of a tree's own, and one that takes several ranges.
fn fill(folder: &Path, tree: u64) {
    let site = folder.join("venv/lib/python3.11/site-packages");
    for file in 0..FILES as u64 {
        let package = site.join(format!("package{}", file % 20));
        std::fs::create_dir_all(&package).unwrap();
        let length = 200 + (file as usize * 37) % 3000;
        std::fs::write(package.join(format!("module{file}.py")), noise(length, tree * 10_000 + file + 1)).unwrap();
    }
    std::fs::write(site.join("large.so"), noise(2_000_000, tree + 1)).unwrap();
}

#[test]
fn ten_apps_come_back_by_one_command_and_are_a_node_then() {
    let site = Site::new();
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(0), vec!["serves"]), "{}", came.text);
    let order: Vec<&str> = came.apps().iter().map(|row| row["app"].as_str().unwrap()).collect();
    assert_eq!(order, APPS);
    for row in came.apps() {
        let app = row["app"].as_str().unwrap();
        let statement = std::fs::read(site.tree(app).join("../../.pannier/toc").join(format!("v1-{app}/release.json")));
        let digest = pannier_shared::digest::Digest::of(&statement.unwrap()).to_string();
        assert_eq!(row["statement"], digest.as_str());
        assert!(row["bytes"].as_u64().unwrap() > 2_000_000);
    }
    for arguments in [&["status"][..], &["verify", "four"], &["releases", "ten"], &["activate", "one", "@production"]] {
        let output = site.node(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    }
    site.publish("two", "v2-two", 1);
    assert!(site.node(&["activate", "two", "@production"]).status.success());
    assert!(site.node(&["rollback", "two"]).status.success());
    let again = site.recover(&[]);
    // The rollback was a person's word, and the channel still says v2: it is what the suite names.
    assert_eq!(again.code, Some(0), "{}", again.text);
    assert_eq!((&again.app("two")["verdict"], &again.app("one")["verdict"]), (&"serves".into(), &"served".into()));
    assert_eq!(again.result["bytes"], 0);
}

#[test]
fn killed_at_any_moment_it_goes_on_and_fetches_nothing_twice() {
    let site = Site::new();
    let mut state = 0x2545_f491_4f6c_dd1du64 ^ u64::from(std::process::id());
    let mut kills = 0;
    for _ in 0..12 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let arguments = ["--quiet", "recover", "--suite", "production", "--role", "web"];
        let mut command = site.command(&site.store(), &arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(state % 700));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let here: Vec<&str> = APPS.into_iter().filter(|app| site.tree(app).join("../releases").exists()).collect();
    let whole = |app: &&str| site.world.path("srv").join(app).join("releases").join(format!("v1-{app}")).exists();
    let whole: Vec<&str> = here.into_iter().filter(whole).collect();
    let came = site.recover(&[]);
    assert_eq!(came.code, Some(0), "{kills} kills: {}", came.text);
    for app in whole {
        assert_eq!(came.app(app)["bytes"], 0, "{app} was here: {}", came.text);
    }
    for app in APPS {
        let output = site.node(&["verify", app]);
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(site.recover(&[]).verdicts(), ["served"]);
}

#[test]
fn one_app_that_fails_stops_no_other_and_is_back_when_its_fault_is_mended() {
    let site = Site::new();
    let (artifact, three) = (site.world.path("store/three/releases/v1-three"), "three");
    let artifact = walk(&artifact).into_iter().find(|path| path.ends_with("artifact.tar.zst")).unwrap();
    let (whole, aside) = (std::fs::read(&artifact).unwrap(), artifact.with_extension("aside"));
    std::fs::rename(&artifact, &aside).unwrap();
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(7), vec!["failed", "serves"]), "{}", came.text);
    let failure = &came.app(three)["failure"];
    assert!(
        failure["message"].as_str().unwrap().contains("v1-three") || failure["causes"].to_string().contains("three")
    );
    assert!(!site.tree(three).exists() && site.tree("ten").exists());
    std::fs::rename(&aside, &artifact).unwrap();
    // A flipped bit in its middle is another kind of fault.
    let mut spoilt = whole.clone();
    spoilt[whole.len() / 2] ^= 1;
    std::fs::write(&artifact, &spoilt).unwrap();
    assert_eq!(site.recover(&[]).code, Some(4));
    std::fs::write(&artifact, &whole).unwrap();
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(0), vec!["served", "serves"]), "{}", came.text);
}

#[test]
fn an_app_that_did_not_start_is_tried_again() {
    let site = Site::new();
    // Its restart command cannot write there: the folder is a file.
    std::fs::create_dir_all(site.world.path("srv/three/shared/started")).unwrap();
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(11), vec!["failed", "serves"]), "{}", came.text);
    assert!(came.app("three")["failure"].to_string().contains("no release served before"), "{}", came.text);
    std::fs::remove_dir(site.world.path("srv/three/shared/started")).unwrap();
    let came = site.recover(&[]);
    assert_eq!((came.code, &came.app("three")["verdict"]), (Some(0), &"serves".into()), "{}", came.text);
    assert_eq!(came.result["bytes"], 0);
}

#[test]
fn an_app_that_somebody_else_works_on_is_left_to_them() {
    let site = Site::new();
    assert_eq!(site.recover(&[]).code, Some(0));
    let lock = std::fs::File::open(site.world.path("srv/three/.pannier/lock")).unwrap();
    lock.lock().unwrap();
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(6), vec!["failed", "served"]), "{}", came.text);
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| site.recover(&["--wait=60s"]));
        std::thread::sleep(Duration::from_millis(1500));
        lock.unlock().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!((waiting.code, waiting.verdicts()), (Some(0), vec!["served"]), "{}", waiting.text);
}

#[test]
fn what_a_person_wrote_into_the_configuration_stays() {
    let site = Site::new();
    let root = site.world.path("elsewhere");
    std::fs::create_dir(site.world.path("etc")).unwrap();
    let own = format!("# mine\n[network]\nretry = \"60s\"\n[apps.one]\nroot = \"{}\"\n", root.display());
    std::fs::write(site.config(), &own).unwrap();
    assert_eq!(site.recover(&[]).code, Some(0));
    let text = std::fs::read_to_string(site.config()).unwrap();
    assert!(text.contains(&own) && text.starts_with("store = \"file://"), "{text}");
    assert!(root.join("current").exists() && !site.tree("one").exists() && site.tree("two").exists());
    // Nothing is added twice.
    site.recover(&[]);
    assert_eq!(std::fs::read_to_string(site.config()).unwrap(), text);
}

#[test]
fn an_app_that_no_node_can_be_told_of_is_said_and_takes_no_other_with_it() {
    let site = Site::new();
    site.set(&site.suite("steady = \"soon\""));
    let came = site.recover(&[]);
    assert_eq!((came.code, came.verdicts()), (Some(2), vec!["failed", "serves"]), "{}", came.text);
    let message = came.app("three")["failure"]["message"].as_str().unwrap();
    assert!(message.ends_with("activator.toml: unknown key `apps.three.steady`"), "{message}");
    assert!(site.node(&["status"]).status.success());
}

#[test]
fn what_cannot_begin_is_said_with_what_to_type() {
    let site = Site::new();
    let said = |more: &[&str], store: &str| {
        let output = site.command(store, more).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let text = text.replace(site.world.path("").to_str().unwrap(), "DIR/");
        format!("{}\n{text}", output.status.code().unwrap())
    };
    let (store, quiet) = (site.store(), ["--quiet", "recover", "--role"]);
    insta::assert_snapshot!(said(&[&quiet[..], &["web", "--suite", "prodution"]].concat(), &store), @"
    3
    error: the store file://DIR/store has no suite `prodution`

    hint: did you mean `production`?
    ");
    insta::assert_snapshot!(said(&[&quiet[..], &["db", "--suite", "production"]].concat(), &store), @"
    3
    error: the suite `production` has no role `db`

    hint: it has `web`
    ");
    insta::assert_snapshot!(said(&[&quiet[..], &["web", "--suite", "production"]].concat(), "file:///nowhere/at/all"), @"
    7
    error: the store file:///nowhere/at/all is unavailable: there is no such folder

    hint: check the address and the network, or name a copy with `--store`: `pannier suite mirror` makes one
    ");
    // Yesterday's suite, shown again.
    let place = site.world.path("store/suites/production.json");
    let old = std::fs::read(&place).unwrap();
    site.set(&site.suite(""));
    assert_eq!(site.recover(&[]).code, Some(0));
    std::fs::write(&place, old).unwrap();
    insta::assert_snapshot!(said(&[&quiet[..], &["web", "--suite", "production"]].concat(), &store), @"
    4
    error: the suite `production` shows serial 1 of epoch 1, but this node has seen serial 2 of epoch 1: it would go back

    hint: the store is stale or was tampered with: set the suite again with `pannier suite set`, or remove DIR/etc/suites/production.json if you know why it is older
    ");
    // A suite that somebody else signed.
    let text = std::fs::read_to_string(&place).unwrap().replace("\"priority\": 0", "\"priority\": 7");
    std::fs::write(&place, text).unwrap();
    let refused = said(&[&quiet[..], &["web", "--suite", "production"]].concat(), &store);
    assert!(refused.starts_with("4\nerror: failed to verify `suites/production.json`"), "{refused}");
}

/// All files below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.is_file()).collect()
}

/// The trees of all apps on the node, as they serve.
fn trees(site: &Site) -> Vec<Vec<String>> {
    APPS.iter().map(|app| listing(&std::fs::canonicalize(site.tree(app)).unwrap())).collect()
}
