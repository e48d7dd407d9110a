//! Makes a release of a ready tree for `scripts/bench`: the workload is made of trees, not of Django projects, so that the
//! peers get the very same files.
//!
//! `bench-release TREE DIST VERSION KEY [LEVEL [STABLE_MIB CHANGING_KIB]]` writes `DIST/VERSION/{artifact.tar.zst,
//! release.json}`. Files are grouped as a build does: by the RECORD of the distribution that installed them. Links that
//! leave the tree (the interpreter's) are left out: they are the node's part. Level and frame sizes are the product's
//! unless they are given. `APP@VERSION` for VERSION makes it a release of that app.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout, reason = "a tool for benches only")]

use std::path::{Path, PathBuf};

use pannier_builder::stages::{pack, sign};
use pannier_builder::tree::Groups;
use pannier_shared::archive::layout;
use pannier_shared::archive::write::{Content, LEVEL, Options, pack_cut};
use pannier_shared::event::Silent;
use pannier_shared::signature::SigningKey;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tree, dist, version, key, study @ ..] = arguments.as_slice() else {
        panic!("bench-release TREE DIST VERSION KEY [LEVEL [STABLE_MIB CHANGING_KIB]]");
    };
    let (tree, out) = (Path::new(tree), Path::new(dist).join(version));
    std::fs::create_dir_all(&out).unwrap();
    let groups = groups(tree);
    let mut members = pack::members(tree, |path| groups.of(path)).unwrap();
    members.retain(|member| !matches!(&member.content, Content::Link { target } if target.starts_with('/')));
    let number = |at: usize| study.get(at).map(|text| text.parse::<u64>().unwrap());
    let level = number(0).map_or(LEVEL, |level| level as i32);
    let workers = std::thread::available_parallelism().unwrap().get();
    let cap = |class| {
        let given =
            if layout::cap(class) > 1 << 20 { number(1).map(|mib| mib << 20) } else { number(2).map(|kib| kib << 10) };
        given.unwrap_or(layout::cap(class))
    };
    let file = std::fs::File::create(out.join("artifact.tar.zst")).unwrap();
    let packed = pack_cut(members, Options { level, workers }, cap, file, &Silent).unwrap();
    let key = SigningKey::load(Path::new(key), None).unwrap();
    let mut description = pannier_tests::description(version.rsplit('@').next().unwrap());
    if let Some((app, _)) = version.split_once('@') {
        description.app = app.parse().unwrap();
    }
    println!("{version}: {} bytes, {} entries", packed.size, packed.entries);
    sign::write(description, packed, std::collections::BTreeMap::new(), &key, &out.join("release.json")).unwrap();
}

/// Which distribution each file of the environment, and each wheel, came from.
fn groups(tree: &Path) -> Groups {
    let mut groups = Groups::default();
    let site = site_packages(tree);
    for folder in names(&tree.join(&site)).into_iter().filter(|name| name.ends_with(".dist-info")) {
        let name = normalised(&folder);
        let record = std::fs::read_to_string(tree.join(&site).join(&folder).join("RECORD")).unwrap();
        for line in record.lines() {
            let path = line.split(',').next().unwrap_or_default();
            groups.own(joined(&site, path), &name);
        }
    }
    for wheel in names(&tree.join("wheels")) {
        groups.own(format!("wheels/{wheel}"), &normalised(&wheel));
    }
    groups
}

fn site_packages(tree: &Path) -> String {
    let python = names(&tree.join("venv/lib")).into_iter().find(|name| name.starts_with("python")).unwrap();
    format!("venv/lib/{python}/site-packages")
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The project's name from a wheel's or a dist-info folder's.
fn normalised(name: &str) -> String {
    name.split('-').next().unwrap_or(name).to_lowercase().replace(['_', '.'], "-")
}

/// `../../../bin/x` below site-packages is `venv/bin/x`.
fn joined(site: &str, path: &str) -> String {
    let mut at = PathBuf::from(site);
    for part in path.split('/') {
        if part == ".." {
            at.pop()
        } else {
            at.push(part);
            true
        };
    }
    at.to_string_lossy().into_owned()
}
