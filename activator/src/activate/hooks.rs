//! The rows of the table that run the release's own hooks. They always come from the release that is activated, never from
//! the one that served before: a mistake in an old hook must not block every later release.
//!
//! Going back runs neither `before_switch` nor `after_switch`: a way back that code of a release can refuse is none. Two
//! hooks can change nothing about the outcome: `on_failure`, which is the undo of the first row and so runs when all else is
//! taken back, and `after_rollback`, which runs when the release is recorded as healthy. After a kill or a power cut,
//! `heal` runs none.

use pannier_shared::event::Event;
use pannier_shared::statement::HookName;
use pannier_shared::steps::Done;

use super::{Activation, Error, one_line};
use crate::described::described;
use crate::launch::Place;
use crate::state::{Direction, Standing};
use crate::steps::hook::{self, Told};

/// Reads what the release brings.
pub fn read(run: &mut Activation) -> Result<Done, Error> {
    hook::tidy(&run.node.root, &run.node.journal)?;
    run.description = described(&run.node.root.release(&run.version))?;
    let names = run.description.iter().flat_map(|said| said.running.hooks.keys()).map(|name| name.as_str());
    let names: Vec<&str> = names.collect();
    Ok(Done::said(if names.is_empty() { "it has none".to_owned() } else { names.join(", ") }))
}

pub fn before_switch(run: &mut Activation) -> Result<Done, Error> {
    match run.direction {
        Direction::Forward => hook(run, HookName::BeforeSwitch).map_err(|error| run.because(error)),
        Direction::Back => Ok(Done::said("not on the way back")),
    }
}

/// When it fails, the release is bad: it was live, and its own code says that it should not be.
pub fn after_switch(run: &mut Activation) -> Result<Done, Error> {
    match run.direction {
        Direction::Forward => hook(run, HookName::AfterSwitch).inspect_err(|error| run.condemn(error)),
        Direction::Back => Ok(Done::said("not on the way back")),
    }
}

pub fn after_rollback(run: &mut Activation) -> Result<Done, Error> {
    if run.direction == Direction::Forward {
        return Ok(Done::said("it was no rollback"));
    }
    Ok(hook(run, HookName::AfterRollback).unwrap_or_else(|error| no_matter(run, &error)))
}

pub fn on_failure(run: &mut Activation) -> Result<(), Error> {
    if !std::mem::replace(&mut run.failure_told, true) {
        hook(run, HookName::OnFailure).unwrap_or_else(|error| no_matter(run, &error));
    }
    Ok(())
}

/// One word for a script.
fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Prepared => "prepared",
        Standing::Live => "live",
        Standing::Healthy => "healthy",
        Standing::Bad => "bad",
    }
}

fn no_matter(run: &Activation, error: &Error) -> Done {
    run.sink.emit(Event::Warning { text: format!("{}; that changes nothing", one_line(error)) });
    Done::said("it failed, which changes nothing")
}

