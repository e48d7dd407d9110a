//! Wheels: every dependency as a file, and a list of what lies there by SHA-256.
//!
//! 1. [`resolve`]: a list without hashes becomes a lock.
//! 2. [`fetch`]: pip brings what the lock names; every file is hashed here before it is used.
//! 3. [`built`]: where there is only source, a wheel is built once and kept.
//! 4. [`measure`]: a second list with the hashes of what lies in the folder; only that one is installed from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pannier_shared::digest::{self, Digest};
use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};

use super::interpreter::Interpreter;
use super::platform::{self, Platform};
use super::requirements::{self, Pin, Required, Source, Wanted};
use super::target::Cross;
use super::tools::Tools;

mod blame;
mod built;
mod by_pip;
mod fetch;
mod folder;
mod index;
mod name;
mod resolve;

use built::{Build, Yard};
use fetch::Fetched;
pub use name::{LibcVersion, WheelName};

/// The folders of this stage.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The project, absolute.
    pub project: &'a Path,
    /// Where the wheels go: `wheels/` of the tree.
    pub wheels: &'a Path,
    /// For lists and other passing files.
    pub work: &'a Path,
    /// A list of versions that resolving must keep to.
    pub held: Option<&'a Path>,
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

impl Vendored {
    /// The versions alone, as a list of requirements.
    pub fn versions(&self) -> String {
        self.wheels.iter().map(|wheel| format!("{}=={}\n", wheel.name.name, wheel.name.version)).collect()
    }
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
    /// The interpreter does not say which wheels it can use.
    #[error(transparent)]
    Platform(#[from] platform::Error),
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
    /// What pip would install cannot be read.
    #[error("pip did not say what it chose as it should")]
    Report(#[source] serde_json::Error),
    /// There is no file that the interpreter can use.
    #[error("{at}: {what} has no wheel for {interpreter} and no source archive; it has {}{}", shown(.files), wanted(.elsewhere))]
    NoWheel {
        /// Where it stands.
        at: String,
        /// Name and version.
        what: String,
        /// The interpreter: "Python 3.11 on x86_64-linux-gnu".
        interpreter: String,
        /// The wheels there are.
        files: Vec<String>,
        /// The other kind of machine that it is for, if it is.
        elsewhere: Option<Box<Cross>>,
    },
    /// What was built from source here does not run on the machine that the release is for.
    #[error("{at}: {what} is there as source only, and what it builds here is `{file}`, which does not run on {}{}", .elsewhere.target, wanted(&Some(.elsewhere.clone())))]
    NotPortable {
        /// Where it stands.
        at: String,
        /// Name and version.
        what: String,
        /// The wheel.
        file: String,
        /// The other kind of machine.
        elsewhere: Box<Cross>,
    },
    /// The index has no file that fits.
    #[error("no package index has a file of `{what}`, named by `{file}`, that this interpreter can use{}", also(.others))]
    NotFound {
        /// The requirement.
        what: String,
        /// The lock.
        file: String,
        /// The versions that there are; may be empty.
        others: String,
    },
    /// A file has other bytes than the lock says.
    #[error("`{what}` is not the file that the lock names: expected sha256 {}, found {found}", either(.expected))]
    Mismatch {
        /// The requirement or the file.
        what: String,
        /// The digests that the lock allows.
        expected: Vec<String>,
        /// The digest of what came.
        found: String,
    },
    /// pip said that all went well, and there is no file.
    #[error("{at}: there is no file of {what}")]
    NotGiven {
        /// Name and version.
        what: String,
        /// Where it stands.
        at: String,
    },
    /// A source archive, a commit or a folder does not build.
    #[error("{at}: no wheel could be built of {what}{output}")]
    Build {
        /// Name and version.
        what: String,
        /// Where it stands.
        at: String,
        /// The last lines of the build, each on a line of its own.
        output: String,
        /// The other kind of machine that it is for, if it is.
        elsewhere: Option<Box<Cross>>,
    },
    /// pip could not fetch them.
    #[error("failed to fetch the wheels of `{file}`")]
    Fetch {
        /// The file.
        file: String,
        /// pip's own words.
        source: process::Error,
    },
    /// A folder cannot be walked.
    #[error("failed to read `{}`", .folder.display())]
    Walk {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: walkdir::Error,
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

/// The first few of many names.
fn shown(files: &[String]) -> String {
    let first: Vec<String> = files.iter().take(4).map(|file| format!("`{file}`")).collect();
    let more = files.len().saturating_sub(first.len());
    if more == 0 { first.join(", ") } else { format!("{} and {more} more", first.join(", ")) }
}

/// The platforms whose wheels would do.
fn wanted(elsewhere: &Option<Box<Cross>>) -> String {
    elsewhere
        .as_ref()
        .map(|cross| format!("; wanted is one for any machine or for {}", cross.wanted()))
        .unwrap_or_default()
}

fn also(list: &str) -> String {
    if list.is_empty() { String::new() } else { format!("; there is {list}") }
}

fn either(list: &[String]) -> String {
    if list.is_empty() { "one of the lock's".to_owned() } else { list.join(" or ") }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Requirements(error) => return error.hint(),
            Self::Unresolved { .. } => {
                "change the requirements, or build with another interpreter: `--python 3.X`".to_owned()
            }
            Self::Build { elsewhere: Some(cross), .. }
            | Self::NoWheel { elsewhere: Some(cross), .. }
            | Self::NotPortable { elsewhere: cross, .. } => format!(
                "build on a machine that is `{}`, without `--target`; or lock a version that has such a wheel; or make the \
                 wheel there and serve it with `PIP_FIND_LINKS`",
                cross.target
            ),
            Self::NoWheel { .. } => {
                "build with an interpreter that there is a wheel for: `--python 3.X`, or lock another version"
                    .to_owned()
            }
            Self::NotFound { what, .. } => format!(
                "see what there is with `pip index versions {}`; another index is named as for pip: `PIP_EXTRA_INDEX_URL`, \
                 `PIP_FIND_LINKS`",
                what.split("==").next().unwrap_or(what)
            ),
            Self::Mismatch { .. } => {
                "find out why the package index gives other bytes; if the hashes are what is wrong, write the lock anew"
                    .to_owned()
            }
            Self::Build { output, elsewhere: None, .. } => build_hint(output),
            _ => return None,
        })
    }
}

impl Error {
    /// A source that does not build, where that would have had to run on another kind of machine.
    fn on(self, platform: &Platform) -> Self {
        match self {
            Self::Build { what, at, output, .. } => {
                Self::Build { what, at, output, elsewhere: platform.elsewhere.clone().map(Box::new) }
            }
            other => other,
        }
    }
}

fn build_hint(output: &str) -> String {
    let said = |words: &[&str]| words.iter().any(|word| output.contains(word));
    if said(&["cc'", "g++'", "clang'", "unable to execute", "C_COMPILER", "Unknown compiler"]) {
        "install a compiler (`apt-get install build-essential python3-dev`), or lock a version that has a wheel"
            .to_owned()
    } else if said(&["Python.h"]) {
        "install Python's headers (`apt-get install python3-dev`), or lock a version that has a wheel".to_owned()
    } else {
        "install what the build asks for, or lock a version that has a wheel; build it once and serve it with \
         `PIP_FIND_LINKS`"
            .to_owned()
    }
}

/// Fills `folders.wheels` with what the project requires.
pub fn vendor(
    required: &Required,
    folders: Folders<'_>,
    python: &Interpreter,
    platform: &Platform,
    tools: &Tools,
    sink: &dyn Sink,
) -> Result<Vendored, Error> {
    for text in &required.notes {
        sink.emit(Event::Note { text: text.clone() });
    }
    let Folders { project, work, held, .. } = folders;
    let place = resolve::Place { project, work, held, python, platform, tools };
    let (pins, resolved) = match &required.wanted {
        Wanted::Pinned(pins) => (pins.clone(), None),
        Wanted::Open(list) => {
            let (pins, path) = resolve::resolve(list, &required.indexes, &place, sink)?;
            (pins, Some(path))
        }
    };
    pins.iter().try_for_each(|pin| has_a_file(pin, python, platform))?;
    fs::create_dir_all(folders.wheels)?;
    let yard = Yard { tools, indexes: &required.indexes, work: folders.work, wheels: folders.wheels, python, platform };
    fill(&pins, &required.file, &yard, sink).map_err(|error| error.on(platform))?;
    let wheels = measure(folders.wheels)?;
    let list = folders.work.join("wheels.txt");
    fs::write(&list, second_list(&wheels).as_bytes())?;
    Ok(Vendored { wheels, list, resolved })
}

fn has_a_file(pin: &Pin, python: &Interpreter, platform: &Platform) -> Result<(), Error> {
    if !platform.can_use_none_of(&pin.files) {
        return Ok(());
    }
    let (at, what) = (pin.at.clone(), pin.title());
    Err(no_wheel(at, what, pin.files.clone(), python, platform))
}

fn no_wheel(at: String, what: String, files: Vec<String>, python: &Interpreter, platform: &Platform) -> Error {
    let interpreter = format!("Python {} on {}", python.python, python.target);
    Error::NoWheel { at, what, interpreter, files, elsewhere: platform.elsewhere.clone().map(Box::new) }
}

/// Puts a wheel of every pin into the folder: one built before, one fetched, or one built now.
fn fill(pins: &[Pin], file: &str, yard: &Yard<'_>, sink: &dyn Sink) -> Result<(), Error> {
    let mut wanted = Vec::new();
    for (at, pin) in pins.iter().enumerate() {
        match Build::of_pin(pin, yard.work)? {
            Some(build) => build_or_take(&build, pin, yard, sink)?,
            // What was built once, for whatever reason, does not stand in the place of a wheel that the lock names.
            None if !yard.platform.can_use_a_wheel_of(&pin.files) && take_built(pin, yard)? => {}
            None => wanted.push(at),
        }
    }
    for fetched in fetch::all(pins, &wanted, file, yard)? {
        use_file(&fetched, &pins[fetched.pin], yard, sink)?;
    }
    Ok(())
}

/// Any of a pin's hashes may be that of the archive that was built before.
fn take_built(pin: &Pin, yard: &Yard<'_>) -> Result<bool, Error> {
    let keys = pin.hashes.iter().filter_map(|hash| hash.strip_prefix("sha256:")?.parse().ok());
    for key in keys {
        if let Some(file) = yard.take(&key)? {
            return yard.runs_there(&file, pin).map(|()| true);
        }
    }
    Ok(false)
}

fn use_file(fetched: &Fetched, pin: &Pin, yard: &Yard<'_>, sink: &dyn Sink) -> Result<(), Error> {
    if fetched.is_wheel() {
        let name = fetched.path.file_name().unwrap_or_default();
        fs::copy(&fetched.path, &yard.wheels.join(name))?;
        return Ok(());
    }
    build_or_take(&Build::of_archive(&fetched.path, fetched.sha256), pin, yard, sink)
}

fn build_or_take(build: &Build, pin: &Pin, yard: &Yard<'_>, sink: &dyn Sink) -> Result<(), Error> {
    if let Some(file) = yard.take(&build.key)? {
        yard.runs_there(&file, pin)?;
    } else {
        let file = yard.build(build, pin)?;
        yard.runs_there(&file, pin)?;
        let what = match &pin.source {
            Source::Git { commit, .. } => format!("commit {commit}"),
            Source::Folder(_) => "the project's own folder".to_owned(),
            Source::Index | Source::Url(_) | Source::File(_) => "source".to_owned(),
        };
        sink.emit(Event::Note { text: format!("`{file}` was built from {what}") });
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
