//! Static files: collected in the scratch copy by the project's real storage, then taken out of it.
//!
//! They become `static/` of the release, beside the app, so that an app's change and a stylesheet's change are two
//! groups of the archive. Where the settings look for them (`STATIC_ROOT`, usually a folder of the project) a relative
//! link leads there, so WhiteNoise and manifest storages find them without a word of configuration.

use std::io;
use std::path::{Path, PathBuf};

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};
use serde::Deserialize;
use walkdir::WalkDir;

use super::django::{self, Project, Static};
use super::scratch::{self, Scratch};
use crate::command_line::CommandLine;
use crate::settings::{Encoding, StaticFiles};
use crate::shelf::Shelf;

mod commands;
mod normalise;
mod twins;

/// Manifests of Django and of django-compressor, in the static root: the app reads them and no browser asks for them.
pub const MANIFESTS: &[&str] = &["staticfiles.json", "CACHE/manifest.json"];

/// Static files that cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The scratch copy failed.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// There is no folder to collect into.
    #[error("`STATIC_ROOT` is not set in `{settings}`, so it is not known where static files are")]
    NoRoot {
        /// The settings module.
        settings: String,
    },
    /// The storage is not a folder.
    #[error("static files are stored by `{backend}`, not in a folder, so they cannot be packed")]
    Remote {
        /// Its class.
        backend: String,
    },
    /// `STATIC_ROOT` is the project itself.
    #[error("`STATIC_ROOT` is `{root}`: it must be a folder of its own, not one that holds the project")]
    RootIsProject {
        /// The folder.
        root: String,
    },
    /// The folder that is to be committed has no files.
    #[error(
        "static files are to be the committed ones, and the app that is packed has none in `STATIC_ROOT`, `{root}`"
    )]
    NotCommitted {
        /// The folder, below the app where it lies there.
        root: String,
    },
    /// collectstatic failed.
    #[error("collectstatic failed{}", process::last_lines(.traceback))]
    Collect {
        /// What Python said.
        traceback: String,
        /// The variable that was asked for, where Python knows it.
        variable: Option<String>,
    },
    /// A command of the project failed.
    #[error("a command of `[build] commands` failed")]
    Command(#[source] process::Error),
    /// A twin could not be made.
    #[error("failed to make the {} twin of `{}`", .encoding.ending(), .path.display())]
    Compress {
        /// The file.
        path: PathBuf,
        /// The kind of twin.
        encoding: Encoding,
        /// Why.
        source: io::Error,
    },
    /// The static files cannot be walked.
    #[error("failed to walk the static files")]
    Walk(#[source] walkdir::Error),
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoot { .. } | Self::RootIsProject { .. } => Some(
                "set `STATIC_ROOT = BASE_DIR / \"staticfiles\"`, or, where the release holds no static files, `static = \"none\"` in pannier.toml".to_owned(),
            ),
            Self::Remote { .. } => Some("set `static = \"none\"` in pannier.toml, and collect them in a step of your own".to_owned()),
            Self::NotCommitted { root } => Some(format!(
                "commit them (`git add -f {root}`), or have them collected: `static = \"collect\"` in pannier.toml"
            )),
            Self::Collect { traceback, variable } => django::hint(traceback, variable.as_deref(), None),
            Self::Command(process::Error::Failed { program, output, .. }) => {
                let again = || format!("type `{program}` in a fresh clone, with the variables of `[build.env]` and no others");
                django::hint(output, None, None).or_else(|| Some(again()))
            }
            Self::Command(process::Error::NotStarted { .. }) => Some(
                "a command is `manage.py ...`, or a program of the environment, of the project or in /usr/local/bin, /usr/bin and /bin".to_owned(),
            ),
            _ => None,
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Where the files come from.
    pub from: StaticFiles,
    /// The project's commands after that.
    pub commands: &'a [CommandLine],
    /// The twins to make.
    pub twins: &'a [Encoding],
    /// Where those lie that were made before.
    pub shelf: &'a Shelf,
}

/// What the release holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of the files are twins that were made here.
    pub twins: u64,
}

