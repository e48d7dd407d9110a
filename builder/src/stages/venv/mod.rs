//! The virtual environment: installed from the wheels alone, then freed of everything that knows where it was made.
//!
//! `pyvenv.cfg` has no `home` key, so the interpreter behind `bin/python` finds its own library and the environment can
//! be moved; console scripts start `python` from their own folder. With a bundled interpreter `bin/python` is a link to
//! the one in the release. Else, while the build runs, it is a link to the build machine's; [`seal`] removes it, because
//! then the node makes that link.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};

use super::interpreter::Interpreter;
use super::target::Cross;
use super::tools::Tools;

mod checks;
mod install;
mod outside;
pub mod record;
mod scripts;

pub use outside::Object;

/// The whole of `pyvenv.cfg`. An empty file would let the base's site-packages in, a `home` would be wrong elsewhere.
const PYVENV_CFG: &[u8] = b"include-system-site-packages = false\n";

/// The same while uv installs, which reads here how scripts are to find their Python.
const INSTALLING_CFG: &[u8] = b"include-system-site-packages = false\nrelocatable = true\n";

/// What uv puts at the top that serves a workstation only.
const TOP_LEFTOVERS: &[&str] = &[".lock", ".gitignore", "CACHEDIR.TAG"];

/// What uv and pip write into a `.dist-info` that holds this machine's times and paths.
const DIST_LEFTOVERS: &[&str] = &["uv_cache.json", "direct_url.json"];

/// The most bytes a RECORD may have: 64 MiB are some 600,000 files.
const RECORD_LIMIT: u64 = 64 * 1024 * 1024;

/// `bin/activate`: ours, because uv's works in fewer shells and serves a workstation.
const ACTIVATE: &str = include_str!("activate.sh");

/// Where `bin/python` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// To the node's interpreter: the node makes it.
    Node,
    /// To the release's own, relative to `bin`.
    Inside(PathBuf),
}

/// What an environment is made from, and where.
#[derive(Debug)]
pub struct Places<'a> {
    /// Its folder.
    pub root: &'a Path,
    /// The folder of the wheels.
    pub wheels: &'a Path,
    /// The list to install.
    pub list: &'a Path,
    /// Where `bin/python` leads.
    pub link: Link,
    /// The other kind of machine that it is for, if it is; then nothing of it can run here.
    pub elsewhere: Option<&'a Cross>,
}

/// A finished environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Venv {
    /// Its folder.
    pub root: PathBuf,
    /// Its site-packages below that folder: "lib/python3.11/site-packages".
    pub site: String,
    /// Where `bin/python` leads.
    pub link: Link,
}

/// A finished environment, and what the loader has to do with it.
#[derive(Debug)]
pub struct Made {
    /// The environment.
    pub venv: Venv,
    /// Its programs and libraries.
    pub objects: Vec<Object>,
}

impl Venv {
    /// The interpreter to run with while the build runs.
    pub fn python(&self) -> PathBuf {
        self.root.join("bin/python")
    }
}

