//! pip's words, read for what they say: whose file has other bytes, which version is not there, whose build failed.
//!
//! What is not recognised is shown as it is.

use pannier_shared::sys::process;

use super::{Error, WheelName};
use crate::stages::requirements::Pin;

/// How many lines of a failed build are shown.
const LINES: usize = 12;

/// A download that failed.
pub fn of_download(source: process::Error, file: &str) -> Error {
    let text = source.to_string_of_output();
    mismatch(&text)
        .or_else(|| not_found(&text, file))
        .or_else(|| failed_build(&text, file))
        .unwrap_or_else(|| Error::Fetch { file: file.to_owned(), source })
}

/// The wheels of a pin's version that pip passed over because none of their tags fits, sorted.
pub fn passed_over(error: &process::Error, pin: &Pin) -> Vec<String> {
    let text = error.to_string_of_output();
    let addresses =
        text.lines().filter_map(|line| line.split_once("are compatible (run pip debug")?.1.split_once("): "));
    let names = addresses.filter_map(|(_, address)| address.split([' ', '#']).next()?.rsplit('/').next());
    let is_its = |file: &&str| {
        WheelName::parse(file).is_some_and(|name| pin.version.as_ref().is_none_or(|version| *version == name.version))
    };
    let mut files: Vec<String> = names.filter(is_its).map(str::to_owned).collect();
    files.sort();
    files.dedup();
    files
}

/// A build that failed.
pub fn of_build(source: process::Error, pin: &Pin) -> Error {
    let output = words(&source.to_string_of_output());
    Error::Build { what: pin.title(), at: pin.at.clone(), output, elsewhere: None }
}

/// What a process printed before it failed.
trait Output {
    fn to_string_of_output(&self) -> String;
}

impl Output for process::Error {
    fn to_string_of_output(&self) -> String {
        match self {
            Self::Failed { output, .. } => output.clone(),
            other => other.to_string(),
        }
    }
}

fn mismatch(text: &str) -> Option<Error> {
    let after = text.split_once("DO NOT MATCH THE HASHES")?.1;
    let what = after.lines().skip(1).find(|line| !line.trim().is_empty())?;
    let what = what.split(" (from -r").next()?.split(" from ").next()?.trim();
    let hashes = |word: &str| {
        let lines = after.lines().map(str::trim).filter_map(move |line| line.strip_prefix(word));
        lines.map(|rest| rest.trim().trim_start_matches("sha256").trim().to_owned()).collect::<Vec<_>>()
    };
    let mut expected = hashes("Expected");
    expected.extend(hashes("or"));
    Some(Error::Mismatch { what: what.to_owned(), expected, found: hashes("Got").into_iter().next()? })
}

fn not_found(text: &str, file: &str) -> Option<Error> {
    let what = text.lines().find_map(|line| line.strip_prefix("ERROR: No matching distribution found for "))?;
    let what = what.split(" (from").next()?.trim().to_owned();
    let found = text.split_once("(from versions: ").and_then(|(_, rest)| rest.split_once(')')).map(|(list, _)| list);
    let others = found.filter(|list| *list != "none").unwrap_or_default().to_owned();
    Some(Error::NotFound { what, file: file.to_owned(), others })
}

/// pip asks a source archive for its metadata as it fetches it: that can fail as a build can.
fn failed_build(text: &str, file: &str) -> Option<Error> {
    text.contains("subprocess-exited-with-error").then_some(())?;
    let begun = |line| str::strip_prefix(line, "Collecting ").or_else(|| str::strip_prefix(line, "Processing "));
    let what = text.lines().map(str::trim).filter_map(begun).next_back()?;
    let what = what.split(" (from").next()?.rsplit('/').next()?.trim().to_owned();
    Some(Error::Build { at: file.to_owned(), what, output: words(text), elsewhere: None })
}

/// The last lines of what the build itself said, without pip's frame around it.
fn words(text: &str) -> String {
    let inner = text.split_once("lines of output]").map_or(text, |(_, rest)| rest);
    let inner = inner.split("[end of output]").next().unwrap_or(inner);
    let lines: Vec<&str> = inner.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    tail.iter().map(|line| format!("\n  | {line}")).collect()
}
