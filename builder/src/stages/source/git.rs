//! What git tracks, as it lies in the working tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use pannier_shared::event::{Event, Sink};
use pannier_shared::statement;
use pannier_shared::sys::{fs, process};

use super::{Error, Listing};
use crate::environment::Ambient;

/// git answers from its index; a minute is for very large checkouts on slow disks.
const LIMIT: Duration = Duration::from_secs(60);

/// How many untracked files a warning names.
const NAMED: usize = 3;

/// The tracked files below `project`, not counting the build's `own_folders`; `None` when it is not in a git checkout, or git tracks nothing below it.
pub fn tracked(
    project: &Path,
    own_folders: &[PathBuf],
    env: &Ambient,
    sink: &dyn Sink,
) -> Result<Option<Listing>, Error> {
    let git = |arguments: &[&str]| process::run(command(project, env).args(arguments), LIMIT);
    if let Err(error) = git(&["rev-parse", "--is-inside-work-tree"]) {
        return not_in_git(project, error, sink);
    }
    let failed = |source| Error::Git { folder: project.to_owned(), source };
    let listed = git(&["ls-files", "-z", "--recurse-submodules"]).map_err(failed)?;
    let all = names(&listed.stdout)?;
    if all.is_empty() {
        return Ok(None);
    }
    let mut paths: Vec<String> = all.into_iter().filter(|path| fs::exists(&project.join(path))).collect();
    paths.sort();
    let others = git(&["ls-files", "-z", "--others", "--exclude-standard"]).map_err(failed)?;
    let mut others = names(&others.stdout)?;
    others.retain(|path| !own_folders.iter().any(|own| project.join(path).starts_with(own)));
    warn_of_untracked(&others, sink);
    let status = ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", "."];
    let changed = changed(&names(&git(&status).map_err(failed)?.stdout)?);
    // Before the first commit there is no HEAD, and so nothing to name.
    let head = git(&["rev-parse", "--verify", "HEAD"]).ok();
    let source = head.map(|head| statement::Source {
        commit: String::from_utf8_lossy(&head.stdout).trim().to_owned(),
        dirty: !changed.is_empty(),
        committed: git(&["log", "-1", "--no-show-signature", "--format=%ct", "HEAD"]).ok().and_then(committed),
    });
    if source.as_ref().is_some_and(|source| source.dirty) {
        sink.emit(Event::Warning { text: "tracked files differ from the commit: the release says `dirty`".to_owned() });
    }
    Ok(Some(Listing { paths, source, changed }))
}

fn command(project: &Path, env: &Ambient) -> Command {
    let mut command = env.local("git");
    command.arg("-C").arg(project).args(["-c", "core.quotePath=false"]);
    command
}

/// The committer's time that git printed, in seconds since 1970.
fn committed(printed: process::Printed) -> Option<Timestamp> {
    let seconds = String::from_utf8(printed.stdout).ok()?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

/// Tells "no checkout" and "no git" from "git refuses" (a checkout that belongs to somebody else, a broken one).
fn not_in_git(project: &Path, error: process::Error, sink: &dyn Sink) -> Result<Option<Listing>, Error> {
    match &error {
        process::Error::NotStarted { .. } if !project.ancestors().any(|above| fs::exists(&above.join(".git"))) => {
            Ok(None)
        }
        process::Error::NotStarted { .. } => {
            let text = "this is a git checkout, but git cannot be started: packing every file not on the ignore list";
            sink.emit(Event::Warning { text: text.to_owned() });
            Ok(None)
        }
        process::Error::Failed { output, .. } if output.contains("not a git repository") => Ok(None),
        _ => Err(Error::Git { folder: project.to_owned(), source: error }),
    }
}

/// Splits what `-z` prints.
fn names(printed: &[u8]) -> Result<Vec<String>, Error> {
    let name = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|e| Error::NotUtf8(String::from_utf8_lossy(e.as_bytes()).into_owned()))
    };
    printed.split(|byte| *byte == 0).filter(|bytes| !bytes.is_empty()).map(name).collect()
}

/// The paths in lines of `git status`: "XY PATH".
fn changed(lines: &[String]) -> Vec<String> {
    lines.iter().filter_map(|line| line.get(3..)).map(str::to_owned).collect()
}

fn warn_of_untracked(paths: &[String], sink: &dyn Sink) {
    if paths.is_empty() {
        return;
    }
    let more = if paths.len() > NAMED { ", ..." } else { "" };
    let named = paths[..paths.len().min(NAMED)].join(", ");
    let text =
        format!("{} files are neither tracked nor ignored by git and are not packed: {named}{more}", paths.len());
    sink.emit(Event::Warning { text });
}
