//! Pins: the one form that every list of dependencies ends in.

use std::path::{Path, PathBuf};

use pannier_shared::sys::fs;
use url::Url;

use super::error::{Error, Why};

/// One dependency, decided: it applies to the interpreter, and only these bytes may be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Normalised project name (PEP 503).
    pub name: String,
    /// Its version; `None` where only its source says.
    pub version: Option<String>,
    /// SHA-256, "sha256:...", of the files that it may be: any one of them. Empty where the source itself is the proof.
    pub hashes: Vec<String>,
    /// Names of the files there are, where the list tells.
    pub files: Vec<String>,
    /// Where it comes from.
    pub source: Source,
    /// Where it stands: "requirements.txt:12", "poetry.lock: django".
    pub at: String,
}

/// Where a dependency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A package index or a folder of links, by name and version.
    Index,
    /// One file at an address.
    Url(String),
    /// A wheel or source archive in the project.
    File(PathBuf),
    /// A folder in the project, to be built.
    Folder(PathBuf),
    /// A commit, to be built.
    Git {
        /// The repository.
        url: String,
        /// The whole commit id.
        commit: String,
        /// The folder in it that is the package; empty for its top.
        subfolder: String,
    },
}

impl Pin {
    /// For a person: "django 5.2.7".
    pub fn title(&self) -> String {
        self.version.as_ref().map_or_else(|| self.name.clone(), |version| format!("{} {version}", self.name))
    }
}

impl Source {
    /// A path as a list gives it, relative to `base`. It must be in the project: what lies beside it is not known to
    /// whoever builds the same commit on another machine.
    pub fn of_path(written: &str, base: &Path, project: &Path, at: &str) -> Result<Self, Error> {
        let refused = |why| Error::Refused { at: at.to_owned(), text: written.to_owned(), why };
        let plain = written.split('#').next().unwrap_or(written);
        let path = if plain.starts_with("file:") {
            Url::parse(plain).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(|| refused(Why::Nothing))?
        } else {
            base.join(plain)
        };
        let missing = || Error::NotThere { at: at.to_owned(), file: written.to_owned() };
        let path = fs::if_there(fs::canonical(&path))?.ok_or_else(missing)?;
        if path == project {
            return Err(refused(Why::Itself));
        }
        if !path.starts_with(project) {
            return Err(refused(Why::Outside));
        }
        Ok(if fs::stat(&path)?.is_dir() { Self::Folder(path) } else { Self::File(path) })
    }

    /// A repository at a commit; a branch or tag may be another commit tomorrow.
    pub fn of_git(url: &str, commit: &str, subfolder: &str, at: &str) -> Result<Self, Error> {
        let url = url.trim_start_matches("git+");
        if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let text = format!("git+{url}@{commit}");
            return Err(Error::Refused { at: at.to_owned(), text, why: Why::Moving });
        }
        let (commit, subfolder) = (commit.to_ascii_lowercase(), subfolder.to_owned());
        Ok(Self::Git { url: url.to_owned(), commit, subfolder })
    }

    /// "git+https://example.org/x.git@abc#subdirectory=y" as pip and uv write it.
    pub fn of_git_line(written: &str, at: &str) -> Result<Self, Error> {
        let (address, fragment) = written.split_once('#').unwrap_or((written, ""));
        let subfolder = fragment.split('&').find_map(|part| part.strip_prefix("subdirectory=")).unwrap_or_default();
        // The user's name in the address ends in `@` too: a commit comes after the last `/`.
        let cut = address.rfind('@').filter(|at| Some(*at) > address.rfind('/'));
        let (url, commit) = cut.map_or((address, ""), |cut| (&address[..cut], &address[cut + 1..]));
        Self::of_git(url, commit, subfolder, at)
    }
}

/// "sha256:..." out of some hashes; `None` when there is none that can be checked.
pub fn sha256s<'a>(hashes: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    hashes.into_iter().filter(|hash| hash.starts_with("sha256:")).cloned().collect()
}
