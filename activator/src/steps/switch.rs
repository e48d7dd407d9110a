//! The one function that changes which release serves: activate, rollback, undo and heal all go through it.
//!
//! Order: the state file, durably; then `current`, by a rename over the old link, and fsync of its folder. So at every
//! instant `current` is the old link or the new one, and after a crash between the two the state file says where the
//! link was to go; the journal, written before both, says whether that was confirmed (`heal` decides).

use pannier_shared::sys::fs;

use crate::layout::{Root, link_to};
use crate::state::State;

/// Makes `state` true on the disk: saves it and lets `current` lead to what it says is live.
pub fn switch(root: &Root, state: &State) -> fs::Result<()> {
    switch_when(root, state, || ())
}

/// Like [`switch`], and lets `wait` have the time between the two.
pub fn switch_when(root: &Root, state: &State, wait: impl FnOnce()) -> fs::Result<()> {
    state.save(&root.state())?;
    wait();
    let current = root.current();
    match state.live_version() {
        Some(version) => fs::swap_symlink(&link_to(version), &current),
        None => remove(root),
    }
}

/// Takes `current` away: nothing serves, as before the first activation.
fn remove(root: &Root) -> fs::Result<()> {
    fs::if_there(fs::remove_file(&root.current()))?;
    fs::sync_dir(root.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Current;
    use pannier_shared::sys::clock;

    #[test]
    fn the_link_follows_the_state_in_both_directions_and_away() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::prepare(dir.path()).unwrap();
        let app = "polls".parse().unwrap();
        let mut state = State::new(&app);
        for name in ["v1", "v2", "v1"] {
            let version = name.parse().unwrap();
            state.switch_to(&version, clock::now());
            switch(&root, &state).unwrap();
            assert_eq!(root.where_current_leads().unwrap(), Current::Release(version));
            assert_eq!(State::load(&root.state(), &app).unwrap(), state);
        }
        state.return_to(None, clock::now());
        for _ in 0..2 {
            switch(&root, &state).unwrap();
            assert_eq!(root.where_current_leads().unwrap(), Current::Absent);
        }
    }
}
