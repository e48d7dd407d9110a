//! Brings a root in order that an interrupted run left behind: first thing under the lock, before anything else.
//!
//! What can be found, and what is done, by the order in which `fetch` and `activate` write:
//!
//! | the run ended | what is left | what is done |
//! |---|---|---|
//! | while staging, before the transfer | `.pannier/staging/*` | removed |
//! | while staging, in the transfer or later | the same, with files that were proven | the newest is kept, as a source for the next fetch (see `leftover`) |
//! | after the records were renamed, before the tree was | `toc/<v>` without a release, a stage without records | removed |
//! | after the tree was renamed, before the state file | a release the state does not know | taken up as prepared by its record |
//! | in a removal, before the record forgot the release | it lies in `.pannier/removed` | it is put back |
//! | in a removal, after that | the same, perhaps half | removed |
//! | in a repair, before the trees were exchanged | `.pannier/staging/*` | removed; the release is damaged as before |
//! | in a repair, after that | the damaged tree in `.pannier/staging/*` | removed |
//! | inside a durable write | a temporary file beside its target | removed |
//! | in an activation, before the switch | the state and `current` as before | nothing |
//! | in an activation, between state file and `current` | the state is ahead of `current` | the state goes back |
//! | in an activation, after `current` moved | the new release serves unconfirmed, or half restarted | back to the release that served before (the journal knows it), which is started again if a restart had been begun |
//! | in the undo of an activation | any mix of the two | the same |
//! | after it was confirmed, before the journal's last line | nothing | the journal's line is written |
//!
//! An activation that was interrupted is never completed forward: nobody saw the new release pass its check. The one
//! exception is a first activation, which has nothing to go back to: its release is left live and unconfirmed, and
//! `activate` confirms it.
//!
//! What no run of ours can leave was made by a person, perhaps in an emergency, when a release is unpacked with `tar` and
//! `current` is a link made with `ln`: a release without a record is left alone, and where nothing was interrupted, a
//! `current` that differs from the state is what holds, and the state follows it.

use std::collections::BTreeSet;
use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::id::Version;
use pannier_shared::sys::{clock, fs};

use crate::environment;
use crate::journal::{Line, Operation, Unended, What};
use crate::layout::{Current, Root};
use crate::leftover;
use crate::node::{Error, Node};
use crate::prune;
use crate::record;
use crate::state::State;
use crate::statics;
use crate::steps::start::start;
use crate::steps::switch::switch;

/// Brings the node's root in order; `current` is where the link leads now. What was done is told to `sink`.
pub fn heal(node: &mut Node, current: &Current, sink: &dyn Sink) -> Result<(), Error> {
    let before = node.state.clone();
    clear_leftovers(&node.root)?;
    let mut notes = prune::tidy(&node.root, &node.state)?;
    let present = present(&node.root)?;
    notes.extend(reconcile(&mut node.state, &present, &node.root)?);
    let unended = node.journal.all_unended()?;
    let plan = plan(&node.state, &present, current, unended.first());
    node.state = plan.state;
    if plan.relink {
        switch(&node.root, &node.state)?;
    } else if node.state != before {
        node.save()?;
    }
    notes.extend(plan.note);
    if let Some(rollback) = unended.first().filter(|it| it.operation == Operation::Rollback) {
        notes.extend(reversed(node, rollback)?);
    }
    if plan.restart {
        notes.extend(start_again(node));
    }
    environment::tidy(&node.root, &node.state)?;
    if !unended.is_empty() || !notes.is_empty() {
        statics::tidy(&node.root, &node.state, sink);
    }
    for unended in unended {
        node.journal.close(&unended, &notes.join("; "))?;
    }
    for text in notes {
        sink.emit(Event::Warning { text });
    }
    Ok(())
}

/// Migrations that an interrupted rollback took back: applying them again takes a lease, which is not for here.
fn reversed(node: &Node, rollback: &Unended) -> fs::Result<Option<String>> {
    let is_reversal = |line: &&Line| match &line.what {
        What::Began { operation: Operation::Reverse, .. } => line.at >= rollback.at,
        _ => false,
    };
    let lines = node.journal.recent()?;
    Ok(lines.iter().find(is_reversal).and(rollback.from.as_ref()).map(|from| {
        let again = format!("`pannier-activator migrate {} {from}`", node.app);
        format!("migrations of `{from}` may have been taken back: {again} applies them again")
    }))
}

