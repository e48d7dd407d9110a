//! Confines a thread to one folder, by Landlock: what it must not do, it then cannot do, whatever bug it has.
//!
//! Meant for threads that decode what came from elsewhere. The kernel refuses such a thread to open, make, remove or run
//! anything outside of the folder, to talk to the network and to signal other processes; inside of it, it can read files
//! and make and write them, no more. It holds for the thread and what it starts, until they end, and not for the threads
//! beside it. What was opened before stays open.
//!
//! Landlock came with Linux 5.13 and can do more with each version; what this kernel cannot do is left out. One that has
//! none, or where it is turned off, confines nothing, and that is no error: it is a second wall, behind checks that hold
//! alone.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::dir::Dir;

/// The newest version of Landlock whose restrictions are asked for.
const NEWEST: ABI = ABI::V6;

/// Whether a thread is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confined {
    /// It is, as far as this kernel can.
    Yes,
    /// This kernel has no Landlock, or it is turned off.
    No,
}

/// Lets the calling thread make, read and write files below `folder` and nothing else, as far as the kernel can.
pub fn to(folder: &Dir) -> Confined {
    match restrict(folder) {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Confined::Yes,
        Ok(RulesetStatus::NotEnforced) | Err(_) => Confined::No,
    }
}

/// Whether this kernel can confine a thread, tried by one that then ends.
pub fn is_possible() -> bool {
    let tried = || Dir::open(Path::new("/")).is_ok_and(|root| to(&root) == Confined::Yes);
    std::thread::scope(|scope| scope.spawn(tried).join().unwrap_or(false))
}

fn restrict(folder: &Dir) -> Result<RulesetStatus, RulesetError> {
    let inside: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::MakeReg;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    Ok(rules.add_rule(PathBeneath::new(folder, inside))?.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, ErrorKind};

    /// What a thread that is confined to a folder can do; nothing where the kernel cannot confine.
    fn confined<T: Send>(folder: &Path, does: impl FnOnce() -> T + Send) -> Option<T> {
        let dir = Dir::open(folder).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| (to(&dir) == Confined::Yes).then(does));
            thread.join().unwrap()
        })
    }

    fn refused<T: std::fmt::Debug>(done: io::Result<T>) -> bool {
        done.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_confined_thread_writes_inside_and_nowhere_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (within, without) = (inside.path().join("new"), outside.path().join("there"));
        std::fs::write(&without, "as it was").unwrap();
        let did = confined(inside.path(), || {
            std::fs::write(&within, "written").unwrap();
            [
                refused(std::fs::write(outside.path().join("new"), "")),
                refused(std::fs::write(&without, "")),
                refused(std::fs::read(&without)),
                refused(std::fs::remove_file(&without)),
                refused(std::fs::rename(&within, outside.path().join("moved"))),
                refused(std::os::unix::fs::symlink("/etc", inside.path().join("link"))),
                refused(std::process::Command::new("/bin/true").status()),
            ]
        });
        let Some(did) = did else { return };
        assert_eq!(did, [true; 7]);
        assert_eq!(std::fs::read_to_string(&without).unwrap(), "as it was");
        assert_eq!(std::fs::read_to_string(&within).unwrap(), "written");
    }

    #[test]
    fn the_threads_beside_it_stay_free() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        confined(inside.path(), || {
            std::thread::scope(|scope| {
                // What a confined thread starts is confined too.
                let started = scope.spawn(|| refused(std::fs::write(outside.path().join("from-below"), "")));
                assert!(started.join().unwrap());
            });
        });
        std::fs::write(outside.path().join("from-beside"), "").unwrap();
    }
}
