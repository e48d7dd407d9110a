//! Byte code: compiled once here, because a release is read-only on the node.
//!
//! The `unchecked-hash` form holds neither a time stamp nor, with the build folder stripped, a path of this machine: the
//! same source gives the same bytes, and the interpreter never tries to write them anew. So a build takes from the shelf what
//! an earlier one compiled, and compiles the rest.
//!
//! One thing else decides about the bytes: which strings of a module are already known to the interpreter that compiles it,
//! and that differs when its own library came from byte code. A packed interpreter compiles the very library that it runs
//! from, so each process is given an empty folder in the place of all byte code that there is, and writes there. Tried with
//! the whole library of 3.11: forwards, backwards, at random and a seventh of it give the same bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::cores::{self, on_all_cores};
use pannier_shared::sys::{fs, process};
use walkdir::WalkDir;

use super::venv::Venv;
use crate::environment::Ambient;
use crate::shelf::Shelf;

/// 10,000 modules take a minute on one slow core.
const LIMIT: Duration = Duration::from_secs(1800);

/// A larger source, or larger byte code, is not looked at: the largest of a site with pandas and numpy has 1 MB.
const LARGEST: u64 = 64 << 20;

/// How many files that do not compile are named.
const NAMED: usize = 5;

/// Which interpreter it is, its build included, and what its byte code is called.
const WHO: &str = "import sys; print(sys.implementation.cache_tag); print(sys.version)";

/// Byte code that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The compiler.
    #[error("failed to compile Python files to byte code")]
    Compile(#[from] process::Error),
    /// The file system.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The tree cannot be listed.
    #[error("failed to look for Python files")]
    Walk(#[from] walkdir::Error),
}

/// What is compiled.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The release's tree.
    pub tree: &'a Path,
    /// Folders below it.
    pub folders: &'a [String],
    /// A folder outside of it, where nothing is left.
    pub work: &'a Path,
}

/// How much was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiled {
    /// All Python files.
    pub files: usize,
    /// Those whose byte code was there already.
    pub taken: usize,
}

/// Compiles all Python files with the Python of `runner`: byte code is the same on all machines. Files that are not valid
/// Python, such as templates of code, stay as they are and are told in a note.
pub fn compile(
    sources: Sources<'_>,
    runner: &Venv,
    env: &Ambient,
    shelf: &Shelf,
    sink: &dyn Sink,
) -> Result<Compiled, Error> {
    let compiler = Compiler::of(runner, env)?;
    let files = python_files(&sources)?;
    let taken = on_all_cores(files.len(), |at| compiler.take(sources.tree, &files[at], shelf));
    let taken = taken.into_iter().collect::<fs::Result<Vec<bool>>>()?;
    let missing: Vec<&String> = files.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|(file, _)| file).collect();
    let wrong = compiler.make(&sources, &missing)?;
    on_all_cores(missing.len(), |at| compiler.keep(sources.tree, missing[at], shelf));
    if !wrong.is_empty() {
        sink.emit(Event::Note { text: not_compiled(&wrong, sources.tree) });
    }
    Ok(Compiled { files: files.len(), taken: files.len() - missing.len() })
}

/// Names below the tree, sorted.
fn python_files(sources: &Sources) -> Result<Vec<String>, walkdir::Error> {
    let mut files = Vec::new();
    for folder in sources.folders {
        let entries = WalkDir::new(sources.tree.join(folder)).into_iter();
        for entry in entries.filter_entry(|entry| entry.file_name() != "__pycache__") {
            let path = entry?.into_path();
            let name = path.strip_prefix(sources.tree).ok().and_then(Path::to_str);
            files.extend(name.filter(|name| name.ends_with(".py") && path.is_file()).map(str::to_owned));
        }
    }
    files.sort();
    Ok(files)
}

/// An interpreter that compiles.
struct Compiler<'a> {
    runner: &'a Venv,
    env: &'a Ambient,
    /// "cpython-311".
    tag: String,
    /// Its version and build.
    version: String,
}