/// Removes what is never more than a leftover under the lock, and of no use.
fn clear_leftovers(root: &Root) -> fs::Result<()> {
    leftover::tidy(root)?;
    for (folder, prefix) in [(root.path(), ".current.tmp-"), (&root.own(), ".state.json.tmp-")] {
        for name in fs::list(folder)? {
            if name.to_string_lossy().starts_with(prefix) {
                fs::remove_file(&folder.join(name))?;
            }
        }
    }
    Ok(())
}

/// The releases on the disk.
fn present(root: &Root) -> fs::Result<BTreeSet<Version>> {
    Ok(versions(&root.releases())?.filter(|version| root.release(version).is_dir()).collect())
}

fn versions(folder: &Path) -> fs::Result<impl Iterator<Item = Version>> {
    let names = fs::list(folder)?;
    Ok(names.into_iter().filter_map(|name| name.to_str()?.parse().ok()))
}

/// Makes the state name exactly the releases that are there and known.
fn reconcile(state: &mut State, present: &BTreeSet<Version>, root: &Root) -> fs::Result<Vec<String>> {
    let mut notes = Vec::new();
    let gone: Vec<Version> = state.releases().map(|(v, _)| v.clone()).filter(|v| !present.contains(v)).collect();
    for version in gone {
        state.forget(&version);
        notes.push(format!("the release `{version}` was removed by hand and is forgotten"));
    }
    let unknown = present.iter().filter(|version| state.release(version).is_none());
    let record = |version| record::read(&root.toc(version)).filter(|_| record::is_complete(&root.release(version)));
    let mut unknown: Vec<_> = unknown.map(|version| (version, record(version))).collect();
    // The order in which they are taken up is the one in which they are missed.
    unknown.sort_by_key(|(_, record)| record.as_ref().map(|record| record.prepared));
    for (version, record) in unknown {
        match record {
            Some(release) => {
                state.add(version, release);
                notes.push(format!("the release `{version}` was complete but not recorded; it is prepared"));
            }
            None => notes.push(format!("`releases/{version}` was not put there by a fetch and is left alone")),
        }
    }
    for version in versions(&root.tocs())?.filter(|version| !present.contains(version)) {
        fs::remove_tree(&root.toc(&version))?;
    }
    Ok(notes)
}

/// What is to be done about `current` and the processes.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    state: State,
    relink: bool,
    restart: bool,
    note: Option<String>,
}

/// Decides from what is known; touches nothing.
fn plan(state: &State, present: &BTreeSet<Version>, current: &Current, unended: Option<&Unended>) -> Plan {
    let link = current.version();
    match unended {
        Some(unended) if unended.operation.switches() => take_back(state, present, link, unended),
        _ => follow(state, present, link),
    }
}

/// Nothing was interrupted: what a person did to `current` holds.
fn follow(state: &State, present: &BTreeSet<Version>, link: Option<&Version>) -> Plan {
    let mut plan = Plan { state: state.clone(), relink: false, restart: false, note: None };
    let serving = link.filter(|version| present.contains(version));
    if serving == state.live_version() {
        return plan;
    }
    plan.state.return_to(serving, clock::now());
    plan.note = Some(match (serving, link) {
        (Some(version), _) => format!("`current` was made to lead to `{version}` by hand: that is what serves"),
        (None, Some(version)) => format!("`current` leads to `{version}`, which is not there: nothing serves"),
        (None, None) => "`current` was removed by hand: nothing serves".to_owned(),
    });
    plan
}

/// An activation was interrupted: unless it was confirmed, what served before serves again.
fn take_back(state: &State, present: &BTreeSet<Version>, link: Option<&Version>, unended: &Unended) -> Plan {
    let what = format!("`{} {}` was interrupted", unended.operation, unended.version);
    let is_it = state.live_version() == Some(&unended.version);
    let confirmed = is_it && !unended.undoing && state.live().is_some_and(|live| live.confirmed);
    let from = unended.from.as_ref().filter(|version| present.contains(version));
    let mut plan = Plan { state: state.clone(), relink: false, restart: false, note: None };
    plan.note = Some(if confirmed {
        format!("{what} after it was confirmed: `{}` serves", unended.version)
    } else if let Some(from) = from {
        plan.state.return_to(Some(from), clock::now());
        plan.restart = unended.steps.iter().any(|step| step == "restart");
        format!("{what} and taken back: `{from}` serves")
    } else if is_it && !unended.undoing && link == Some(&unended.version) {
        format!("{what}; it is live but not confirmed, and there is no release to go back to")
    } else {
        plan.state.return_to(None, clock::now());
        format!("{what} and taken back: nothing serves, as before")
    });
    plan.relink = link != plan.state.live_version();
    plan
}

