//! pylock.toml (PEP 751): the lock that every tool can write; uv.lock is read by way of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;
use url::Url;

use super::pin::{Pin, Source};
use super::{Ask, Error, Required, Scene, Wanted, Why, applies, index, normalise, toml_of};

/// The command that writes one.
const LOCK: &str = "uv export --format pylock.toml --output-file pylock.toml";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Lock {
    lock_version: String,
    requires_python: Option<String>,
    #[serde(default)]
    extras: Vec<String>,
    #[serde(default)]
    dependency_groups: Vec<String>,
    #[serde(default)]
    default_groups: Vec<String>,
    #[serde(default)]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Package {
    name: String,
    version: Option<String>,
    #[serde(default)]
    marker: String,
    index: Option<String>,
    vcs: Option<Vcs>,
    directory: Option<Directory>,
    archive: Option<File>,
    sdist: Option<File>,
    #[serde(default)]
    wheels: Vec<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    r#type: String,
    url: Option<String>,
    path: Option<String>,
    commit_id: String,
    #[serde(default)]
    subdirectory: String,
}

#[derive(Deserialize)]
struct Directory {
    path: String,
    #[serde(default)]
    editable: bool,
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

/// True for `pylock.toml` and `pylock.NAME.toml`.
pub(super) fn fits(name: &str) -> bool {
    name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml"))
}

/// Reads the lock.
pub(super) fn read(ask: &Ask<'_>) -> Result<Required, Error> {
    let mut required = of_text(&ask.text()?, &ask.beside(""), ask)?;
    required.indexes.extend(index::of_uv(ask)?);
    Ok(required)
}

/// Reads the text of one; paths in it are relative to `base`.
pub(super) fn of_text(text: &str, base: &Path, ask: &Ask<'_>) -> Result<Required, Error> {
    let head: toml::Table = toml_of(text, ask.file)?;
    let version = head.get("lock-version").and_then(toml::Value::as_str).unwrap_or("none");
    if version != "1" && !version.starts_with("1.") {
        let (file, found) = (ask.file.to_owned(), version.to_owned());
        return Err(Error::LockVersion { file, found, known: "1.0", command: LOCK });
    }
    let lock: Lock = toml_of(text, ask.file)?;
    lock.fits_python(ask)?;
    let scene = lock.scene(ask)?;
    let mut all = Required::new(ask.file);
    if lock.lock_version != "1.0" {
        all.notes
            .push(format!("`{}` is of version {}; what 1.0 does not know is passed over", ask.file, lock.lock_version));
    }
    let mut pins = Vec::new();
    for package in &lock.packages {
        let at = format!("{}: {}", ask.file, package.name);
        if applies(&package.marker, &scene, &at)? {
            pins.push(package.pin(base, ask, at)?);
        }
    }
    all.indexes = lock.indexes(base);
    all.wanted = Wanted::Pinned(pins);
    Ok(all)
}

impl Lock {
    fn fits_python(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let Some(wants) = &self.requires_python else { return Ok(()) };
        let specifiers = VersionSpecifiers::from_str(wants).ok();
        let fits =
            specifiers.zip(Version::from_str(&ask.python.version).ok()).is_none_or(|(all, one)| all.contains(&one));
        if fits {
            return Ok(());
        }
        let (file, python) = (ask.file.to_owned(), ask.python.version.clone());
        Err(Error::Python { file, wants: wants.clone(), python })
    }

    /// Groups that were chosen stand in the place of the lock's own default. uv writes neither list: then what it
    /// exported is what was chosen.
    fn scene(&self, ask: &Ask<'_>) -> Result<Scene, Error> {
        if ask.file.ends_with("uv.lock") {
            return Ok(ask.scene(&[]));
        }
        ask.all_known("extra", &ask.choice.extras, &self.extras)?;
        ask.all_known("group", &ask.choice.groups, &self.dependency_groups)?;
        Ok(ask.scene(if ask.choice.groups.is_empty() { &self.default_groups } else { &[] }))
    }

