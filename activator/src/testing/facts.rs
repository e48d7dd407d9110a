//! What is true on a root's disk: one list, for the tests that hold every step and every undo against it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pannier_shared::digest::Digest;

/// What only ever grows, or only tells of the last run.
const HISTORY: &[&str] = &["journal.jsonl", "lock", "ledger", "restart.log"];

/// Every entry below a root with its kind, mode, and digest or target, sorted; of what is history only that it is there.
pub fn facts(root: &Path) -> Vec<String> {
    let mut facts = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if HISTORY.contains(&path.file_name().unwrap().to_str().unwrap()) {
                continue;
            }
            facts.push(if meta.is_symlink() {
                format!("{name} -> {}", std::fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                todo.push(path);
                format!("{name}/ {:o}", meta.permissions().mode())
            } else {
                format!("{name} {:o} {}", meta.permissions().mode(), Digest::of(&std::fs::read(&path).unwrap()))
            });
        }
    }
    facts.sort();
    facts
}