/// Where `STATIC_ROOT` lies.
#[derive(Debug, PartialEq, Eq)]
enum Root {
    /// In the project: the path below the app.
    Inside(String),
    /// In a package of the environment, which brings its static files: the path below the release.
    Package(String),
    /// Somewhere else: as it is set.
    Outside(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    failed: Option<String>,
    traceback: String,
    variable: Option<String>,
    root: String,
}

/// Puts the static files into `static/` of the tree and links to it from the app.
pub fn gather(
    wanted: Wanted<'_>,
    project: &Project,
    scratch: &Scratch,
    tree: &Path,
    sink: &dyn Sink,
) -> Result<Collected, Error> {
    let statics = match (&project.statics, wanted.from) {
        (_, StaticFiles::None) => return Ok(nothing("`static = \"none\"`", wanted, sink)),
        (None, _) => return Ok(nothing("django.contrib.staticfiles is not installed", wanted, sink)),
        (Some(statics), _) => statics,
    };
    let settings = &project.django.settings;
    let root = locate(statics, settings, &scratch.app, &fs::canonical(tree)?)?;
    warn(statics, &root, sink);
    let instead = match root {
        Root::Inside(_) => None,
        Root::Package(_) | Root::Outside(_) => Some(scratch.app.join(".pannier-static")),
    };
    let folder = match wanted.from {
        StaticFiles::Committed => committed(&root, scratch)?,
        _ => collect(settings, scratch, instead.as_deref())?,
    };
    let setting = commands::Setting { scratch, settings, root: instead.as_deref() };
    commands::run_all(wanted.commands, setting, sink)?;
    let to = tree.join("static");
    fs::rename(&folder, &to)?;
    if let Root::Inside(path) = root {
        link_from_app(&path, tree, wanted.from, sink)?;
    }
    finish(&to, wanted)
}

/// The release holds no static files: says why, and what is therefore not done.
fn nothing(why: &str, wanted: Wanted<'_>, sink: &dyn Sink) -> Collected {
    sink.emit(Event::Note { text: format!("{why}: the release holds no static files") });
    if let Some(first) = wanted.commands.first() {
        sink.emit(Event::Warning {
            text: format!("`{first}` and what follows it in `[build] commands` is not run: {why}"),
        });
    }
    Collected::default()
}

fn collect(settings: &str, scratch: &Scratch, instead: Option<&Path>) -> Result<PathBuf, Error> {
    let instead = instead.map(|folder| folder.display().to_string()).unwrap_or_default();
    let answer: Answer = scratch.ask(Some(settings), &["collect", &instead])?;
    match answer.failed {
        Some(_) => Err(Error::Collect { traceback: answer.traceback, variable: answer.variable }),
        None => Ok(PathBuf::from(answer.root)),
    }
}

/// The folder of the committed static files, in the scratch copy.
fn committed(root: &Root, scratch: &Scratch) -> Result<PathBuf, Error> {
    let missing = |root: &str| Error::NotCommitted { root: root.to_owned() };
    match root {
        Root::Package(root) | Root::Outside(root) => Err(missing(root)),
        Root::Inside(path) => {
            let folder = scratch.app.join(path);
            if has_files(&folder) { Ok(folder) } else { Err(missing(path)) }
        }
    }
}

/// True when a folder holds more than what keeps an empty one in git (`.gitkeep`, `.gitignore`).
fn has_files(folder: &Path) -> bool {
    let files = WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir());
    files.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).take(1).count() > 0
}

fn locate(statics: &Static, settings: &str, app: &Path, tree: &Path) -> Result<Root, Error> {
    if !statics.local {
        return Err(Error::Remote { backend: statics.backend.clone() });
    }
    let Some(root) = &statics.root else { return Err(Error::NoRoot { settings: settings.to_owned() }) };
    if app.starts_with(root) {
        return Err(Error::RootIsProject { root: root.clone() });
    }
    let below = |folder: &Path| Path::new(root).strip_prefix(folder).ok().map(|path| path.display().to_string());
    Ok(below(app)
        .map(Root::Inside)
        .or_else(|| below(tree).map(Root::Package))
        .unwrap_or_else(|| Root::Outside(root.clone())))
}

fn warn(statics: &Static, root: &Root, sink: &dyn Sink) {
    if let Root::Outside(root) = root {
        let text = format!(
            "`STATIC_ROOT` is `{root}`, outside of the project: the release holds the files in `static/`, but the app will \
             not look there; `STATIC_ROOT = BASE_DIR / \"staticfiles\"` lets it"
        );
        sink.emit(Event::Warning { text });
    }
    if let Root::Package(root) = root {
        let text = format!(
            "`STATIC_ROOT` is `{root}`, in a package that brings its static files: the app will look there, and not at what \
             is collected into `static/`; `static = \"none\"` in pannier.toml packs the package's alone"
        );
        sink.emit(Event::Warning { text });
    }
    if !statics.hashed {
        let text = format!(
            "static files keep their plain names (`{}`): browsers may mix those of two releases; a manifest storage gives \
             hashed names",
            statics.backend
        );
        sink.emit(Event::Warning { text });
    }
}

/// Puts a relative link to `static/` where the settings look; what is committed there is in `static/` already.
fn link_from_app(path: &str, tree: &Path, from: StaticFiles, sink: &dyn Sink) -> Result<(), Error> {
    let link = tree.join("app").join(path);
    if from == StaticFiles::Collect && has_files(&link) {
        let text = format!(
            "`{path}`, the static root, holds committed files: they are packed, and what was collected lies over them; \
             `exclude = [\"{path}\"]` leaves them out, `static = \"committed\"` packs them alone"
        );
        sink.emit(Event::Warning { text });
    }
    fs::remove_tree(&link).or_else(|_| fs::remove_file(&link))?;
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    let target = format!("{}static", "../".repeat(path.split('/').count()));
    Ok(fs::symlink(Path::new(&target), &link)?)
}

