//! Wheels: every dependency as a file, and a list of what lies there by SHA-256.
//!
//! 1. [`lock`]: the requirements with hashes, as they are, or resolved now by uv.
//! 2. [`fill`]: pip fetches what the list names, checked against its hashes, and builds a wheel where there is only
//!    source. A built wheel never has the list's hash and may hold its build folder, so it is built once and kept in the
//!    cache under the requirement's own hashes.
//! 3. [`measure`]: a second list with the hashes of what lies in the folder; only that one is installed from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pannier_shared::digest::{self, Digest};
use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};

use super::interpreter::Interpreter;
use super::requirements::{self, Requirement, Requirements};
use super::tools::Tools;

mod index;
mod name;

pub use name::{Glibc, WheelName};

/// Resolving: some hundred requests to an index that may be slow.
const RESOLVE: Duration = Duration::from_secs(900);

/// Fetching everything and compiling what is only there as source.
const FETCH: Duration = Duration::from_secs(3600);

/// A list that uv prints; see the limit of requirement files.
const LIST_LIMIT: u64 = 4 * 1024 * 1024;

/// The folders of this stage.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// Where the wheels go: `wheels/` of the tree.
    pub wheels: &'a Path,
    /// For lists and other passing files.
    pub work: &'a Path,
}

/// The dependencies, as files.
#[derive(Debug, Clone)]
pub struct Vendored {
    /// Sorted by name.
    pub wheels: Vec<Wheel>,
    /// The list to install from.
    pub list: PathBuf,
    /// The list that uv resolved, when the project had none with hashes: worth keeping.
    pub resolved: Option<PathBuf>,
}

