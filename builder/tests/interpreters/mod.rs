//! An interpreter that releases can bring, and the uv that builds with it use.
#![allow(dead_code, reason = "what tests share is not used by each of them")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use pannier_builder::environment::Ambient;

use crate::site::{cache, environment, variables};

/// A Python that works wherever it lies, with pip; made once of the machine's `python3`.
pub fn relocatable() -> PathBuf {
    static MADE: Once = Once::new();
    let folder = cache().join("python");
    MADE.call_once(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/relocatable-python");
        if !folder.exists() {
            let made = Command::new("python3").arg(script).arg(&folder).status().unwrap();
            // Where two test programs make it at once, either one's is good.
            assert!(made.success() || folder.exists());
        }
    });
    folder
}

/// The uv that the builds with the machine's interpreter fetched.
pub fn uv() -> PathBuf {
    environment();
    let tools = std::fs::read_dir(cache().join("pannier/tools")).unwrap().map(Result::unwrap);
    let whole = tools.filter(|entry| entry.file_name().to_string_lossy().starts_with("uv-"));
    let uv = whole.map(|entry| entry.path().join("bin/uv")).find(|uv| uv.exists()).expect("uv was fetched");
    std::fs::canonicalize(uv).unwrap()
}

/// The environment for builds with an interpreter of their own: uv is the one that the others fetched.
pub fn environment_with_uv() -> Ambient {
    let mut variables = variables(false);
    variables.push(("PANNIER_UV".into(), uv().into()));
    Ambient::of(variables)
}
