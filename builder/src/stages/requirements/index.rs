//! Where packages are fetched: what the project's own files say, as lines that pip and uv both read.
//!
//! The digests in a lock decide what is accepted, so a wrong or additional index can only fail a build, not change it.
//! PyPI itself is never written down: what a project calls PyPI is, on a build machine, whatever that machine is
//! configured with.

use std::collections::BTreeSet;
use std::path::Path;

use pannier_shared::sys::fs;
use serde::Deserialize;
use url::Url;

use super::{Ask, Error, LIMIT, toml_of};
use crate::stages::tools::Tools;

/// Options of requirements files that name an index.
pub const OPTIONS: &[&str] =
    &["-i", "--index-url", "--pypi-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--trusted-host"];

/// PyPI as locks write it.
pub const PYPI_URL: &str = "https://pypi.org/simple";

/// Hosts that are PyPI.
const PYPI: &[&str] = &["pypi.org", "pypi.python.org"];

/// A line of a requirements file, with a folder of links made absolute: relative to the file, as pip has it.
pub fn line(written: &str, file: &Path) -> String {
    let cut = written.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(written.len());
    let (option, value) = (&written[..cut], written[cut..].trim_start_matches('=').trim());
    match option {
        "-f" | "--find-links" => links(value, file.parent().unwrap_or(Path::new(""))),
        "-i" | "--pypi-url" => format!("--index-url {value}"),
        "--no-index" => option.to_owned(),
        _ => format!("{option} {value}"),
    }
}

/// A folder or page of links.
pub fn links(place: &str, base: &Path) -> String {
    let path = base.join(place);
    let is_path = !place.contains("://");
    if is_path && fs::exists(&path) {
        format!("--find-links {}", path.display())
    } else {
        format!("--find-links {place}")
    }
}

/// One more index, unless it is PyPI.
pub fn extra(url: &str) -> Option<String> {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let is_pypi = host.is_some_and(|host| PYPI.contains(&host.as_str()));
    (!is_pypi).then(|| format!("--extra-index-url {url}"))
}

/// Lines for the indexes that a lock was made from. Where PyPI is none of them, nothing is asked of PyPI either.
pub fn of_sources(urls: &BTreeSet<String>) -> Vec<String> {
    let mut lines: Vec<String> = urls.iter().filter_map(|url| extra(url)).collect();
    let without_pypi = lines.len() == urls.len();
    if let Some(first) = lines.first_mut().filter(|_| without_pypi) {
        *first = first.replacen("--extra-", "--", 1);
    }
    lines
}

/// A host whose certificate is not checked.
pub fn trusted(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(|host| format!("--trusted-host {host}"))
}

/// The address with a user's name and password.
pub fn with_login(address: &str, user: Option<&str>, password: Option<&str>) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    let Some(user) = user else { return address.to_owned() };
    let set = url.set_username(user).and_then(|()| url.set_password(password));
    set.map_or_else(|()| address.to_owned(), |()| url.to_string())
}

/// A line for a person: without the password.
pub fn without_secret(line: &str) -> String {
    let hidden = |word: &str| match Url::parse(word) {
        Ok(mut url) if url.password().is_some() => url.set_password(Some("***")).map(|()| url.to_string()).ok(),
        _ => None,
    };
    line.split(' ').map(|word| hidden(word).unwrap_or_else(|| word.to_owned())).collect::<Vec<_>>().join(" ")
}

/// Puts the caller's variables in the place of `${NAME}`, as pip and Pipenv do.
pub fn with_variables(text: &str, at: &str, tools: &Tools) -> Result<String, Error> {
    let mut parts = text.split("${");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((name, rest)) = part.split_once('}') else { continue };
        let unset = || Error::Unset { at: at.to_owned(), name: name.to_owned() };
        whole.push_str(&tools.variable(name).ok_or_else(unset)?);
        whole.push_str(rest);
    }
    Ok(whole)
}

/// uv's settings about indexes, of uv.toml or `[tool.uv]`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct UvSettings {
    no_index: bool,
    index_url: Option<String>,
    extra_index_url: Vec<String>,
    find_links: Vec<String>,
    index: Vec<UvIndex>,
}

#[derive(Debug, Deserialize)]
struct UvIndex {
    name: Option<String>,
    url: String,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    format: Option<String>,
}

#[derive(Deserialize)]
struct PyProject {
    tool: Option<Tool>,
}

#[derive(Deserialize)]
struct Tool {
    uv: Option<UvSettings>,
}

/// What uv is told about indexes, beside the file that is read or at the top of the project.
pub fn of_uv(ask: &Ask<'_>) -> Result<Vec<String>, Error> {
    let beside = ask.beside("");
    for folder in [beside.as_path(), ask.project] {
        if let Some(settings) = settings_in(folder, ask)? {
            return Ok(settings.lines(folder, ask.tools));
        }
    }
    Ok(Vec::new())
}