fn hook(run: &Activation, name: HookName) -> Result<Done, Error> {
    let Some(description) = &run.description else { return Ok(Done::said("it has none")) };
    let Some(hook) = description.running.hooks.get(&name) else { return Ok(Done::said("it has none")) };
    let (node, version) = (&run.node, &run.version);
    let place = Place::new(&node.root, version, description)?;
    let env_file = run.env_file();
    let told = Told {
        operation: run.operation.to_string(),
        from: run.back.live_version().map(ToString::to_string).unwrap_or_default(),
        state: node.state.standing(version).map(word).unwrap_or_default(),
        reason: run.verdict.as_deref().or(run.reason.as_deref()).unwrap_or_default(),
        env_file: env_file.as_deref(),
        user: node.config.user.as_deref(),
    };
    hook::run(name, hook, &place, &told, &hook::log(&node.root, run.ongoing.id(), name))?;
    Ok(Done::said(hook.command.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests read what hooks wrote")]

    use std::os::unix::fs::PermissionsExt;

    use pannier_shared::statement::{Hook, Running, Seconds, Words};
    use pannier_shared::sys::process;

    use super::*;
    use crate::activate::{Activated, Failure, OnSchema};
    use crate::evidence;
    use crate::rollback::rollback;
    use crate::testing::{Fixture, runtime, v};

    /// Says what a hook is told.
    const TELL: &str = "echo \"$PANNIER_VERSION $PANNIER_HOOK in $PANNIER_OPERATION from '$PANNIER_FROM': \
                        $PANNIER_STATE because '$PANNIER_REASON'\" >> $PANNIER_ROOT/told; echo printed by $PANNIER_HOOK";

    const ALL: [HookName; 4] =
        [HookName::BeforeSwitch, HookName::AfterSwitch, HookName::OnFailure, HookName::AfterRollback];

    /// A node whose releases tell all their hooks; `change` adds to the script of one.
    fn fixture(change: impl Fn(&str, HookName) -> &'static str) -> Fixture {
        let fixture = Fixture::with(&["v1", "v2"]);
        for version in ["v1", "v2"] {
            let hook = |name: HookName| {
                let script = format!("{TELL}\n{}", change(version, name));
                let words = ["sh".to_owned(), "-c".to_owned(), script.replace('\n', "; ")];
                let command = Words::try_from(words.map(|word| word.trim_end_matches("; ").to_owned()).to_vec());
                (name, Hook { command: command.unwrap(), timeout: Seconds::try_from(1).unwrap() })
            };
            fixture.say(version, Running { hooks: ALL.map(hook).into(), ..Running::default() });
        }
        fixture
    }

    fn told(fixture: &Fixture) -> String {
        let path = fixture.config.root.join("told");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text
    }

    fn chain(failure: &Failure) -> String {
        let first: Option<&dyn std::error::Error> = Some(failure);
        let chain = std::iter::successors(first, |error| error.source());
        chain.map(ToString::to_string).filter(|text| !text.contains("sh -c")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn hooks_are_told_what_happens_and_leave_what_they_print() {
        let fixture = fixture(|_, _| "");
        fixture.activate("v1").unwrap();
        fixture.activate("v2").unwrap();
        rollback(&mut fixture.open().unwrap(), None, OnSchema::Refuse, &runtime(), &fixture.told).unwrap();
        insta::assert_snapshot!(told(&fixture), @"
        v1 before_switch in activate from '': prepared because ''
        v1 after_switch in activate from '': live because ''
        v2 before_switch in activate from 'v1': prepared because ''
        v2 after_switch in activate from 'v1': live because ''
        v1 after_rollback in rollback from 'v2': healthy because ''
        ");
        let logs = fixture.root().hook_logs();
        let names: Vec<String> =
            std::fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(names.len(), 5);
        for name in names {
            let hook = name.split_once('-').unwrap().1.strip_suffix(".log").unwrap();
            assert_eq!(std::fs::read_to_string(logs.join(&name)).unwrap(), format!("printed by {hook}\n"));
        }
        // What the journal does not tell of any more goes with the next operation.
        std::fs::write(fixture.root().journal(), "").unwrap();
        fixture.activate("v2").unwrap();
        assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 2);
    }

    #[test]
    fn hooks_run_as_the_apps_user() {
        if process::user() != 0 {
            return; // Only root can become another user.
        }
        let mut fixture = Fixture::with(&["v1"]);
        let folder = fixture.config.root.parent().unwrap();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        fixture.config.user = Some("nobody".to_owned());
        let script = "id -un; echo $USER; touch here ../../../.pannier/there || echo refused";
        let command = Words::try_from(["sh", "-c", script].map(str::to_owned).to_vec()).unwrap();
        let hook = Hook { command, timeout: Seconds::try_from(20).unwrap() };
        fixture.say("v1", Running { hooks: [(HookName::AfterSwitch, hook)].into(), ..Running::default() });
        fixture.activate("v1").unwrap();
        let log = std::fs::read_dir(fixture.root().hook_logs()).unwrap().next().unwrap().unwrap().path();
        let printed = std::fs::read_to_string(log).unwrap();
        assert!(printed.starts_with("nobody\nnobody\n") && printed.ends_with("refused\n"), "{printed}");
        assert_eq!(printed.matches("Permission denied").count(), 2, "{printed}");
    }

    #[test]
    fn a_failing_before_switch_refuses_with_nothing_changed() {
        for end in ["exit 3", "sleep 60"] {
            let fixture = fixture(|version, name| match (version, name) {
                ("v2", HookName::BeforeSwitch) => end,
                _ => "",
            });
            fixture.activate("v1").unwrap();
            let state = std::fs::read(fixture.root().state()).unwrap();
            told(&fixture);
            let failure = fixture.activate("v2").unwrap_err();
            assert!(!failure.tried && failure.left.is_empty());
            insta::allow_duplicates! {
                insta::assert_snapshot!(chain(&failure), @"
                failed to activate `v2` of `polls`
                the hook `before_switch` failed
                ");
            }
            assert_eq!(
                (fixture.current().as_deref(), std::fs::read(fixture.root().state()).unwrap()),
                (Some("v1"), state)
            );
            let told = told(&fixture);
            assert!(
                told.contains("v2 on_failure in activate from 'v1': prepared because 'the hook `before_switch` failed"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_failing_after_switch_takes_back_and_on_failure_changes_nothing_about_it() {
        let fixture = fixture(|version, name| match (version, name) {
            ("v2", HookName::AfterSwitch | HookName::OnFailure) => "exit 3",
            _ => "",
        });
        fixture.activate("v1").unwrap();
        told(&fixture);
        let failure = fixture.activate("v2").unwrap_err();
        assert!(failure.tried && failure.left.is_empty());
        assert_eq!(fixture.current().as_deref(), Some("v1"));
        let node = fixture.open().unwrap();
        assert_eq!(node.state.standing(&v("v2")), Some(Standing::Bad));
        let why = evidence::read(&node.root.failed().join("v2")).unwrap();
        assert_eq!(why.error[0], "the hook `after_switch` failed");
        drop(node);
        insta::assert_snapshot!(chain(&failure), @"
        failed to activate `v2` of `polls`; it was taken back
        the hook `after_switch` failed
        ");
        insta::assert_snapshot!(told(&fixture).lines().last().unwrap().split(": `sh").next().unwrap(), @"v2 on_failure in activate from 'v1': bad because 'the hook `after_switch` failed");
        let warned = fixture.warnings().pop().unwrap();
        assert!(
            warned.starts_with("the hook `on_failure` failed") && warned.ends_with("; that changes nothing"),
            "{warned}"
        );
    }

    #[test]
    fn a_way_back_cannot_be_refused_by_the_releases_code() {
        let fixture = fixture(|version, _| if version == "v1" { "test $PANNIER_OPERATION = activate" } else { "" });
        fixture.activate("v1").unwrap();
        fixture.activate("v2").unwrap();
        let back = rollback(&mut fixture.open().unwrap(), None, OnSchema::Refuse, &runtime(), &fixture.told).unwrap();
        assert_eq!((back.version, back.activated), (v("v1"), Activated::Now { before: Some(v("v2")) }));
        assert_eq!(fixture.open().unwrap().state.standing(&v("v1")), Some(Standing::Healthy));
    }
}
