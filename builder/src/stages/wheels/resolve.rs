//! Resolving: a list without hashes becomes a lock, now.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};

use super::{Error, by_pip, index};
use crate::settings::Installer;
use crate::stages::interpreter::Interpreter;
use crate::stages::platform::Platform;
use crate::stages::requirements::{self, List, Pin, Scene};
use crate::stages::tools::Tools;

/// Some hundred requests to an index that may be slow.
pub const RESOLVE: Duration = Duration::from_secs(900);

/// A list that uv prints; see the limit of requirement files.
const LIST_LIMIT: u64 = 16 * 1024 * 1024;

/// What resolving needs beside the list.
pub struct Place<'a> {
    /// The project's folder, absolute.
    pub project: &'a Path,
    /// For passing files.
    pub work: &'a Path,
    /// A list of versions to keep to.
    pub held: Option<&'a Path>,
    /// The release's interpreter.
    pub python: &'a Interpreter,
    /// What markers hold there.
    pub platform: &'a Platform,
    /// uv.
    pub tools: &'a Tools,
}

/// Lets uv or pip choose versions; gives them, and the path of the list with hashes.
pub fn resolve(
    list: &List,
    indexes: &[String],
    place: &Place<'_>,
    sink: &dyn Sink,
) -> Result<(Vec<Pin>, PathBuf), Error> {
    let path = place.work.join("requirements.lock");
    match place.tools.installer {
        Installer::Uv => run_uv(list, indexes, place, &path)?,
        Installer::Pip => by_pip::resolve(list, indexes, place, &path)?,
    }
    let text = fs::read_text(&path, LIST_LIMIT)?;
    // What lies in the project is named from there, so that the list is of use on another machine.
    let here = [format!("file://{}/", place.project.display()), format!("{}/", place.project.display())];
    let text = here.iter().fold(text, |text, here| text.replace(here.as_str(), "./"));
    fs::write(&path, text.as_bytes())?;
    let said = format!(
        "`{}` has no hashes: resolved now, another day may give other versions; the statement says what was chosen, and \
         `requirements.lock` beside the artifact can take its place",
        list.file
    );
    sink.emit(Event::Warning { text: said });
    let scene = Scene { variables: place.platform.markers.clone(), ..Scene::default() };
    let pins = List::of_text(&text, "requirements.lock")?.pins(place.project, &scene)?;
    Ok((pins, path))
}

/// Writes what is wanted, and the limits to it, as files for a resolver.
pub fn question(list: &List, indexes: &[String], place: &Place<'_>) -> Result<(PathBuf, PathBuf), Error> {
    let (wanted, limits) = (place.work.join("wanted.in"), place.work.join("limits.in"));
    let mut lines: Vec<String> = indexes.to_vec();
    for one in &list.list {
        lines.push(one.anywhere(place.project)?);
    }
    fs::write(&wanted, (lines.join("\n") + "\n").as_bytes())?;
    fs::write(&limits, requirements::print(&list.constraints).as_bytes())?;
    Ok((wanted, limits))
}

/// No set of versions fits, in the resolver's own words.
pub fn unresolved(list: &List, place: &Place<'_>) -> impl FnOnce(process::Error) -> Error {
    let (file, python) = (list.file.clone(), place.python.version.clone());
    move |source| Error::Unresolved { file, python, source }
}

fn run_uv(list: &List, indexes: &[String], place: &Place<'_>, path: &Path) -> Result<(), Error> {
    let (wanted, limits) = question(list, indexes, place)?;
    let mut uv = index::uv_as_pip(place.tools, indexes);
    uv.args(["--quiet", "--generate-hashes", "--no-header", "--no-annotate"]);
    uv.arg("--python").arg(&place.python.executable).arg("--constraints").arg(&limits);
    if let Some(held) = place.held {
        uv.arg("--constraints").arg(held);
    }
    if let Some(cross) = &place.platform.elsewhere {
        uv.args(["--python-platform", &cross.resolving()]);
    }
    uv.arg("--output-file").arg(path).arg(&wanted);
    process::run(&mut uv, RESOLVE).map(drop).map_err(unresolved(list, place))
}
