//! A project, the packages that it can depend on, and its dependencies in every form that Pannier reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use pannier_builder::build::{Build, Request, Reuse, TABLE};
use pannier_builder::environment::Ambient;
use pannier_builder::settings;
use pannier_builder::stages::source::State;
use pannier_shared::digest::Digest;
use pannier_shared::event::{Recorder, Sink};
use pannier_shared::signature::SigningKey;
use pannier_shared::steps;

use crate::site;

pub mod index;
mod texts;

pub use texts::*;

/// A project with a folder of packages beside it and one in it, and nothing but those to take dependencies from.
pub struct Desk {
    dir: tempfile::TempDir,
    sink: Arc<Recorder>,
    variables: Vec<(String, String)>,
}

impl Desk {
    pub fn new() -> Self {
        // Fetches uv, if no test did before.
        site::environment();
        let desk =
            Self { dir: tempfile::tempdir().unwrap(), sink: Arc::new(Recorder::default()), variables: Vec::new() };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/desk/packages.py");
        let made = Command::new("python3").arg(script).arg(desk.dir.path()).status().unwrap();
        assert!(made.success());
        desk.write("manage.py", "");
        std::fs::create_dir_all(desk.dir.path().join("cache/pannier")).unwrap();
        std::os::unix::fs::symlink(site::cache().join("pannier/tools"), desk.dir.path().join("cache/pannier/tools"))
            .unwrap();
        desk
    }

    pub fn with(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    /// Sets a variable of the caller's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn root(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join("project").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn project(&self, path: &str) -> PathBuf {
        self.dir.path().join("project").join(path)
    }

    pub fn links(&self) -> PathBuf {
        self.dir.path().join("links")
    }

    /// The digest of a file in the folder of packages.
    pub fn sha256(&self, file: &str) -> String {
        Digest::of(&std::fs::read(self.links().join(file)).unwrap()).to_string()
    }

    fn packages(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.links()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// A text in which `{FILE}` stands for the digest of that package.
    pub fn fill(&self, text: &str) -> String {
        let names = self.packages().into_iter();
        names.fold(text.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), &self.sha256(&name)))
    }

    fn variables(&self) -> Vec<(String, String)> {
        let keep = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let kept = ["PATH", "HOME", "PYENV_ROOT", "PYENV_VERSION"].into_iter().filter_map(keep);
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let own = [
            ("XDG_CACHE_HOME".to_owned(), text(self.dir.path().join("cache"))),
            ("PIP_NO_INDEX".to_owned(), "1".to_owned()),
            ("PIP_FIND_LINKS".to_owned(), text(self.links())),
            ("CC".to_owned(), "/nowhere/cc".to_owned()),
            ("CFLAGS".to_owned(), text(self.dir.path().join("builds"))),
        ];
        kept.chain(own).chain(self.variables.clone()).collect()
    }

    /// Builds as far as the environment; gives the wheels, and what was installed of them.
    pub fn build(&self) -> String {
        let sink: Arc<dyn Sink> = self.sink.clone();
        let mut build = Build::new(self.request(), &sink);
        let end = TABLE.iter().position(|step| step.name == "venv").unwrap();
        let failed = steps::run(&TABLE[..=end], &mut build, sink.as_ref()).err();
        assert!(failed.is_none(), "{failed:#?}");
        let work = std::fs::read_dir(self.dir.path().join("out")).unwrap().next().unwrap().unwrap().path();
        let wheels = sorted(&work.join("tree/wheels"), ".whl");
        let lib = work.join("tree/venv/lib");
        let python = std::fs::read_dir(&lib).unwrap().next().unwrap().unwrap().path();
        let installed = sorted(&python.join("site-packages"), ".dist-info");
        assert_eq!(wheels.len(), installed.len(), "{wheels:?} {installed:?}");
        for wheel in wheels.iter().filter(|wheel| self.links().join(wheel).exists()) {
            let vendored = std::fs::read(work.join("tree/wheels").join(wheel)).unwrap();
            assert_eq!(Digest::of(&vendored).to_string(), self.sha256(wheel), "{wheel}");
        }
        let _ = std::fs::rename(work.join("out/requirements.lock"), self.dir.path().join("requirements.lock"));
        std::fs::remove_dir_all(&work).unwrap();
        wheels.iter().map(|wheel| wheel.trim_end_matches("-py3-none-any.whl")).collect::<Vec<_>>().join(" ")
    }

    fn request(&self) -> Request {
        let project = self.dir.path().join("project");
        Request {
            settings: settings::load(&project).unwrap(),
            project,
            app: "mini".parse().unwrap(),
            version: "v1".parse().unwrap(),
            out: self.dir.path().join("out"),
            state: State::Any,
            key: Some(SigningKey::generate("test").unwrap()),
            reuse: Reuse::Made,
            env: Ambient::of(self.variables().into_iter().map(|(name, value)| (name.into(), value.into()))),
        }
    }

    /// The lock that the last build without one made.
    pub fn resolved(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("requirements.lock")).unwrap()
    }

    pub fn said(&self) -> String {
        format!("{:#?}", self.sink.events())
    }

    /// Makes a repository of the package in the project, outside of it; gives its address and its commit.
    pub fn repository(&self) -> (String, String) {
        let repository = self.root().join("repository");
        std::fs::rename(self.project("packages/inner"), &repository).unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null").current_dir(&repository);
            let done =
                git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch", "main"]);
        git(&["add", "."]);
        git(&["commit", "--quiet", "--message", "first"]);
        (format!("git+file://{}", repository.display()), git(&["rev-parse", "HEAD"]))
    }

    /// How often a source was built.
    pub fn builds(&self, name: &str) -> usize {
        let log = std::fs::read_to_string(self.dir.path().join("builds")).unwrap_or_default();
        log.lines().filter(|line| *line == name).count()
    }

    /// What the program says when the build fails, with what differs between machines made the same.
    pub fn refused(&self) -> String {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pannier"));
            command.env_clear().envs(self.variables()).current_dir(self.dir.path()).args(["--quiet"]);
            command.args(arguments).output().unwrap()
        };
        run(&["keys", "new", "ci", "--for", "release"]);
        let done = run(&["build", "project", "--app", "mini", "--version", "v1", "--key", "ci"]);
        let told = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(
            std::fs::read_dir(self.dir.path().join("dist")).map_or(0, Iterator::count),
            0,
            "left behind: {told}"
        );
        let told =
            told.replace(self.root().to_str().unwrap(), "/DESK").replace(self.dir.path().to_str().unwrap(), "/DESK");
        let digests = self
            .packages()
            .into_iter()
            .fold(told, |told, name| told.replace(&self.sha256(&name), &format!("{{{name}}}")));
        plain(&format!("exit {}\n{digests}", done.status.code().unwrap()))
    }
}