impl<'a> Compiler<'a> {
    fn of(runner: &'a Venv, env: &'a Ambient) -> Result<Self, Error> {
        let printed = process::run(env.local(runner.python()).args(["-I", "-c", WHO]), LIMIT)?;
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let (tag, version) = printed.split_once('\n').unwrap_or((&printed, ""));
        Ok(Self { runner, env, tag: tag.to_owned(), version: version.to_owned() })
    }

    /// Where the byte code of a file lies.
    fn place(&self, tree: &Path, file: &str) -> PathBuf {
        let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
        let stem = name.strip_suffix(".py").unwrap_or(name);
        tree.join(folder).join("__pycache__").join(format!("{stem}.{}.pyc", self.tag))
    }

    /// Byte code says in which file it is, so the name counts.
    fn how(&self, file: &str) -> String {
        format!("byte code, unchecked hash, {}, {file}", self.version)
    }

    /// Whether its byte code was on the shelf, and lies in its place now.
    fn take(&self, tree: &Path, file: &str, shelf: &Shelf) -> fs::Result<bool> {
        let Some(code) = shelf.find(&self.how(file), &fs::read(&tree.join(file), LARGEST)?) else { return Ok(false) };
        let place = self.place(tree, file);
        fs::create_dir_all(place.parent().unwrap_or(tree))?;
        fs::write(&place, &code)?;
        Ok(true)
    }

    /// What cannot be kept is compiled again by the next build.
    fn keep(&self, tree: &Path, file: &str, shelf: &Shelf) {
        let read = |path: PathBuf| fs::read(&path, LARGEST).ok();
        if let (Some(source), Some(code)) = (read(tree.join(file)), read(self.place(tree, file))) {
            shelf.keep(&self.how(file), &source, &code);
        }
    }

    /// Compiles files on all cores; gives what was said of those that are not valid Python.
    fn make(&self, sources: &Sources, files: &[&String]) -> Result<String, Error> {
        let batches: Vec<&[&String]> = files.chunks(files.len().div_ceil(cores::count()).max(1)).collect();
        let made = on_all_cores(batches.len(), |at| {
            let work = sources.work.join(format!("compile-{at}"));
            fs::create_dir(&work)?;
            let said = self.make_some(sources.tree, &work, batches[at])?;
            fs::remove_tree(&work)?;
            Ok(said)
        });
        made.into_iter().collect()
    }

    /// Compiles files into `work`, which is empty, and puts their byte code where it belongs.
    fn make_some(&self, tree: &Path, work: &Path, files: &[&String]) -> Result<String, Error> {
        let (list, made) = (work.join("list"), work.join("made"));
        let lines: String = files.iter().map(|file| format!("{}\n", tree.join(file).display())).collect();
        fs::write(&list, lines.as_bytes())?;
        let mut command = self.env.local(self.runner.python());
        command.args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s"]).arg(tree);
        let said = match process::run(command.arg("-i").arg(list).env("PYTHONPYCACHEPREFIX", &made), LIMIT) {
            Ok(_) => String::new(),
            Err(process::Error::Failed { output, .. }) if output.contains("*** ") => output,
            Err(error) => return Err(error.into()),
        };
        files.iter().try_for_each(|file| self.put(tree, &made, file))?;
        Ok(said)
    }

    /// A file that is not valid Python has none.
    fn put(&self, tree: &Path, made: &Path, file: &str) -> fs::Result<()> {
        let place = self.place(tree, file);
        let source = tree.join(file);
        let folder = source.parent().unwrap_or(tree);
        let from = made.join(folder.strip_prefix("/").unwrap_or(folder)).join(place.file_name().unwrap_or_default());
        if !fs::exists(&from) {
            return Ok(());
        }
        fs::create_dir_all(place.parent().unwrap_or(tree))?;
        fs::rename(&from, &place)
    }
}

