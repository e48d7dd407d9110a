//! The scratch copy: where the project's own code runs during the build.
//!
//! Projects write files while their settings load and while static files are collected. They do it in a copy of the
//! app, with an environment that holds nothing of the caller's, and only what is asked for is taken out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pannier_shared::sys::{fs, process};
use serde::de::DeserializeOwned;
use walkdir::WalkDir;

use super::venv::Venv;
use crate::environment;

/// Loading a large project takes seconds; compressing its static files, minutes.
const LIMIT: Duration = Duration::from_secs(1800);

/// An answer is a few fields and 1 kB for each migration, or a traceback.
const ANSWER_LIMIT: u64 = 16 * 1024 * 1024;

/// One text, since the interpreter is to find no file of ours: the definitions first, then what calls them.
const SCRIPT: &str = concat!(include_str!("../python/migrations.py"), include_str!("../python/project.py"));

/// A copy of the app in which its code may run.
#[derive(Debug)]
pub struct Scratch {
    root: PathBuf,
    /// The copy, with every link in its path resolved, as Python will see it.
    pub app: PathBuf,
    manage: PathBuf,
    python: PathBuf,
    bin: PathBuf,
    variables: Vec<(String, String)>,
}

/// How the project is run.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Path of manage.py below the app.
    pub manage: &'a str,
    /// `DJANGO_SETTINGS_MODULE`, when it is configured.
    pub settings: Option<&'a str>,
    /// Placeholders for what its settings want.
    pub placeholders: &'a std::collections::BTreeMap<String, String>,
}

/// Code of the project that could not be run at all; what it answers, failures included, is the caller's to judge.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The app cannot be copied.
    #[error("failed to walk the app")]
    Walk(#[source] walkdir::Error),
    /// The interpreter ended before it could answer.
    #[error("the project's code ended the interpreter")]
    Died(#[source] process::Error),
    /// It gave no answer that can be read.
    #[error("the project's code gave no answer")]
    Answer(#[source] serde_json::Error),
}

impl Scratch {
    /// Copies `app` below `root`.
    pub fn copy_of(app: &Path, root: &Path, venv: &Venv, run: Run<'_>) -> Result<Self, Error> {
        let copy = root.join("app");
        copy_tree(app, &copy)?;
        fs::create_dir_all(&root.join("home"))?;
        fs::create_dir_all(&root.join("tmp"))?;
        let app = fs::canonical(&copy)?;
        let mut variables: Vec<(String, String)> = run.placeholders.clone().into_iter().collect();
        variables.extend(run.settings.map(|module| ("DJANGO_SETTINGS_MODULE".to_owned(), module.to_owned())));
        let (manage, bin) = (app.join(run.manage), venv.root.join("bin"));
        Ok(Self { root: root.to_owned(), app, manage, python: venv.python(), bin, variables })
    }

    /// Has the project do a task of the script; `fallback` is the settings module if neither the configuration nor
    /// manage.py names one.
    pub fn ask<T: DeserializeOwned>(&self, fallback: Option<&str>, task: &[&str]) -> Result<T, Error> {
        let answer = self.root.join("answer.json");
        fs::if_there(fs::remove_file(&answer))?;
        let ran = process::run(self.script(fallback.unwrap_or_default()).args(task), LIMIT);
        if !fs::exists(&answer) {
            ran.map_err(Error::Died)?;
        }
        serde_json::from_slice(&fs::read(&answer, ANSWER_LIMIT)?).map_err(Error::Answer)
    }

    /// Runs a command of the project's manage.py; with `root` in place of `STATIC_ROOT`, where there is one.
    pub fn manage(&self, settings: &str, root: Option<&Path>, arguments: &[String]) -> Result<(), process::Error> {
        let mut command = self.script(settings);
        command.arg("command").arg(root.unwrap_or(Path::new(""))).args(arguments);
        process::run(&mut command, LIMIT).map(drop)
    }

    /// Runs another program, in the folder of manage.py.
    pub fn run(&self, settings: &str, program: &str, arguments: &[String]) -> Result<(), process::Error> {
        let mut command = self.command(program);
        command.env("DJANGO_SETTINGS_MODULE", settings).args(arguments);
        process::run(&mut command, LIMIT).map(drop)
    }

    fn script(&self, fallback: &str) -> Command {
        let mut command = self.command(&self.python);
        command.args(["-c", SCRIPT]).arg(&self.app).arg(&self.manage).arg(fallback).arg(self.root.join("answer.json"));
        command
    }

    /// A program with the environment of the project's code, in the folder of manage.py.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = environment::project(program);
        command.env("HOME", self.root.join("home")).env("TMPDIR", self.root.join("tmp"));
        command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", self.bin.display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.manage.parent().unwrap_or(&self.app));
        command
    }
}

/// Copies files, folders and links as they are.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(Error::Walk)?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else if entry.path_is_symlink() {
            fs::symlink(&fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
