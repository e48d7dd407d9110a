//! What a command of a release is on this node: which program, where, and with which variables.
//!
//! | first word | program |
//! |---|---|
//! | `manage.py`, or a path that ends in it | the release's Python with the project's manage.py |
//! | a name without `/` | `venv/bin/NAME` of the release where it is there, else the system's |
//! | a relative path | that file below the project's folder |
//! | an absolute path | the node's own program |
//!
//! All paths are below `releases/<version>`, never through `current`: `current` moves under a running process with the next
//! switch, and what it imports later would be another release's. It works in the folder of manage.py.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pannier_shared::id::{AppName, Version};
use pannier_shared::statement::{Description, Words};
use pannier_shared::sys::account::Account;
use pannier_shared::sys::{fs, process};

use crate::identity;
use crate::layout::Root;
use crate::steps::restart::PATH;

/// A release's folder for commands leads out of it.
#[derive(Debug, thiserror::Error)]
#[error("the release says that its manage.py lies in `{0}`, which is not below its app")]
pub struct BadFolder(pub String);

/// One release on this node, as its commands see it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The app.
    pub app: AppName,
    /// The release.
    pub version: Version,
    /// The app's root.
    pub root: PathBuf,
    /// The release's own folder, every link resolved.
    pub tree: PathBuf,
    folder: PathBuf,
    settings: String,
}

/// A command, ready to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program: an absolute path, or a name for the system's folders.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl Place {
    /// The place of a release that says this of itself.
    pub fn new(root: &Root, version: &Version, description: &Description) -> Result<Self, BadFolder> {
        let below = Path::new(&description.django.folder);
        if !below.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(BadFolder(description.django.folder.clone()));
        }
        let tree = root.release(version);
        let names = below.components().filter(|part| matches!(part, Component::Normal(_)));
        Ok(Self {
            app: description.app.clone(),
            version: version.clone(),
            root: root.path().to_owned(),
            folder: names.fold(tree.join("app"), |folder, part| folder.join(part)),
            tree,
            settings: description.django.settings.clone(),
        })
    }

    /// Where its commands work: the folder of manage.py.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The variables every command of it gets; what the node's `env_file` holds goes over the first four.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("PATH", format!("{}:{PATH}", text(&self.bin()))),
            ("DJANGO_SETTINGS_MODULE", self.settings.clone()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("PYTHONUNBUFFERED", "1".to_owned()),
            ("PANNIER_APP", self.app.to_string()),
            ("PANNIER_VERSION", self.version.to_string()),
            ("PANNIER_ROOT", text(&self.root)),
            ("PANNIER_RELEASE", text(&self.tree)),
        ]
    }

    /// What a command means here.
    pub fn launch(&self, command: &Words) -> Launch {
        self.launch_words(command.program(), command.arguments())
    }

    /// The same, of words that a person typed.
    pub fn launch_words(&self, word: &str, arguments: &[String]) -> Launch {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let own = self.bin().join(word);
        let (program, first) = if word.rsplit('/').next() == Some("manage.py") && !word.starts_with('/') {
            (text(self.python()), Some(text(self.folder.join("manage.py"))))
        } else if word.contains('/') {
            (text(self.folder.join(word)), None)
        } else if fs::exists(&own) {
            (text(own), None)
        } else {
            (word.to_owned(), None)
        };
        Launch { program, arguments: first.into_iter().chain(arguments.iter().cloned()).collect() }
    }

    /// The same, ready to be started: in its folder, with the variables it gets. The app's own go over what Python and Django
    /// are told, who the user is over those, and which release it is over all.
    pub fn command(&self, launch: &Launch, variables: &[(String, String)], account: Option<&Account>) -> Command {
        let mut command = process::program(&launch.program);
        command.args(&launch.arguments).current_dir(self.folder());
        let (over, under): (Vec<_>, Vec<_>) =
            self.variables().into_iter().partition(|(name, _)| name.starts_with("PANNIER_"));
        command.envs(under).envs(variables.iter().map(|(name, value)| (name, value)));
        command.envs(account.into_iter().flat_map(identity::variables)).envs(over);
        command
    }

    /// The release's Python.
    pub fn python(&self) -> PathBuf {
        self.bin().join("python")
    }

    fn bin(&self) -> PathBuf {
        self.tree.join("venv/bin")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests lay out releases by hand")]

    use super::*;
    use crate::testing::{Fixture, described, v};

    fn place(folder: &str) -> (Fixture, Result<Place, BadFolder>) {
        let fixture = Fixture::with(&["v1"]);
        let mut description = described("v1");
        description.django.folder = folder.to_owned();
        let place = Place::new(&fixture.root(), &v("v1"), &description);
        (fixture, place)
    }

    #[test]
    fn the_first_word_decides_which_program_it_is() {
        let (_fixture, place) = place("src");
        let place = place.unwrap();
        std::fs::create_dir_all(place.tree.join("venv/bin")).unwrap();
        std::fs::write(place.tree.join("venv/bin/gunicorn"), "").unwrap();
        let launched = |words: &[&str]| {
            let words = Words::try_from(words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).unwrap();
            let Launch { program, arguments } = place.launch(&words);
            let all: Vec<String> = std::iter::once(program).chain(arguments).collect();
            all.join(" ").replace(place.tree.to_str().unwrap(), "TREE")
        };
        assert_eq!(launched(&["gunicorn", "x.wsgi"]), "TREE/venv/bin/gunicorn x.wsgi");
        assert_eq!(launched(&["manage.py", "check"]), "TREE/venv/bin/python TREE/app/src/manage.py check");
        assert_eq!(launched(&["./manage.py", "check"]), "TREE/venv/bin/python TREE/app/src/manage.py check");
        assert_eq!(launched(&["bin/run"]), "TREE/app/src/bin/run");
        assert_eq!(launched(&["/usr/bin/env"]), "/usr/bin/env");
        assert_eq!(launched(&["curl"]), "curl");
        assert_eq!(place.folder(), place.tree.join("app/src"));
    }

    #[test]
    fn a_folder_that_leads_out_is_refused() {
        assert_eq!(place(".").1.unwrap().folder().file_name().unwrap(), "app");
        for bad in ["..", "a/../../b", "/etc"] {
            assert!(place(bad).1.is_err(), "{bad}");
        }
    }
}
