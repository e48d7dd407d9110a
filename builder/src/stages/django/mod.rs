//! Django: what the project says of itself when its settings are loaded, without a database and without secrets.

use pannier_shared::event::{Event, Sink};
use pannier_shared::statement::{self, USUAL_MANIFEST};
use pannier_shared::sys::{fs, process};
use serde::Deserialize;

use super::scratch::{self, Scratch};

mod blame;
pub mod migrations;

pub use blame::hint;

use migrations::{Judgements, Told};

/// A settings file or wsgi.py is written by hand.
const TEXT_LIMIT: u64 = 1024 * 1024;

/// What Django said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// For the statement.
    pub django: statement::Django,
    /// For it too.
    pub migrations: statement::Migrations,
    /// How static files are stored; `None` when `django.contrib.staticfiles` is not installed.
    pub statics: Option<Static>,
}

/// The static files' storage.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Static {
    /// Its class.
    pub backend: String,
    /// True when it keeps files in a folder.
    pub local: bool,
    /// That folder, absolute; `None` when `STATIC_ROOT` is not set.
    pub root: Option<String>,
    /// True when it gives files hashed names.
    pub hashed: bool,
    /// Where it lists these, below the folder.
    pub manifest: String,
}

/// A project that Django cannot load.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The scratch copy failed.
    #[error(transparent)]
    Scratch(#[from] scratch::Error),
    /// Nothing names the settings module.
    #[error("no settings module is known: neither manage.py nor wsgi.py sets `DJANGO_SETTINGS_MODULE`")]
    NoSettings,
    /// Django is not among the dependencies.
    #[error("Django is not among the project's dependencies")]
    NoDjango,
    /// manage.py does not come to its command.
    #[error("manage.py failed before its command{}", process::last_lines(.traceback))]
    Manage {
        /// What Python said.
        traceback: String,
        /// The variable that was asked for, where Python knows it.
        variable: Option<String>,
    },
    /// The settings module, or an app that it installs, fails to import.
    #[error("{what} `{settings}` fail{} to load{}", if *.what == Phase::Settings { "s" } else { "" }, process::last_lines(.traceback))]
    Import {
        /// What was being loaded.
        what: Phase,
        /// The settings module.
        settings: String,
        /// What Python said.
        traceback: String,
        /// The variable that was asked for, where Python knows it.
        variable: Option<String>,
    },
    /// The description could not be made from loaded settings.
    #[error("Django cannot say how `{settings}` is set up{}", process::last_lines(.traceback))]
    Describe {
        /// The settings module.
        settings: String,
        /// What Python said.
        traceback: String,
    },
    /// A migration fails to import.
    #[error("the migration module `{module}` fails to load{}", process::last_lines(.traceback))]
    Migration {
        /// The module.
        module: String,
        /// What Python said.
        traceback: String,
        /// The variable that was asked for, where Python knows it.
        variable: Option<String>,
    },
    /// They depend on each other in a loop, or on what is not there.
    #[error("the migrations of the installed apps do not fit together{}", process::last_lines(.traceback))]
    Unfitting {
        /// What Django said.
        traceback: String,
    },
    /// What is said of them does not fit.
    #[error(transparent)]
    Migrations(#[from] migrations::Error),
}

/// How far loading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The settings module itself.
    Settings,
    /// The apps it lists.
    Apps,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Settings => "the settings module",
            Self::Apps => "the apps that are installed by",
        })
    }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSettings => Some("name it in pannier.toml: `settings = \"mysite.settings\"`".to_owned()),
            Self::NoDjango => Some("add `Django` to the requirements".to_owned()),
            Self::Import { traceback, variable, settings, .. } => hint(traceback, variable.as_deref(), Some(settings)),
            Self::Manage { traceback, variable } => hint(traceback, variable.as_deref(), None),
            Self::Migration { traceback, variable, .. } => hint(traceback, variable.as_deref(), None),
            Self::Unfitting { traceback } => Some(unfitting(traceback).to_owned()),
            _ => None,
        }
    }
}

/// The script's answer; a failure has only the first five.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    failed: Option<String>,
    traceback: String,
    variable: Option<String>,
    settings: String,
    importing: Option<String>,
    debug: bool,
    wsgi: Option<String>,
    asgi: Option<String>,
    static_url: String,
    #[serde(rename = "static")]
    statics: Option<Static>,
    migrations: Told,
}

/// Loads the project and asks; `judgements` are what a person says of its migrations.
pub fn describe(scratch: &Scratch, folder: &str, judgements: &Judgements, sink: &dyn Sink) -> Result<Project, Error> {
    let fallback = settings_in_wsgi(scratch, folder);
    let answer: Answer = scratch.ask(fallback.as_deref(), &["describe"])?;
    let answer = judge(answer)?;
    if answer.debug {
        sink.emit(Event::Warning { text: debug_warning(scratch, folder, &answer.settings) });
    }
    let folder = if folder.is_empty() { "." } else { folder };
    let django = statement::Django {
        settings: answer.settings,
        folder: folder.to_owned(),
        wsgi: answer.wsgi,
        asgi: answer.asgi,
        static_url: answer.static_url,
        static_hashed: answer.statics.as_ref().is_some_and(|statics| statics.hashed),
        static_manifest: answer.statics.as_ref().map_or(USUAL_MANIFEST, |statics| &statics.manifest).to_owned(),
    };
    let migrations = migrations::judged(answer.migrations, judgements)?;
    Ok(Project { django, migrations, statics: answer.statics })
}

