//! What of an interpreter is packed, decided by looking only: its program, the part of its library that a site can
//! use, and the shared libraries that these load from its own folder.
//!
//! The loader's rules are followed (ld.so(8)): a file's RUNPATH, or else its RPATH and those of the files that led to
//! it. Every entry must begin with `$ORIGIN`, the folder of the file that names it; then all of it can be moved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pannier_shared::sys::fs;
use walkdir::{DirEntry, WalkDir};

use super::Error;
use super::locate::Prefix;
use super::{foreign, prune};
use crate::stages::elf::{self, Elf};
use crate::stages::interpreter::SUPPORTED;
use crate::stages::target::Cross;
use crate::stages::wheels::LibcVersion;

/// What will be packed.
#[derive(Debug)]
pub struct Plan {
    /// Whose.
    pub prefix: Prefix,
    /// Each file by its path below the interpreter's folder, and where it really lies.
    pub files: BTreeMap<String, PathBuf>,
    /// Modules in C that are left out because a library of theirs is not in the folder, and why.
    pub left_out: Vec<String>,
    /// Libraries that a variable of the node could replace, and who needs them.
    pub overruled: Vec<String>,
    /// The oldest glibc it runs on, and the first of its files that asks for it.
    pub glibc: Option<(LibcVersion, String)>,
}

/// Looks at an interpreter; refuses one that cannot run here, or not elsewhere, naming what holds it in its place. One for
/// another kind of machine must be for that, and have the ABI that is given beside it.
pub fn plan(prefix: Prefix, elsewhere: Option<(&Cross, &str)>) -> Result<Plan, Error> {
    supported(&prefix)?;
    match elsewhere {
        None => runs_here(&prefix)?,
        Some((cross, abi)) => foreign::fits(&prefix, cross, abi)?,
    }
    let plan = Plan {
        prefix: prefix.clone(),
        files: BTreeMap::new(),
        left_out: Vec::new(),
        overruled: Vec::new(),
        glibc: None,
    };
    let mut survey = Survey { prefix: &prefix, plan, fixed: BTreeSet::new(), chain: Vec::new() };
    survey.program()?;
    survey.library()?;
    let Survey { plan, fixed, .. } = survey;
    if fixed.is_empty() {
        return Ok(plan);
    }
    Err(Error::Fixed { prefix: prefix.boxed(), found: fixed.into_iter().collect() })
}

fn supported(prefix: &Prefix) -> Result<(), Error> {
    let minor = prefix.python.strip_prefix("3.").and_then(|minor| minor.parse().ok());
    if minor.is_some_and(|minor| SUPPORTED.contains(&minor)) {
        return Ok(());
    }
    Err(Error::Version(prefix.boxed()))
}

/// Before it is run: a program of another machine would only say that it cannot be executed.
fn runs_here(prefix: &Prefix) -> Result<(), Error> {
    let here = std::env::consts::ARCH;
    let foreign =
        |found: String, here: String| Error::Foreign { prefix: prefix.boxed(), program: prefix.program(), found, here };
    let Some(elf) = elf::read(&prefix.root.join(prefix.program()))? else {
        return Err(foreign("a script".to_owned(), format!("{here} and needs the program itself")));
    };
    match elf.loader {
        _ if elf.machine != here => Err(foreign(elf.machine, here.to_owned())),
        Some(loader) if !fs::exists(Path::new(&loader)) => {
            Err(foreign(format!("{here} with the loader `{loader}`"), format!("{here} without it")))
        }
        _ => Ok(()),
    }
}

/// A look at an interpreter's files, under way.
struct Survey<'a> {
    prefix: &'a Prefix,
    plan: Plan,
    /// What holds it in its place, as sentences.
    fixed: BTreeSet<String>,
    /// Folders (below the prefix) that the program has its libraries and theirs looked for in.
    chain: Vec<String>,
}

/// Why a file cannot be moved, or a library not be found.
type Reason = String;

