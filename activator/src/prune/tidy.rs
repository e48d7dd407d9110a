//! Finishes, or takes back, what an interrupted removal left: what the record still knows comes back, all else goes.

use std::path::Path;

use pannier_shared::id::Version;
use pannier_shared::sys::fs;

use crate::activate::one_line;
use crate::layout::Root;
use crate::state::State;

/// Brings `removed/` in order; gives what a person should know. That something cannot be removed is no reason to do nothing
/// else either.
pub fn tidy(root: &Root, state: &State) -> fs::Result<Vec<String>> {
    let mut notes = Vec::new();
    for name in fs::list(&root.removed())? {
        let away = root.removed().join(&name);
        match name.to_str().and_then(version).filter(|version| state.release(version).is_some()) {
            Some(version) if !fs::exists(&root.release(&version)) => {
                fs::commit_dir(&away, &root.release(&version))?;
                fs::sync_dir(&root.removed())?;
                notes.push(format!("the removal of `{version}` was interrupted and taken back"));
            }
            _ => notes.extend(remove(&away)),
        }
    }
    Ok(notes)
}

fn version(name: &str) -> Option<Version> {
    name.rsplit_once('~')?.0.parse().ok()
}

fn remove(away: &Path) -> Option<String> {
    let removed =
        fs::lstat(away).and_then(|meta| if meta.is_dir() { fs::remove_tree(away) } else { fs::remove_file(away) });
    let error = removed.err()?;
    Some(format!("what is left of a removed release cannot be removed: {}", one_line(&error)))
}
