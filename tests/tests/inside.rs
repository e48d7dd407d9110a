//! What the builder says of releases, through the real program: `show` and `diff`, of folders and of a store, and that
//! neither believes anything that was not signed.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::path::Path;

use insta::assert_snapshot;
use pannier_shared::digest::Digest;
use pannier_shared::id::Target;
use pannier_shared::statement::{Dependency, Description, Process, Running, Shared, Source, Words};
use pannier_tests::{APP, World, description, noise};
use serde_json::Value;

/// What the builder says and ends with; what differs from run to run made the same.
fn told(world: &World, arguments: &[&str]) -> String {
    let done = world.builder(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let told = format!("exit {}\n{}{}", done.status.code().unwrap(), text(&done.stderr), text(&done.stdout));
    let told = told.replace(world.path("").to_str().unwrap(), "/WORLD/").replace(Target::host().as_str(), "HOST");
    let told = told.replace("x86_64-linux-gnu", "HOST");
    let words = told.split_inclusive([' ', ':', '\n', ','].as_slice()).map(|word| {
        let end = word.trim_end_matches([' ', ':', '\n', ','].as_slice());
        let digest = end.len() == 64 && end.bytes().all(|byte| byte.is_ascii_hexdigit());
        // The fingerprint of a key is 43 digits of base64.
        let fingerprint = end.len() == 43 && end.bytes().any(|byte| byte.is_ascii_uppercase());
        if digest || fingerprint { word.replace(end, "<sha256>") } else { word.to_owned() }
    });
    words.collect()
}

fn json(world: &World, arguments: &[&str]) -> Value {
    let done = world.builder(&[&["--json"], arguments].concat()).output().unwrap();
    let line = String::from_utf8(done.stdout.clone()).unwrap();
    serde_json::from_str(line.lines().last().unwrap_or_else(|| panic!("{done:?}"))).unwrap()
}

fn dependency(name: &str, version: &str) -> Dependency {
    let wheel = format!("{name}-{version}-py3-none-any.whl");
    Dependency { name: name.to_owned(), version: version.to_owned(), sha256: Digest::of(wheel.as_bytes()), wheel }
}

fn described(version: &str, dependencies: &[(&str, &str)]) -> Description {
    let source =
        Source { commit: format!("{:0>40}", version.trim_start_matches('v')), dirty: version == "v2", committed: None };
    let dependencies = dependencies.iter().map(|(name, version)| dependency(name, version)).collect();
    let command = Words::try_from(["gunicorn", "polls.wsgi", "a b"].map(str::to_owned).to_vec()).unwrap();
    let web = Process { name: "web".parse().unwrap(), command, socket: version == "v2", stop_timeout: None };
    let path = |path: &str| path.to_owned().try_into().unwrap();
    let folders = if version == "v2" { vec![path("media"), path("var/uploads")] } else { vec![path("media")] };
    let shared = Shared::new(folders, vec![path("local.py")]).unwrap();
    let running = Running { processes: vec![web], shared, ..Running::default() };
    let libc_floor = Some("2.28".to_owned());
    Description { source: Some(source), libc_floor, dependencies, running, ..description(version) }
}

/// v1 and v2, published; the second has another dependency, and files that changed in every way there is.
fn two_releases() -> World {
    let world = World::new();
    let v1 = described("v1", &[("asgiref", "3.8"), ("django", "5.2"), ("old", "1")]);
    world.publish(&world.build_as(v1, |_| ())).unwrap();
    let mut v2 = described("v2", &[("asgiref", "3.8"), ("django", "5.2.1"), ("new", "2")]);
    v2.django.asgi = Some("polls.asgi:application".to_owned());
    world.publish(&world.build_as(v2, change)).unwrap();
    world
}

fn change(tree: &Path) {
    std::fs::remove_file(tree.join("static/admin/base.0123456789ab.css")).unwrap();
    std::fs::rename(tree.join("app/polls/views.py"), tree.join("app/polls/pages.py")).unwrap();
    std::fs::write(tree.join("app/new.bin"), noise(300_000, 9)).unwrap();
    pannier_tests::executable(&tree.join("app/polls/__init__.py"));
    std::fs::remove_file(tree.join("venv/bin/python3")).unwrap();
    std::os::unix::fs::symlink("../bin/python", tree.join("venv/bin/python3")).unwrap();
}

#[test]
fn show_a_published_release() {
    assert_snapshot!(told(&two_releases(), &["show", "v2", "--app", APP]), @r"
    exit 0
    polls v2 for HOST
    in         file:///WORLD/store
    statement  sha256:<sha256>  signed by ci
    artifact   sha256:<sha256>  3.6 MB
    beside     sha256:<sha256>  provenance.json, 2.1 kB
    beside     sha256:<sha256>  sbom.cdx.json, 3.0 kB
    unpacked   3.5 MB in 26 entries
    commit     0000000000000000000000000000000000000002, and changes that are not in it
    python     3.11.7, bundled (cpython-311-HOST)
    libc       glibc 2.28 or later
    settings   polls.settings
    process    web: gunicorn polls.wsgi 'a b'  (on a socket that stays open)
    shared     folder media
    shared     folder var/uploads
    shared     file local.py
    built by   pannier 0.0.0-test

    part                                        files      plain compressed
    folders                                         0        0 B       82 B
    interpreter                                     1       17 B      137 B
    dependency                                      4     3.2 MB     3.2 MB
    static                                          0        0 B       98 B
    app                                             6   300.0 kB   301.0 kB
    complete                                        1       46 B      137 B
    tables                                          0        0 B     2.2 kB

    package                                     files      plain compressed  sha256 of the wheel
    asgiref 3.8                                     0        0 B        0 B  <sha256>
    django 5.2.1                                    0        0 B        0 B  <sha256>
    new 2                                           0        0 B        0 B  <sha256>
    ");
}

#[test]
fn show_the_folder_of_a_build_is_the_same_but_for_its_place() {
    let world = two_releases();
    let (store, folder) = (json(&world, &["show", "v1", "--app", APP]), json(&world, &["show", "dist-v1"]));
    let without_place = |mut value: Value| {
        let place = value.as_object_mut().unwrap().remove("place").unwrap();
        (value, place)
    };
    let ((store, place), (folder, there)) = (without_place(store), without_place(folder));
    assert_eq!(store, folder);
    assert_eq!(there, "dist-v1");
    assert!(place.as_str().unwrap().starts_with("file://"), "{place}");
}

#[test]
fn the_parts_of_a_release_are_all_of_it() {
    let world = two_releases();
    let shown = json(&world, &["show", "v1", "--app", APP]);
    let sum =
        |what: &str| -> u64 { shown["parts"].as_array().unwrap().iter().map(|p| p[what].as_u64().unwrap()).sum() };
    assert_eq!(sum("compressed") + shown["tables"].as_u64().unwrap(), shown["artifact"]["size"].as_u64().unwrap());
    assert_eq!(sum("plain"), shown["artifact"]["unpacked"].as_u64().unwrap());
}

#[test]
fn a_release_without_git_and_without_dependencies() {
    let world = World::new();
    world.build("v1");
    assert_snapshot!(told(&world, &["show", "./dist-v1"]), @r"
    exit 0
    polls v1 for HOST
    in         ./dist-v1
    statement  sha256:<sha256>  signed by ci
    artifact   sha256:<sha256>  3.3 MB
    beside     sha256:<sha256>  provenance.json, 1.1 kB
    beside     sha256:<sha256>  sbom.cdx.json, 1.3 kB
    unpacked   3.2 MB in 26 entries
    commit     none: it was not built from a git repository
    python     3.11.7, bundled (cpython-311-HOST)
    settings   polls.settings
    built by   pannier 0.0.0-test

    part                                        files      plain compressed
    folders                                         0        0 B       82 B
    interpreter                                     1       17 B      137 B
    dependency                                      4     3.2 MB     3.2 MB
    static                                          1       22 B      155 B
    app                                             5       35 B      384 B
    complete                                        1       46 B      137 B
    tables                                          0        0 B     2.2 kB

    no dependencies
    ");
}

#[test]
fn diff_of_two_releases() {
    let world = two_releases();
    assert_snapshot!(told(&world, &["diff", "v1", "v2", "--app", APP, "--files"]), @r"
    exit 0
    polls v1 -> polls v2
    commit         0000000000000000000000000000000000000001 -> 0000000000000000000000000000000000000002, and changes that are not in it
    asgi           none -> polls.asgi:application
    shared folders media -> media, var/uploads

    dependencies
    ~ django 5.2 -> 5.2.1
    + new 2
    - old 1

    files              kept  changed    added  removed
    interpreter           1        0        0        0
    dependency            3        1        0        0
    static                0        0        0        1
    app                   2        2        2        1
    complete              1        0        0        0
    + app/new.bin
    m app/polls/__init__.py
    + app/polls/pages.py
    - app/polls/views.py
    ~ app/version.txt
    - static/admin/base.0123456789ab.css
    ~ venv/bin/python3

    a node that has nothing but v1 fetches 302.9 kB of 3.6 MB in 3 requests, for 2 files
    ");
    assert_snapshot!(told(&world, &["diff", "v1", "v1", "--app", APP]), @r"
    exit 0
    polls v1 and polls v1 are the same artifact, sha256:<sha256>
    ");
}

#[test]
fn diff_of_folders_for_programs() {
    let world = two_releases();
    let mut found = json(&world, &["diff", "dist-v1", "dist-v2"]);
    assert!(found.get("files").is_none(), "files were not asked for");
    for side in ["from", "to"] {
        found[side]["artifact"].take();
        found[side]["target"].take();
    }
    assert_snapshot!(serde_json::to_string(&found).unwrap(), @r#"{"command":"diff","dependencies":[{"from":"5.2","name":"django","to":"5.2.1"},{"from":null,"name":"new","to":"2"},{"from":"1","name":"old","to":null}],"event":"result","fetch":{"artifact":3552590,"bytes":302858,"files":2,"requests":3},"from":{"app":"polls","artifact":null,"target":null,"version":"v1"},"parts":[{"added":0,"changed":0,"kept":1,"part":"interpreter","removed":0},{"added":0,"changed":1,"kept":3,"part":"dependency","removed":0},{"added":0,"changed":0,"kept":0,"part":"static","removed":1},{"added":2,"changed":2,"kept":2,"part":"app","removed":1},{"added":0,"changed":0,"kept":1,"part":"complete","removed":0}],"settings":[{"from":"0000000000000000000000000000000000000001","to":"0000000000000000000000000000000000000002, and changes that are not in it","what":"commit"},{"from":null,"to":"polls.asgi:application","what":"asgi"},{"from":"media","to":"media, var/uploads","what":"shared folders"}],"to":{"app":"polls","artifact":null,"target":null,"version":"v2"}}"#);
}

#[test]
fn what_diff_says_is_what_a_node_fetches() {
    let world = two_releases();
    for arguments in [["fetch", APP, "v1"], ["activate", APP, "v1"]] {
        let done = world.run(&arguments);
        assert!(done.status.success(), "{}", pannier_tests::said(&done));
    }
    let planned = world.run(&["--json", "plan", APP, "v2"]);
    let planned: Value =
        serde_json::from_str(String::from_utf8(planned.stdout).unwrap().lines().last().unwrap()).unwrap();
    let fetch = &json(&world, &["diff", "v1", "v2", "--app", APP])["fetch"];
    let todo = &planned["todo"];
    assert_eq!((&fetch["bytes"], &fetch["requests"]), (&todo["wire_bytes"], &todo["requests"]), "{planned}");
    assert!(fetch["bytes"].as_u64().unwrap() > 300_000);
}

#[test]
fn unknown_names_and_folders_without_a_release() {
    let world = two_releases();
    assert_snapshot!(told(&world, &["show", "v12", "--app", APP]), @r"
    exit 3
    error: `polls` has no version `v12` in the store file:///WORLD/store

    hint: did you mean `v1`?
    ");
    assert_snapshot!(told(&world, &["show", "v1", "--app", "pols"]), @r"
    exit 3
    error: the app `pols` has no release in the store file:///WORLD/store

    hint: did you mean `polls`?
    ");
    assert_snapshot!(told(&world, &["show", "v1", "--app", APP, "--target", "riscv64-linux-gnu"]), @r"
    exit 5
    error: `polls` v1 has nothing for `riscv64-linux-gnu`, only for `HOST`

    hint: build and publish the version for this kind of machine too: there, or with `pannier build --target riscv64-linux-gnu`
    ");
    assert_snapshot!(told(&world, &["show", "v1"]), @r#"
    exit 2
    error: the app has no name

    hint: give it with `--app NAME`, or `app = "NAME"` in pannier.toml
    "#);
    assert_snapshot!(told(&world, &["show", "store"]), @r"
    exit 3
    error: `store` is no release: there is no `release.json` in it

    hint: name a folder that `pannier build` made, or a published version
    ");
    assert_snapshot!(told(&world, &["diff", "v1", "./nothing", "--app", APP]), @r"
    exit 3
    error: `./nothing` is no release: there is no `release.json` in it

    hint: name a folder that `pannier build` made, or a published version
    ");
}

#[test]
fn several_kinds_of_machines() {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    for name in ["tree-v1", "dist-v1"] {
        std::fs::remove_dir_all(world.path(name)).unwrap();
    }
    let other = Description { target: "z80-linux-gnu".parse().unwrap(), ..description("v1") };
    world.publish(&world.build_as(other, |_| ())).unwrap();
    assert_snapshot!(told(&world, &["show", "v1", "--app", APP]), @r"
    exit 2
    error: `polls` v1 is there for several kinds of machines: `HOST`, `z80-linux-gnu`

    hint: name one: `--target HOST`
    ");
    let shown = json(&world, &["show", "v1", "--app", APP, "--target", "z80-linux-gnu"]);
    assert_eq!(shown["release"]["target"], "z80-linux-gnu");
}

#[test]
fn nothing_is_said_of_what_was_not_signed() {
    let world = two_releases();
    let folder = world.path("dist-v1");
    let artifact = folder.join("artifact.tar.zst");
    let whole = std::fs::read(&artifact).unwrap();
    let tables = whole.len() - 1500;
    let mut damaged = whole.clone();
    damaged[tables] ^= 1;
    std::fs::write(&artifact, damaged).unwrap();
    assert_snapshot!(told(&world, &["show", "dist-v1"]), @r"
    exit 4
    error: `dist-v1/artifact.tar.zst` is not what its statement says
      caused by: the table of group `dependency` is damaged: expected sha256 <sha256>, found <sha256>
    ");
    std::fs::write(&artifact, &whole[..whole.len() - 1]).unwrap();
    assert_snapshot!(told(&world, &["show", "dist-v1"]), @r"
    exit 4
    error: `dist-v1/artifact.tar.zst` is not what its statement says
      caused by: expected 557 bytes of the end, found 556
    ");
    let statement = folder.join("release.json");
    let text = std::fs::read_to_string(&statement).unwrap();
    std::fs::write(&statement, text.replace("\"django\"", "\"djang0\"")).unwrap();
    assert_snapshot!(told(&world, &["show", "dist-v1"]), @r"
    exit 4
    error: failed to verify `dist-v1/release.json`
      caused by: the release statement is refused
      caused by: the signature by SHA256:<sha256> does not match the text: one of them was changed
    ");
}

#[test]
fn a_document_that_was_changed_is_refused_at_publish_and_at_show() {
    let world = World::new();
    let built = world.build("v1");
    let sbom = built.join("sbom.cdx.json");
    let whole = std::fs::read_to_string(&sbom).unwrap();
    std::fs::write(&sbom, whole.replace("\"python\"", "\"pythom\"")).unwrap();
    assert_snapshot!(told(&world, &["publish", "dist-v1"]), @r"
    exit 4
    error: `dist-v1/sbom.cdx.json` is not the document that its statement names: expected 1349 bytes with sha256 <sha256>, found 1349 bytes with sha256 <sha256>

    hint: run `pannier build` again
    ");
    assert!(!world.path("store/polls").exists(), "nothing was published");
    assert_snapshot!(told(&world, &["show", "dist-v1"]), @r"
    exit 4
    error: `dist-v1/sbom.cdx.json` is not the one that the statement names: expected sha256 <sha256>, found <sha256>
    ");
    std::fs::remove_file(&sbom).unwrap();
    assert_snapshot!(told(&world, &["publish", "dist-v1"]), @r"
    exit 3
    error: failed to open `dist-v1/sbom.cdx.json`
      caused by: No such file or directory (os error 2)
    ");
    std::fs::write(&sbom, &whole).unwrap();
    assert_snapshot!(told(&world, &["publish", "dist-v1"]), @r"
    exit 0
    polls v1 is published in file:///WORLD/store
    ");
    let there = world.path("store/polls/releases/v1").join(Target::host().as_str()).join("sbom.cdx.json");
    assert_eq!(std::fs::read_to_string(&there).unwrap(), whole);
    std::fs::write(&there, "{}").unwrap();
    assert_snapshot!(told(&world, &["show", "v1", "--app", APP]), @r"
    exit 4
    error: `polls/releases/v1/HOST/sbom.cdx.json` is not the one that the statement names: expected sha256 <sha256>, found <sha256>
    ");
}

#[test]
fn another_document_from_a_try_that_did_not_end_is_refused() {
    let world = World::new();
    world.publish(&world.build("v1")).unwrap();
    let there = world.path("store/polls/releases/v1").join(Target::host().as_str());
    std::fs::remove_file(there.join("release.json")).unwrap();
    std::fs::write(there.join("provenance.json"), "{}").unwrap();
    assert_snapshot!(told(&world, &["publish", "dist-v1"]), @r"
    exit 5
    error: version `v1` of `polls` is already published with different content: another `provenance.json` lies there

    hint: a published version is never changed: build under another name, with `--version`
    ");
}
