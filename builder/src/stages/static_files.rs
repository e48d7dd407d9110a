//! Static files: collected in the scratch copy by the project's real storage, then taken out of it.
//!
//! They become `static/` of the release, beside the app, so that an app's change and a stylesheet's change are two
//! groups of the archive. Where the settings look for them (`STATIC_ROOT`, usually a folder of the project) a relative
//! link leads there, so WhiteNoise and manifest storages find them without a word of configuration.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::{fs, process};
use serde::Deserialize;
use walkdir::WalkDir;

use super::django::{Project, Static};
use super::scratch::{self, Scratch};

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
    #[error("`STATIC_ROOT` is not set in `{settings}`, so static files cannot be collected")]
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
    /// collectstatic failed.
    #[error("collectstatic failed{}", process::last_lines(.traceback))]
    Collect {
        /// What Python said.
        traceback: String,
    },
    /// The collected files cannot be walked.
    #[error("failed to walk the collected static files")]
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
            _ => None,
        }
    }
}

/// What was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Where `STATIC_ROOT` lies.
#[derive(Debug, PartialEq, Eq)]
enum Root {
    /// In the project: the path below the app.
    Inside(String),
    /// Somewhere else: as it is set.
    Outside(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    failed: Option<String>,
    traceback: String,
    root: String,
}

/// Collects into `static/` of the tree and links to it from the app.
pub fn collect(project: &Project, scratch: &Scratch, tree: &Path, sink: &dyn Sink) -> Result<Collected, Error> {
    let Some(statics) = &project.statics else {
        let text = "django.contrib.staticfiles is not installed: the release holds no static files";
        sink.emit(Event::Note { text: text.to_owned() });
        return Ok(Collected::default());
    };
    let root = locate(statics, &project.django.settings, &scratch.app)?;
    warn(statics, &root, sink);
    let elsewhere = match root {
        Root::Inside(_) => String::new(),
        Root::Outside(_) => scratch.app.join(".pannier-static").display().to_string(),
    };
    let answer: Answer = scratch.ask(Some(&project.django.settings), &["collect", &elsewhere])?;
    if answer.failed.is_some() {
        return Err(Error::Collect { traceback: answer.traceback });
    }
    let to = tree.join("static");
    fs::rename(Path::new(&answer.root), &to)?;
    if let Root::Inside(path) = root {
        link_from_app(&path, tree)?;
    }
    normalise(&to)
}

fn locate(statics: &Static, settings: &str, app: &Path) -> Result<Root, Error> {
    if !statics.local {
        return Err(Error::Remote { backend: statics.backend.clone() });
    }
    let Some(root) = &statics.root else { return Err(Error::NoRoot { settings: settings.to_owned() }) };
    if app.starts_with(root) {
        return Err(Error::RootIsProject { root: root.clone() });
    }
    match Path::new(root).strip_prefix(app) {
        Ok(below) => Ok(Root::Inside(below.display().to_string())),
        Err(_) => Ok(Root::Outside(root.clone())),
    }
}

fn warn(statics: &Static, root: &Root, sink: &dyn Sink) {
    if let Root::Outside(root) = root {
        let text = format!(
            "`STATIC_ROOT` is `{root}`, outside of the project: the release holds the files in `static/`, but the app will \
             not look there; `STATIC_ROOT = BASE_DIR / \"staticfiles\"` lets it"
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

/// Puts a relative link to `static/` where the settings look; what is committed there was collected with the rest.
fn link_from_app(path: &str, tree: &Path) -> Result<(), Error> {
    let link = tree.join("app").join(path);
    fs::remove_tree(&link).or_else(|_| fs::remove_file(&link))?;
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder)?;
    }
    let target = format!("{}static", "../".repeat(path.split('/').count()));
    Ok(fs::symlink(Path::new(&target), &link)?)
}

/// Counts, and takes the time stamps out of gzip files.
fn normalise(folder: &Path) -> Result<Collected, Error> {
    let mut collected = Collected::default();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(Error::Walk)?;
        if !entry.file_type().is_file() {
            continue;
        }
        collected.files += 1;
        collected.bytes += fs::lstat(entry.path())?.len();
        if entry.path().extension().is_some_and(|end| end == "gz") {
            forget_gzip_time(entry.path())?;
        }
    }
    Ok(collected)
}

/// Zeroes bytes 4 to 7 of a gzip header, its modification time (RFC 1952, 2.3).
fn forget_gzip_time(path: &Path) -> Result<(), Error> {
    let mut file = fs::open_for_change(path)?;
    let mut magic = [0; 2];
    let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    if is_gzip {
        let zeroed = file.seek(SeekFrom::Start(4)).and_then(|_| file.write_all(&[0; 4]));
        zeroed.map_err(fs::failed("write", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make their files with std")]

    use super::*;
    use crate::testing::told;

    fn statics(root: Option<&str>) -> Static {
        let backend = "django.contrib.staticfiles.storage.StaticFilesStorage".to_owned();
        Static { backend, local: true, root: root.map(str::to_owned), hashed: false }
    }

    fn located(root: Option<&str>) -> Result<Root, Error> {
        locate(&statics(root), "site.settings", Path::new("/w/app"))
    }

    #[test]
    fn the_root_is_found_inside_or_outside_of_the_project() {
        assert_eq!(located(Some("/w/app/a/static")).unwrap(), Root::Inside("a/static".to_owned()));
        assert_eq!(located(Some("/var/www/static")).unwrap(), Root::Outside("/var/www/static".to_owned()));
    }

    #[test]
    fn what_cannot_be_collected_names_the_setting() {
        let error = located(None).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`STATIC_ROOT` is not set in `site.settings`, so static files cannot be collected");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"set `STATIC_ROOT = BASE_DIR / "staticfiles"`, or, where the release holds no static files, `static = "none"` in pannier.toml"#);
        insta::assert_snapshot!(told(&located(Some("/w")).unwrap_err()), @"`STATIC_ROOT` is `/w`: it must be a folder of its own, not one that holds the project");
        let remote = Static { local: false, backend: "storages.backends.s3.S3Storage".to_owned(), ..statics(None) };
        let error = locate(&remote, "site.settings", Path::new("/w/app")).unwrap_err();
        insta::assert_snapshot!(told(&error), @"static files are stored by `storages.backends.s3.S3Storage`, not in a folder, so they cannot be packed");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"set `static = "none"` in pannier.toml, and collect them in a step of your own"#);
    }

    #[test]
    fn the_link_is_relative_and_replaces_what_is_committed_there() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("app/a/staticfiles/old")).unwrap();
        link_from_app("a/staticfiles", tree.path()).unwrap();
        assert_eq!(std::fs::read_link(tree.path().join("app/a/staticfiles")).unwrap(), Path::new("../../static"));
        link_from_app("staticfiles", tree.path()).unwrap();
        assert_eq!(std::fs::read_link(tree.path().join("app/staticfiles")).unwrap(), Path::new("../static"));
    }

    #[test]
    fn gzip_files_forget_when_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3, 9]).unwrap();
        std::fs::write(dir.path().join("b.gz"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        assert_eq!(normalise(dir.path()).unwrap(), Collected { files: 2, bytes: 19 });
        assert_eq!(std::fs::read(dir.path().join("a.gz")).unwrap(), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 9]);
        assert_eq!(std::fs::read(dir.path().join("b.gz")).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