impl Survey<'_> {
    fn program(&mut self) -> Result<(), Error> {
        let path = self.prefix.program();
        let source = fs::canonical(&self.prefix.root.join(&path))?;
        if let Some(elf) = elf::read(&source)? {
            self.chain = inside(&path, &elf.rpath);
            let reasons = self.needs(&path, &elf, &[])?;
            self.fixed.extend(reasons);
        }
        self.plan.files.insert(path, source);
        Ok(())
    }

    fn library(&mut self) -> Result<(), Error> {
        let top = self.prefix.root.join(self.prefix.library());
        let below =
            |entry: &DirEntry| entry.path().strip_prefix(&top).unwrap_or(entry.path()).to_string_lossy().into_owned();
        let kept = |entry: &DirEntry| entry.depth() == 0 || prune::keeps(&below(entry));
        for entry in WalkDir::new(&top).follow_links(true).sort_by_file_name().into_iter().filter_entry(kept) {
            let entry = entry?;
            if entry.file_type().is_file() {
                self.file(&below(&entry), entry.path())?;
            }
        }
        Ok(())
    }

    /// One file of the library, `name` below it.
    fn file(&mut self, name: &str, path: &Path) -> Result<(), Error> {
        let source = fs::canonical(path)?;
        let at = format!("{}/{name}", self.prefix.library());
        if !source.starts_with(&self.prefix.root) {
            self.fixed.insert(format!("`{at}` leads to `{}`", source.display()));
            return Ok(());
        }
        if name.contains(".so")
            && let Some(elf) = elf::read(&source)?
        {
            let reasons = self.needs(&at, &elf, &[])?;
            match reasons.first() {
                Some(reason) if prune::is_dispensable(name) => {
                    self.plan.left_out.push(reason.clone());
                    return Ok(());
                }
                _ => self.fixed.extend(reasons),
            }
        }
        self.plan.files.insert(at, source);
        Ok(())
    }

    /// Takes every library that a file needs into the plan, and those that they need; gives what stands against it.
    fn needs(&mut self, at: &str, elf: &Elf, above: &[String]) -> Result<Vec<Reason>, Error> {
        if let Some(path) = elf.rpath.iter().chain(&elf.runpath).find(|path| !from_origin(path)) {
            return Ok(vec![format!("`{at}` looks for libraries in `{path}`")]);
        }
        if let Some(needed) = elf.glibc.filter(|needed| self.plan.glibc.as_ref().is_none_or(|(most, _)| needed > most))
        {
            self.plan.glibc = Some((needed, at.to_owned()));
        }
        let own = [inside(at, &elf.rpath), above.to_vec()].concat();
        let mut reasons = Vec::new();
        for name in elf.needed.iter().filter(|name| !elf::is_libc(name)) {
            match self.find(at, name, elf, &own) {
                Some(library) => reasons.extend(self.take(library, &own)?),
                None => reasons
                    .push(format!("`{at}` needs `{name}`, which it does not find in `{}`", self.prefix.root.display())),
            }
        }
        Ok(reasons)
    }

    /// Where the loader finds a library, below the prefix.
    fn find(&mut self, at: &str, name: &str, elf: &Elf, own: &[String]) -> Option<String> {
        if name.contains('/') {
            return inside(at, &[name.to_owned()]).pop().filter(|path| self.has(path));
        }
        let lies_in = |folder: &String| format!("{folder}/{name}");
        let later = inside(at, &elf.runpath);
        let folders = if later.is_empty() { [own, &self.chain].concat() } else { later.clone() };
        let found = folders.iter().map(lies_in).find(|path| self.has(path))?;
        if !later.is_empty() {
            self.plan.overruled.push(format!("`{at}` finds `{name}` by RUNPATH"));
        }
        Some(found)
    }

    fn has(&self, path: &str) -> bool {
        fs::exists(&self.prefix.root.join(path))
    }

    fn take(&mut self, library: String, own: &[String]) -> Result<Vec<Reason>, Error> {
        if self.plan.files.contains_key(&library) {
            return Ok(Vec::new());
        }
        let source = fs::canonical(&self.prefix.root.join(&library))?;
        if !source.starts_with(&self.prefix.root) {
            return Ok(vec![format!("`{library}` leads to `{}`", source.display())]);
        }
        self.plan.files.insert(library.clone(), source.clone());
        match elf::read(&source)? {
            Some(elf) => self.needs(&library, &elf, own),
            None => Ok(Vec::new()),
        }
    }
}

fn from_origin(path: &str) -> bool {
    path.starts_with("$ORIGIN") || path.starts_with("${ORIGIN}")
}

/// Paths that begin with `$ORIGIN`, for a file, as paths below the prefix; those that leave it are not among them.
fn inside(at: &str, paths: &[String]) -> Vec<String> {
    let folder = Path::new(at).parent().unwrap_or(Path::new(""));
    let rest = |path: &str| path.strip_prefix("$ORIGIN").or(path.strip_prefix("${ORIGIN}")).map(str::to_owned);
    let full = paths.iter().filter_map(|path| Some(folder.join(rest(path)?.trim_start_matches('/'))));
    full.filter_map(|path| plain(&path)).collect()
}

/// A path without `..` in it; `None` when it leaves its start.
fn plain(path: &Path) -> Option<String> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_str()?),
            Component::ParentDir => _ = names.pop()?,
            _ => {}
        }
    }
    Some(names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_the_folder_of_the_file() {
        let paths = ["$ORIGIN/../lib", "${ORIGIN}", "$ORIGIN/../../..", "/usr/lib"].map(str::to_owned);
        assert_eq!(inside("bin/python3.11", &paths), ["lib", "bin"]);
        assert_eq!(
            inside("lib/python3.11/lib-dynload/x.so", &paths),
            ["lib/python3.11/lib", "lib/python3.11/lib-dynload", ""]
        );
        assert!(from_origin("$ORIGIN") && !from_origin("/lib") && !from_origin("lib") && !from_origin(""));
    }
}
