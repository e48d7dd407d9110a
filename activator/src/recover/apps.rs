//! All apps at once, within one budget (`steps::budget`): so many are fetched at a time, those of the lowest number first,
//! and whichever is here is activated while the next one comes. A slow start or health check holds up no fetch.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use pannier_shared::event::{Amount, Event, Sink};
use pannier_shared::id::AppName;
use pannier_shared::statement::suite::{Member, in_order};
use pannier_shared::steps::Done;

use super::app::{Bringing, Recovered};
use super::{Error, Recovering};
use crate::config;

/// The name this step has in its table and its events.
pub const STEP: &str = "apps";

/// Fetches at a time. One waits for the store while another one decodes; each has a decoder per core, and more of them only
/// take memory.
const FETCHES: usize = 3;

pub fn bring(run: &mut Recovering) -> Result<Done, Error> {
    let mut unfit = std::mem::take(&mut run.unfit);
    let (members, request, sink) = (in_order(run.members()?), run.request, run.sink);
    let (progress, count) = (Progress::new(sink, members.len()), members.len());
    let mut fit = Vec::new();
    for (number, (app, member)) in members.into_iter().enumerate() {
        match (run.told.get(app), unfit.remove(app)) {
            (Some(config), None) => fit.push((number, app, member, config)),
            (_, error) => progress.note(number, unfit_for(app, member, error)),
        }
    }
    let next = AtomicUsize::new(0);
    let fetch_one = || {
        let (number, app, member, config) = fit.get(next.fetch_add(1, Ordering::Relaxed))?;
        Some((*number, Bringing::fetch(request, app, &member.runs, config, sink)))
    };
    thread::scope(|scope| {
        for _ in 0..FETCHES.min(fit.len()) {
            scope.spawn(|| {
                while let Some((number, bringing)) = fetch_one() {
                    let progress = &progress;
                    scope.spawn(move || progress.note(number, bringing.finish()));
                }
            });
        }
    });
    run.apps = progress.end();
    let bytes = run.apps.iter().filter_map(|app| app.moved).map(|moved| moved.bytes).sum();
    let failed = run.apps.iter().filter(|app| app.came.is_err()).count();
    let said = if failed == 0 { "all are back".to_owned() } else { format!("{failed} of {count} are not back") };
    Ok(Done::said(said).moved(bytes, count as u64))
}

/// An app that no node can be told of as the suite does.
fn unfit_for(app: &AppName, member: &Member, error: Option<config::Error>) -> Recovered {
    let near = Vec::new();
    let error = error.unwrap_or_else(|| config::Error::NoApp { file: PathBuf::new(), app: app.clone(), near });
    Recovered::nothing(app, &member.runs, Err(error.into()))
}

/// What came so far.
struct Progress<'a> {
    sink: &'a dyn Sink,
    total: usize,
    done: Mutex<Vec<(usize, Recovered)>>,
}

impl<'a> Progress<'a> {
    fn new(sink: &'a dyn Sink, total: usize) -> Self {
        Self { sink, total, done: Mutex::default() }
    }

    fn note(&self, number: usize, recovered: Recovered) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push((number, recovered));
        let bytes = done.iter().filter_map(|(_, app)| app.moved).map(|moved| moved.bytes).sum();
        let (done, total) = (Amount { bytes, items: done.len() as u64 }, Amount { bytes: 0, items: self.total as u64 });
        self.sink.emit(Event::Advanced { step: STEP, done, total: Some(total) });
    }

    fn end(self) -> Vec<Recovered> {
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(number, _)| *number);
        done.into_iter().map(|(_, recovered)| recovered).collect()
    }
}
