//! Libraries that installed modules and programs load and that no wheel brought: the nodes must have them.
//!
//! What was built here from source finds this machine's libraries, and even wheels may count on some (`libstdc++`). A
//! node that lacks one would only notice at the first import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use super::{Error, Venv};
use crate::stages::elf::{self, Elf};

/// How many libraries are named.
const NAMED: usize = 10;

/// Each such library, and the first file that needs it.
pub fn libraries(venv: &Venv) -> Result<BTreeMap<String, String>, Error> {
    let mut files: Vec<(String, Elf)> = Vec::new();
    let mut brought = BTreeSet::new();
    for entry in
        [venv.site.as_str(), "bin"].iter().flat_map(|top| WalkDir::new(venv.root.join(top)).sort_by_file_name())
    {
        let entry = entry.map_err(Error::Walk)?;
        // What looks like a library and is none is not for the loader to find.
        if let Some(Ok(Some(elf))) = is_library(&entry).then(|| elf::read(entry.path())) {
            brought.insert(entry.file_name().to_string_lossy().into_owned());
            files.push((below(venv, entry.path()), elf));
        }
    }
    let needs = files.iter().flat_map(|(file, elf)| elf.needed.iter().map(move |name| (name, file)));
    let outside = needs.filter(|(name, _)| !elf::is_libc(name) && !brought.contains(last(name)));
    // Collected from the end, so that of several files the first one stays.
    let outside: Vec<_> = outside.collect();
    Ok(outside.into_iter().rev().map(|(name, file)| (name.clone(), file.clone())).collect())
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

/// Its path below site-packages, or below the environment.
fn below(venv: &Venv, path: &Path) -> String {
    let path = path.strip_prefix(&venv.root).unwrap_or(path);
    path.strip_prefix(&venv.site).unwrap_or(path).display().to_string()
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
        let found = libraries(&venv).unwrap();
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), foreign);
        assert!(found.values().all(|file| file == "pkg/_module.so"));
        // A program counts as a module does (uwsgi is one), a script does not.
        std::fs::write(dir.path().join("bin/script"), "#!/bin/sh\n").unwrap();
        std::fs::rename(&module, dir.path().join("bin/server")).unwrap();
        assert!(libraries(&venv).unwrap().values().all(|file| file == "bin/server"));
        assert_eq!(libraries(&venv).unwrap().len(), foreign.len());
        std::fs::rename(dir.path().join("bin/server"), &module).unwrap();
        for name in &foreign {
            std::fs::copy(&module, dir.path().join("lib").join(name)).unwrap();
        }
        assert_eq!(libraries(&venv).unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_person_is_told_which_and_for_what() {
        let one = BTreeMap::from([("libpq.so.5".to_owned(), "psycopg2/_psycopg.so".to_owned())]);
        insta::assert_snapshot!(told(&one).unwrap(), @"the nodes must have `libpq.so.5` (for psycopg2/_psycopg.so): no wheel brings it");
        assert_eq!(told(&BTreeMap::new()), None);
    }
}
