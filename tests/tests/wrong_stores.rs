//! Stores that cannot be had, through both programs and both S3 clients: each refusal says what is wrong on which store,
//! what serves now, and holds nothing secret; nothing is written anywhere.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::Path;
use std::process::Command;

use pannier_s3_server::{Options, Server};
use pannier_shared::id::Target;
use pannier_tests::{World, listing, program};

const STORE: &str = "s3://pannier/releases";
const SECRET: &str = "wrong-and-still-secret";

/// A node and a CI machine with a built release, in front of a server with another one.
struct Scene {
    world: World,
    server: Server,
}

type Variables<'a> = &'a [(&'a str, &'a str)];

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let server = Server::start(Options { dir: Some(world.path("s3")), ..Options::default() }).unwrap();
        world.configure_store(STORE, "");
        let scene = Self { world, server };
        let right = [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest")];
        scene.world.build("v1");
        assert!(scene.publish("v1", &right).starts_with("exit 0\n"));
        scene.world.build("v2");
        scene
    }

    /// What a program says and ends with; it has these variables, no home, and no metadata service to ask.
    fn run(&self, name: &str, arguments: &[&str], variables: Variables<'_>) -> String {
        let mut command = Command::new(program(name));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nowhere").env("AWS_REGION", "us-east-1");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_ENDPOINT_URL", self.server.url());
        let output = command.envs(variables.iter().copied()).arg("--quiet").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = format!("exit {}\n{}{}", output.status.code().unwrap(), text(&output.stderr), text(&output.stdout));
        assert!(!told.contains(SECRET) && !told.contains("testtest"), "a secret is printed: {told}");
        told.replace(self.world.path("").to_str().unwrap(), "/WORLD/").replace(Target::host().as_str(), "TARGET")
    }

    fn publish(&self, version: &str, variables: Variables<'_>) -> String {
        let (folder, trust) = (self.world.path(&format!("dist-{version}")), self.world.path("trust"));
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        self.run("pannier", &["publish", &path(&folder), "--store", STORE, "--trust", &path(&trust)], variables)
    }

    fn fetch(&self, variables: Variables<'_>) -> String {
        let config = self.world.path("activator.toml");
        self.run("pannier-activator", &["--config", config.to_str().unwrap(), "fetch", "polls", "v1"], variables)
    }

    /// What both programs say, after a look that nothing came of it.
    fn both(&self, variables: Variables<'_>) -> String {
        let before = listing(&self.world.path("s3"));
        let told = format!("{}---\n{}", self.publish("v2", variables), self.fetch(variables));
        assert_eq!(std::fs::read_dir(self.world.root().join("releases")).unwrap().count(), 0, "{told}");
        assert_eq!(listing(&self.world.path("s3")), before, "{told}");
        told
    }
}

#[test]
fn a_wrong_secret() {
    let told = Scene::new().both(&[("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    insta::assert_snapshot!(told, @r#"
    exit 7
    error: failed to publish to the store
      caused by: the store s3://pannier/releases denied access to `polls/releases/v2/TARGET/release.json`: 403 SignatureDoesNotMatch

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    ---
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://pannier/releases denied access to `polls/releases/v1/TARGET/release.json`: 403 SignatureDoesNotMatch

    serving: nothing

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    "#);
}

#[test]
fn an_unknown_key() {
    let told = Scene::new().both(&[("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    insta::assert_snapshot!(told, @r#"
    exit 7
    error: failed to publish to the store
      caused by: the store s3://pannier/releases denied access to `polls/releases/v2/TARGET/release.json`: 403 InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    ---
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://pannier/releases denied access to `polls/releases/v1/TARGET/release.json`: 403 InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.

    serving: nothing

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    "#);
}

#[test]
fn no_credentials() {
    insta::assert_snapshot!(Scene::new().both(&[]), @r#"
    exit 7
    error: failed to publish to the store
      caused by: the store s3://pannier/releases denied access to `polls/releases/v2/TARGET/release.json`: no credentials: none in the environment (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`), in a profile below `~/.aws` or from a role of this machine

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    ---
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://pannier/releases denied access to `polls/releases/v1/TARGET/release.json`: no credentials in the environment (`AWS_ACCESS_KEY_ID`) and no profile in `~/.aws/credentials`

    serving: nothing

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    "#);
}

#[test]
fn half_of_the_credentials() {
    insta::assert_snapshot!(Scene::new().both(&[("AWS_ACCESS_KEY_ID", "test")]), @r#"
    exit 7
    error: failed to publish to the store
      caused by: the store s3://pannier/releases denied access to `polls/releases/v2/TARGET/release.json`: no credentials: none in the environment (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`), in a profile below `~/.aws` or from a role of this machine

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    ---
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://pannier/releases denied access to `polls/releases/v1/TARGET/release.json`: `AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not

    serving: nothing

    hint: check `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_REGION`, or the role of this machine
    "#);
}

#[test]
fn nobody_listens() {
    let scene = Scene::new();
    // A port that was free a moment ago; nothing else on this machine is told about it.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{address}");
    let told = scene.both(&[
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]);
    insta::assert_snapshot!(told.replace(&address.to_string(), "ADDRESS"), @r#"
    exit 7
    error: failed to publish to the store
      caused by: the store s3://pannier/releases is unavailable: `ADDRESS` cannot be reached: tcp connect error: Connection refused (os error 111) (5 attempts)

    hint: check the address and the network, then type it again
    ---
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://pannier/releases is unavailable: `ADDRESS` cannot be reached: tcp connect error: Connection refused (os error 111) (5 attempts)

    serving: nothing

    hint: check the address and the network, then type it again
    "#);
}

#[test]
fn no_such_bucket() {
    let scene = Scene::new();
    scene.world.configure_store("s3://elsewhere/releases", "");
    insta::assert_snapshot!(scene.fetch(&[("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "testtest")]), @r#"
    exit 7
    error: failed to fetch `v1` of `polls`
      caused by: the store s3://elsewhere/releases is unavailable: there is no bucket `elsewhere`

    serving: nothing

    hint: check the address and the network, then type it again
    "#);
}
