//! `pannier.toml`: what a project says about how it is built and run. Every key is optional and can be given as a flag too,
//! but for the tables that say how the release is run.
//!
//! Reading ([`load`]) and parsing ([`parse`]) are two functions. Keys are checked by name before their types are, so
//! that a misspelt key is answered with the one that was meant.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pannier_shared::id::{self, AppName, Target};
use pannier_shared::statement::{Running, Shared};
use pannier_shared::sys::fs;
use serde::{Deserialize, Serialize};

use crate::command_line::CommandLine;
use crate::stages::django::migrations::Judgements;

mod running;

use running::{Hooks, Processes};

/// The file's name, at the top of the project.
pub const FILE: &str = "pannier.toml";

/// A hand-written file; more than this is some other file.
const LIMIT: u64 = 1024 * 1024;

/// MiB of the largest file that is packed without being allowed by name: what is larger is seldom code.
pub const LARGEST_FILE: u64 = 50;

/// One layer of settings: the file, or the flags. [`Settings::over`] puts one on top of the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The app's name.
    pub app: Option<AppName>,
    /// URL of the store to publish to.
    pub store: Option<String>,
    /// `DJANGO_SETTINGS_MODULE` for the release; else what manage.py sets, else wsgi.py.
    pub settings: Option<String>,
    /// Path of manage.py below the project; else it is searched.
    pub manage: Option<String>,
    /// The interpreter: a path, a command, or a version such as "3.12"; else `python3`.
    pub python: Option<String>,
    /// The kind of machine the release is for; else this one's.
    pub target: Option<Target>,
    /// The file that lists the dependencies; else a lock file, else requirements.txt, else pyproject.toml.
    pub requirements: Option<String>,
    /// Extras of the project that belong to the release.
    pub extras: Vec<String>,
    /// Dependency groups that belong to the release besides the production set.
    pub groups: Vec<String>,
    /// Whose package indexes count; else the project's and the build machine's.
    pub index: Option<Index>,
    /// What to do about static files; else they are collected.
    #[serde(rename = "static")]
    pub static_files: Option<StaticFiles>,
    /// Patterns of files to leave out of the release.
    pub exclude: Vec<String>,
    /// The twins to make of static files; else all kinds.
    pub compress: Option<Vec<Encoding>>,
    /// Patterns of files to pack although they look like keys, secrets or databases, or are too large.
    pub allow: Vec<String>,
    /// The largest file of the app that is packed without being allowed by name, in MiB; else [`LARGEST_FILE`].
    pub largest_file: Option<u64>,
    /// The table `[build]`.
    pub build: Build,
    /// The table `[publish]`.
    pub publish: Publish,
    /// The table `[processes]`.
    pub processes: Processes,
    /// The table `[hooks]`.
    pub hooks: Hooks,
    /// The table `[shared]`.
    pub shared: Shared,
    /// The table `[migrations]`: what a person says of single ones, with a reason.
    pub migrations: Judgements,
}

/// What to do about static files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StaticFiles {
    /// Run collectstatic and put its output into the release.
    Collect,
    /// Take the files that are committed in `STATIC_ROOT`, as they are.
    Committed,
    /// Leave static files alone: somebody else serves them.
    None,
}

/// A kind of pre-compressed twins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// gzip, which every server and browser knows.
    Gz,
    /// brotli: WhiteNoise, nginx with its module, Caddy.
    Br,
    /// zstd: nginx with a module, Caddy.
    Zst,
}

impl Encoding {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::Gz, Self::Br, Self::Zst];

    /// The ending of a twin's name, without a dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Gz => "gz",
            Self::Br => "br",
            Self::Zst => "zst",
        }
    }
}

/// Whose package indexes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Index {
    /// Those that the project's files name, beside the build machine's.
    Project,
    /// The build machine's alone: a mirror that has everything.
    Machine,
}

/// The table `[build]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Build {
    /// Placeholders for the variables that the settings module wants; never real secrets: a build needs none.
    pub env: BTreeMap<String, String>,
    /// Commands of the project after collectstatic, in order: `manage.py compress`.
    pub commands: Vec<CommandLine>,
    /// Who resolves and installs; else uv.
    pub installer: Option<Installer>,
}

/// The table `[publish]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Publish {
    /// URL of the place where browsers get static files, or [`NOWHERE`]; else the nodes serve them.
    #[serde(rename = "static")]
    pub static_host: Option<String>,
    /// Patterns of static files whose names change with their content although Django's manifest has them not.
    pub immutable: Vec<String>,
}

/// Instead of a URL: static files have no place of their own.
pub const NOWHERE: &str = "none";

/// Who resolves and installs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Installer {
    /// uv: the one on PATH, if it is the pinned version, else one that is fetched into the cache.
    #[default]
    Uv,
    /// pip alone, of the interpreter.
    Pip,
}