/// One vendored wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wheel {
    /// What its file name says.
    pub name: WheelName,
    /// Its file name.
    pub file: String,
    /// Its digest.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Dependencies that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The requirements cannot be read.
    #[error(transparent)]
    Requirements(#[from] requirements::Error),
    /// No set of versions fits.
    #[error("the requirements in `{file}` do not resolve for Python {python}")]
    Unresolved {
        /// The file.
        file: String,
        /// The version they were resolved for.
        python: String,
        /// uv's own words.
        source: process::Error,
    },
    /// pip could not fetch or build them.
    #[error("failed to fetch the wheels of `{file}`")]
    Fetch {
        /// The file.
        file: String,
        /// pip's own words.
        source: process::Error,
    },
    /// Two wheels of one project.
    #[error("the requirements ask for two versions of `{name}`: `{first}` and `{second}`")]
    Twice {
        /// The project.
        name: String,
        /// One wheel.
        first: String,
        /// The other.
        second: String,
    },
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Requirements(error) => error.hint(),
            Self::Unresolved { .. } => {
                Some("change the requirements, or build with another interpreter: `--python 3.X`".to_owned())
            }
            Self::Fetch { source, .. } if source.to_string().contains("DO NOT MATCH THE HASHES") => Some(
                "find out why the package index gives other bytes; if the hashes are what is wrong, write the list anew, \
                 for example with `uv pip compile --generate-hashes`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Fills `folders.wheels` with what the project requires.
pub fn vendor(
    required: &Requirements,
    folders: Folders<'_>,
    python: &Interpreter,
    tools: &Tools,
    sink: &dyn Sink,
) -> Result<Vendored, Error> {
    for line in &required.dropped {
        sink.emit(Event::Note { text: format!("not followed, the index is the build machine's: {line}") });
    }
    let resolved = if required.are_locked() { None } else { Some(lock(required, folders.work, python, tools, sink)?) };
    let locked = match &resolved {
        Some(path) => Requirements::of_text(&fs::read_text(path, LIST_LIMIT)?, &required.file)?.list,
        None => required.list.clone(),
    };
    fs::create_dir_all(folders.wheels)?;
    fill(&locked, &required.file, folders, tools)?;
    let wheels = measure(folders.wheels)?;
    keep_built(&locked, &wheels, folders.wheels, &tools.built, sink)?;
    let list = folders.work.join("wheels.txt");
    fs::write(&list, second_list(&wheels).as_bytes())?;
    Ok(Vendored { wheels, list, resolved })
}

/// Lets uv choose versions; gives the path of the list with hashes.
fn lock(
    required: &Requirements,
    work: &Path,
    python: &Interpreter,
    tools: &Tools,
    sink: &dyn Sink,
) -> Result<PathBuf, Error> {
    let (wanted, limits) = (work.join("wanted.in"), work.join("limits.in"));
    let path = work.join("requirements.lock");
    fs::write(&wanted, requirements::print(&required.list).as_bytes())?;
    fs::write(&limits, requirements::print(&required.constraints).as_bytes())?;
    let mut uv = index::uv_as_pip(tools);
    uv.args(["--quiet", "--generate-hashes", "--no-header", "--no-annotate"]);
    uv.arg("--python").arg(&python.executable).arg("--constraints").arg(&limits);
    uv.arg("--output-file").arg(&path).arg(&wanted);
    let failed = |source| Error::Unresolved { file: required.file.clone(), python: python.version.clone(), source };
    process::run(&mut uv, RESOLVE).map_err(failed)?;
    let text = format!(
        "`{}` has no hashes: resolved now, another day may give other versions; the statement says what was chosen, and \
         `requirements.lock` beside the artifact can take its place",
        required.file
    );
    sink.emit(Event::Warning { text });
    Ok(path)
}

/// Has pip fetch everything on the list, less what was built before.
fn fill(locked: &[Requirement], file: &str, folders: Folders<'_>, tools: &Tools) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for one in locked {
        if !take_built(one, &tools.built, folders.wheels)? {
            wanted.push(one);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let list = folders.work.join("wanted.txt");
    fs::write(&list, requirements::print(wanted.iter().copied()).as_bytes())?;
    let mut pip = tools.pip();
    pip.args(["wheel", "--quiet", "--no-deps", "--require-hashes", "--wheel-dir"]).arg(folders.wheels);
    pip.arg("--requirement").arg(&list);
    fetch(&mut pip, file)
}

fn fetch(pip: &mut Command, file: &str) -> Result<(), Error> {
    let failed = |source| Error::Fetch { file: file.to_owned(), source };
    process::run(pip, FETCH).map(|_| ()).map_err(failed)
}

/// The cache's folder for what is built from a requirement: its version and every hash it may have.
fn built_folder(one: &Requirement, built: &Path) -> PathBuf {
    let hashes: BTreeSet<&String> = one.hashes.iter().collect();
    built.join(Digest::of(format!("{} {hashes:?}", one.text).as_bytes()).to_string())
}

fn take_built(one: &Requirement, built: &Path, wheels: &Path) -> Result<bool, fs::Error> {
    let folder = built_folder(one, built);
    if !fs::exists(&folder) {
        return Ok(false);
    }
    for (file, _) in name::list(&folder)? {
        fs::copy(&folder.join(&file), &wheels.join(&file))?;
    }
    Ok(true)
}

/// Puts what pip built, known by a digest that is not on the list, into the cache.
fn keep_built(
    locked: &[Requirement],
    wheels: &[Wheel],
    folder: &Path,
    built: &Path,
    sink: &dyn Sink,
) -> Result<(), fs::Error> {
    for wheel in wheels {
        let Some(one) = locked.iter().find(|one| one.name == wheel.name.name) else { continue };
        let by_sha256 = one.hashes.iter().any(|hash| hash.starts_with("sha256:"));
        if !by_sha256 || one.hashes.contains(&format!("sha256:{}", wheel.sha256)) {
            continue;
        }
        sink.emit(Event::Note { text: format!("{} {} was built from source", wheel.name.name, wheel.name.version) });
        let kept = built_folder(one, built);
        if !fs::exists(&kept) {
            let making = built.join(format!(".making-{}", fs::random_name()));
            fs::create_dir_all(&making)?;
            fs::copy(&folder.join(&wheel.file), &making.join(&wheel.file))?;
            fs::rename(&making, &kept)?;
        }
    }
    Ok(())
}

/// Hashes every wheel in the folder; two of one project are refused.
fn measure(folder: &Path) -> Result<Vec<Wheel>, Error> {
    let mut wheels: BTreeMap<String, Wheel> = BTreeMap::new();
    for (file, name) in name::list(folder)? {
        let path = folder.join(&file);
        fs::set_mode(&path, 0o644)?;
        let (sha256, size) = digest::of_reader(fs::open(&path)?).map_err(fs::failed("read", &path))?;
        let project = name.name.clone();
        if let Some(other) = wheels.insert(project.clone(), Wheel { name, file: file.clone(), sha256, size }) {
            return Err(Error::Twice { name: project, first: other.file, second: file });
        }
    }
    Ok(wheels.into_values().collect())
}

fn second_list(wheels: &[Wheel]) -> String {
    let line = |wheel: &Wheel| format!("{}=={} --hash=sha256:{}\n", wheel.name.name, wheel.name.version, wheel.sha256);
    wheels.iter().map(line).collect()
}

/// The oldest glibc that all wheels run on; `here` is the build machine's.
pub fn libc_floor(wheels: &[Wheel], here: Option<&str>) -> Option<Glibc> {
    let here = here.and_then(Glibc::parse);
    wheels.iter().filter_map(|wheel| wheel.name.glibc(here)).max()
}
