//! Pipfile.lock: Pipenv's lock. Its categories are this program's groups; `default` is the production set.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::pin::{self, Pin, Source};
use super::{Ask, Error, Required, Scene, Wanted, Why, applies, index, lock_hash, normalise, toml_of};

/// The command that writes the lock.
const LOCK: &str = "pipenv lock";

/// The form of Pipfile.lock that there has been since 2017.
const SPEC: u64 = 6;

/// Pipenv's name of the production set.
const DEFAULT: &str = "default";

#[derive(Deserialize)]
struct Lock {
    #[serde(rename = "_meta")]
    meta: Meta,
    #[serde(flatten)]
    categories: BTreeMap<String, BTreeMap<String, Package>>,
}

#[derive(Deserialize)]
struct Meta {
    hash: Hash,
    #[serde(default)]
    sources: Vec<Place>,
}

#[derive(Deserialize)]
struct Hash {
    sha256: String,
}

#[derive(Deserialize)]
struct Place {
    url: String,
    #[serde(default = "yes")]
    verify_ssl: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Package {
    #[serde(default)]
    version: String,
    #[serde(default)]
    hashes: Vec<String>,
    #[serde(default)]
    markers: String,
    #[serde(default)]
    editable: bool,
    path: Option<String>,
    file: Option<String>,
    git: Option<String>,
    #[serde(default, rename = "ref")]
    commit: String,
    #[serde(default)]
    subdirectory: String,
}

/// Reads the lock.
pub(super) fn read(ask: &Ask<'_>) -> Result<Required, Error> {
    let text = ask.text()?;
    known_version(&text, ask)?;
    let lock: Lock = serde_json::from_str(&text).map_err(|source| invalid(ask, source))?;
    fits_project(&lock, ask)?;
    let known: Vec<String> = lock.categories.keys().filter(|name| *name != DEFAULT).cloned().collect();
    ask.all_known("group", &ask.choice.groups, &known)?;
    ask.all_known("extra", &ask.choice.extras, &[])?;
    let scene = ask.scene(&[DEFAULT.to_owned()]);
    let mut required = Required::new(ask.file);
    required.indexes = indexes(&lock.meta, ask)?;
    required.wanted = Wanted::Pinned(pins(&lock, &scene, ask)?);
    Ok(required)
}

fn invalid(ask: &Ask<'_>, source: serde_json::Error) -> Error {
    Error::Json { file: ask.file.to_owned(), source }
}

fn known_version(text: &str, ask: &Ask<'_>) -> Result<(), Error> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|source| invalid(ask, source))?;
    let spec = &value["_meta"]["pipfile-spec"];
    if spec.as_u64() == Some(SPEC) {
        return Ok(());
    }
    let found = if spec.is_null() { "none".to_owned() } else { spec.to_string() };
    Err(Error::LockVersion { file: ask.file.to_owned(), found, known: "6", command: LOCK })
}

fn fits_project(lock: &Lock, ask: &Ask<'_>) -> Result<(), Error> {
    let project = ask.name_beside("Pipfile");
    let Some(text) = ask.text_beside("Pipfile")? else {
        return Err(Error::NotThere { at: ask.file.to_owned(), file: project });
    };
    if lock_hash::of_pipfile(&toml_of(&text, &project)?) == lock.meta.hash.sha256 {
        return Ok(());
    }
    Err(Error::Stale { file: ask.file.to_owned(), project, command: LOCK, source: None })
}

fn indexes(meta: &Meta, ask: &Ask<'_>) -> Result<Vec<String>, Error> {
    let mut urls = BTreeSet::new();
    let mut trusted = BTreeSet::new();
    for place in &meta.sources {
        let url = index::with_variables(&place.url, ask.file, ask.tools)?;
        trusted.extend((!place.verify_ssl).then(|| index::trusted(&url)).flatten());
        urls.insert(url);
    }
    Ok(index::of_sources(&urls).into_iter().chain(trusted).collect())
}

/// A package that stands in two categories stands there twice with the same version.
fn pins(lock: &Lock, scene: &Scene, ask: &Ask<'_>) -> Result<Vec<Pin>, Error> {
    let mut pins: BTreeMap<&str, Pin> = BTreeMap::new();
    for (_, packages) in lock.categories.iter().filter(|(name, _)| scene.groups.contains(&normalise(name))) {
        for (name, package) in packages {
            let at = format!("{}: {name}", ask.file);
            if applies(&package.markers, scene, &at)? {
                pins.insert(name, package.pin(name, at, ask)?);
            }
        }
    }
    Ok(pins.into_values().collect())
}

impl Package {
    fn pin(&self, name: &str, at: String, ask: &Ask<'_>) -> Result<Pin, Error> {
        let source = self.source(name, ask, &at)?;
        let refused = |why| Error::Refused { at: at.clone(), text: name.to_owned(), why };
        let hashes = pin::sha256s(&self.hashes);
        if hashes.is_empty() && matches!(source, Source::Index | Source::Url(_)) {
            return Err(refused(Why::NoHash));
        }
        let version = self.version.strip_prefix("==").map(|version| version.trim_start_matches('=').to_owned());
        if source == Source::Index && version.is_none() {
            return Err(refused(Why::Range));
        }
        Ok(Pin { name: normalise(name), version, hashes, files: Vec::new(), source, at })
    }

    fn source(&self, name: &str, ask: &Ask<'_>, at: &str) -> Result<Source, Error> {
        if self.editable {
            return Err(Error::Refused { at: at.to_owned(), text: name.to_owned(), why: Why::Editable });
        }
        if let Some(url) = &self.git {
            return Source::of_git(url, &self.commit, &self.subdirectory, at);
        }
        match self.path.as_ref().or(self.file.as_ref()) {
            None => Ok(Source::Index),
            Some(url) if url.starts_with("http") => Ok(Source::Url(url.clone())),
            Some(path) => Source::of_path(path, &ask.beside(""), ask.project, at),
        }
    }
}
