//! Plain lines: one when a step begins, one when it ends; how far it has come is never printed, so that logs stay short.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::{Colour, GREEN, RED, YELLOW, human, paint};
use crate::event::{Event, Sink};

/// Writes plain lines. An output that is gone does not stop the work.
pub struct Plain(Mutex<Box<dyn Write + Send>>);

impl Plain {
    /// Lines to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Mutex::new(out))
    }
}

impl Sink for Plain {
    fn emit(&self, event: Event) {
        let line = match &event {
            Event::Started { step, does } => Some(format!("{} {does}", label(step, None))),
            _ => line(&event, "done", Colour::Off),
        };
        if let Some(line) = line {
            let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
}

/// The line an event leaves behind on a screen or in a log; none for what only matters while it happens. A step that
/// ends with nothing to say says `otherwise`.
pub(super) fn line(event: &Event, otherwise: &str, colour: Colour) -> Option<String> {
    match event {
        Event::Started { .. } | Event::Advanced { .. } => None,
        Event::Finished { step, took, moved, said } => {
            let facts = [human::amount(*moved), human::duration(*took)].into_iter().filter(|fact| !fact.is_empty());
            let facts = facts.collect::<Vec<_>>().join(", ");
            let said = if said.is_empty() { otherwise.to_owned() } else { human::harmless(said) };
            Some(format!("{} {said} ({facts})", label(step, Some((GREEN, colour)))))
        }
        Event::Failed { step, error } => {
            Some(format!("{} failed: {}", label(step, Some((RED, colour))), human::harmless(error)))
        }
        Event::Undone { step, error: None } => Some(format!("{} undone", label(step, None))),
        Event::Undone { step, error: Some(error) } => {
            Some(format!("{} could not be undone: {}", label(step, Some((RED, colour))), human::harmless(error)))
        }
        Event::Note { text } => Some(format!("note: {}", human::harmless(text))),
        Event::Warning { text } => Some(format!("{}: {}", paint("warning", YELLOW, colour), human::harmless(text))),
    }
}

/// A step's name in a column of its own, as wide as the longest names in the tables.
pub(super) fn label(step: &str, painted: Option<(u8, Colour)>) -> String {
    let padded = format!("{step:<11}");
    match painted {
        Some((code, colour)) => paint(&padded, code, colour),
        None => padded,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::event::Amount;

    /// One of each kind of news.
    pub(in crate::report) fn story() -> Vec<Event> {
        let some = Amount { bytes: 4_100_000, items: 11 };
        let all = Amount { bytes: 12_345_678, items: 132 };
        vec![
            Event::Started { step: "fetch", does: "download the release" },
            Event::Advanced { step: "fetch", done: some, total: Some(all) },
            Event::Note { text: "3 files are on this machine already".to_owned() },
            Event::Finished {
                step: "fetch",
                took: Duration::from_millis(1234),
                moved: all,
                said: "v2 is here".to_owned(),
            },
            Event::Started { step: "check", does: "look at every file" },
            Event::Finished {
                step: "check",
                took: Duration::from_millis(8),
                moved: Amount::default(),
                said: String::new(),
            },
            Event::Warning { text: "the pointer \x1b[31mexpired".to_owned() },
            Event::Started { step: "restart", does: "restart the app" },
            Event::Failed { step: "restart", error: "`systemctl` failed: exit status: 1".to_owned() },
            Event::Undone { step: "restart", error: None },
            Event::Undone { step: "fetch", error: Some("no permission".to_owned()) },
        ]
    }

    /// An output that tests can look at.
    #[derive(Clone, Default)]
    pub(in crate::report) struct Shared(pub Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        pub(in crate::report) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// An output whose reader has gone.
    pub(in crate::report) struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_story_in_plain_lines() {
        let out = Shared::default();
        let sink = Plain::new(Box::new(out.clone()));
        story().into_iter().for_each(|event| sink.emit(event));
        insta::assert_snapshot!(out.text(), @r#"
        fetch       download the release
        note: 3 files are on this machine already
        fetch       v2 is here (12.3 MB, 132 items, 1.2 s)
        check       look at every file
        check       done (8 ms)
        warning: the pointer \u{1b}[31mexpired
        restart     restart the app
        restart     failed: `systemctl` failed: exit status: 1
        restart     undone
        fetch       could not be undone: no permission
        "#);
    }

    #[test]
    fn a_log_that_is_gone_does_not_stop_the_work() {
        let sink = Plain::new(Box::new(Gone));
        story().into_iter().for_each(|event| sink.emit(event));
    }
}