    fn indexes(&self, base: &Path) -> Vec<String> {
        let indexes = self.packages.iter().filter_map(|package| package.index.clone());
        let remote: BTreeSet<String> = indexes.filter(|url| !url.starts_with("file:")).collect();
        let files = self.packages.iter().flat_map(Package::files);
        let folders: BTreeSet<String> = files.filter_map(|file| file.folder(base)).collect();
        let folders = folders.into_iter().map(|folder| format!("--find-links {folder}"));
        index::of_sources(&remote).into_iter().chain(folders).collect()
    }
}

impl Package {
    fn files(&self) -> impl Iterator<Item = &File> {
        self.wheels.iter().chain(&self.sdist)
    }

    fn pin(&self, base: &Path, ask: &Ask<'_>, at: String) -> Result<Pin, Error> {
        let source = self.source(base, ask, &at)?;
        let chosen = match &self.archive {
            Some(archive) => vec![archive],
            None => self.files().collect(),
        };
        let hashes: Vec<String> = chosen.iter().filter_map(|file| file.sha256()).collect();
        if hashes.is_empty() && matches!(source, Source::Index | Source::Url(_)) {
            return Err(Error::Refused { at, text: self.name.clone(), why: Why::NoHash });
        }
        let files = chosen.iter().filter_map(|file| file.name()).collect();
        Ok(Pin { name: normalise(&self.name), version: self.version.clone(), hashes, files, source, at })
    }

    fn source(&self, base: &Path, ask: &Ask<'_>, at: &str) -> Result<Source, Error> {
        let refused = |text: &str, why| Error::Refused { at: at.to_owned(), text: text.to_owned(), why };
        if let Some(vcs) = &self.vcs {
            let url = vcs.url.as_ref().or(vcs.path.as_ref()).ok_or_else(|| refused(&self.name, Why::Nothing))?;
            let git = vcs.r#type == "git";
            return if git {
                Source::of_git(url, &vcs.commit_id, &vcs.subdirectory, at)
            } else {
                Err(refused(url, Why::OtherVcs))
            };
        }
        if let Some(directory) = &self.directory {
            let editable = directory.editable.then(|| refused(&directory.path, Why::Editable));
            return editable.map_or_else(|| Source::of_path(&directory.path, base, ask.project, at), Err);
        }
        match &self.archive {
            Some(File { path: Some(path), .. }) => Source::of_path(path, base, ask.project, at),
            Some(File { url: Some(url), .. }) if url.starts_with("file:") => {
                Source::of_path(url, base, ask.project, at)
            }
            Some(File { url: Some(url), .. }) => Ok(Source::Url(url.clone())),
            Some(_) => Err(refused(&self.name, Why::Nothing)),
            None => Ok(self.of_index(ask)),
        }
    }

    /// Without an index the lock's own address of the file that fits is all there is.
    fn of_index(&self, ask: &Ask<'_>) -> Source {
        let named: Vec<(String, &File)> = self.files().filter_map(|file| Some((file.name()?, file))).collect();
        let remote = |file: &File| file.url.clone().filter(|url| url.starts_with("http"));
        let best = || ask.platform.best(&named, |(name, _)| name).and_then(|(_, file)| remote(file));
        if self.index.is_some() { Source::Index } else { best().map_or(Source::Index, Source::Url) }
    }
}

impl File {
    fn sha256(&self) -> Option<String> {
        self.hashes.get("sha256").map(|hash| format!("sha256:{}", hash.to_ascii_lowercase()))
    }

    fn name(&self) -> Option<String> {
        let place = self.name.as_ref().or(self.path.as_ref()).or(self.url.as_ref())?;
        let last = place.split(['#', '?']).next()?.rsplit('/').next()?;
        Some(last.replace("%2B", "+").replace("%2b", "+"))
    }

    /// The local folder it lies in.
    fn folder(&self, base: &Path) -> Option<String> {
        let of_url = |url: &String| Url::parse(url).ok()?.to_file_path().ok();
        let path = self.path.as_ref().map(|path| base.join(path)).or_else(|| self.url.as_ref().and_then(of_url))?;
        Some(path.parent()?.to_string_lossy().into_owned())
    }
}