/// An environment that cannot be made or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It could not be made.
    #[error("failed to make the virtual environment")]
    Make(#[source] process::Error),
    /// The wheels could not be installed.
    #[error("failed to install the wheels")]
    Install(#[source] process::Error),
    /// The tree cannot be walked.
    #[error("failed to walk the virtual environment")]
    Walk(#[source] walkdir::Error),
    /// Something in it works only where it was made.
    #[error("the virtual environment cannot be moved: {}", .0.join("; "))]
    Fixed(Vec<String>),
}

/// Makes the environment.
pub fn make(places: Places<'_>, python: &Interpreter, tools: &Tools, sink: &dyn Sink) -> Result<Made, Error> {
    let site = format!("lib/python{}/site-packages", python.python);
    let venv = Venv { root: places.root.to_owned(), site, link: places.link.clone() };
    install::create(&venv, python, tools)?;
    if places.elsewhere.is_none() {
        lead_inside(&venv)?;
    }
    install::install(&venv, &places, tools)?;
    for text in install::unmet(&venv, places.elsewhere, tools) {
        sink.emit(Event::Warning { text });
    }
    if places.elsewhere.is_some() {
        lead_inside(&venv)?;
    }
    normalise(&venv, python)?;
    checks::movable(&venv)?;
    let objects = outside::objects(&venv)?;
    if let Some(text) = outside::told(&outside::libraries(&objects, &venv.site)) {
        sink.emit(Event::Note { text });
    }
    Ok(Made { venv, objects })
}

/// From then on it is the release's own interpreter that runs: before the first install, if it can run here.
fn lead_inside(venv: &Venv) -> Result<(), Error> {
    let Link::Inside(target) = &venv.link else { return Ok(()) };
    fs::write(&venv.root.join("pyvenv.cfg"), INSTALLING_CFG)?;
    fs::remove_file(&venv.python())?;
    Ok(fs::symlink(target, &venv.python())?)
}

/// Takes away a link to the build machine's interpreter; then nothing can run in the environment.
pub fn seal(venv: &Venv) -> Result<(), Error> {
    if venv.link == Link::Node {
        fs::if_there(fs::remove_file(&venv.python()))?;
    }
    Ok(())
}

fn normalise(venv: &Venv, python: &Interpreter) -> Result<(), Error> {
    fs::write(&venv.root.join("pyvenv.cfg"), PYVENV_CFG)?;
    for name in TOP_LEFTOVERS {
        fs::if_there(fs::remove_file(&venv.root.join(name)))?;
    }
    let bin = venv.root.join("bin");
    for name in fs::list(&bin)? {
        if is_shell_helper(&name.to_string_lossy()) {
            fs::remove_file(&bin.join(&name))?;
        }
    }
    fs::write(&bin.join("activate"), ACTIVATE.as_bytes())?;
    for name in ["python3".to_owned(), format!("python{}", python.python)] {
        let link = bin.join(name);
        fs::if_there(fs::remove_file(&link))?;
        fs::symlink(Path::new("python"), &link)?;
    }
    let site = venv.root.join(&venv.site);
    for name in fs::list(&site)? {
        if name.to_string_lossy().ends_with(".dist-info") {
            tidy(venv, &site, &name.to_string_lossy())?;
        }
    }
    Ok(())
}

/// Scripts that a person sources or that only start other tools.
fn is_shell_helper(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with("activate") || matches!(name, "deactivate.bat" | "pydoc.bat")
}

/// Removes what tells where and when a distribution was installed, and makes the rest what it is whoever installed it;
/// its RECORD says the same.
fn tidy(venv: &Venv, site: &Path, dist_info: &str) -> Result<(), Error> {
    let mut removed = BTreeSet::new();
    for name in DIST_LEFTOVERS {
        if fs::if_there(fs::remove_file(&site.join(dist_info).join(name)))?.is_some() {
            removed.insert(format!("{dist_info}/{name}"));
        }
    }
    let record = site.join(dist_info).join("RECORD");
    if let Some(text) = fs::if_there(fs::read_text(&record, RECORD_LIMIT))? {
        let changed = scripts::rewrite(venv, dist_info, &text)?;
        fs::write(&record, record::changed(&text, &removed, &changed).as_bytes())?;
    }
    Ok(())
}

/// The files of every distribution: its normalised name, and their paths below the venv.
pub fn distributions(venv: &Venv) -> Result<Vec<(String, Vec<String>)>, Error> {
    let site = venv.root.join(&venv.site);
    let mut found = Vec::new();
    for dist_info in fs::list(&site)?.iter().filter_map(|name| name.to_str()) {
        let Some(stem) = dist_info.strip_suffix(".dist-info") else { continue };
        let name = super::requirements::normalise(stem.split('-').next().unwrap_or(stem));
        let text = fs::if_there(fs::read_text(&site.join(dist_info).join("RECORD"), RECORD_LIMIT))?.unwrap_or_default();
        let files = record::paths(&text).filter_map(|path| record::resolve(&venv.site, &path)).collect();
        found.push((name, files));
    }
    Ok(found)
}
