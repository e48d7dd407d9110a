//! The units of an app that systemd keeps: whether the next boot, and a restart by hand, would start what serves.

use std::path::Path;

use super::{Examined, Found, Patient, Trouble};
use crate::node::View;
use crate::units::of_release::{self, Written, units};
use crate::units::{self, File, OnDisk};

pub(super) fn differing(_: &Examined, patient: &Patient) -> Vec<Found> {
    let Some(supervised) = &patient.config.supervised else { return Vec::new() };
    // What is wrong with the root or the record is said by other checks.
    let Ok(view) = View::open(patient.name, patient.config) else { return Vec::new() };
    let folder = &supervised.units.folder;
    match units(&view, patient.config, None, None) {
        Ok(Written { files, .. }) => compared(folder, &files, patient),
        Err(of_release::Error::NothingServes(_)) => {
            vec![Found::ok(format!("the first activation will write them into {}", folder.display()))]
        }
        Err(error) => {
            vec![Found::trouble(Trouble::of(&error, error.hint()), "see to `restart` in the app's configuration")]
        }
    }
}

/// Compares what lies in `folder` with what should. What is only kept otherwise works until the next boot or activation
/// takes it up.
fn compared(folder: &Path, files: &[File], patient: &Patient) -> Vec<Found> {
    let app = patient.name;
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for file in files {
        match units::on_disk(folder, file) {
            Ok(OnDisk::Same) => {}
            Ok(OnDisk::Missing) => missing.push(file),
            Ok(OnDisk::Other) => other.push(file),
            Err(error) => return vec![Found::trouble(Trouble::of(&error, None), "let the activator read them")],
        }
    }
    let write = format!("`pannier-activator units {app} --write {}`", folder.display());
    let reload = format!("{write}, then `systemctl daemon-reload`");
    let mut found = Vec::new();
    if !missing.is_empty() {
        let says = format!("{} lacks {}", folder.display(), names(&missing));
        found.push(Found::wrong(says, enabling(&write, &missing).unwrap_or_else(|| reload.clone())));
    }
    if !other.is_empty() {
        let says = format!("in {} say something else than they should: {}", folder.display(), names(&other));
        let is_of_release = other.iter().any(|file| file.names_the_release());
        found.push(if is_of_release { Found::wrong(says, reload) } else { Found::warning(says, reload) });
    }
    if found.is_empty() {
        found.push(Found::ok(format!("{} files in {} start what serves", files.len(), folder.display())));
    }
    found
}

fn names(files: &[&File]) -> String {
    files.iter().map(|file| format!("`{}`", file.path)).collect::<Vec<_>>().join(", ")
}

/// What starts units that were not there; a drop-in is none.
fn enabling(write: &str, missing: &[&File]) -> Option<String> {
    let units: Vec<&str> =
        missing.iter().filter(|file| !file.names_the_release()).map(|file| file.path.as_str()).collect();
    (!units.is_empty()).then(|| format!("{write}, then `systemctl enable --now {}`", units.join(" ")))
}