/// uv.toml stands in the place of `[tool.uv]`.
fn settings_in(folder: &Path, ask: &Ask<'_>) -> Result<Option<UvSettings>, Error> {
    let text = |name: &str| fs::if_there(fs::read_text(&folder.join(name), LIMIT));
    let name = |name: &str| {
        let path = folder.join(name);
        path.strip_prefix(ask.project).unwrap_or(&path).display().to_string()
    };
    if let Some(text) = text("uv.toml")? {
        return toml_of(&text, &name("uv.toml")).map(Some);
    }
    let Some(text) = text("pyproject.toml")? else { return Ok(None) };
    let read: PyProject = toml_of(&text, &name("pyproject.toml"))?;
    Ok(read.tool.and_then(|tool| tool.uv))
}

impl UvSettings {
    fn lines(self, base: &Path, tools: &Tools) -> Vec<String> {
        let mut lines: Vec<String> = self.no_index.then(|| "--no-index".to_owned()).into_iter().collect();
        lines.extend(self.index_url.and_then(|url| extra(&url)).map(|line| line.replacen("--extra-", "--", 1)));
        lines.extend(self.extra_index_url.iter().filter_map(|url| extra(url)));
        lines.extend(self.find_links.iter().map(|place| links(place, base)));
        lines.extend(self.index.into_iter().filter_map(|index| index.line(base, tools)));
        lines
    }
}

impl UvIndex {
    fn line(self, base: &Path, tools: &Tools) -> Option<String> {
        if self.format.as_deref() == Some("flat") {
            return Some(links(&self.url, base));
        }
        let login = |what: &str| tools.variable(&format!("UV_INDEX_{}_{what}", in_variable(self.name.as_deref()?)));
        let url = with_login(&self.url, login("USERNAME").as_deref(), login("PASSWORD").as_deref());
        let line = extra(&url)?;
        Some(if self.default { line.replacen("--extra-", "--", 1) } else { line })
    }
}

/// A name as it stands in the middle of a variable's: uv and Poetry write "my-index" as `MY_INDEX`.
pub fn in_variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_for_pip_and_uv() {
        let file = Path::new("/p/requirements.txt");
        assert_eq!(line("-i https://a.example/simple", file), "--index-url https://a.example/simple");
        assert_eq!(line("--extra-index-url=https://b.example", file), "--extra-index-url https://b.example");
        assert_eq!(line("--no-index", file), "--no-index");
        assert_eq!(line("-f https://c.example/links", file), "--find-links https://c.example/links");
    }

    #[test]
    fn a_folder_of_links_is_relative_to_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("requirements.txt");
        assert_eq!(line("--find-links .", &file), format!("--find-links {}", dir.path().join(".").display()));
    }

    #[test]
    fn pypi_is_what_the_machine_says() {
        assert_eq!(extra("https://pypi.org/simple/"), None);
        assert_eq!(extra("https://a.example/simple").as_deref(), Some("--extra-index-url https://a.example/simple"));
    }

    #[test]
    fn where_pypi_is_no_source_it_is_not_asked() {
        let lines = |urls: &[&str]| of_sources(&urls.iter().map(|url| (*url).to_owned()).collect());
        assert_eq!(
            lines(&["https://a.example", "https://b.example"]),
            ["--index-url https://a.example", "--extra-index-url https://b.example"]
        );
        assert_eq!(lines(&["https://a.example", PYPI_URL]), ["--extra-index-url https://a.example"]);
        assert!(lines(&[PYPI_URL]).is_empty());
    }

    #[test]
    fn logins_come_from_variables_and_are_not_shown() {
        let line = with_login("https://a.example/simple", Some("me"), Some("p/w"));
        assert_eq!(line, "https://me:p%2Fw@a.example/simple");
        assert_eq!(with_login("https://a.example/simple", None, Some("p")), "https://a.example/simple");
        assert_eq!(without_secret(&format!("--index-url {line}")), "--index-url https://me:***@a.example/simple");
        assert_eq!(in_variable("my-index.2"), "MY_INDEX_2");
    }

    #[test]
    fn settings_of_uv_become_lines() {
        let text = "no-index = true\nindex-url = \"https://i.example\"\n[[index]]\nurl = \"https://d.example\"\ndefault = true\n\
                    [[index]]\nurl = \"https://pypi.org/simple\"\n[[index]]\nurl = \"https://f.example\"\nformat = \"flat\"\n";
        let settings: UvSettings = toml::from_str(text).unwrap();
        let lines = settings.lines(Path::new("/p"), &Tools::none());
        assert_eq!(
            lines,
            [
                "--no-index",
                "--index-url https://i.example",
                "--index-url https://d.example",
                "--find-links https://f.example"
            ]
        );
    }
}
