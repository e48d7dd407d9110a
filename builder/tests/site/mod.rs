//! A small Django project, made by the tests themselves, and the environment they build it in.
//!
//! The first run fetches uv and three wheels from the package index and keeps them under `target/`; later runs are
//! offline. The requirements are hashed, so both kinds of runs use the same bytes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use pannier_builder::build::{Build, Error, Request, Reuse, TABLE};
use pannier_builder::environment::Ambient;
use pannier_builder::settings;
use pannier_builder::stages::source::State;
use pannier_shared::event::{Recorder, Sink};
use pannier_shared::signature::SigningKey;
use pannier_shared::steps;

/// What the project needs, as wheels of pure Python.
pub const REQUIREMENTS: &str = "\
Django==5.2.7 --hash=sha256:59a13a6515f787dec9d97a0438cd2efac78c8aca1c80025244b0fe507fe0754b
asgiref==3.10.0 --hash=sha256:aef8a81283a34d0ab31630c9b7dfe70c812c95eba78171367ca8745e88124734
sqlparse==0.5.3 --hash=sha256:cf2196ed3418f3ba5de6af7e82c694a9fbdbfecccdfc72e281548517081f16ca
";

const MANAGE: &str = "\
import os, sys
def main():
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mini.settings')
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
if __name__ == '__main__':
    main()
";

const SETTINGS: &str = "\
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = 'placeholder'
INSTALLED_APPS = ['django.contrib.staticfiles', 'mini']
ROOT_URLCONF = 'mini.urls'
WSGI_APPLICATION = 'mini.wsgi.application'
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': BASE_DIR / 'db.sqlite3'}}
STATIC_URL = '/static/'
STATIC_ROOT = BASE_DIR / 'staticfiles'
STORAGES = {'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'}}
";

/// Files of the project, by path.
pub fn files() -> BTreeMap<&'static str, String> {
    let text = |text: &str| text.to_owned();
    BTreeMap::from([
        ("manage.py", text(MANAGE)),
        ("mini/__init__.py", String::new()),
        ("mini/settings.py", text(SETTINGS)),
        ("mini/urls.py", text("urlpatterns = []\n")),
        (
            "mini/wsgi.py",
            text("from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"),
        ),
        (
            "mini/asgi.py",
            text("from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"),
        ),
        ("mini/static/mini/site.css", text("body { background: url(dot.svg) }\n")),
        ("mini/static/mini/dot.svg", text("<svg xmlns='http://www.w3.org/2000/svg'/>\n")),
        ("mini/static/mini/long.css", (0..200).map(|n| format!(".n{n} {{ margin: {n}px }}\n")).collect()),
        ("requirements.txt", text(REQUIREMENTS)),
    ])
}

/// A project on disk, with a folder for its builds.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub sink: Arc<Recorder>,
    pub env: fn() -> Ambient,
}

impl Site {
    pub fn of(files: &BTreeMap<&'static str, String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join("project").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self { dir, sink: Arc::new(Recorder::default()), env: environment }
    }

    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    /// Builds as far as the described tree.
    pub fn tree(&self) -> Result<Build, Box<steps::Failure<Error>>> {
        self.build_to("describe")
    }

    /// Builds as far as a step.
    pub fn build_to(&self, last: &str) -> Result<Build, Box<steps::Failure<Error>>> {
        let sink: Arc<dyn Sink> = self.sink.clone();
        let mut build = Build::new(self.request((self.env)()), &sink);
        let end = TABLE.iter().position(|step| step.name == last).unwrap();
        steps::run(&TABLE[..=end], &mut build, sink.as_ref()).map_err(Box::new)?;
        Ok(build)
    }

    /// What a person is told when the build fails: the error, its causes and its hint; paths made the same.
    pub fn failure(&self) -> String {
        let failure = self.tree().err().expect("the build fails");
        assert!(failure.left.is_empty(), "everything is undone");
        let out = self.dir.path().join("out");
        assert_eq!(std::fs::read_dir(out).map_or(0, Iterator::count), 0, "nothing is left in the output folder");
        let mut lines = vec![format!("in {}: {}", failure.step, failure.error)];
        let mut cause = std::error::Error::source(&failure.error);
        while let Some(error) = cause {
            lines.push(format!("caused by: {error}"));
            cause = error.source();
        }
        lines.extend(failure.error.hint().map(|hint| format!("hint: {hint}")));
        self.plain(&lines.join("\n"))
    }

    pub fn said(&self) -> String {
        self.plain(&format!("{:#?}", self.sink.events()))
    }

    fn plain(&self, text: &str) -> String {
        let real = std::fs::canonicalize(self.dir.path()).unwrap();
        let text = text.replace(real.to_str().unwrap(), "/SITE").replace(self.dir.path().to_str().unwrap(), "/SITE");
        let text = text.split_once("for Python 3.").map_or(text.clone(), |(before, after)| {
            format!("{before}for Python 3.X\n{}", after.split_once('\n').map_or("", |(_, rest)| rest))
        });
        let mut parts = text.split(".build-");
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + ".build-X" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
    }

    pub fn request(&self, env: Ambient) -> Request {
        Request {
            project: self.project(),
            app: "mini".parse().unwrap(),
            version: "v1".parse().unwrap(),
            settings: settings::load(&self.project()).unwrap(),
            out: self.dir.path().join("out"),
            state: State::Any,
            key: Some(SigningKey::generate("test").unwrap()),
            reuse: Reuse::Made,
            env,
        }
    }
}

/// The caller's environment, with the caches below `target/` and, once they are filled, without the index.
pub fn environment() -> Ambient {
    static FILLED: Once = Once::new();
    FILLED.call_once(fill_cache);
    with_index(false)
}

fn with_index(index: bool) -> Ambient {
    Ambient::of(variables(index))
}

/// The caller's variables, with the caches below `target/` and, where the index is not wanted, without it.
pub fn variables(index: bool) -> Vec<(OsString, OsString)> {
    let own = |name: &OsString| name.to_str().is_some_and(|name| name.starts_with("PIP_FIND") || name == "PANNIER_UV");
    let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| !own(name)).collect();
    variables.push(("XDG_CACHE_HOME".into(), cache().into()));
    if !index {
        variables.push(("PIP_FIND_LINKS".into(), wheels().into()));
        variables.push(("PIP_NO_INDEX".into(), "1".into()));
    }
    variables
}

pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-cache")
}

pub fn wheels() -> PathBuf {
    cache().join("index")
}

/// Builds once with the index, in the way every build goes, and keeps the wheels that it fetched.
fn fill_cache() {
    if wheels().exists() {
        return;
    }
    let site = Site::of(&files());
    let sink: Arc<dyn Sink> = site.sink.clone();
    let mut build = Build::new(site.request(with_index(true)), &sink);
    let end = TABLE.iter().position(|step| step.name == "wheels").unwrap();
    let failed = steps::run(&TABLE[..=end], &mut build, sink.as_ref()).err();
    assert!(failed.is_none(), "{failed:?}");
    let fetched = walkdir::WalkDir::new(site.dir.path().join("out")).into_iter().map(Result::unwrap);
    let making = cache().join(format!("index-{}", std::process::id()));
    std::fs::create_dir_all(&making).unwrap();
    for wheel in fetched.filter(|entry| entry.path().extension().is_some_and(|end| end == "whl")) {
        std::fs::copy(wheel.path(), making.join(wheel.file_name())).unwrap();
    }
    // Where two test programs fill it at once, either one's is good.
    let _ = std::fs::rename(&making, wheels());
}
