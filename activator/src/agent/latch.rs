//! The gate of an agent's activation: the worker waits at it, and the agent, which goes on looking at orders, opens or
//! closes it.

use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::work::News;
use crate::activate::{Closed, Gate};

/// Where one worker waits.
#[derive(Debug)]
pub struct Latch {
    decided: Mutex<Option<Result<Timestamp, Closed>>>,
    changed: Condvar,
    news: Sender<News>,
}

impl Latch {
    /// Nothing is decided yet; `news` is told when somebody waits, and when he has switched.
    pub fn new(news: Sender<News>) -> Self {
        Self { decided: Mutex::new(None), changed: Condvar::new(), news }
    }

    /// He is to switch at this instant. What was decided before stays.
    pub fn open(&self, at: Timestamp) {
        self.decide(Ok(at));
    }

    /// He is not to switch. What was decided before stays.
    pub fn close(&self, why: String) {
        self.decide(Err(Closed(why)));
    }

    fn decide(&self, decision: Result<Timestamp, Closed>) {
        self.lock().get_or_insert(decision);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<Timestamp, Closed>>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent that is gone has ended the whole process.
    fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }
}

impl Gate for Latch {
    fn armed(&self) -> Result<Timestamp, Closed> {
        self.tell(News::Armed);
        let mut decided = self.lock();
        loop {
            match &*decided {
                Some(decision) => return decision.clone(),
                None => decided = self.changed.wait(decided).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn switched(&self, at: Timestamp) {
        self.tell(News::Switched(at));
    }
}
