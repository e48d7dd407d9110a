//! JSON lines: every event as one object on one line, for machines.
//!
//! The first line says which [`SCHEMA`] the others follow. Within one number objects only gain fields and events; a
//! reader skips what it does not know. A reader that went away does not stop the work: from then on nothing is
//! written.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::event::{Event, Sink};
use crate::sys::clock;

/// The number of the lines' form.
pub const SCHEMA: u32 = 1;

/// The least time between two `advanced` lines of one step: a reader that draws needs no more than ten a second.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes JSON lines.
pub struct JsonLines(Mutex<State>);

struct State {
    /// None once the reader is gone.
    out: Option<Box<dyn Write + Send>>,
    advanced: HashMap<&'static str, Instant>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "schema")]
struct First<'a> {
    version: u32,
    program: &'a str,
}

impl JsonLines {
    /// Lines to `out`, the first of them at once. `program` is "pannier 0.1.0".
    pub fn new(out: Box<dyn Write + Send>, program: &str) -> Self {
        let mut state = State { out: Some(out), advanced: HashMap::new() };
        state.write(&First { version: SCHEMA, program });
        Self(Mutex::new(state))
    }
}

impl Sink for JsonLines {
    fn emit(&self, event: Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_due(&event, clock::monotonic()) {
            state.write(&event);
        }
    }
}

impl State {
    fn is_due(&mut self, event: &Event, now: Instant) -> bool {
        let Event::Advanced { step, .. } = event else { return true };
        if self.advanced.get(step).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        self.advanced.insert(step, now);
        true
    }

    fn write(&mut self, value: &impl Serialize) {
        let Some(out) = &mut self.out else { return };
        let Ok(mut line) = serde_json::to_vec(value) else { return };
        line.push(b'\n');
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            self.out = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain::tests::{Gone, Shared, story};
    use super::*;
    use crate::event::Amount;

    #[test]
    fn a_story_in_json_lines() {
        let out = Shared::default();
        let sink = JsonLines::new(Box::new(out.clone()), "pannier 0.1.0");
        story().into_iter().for_each(|event| sink.emit(event));
        insta::assert_snapshot!(out.text(), @r#"
        {"event":"schema","version":1,"program":"pannier 0.1.0"}
        {"event":"started","step":"fetch","does":"download the release"}
        {"event":"advanced","step":"fetch","done":{"bytes":4100000,"items":11},"total":{"bytes":12345678,"items":132}}
        {"event":"note","text":"3 files are on this machine already"}
        {"event":"finished","step":"fetch","took":1.234,"moved":{"bytes":12345678,"items":132},"said":"v2 is here"}
        {"event":"started","step":"check","does":"look at every file"}
        {"event":"finished","step":"check","took":0.008,"moved":{"bytes":0,"items":0},"said":""}
        {"event":"warning","text":"the pointer \u001b[31mexpired"}
        {"event":"started","step":"restart","does":"restart the app"}
        {"event":"failed","step":"restart","error":"`systemctl` failed: exit status: 1"}
        {"event":"undone","step":"restart","error":null}
        {"event":"undone","step":"fetch","error":"no permission"}
        "#);
    }

    #[test]
    fn progress_is_thinned_and_nothing_else_is() {
        let mut state = State { out: None, advanced: HashMap::new() };
        let advanced = |step| Event::Advanced { step, done: Amount::default(), total: None };
        let note = Event::Note { text: String::new() };
        let start = clock::monotonic();
        let mut due = |event: &Event, ms| state.is_due(event, start + Duration::from_millis(ms));
        assert!(due(&advanced("pack"), 0) && due(&advanced("fetch"), 1), "each step has its own pace");
        assert!(!due(&advanced("pack"), 99) && due(&advanced("pack"), 100));
        assert!(due(&note, 100) && due(&note, 100));
    }

    #[test]
    fn a_reader_that_is_gone_does_not_stop_the_work() {
        let sink = JsonLines::new(Box::new(Gone), "pannier 0.1.0");
        story().into_iter().for_each(|event| sink.emit(event));
    }
}
