//! The archive as a whole: what is packed can be read back, byte for byte, and nothing else can.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;

use pannier_shared::archive::frame::Decoder;
use pannier_shared::archive::read::{Contents, Error, Outline, tail_range};
use pannier_shared::archive::toc::{Class, Group};
use pannier_shared::archive::write::{self, Content, Member, Options, pack};
use pannier_shared::archive::{COMPLETE, COMPLETE_TEXT};
use pannier_shared::digest::Digest;
use pannier_shared::event::Silent;
use pannier_shared::statement::Artifact;
use proptest::prelude::*;

/// What a tree holds, as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Folder,
    File(Vec<u8>, bool),
    Link(String),
}

type Tree = BTreeMap<String, Node>;

fn group_of(path: &str) -> Group {
    let (class, name) = match path.split('/').next() {
        Some("static") => (Class::Static, ""),
        Some("venv") => (Class::Dependency, path.split('/').nth(1).unwrap_or("")),
        _ => (Class::App, ""),
    };
    Group { class, name: name.to_owned() }
}

fn members(tree: &Tree, sources: &Path) -> Vec<Member> {
    let member = |(at, (path, node)): (usize, (&String, &Node))| {
        let content = match node {
            Node::Folder => Content::Folder,
            Node::Link(target) => Content::Link { target: target.clone() },
            Node::File(bytes, executable) => {
                let source = sources.join(at.to_string());
                std::fs::write(&source, bytes).unwrap();
                Content::File { source, size: bytes.len() as u64, executable: *executable }
            }
        };
        Member { path: path.clone(), group: group_of(path), content }
    };
    tree.iter().enumerate().map(member).collect()
}

fn packed(tree: &Tree, workers: usize) -> (Artifact, Vec<u8>) {
    let sources = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let options = Options { level: 3, workers };
    let artifact = pack(members(tree, sources.path()), options, &mut out, &Silent).unwrap();
    assert_eq!((artifact.size, artifact.sha256), (out.len() as u64, Digest::of(&out)));
    (artifact, out)
}

fn contents(artifact: &Artifact, bytes: &[u8]) -> Result<Contents, Error> {
    let part = |range: std::ops::Range<u64>| &bytes[range.start as usize..range.end as usize];
    let outline = Outline::open(artifact, part(tail_range(artifact)?))?;
    let tables = outline.tables(part(outline.tables_range()))?;
    outline.contents(tables)
}

fn unpacked(artifact: &Artifact, bytes: &[u8]) -> Result<Tree, Error> {
    let contents = contents(artifact, bytes)?;
    let mut tree = Tree::new();
    tree.extend(contents.folders().map(|path| (path.to_owned(), Node::Folder)));
    tree.extend(contents.links().map(|link| (link.path.clone(), Node::Link(link.target.clone()))));
    let empty = contents.files().filter(|file| file.size == 0);
    tree.extend(empty.map(|file| (file.path.clone(), Node::File(Vec::new(), file.executable))));
    let mut decoder = Decoder::default();
    for frame in contents.frames() {
        let compressed = &bytes[frame.range.start as usize..frame.range.end as usize];
        let open = contents.open_frame(frame, compressed, &mut decoder)?;
        for body in open.bodies() {
            let node = tree.entry(body.file.path.clone()).or_insert_with(|| Node::File(vec![], body.file.executable));
            let Node::File(content, _) = node else { panic!("{}", body.file.path) };
            assert_eq!(content.len() as u64, body.offset);
            content.extend_from_slice(body.bytes);
        }
    }
    for file in contents.files() {
        let Some(Node::File(content, _)) = tree.get(&file.path) else { panic!("{} has no content", file.path) };
        assert_eq!((content.len() as u64, Digest::of(content)), (file.size, file.sha256));
    }
    Ok(tree)
}

/// The tree with what packing adds.
fn with_complete(mut tree: Tree) -> Tree {
    tree.insert(".pannier".to_owned(), Node::Folder);
    tree.insert(COMPLETE.to_owned(), Node::File(COMPLETE_TEXT.to_vec(), false));
    tree
}

