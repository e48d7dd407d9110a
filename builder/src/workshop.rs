//! The folder a build works in, beside the releases it makes.
//!
//! It is held by the kernel's lock on the folder itself for as long as its build lives. A build that was killed, by
//! Ctrl-C or by a CI system's time limit, cannot clean up; the next one in the same output folder removes what nobody
//! holds any more. A lock on the output folder keeps a new folder from being seen between its making and its lock.

use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::fs;
use pannier_shared::sys::lock::{self, Lock};

/// What the folders' names begin with; a random part follows.
const PREFIX: &str = ".build-";

/// A name for a new one.
pub fn name() -> String {
    format!("{PREFIX}{}", fs::random_name())
}

/// Makes the folder `work`, and removes those of builds that did not end. None on a file system without such locks,
/// where nothing is removed.
pub fn enter(work: &Path, sink: &dyn Sink) -> fs::Result<Option<Lock>> {
    let out = work.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(out)?;
    let one_at_a_time = lock::wait_folder(out).ok();
    if one_at_a_time.is_some() {
        sweep(out, sink)?;
    }
    fs::create_dir(work)?;
    Ok(lock::try_folder(work).ok().flatten())
}

fn sweep(out: &Path, sink: &dyn Sink) -> fs::Result<()> {
    let names = fs::list(out)?;
    let works = names.iter().filter(|name| name.to_str().is_some_and(|name| name.starts_with(PREFIX)));
    for left in works.map(|name| out.join(name)) {
        if let Ok(Some(_nobody_else)) = lock::try_folder(&left) {
            let text = match fs::remove_tree(&left) {
                Ok(()) => format!("removed `{}`, left by a build that did not end", left.display()),
                // A tool that such a build started may still write there; the next build tries again.
                Err(error) => format!("`{}`, left by a build that did not end, stays: {error}", left.display()),
            };
            sink.emit(Event::Note { text });
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use pannier_shared::event::Recorder;

    use super::*;

    #[test]
    fn what_a_killed_build_left_is_removed_and_what_a_living_one_holds_is_not() {
        let (dir, told) = (tempfile::tempdir().unwrap(), Recorder::default());
        let left = dir.path().join(".build-0123456789abcdef");
        std::fs::create_dir_all(left.join("tree/app")).unwrap();
        std::fs::create_dir(dir.path().join("polls-v1-x86_64-linux-gnu")).unwrap();
        let first = dir.path().join(name());
        let _alive = enter(&first, &told).unwrap().unwrap();
        assert!(!left.exists() && first.exists());
        let _second = enter(&dir.path().join(name()), &told).unwrap().unwrap();
        assert!(first.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
        let notes = told.events();
        assert!(matches!(&notes[..], [Event::Note { text }] if text.contains("left by a build that did not end")));
    }
}
