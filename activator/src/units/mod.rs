//! systemd units for the processes of a release: which there are, what stands in them, and how they come onto the disk.
//!
//! | file | what |
//! |---|---|
//! | `pannier-<app>.<process>.service` | how the process is kept: hardening, stopping, starting at boot; the same for every release |
//! | `pannier-<app>.<process>.service.d/50-release.conf` | which release it is: program, folder, variables; written at each switch |
//! | `pannier-<app>.<process>.socket` | where a process with `socket = true` is reached; systemd holds it open while the process is replaced |
//!
//! The drop-in names the release's own folder, so that `systemctl restart` and a boot start what the last switch said and
//! nothing goes through `current`. A person's own lines belong into `systemctl edit NAME`, which survives all of this.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pannier_shared::id::{AppName, ProcessName};
use pannier_shared::statement::Process;
use pannier_shared::sys::fs;
use serde::Serialize;

use crate::launch::Place;

pub mod of_release;
mod text;

/// Where units lie when nothing else is said.
pub const DEFAULT: &str = "/etc/systemd/system";

/// The drop-in that names the release; after what a distribution puts below 50, before `systemctl edit`'s `override.conf`.
const DROP_IN: &str = "50-release.conf";

/// What is configured for an app's units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// The folder they are written to.
    pub folder: PathBuf,
    /// Whom the processes run as; root when not given.
    pub user: Option<String>,
    /// Where processes with a socket are reached: `ADDRESS:PORT` or the path of a Unix socket.
    pub listen: BTreeMap<ProcessName, String>,
}

/// A path that cannot stand in a unit.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot stand in a systemd unit: only letters, digits and `/._+@-` are allowed", .0.display())]
pub struct Unfit(pub PathBuf);

/// One file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its path below the folder of units.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

impl File {
    /// Whether it is the part that each switch writes anew.
    pub fn names_the_release(&self) -> bool {
        self.path.ends_with(DROP_IN)
    }
}

/// What lies where a file should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    /// Nothing.
    Missing,
    /// A file that says this.
    Same,
    /// A file that says something else.
    Other,
}

/// The name of a process's service.
pub fn service(app: &AppName, process: &ProcessName) -> String {
    format!("pannier-{app}.{process}.service")
}

/// The pattern that all services of an app fit, as `systemctl` takes it.
pub fn services(app: &AppName) -> String {
    format!("pannier-{app}.*.service")
}

/// The name of a process's socket.
pub fn socket(app: &AppName, process: &ProcessName) -> String {
    format!("pannier-{app}.{process}.socket")
}

impl Units {
    /// Where a process is reached.
    pub fn address(&self, app: &AppName, process: &ProcessName) -> String {
        let usual = || format!("/run/pannier-{app}.{process}.sock");
        self.listen.get(process).cloned().unwrap_or_else(usual)
    }

    /// All files for a release's processes; `env` is the file of variables that belongs to this activation.
    pub fn files(&self, place: &Place, processes: &[Process], env: Option<&Path>) -> Result<Vec<File>, Unfit> {
        for path in [place.folder(), self.folder.as_path()].into_iter().chain(env) {
            fit(path)?;
        }
        Ok(processes.iter().flat_map(|process| self.files_of(place, process, env)).collect())
    }

    fn files_of(&self, place: &Place, process: &Process, env: Option<&Path>) -> Vec<File> {
        let service = service(&place.app, &process.name);
        let drop_in = text::drop_in(place, process, env);
        let mut files = vec![
            File { text: text::service(self, place, process), path: service.clone() },
            File { path: format!("{service}.d/{DROP_IN}"), text: drop_in },
        ];
        if process.socket {
            files.push(File { path: socket(&place.app, &process.name), text: text::socket(self, place, process) });
        }
        files
    }

    /// The processes of the app whose units name a release now.
    pub fn present(&self, app: &AppName) -> fs::Result<BTreeSet<ProcessName>> {
        let prefix = format!("pannier-{app}.");
        let names = fs::if_there(fs::list(&self.folder))?.unwrap_or_default();
        let process = |name: &std::ffi::OsString| {
            let name = name.to_str()?.strip_prefix(&prefix)?.strip_suffix(".service.d")?;
            name.parse().ok()
        };
        let has_release = |process: &ProcessName| fs::exists(&self.drop_in(app, process));
        Ok(names.iter().filter_map(process).filter(has_release).collect())
    }

    /// The path of the drop-in that names a process's release.
    pub fn drop_in(&self, app: &AppName, process: &ProcessName) -> PathBuf {
        self.folder.join(format!("{}.d", service(app, process))).join(DROP_IN)
    }
}

/// Compares a file with what lies in `folder`.
pub fn on_disk(folder: &Path, file: &File) -> fs::Result<OnDisk> {
    Ok(match fs::if_there(fs::read(&folder.join(&file.path), 1 << 20))? {
        None => OnDisk::Missing,
        Some(text) if text == file.text.as_bytes() => OnDisk::Same,
        Some(_) => OnDisk::Other,
    })
}

/// Writes the files that say something new into `folder`, each durably; gives the paths of those.
pub fn write(folder: &Path, files: &[File]) -> fs::Result<Vec<String>> {
    let mut written = Vec::new();
    for file in files {
        if on_disk(folder, file)? == OnDisk::Same {
            continue;
        }
        let path = folder.join(&file.path);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write_durably(&path, file.text.as_bytes())?;
        written.push(file.path.clone());
    }
    Ok(written)
}

fn fit(path: &Path) -> Result<(), Unfit> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(fits) => Ok(()),
        _ => Err(Unfit(path.to_owned())),
    }
}