/// Keys at the top of the file.
const KEYS: &[&str] = &[
    "app",
    "store",
    "settings",
    "manage",
    "python",
    "target",
    "requirements",
    "extras",
    "groups",
    "index",
    "static",
    "compress",
    "exclude",
    "allow",
    "largest_file",
    "build",
    "publish",
    "processes",
    "hooks",
    "shared",
    "migrations",
];

/// Keys of the table `[build]`.
const BUILD_KEYS: &[&str] = &["env", "commands", "installer"];

/// Keys of the table `[publish]`.
const PUBLISH_KEYS: &[&str] = &["static", "immutable"];

/// Keys of the table `[shared]`.
const SHARED_KEYS: &[&str] = &["folders", "files"];

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The project's folder is not there, or not a folder.
    #[error("`{}` is not a folder", .0.display())]
    NoProject(PathBuf),
    /// It is not TOML, or a value is of another type.
    #[error("`{file}` is not valid")]
    Invalid {
        /// The file.
        file: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// It has a key that Pannier does not know.
    #[error("`{file}` has the key `{key}`, which Pannier does not know{}", did_you_mean(.near))]
    UnknownKey {
        /// The file.
        file: String,
        /// The key with its table: "build.envs".
        key: String,
        /// The key that was probably meant.
        near: Option<String>,
    },
}

fn did_you_mean(near: &Option<String>) -> String {
    near.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Reads `pannier.toml` of a project; a project without one has the default settings.
pub fn load(project: &Path) -> Result<Settings, Error> {
    if !fs::stat(project).is_ok_and(|meta| meta.is_dir()) {
        return Err(Error::NoProject(project.to_owned()));
    }
    let path = project.join(FILE);
    let text = fs::if_there(fs::read_text(&path, LIMIT))?;
    text.map_or_else(|| Ok(Settings::default()), |text| parse(&text, FILE))
}

/// Parses the text of a settings file; `file` is its name for messages.
pub fn parse(text: &str, file: &str) -> Result<Settings, Error> {
    let invalid = |source| Error::Invalid { file: file.to_owned(), source };
    let table: toml::Table = toml::from_str(text).map_err(invalid)?;
    known_keys(&table, "", KEYS, file)?;
    for (name, known) in [("build", BUILD_KEYS), ("publish", PUBLISH_KEYS), ("shared", SHARED_KEYS)] {
        if let Some(toml::Value::Table(inner)) = table.get(name) {
            known_keys(inner, &format!("{name}."), known, file)?;
        }
    }
    toml::from_str(text).map_err(invalid)
}

fn known_keys(table: &toml::Table, above: &str, known: &[&str], file: &str) -> Result<(), Error> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let near = id::near(key, known.iter().copied()).first().map(|name| format!("{above}{name}"));
    Err(Error::UnknownKey { file: file.to_owned(), key: format!("{above}{key}"), near })
}

impl Settings {
    /// These settings on top of others: what is set here wins; lists and placeholders are joined.
    pub fn over(self, below: Self) -> Self {
        fn joined<T>(mut below: Vec<T>, mut above: Vec<T>) -> Vec<T> {
            below.append(&mut above);
            below
        }
        let mut build = below.build;
        build.env.extend(self.build.env);
        build.commands = joined(build.commands, self.build.commands);
        build.installer = self.build.installer.or(build.installer);
        let publish = Publish {
            static_host: self.publish.static_host.or(below.publish.static_host),
            immutable: joined(below.publish.immutable, self.publish.immutable),
        };
        Self {
            app: self.app.or(below.app),
            store: self.store.or(below.store),
            settings: self.settings.or(below.settings),
            manage: self.manage.or(below.manage),
            python: self.python.or(below.python),
            target: self.target.or(below.target),
            requirements: self.requirements.or(below.requirements),
            extras: joined(below.extras, self.extras),
            groups: joined(below.groups, self.groups),
            index: self.index.or(below.index),
            static_files: self.static_files.or(below.static_files),
            compress: self.compress.or(below.compress),
            exclude: joined(below.exclude, self.exclude),
            allow: joined(below.allow, self.allow),
            largest_file: self.largest_file.or(below.largest_file),
            build,
            publish,
            processes: below.processes.into_iter().chain(self.processes).collect(),
            hooks: below.hooks.into_iter().chain(self.hooks).collect(),
            shared: below.shared.and(self.shared),
            migrations: below.migrations.into_iter().chain(self.migrations).collect(),
        }
    }

