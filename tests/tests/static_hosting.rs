//! Static files on their way to where browsers get them: a bucket, a folder; through the real program, with everything that
//! may come between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "a test may do as it likes")]

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use insta::assert_snapshot;
use pannier_builder::static_host::{self, Asset, Body, Encoded, Host, Put};
use pannier_s3_server::{Faults, Options, Server};
use pannier_shared::digest::Digest;
use pannier_shared::id::Target;
use pannier_shared::store::Key;
use pannier_tests::scene::s3;
use pannier_tests::{World, listing, noise, said};

/// Where the tests put static files.
const PLACE: &str = "s3://cdn/site";

/// Names that are no keys of a store, and that a URL has to quote.
const ODD: &[&str] =
    &["a b/(1).01.css", "\u{e9}t\u{e9}/\u{2603}@2x.01.png", "a+b/100%25'\"&<x>.01.js", "~/-.01.js", "#?;=,!$.01.txt"];

/// A CI machine in front of an S3 server with a bucket that everybody may read.
struct Scene {
    world: World,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let buckets = ["pannier", "cdn"].map(str::to_owned).to_vec();
        let options = Options { buckets, public: vec!["cdn".to_owned()], ..Options::default() };
        Self { world: World::new(), server: Server::start(options).unwrap() }
    }

    /// A release with these static files, by hashed name, which Django's manifest has, and what else `change` does.
    fn build(&self, version: &str, files: &[(&str, &[u8])], change: impl FnOnce(&Path)) -> PathBuf {
        self.world.build_with(version, |tree| {
            let write = |name: &str, content: &[u8]| {
                let path = tree.join("static").join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            };
            let plain = |name: &str| name.replace(".01.", ".");
            files
                .iter()
                .for_each(|(name, content)| [name.to_string(), plain(name)].iter().for_each(|n| write(n, content)));
            let paths: BTreeMap<String, &str> = files.iter().map(|(name, _)| (plain(name), *name)).collect();
            let manifest = serde_json::json!({"paths": paths, "version": "1.1", "hash": ""});
            write("staticfiles.json", manifest.to_string().as_bytes());
            change(tree);
        })
    }

    fn command(&self, built: &Path, more: &[&str]) -> Command {
        let mut command = self.world.builder(&[&["publish", built.to_str().unwrap()], more].concat());
        command.envs(s3(&self.server.url())).env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    fn publish(&self, built: &Path, more: &[&str]) -> Output {
        self.command(built, more).output().unwrap()
    }

    /// Publishes into [`PLACE`]; gives what the result says of static files: all of them, and those that were not there.
    fn hosted(&self, built: &Path) -> (u64, u64) {
        let output = self.publish(built, &["--static", PLACE, "--json"]);
        assert!(output.status.success(), "{}", said(&output));
        let result = String::from_utf8(output.stdout).unwrap();
        let result: serde_json::Value = serde_json::from_str(result.lines().last().unwrap()).unwrap();
        assert_eq!(result["static"]["location"], PLACE);
        (result["static"]["files"].as_u64().unwrap(), result["static"]["uploaded"].as_u64().unwrap())
    }

    /// What the program says and ends with, what differs between machines made the same.
    fn told(&self, output: &Output) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = format!("exit {}\n{}{}", output.status.code().unwrap(), text(&output.stderr), text(&output.stdout));
        told.replace(self.world.path("").to_str().unwrap(), "/WORLD/")
    }

    fn is_announced(&self, version: &str) -> bool {
        let folder = self.world.path("store").join("polls/releases").join(version).join(Target::host().as_str());
        folder.join("release.json").exists()
    }

    /// How many requests to the place's bucket there were of a kind, and were answered with this status.
    fn asked(&self, method: &str, status: u16) -> usize {
        let requests = self.server.requests();
        let ours = |path: &str| path.starts_with("/cdn");
        requests.iter().filter(|r| r.method == method && r.status == status && ours(&r.path)).count()
    }

    fn get(&self, name: &str) -> (String, Vec<u8>) {
        get(&self.server, &format!("/cdn/site/{}", quoted(name)))
    }
}