fn sample() -> Tree {
    let mut tree = Tree::new();
    let file = |text: &str| Node::File(text.as_bytes().to_vec(), false);
    for folder in ["app", "app/site", "app/empty", "venv", "venv/django", "venv/bin", "static"] {
        tree.insert(folder.to_owned(), Node::Folder);
    }
    tree.insert("app/manage.py".into(), Node::File(b"#!/usr/bin/env python\n".to_vec(), true));
    tree.insert("app/site/settings.py".into(), file("DEBUG = False\n"));
    tree.insert("app/site/__init__.py".into(), file(""));
    tree.insert("app/site/caf\u{e9} \u{2603}.txt".into(), file("snow"));
    tree.insert(format!("app/{}", "n".repeat(200)), file("long"));
    tree.insert(
        "venv/django/big.so".into(),
        Node::File((0..9_000_000u32).map(|i| (i.wrapping_mul(i) >> 11) as u8).collect(), true),
    );
    tree.insert("venv/bin/python3".into(), Node::Link("python".into()));
    tree.insert(format!("venv/bin/{}", "l".repeat(120)), Node::Link(format!("../{}", "t".repeat(150))));
    tree.insert("static/a.css".into(), file("body {}"));
    tree
}

#[test]
fn what_is_packed_is_read_back() {
    let (artifact, bytes) = packed(&sample(), 2);
    assert_eq!(unpacked(&artifact, &bytes).unwrap(), with_complete(sample()));
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_workers_or_the_order_given() {
    let (one, _) = packed(&sample(), 1);
    assert_eq!(one, packed(&sample(), 2).0);
    assert_eq!(one, packed(&sample(), 7).0);
    let sources = tempfile::tempdir().unwrap();
    let mut backwards = members(&sample(), sources.path());
    backwards.reverse();
    let again = pack(backwards, Options { level: 3, workers: 3 }, &mut Vec::new(), &Silent).unwrap();
    assert_eq!(one, again);
}

#[test]
fn a_large_file_is_split_over_frames() {
    let (artifact, bytes) = packed(&sample(), 2);
    let contents = contents(&artifact, &bytes).unwrap();
    let largest = contents.frames().iter().map(|frame| frame.plain).max().unwrap();
    assert_eq!((largest, contents.frames().iter().filter(|frame| frame.plain == 4 << 20).count()), (4 << 20, 2));
}

#[test]
fn an_app_change_touches_only_the_tail() {
    let (_, before) = packed(&sample(), 2);
    let mut tree = sample();
    tree.insert("app/site/settings.py".into(), Node::File(b"DEBUG = True\n".to_vec(), false));
    let (_, after) = packed(&tree, 2);
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let big = before.len() * 9 / 10;
    assert!(same > big, "the first {same} of {} bytes are equal", before.len());
}

#[test]
fn every_flipped_byte_is_refused_and_named() {
    let mut tree = sample();
    tree.remove("venv/django/big.so");
    let (artifact, bytes) = packed(&tree, 2);
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        let error = unpacked(&artifact, &bad).expect_err(&format!("byte {at} does not count"));
        let named = matches!(error, Error::Footer | Error::Digest { .. } | Error::Skippable { .. });
        assert!(named, "byte {at}: {error}");
    }
}

#[test]
fn a_statement_about_another_archive_is_refused() {
    let (artifact, bytes) = packed(&sample(), 2);
    let mut lies: Vec<Artifact> = vec![artifact.clone(); 6];
    lies[0].size += 1;
    lies[1].toc.offset += 1;
    lies[2].toc.length -= 1;
    lies[3].entries += 1;
    lies[4].unpacked -= 1;
    lies[5].toc.length = u64::MAX;
    for lie in lies {
        assert!(contents_of(&lie, &bytes).is_err(), "{lie:?}");
    }
}

