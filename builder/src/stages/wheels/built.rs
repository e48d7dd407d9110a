//! Building: what exists only as source becomes a wheel once, and is kept under the hash of that source.
//!
//! A compiled wheel is rarely the same twice (it may hold the folder it was built in), so the first one counts for as
//! long as the cache is kept. The cache has a folder for each interpreter ABI; an entry is there whole or not at all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::digest::Digest;
use pannier_shared::sys::{fs, process};

use super::{Error, blame, folder, name};
use crate::stages::interpreter::Interpreter;
use crate::stages::platform::Platform;
use crate::stages::requirements::{Pin, Source};
use crate::stages::tools::Tools;

/// Compiling the largest.
const LIMIT: Duration = Duration::from_secs(3600);

/// What is needed to build.
pub struct Yard<'a> {
    /// pip, and the cache.
    pub tools: &'a Tools,
    /// Where build backends are fetched.
    pub indexes: &'a [String],
    /// For passing files.
    pub work: &'a Path,
    /// Where the wheels go.
    pub wheels: &'a Path,
    /// The release's interpreter.
    pub python: &'a Interpreter,
    /// The wheels that it can use.
    pub platform: &'a Platform,
}

/// A source to build.
#[derive(Debug)]
pub struct Build {
    /// Hash of the source: what the result is kept under.
    pub key: Digest,
    /// As pip is told.
    target: String,
}

impl Build {
    /// Of a source archive with this digest.
    pub fn of_archive(path: &Path, sha256: Digest) -> Self {
        Self { key: sha256, target: path.to_string_lossy().into_owned() }
    }

    /// Of a pin that is a commit or a folder; a folder is copied, because builds write into their source.
    pub fn of_pin(pin: &Pin, work: &Path) -> Result<Option<Self>, Error> {
        Ok(match &pin.source {
            Source::Git { url, commit, subfolder } => {
                let part = if subfolder.is_empty() { String::new() } else { format!("#subdirectory={subfolder}") };
                let target = format!("git+{url}@{commit}{part}");
                Some(Self { key: Digest::of(target.as_bytes()), target })
            }
            Source::Folder(path) => {
                let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
                let copy = work.join(format!("source-{}", &name[..16]));
                let key = folder::copy(path, &copy)?;
                Some(Self { key, target: copy.to_string_lossy().into_owned() })
            }
            Source::Index | Source::Url(_) | Source::File(_) => None,
        })
    }
}

impl Yard<'_> {
    /// Refuses what was built here for this kind of machine alone, when the release is for another one.
    pub fn runs_there(&self, file: &str, pin: &Pin) -> Result<(), Error> {
        let Some(cross) = &self.platform.elsewhere else { return Ok(()) };
        if self.platform.rank(file).is_some() {
            return Ok(());
        }
        let (at, what) = (pin.at.clone(), pin.title());
        Err(Error::NotPortable { at, what, file: file.to_owned(), elsewhere: Box::new(cross.clone()) })
    }

    /// Copies the wheel that was built of a source, if there is one; gives its file name.
    pub fn take(&self, key: &Digest) -> Result<Option<String>, Error> {
        let kept = self.kept(key);
        if !fs::exists(&kept) {
            return Ok(None);
        }
        let Some((file, _)) = name::list(&kept)?.into_iter().next() else { return Ok(None) };
        fs::copy(&kept.join(&file), &self.wheels.join(&file))?;
        Ok(Some(file))
    }

    /// Builds, keeps and takes; gives the wheel's file name.
    pub fn build(&self, build: &Build, pin: &Pin) -> Result<String, Error> {
        let making = self.tools.built.join(format!(".making-{}", fs::random_name()));
        fs::create_dir_all(&making)?;
        let made = self.run_pip(build, pin, &making).and_then(|()| match fs::rename(&making, &self.kept(&build.key)) {
            // Another build was faster; its wheel is as good.
            Err(_) if fs::exists(&self.kept(&build.key)) => Ok(()),
            renamed => Ok(renamed?),
        });
        fs::remove_tree(&making)?;
        made?;
        self.take(&build.key)?.ok_or_else(|| Error::NotGiven { what: pin.title(), at: pin.at.clone() })
    }

    fn run_pip(&self, build: &Build, pin: &Pin, into: &Path) -> Result<(), Error> {
        let list = self.work.join(format!("build-{}.txt", build.key));
        fs::write(&list, (self.indexes.join("\n") + "\n" + &build.target + "\n").as_bytes())?;
        let mut pip = self.tools.pip();
        pip.args(["wheel", "--no-deps", "--progress-bar", "off", "--wheel-dir"]).arg(into);
        pip.arg("--requirement").arg(&list);
        process::run(&mut pip, LIMIT).map(|_| ()).map_err(|source| blame::of_build(source, pin))
    }

    fn kept(&self, key: &Digest) -> PathBuf {
        self.tools.built.join(key.to_string())
    }
}