/// The version of Python as 3.X, the machine kind without its processor.
fn plain(text: &str) -> String {
    let version = String::from_utf8(Command::new("python3").arg("--version").output().unwrap().stdout).unwrap();
    let version = version.trim().trim_start_matches("Python ").to_owned();
    let feature = version.rsplit_once('.').unwrap().0.to_owned();
    let text = text.replace(&format!("{}-linux-gnu", std::env::consts::ARCH), "MACHINE-linux-gnu");
    text.replace(&version, "3.X").replace(&format!("Python {feature} "), "Python 3.X ")
}

fn sorted(folder: &Path, end: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(end) && !name.starts_with('_')).collect();
    names.sort();
    names
}

/// What every fixture comes to.
pub const ALL: &str = "alpha-1.0 beta-1.5 inner-0.3 tree-0.2";

pub fn uv_site() -> Desk {
    let project = PYPROJECT.replace("\"tree\"]", "\"tree\", \"inner\"]") + UV_PROJECT;
    let desk = Desk::new().with("pyproject.toml", &project);
    let uv =
        std::fs::read_dir(site::cache().join("pannier/tools")).unwrap().next().unwrap().unwrap().path().join("bin/uv");
    let mut lock = Command::new(uv);
    lock.env_clear().envs(desk.variables()).env("UV_OFFLINE", "1").current_dir(desk.dir.path().join("project"));
    let locked = lock.args(["lock", "--quiet"]).output().unwrap();
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    let path = desk.dir.path().join("project/uv.lock");
    let text = std::fs::read_to_string(&path).unwrap();
    // uv writes no hashes of files in a folder of links, and honours those that are there.
    let hashed =
        text.lines().map(|line| match line.split_once("{ path = \"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((file, _)) => line.replace("\" }", &format!("\", hash = \"sha256:{}\" }}", desk.sha256(file))) + "\n",
            None => format!("{line}\n"),
        });
    std::fs::write(&path, hashed.collect::<String>()).unwrap();
    desk
}

pub fn poetry_site() -> Desk {
    let desk = Desk::new().with("pyproject.toml", POETRY_PROJECT);
    let lock = desk.fill(POETRY);
    desk.with("poetry.lock", &lock)
}

pub fn pipenv_site() -> Desk {
    let desk = Desk::new().with("Pipfile", PIPFILE);
    let lock = desk.fill(PIPFILE_LOCK);
    desk.with("Pipfile.lock", &lock)
}

pub fn listed(file: &str, text: &str) -> Desk {
    let desk = Desk::new();
    let text = desk.fill(text);
    desk.with(file, &text)
}