fn contents_of(artifact: &Artifact, bytes: &[u8]) -> Result<(), String> {
    let range = tail_range(artifact).map_err(|error| error.to_string())?;
    let tail = bytes.get(range.start as usize..range.end as usize).ok_or("beyond the end")?;
    let outline = Outline::open(artifact, tail).map_err(|error| error.to_string())?;
    let all = outline.tables_range();
    let tables = outline.tables(&bytes[all.start as usize..all.end as usize]).map_err(|error| error.to_string())?;
    outline.contents(tables).map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn what_the_policy_refuses_is_not_packed() {
    for (path, node, why) in [
        ("app/out", Node::Link("../../x".into()), "leaves the tree"),
        ("app/../x", Node::File(vec![], false), "component"),
        ("nowhere/x", Node::File(vec![], false), "does not come before"),
        (COMPLETE, Node::File(vec![], false), "twice"),
    ] {
        let mut tree = sample();
        tree.insert(path.to_owned(), node);
        let sources = tempfile::tempdir().unwrap();
        let members = members(&tree, sources.path());
        let error = pack(members, Options { level: 3, workers: 1 }, &mut Vec::new(), &Silent).unwrap_err();
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_noticed() {
    let sources = tempfile::tempdir().unwrap();
    for grown in [-1i64, 1] {
        let mut members = members(&sample(), sources.path());
        let file = members.iter_mut().find(|member| member.path == "static/a.css").unwrap();
        let Content::File { size, .. } = &mut file.content else { panic!() };
        *size = size.checked_add_signed(-grown).unwrap();
        let error = pack(members, Options { level: 3, workers: 2 }, &mut Vec::new(), &Silent).unwrap_err();
        assert!(matches!(error, write::Error::Changed { .. }), "{error}");
    }
}

/// Any tree of allowed entries, small files mostly, a few of megabytes.
fn any_tree() -> impl Strategy<Value = Tree> {
    let component = prop_oneof![
        4 => "[a-z]{1,8}",
        1 => "[a-zA-Z0-9 _.@+,=~-]{1,40}[a-z]",
        1 => "[\u{e0}-\u{ff}\u{3b1}-\u{3c9}\u{4e00}-\u{4eff}\u{1f600}-\u{1f64f}]{1,20}",
        1 => "[a-z]{101,250}",
    ];
    let path = prop::collection::vec(component, 1..5).prop_map(|parts| parts.join("/"));
    let size = prop_oneof![5 => 0usize..2000, 3 => 0usize..70_000, 1 => prop::sample::select(vec![0, 511, 512, 513])];
    let file = (size, any::<u8>(), any::<bool>()).prop_map(|(size, seed, executable)| {
        Node::File((0..size).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect(), executable)
    });
    let node = prop_oneof![6 => file, 1 => Just(Node::Folder), 1 => "[a-z\u{e9}]{1,120}".prop_map(Node::Link)];
    prop::collection::vec((path, node), 0..40).prop_map(allowed)
}

/// Makes parents folders, and drops what the policy would refuse (twins, things below files).
fn allowed(entries: Vec<(String, Node)>) -> Tree {
    let mut tree = Tree::new();
    let mut seen = std::collections::BTreeSet::new();
    for (path, node) in entries {
        let parents: Vec<String> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
        let blocked = parents.iter().any(|parent| tree.get(parent).is_some_and(|node| *node != Node::Folder));
        let twin = |p: &String| !tree.contains_key(p) && seen.contains(&p.to_lowercase());
        if blocked || tree.contains_key(&path) || path.len() > 1000 || parents.iter().chain([&path]).any(twin) {
            continue;
        }
        if matches!(&node, Node::Link(target) if *target == path.rsplit('/').next().unwrap_or("")) {
            continue;
        }
        for parent in parents {
            seen.insert(parent.to_lowercase());
            tree.insert(parent, Node::Folder);
        }
        seen.insert(path.to_lowercase());
        tree.insert(path, node);
    }
    // A link to a link may go in circles; to anything else it may not.
    let links: Vec<String> = tree.iter().filter(|(_, n)| matches!(n, Node::Link(_))).map(|(p, _)| p.clone()).collect();
    for path in links {
        let Some(Node::Link(target)) = tree.get(&path) else { continue };
        let beside = path.rsplit_once('/').map_or(target.clone(), |(folder, _)| format!("{folder}/{target}"));
        if matches!(tree.get(&beside), Some(Node::Link(_))) {
            tree.remove(&path);
        }
    }
    tree
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_allowed_tree_survives(tree in any_tree()) {
        let (artifact, bytes) = packed(&tree, 2);
        prop_assert_eq!(unpacked(&artifact, &bytes).unwrap(), with_complete(tree));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = pannier_shared::archive::footer::decode(&bytes);
        let _ = pannier_shared::archive::frame::decode(&bytes, 100);
        let _ = pannier_shared::archive::toc::decode_root(&bytes);
        let _ = pannier_shared::archive::toc::decode_table(&bytes, 100);
    }
}

#[test]
fn large_files_survive() {
    for size in [(1 << 20) - 512, 1 << 20, (1 << 20) + 1, 20 << 20] {
        let content: Vec<u8> = (0..size as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let tree = Tree::from([("f".to_owned(), Node::File(content, false))]);
        let (artifact, bytes) = packed(&tree, 2);
        assert!(unpacked(&artifact, &bytes).unwrap() == with_complete(tree));
    }
}
