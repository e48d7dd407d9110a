//! What can be wrong with a list of dependencies, and what to type then.

use super::poetry;
use pannier_shared::sys::{fs, process};

use super::marker;

/// Requirements that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// There is no file that lists dependencies.
    #[error("the project lists no dependencies: looked for {}{}", quoted(.files), if .folder.is_empty() { String::new() } else { format!(", in `{folder}` and at the top") })]
    None {
        /// The files that were searched.
        files: Vec<String>,
        /// The folder of manage.py; empty for the top.
        folder: String,
    },
    /// Two lock files, and nothing says which one counts.
    #[error("the project has {} lock files: {}", .0.len(), quoted(.0))]
    ManyLocks(Vec<String>),
    /// A file that is named is not there.
    #[error("{at}: `{file}` is not there")]
    NotThere {
        /// Where it is named.
        at: String,
        /// The file, as written.
        file: String,
    },
    /// Includes go round in a circle.
    #[error("`{0}` is included by itself, or more than {max} files deep", max = super::list::DEPTH)]
    Circle(String),
    /// A dependency that cannot be held to exact bytes.
    #[error("{at}: `{text}` {why}")]
    Refused {
        /// Where it stands.
        at: String,
        /// As written.
        text: String,
        /// What is wrong with it.
        why: Why,
    },
    /// Some requirements have hashes and this one has none.
    #[error("{at}: `{text}` has no hash, but others in `{file}` have one")]
    HashMissing {
        /// Where it stands.
        at: String,
        /// The requirement.
        text: String,
        /// The list.
        file: String,
    },
    /// A file is not valid TOML, or not of the expected form.
    #[error("`{file}` is not valid")]
    Toml {
        /// The file.
        file: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A file is not valid JSON, or not of the expected form.
    #[error("`{file}` is not valid")]
    Json {
        /// The file.
        file: String,
        /// Where and why.
        source: serde_json::Error,
    },
    /// pyproject.toml does not list the dependencies itself.
    #[error("`{file}` has no `[project] dependencies`{}", if *.dynamic { ": they are declared `dynamic`" } else { "" })]
    NotInProject {
        /// The file.
        file: String,
        /// True when it says that a build backend knows them.
        dynamic: bool,
    },
    /// pyproject.toml says for a dependency where it comes from, which only uv's lock can pin.
    #[error("`{file}` takes `{name}` from a place of its own (`[tool.uv.sources]`), and there is no uv.lock")]
    NeedsLock {
        /// The file.
        file: String,
        /// The dependency.
        name: String,
    },
    /// The lock can be read with uv only.
    #[error("`{file}` is read with uv, and pip is to do the work")]
    NeedsUv {
        /// The file.
        file: String,
    },
    /// A lock file of a form that Pannier does not know.
    #[error("`{file}` is of version {found}; this Pannier reads {known}")]
    LockVersion {
        /// The lock file.
        file: String,
        /// What it says.
        found: String,
        /// What can be read.
        known: &'static str,
        /// A command that writes a lock file that can be read.
        command: &'static str,
    },
    /// The lock file was written for another state of the project.
    #[error("`{file}` does not fit `{project}`: the dependencies were changed after it was written")]
    Stale {
        /// The lock file.
        file: String,
        /// The file it was made from.
        project: String,
        /// The command that writes it anew.
        command: &'static str,
        /// The tool's own words, where one was asked.
        source: Option<Box<process::Error>>,
    },
    /// uv could not read its own lock file.
    #[error("uv cannot export `{file}`")]
    Export {
        /// The lock file.
        file: String,
        /// uv's own words.
        source: process::Error,
    },
    /// A marker that cannot be read.
    #[error("{at}: the marker `{marker}` cannot be decided")]
    Marker {
        /// Where it stands.
        at: String,
        /// The marker.
        marker: String,
        /// Why.
        source: marker::Error,
    },
    /// A chosen extra or group does not exist.
    #[error("`{file}` has no {kind} `{name}`{}", among(.known))]
    NoSuch {
        /// The file.
        file: String,
        /// "extra" or "group".
        kind: &'static str,
        /// What was chosen.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The lock was made for other interpreters.
    #[error("`{file}` is for Python {wants}, and the release's interpreter is {python}")]
    Python {
        /// The lock file.
        file: String,
        /// The specifier in it.
        wants: String,
        /// The version of the interpreter.
        python: String,
    },
    /// A variable in the address of an index is not set.
    #[error("{at}: the address of a package index has `${{{name}}}` in it, and that variable is not set")]
    Unset {
        /// Where it stands.
        at: String,
        /// The variable.
        name: String,
    },
}

/// Why a dependency is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is installed as a link to its source.
    Editable,
    /// It lies outside of the project.
    Outside,
    /// It is the project itself.
    Itself,
    /// It names a branch or a tag, or nothing.
    Moving,
    /// It has hashes, but names no exact version.
    Range,
    /// No SHA-256.
    NoHash,
    /// Version control other than git.
    OtherVcs,
    /// It is nothing that a list can hold.
    Nothing,
}

