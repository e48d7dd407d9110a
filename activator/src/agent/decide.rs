//! What a node is to do now, by its fleet's order and by how far it has come: a pure function, so that it can be asked again
//! after any kill.

use std::collections::BTreeMap;

use pannier_shared::id::{AppName, NodeName, Version};
use pannier_shared::receipt::{Progress, Serving, Stage};
use pannier_shared::statement::{Phase, Rollout};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Bring the order's release to the disk.
    Prepare,
    /// Apply its migrations.
    Migrate,
    /// Activate it, through the gate.
    Switch,
    /// Go back to what served before.
    Back(Version),
    /// There is nothing to go back from: only say so.
    Unmoved,
    /// Serve what was decided.
    Follow(AppName),
}

/// What is known when it is decided.
#[derive(Debug)]
pub struct Known<'a> {
    /// The order.
    pub order: &'a Rollout,
    /// This node.
    pub node: &'a NodeName,
    /// How far it has come with the last rollout, perhaps another one.
    pub progress: Option<&'a Progress>,
    /// What serves.
    pub apps: &'a BTreeMap<AppName, Serving>,
    /// The serial at which its wait for the instant was over before anybody named one.
    pub lapsed: Option<u64>,
    /// Which decisions were followed, by app.
    pub followed: &'a BTreeMap<AppName, u64>,
}

