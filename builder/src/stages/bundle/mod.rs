//! Bundle: a relocatable interpreter becomes `python/` of the release.
//!
//! 1. [`locate`]: the folder that was named, or one that uv installed.
//! 2. [`plan`]: what of it is packed; refused by name when it cannot be moved or does not run on this kind of machine.
//! 3. [`copy`]: the files, with the folder's own path taken out of what was written when it was installed.
//! 4. [`modules`]: whether the copy has what a site needs.
//!
//! That the copy, and nothing else, is what runs is shown later, by the stage `proof`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};

use crate::environment;
use crate::stages::elf;
use crate::stages::target::Cross;
use crate::stages::wheels::LibcVersion;

mod error;
mod foreign;
mod locate;
mod plan;
mod prune;

pub use error::Error;
pub use locate::{Prefix, locate};
pub use plan::{Plan, plan};

/// The interpreter's folder in a release.
pub const FOLDER: &str = "python";

/// What an interpreter's build writes into its own library: the folder it was built for.
const KNOWS_ITS_PLACE: &[&str] = &["_sysconfigdata_", "_sysconfig_vars_", "build-details.json"];

/// What such files say instead, wherever the interpreter lay: the same as the files of python-build-standalone.
const ANYWHERE: &str = "/install";

/// Importing four modules.
const LIMIT: Duration = Duration::from_secs(60);

/// Parts of the standard library that every Django site needs (`ssl`: the servers do).
const NEEDED: &[&str] = &["ssl", "zlib", "ctypes", "hashlib"];

/// The part that many sites need.
const SQLITE: &str = "sqlite3";

/// An interpreter in a release.
#[derive(Debug)]
pub struct Packed {
    /// Where it was taken from.
    pub prefix: Prefix,
    /// Its files, by their paths below `python/`.
    pub files: Vec<String>,
    /// The oldest glibc it runs on, and the first of its files that asks for it.
    pub glibc: Option<(LibcVersion, String)>,
    /// Bytes of all its files.
    pub bytes: u64,
    has_sqlite: bool,
}

impl Packed {
    /// The program below the release's folder: "python/bin/python3.12".
    pub fn program(&self) -> String {
        format!("{FOLDER}/{}", self.prefix.program())
    }

    /// The standard library below the release's folder: "python/lib/python3.12".
    pub fn library(&self) -> String {
        format!("{FOLDER}/{}", self.prefix.library())
    }

    /// What a site's failure really means, where it stopped at a module that this interpreter has not.
    pub fn explain(&self, failure: &str) -> Option<Error> {
        let lacks = !self.has_sqlite && failure.contains("No module named '_sqlite3'");
        lacks.then(|| Error::Needed { prefix: self.prefix.boxed(), module: SQLITE })
    }
}

/// Packs what was planned into `python/` of the tree.
pub fn bundle(plan: Plan, tree: &Path, elsewhere: Option<&Cross>, sink: &dyn Sink) -> Result<Packed, Error> {
    for reason in &plan.left_out {
        sink.emit(Event::Note { text: format!("a part of the interpreter is left out: {reason}") });
    }
    if let Some(first) = plan.overruled.first() {
        let text =
            format!("{first}: on a node where `LD_LIBRARY_PATH` names a folder with another one, that one is loaded");
        sink.emit(Event::Warning { text });
    }
    let bytes = copy(&plan, &tree.join(FOLDER))?;
    let has_sqlite = match elsewhere {
        None => modules(&plan.prefix, tree, sink)?,
        Some(cross) => {
            sink.emit(Event::Warning { text: not_run(&plan.prefix, cross) });
            true
        }
    };
    let Plan { prefix, files, glibc, .. } = plan;
    Ok(Packed { prefix, files: files.into_keys().collect(), glibc, bytes, has_sqlite })
}

fn copy(plan: &Plan, to: &Path) -> Result<u64, Error> {
    let prefix = &plan.prefix;
    // An interpreter without it says so each time it starts; one that has every module built in keeps none there.
    fs::create_dir_all(&to.join(prefix.library()).join("lib-dynload"))?;
    let mut total = 0;
    for (path, source) in &plan.files {
        let target = to.join(path);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        total += fs::copy(source, &target)?;
        let executable = fs::stat(source)?.permissions().mode() & 0o111 != 0;
        fs::set_mode(&target, if executable { 0o755 } else { 0o644 })?;
        if KNOWS_ITS_PLACE.iter().any(|start| path.rsplit('/').next().is_some_and(|name| name.starts_with(start))) {
            forget_place(&target, prefix)?;
        }
    }
    Ok(total)
}

fn forget_place(file: &Path, prefix: &Prefix) -> Result<(), Error> {
    let mut text = fs::read_text(file, elf::LIMIT)?;
    for place in [&prefix.root, &prefix.named] {
        text = text.replace(&*place.to_string_lossy(), ANYWHERE);
    }
    Ok(fs::write(file, text.as_bytes())?)
}

fn not_run(prefix: &Prefix, cross: &Cross) -> String {
    format!(
        "the interpreter in `{}` is for {} and cannot be run here: that it is for that machine and can be moved was read from \
         its files; whether it has `{}` and `{SQLITE}`, only such a machine can show",
        prefix.root.display(),
        cross.target,
        NEEDED.join("`, `")
    )
}

/// Has the copy import what sites need; true when it has SQLite.
fn modules(prefix: &Prefix, tree: &Path, sink: &dyn Sink) -> Result<bool, Error> {
    let program = tree.join(FOLDER).join(prefix.program());
    let mut lacking = Vec::new();
    for module in NEEDED.iter().chain(&[SQLITE]) {
        match process::run(
            environment::project(&program).args(["-I", "-B", "-S", "-c"]).arg(format!("import {module}")),
            LIMIT,
        ) {
            Ok(_) => {}
            Err(process::Error::Failed { output, .. }) if output.contains("Error: ") => {
                lacking.push((*module).to_owned())
            }
            Err(source) => return Err(Error::Silent { prefix: prefix.boxed(), source }),
        }
    }
    let has_sqlite = !lacking.iter().any(|module| module == SQLITE);
    lacking.retain(|module| module != SQLITE);
    if !lacking.is_empty() {
        return Err(Error::Lacks { prefix: prefix.boxed(), modules: lacking });
    }
    if !has_sqlite {
        let text = format!("the interpreter in `{}` has no `{SQLITE}`", prefix.root.display());
        sink.emit(Event::Warning { text });
    }
    Ok(has_sqlite)
}

/// Where the environment's `bin/python` leads, from its folder: "../../python/bin/python3.12".
pub fn link(packed: &Packed) -> PathBuf {
    Path::new("../..").join(packed.program())
}
