//! What this machine is called, and what tells it and its folders from all others.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::fs;

/// The machine's own name.
pub fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A text that no other folder has, on this machine or another, until this one is started anew.
pub fn mark_of(folder: &Path) -> fs::Result<String> {
    let boot = fs::read_text(Path::new("/proc/sys/kernel/random/boot_id"), 4096)?;
    let meta = fs::stat(folder)?;
    Ok(format!("{} {}:{}", boot.trim(), meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_marks_of_their_own() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(mark_of(one.path()).unwrap(), mark_of(one.path()).unwrap());
        assert_ne!(mark_of(one.path()).unwrap(), mark_of(other.path()).unwrap());
        assert!(!name().is_empty());
    }
}
