//! What tests of several rooms share.
#![allow(clippy::disallowed_methods, reason = "tests look at the disk with std")]

use std::error::Error;
use std::path::Path;

use crate::environment::Ambient;

/// An error as a person is told it: its own line, then each cause on a line of its own.
pub fn told(error: &dyn Error) -> String {
    let causes =
        std::iter::successors(error.source(), |cause| (*cause).source()).map(|cause| format!("caused by: {cause}"));
    std::iter::once(error.to_string()).chain(causes).collect::<Vec<_>>().join("\n")
}

/// The environment the tests run in.
pub fn ambient() -> Ambient {
    Ambient::of(std::env::vars_os())
}

/// The relative paths of all files and links below a folder, sorted.
pub fn files(root: &Path) -> Vec<String> {
    let entries =
        walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|entry| !entry.file_type().is_dir());
    let relative = |entry: walkdir::DirEntry| entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    let mut paths: Vec<String> = entries.map(relative).collect();
    paths.sort();
    paths
}
