//! A release to measure on: 30,000 entries in 200 distributions, 230 MB, made from names and a seed alone.
//!
//! Three of four files are lines of this crate's own sources in an order by chance, which compress about as Python does;
//! the fourth is noise, as images, wheels and compiled modules nearly are.
#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench lays out files by hand")]

use std::path::Path;

use pannier_shared::archive::toc::{Class, Group};
use pannier_shared::archive::write::{Content, LEVEL, Member, Options, pack};
use pannier_shared::event::Silent;
use pannier_shared::statement::Artifact;

/// Files, folders and those that every archive has.
pub const ENTRIES: u64 = 30_000;

const DISTRIBUTIONS: u64 = 200;
const FILES: u64 = 147;
const LINES: &[&str] = &[
    include_str!("../../src/archive/write.rs"),
    include_str!("../../src/archive/policy.rs"),
    include_str!("../../src/archive/toc.rs"),
    include_str!("../../src/steps.rs"),
];

/// Packs it. The files lie below `folder`; those of the app, which are new in every `version`, among them.
pub fn packed(folder: &Path, version: u64) -> (Artifact, Vec<u8>) {
    let mut members = vec![folder_member("venv", Class::Folders, "")];
    for distribution in 0..DISTRIBUTIONS {
        let (path, name) = (format!("venv/d{distribution}"), format!("d{distribution}"));
        lay(folder, &path, Class::Dependency, &name, FILES, distribution, &mut members);
    }
    let rest = ENTRIES - members.len() as u64 - 3;
    lay(folder, "app", Class::App, "", rest, DISTRIBUTIONS + version, &mut members);
    let workers = std::thread::available_parallelism().unwrap().get();
    let mut bytes = Vec::new();
    let artifact = pack(members, Options { level: LEVEL, workers }, &mut bytes, &Silent).unwrap();
    assert_eq!(artifact.entries, ENTRIES);
    (artifact, bytes)
}

fn lay(folder: &Path, path: &str, class: Class, name: &str, files: u64, seed: u64, members: &mut Vec<Member>) {
    std::fs::create_dir_all(folder.join(path)).unwrap();
    members.push(folder_member(path, class, name));
    let mut chance = Chance(seed + 1);
    for file in 0..files {
        let path = format!("{path}/f{file}.py");
        let content = if file % 4 == 3 { chance.noise() } else { chance.text() };
        let source = folder.join(&path);
        std::fs::write(&source, &content).unwrap();
        let content = Content::File { source, size: content.len() as u64, executable: false };
        members.push(Member { path, group: Group { class, name: name.to_owned() }, content });
    }
}

fn folder_member(path: &str, class: Class, name: &str) -> Member {
    Member { path: path.to_owned(), group: Group { class, name: name.to_owned() }, content: Content::Folder }
}

/// Numbers that are the same in every run (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    /// 1 to 15 kB.
    fn size(&mut self) -> usize {
        1_000 + self.below(14_000) as usize
    }

    fn noise(&mut self) -> Vec<u8> {
        (0..self.size()).map(|_| self.below(256) as u8).collect()
    }

    fn text(&mut self) -> Vec<u8> {
        let lines: Vec<&str> = LINES.iter().flat_map(|source| source.lines()).collect();
        let (size, mut text) = (self.size(), Vec::new());
        while text.len() < size {
            text.extend_from_slice(lines[self.below(lines.len() as u64) as usize].as_bytes());
            text.push(b'\n');
        }
        text
    }
}