/// What a browser's request for a path is answered: the head in lower case, and the body.
fn get(server: &Server, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: cdn\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
}

fn quoted(name: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    name.bytes().map(|byte| if keeps(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The headers of an answer that are for browsers, in order.
fn headers(head: &str) -> Vec<&str> {
    let wanted = ["cache-control: ", "content-encoding: ", "content-length: ", "content-type: "];
    let mut lines: Vec<&str> = head.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name))).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn only_what_is_missing_is_uploaded() {
    let scene = Scene::new();
    let first = scene.build("v1", &[("a.01.css", b"a"), ("b.01.js", b"b"), ("empty.01.txt", b"")], |_| ());
    assert_eq!(scene.hosted(&first), (3, 3));
    assert_eq!(scene.hosted(&first), (3, 0));
    let second = scene.build("v2", &[("a.01.css", b"a"), ("b.02.01.js", b"b, changed"), ("empty.01.txt", b"")], |_| ());
    assert_eq!(scene.hosted(&second), (3, 1));
    assert_eq!((scene.asked("PUT", 200), scene.asked("HEAD", 200), scene.asked("GET", 200)), (4, 0, 3));
    assert_eq!(scene.get("b.01.js").1, b"b", "what the older release's pages ask for stays");
    for name in ["a.css", "staticfiles.json", "admin/base.0123456789ab.css"] {
        assert!(scene.get(name).0.starts_with("http/1.1 404"), "{name} is no name of the manifest's");
    }
}

#[test]
fn browsers_are_told_what_each_file_is_and_that_it_never_changes() {
    let scene = Scene::new();
    let built =
        scene.build("v1", &[("site.01.css", b"body {}"), ("font.01.woff2", b"w"), ("app.01.js.map", b"{}")], |tree| {
            std::fs::write(tree.join("static/site.01.css.gz"), b"packed").unwrap();
            std::fs::write(tree.join("static/site.css.gz"), b"packed").unwrap();
            std::fs::write(tree.join("static/site.01.css.br"), b"packed!").unwrap();
        });
    let output = scene.publish(&built, &["--static", PLACE]);
    assert_snapshot!(scene.told(&output), @"
    exit 0
    polls v1 is published in file:///WORLD/store
    static files in s3://cdn/site: 5, of which 5 are new (23 B)
    ");
    let lines = ["site.01.css", "site.01.css.gz", "site.01.css.br", "font.01.woff2", "app.01.js.map"]
        .map(|name| format!("{name}: {}", headers(&scene.get(name).0).join(", ")));
    assert_snapshot!(lines.join("\n"), @"
    site.01.css: cache-control: public, max-age=31536000, immutable, content-length: 7, content-type: text/css; charset=utf-8
    site.01.css.gz: cache-control: public, max-age=31536000, immutable, content-encoding: gzip, content-length: 6, content-type: text/css; charset=utf-8
    site.01.css.br: cache-control: public, max-age=31536000, immutable, content-encoding: br, content-length: 7, content-type: text/css; charset=utf-8
    font.01.woff2: cache-control: public, max-age=31536000, immutable, content-length: 1, content-type: font/woff2
    app.01.js.map: cache-control: public, max-age=31536000, immutable, content-length: 2, content-type: application/json
    ");
    assert!(scene.get("site.css.gz").0.starts_with("http/1.1 404"));
}

#[test]
fn names_are_free_text() {
    let scene = Scene::new();
    let files: Vec<(&str, &[u8])> = ODD.iter().map(|name| (*name, name.as_bytes())).collect();
    let built = scene.build("v1", &files, |_| ());
    assert_eq!(scene.hosted(&built), (ODD.len() as u64, ODD.len() as u64));
    for name in ODD {
        assert_eq!(scene.get(name).1, name.as_bytes(), "{name}");
    }
    assert_eq!(scene.hosted(&built), (ODD.len() as u64, 0));
    let folder = scene.world.path("www");
    let place = format!("file://{}", folder.display());
    let output = scene.publish(&built, &["--static", &place]);
    assert!(output.status.success(), "{}", said(&output));
    for name in ODD {
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), name.as_bytes(), "{name}");
    }
}

#[test]
fn other_content_under_a_name_is_refused_and_the_release_is_not_published() {
    let scene = Scene::new();
    scene.hosted(&scene.build("v1", &[("a.01.css", b"first"), ("b.01.css", b"b")], |_| ()));
    let longer = scene.build("v2", &[("a.01.css", b"longer")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&longer, &["--static", PLACE])), @"
    exit 5
    error: failed to put the static files into s3://cdn/site; the release is not published
      caused by: `a.01.css` lies in s3://cdn/site with other content: expected 6 bytes with sha256 73834addcec75fafd7d73717ca1614a1324652ffa70b4b6c44fa359ae5a69dab, found 5 bytes

    hint: nothing that is public is replaced: find out which of the two was named without regard to its content (an `immutable` pattern that is too wide, or a storage with a `file_hash` of its own), or use another prefix
    ");
    let other = scene.build("v3", &[("a.01.css", b"other"), ("c.01.css", b"c")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&other, &["--static", PLACE])), @"
    exit 5
    error: failed to put the static files into s3://cdn/site; the release is not published
      caused by: `a.01.css` lies in s3://cdn/site with other content: expected 5 bytes with sha256 d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, found other bytes

    hint: nothing that is public is replaced: find out which of the two was named without regard to its content (an `immutable` pattern that is too wide, or a storage with a `file_hash` of its own), or use another prefix
    ");
    assert!(!scene.is_announced("v2") && !scene.is_announced("v3"));
    assert!(!scene.world.path("store/polls/releases/v2").exists(), "nor is its artifact in the store");
    assert_eq!(scene.get("a.01.css").1, b"first");
    assert!(scene.publish(&other, &[]).status.success());
    let told = scene.told(&scene.publish(&other, &["--static", PLACE]));
    assert!(told.contains("; the release was published before, and stays so"), "{told}");
}

/// The place's requests are late, so that the program is killed between them.
#[test]
fn a_publisher_that_is_killed_is_seen_by_nobody_and_the_next_one_goes_on_from_there() {
    let scene = Scene::new();
    let names: Vec<String> = (0..120).map(|n| format!("n/{n}.01.css")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let built = scene.build("v1", &files, |_| ());
    scene.server.set_faults(Faults { latency: Duration::from_millis(100), ..Faults::default() });
    let mut publishing =
        scene.command(&built, &["--static", PLACE]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while scene.asked("PUT", 200) < 20 {
        assert!(publishing.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    publishing.kill().unwrap();
    publishing.wait().unwrap();
    assert!(!scene.is_announced("v1"));
    scene.server.set_faults(Faults::default());
    let (files, uploaded) = scene.hosted(&built);
    assert!(files == 120 && uploaded <= 100, "{uploaded} of {files}");
    assert!(scene.is_announced("v1"));
    assert_eq!(scene.asked("PUT", 200), 120, "nothing is uploaded twice");
    assert!(names.iter().all(|name| scene.get(name).1 == name.as_bytes()));
}

#[test]
fn two_publishers_at_once_are_fine() {
    let scene = Scene::new();
    let names: Vec<String> = (0..60).map(|n| format!("n/{n}.01.css")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let built = [scene.build("v1", &files, |_| ()), scene.build("v2", &files, |_| ())];
    let begun = built.iter().map(|built| scene.command(built, &["--static", PLACE]).spawn().unwrap());
    for mut publishing in begun.collect::<Vec<_>>() {
        assert!(publishing.wait().unwrap().success());
    }
    assert_eq!(scene.asked("PUT", 200), 60);
    assert!(scene.is_announced("v1") && scene.is_announced("v2"));
}

#[test]
fn a_bad_line_is_borne() {
    let scene = Scene::new();
    let names: Vec<String> = (0..40).map(|n| format!("n/{n}.01.css")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let built = scene.build("v1", &files, |_| ());
    let faults = Faults { slowdown_every: Some(7), conflicts: 5, lost_answers: 5, ..Faults::default() };
    scene.server.set_faults(faults);
    assert_eq!(scene.hosted(&built).0, 40);
    scene.server.set_faults(Faults::default());
    assert!(names.iter().all(|name| scene.get(name).1 == name.as_bytes()));
}

#[test]
fn many_files_are_found_with_one_list_for_a_thousand() {
    let scene = Scene::new();
    let names: Vec<String> = (0..1100).map(|n| format!("n/{n}.01.css")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    let built = scene.build("v1", &files, |_| ());
    assert_eq!(scene.hosted(&built), (1100, 1100));
    scene.server.clear_requests();
    assert_eq!(scene.hosted(&built), (1100, 0));
    assert_eq!((scene.asked("GET", 200), scene.asked("HEAD", 200), scene.asked("PUT", 200)), (2, 0, 0));
}

#[test]
fn a_large_file_is_read_while_it_is_sent() {
    let scene = Scene::new();
    let film = noise(11 << 20, 5);
    let built = scene.build("v1", &[("film.01.mp4", &film), ("a.01.css", b"a")], |_| ());
    scene.server.set_faults(Faults { lost_answers: 1, conflicts: 1, ..Faults::default() });
    assert_eq!(scene.hosted(&built).0, 2);
    assert!(scene.get("film.01.mp4").1 == film);
    assert_eq!(scene.hosted(&built), (2, 0));
    let folder = scene.world.path("www");
    let place = format!("file://{}", folder.display());
    assert!(scene.publish(&built, &["--static", &place]).status.success());
    assert!(std::fs::read(folder.join("film.01.mp4")).unwrap() == film);
}

#[test]
fn a_folder_gets_the_files_whole_and_nothing_else() {
    let scene = Scene::new();
    let (folder, place) =
        (scene.world.path("www/static"), format!("file://{}/static", scene.world.path("www").display()));
    let first = scene.build("v1", &[("css/a.01.css", b"a"), ("b.01.js", b"b")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&first, &["--static", &place])), @"
    exit 8
    error: failed to put the static files into file:///WORLD/www/static; the release is not published
      caused by: failed to create the folder `/WORLD/www/static`
      caused by: No such file or directory (os error 2)
    ");
    std::fs::create_dir(scene.world.path("www")).unwrap();
    assert!(scene.publish(&first, &["--static", &place]).status.success());
    let files = |folder: &Path| listing(folder).into_iter().filter(|line| line.contains(" file ")).collect::<Vec<_>>();
    let names: Vec<String> = files(&folder).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["b.01.js", "css/a.01.css"]);
    let other = scene.build("v2", &[("css/a.01.css", b"x"), ("c.01.css", b"c")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&other, &["--static", &place])), @"
    exit 5
    error: failed to put the static files into file:///WORLD/www/static; the release is not published
      caused by: `css/a.01.css` lies in file:///WORLD/www/static with other content: expected 1 bytes with sha256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, found other bytes

    hint: nothing that is public is replaced: find out which of the two was named without regard to its content (an `immutable` pattern that is too wide, or a storage with a `file_hash` of its own), or use another prefix
    ");
    let more = scene.build("v3", &[("css/a.01.css", b"a"), ("d.01.css", b"d")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&more, &["--static", &place])), @"
    exit 0
    polls v3 is published in file:///WORLD/store
    static files in file:///WORLD/www/static: 2, of which 1 are new (1 B)
    ");
    std::fs::write(folder.join("d"), "a file where a folder is wanted").unwrap();
    let through = scene.build("v4", &[("d/e.01.css", b"e")], |_| ());
    assert_snapshot!(scene.told(&scene.publish(&through, &["--static", &place])), @"
    exit 8
    error: failed to put the static files into file:///WORLD/www/static; the release is not published
      caused by: failed to create the folder `/WORLD/www/static/d`
      caused by: File exists (os error 17)
    ");
}

#[test]
fn a_release_whose_names_do_not_change_with_their_content_is_refused() {
    let scene = Scene::new();
    let built = scene.world.build("v1");
    assert_snapshot!(scene.told(&scene.publish(&built, &["--static", PLACE])), @r#"
    exit 5
    error: failed to put the static files into s3://cdn/site; the release is not published
      caused by: none of the release's 1 static files is known to have a name that changes with its content: there is no `static/staticfiles.json`, which Django's manifest storages write

    hint: have Django name them by content (`STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}`), or, where a bundler does, say which with `immutable = ["assets/**"]` in `[publish]` of pannier.toml
    "#);
    assert!(!scene.is_announced("v1"));
    let output = scene.publish(&built, &["--static", PLACE, "--immutable", "admin/*", "--immutable", "assets/**"]);
    assert_snapshot!(scene.told(&output), @"
    exit 0
    warning: `assets/**`, configured in `immutable`, matches no static file of the release
    polls v1 is published in file:///WORLD/store
    static files in s3://cdn/site: 1, of which 1 are new (22 B)
    ");
}

#[test]
fn pannier_toml_says_it_once_for_all() {
    let scene = Scene::new();
    let built = scene.build("v1", &[("a.01.css", b"a")], |_| ());
    std::fs::write(scene.world.path("pannier.toml"), format!("[publish]\nstatic = \"{PLACE}\"\n")).unwrap();
    assert!(scene.publish(&built, &["--static", "none"]).status.success());
    assert_eq!(scene.asked("GET", 200), 0);
    assert_snapshot!(scene.told(&scene.publish(&built, &[])), @"
    exit 0
    polls v1 was published in file:///WORLD/store already, with the same content
    static files in s3://cdn/site: 1, of which 1 are new (1 B)
    ");
}

#[test]
fn a_place_that_lays_the_store_open_and_one_that_is_none_are_refused() {
    let scene = Scene::new();
    let built = scene.build("v1", &[("a.01.css", b"a")], |_| ());
    let told = |place: &str| scene.told(&scene.publish(&built, &["--static", place]));
    assert_snapshot!(told(&format!("file://{}", scene.world.path("store").display())), @"
    exit 2
    error: static files cannot be put into file:///WORLD/store: the store file:///WORLD/store lies in it, and whoever reads them could read the releases

    hint: give them a prefix, or a bucket, of their own
    ");
    assert_snapshot!(told("https://cdn.example.org/static"), @"
    exit 2
    error: the place for static files cannot be opened
      caused by: the store https://cdn.example.org/static cannot be written to

    hint: a web server is only read from, and by name: use the address `s3://` or `file://` of the store
    ");
    assert_snapshot!(told("cdn"), @"
    exit 2
    error: the place for static files cannot be opened
      caused by: `cdn` is not a store location: expected `file:///path`, `s3://bucket/prefix` or `https://host/path`
    ");
    assert_snapshot!(told("s3://nowhere/site"), @"
    exit 7
    error: failed to put the static files into s3://nowhere/site; the release is not published
      caused by: the store s3://nowhere/site is unavailable: there is no bucket `nowhere`

    hint: check the address and the network, then type it again
    ");
    assert!(!scene.is_announced("v1"));
}

/// The promises of a place for static files.
async fn conforms(host: &dyn Host) {
    let asset = |name: &str, content: &'static [u8], encoded| Asset {
        number: 0,
        name: name.to_owned(),
        size: content.len() as u64,
        sha256: Digest::of(content),
        media: "text/css; charset=utf-8",
        encoded,
    };
    let own = pannier_shared::sys::fs::random_name();
    let plain = asset(&format!("{own}/a.01.css"), b"a{}", Encoded::Not);
    let names = Arc::new(HashSet::from([plain.name.clone(), format!("{own}/none"), format!("{own}/a.01.css/b")]));
    assert!(host.find(&names).await.unwrap().is_empty());
    let body = Body::Whole(Bytes::from_static(b"a{}"));
    assert_eq!(host.put(&plain, &body).await.unwrap(), Put::Stored);
    assert_eq!(host.put(&plain, &body).await.unwrap(), Put::Taken);
    let other = asset(&plain.name, b"b{}", Encoded::Not);
    assert_eq!(host.put(&other, &Body::Whole(Bytes::from_static(b"b{}"))).await.unwrap(), Put::Taken);
    assert!(host.holds(&plain).await.unwrap());
    assert!(!host.holds(&other).await.unwrap());
    assert!(!host.holds(&asset(&plain.name, b"longer", Encoded::Not)).await.unwrap());
    let found = host.find(&names).await.unwrap();
    assert_eq!((found.len(), found[&plain.name].size), (1, 3));
    assert!(found[&plain.name].md5.is_none_or(|md5| md5[..2] == [0x30, 0x7c]), "{found:?}");
    for name in ODD {
        let odd = asset(&format!("{own}/{name}"), b"odd", Encoded::Not);
        assert_eq!(host.put(&odd, &Body::Whole(Bytes::from_static(b"odd"))).await.unwrap(), Put::Stored, "{name}");
        assert!(host.holds(&odd).await.unwrap(), "{name}");
        assert_eq!(host.find(&Arc::new(HashSet::from([odd.name.clone()]))).await.unwrap()[&odd.name].size, 3, "{name}");
    }
}

async fn host(url: &str, place: &str) -> Box<dyn Host> {
    let value = |name: &str| s3(url).into_iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    static_host::open(&place.parse().unwrap(), &value).await.unwrap()
}

#[tokio::test]
async fn a_folder_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&*host("", &format!("file://{}/www", dir.path().display())).await).await;
}

#[tokio::test]
async fn s3_conforms_below_a_prefix_and_without_one() {
    let scene = Scene::new();
    conforms(&*host(&scene.server.url(), PLACE).await).await;
    conforms(&*host(&scene.server.url(), "s3://cdn").await).await;
}

/// An S3 server by other hands; see `store_conformance.rs`.
#[tokio::test]
async fn moto_conforms() {
    let Ok(url) = std::env::var("PANNIER_MOTO_URL") else {
        std::io::stderr().write_all(b"SKIPPED, as `PANNIER_MOTO_URL` is not set\n").unwrap();
        return;
    };
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "PUT /statics HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    conforms(&*host(&url, "s3://statics/some/where").await).await;
}

/// What another tool sent in parts has an ETag that is no MD5 and, as a rule, no SHA-256: it is read.
#[tokio::test]
async fn what_has_no_digest_that_is_known_is_read() {
    let scene = Scene::new();
    let film = noise(40 << 20, 9);
    let file = scene.world.path("film");
    std::fs::write(&file, &film).unwrap();
    let value = |name: &str| s3(&scene.server.url()).into_iter().find(|(known, _)| *known == name).map(|(_, v)| v);
    let store = pannier_builder::store::open_store(&PLACE.parse().unwrap(), &value).await.unwrap();
    let upload = pannier_shared::store::upload::Upload::new(&file, film.len() as u64, Digest::of(&film));
    store.put_file(&"film.01.mp4".parse::<Key>().unwrap(), &upload).await.unwrap();
    let host = host(&scene.server.url(), PLACE).await;
    let asset = |content: &[u8]| Asset {
        number: 0,
        name: "film.01.mp4".to_owned(),
        size: content.len() as u64,
        sha256: Digest::of(content),
        media: "video/mp4",
        encoded: Encoded::Not,
    };
    let names = Arc::new(HashSet::from(["film.01.mp4".to_owned()]));
    assert_eq!(host.find(&names).await.unwrap()["film.01.mp4"].md5, None);
    assert!(host.holds(&asset(&film)).await.unwrap());
    let mut other = film.clone();
    other[39 << 20] ^= 1;
    assert!(!host.holds(&asset(&other)).await.unwrap());
}