    /// How the release is run, as its statement says it.
    pub fn running(&self) -> Running {
        Running {
            processes: running::processes(&self.processes),
            hooks: running::hooks(&self.hooks),
            shared: self.shared.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pannier_shared::statement::SharedPath;

    use super::*;
    use crate::testing::told;

    #[test]
    fn every_key_is_read() {
        let text = r#"
            app = "polls"
            store = "file:///srv/store"
            settings = "polls.settings.production"
            manage = "src/manage.py"
            python = "3.12"
            target = "aarch64-linux-gnu"
            requirements = "requirements/production.txt"
            extras = ["postgres"]
            groups = ["workers"]
            index = "machine"
            static = "committed"
            compress = ["gz", "br"]
            exclude = ["docs"]
            allow = ["tests/key.pem"]
            largest_file = 200
            [build]
            commands = ["manage.py compress --force"]
            installer = "pip"
            [build.env]
            SECRET_KEY = "placeholder"
            [publish]
            static = "s3://cdn/static"
            immutable = ["CACHE/**"]
            [shared]
            folders = ["media", "var/uploads"]
            files = ["local_settings.py"]
        "#;
        let settings = parse(text, FILE).unwrap();
        assert_eq!(settings.app.unwrap().as_str(), "polls");
        assert_eq!(settings.target.unwrap().as_str(), "aarch64-linux-gnu");
        assert_eq!(settings.static_files, Some(StaticFiles::Committed));
        assert_eq!(settings.compress, Some(vec![Encoding::Gz, Encoding::Br]));
        assert_eq!(settings.largest_file, Some(200));
        assert_eq!(settings.build.commands[0].arguments(), ["compress", "--force"]);
        assert_eq!((settings.extras, settings.groups), (vec!["postgres".to_owned()], vec!["workers".to_owned()]));
        assert_eq!((settings.index, settings.build.installer), (Some(Index::Machine), Some(Installer::Pip)));
        assert_eq!(settings.build.env["SECRET_KEY"], "placeholder");
        let publish =
            Publish { static_host: Some("s3://cdn/static".to_owned()), immutable: vec!["CACHE/**".to_owned()] };
        assert_eq!(settings.publish, publish);
        let shared: Vec<&str> = settings.shared.paths().map(SharedPath::as_str).collect();
        assert_eq!(shared, ["media", "var/uploads", "local_settings.py"]);
    }

    #[test]
    fn no_file_means_defaults() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()).unwrap(), Settings::default());
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_one_that_was_meant() {
        let error = parse("setings = \"x\"", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`pannier.toml` has the key `setings`, which Pannier does not know; did you mean `settings`?");
        let error = parse("[build.envs]\nA = \"1\"", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`pannier.toml` has the key `build.envs`, which Pannier does not know; did you mean `build.env`?");
        let error = parse("[shared]\nfolder = [\"media\"]", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`pannier.toml` has the key `shared.folder`, which Pannier does not know; did you mean `shared.folders`?");
        let error = parse("[publish]\nstatics = \"s3://cdn\"", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`pannier.toml` has the key `publish.statics`, which Pannier does not know; did you mean `publish.static`?");
        let error = parse("colour = 1", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @"`pannier.toml` has the key `colour`, which Pannier does not know");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_shown_where_it_stands() {
        let error = parse("app = \"polls\"\nstatic = \"maybe\"", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 10
          |
        2 | static = "maybe"
          |          ^^^^^^^
        unknown variant `maybe`, expected one of `collect`, `committed`, `none`
        "#);
    }

    #[test]
    fn a_path_that_cannot_be_shared_is_shown_where_it_stands() {
        insta::assert_snapshot!(told(&parse("[shared]\nfolders = [\"../media\"]", FILE).unwrap_err()), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 11
          |
        2 | folders = ["../media"]
          |           ^^^^^^^^^^^^
        `../media` cannot be shared: its path has the component `..`
        "#);
        insta::assert_snapshot!(told(&parse("[shared]\nfolders = [\"var\"]\nfiles = [\"var/x\"]", FILE).unwrap_err()), @"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 1, column 1
          |
        1 | [shared]
          | ^^^^^^^^
        `var/x` lies in `var`, which is shared as a whole
        ");
    }

    #[test]
    fn a_command_with_an_open_quote_is_shown_where_it_stands() {
        let error = parse("[build]\ncommands = [\"manage.py x 'y\"]", FILE).unwrap_err();
        insta::assert_snapshot!(told(&error), @r#"
        `pannier.toml` is not valid
        caused by: TOML parse error at line 2, column 12
          |
        2 | commands = ["manage.py x 'y"]
          |            ^^^^^^^^^^^^^^^^^^
        `manage.py x 'y` is not a command: a quote in it is not closed
        "#);
    }

    #[test]
    fn flags_go_over_the_file() {
        let file = "settings = \"a\"\npython = \"3.11\"\nexclude = [\"docs\"]\n[shared]\nfolders = [\"media\", \"a\"]";
        let file = parse(file, FILE).unwrap();
        let shared = parse("[shared]\nfolders = [\"a/b\", \"media\"]\nfiles = [\"x\"]", FILE).unwrap().shared;
        let flags =
            Settings { settings: Some("b".into()), exclude: vec!["tests".into()], shared, ..Settings::default() };
        let both = flags.over(file);
        assert_eq!(both.settings.as_deref(), Some("b"));
        assert_eq!(both.python.as_deref(), Some("3.11"));
        assert_eq!(both.exclude, ["docs", "tests"]);
        let shared: Vec<&str> = both.shared.paths().map(SharedPath::as_str).collect();
        assert_eq!(shared, ["media", "a", "x"]);
    }
}