fn judge(answer: Answer) -> Result<Answer, Error> {
    let Some(step) = answer.failed.clone() else { return Ok(answer) };
    let Answer { settings, traceback, variable, importing, .. } = answer;
    Err(match step.as_str() {
        "no settings" => Error::NoSettings,
        "django" => Error::NoDjango,
        "manage.py" => Error::Manage { traceback, variable },
        "settings" => Error::Import { what: Phase::Settings, settings, traceback, variable },
        "apps" => Error::Import { what: Phase::Apps, settings, traceback, variable },
        "migrations" => match importing {
            Some(module) => Error::Migration { module, traceback, variable },
            None => Error::Unfitting { traceback },
        },
        _ => Error::Describe { settings, traceback },
    })
}

/// What to do about migrations that Django cannot put in order, by the error that it raised.
fn unfitting(traceback: &str) -> &'static str {
    if traceback.contains("CircularDependencyError") {
        "take one of them out of the other's `dependencies`, or move what needs both into a migration of its own"
    } else {
        "add the missing migration to git, or correct `dependencies`; `manage.py showmigrations` says the same"
    }
}

/// `DJANGO_SETTINGS_MODULE` as the first wsgi.py one folder below manage.py sets it.
fn settings_in_wsgi(scratch: &Scratch, folder: &str) -> Option<String> {
    let top = scratch.app.join(folder);
    let packages = fs::list(&top).ok()?;
    let texts = packages.iter().filter_map(|name| fs::read_text(&top.join(name).join("wsgi.py"), TEXT_LIMIT).ok());
    texts.filter_map(|text| settings_literal(&text)).next()
}

/// The module in `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")`, or assigned.
fn settings_literal(text: &str) -> Option<String> {
    let (_, after) = text.split_once("DJANGO_SETTINGS_MODULE")?;
    let value = after.trim_start_matches(['"', '\'', ']', ',', ' ', '=', '\n']);
    let quote = after[..after.len() - value.len()].chars().last().filter(|c| matches!(c, '"' | '\''))?;
    let module = value.split(quote).next()?;
    let is_name = !module.is_empty() && module.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    is_name.then(|| module.to_owned())
}

fn debug_warning(scratch: &Scratch, folder: &str, settings: &str) -> String {
    let other = settings.rsplit_once('.').map(|(package, _)| format!("{package}.production"));
    let file = |module: &String| scratch.app.join(folder).join(module.replace('.', "/")).with_extension("py");
    let instead = other.filter(|module| fs::exists(&file(module)));
    let instead =
        instead.map(|module| format!("; for the one in production: `settings = \"{module}\"` in pannier.toml"));
    format!("`{settings}` has DEBUG switched on: pages show their source on errors{}", instead.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::told;

    #[test]
    fn the_settings_module_is_read_from_wsgi_py() {
        let found = |text: &str| settings_literal(text);
        assert_eq!(
            found("os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"a.settings\")").as_deref(),
            Some("a.settings")
        );
        assert_eq!(found("os.environ['DJANGO_SETTINGS_MODULE'] = 'a.b'").as_deref(), Some("a.b"));
        assert_eq!(found("os.environ.setdefault(\n  'DJANGO_SETTINGS_MODULE',\n  'a')").as_deref(), Some("a"));
        assert_eq!(found("os.environ.setdefault('DJANGO_SETTINGS_MODULE', NAME)"), None);
        assert_eq!(found("nothing"), None);
    }

    #[test]
    fn a_settings_module_that_fails_shows_its_last_lines_and_the_missing_variable() {
        let traceback =
            "File \"site/settings.py\", line 1, in <module>\n  os.environ[\"SECRET_KEY\"]\nKeyError: 'SECRET_KEY'\n";
        let answer = Answer {
            failed: Some("settings".to_owned()),
            traceback: traceback.to_owned(),
            settings: "site.settings".to_owned(),
            variable: Some("SECRET_KEY".to_owned()),
            ..Answer::default()
        };
        let error = judge(answer).unwrap_err();
        insta::assert_snapshot!(told(&error), @r#"
        the settings module `site.settings` fails to load
          | File "site/settings.py", line 1, in <module>
          |   os.environ["SECRET_KEY"]
          | KeyError: 'SECRET_KEY'
        "#);
        insta::assert_snapshot!(error.hint().unwrap(), @r#"
        the variable `SECRET_KEY` is probably missing; a build needs no secrets, so give it a placeholder in pannier.toml:

        [build.env]
        SECRET_KEY = "only-for-the-build"
        "#);
    }
}