/// Makes the bytes what they will be every time, adds the twins, and counts.
fn finish(folder: &Path, wanted: Wanted<'_>) -> Result<Collected, Error> {
    normalise::normalise(folder)?;
    let mut collected =
        Collected { twins: twins::make(folder, wanted.twins, wanted.shelf)?.files, ..Collected::default() };
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(Error::Walk)?;
        if entry.file_type().is_file() {
            collected.files += 1;
            collected.bytes += fs::lstat(entry.path())?.len();
        }
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their files with std")]

    use pannier_shared::event::Recorder;

    use super::*;
    use crate::testing::told;

    fn statics(root: Option<&str>) -> Static {
        let backend = "django.contrib.staticfiles.storage.StaticFilesStorage".to_owned();
        Static { backend, local: true, root: root.map(str::to_owned), hashed: false, manifest: String::new() }
    }

    fn located(root: Option<&str>) -> Result<Root, Error> {
        locate(&statics(root), "site.settings", Path::new("/w/app"), Path::new("/tree"))
    }

    #[test]
    fn the_root_is_found_inside_or_outside_of_the_project() {
        assert_eq!(located(Some("/w/app/a/static")).unwrap(), Root::Inside("a/static".to_owned()));
        assert_eq!(located(Some("/var/www/static")).unwrap(), Root::Outside("/var/www/static".to_owned()));
        let package = "venv/lib/python3.13/site-packages/shop/static.dist";
        assert_eq!(located(Some(&format!("/tree/{package}"))).unwrap(), Root::Package(package.to_owned()));
    }

    #[test]
    fn what_cannot_be_collected_names_the_setting() {
        let error = located(None).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`STATIC_ROOT` is not set in `site.settings`, so it is not known where static files are");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"set `STATIC_ROOT = BASE_DIR / "staticfiles"`, or, where the release holds no static files, `static = "none"` in pannier.toml"#);
        insta::assert_snapshot!(told(&located(Some("/w")).unwrap_err()), @"`STATIC_ROOT` is `/w`: it must be a folder of its own, not one that holds the project");
        let remote = Static { local: false, backend: "storages.backends.s3.S3Storage".to_owned(), ..statics(None) };
        let error = locate(&remote, "site.settings", Path::new("/w/app"), Path::new("/tree")).unwrap_err();
        insta::assert_snapshot!(told(&error), @"static files are stored by `storages.backends.s3.S3Storage`, not in a folder, so they cannot be packed");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"set `static = "none"` in pannier.toml, and collect them in a step of your own"#);
    }

    #[test]
    fn a_static_root_in_a_package_is_a_warning_that_names_the_setting() {
        let told_to = Recorder::default();
        let hashed = Static { hashed: true, ..statics(None) };
        warn(&hashed, &Root::Package("venv/lib/python3.13/site-packages/shop/static.dist".to_owned()), &told_to);
        let said = told_to.events();
        let [Event::Warning { text }] = &said[..] else { panic!("{said:?}") };
        insta::assert_snapshot!(text, @r#"`STATIC_ROOT` is `venv/lib/python3.13/site-packages/shop/static.dist`, in a package that brings its static files: the app will look there, and not at what is collected into `static/`; `static = "none"` in pannier.toml packs the package's alone"#);
    }

    #[test]
    fn the_link_is_relative_and_replaces_what_is_committed_there() {
        let (tree, told_to) = (tempfile::tempdir().unwrap(), Recorder::default());
        std::fs::create_dir_all(tree.path().join("app/a/staticfiles/old")).unwrap();
        std::fs::write(tree.path().join("app/a/staticfiles/.gitkeep"), "").unwrap();
        link_from_app("a/staticfiles", tree.path(), StaticFiles::Collect, &told_to).unwrap();
        assert_eq!(std::fs::read_link(tree.path().join("app/a/staticfiles")).unwrap(), Path::new("../../static"));
        link_from_app("staticfiles", tree.path(), StaticFiles::Collect, &told_to).unwrap();
        assert_eq!(std::fs::read_link(tree.path().join("app/staticfiles")).unwrap(), Path::new("../static"));
        assert!(told_to.events().is_empty());
    }

    #[test]
    fn collecting_over_committed_files_is_a_warning() {
        let (tree, told_to) = (tempfile::tempdir().unwrap(), Recorder::default());
        std::fs::create_dir_all(tree.path().join("app/static")).unwrap();
        std::fs::write(tree.path().join("app/static/site.css"), "").unwrap();
        link_from_app("static", tree.path(), StaticFiles::Collect, &told_to).unwrap();
        let said = told_to.events();
        let [Event::Warning { text }] = &said[..] else { panic!("{said:?}") };
        insta::assert_snapshot!(text, @r#"`static`, the static root, holds committed files: they are packed, and what was collected lies over them; `exclude = ["static"]` leaves them out, `static = "committed"` packs them alone"#);
    }
}
