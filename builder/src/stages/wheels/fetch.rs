//! Fetching: pip brings the files that the pins name, and each is hashed here once more before it is used.
//!
//! What is fetched is either a wheel, which goes into the release as it is, or a source archive, which is built.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pannier_shared::digest::{self, Digest};
use pannier_shared::sys::{fs, process};

use super::built::Yard;
use super::{Error, blame, no_wheel};
use crate::stages::requirements::{Pin, Source};
use crate::stages::target::Cross;

/// Fetching everything over a slow line.
const LIMIT: Duration = Duration::from_secs(3600);

/// A file whose bytes are those that the lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Digest,
    /// The pin that it is for: its place in the list.
    pub pin: usize,
}

impl Fetched {
    /// True when it can be installed as it is.
    pub fn is_wheel(&self) -> bool {
        self.path.extension().is_some_and(|end| end == "whl")
    }
}

/// Fetches every pin at `which`; `file` names the lock.
pub fn all(pins: &[Pin], which: &[usize], file: &str, yard: &Yard<'_>) -> Result<Vec<Fetched>, Error> {
    let folder = &yard.work.join("fetched");
    fs::create_dir_all(folder)?;
    let (local, remote): (Vec<usize>, Vec<usize>) =
        which.iter().partition(|at| matches!(pins[**at].source, Source::File(_)));
    let remote_pins: Vec<&Pin> = remote.iter().map(|at| &pins[*at]).collect();
    download(&remote_pins, folder, file, yard)?;
    let mut found = Vec::new();
    for name in fs::list(folder)? {
        found.push(checked(folder.join(name), pins, &remote)?);
    }
    for at in local {
        if let Source::File(path) = &pins[at].source {
            found.push(checked(path.clone(), pins, &[at])?);
        }
    }
    complete(&found, pins, which)?;
    Ok(found)
}

fn download(pins: &[&Pin], folder: &Path, file: &str, yard: &Yard<'_>) -> Result<(), Error> {
    if pins.is_empty() {
        return Ok(());
    }
    let mut pip = pip_download(pins, folder, yard)?;
    match process::run(&mut pip, LIMIT).map_err(|source| blame::of_download(source, file)) {
        Ok(_) => Ok(()),
        Err(Error::NotFound { what, file, others }) => {
            let files = unfit(&what, pins, folder, yard)?;
            if files.is_empty() {
                return Err(Error::NotFound { what, file, others });
            }
            Err(no_wheel(file, what, files, yard.python, yard.platform))
        }
        Err(error) => Err(error),
    }
}

fn pip_download(pins: &[&Pin], folder: &Path, yard: &Yard<'_>) -> Result<Command, Error> {
    let list = folder.with_extension("txt");
    let lines: Vec<String> = yard.indexes.iter().cloned().chain(pins.iter().map(|pin| line(pin))).collect();
    fs::write(&list, (lines.join("\n") + "\n").as_bytes())?;
    let mut pip = yard.tools.pip();
    pip.args(["download", "--progress-bar", "off", "--no-deps", "--require-hashes", "--dest"]).arg(folder);
    for platform in yard.platform.elsewhere.iter().flat_map(Cross::platforms) {
        pip.args(["--platform", &platform]);
    }
    pip.arg("--requirement").arg(&list);
    Ok(pip)
}

/// The wheels that there are of a requirement which pip has no file of: those that it passed over for their tags.
fn unfit(what: &str, pins: &[&Pin], folder: &Path, yard: &Yard<'_>) -> Result<Vec<String>, Error> {
    let begins = |pin: &&&Pin| line(pin).split(" --hash").next() == Some(what);
    let Some(pin) = pins.iter().find(begins) else { return Ok(Vec::new()) };
    let mut pip = pip_download(&[pin], folder, yard)?;
    let said = process::run(pip.arg("-vv"), LIMIT);
    Ok(said.err().map(|error| blame::passed_over(&error, pin)).unwrap_or_default())
}

/// A line for pip: only these bytes.
fn line(pin: &Pin) -> String {
    let what = match (&pin.source, &pin.version) {
        (Source::Url(url), _) => format!("{} @ {url}", pin.name),
        (_, Some(version)) => format!("{}=={version}", pin.name),
        (_, None) => pin.name.clone(),
    };
    pin.hashes.iter().fold(what, |line, hash| format!("{line} --hash={hash}"))
}

/// Finds the pin that a file is for, by its digest alone.
fn checked(path: PathBuf, pins: &[Pin], among: &[usize]) -> Result<Fetched, Error> {
    let (sha256, _) = digest::of_reader(fs::open(&path)?).map_err(fs::failed("read", &path))?;
    let written = format!("sha256:{sha256}");
    // A file of the project that the list gives no digest of is held by the commit.
    let may_be =
        |pin: &Pin| pin.hashes.contains(&written) || (pin.hashes.is_empty() && matches!(pin.source, Source::File(_)));
    let file = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match among.iter().find(|at| may_be(&pins[**at])) {
        Some(at) => Ok(Fetched { path, sha256, pin: *at }),
        None => Err(Error::Mismatch { what: file(), expected: hashes(pins, among), found: sha256.to_string() }),
    }
}

/// The expected digests, where there is one pin only; else there are too many to show.
fn hashes(pins: &[Pin], among: &[usize]) -> Vec<String> {
    let only = if let [at] = among { pins[*at].hashes.as_slice() } else { &[] };
    only.iter().map(|hash| hash.trim_start_matches("sha256:").to_owned()).collect()
}

/// Every pin has its file.
fn complete(found: &[Fetched], pins: &[Pin], which: &[usize]) -> Result<(), Error> {
    let by_pin: BTreeMap<usize, &Fetched> = found.iter().map(|one| (one.pin, one)).collect();
    match which.iter().find(|at| !by_pin.contains_key(at)) {
        Some(at) => Err(Error::NotGiven { what: pins[*at].title(), at: pins[*at].at.clone() }),
        None => Ok(()),
    }
}