impl Why {
    const fn text(self) -> &'static str {
        match self {
            Self::Editable => "is an editable install: a link to files that are not on the node",
            Self::Outside => "lies outside of the project, so no commit of the project holds it",
            Self::Itself => "is the project itself, which runs from its own files and is not installed",
            Self::Moving => "names no commit, so it can be something else tomorrow",
            Self::Range => "has hashes, but no exact version",
            Self::NoHash => "has no SHA-256, so nothing tells whether its bytes are the right ones",
            Self::OtherVcs => "comes from version control other than git",
            Self::Nothing => "is not a requirement",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Editable => {
                "name the folder without `-e` (`editable`, `develop`), as in `./packages/name`: a wheel is built of it"
            }
            Self::Outside => "move it into the project, or depend on a released version or on a git commit",
            Self::Itself => "take it off the list",
            Self::Moving => "pin it to the whole commit id: `git+https://HOST/REPOSITORY@COMMIT`",
            Self::Range => "write the list anew, for example with `uv pip compile --generate-hashes`",
            Self::NoHash => "lock again with hashes, or depend on a released version by name",
            Self::OtherVcs | Self::Nothing => "depend on a released version by name",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::None { .. } | Self::NotInProject { .. } => {
                "name the file in pannier.toml: `requirements = \"requirements/production.txt\"`".to_owned()
            }
            Self::ManyLocks(files) => {
                format!("say which one counts in pannier.toml: `requirements = \"{}\"`", files.first()?)
            }
            Self::HashMissing { .. } => {
                "write the list anew, for example with `uv pip compile --generate-hashes`".to_owned()
            }
            Self::Refused { why, .. } => why.hint().to_owned(),
            Self::NeedsLock { .. } => "run `uv lock` and commit uv.lock".to_owned(),
            Self::NeedsUv { .. } => "write it for pip: `uv export --format pylock.toml --output-file pylock.toml`, and name that \
                                     with `requirements = \"pylock.toml\"`; or take `installer = \"pip\"` out of pannier.toml"
                .to_owned(),
            Self::LockVersion { file, command: poetry::LOCK, .. } => format!(
                "write it anew with Poetry 2, which keeps its versions: `{}`; or, with Poetry 1, `poetry export --output \
                 requirements.txt` beside `{file}`, and `requirements = \"requirements.txt\"` in pannier.toml",
                poetry::LOCK
            ),
            Self::LockVersion { command, .. } => format!("write it anew: `{command}`"),
            Self::Stale { command, .. } => format!("run `{command}` and commit the result"),
            Self::NoSuch { kind, .. } => format!("correct `{kind}s` in pannier.toml, or `--{kind}`"),
            Self::Python { .. } => {
                "build with an interpreter that fits: `--python 3.X`, or lock for this one".to_owned()
            }
            Self::Unset { name, .. } => format!("`export {name}=...`"),
            Self::Fs(_) | Self::NotThere { .. } | Self::Circle(_) | Self::Toml { .. } | Self::Json { .. } => {
                return None;
            }
            Self::Export { .. } => "try it by hand, in the folder of the lock: `uv export --frozen`".to_owned(),
            Self::Marker { .. } => return None,
        })
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn among(known: &[String]) -> String {
    if known.is_empty() { ", and no other either".to_owned() } else { format!("; it has {}", quoted(known)) }
}
