//! What is special about a drill: its folder must be out of the way of everything that runs, and it ends with a dated report
//! that can be kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use pannier_shared::report::human;
use pannier_shared::statement::suite::Role;
use pannier_shared::steps::Done;
use pannier_shared::sys::{clock, fs};

use super::app::{Came, Recovered};
use super::{Error, Place, Recovering, Request};
use crate::activate::one_line;
use crate::config::Config;

/// A folder in which a drill would touch what runs.
#[derive(Debug, thiserror::Error)]
#[error("a drill in {} could touch {}", .folder.display(), .other.display())]
pub struct NotAside {
    /// The folder.
    pub folder: PathBuf,
    /// What lies in it, or it in.
    pub other: PathBuf,
}

impl NotAside {
    /// What a person can type about it.
    pub fn hint(&self) -> String {
        "name a folder of its own with `--root`, such as /var/tmp/drill, which may be missing".to_owned()
    }
}

/// Neither the roots of this node nor those of the suite lie in the folder, or it in one of them; nor does the
/// configuration, which a drill would complete.
pub fn see_that_it_is_aside(folder: &Path, config: &Config, members: &Role) -> Result<(), Error> {
    let folder = resolved(folder)?;
    let configured = config.apps.values().map(|app| app.root.clone());
    let usual = members.iter().map(|(app, member)| match &member.node.root {
        Some(root) => root.into(),
        None => Path::new("/srv").join(app.as_str()),
    });
    for other in configured.chain(usual).chain([config.file.clone()]) {
        let other = resolved(&other)?;
        if other.starts_with(&folder) || folder.starts_with(&other) {
            return Err(NotAside { folder, other }.into());
        }
    }
    for app in members.keys().map(|app| folder.join(app.as_str())) {
        if fs::if_there(fs::lstat(&app))?.is_some_and(|meta| meta.is_symlink()) {
            return Err(NotAside { other: resolved(&app)?, folder }.into());
        }
    }
    Ok(fs::create_dir_all(&folder)?)
}

/// With the links of what there is of it resolved.
fn resolved(path: &Path) -> fs::Result<PathBuf> {
    if let Some(there) = fs::if_there(fs::canonical(path))? {
        return Ok(there);
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(resolved(parent)?.join(name)),
        _ => Ok(path.to_owned()),
    }
}

/// `recovery-2026-11-25T210000Z.md` in the drill's folder.
pub fn report(run: &mut Recovering) -> Result<Done, Error> {
    let Place::Scratch(folder) = &run.request.place else { return Ok(Done::said("it is no drill")) };
    let now = clock::now();
    let file = folder.join(format!("recovery-{}.md", now.strftime("%Y-%m-%dT%H%M%SZ")));
    let text = text(run.request, &run.apps, &now.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(), run);
    fs::write_durably(&file, text.as_bytes())?;
    let said = file.display().to_string();
    run.report = Some(file);
    Ok(Done::said(said))
}

fn text(request: &Request, apps: &[Recovered], now: &str, run: &Recovering) -> String {
    let Request { suite, role, origin, .. } = request;
    let serial = run.suite.as_ref().map_or(0, |suite| suite.serial);
    let failed = apps.iter().filter(|app| app.came.is_err()).count();
    let took = human::duration(run.began.elapsed());
    let bytes: u64 = apps.iter().filter_map(|app| app.moved).map(|moved| moved.bytes).sum();
    let mut text = format!("# Recovery drill, {now}\n\n");
    let _ = writeln!(text, "- suite `{suite}` (serial {serial}), role `{role}`");
    let _ = writeln!(text, "- from {}", origin.store.location());
    let _ = writeln!(text, "- {} apps, {failed} failed; {} in {took}\n", apps.len(), human::bytes(bytes));
    text +=
        "| app | runs | release | statement sha256 | fetched | seconds | verdict |\n|---|---|---|---|---|---|---|\n";
    for Recovered { app, runs, version, statement, moved, took, came, .. } in apps {
        let version = version.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let statement = statement.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let (bytes, seconds) = (human::bytes(moved.map_or(0, |moved| moved.bytes)), took.as_secs_f64());
        let verdict = match came {
            Ok(Came::Proven(bytes)) => format!("{} on the disk are what was signed", human::bytes(*bytes)),
            Ok(_) => "it serves".to_owned(),
            Err(trouble) => format!("FAILED: {}", human::harmless(&one_line(trouble)).replace('|', "\\|")),
        };
        let _ = writeln!(text, "| {app} | {runs} | {version} | {statement} | {bytes} | {seconds:.1} | {verdict} |");
    }
    text += "\nNo unit, process, port or database was touched, and no code of a release was run.\n";
    text
}
