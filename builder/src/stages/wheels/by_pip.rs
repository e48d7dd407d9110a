//! Resolving with pip alone: it says what it would install, and that becomes a list with hashes.
//!
//! pip knows only the file that it chose of each version, for this machine: so the list holds one hash each.

use std::path::Path;

use pannier_shared::sys::{fs, process};
use serde::Deserialize;

use super::Error;
use super::resolve::{Place, RESOLVE, question, unresolved};
use crate::stages::requirements::{List, normalise};

/// A report has the metadata of everything: 100 kB each at most.
const REPORT_LIMIT: u64 = 256 * 1024 * 1024;

#[derive(Deserialize)]
struct Report {
    install: Vec<Chosen>,
}

#[derive(Deserialize)]
struct Chosen {
    metadata: Metadata,
    download_info: Download,
    #[serde(default)]
    is_direct: bool,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

/// Where it comes from (PEP 610).
#[derive(Deserialize)]
struct Download {
    url: String,
    archive_info: Option<Archive>,
    vcs_info: Option<Commit>,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Archive {
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Commit {
    vcs: String,
    commit_id: String,
}

/// Writes the list to `path`.
pub fn resolve(list: &List, indexes: &[String], place: &Place<'_>, path: &Path) -> Result<(), Error> {
    let (wanted, limits) = question(list, indexes, place)?;
    let report = place.work.join("chosen.json");
    let mut pip = place.tools.pip();
    pip.args(["install", "--dry-run", "--ignore-installed", "--quiet", "--progress-bar", "off", "--report"])
        .arg(&report);
    pip.arg("--constraint").arg(&limits).arg("--requirement").arg(&wanted);
    process::run(&mut pip, RESOLVE).map_err(unresolved(list, place))?;
    let chosen = serde_json::from_slice(&fs::read(&report, REPORT_LIMIT)?).map_err(Error::Report)?;
    Ok(fs::write(path, lines(&chosen).as_bytes())?)
}

/// A line for each, sorted by name.
fn lines(report: &Report) -> String {
    let mut lines: Vec<String> = report.install.iter().map(Chosen::line).collect();
    lines.sort();
    lines.concat()
}

impl Chosen {
    fn line(&self) -> String {
        let (name, Download { url, archive_info, vcs_info, subdirectory }) =
            (normalise(&self.metadata.name), &self.download_info);
        let part = subdirectory.as_ref().map(|folder| format!("#subdirectory={folder}")).unwrap_or_default();
        let sha256 = archive_info.as_ref().and_then(|archive| archive.hashes.get("sha256"));
        let hash = sha256.map(|sha256| format!(" --hash=sha256:{sha256}")).unwrap_or_default();
        match vcs_info {
            Some(Commit { vcs, commit_id }) => format!("{name} @ {vcs}+{url}@{commit_id}{part}\n"),
            // A folder: its own content says what it is.
            None if archive_info.is_none() => format!("{url}\n"),
            None if self.is_direct => format!("{name} @ {url}{part}{hash}\n"),
            None => format!("{name}=={}{hash}\n", self.metadata.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_source_becomes_a_line() {
        let one = |name: &str, info: &str| format!(r#"{{"metadata": {{"name": "{name}", "version": "1.0"}}, {info}}}"#);
        let archive = r#""archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}"#;
        let all = [
            one("B_x", &format!(r#""download_info": {{"url": "https://i/b.whl", {archive}}}"#)),
            one("a", &format!(r#""is_direct": true, "download_info": {{"url": "https://i/a.whl", {archive}}}"#)),
            one("c", r#""download_info": {"url": "file:///p/c", "dir_info": {}}"#),
            one(
                "g",
                r#""download_info": {"url": "https://g/r", "vcs_info": {"vcs": "git", "commit_id": "c0"}, "subdirectory": "d"}"#,
            ),
        ];
        let report = serde_json::from_str(&format!(r#"{{"install": [{}]}}"#, all.join(","))).unwrap();
        insta::assert_snapshot!(lines(&report), @r"
        a @ https://i/a.whl --hash=sha256:ab
        b-x==1.0 --hash=sha256:ab
        file:///p/c
        g @ git+https://g/r@c0#subdirectory=d
        ");
    }
}