/// Starts again what serves; says what went wrong.
fn start_again(node: &Node) -> Option<String> {
    let version = node.state.live_version()?;
    let error = start(node, version).err()?;
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    Some(format!("`{version}` could not be started again: {error}{cause}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests leave behind what a crash would")]

    use super::*;
    use crate::steps::restart::Restart;
    use crate::testing::{Fixture, v};
    use pannier_shared::steps::Phase;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    /// A node where v1 serves healthy and v2 is prepared.
    fn serving() -> Fixture {
        let fixture = Fixture::with(&["v1", "v2"]);
        fixture.activate("v1").unwrap();
        fixture
    }

    /// Where `activate v2` was when it was interrupted.
    #[derive(Clone, Copy, PartialEq, PartialOrd)]
    enum Until {
        Begun,
        StateWritten,
        Switched,
        Restarted,
        Confirmed,
    }

    /// Does what `activate v2` does until then, and stops.
    fn interrupt(fixture: &Fixture, until: Until) {
        let mut node = fixture.open().unwrap();
        let from = node.state.live_version().cloned();
        let ongoing = node.journal.begin(Operation::Activate, &v("v2"), from.as_ref()).unwrap();
        for (step, reached) in [("keep", Until::Begun), ("switch", Until::StateWritten), ("restart", Until::Restarted)]
        {
            if until >= reached {
                ongoing.note(step, Phase::Run).unwrap();
            }
        }
        node.state.switch_to(&v("v2"), clock::now());
        if until == Until::StateWritten {
            node.save().unwrap();
        }
        if until >= Until::Switched {
            switch(&node.root, &node.state).unwrap();
        }
        if until == Until::Confirmed {
            node.state.confirm(crate::state::Direction::Forward, clock::now());
            node.save().unwrap();
        }
    }

    fn healed(fixture: &Fixture) -> (Option<String>, Option<String>) {
        let node = fixture.open().unwrap();
        assert_eq!(node.journal.unended().unwrap(), None);
        let live = node.state.live().filter(|live| live.confirmed).map(|live| live.version.to_string());
        (live, fixture.current())
    }

    #[test]
    fn an_interrupted_activation_goes_back_to_what_served() {
        for until in [Until::Begun, Until::StateWritten, Until::Switched, Until::Restarted] {
            let fixture = serving();
            interrupt(&fixture, until);
            let v1 = Some("v1".to_owned());
            assert_eq!(healed(&fixture), (v1.clone(), v1));
            insta::allow_duplicates! {
                insta::assert_snapshot!(fixture.warnings().last().unwrap(), @"`activate v2` was interrupted and taken back: `v1` serves");
            }
        }
    }

    #[test]
    fn a_confirmed_activation_stays() {
        let fixture = serving();
        interrupt(&fixture, Until::Confirmed);
        let v2 = Some("v2".to_owned());
        assert_eq!(healed(&fixture), (v2.clone(), v2));
    }

    #[test]
    fn the_old_release_is_started_again_only_if_a_restart_had_begun() {
        for (until, started) in [(Until::Switched, false), (Until::Restarted, true)] {
            let mut fixture = serving();
            interrupt(&fixture, until);
            let command = ["sh", "-c", "echo $PANNIER_VERSION > ../../started"].map(str::to_owned).to_vec();
            fixture.config.restart =
                Some(Restart { command, timeout: Duration::from_secs(20), env_file: None, user: None });
            drop(fixture.open().unwrap());
            let said = std::fs::read_to_string(fixture.config.root.join("started")).ok();
            assert_eq!(said.as_deref(), started.then_some("v1\n"));
        }
    }

    #[test]
    fn a_first_activation_is_left_live_and_not_confirmed_once_current_was_made() {
        for (until, current) in [(Until::Begun, None), (Until::StateWritten, None), (Until::Switched, Some("v2"))] {
            let fixture = Fixture::with(&["v2"]);
            interrupt(&fixture, until);
            assert_eq!(healed(&fixture), (None, current.map(str::to_owned)));
            fixture.activate("v2").unwrap();
            assert_eq!(healed(&fixture), (Some("v2".to_owned()), Some("v2".to_owned())));
        }
    }

    #[test]
    fn leftovers_of_a_fetch_are_removed() {
        let fixture = serving();
        let root = fixture.root();
        drop(fixture.open().unwrap().journal.begin(Operation::Fetch, &v("v3"), None).unwrap());
        std::fs::create_dir_all(root.staging().join("ab12/tree/app")).unwrap();
        std::fs::create_dir(root.toc(&v("v3"))).unwrap();
        std::fs::write(root.own().join(".state.json.tmp-00"), "half").unwrap();
        symlink("releases/v3", root.path().join(".current.tmp-00")).unwrap();
        assert_eq!(healed(&fixture).1.as_deref(), Some("v1"));
        assert!(!root.toc(&v("v3")).exists() && std::fs::read_dir(root.staging()).unwrap().next().is_none());
        let left =
            |folder: &Path| fs::list(folder).unwrap().iter().any(|name| name.to_string_lossy().contains(".tmp-"));
        assert!(!left(root.path()) && !left(&root.own()));
    }

    #[test]
    fn a_committed_release_that_the_state_does_not_know_is_taken_up() {
        let fixture = serving();
        fixture.lay("v3");
        assert!(fixture.open().unwrap().state.release(&v("v3")).is_some());
        insta::assert_snapshot!(fixture.warnings().last().unwrap(), @"the release `v3` was complete but not recorded; it is prepared");
    }

    #[test]
    fn migrations_that_a_rollback_took_back_are_named() {
        let fixture = serving();
        fixture.activate("v2").unwrap();
        let begin =
            |operation| drop(fixture.open().unwrap().journal.begin(operation, &v("v1"), Some(&v("v2"))).unwrap());
        begin(Operation::Reverse);
        begin(Operation::Rollback);
        drop(fixture.open().unwrap());
        assert!(!fixture.warnings().iter().any(|text| text.contains("migrate")));
        let node = fixture.open().unwrap();
        let _rollback = node.journal.begin(Operation::Rollback, &v("v1"), Some(&v("v2"))).unwrap();
        let _reversal = node.journal.begin(Operation::Reverse, &v("v2"), Some(&v("v2"))).unwrap();
        drop(node);
        drop(fixture.open().unwrap());
        insta::assert_snapshot!(fixture.warnings().last().unwrap(), @"migrations of `v2` may have been taken back: `pannier-activator migrate polls v2` applies them again");
    }

    #[test]
    fn a_lost_state_file_is_learnt_anew() {
        let fixture = serving();
        std::fs::remove_file(fixture.root().state()).unwrap();
        let node = fixture.open().unwrap();
        assert_eq!((node.state.releases().count(), node.state.live_version()), (2, Some(&v("v1"))));
    }

    #[test]
    fn what_a_person_did_by_hand_holds() {
        let fixture = serving();
        let root = fixture.root();
        let point = |target: &str| {
            std::fs::remove_file(root.current()).unwrap();
            symlink(target, root.current()).unwrap();
            let live = fixture.open().unwrap().state.live_version().map(|version| version.to_string());
            (live, fixture.current())
        };
        assert_eq!(point("releases/v2"), (Some("v2".into()), Some("v2".into())));
        std::fs::create_dir(root.releases().join("by-hand")).unwrap();
        assert_eq!(point("releases/by-hand"), (Some("by-hand".into()), Some("by-hand".into())));
        assert!(root.releases().join("by-hand").is_dir());
        assert_eq!(point("releases/nowhere"), (None, Some("nowhere".into())));
        std::fs::remove_dir_all(root.release(&v("v1"))).unwrap();
        let node = fixture.open().unwrap();
        assert!(node.state.release(&v("v1")).is_none());
    }

    #[test]
    fn a_second_one_is_refused_while_the_first_is_at_work() {
        let fixture = serving();
        let _held = fixture.open().unwrap();
        assert!(matches!(fixture.try_open(), Err(Error::Lock { .. })));
    }
}
