//! The caller's environment, taken once in `main` and passed on by allow-list: no program that the build starts sees
//! a variable that is not named here, so that a build does not depend on the shell it was started from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use pannier_shared::sys::process;

/// The one time stamp of everything a build makes: 1980-01-01, the earliest that a wheel (a zip file) can hold.
pub const SOURCE_DATE_EPOCH: &str = "315532800";

/// What every program is given: a fixed language, time zone and hash seed; the reasons are reproducible output.
const FIXED: &[(&str, &str)] = &[
    ("LC_ALL", "C.UTF-8"),
    ("TZ", "UTC"),
    ("PYTHONHASHSEED", "0"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH),
];

/// Where programs and caches are: what any program needs to start.
const BASE: &[&str] = &["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "PYENV_ROOT", "PYENV_VERSION"];

/// How the network is reached, for programs that fetch, and the compiler's variables, for wheels built from source.
const NETWORK: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "PKG_CONFIG_PATH",
];

/// Families of variables that configure pip and uv.
const TOOL_PREFIXES: &[&str] = &["PIP_", "UV_"];

/// Of those families, what would change what the build makes or where it puts it.
const TOOL_REFUSED: &[&str] = &[
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_PYTHON",
    "PIP_REQUIREMENT",
    "PIP_REQUIRE_VIRTUALENV",
    "UV_PYTHON",
    "UV_COMPILE_BYTECODE",
    "UV_PROJECT_ENVIRONMENT",
    "UV_LINK_MODE",
    "UV_TARGET",
];

/// The caller's environment as data.
#[derive(Debug, Clone, Default)]
pub struct Ambient(BTreeMap<OsString, OsString>);

impl Ambient {
    /// Takes variables, usually `std::env::vars_os()`.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    /// One variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The folder for what may be thrown away and is costly to make: `$XDG_CACHE_HOME/pannier`, else `~/.cache/pannier`;
    /// `None` where neither variable is set.
    pub fn cache(&self) -> Option<PathBuf> {
        let home = || self.get("HOME").map(|home| PathBuf::from(home).join(".cache"));
        self.get("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).map(|folder| folder.join("pannier"))
    }

    /// A program that works on local files only: base variables and the fixed ones.
    pub fn local(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = process::program(program);
        command.envs(self.named(BASE)).envs(FIXED.iter().copied());
        command
    }

    /// A program that fetches from the package index: also proxies, certificates and the configuration of pip and uv.
    pub fn fetching(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.local(program);
        command.envs(self.named(NETWORK)).envs(self.of_tools());
        command
    }

    fn named<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a OsStr)> {
        names.iter().filter_map(|name| self.get(name).map(|value| (*name, value)))
    }

    fn of_tools(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.0.iter().filter(|(name, _)| name.to_str().is_some_and(configures_tools))
    }
}

/// A program of the project itself (manage.py): nothing of the caller's environment, only what is given and the fixed
/// variables.
pub fn project(program: impl AsRef<OsStr>) -> Command {
    let mut command = process::program(program);
    command.envs(FIXED.iter().copied());
    command
}

fn configures_tools(name: &str) -> bool {
    TOOL_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !TOOL_REFUSED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambient(pairs: &[(&str, &str)]) -> Ambient {
        Ambient::of(pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
    }

    fn names(command: &Command) -> Vec<String> {
        command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn only_named_variables_reach_a_local_program() {
        let env = ambient(&[("PATH", "/bin"), ("SECRET_KEY", "s"), ("PIP_INDEX_URL", "u")]);
        let names = names(&env.local("x"));
        assert!(names.contains(&"PATH".to_owned()) && names.contains(&"TZ".to_owned()));
        assert!(!names.iter().any(|name| name == "SECRET_KEY" || name == "PIP_INDEX_URL"));
    }

    #[test]
    fn the_configuration_of_pip_and_uv_reaches_what_fetches() {
        let env =
            ambient(&[("PIP_INDEX_URL", "u"), ("UV_HTTP_TIMEOUT", "9"), ("UV_PYTHON", "3.9"), ("PIP_TARGET", "/")]);
        let names = names(&env.fetching("x"));
        assert!(names.contains(&"PIP_INDEX_URL".to_owned()) && names.contains(&"UV_HTTP_TIMEOUT".to_owned()));
        assert!(!names.contains(&"UV_PYTHON".to_owned()) && !names.contains(&"PIP_TARGET".to_owned()));
    }

    #[test]
    fn the_cache_follows_xdg_then_home() {
        assert_eq!(ambient(&[("HOME", "/h")]).cache(), Some("/h/.cache/pannier".into()));
        assert_eq!(ambient(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]).cache(), Some("/c/pannier".into()));
        assert_eq!(ambient(&[("HOME", "")]).cache(), None);
    }
}
