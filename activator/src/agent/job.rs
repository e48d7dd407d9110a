//! One job at a time: it is handed to a worker, let through the gate or not, and what came of it is written down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pannier_shared::id::AppName;
use pannier_shared::receipt::{self, Progress, Serving, Stage};
use pannier_shared::statement::{Phase, Rollout};
use pannier_shared::sys::{clock, fs};

use super::decide::Job;
use super::latch::Latch;
use super::work::{Ended, Failed, Left, News, Work};
use super::{Agent, Error, Working};

/// A decision that could not be followed is tried again after so long.
const AGAIN: Duration = Duration::from_secs(30);

/// How much longer than a phase may take a node waits for its instant, since it looks at orders now and then only.
const GRACE: Duration = Duration::from_secs(10);

impl Agent<'_, '_> {
    /// Hands a job to a worker. What served before is written down first: it is what is gone back to.
    pub(super) fn begin(
        &mut self,
        order: Arc<Rollout>,
        job: Job,
        apps: &BTreeMap<AppName, Serving>,
    ) -> Result<(), Error> {
        let app = match &job {
            Job::Follow(app) => app.clone(),
            _ => {
                self.begin_progress(&order, &job, apps)?;
                order.app.clone()
            }
        };
        let latch = Arc::new(Latch::new(self.sender.clone()));
        let work = Work {
            job: job.clone(),
            order: Arc::clone(&order),
            config: self.setup.config.apps.get(&app),
            origins: &self.setup.origins,
            latch: Arc::clone(&latch),
            news: self.sender.clone(),
            sink: self.setup.sink,
        };
        let thread = self.scope.spawn(|| work.run());
        self.working = Some(Working { job, id: order.id, latch, thread });
        self.mind_worker()
    }

    fn begin_progress(&mut self, order: &Rollout, job: &Job, apps: &BTreeMap<AppName, Serving>) -> Result<(), Error> {
        let ours = self.memory.progress.take().filter(|progress| progress.id == order.id);
        let mut progress = ours.unwrap_or_else(|| Progress::of(order, clock::now()));
        if *job == Job::Switch && !progress.tried {
            progress.before = apps.get(&order.app).and_then(|app| app.live.clone());
            progress.tried = true;
        }
        self.memory.progress = Some(progress);
        Ok(self.save()?)
    }

    /// Opens the gate, or closes it, and notices a worker that died.
    pub(super) fn mind_worker(&mut self) -> Result<(), Error> {
        let Some(working) = &self.working else { return Ok(()) };
        if let (Job::Switch, Some(order)) = (&working.job, &self.order) {
            match self.gate(order, working.id) {
                Some(Ok(instant)) => working.latch.open(instant),
                Some(Err(why)) => working.latch.close(why),
                None => {}
            }
        }
        if working.thread.is_finished() {
            // What it told last may still be on its way.
            while let Ok(news) = self.news.try_recv() {
                self.hear(news)?;
            }
            if self.working.as_ref().is_some_and(|working| working.thread.is_finished()) {
                self.hear(News::Ended(Ended::Failed(Failed::because("the worker died: see the agent's log"))))?;
            }
        }
        Ok(())
    }

    /// Whether this node may switch to what the rollout `id` is about, and when; none while that is open.
    fn gate(&self, order: &Rollout, id: u64) -> Option<Result<Timestamp, String>> {
        let is_turn = order.id == id && order.turn().any(|node| *node == self.fleet.node);
        match (order.phase, order.switch_at) {
            (Phase::Switch, Some(instant)) if is_turn => Some(Ok(instant)),
            (Phase::Arm, _) if is_turn => {
                let limit = Duration::from_secs(order.deadlines.arm.into()) + GRACE;
                let is_over = clock::monotonic() >= self.seen_at + limit;
                is_over.then(|| Err("nobody said when, for as long as that may take".to_owned()))
            }
            _ if order.because.is_empty() => Some(Err(format!("the rollout is at `{}`", order.phase))),
            _ => Some(Err(format!("the rollout is at `{}`: {}", order.phase, order.because))),
        }
    }

    pub(super) fn hear(&mut self, news: News) -> Result<(), Error> {
        match news {
            News::Armed => self.reach(Stage::Armed, |_| ())?,
            News::Switched(at) => self.reach(Stage::Switched, |progress| progress.switched = Some(at))?,
            News::Ended(ended) => {
                let Some(Working { job, thread, .. }) = self.working.take() else { return Ok(()) };
                // A panic was printed, and `ended` says so.
                let _ = thread.join();
                self.ended(job, ended)?;
                self.ask_health();
            }
        }
        Ok(())
    }

    fn ended(&mut self, job: Job, ended: Ended) -> fs::Result<()> {
        match (job, ended) {
            (Job::Follow(app), Ended::Followed(id)) => self.followed(&app, id),
            (Job::Follow(app), Ended::Failed(failed)) => {
                self.warn(format!("what was decided of `{app}` is not followed: {}", failed.error));
                self.errors.insert(app, failed.error);
                self.not_before = Some(clock::monotonic() + AGAIN);
                Ok(())
            }
            (_, Ended::Prepared(digest, bytes)) => self.reach(Stage::Prepared, |progress| {
                (progress.statement, progress.bytes) = (Some(digest), progress.bytes + bytes);
            }),
            (_, Ended::Migrated(count)) => self.reach(Stage::Migrated, |progress| progress.migrated += count),
            (_, Ended::Healthy) => self.reach(Stage::Healthy, |_| ()),
            (_, Ended::WentBack) => self.reach(Stage::Back, |_| ()),
            (_, Ended::Closed) => {
                self.lapsed = self.order.as_ref().map(|order| order.serial);
                self.reach(Stage::Prepared, |_| ())
            }
            (_, Ended::Failed(failed)) => {
                self.warn(format!("the rollout failed here: {}", failed.error));
                self.reach(Stage::Failed, |progress| {
                    progress.stuck = failed.left == Left::Something;
                    progress.error = Some(failed.error.chars().take(receipt::ERROR).collect());
                    progress.hint = failed.hint;
                })
            }
            (_, Ended::Followed(_)) => Ok(()),
        }
    }

    fn followed(&mut self, app: &AppName, id: u64) -> fs::Result<()> {
        self.memory.followed.insert(app.clone(), id);
        self.errors.remove(app);
        self.save()
    }

    /// Writes down that it has come to a stage.
    fn reach(&mut self, stage: Stage, change: impl FnOnce(&mut Progress)) -> fs::Result<()> {
        let Some(progress) = &mut self.memory.progress else { return Ok(()) };
        (progress.stage, progress.since) = (stage, clock::now());
        change(progress);
        let text = format!("{} {} is {stage} here", progress.app, progress.version);
        self.note(text);
        self.save()
    }
}