fn not_compiled(output: &str, tree: &Path) -> String {
    let tree = format!("{}/", tree.display());
    let named = |line: &str| line.strip_prefix("*** ")?.split('\'').nth(1).map(|path| path.replace(&tree, ""));
    let mut files: Vec<String> = output.lines().filter_map(named).collect();
    files.sort();
    let more = if files.len() > NAMED { ", ..." } else { "" };
    let shown = files[..files.len().min(NAMED)].join(", ");
    format!("{} files are not valid Python and have no byte code: {shown}{more}", files.len())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;
    use crate::stages::venv::Link;
    use crate::testing::{ambient, files};
    use pannier_shared::event::Recorder;

    /// Compiles this app below a folder of its own; gives the folder, what was done, and what was said.
    fn compiled(app: &[(&str, &str)], shelf: &Shelf) -> (tempfile::TempDir, Compiled, String) {
        let dir = tempfile::tempdir().unwrap();
        let (tree, root) = (dir.path().join("tree"), dir.path().join("venv"));
        fs::create_dir_all(&root.join("bin")).unwrap();
        fs::symlink(Path::new("/usr/bin/python3"), &root.join("bin/python")).unwrap();
        for (name, text) in app {
            let path = tree.join("app").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.as_bytes()).unwrap();
        }
        let runner = Venv { root, site: String::new(), link: Link::Node };
        let sources = Sources { tree: &tree, folders: &["app".to_owned()], work: dir.path() };
        let told = Recorder::default();
        let done = compile(sources, &runner, &ambient(), shelf, &told).unwrap();
        assert_eq!(fs::list(dir.path()).unwrap().len(), 2, "a list was left");
        let notes = told.events().into_iter().filter_map(|event| match event {
            Event::Note { text } => Some(text),
            _ => None,
        });
        (dir, done, notes.collect())
    }

    /// All byte code, by the name of its source.
    fn code(dir: &tempfile::TempDir) -> Vec<(String, Vec<u8>)> {
        let tree = dir.path().join("tree");
        let made = files(&tree).into_iter().filter(|path| path.ends_with(".pyc"));
        let name = |path: &str| path.split(".cpython").next().unwrap().replace("__pycache__/", "");
        made.map(|path| (name(&path), fs::read(&tree.join(&path), LARGEST).unwrap())).collect()
    }

    #[test]
    fn what_was_compiled_before_is_taken_and_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(dir.path().join("made"));
        let first = [("a.py", "A = 1\n"), ("deep/b.py", "def b(): return 2\n"), ("template.py", "{{ name }} = \n")];
        let (one, done, said) = compiled(&first, &shelf);
        assert_eq!(done, Compiled { files: 3, taken: 0 });
        assert_eq!(said, "1 files are not valid Python and have no byte code: app/template.py");
        let (two, done, again) = compiled(&first, &shelf);
        assert_eq!((done, again), (Compiled { files: 3, taken: 2 }, said));
        let names: Vec<String> = code(&two).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["app/a", "app/deep/b"]);
        assert_eq!(code(&one), code(&two));
    }

    #[test]
    fn another_text_or_name_is_compiled() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::at(dir.path().join("made"));
        compiled(&[("a.py", "A = 1\n")], &shelf);
        let other = [("a.py", "A = 2\n"), ("c.py", "A = 1\n")];
        let (with, done, _) = compiled(&other, &shelf);
        assert_eq!(done, Compiled { files: 2, taken: 0 });
        let (without, ..) = compiled(&other, &Shelf::none());
        assert_eq!(code(&with), code(&without));
    }

    #[test]
    fn files_that_do_not_compile_are_named_below_the_tree() {
        let output = "*** Error compiling '/b/tree/venv/x.py'...\n  File \"x.py\", line 1\n*** Error compiling '/b/tree/app/y.py'...\n";
        assert_eq!(
            not_compiled(output, Path::new("/b/tree")),
            "2 files are not valid Python and have no byte code: app/y.py, venv/x.py"
        );
    }
}