impl Known<'_> {
    /// What to do, if anything. Where nothing serves yet, what was decided comes before what may be.
    pub fn job(&self) -> Option<Job> {
        let is_bare = |app: &AppName| self.apps.get(app).is_some_and(|serving| serving.live.is_none());
        let urgent = self.of_decisions().filter(|job| matches!(job, Job::Follow(app) if is_bare(app)));
        urgent.or_else(|| self.of_rollout()).or_else(|| self.of_decisions())
    }

    fn of_rollout(&self) -> Option<Job> {
        if !self.apps.contains_key(&self.order.app) && !self.is_named() {
            return None;
        }
        match self.order.phase {
            Phase::Back | Phase::RolledBack | Phase::Mixed => self.back(),
            Phase::Done | Phase::Aborted => None,
            _ if self.order.out.contains_key(self.node) => None,
            _ => self.forward(),
        }
    }

    fn is_named(&self) -> bool {
        self.order.nodes().any(|node| node == self.node)
    }

    fn progress(&self) -> Option<&Progress> {
        self.progress.filter(|progress| progress.id == self.order.id)
    }

    fn forward(&self) -> Option<Job> {
        let stage = self.progress().map_or(Stage::Preparing, |progress| progress.stage);
        let is_turn = self.order.turn().any(|node| node == self.node);
        match (self.order.phase, stage) {
            (_, Stage::Failed | Stage::Healthy | Stage::Back) => None,
            (_, Stage::Preparing) => Some(Job::Prepare),
            (Phase::Migrate, Stage::Prepared) if self.order.migrator.as_ref() == Some(self.node) => Some(Job::Migrate),
            (Phase::Arm, _) if is_turn && self.lapsed != Some(self.order.serial) => Some(Job::Switch),
            (Phase::Switch, _) if is_turn => Some(Job::Switch),
            _ => None,
        }
    }

    /// By what `current` leads to, not by what was said or asked for.
    fn back(&self) -> Option<Job> {
        let progress = self.progress().filter(|progress| progress.stage != Stage::Back && !progress.stuck)?;
        let leads_there =
            self.apps.get(&self.order.app).is_some_and(|app| app.current.as_ref() == Some(&self.order.version));
        match &progress.before {
            Some(before) if progress.tried && leads_there && *before != self.order.version => {
                Some(Job::Back(before.clone()))
            }
            _ if progress.stage == Stage::Failed => None,
            _ => Some(Job::Unmoved),
        }
    }

    /// Decisions are followed once: what a person does after that holds.
    fn of_decisions(&self) -> Option<Job> {
        let is_new = |app: &&AppName| {
            self.order.decided.get(*app).is_some_and(|decided| self.followed.get(*app) != Some(&decided.id))
        };
        self.apps.keys().find(is_new).cloned().map(Job::Follow)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use jiff::Timestamp;
    use pannier_shared::statement::{Deadlines, Decided, FORMAT, Policy, RolloutType};

    fn order(phase: Phase) -> Rollout {
        let now = Timestamp::UNIX_EPOCH;
        Rollout {
            kind: RolloutType::Rollout,
            format: FORMAT,
            fleet: "shop".parse().unwrap(),
            epoch: 1,
            serial: 9,
            id: 7,
            app: "polls".parse().unwrap(),
            version: "v2".parse().unwrap(),
            statements: BTreeMap::new(),
            waves: vec![BTreeSet::from(["a".parse().unwrap()]), BTreeSet::from(["b".parse().unwrap()])],
            policy: Policy::All,
            deadlines: Deadlines::default(),
            phase,
            wave: 0,
            out: BTreeMap::new(),
            migrator: Some("a".parse().unwrap()),
            switch_at: None,
            began: now,
            since: now,
            issued: now,
            reason: String::new(),
            who: "me".to_owned(),
            because: String::new(),
            decided: BTreeMap::new(),
        }
    }

    /// What node `node` does at this stage of its own, when `current` leads to `current`.
    fn job_with(order: &Rollout, node: &str, stage: Option<Stage>, current: &str, before: Option<&str>) -> Option<Job> {
        let version = Some(current.parse().unwrap());
        let serving = Serving { current: version.clone(), live: version, ..Serving::default() };
        let apps = BTreeMap::from([("polls".parse().unwrap(), serving)]);
        let progress = stage.map(|stage| Progress {
            stage,
            tried: before.is_some(),
            before: before.map(|before| before.parse().unwrap()),
            ..Progress::of(order, Timestamp::UNIX_EPOCH)
        });
        let (node, followed) = (node.parse().unwrap(), BTreeMap::new());
        let known =
            Known { order, node: &node, progress: progress.as_ref(), apps: &apps, lapsed: None, followed: &followed };
        known.job()
    }

    fn job(phase: Phase, node: &str, stage: Option<Stage>) -> Option<Job> {
        job_with(&order(phase), node, stage, "v1", None)
    }

    #[test]
    fn nothing_is_switched_before_its_phase_and_its_turn() {
        for node in ["a", "b", "joiner"] {
            assert_eq!(job(Phase::Prepare, node, None), Some(Job::Prepare));
            assert_eq!(job(Phase::Prepare, node, Some(Stage::Prepared)), None);
        }
        assert_eq!(job(Phase::Migrate, "a", Some(Stage::Prepared)), Some(Job::Migrate));
        assert_eq!(job(Phase::Migrate, "b", Some(Stage::Prepared)), None);
        for phase in [Phase::Arm, Phase::Switch] {
            assert_eq!(job(phase, "a", Some(Stage::Prepared)), Some(Job::Switch));
            assert_eq!(job(phase, "b", Some(Stage::Prepared)), None);
            assert_eq!(job(phase, "joiner", Some(Stage::Prepared)), None, "an undecided version is only prepared");
            assert_eq!(job(phase, "joiner", None), Some(Job::Prepare));
        }
    }

    #[test]
    fn what_failed_is_not_tried_again_by_itself_and_who_is_out_does_nothing() {
        assert_eq!(job(Phase::Arm, "a", Some(Stage::Failed)), None);
        let mut order = order(Phase::Switch);
        order.out.insert("a".parse().unwrap(), "late".to_owned());
        assert_eq!(job_with(&order, "a", Some(Stage::Prepared), "v1", None), None);
    }

    #[test]
    fn an_agent_that_was_killed_does_it_again() {
        assert_eq!(job(Phase::Prepare, "a", Some(Stage::Preparing)), Some(Job::Prepare));
        assert_eq!(job(Phase::Arm, "a", Some(Stage::Armed)), Some(Job::Switch));
        assert_eq!(job(Phase::Switch, "a", Some(Stage::Switched)), Some(Job::Switch));
        assert_eq!(job(Phase::Switch, "a", Some(Stage::Healthy)), None);
    }

    #[test]
    fn going_back_is_decided_by_the_link() {
        for phase in [Phase::Back, Phase::RolledBack, Phase::Mixed] {
            let back = |stage, current, before| job_with(&order(phase), "a", Some(stage), current, before);
            assert_eq!(back(Stage::Healthy, "v2", Some("v1")), Some(Job::Back("v1".parse().unwrap())));
            assert_eq!(back(Stage::Armed, "v2", Some("v1")), Some(Job::Back("v1".parse().unwrap())));
            assert_eq!(back(Stage::Armed, "v1", Some("v1")), Some(Job::Unmoved));
            assert_eq!(back(Stage::Healthy, "v2", Some("v2")), Some(Job::Unmoved), "it served before");
            assert_eq!(back(Stage::Prepared, "v2", None), Some(Job::Unmoved), "it was not this rollout");
            assert_eq!(back(Stage::Failed, "v1", Some("v1")), None);
            assert_eq!(back(Stage::Back, "v2", Some("v1")), None, "a person has activated it since");
        }
    }

    #[test]
    fn a_bare_node_serves_what_was_decided_before_it_prepares_what_may_be() {
        let mut order = order(Phase::Prepare);
        let decided = Decided { version: "v1".parse().unwrap(), statements: BTreeMap::new(), id: 3 };
        order.decided.insert("polls".parse().unwrap(), decided);
        let apps = BTreeMap::from([("polls".parse().unwrap(), Serving::default())]);
        let (node, followed) = ("joiner".parse().unwrap(), BTreeMap::new());
        let known =
            Known { order: &order, node: &node, progress: None, apps: &apps, lapsed: None, followed: &followed };
        assert_eq!(known.job(), Some(Job::Follow("polls".parse().unwrap())));
    }

    #[test]
    fn what_was_decided_is_followed_once_and_what_is_not_decided_never() {
        let decided = Decided { version: "v1".parse().unwrap(), statements: BTreeMap::new(), id: 3 };
        for phase in [Phase::Done, Phase::Aborted] {
            let mut order = order(phase);
            assert_eq!(job_with(&order, "joiner", None, "v0", None), None);
            order.decided.insert("polls".parse().unwrap(), decided.clone());
            assert_eq!(job_with(&order, "joiner", None, "v0", None), Some(Job::Follow("polls".parse().unwrap())));
        }
    }
}
