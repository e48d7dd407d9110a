//! Libraries that installed modules and programs load and that no wheel brought: the nodes must have them.
//!
//! What was built here from source finds this machine's libraries, and even wheels may count on some (`libstdc++`). A
//! node that lacks one would only notice at the first import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::{Error, Venv};
use crate::stages::elf::{self, Elf};

/// A program or library of the environment: its path below it, and what it asks of the loader.
pub type Object = (String, Elf);

/// How many libraries are named.
const NAMED: usize = 10;

/// Every program and library of the environment.
pub fn objects(venv: &Venv) -> Result<Vec<Object>, Error> {
    let mut files = Vec::new();
    for entry in
        [venv.site.as_str(), "bin"].iter().flat_map(|top| WalkDir::new(venv.root.join(top)).sort_by_file_name())
    {
        let entry = entry.map_err(Error::Walk)?;
        // What looks like a library and is none is not for the loader to find.
        if let Some(Ok(Some(elf))) = is_library(&entry).then(|| elf::read(entry.path())) {
            files.push((entry.path().strip_prefix(&venv.root).unwrap_or(entry.path()).display().to_string(), elf));
        }
    }
    Ok(files)
}

/// Each library that is needed and not among the objects, and the first of them that needs it: its path below
/// site-packages, or below the environment.
pub fn libraries(objects: &[Object], site: &str) -> BTreeMap<String, String> {
    let brought: BTreeSet<&str> = objects.iter().map(|(file, _)| last(file)).collect();
    let needs = objects.iter().flat_map(|(file, elf)| elf.needed.iter().map(move |name| (name, file)));
    let outside = needs.filter(|(name, _)| !elf::is_libc(name) && !brought.contains(last(name)));
    // Collected from the end, so that of several files the first one stays.
    let outside: Vec<_> = outside.collect();
    outside.into_iter().rev().map(|(name, file)| (name.clone(), below(file, site))).collect()
}

/// One line for a person; nothing where nothing is needed.
pub fn told(libraries: &BTreeMap<String, String>) -> Option<String> {
    let named = libraries.iter().take(NAMED).map(|(name, file)| format!("`{name}` (for {file})"));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if libraries.len() > NAMED { ", ..." } else { "" };
    (!libraries.is_empty()).then(|| format!("the nodes must have {named}{more}: no wheel brings it"))
}

fn is_library(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let of_bin = entry.path().parent().is_some_and(|folder| folder.ends_with("bin"));
    entry.file_type().is_file() && (of_bin || name.ends_with(".so") || name.contains(".so."))
}

fn below(file: &str, site: &str) -> String {
    Path::new(file).strip_prefix(site).unwrap_or(Path::new(file)).display().to_string()
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their files with std")]
mod tests {
    use super::*;
    use crate::stages::venv::Link;

    #[test]
    fn this_test_as_a_module_needs_what_it_needs_unless_it_is_brought() {
        let dir = tempfile::tempdir().unwrap();
        let venv = Venv { root: dir.path().to_owned(), site: "lib".to_owned(), link: Link::Node };
        std::fs::create_dir_all(dir.path().join("lib/pkg")).unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("lib/pkg/text.so"), "INPUT(libz.so)").unwrap();
        let module = dir.path().join("lib/pkg/_module.so");
        std::fs::copy(std::env::current_exe().unwrap(), &module).unwrap();
        let needed = elf::read(&module).unwrap().unwrap().needed;
        let foreign: BTreeSet<String> = needed.into_iter().filter(|name| !elf::is_libc(name)).collect();
        let libraries = |venv: &Venv| libraries(&objects(venv).unwrap(), &venv.site);
        let found = libraries(&venv);
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), foreign);
        assert!(found.values().all(|file| file == "pkg/_module.so"));
        // A program counts as a module does (uwsgi is one), a script does not.
        std::fs::write(dir.path().join("bin/script"), "#!/bin/sh\n").unwrap();
        std::fs::rename(&module, dir.path().join("bin/server")).unwrap();
        assert!(libraries(&venv).values().all(|file| file == "bin/server"));
        assert_eq!(libraries(&venv).len(), foreign.len());
        std::fs::rename(dir.path().join("bin/server"), &module).unwrap();
        for name in &foreign {
            std::fs::copy(&module, dir.path().join("lib").join(name)).unwrap();
        }
        assert_eq!(libraries(&venv), BTreeMap::new());
    }

    #[test]
    fn a_person_is_told_which_and_for_what() {
        let one = BTreeMap::from([("libpq.so.5".to_owned(), "psycopg2/_psycopg.so".to_owned())]);
        insta::assert_snapshot!(told(&one).unwrap(), @"the nodes must have `libpq.so.5` (for psycopg2/_psycopg.so): no wheel brings it");
        assert_eq!(told(&BTreeMap::new()), None);
    }
}
