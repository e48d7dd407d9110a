//! Which static files of a release have names that hold their content's hash: what the storage's manifest says, and never
//! what a name looks like.
//!
//! The manifest is a file of the release like any other, so it is what was signed, and what the app itself goes by. What is
//! hashed by another tool alone (a bundler's chunks) is not in it as a value, and counts as plain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

pub(super) use pannier_shared::static_names::FOLDER;
use pannier_shared::static_names::{LIMIT, Manifest};
use pannier_shared::sys::fs;

use super::Error;
use crate::described::described;

/// What the builder, the storage or WhiteNoise put beside a file: the same content, compressed.
const TWINS: [&str; 3] = [".gz", ".br", ".zst"];

/// The hashed static files of a release.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hashed {
    /// There are none, and why.
    None(&'static str),
    /// These, ordered by their names.
    Files(Vec<Family>),
}

/// A file and its compressed twins: one content, so that they are led to one release.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The file's name below `static/`.
    pub(super) name: String,
    /// The twins' names.
    pub(super) twins: Vec<String>,
}

impl Family {
    /// All its names, the file's own first.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.twins).map(String::as_str)
    }

    /// Every name that a twin of a file can have.
    pub(super) fn possible_twins(name: &str) -> impl Iterator<Item = String> {
        TWINS.map(|ending| format!("{name}{ending}")).into_iter()
    }
}

/// Those of the release in `tree`.
pub(super) fn of(tree: &Path) -> Result<Hashed, Error> {
    let Some(said) = described(tree)? else {
        return Ok(Hashed::None("it does not say how its static files are named"));
    };
    if !said.django.static_hashed {
        return Ok(Hashed::None("its static files have plain names"));
    }
    let folder = tree.join(FOLDER);
    let path = folder.join(&said.django.static_manifest);
    let bytes = if is_below(&said.django.static_manifest) { fs::if_there(fs::read(&path, LIMIT))? } else { None };
    let Some(bytes) = bytes else {
        return Ok(Hashed::None("it holds no manifest of static files"));
    };
    let manifest = Manifest::parse(&bytes).map_err(|source| Error::Manifest { path, source })?;
    let names = manifest.hashed().into_iter().filter(|name| is_below(name)).collect();
    Ok(Hashed::Files(present(&folder, names)?))
}

fn is_below(name: &str) -> bool {
    let path = Path::new(name);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // Components do not tell `a//b` and `a/./b` from `a/b`.
    is_plain && !name.is_empty() && path.components().collect::<PathBuf>().as_os_str().len() == name.len()
}

/// Those of the files that are there, with the twins that are. Each folder is listed once, which is cheaper than a look for each.
fn present(folder: &Path, names: BTreeSet<&str>) -> fs::Result<Vec<Family>> {
    let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in names {
        folders.entry(name.rsplit_once('/').map_or("", |(above, _)| above)).or_default().push(name);
    }
    let mut families = Vec::new();
    for (above, names) in folders {
        let listed = fs::if_there(fs::list(&folder.join(above)))?.unwrap_or_default();
        let is_there = |name: &str| {
            let last = name.rsplit('/').next().unwrap_or(name);
            listed.binary_search_by(|found| found.as_os_str().cmp(last.as_ref())).is_ok()
        };
        let there = names.into_iter().filter(|name| is_there(name));
        let twins = |name: &str| Family::possible_twins(name).filter(|twin| is_there(twin)).collect();
        families.extend(there.map(|name| Family { name: name.to_owned(), twins: twins(name) }));
    }
    families.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(families)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, v};

    fn hashed(files: &[(&str, &str)]) -> Result<Hashed, Error> {
        let fixture = Fixture::with(&["v1"]);
        fixture.lay_static("v1", files);
        of(&fixture.root().release(&v("v1")))
    }

    fn manifest(paths: &str) -> String {
        format!("{{\"paths\": {{{paths}}}, \"version\": \"1.1\", \"hash\": \"3f\"}}")
    }

    #[test]
    fn the_manifest_says_which_they_are_and_the_disk_which_twins_they_have() {
        let text =
            manifest(r#""a.css": "a.0f.css", "b/c.js": "b/c.1f.js", "gone.js": "gone.2f.js", "plain.js": "plain.js""#);
        let found = hashed(&[
            ("staticfiles.json", &text),
            ("a.css", "a"),
            ("a.0f.css", "a"),
            ("a.0f.css.gz", "a"),
            ("a.0f.css.map", "not a twin"),
            ("b/c.1f.js", "c"),
            ("b/c.1f.js.zst", "c"),
            ("b/chunk-4f2a1c.js", "not in the manifest"),
            ("plain.js", "p"),
        ]);
        let Hashed::Files(families) = found.unwrap() else { panic!() };
        let names: Vec<&str> = families.iter().flat_map(Family::names).collect();
        assert_eq!(names, ["a.0f.css", "a.0f.css.gz", "b/c.1f.js", "b/c.1f.js.zst"]);
    }

    #[test]
    fn a_name_that_is_a_plain_one_or_leads_out_is_none() {
        for name in ["b.js", "../a", "/etc/passwd", "", "a//b", "a/./b", "a/"] {
            let text = manifest(&format!("\"a.js\": {name:?}, \"b.js\": \"b.1f.js\""));
            assert_eq!(
                hashed(&[("staticfiles.json", &text), ("b.js", "")]).unwrap(),
                Hashed::Files(Vec::new()),
                "{name}"
            );
        }
    }

    #[test]
    fn without_a_manifest_there_are_none_and_it_is_said_why() {
        let why = |fixture: &Fixture| format!("{:?}", of(&fixture.root().release(&v("v1"))).unwrap());
        let fixture = Fixture::with(&["v1"]);
        insta::assert_snapshot!(why(&fixture), @r#"None("it does not say how its static files are named")"#);
        fixture.lay_static("v1", &[("a.css", "a")]);
        insta::assert_snapshot!(why(&fixture), @r#"None("it holds no manifest of static files")"#);
        fixture.describe("v1", |said| said.django.static_hashed = false);
        insta::assert_snapshot!(why(&fixture), @r#"None("its static files have plain names")"#);
    }

    #[test]
    fn a_manifest_of_another_name_is_found_and_one_that_is_none_is_named() {
        let fixture = Fixture::with(&["v1"]);
        fixture.lay_static("v1", &[("names.json", &manifest(r#""a.js": "a.1f.js""#)), ("a.1f.js", "")]);
        fixture.describe("v1", |said| said.django.static_manifest = "names.json".into());
        let found = of(&fixture.root().release(&v("v1"))).unwrap();
        assert!(matches!(&found, Hashed::Files(families) if families.len() == 1), "{found:?}");
        let error = hashed(&[("staticfiles.json", "[]")]).unwrap_err().to_string();
        assert!(
            error.ends_with("/releases/v1/static/staticfiles.json` is not the manifest of a static files storage"),
            "{error}"
        );
    }
}
