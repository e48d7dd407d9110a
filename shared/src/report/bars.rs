//! Bars on a terminal: a live line for each step that runs, and the plain line it leaves when it ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Colour, human, plain};
use crate::event::{Amount, Event, Sink};

/// How often a spinner turns: slow enough for a serial console, quick enough to be seen moving.
const TICK: Duration = Duration::from_millis(120);

/// Draws bars.
pub struct Bars {
    screen: MultiProgress,
    colour: Colour,
    live: Mutex<HashMap<&'static str, Live>>,
}

/// A step that runs.
struct Live {
    bar: ProgressBar,
    does: &'static str,
}

impl Bars {
    /// Bars on `target`.
    pub fn new(target: ProgressDrawTarget, colour: Colour) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        Self { screen, colour, live: Mutex::default() }
    }

    fn start(&self, step: &'static str, does: &'static str) {
        let bar = self.screen.add(ProgressBar::new_spinner());
        bar.set_style(look(SPINNER));
        bar.set_prefix(plain::label(step, None));
        bar.set_message(does);
        bar.enable_steady_tick(TICK);
        self.with_live(|live| live.insert(step, Live { bar, does }));
    }

    fn advance(&self, step: &'static str, done: Amount, total: Option<Amount>) {
        self.with_live(|live| {
            let Some(Live { bar, does }) = live.get(step) else { return };
            match total.map(|total| measure(done, total)) {
                Some((position, length)) if length > 0 => {
                    if bar.length() != Some(length) {
                        bar.set_length(length);
                        bar.set_style(look(BAR));
                    }
                    bar.set_position(position);
                    bar.set_message(of(done, total.unwrap_or_default()));
                }
                _ => bar.set_message(format!("{does}: {}", human::amount(done))),
            }
        });
    }

    /// Takes the step's bar away; gives what it did.
    fn end(&self, step: &str) -> Option<&'static str> {
        let Live { bar, does } = self.with_live(|live| live.remove(step))?;
        bar.finish_and_clear();
        self.screen.remove(&bar);
        Some(does)
    }

    fn with_live<T>(&self, act: impl FnOnce(&mut HashMap<&'static str, Live>) -> T) -> T {
        act(&mut self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Bars {
    fn emit(&self, event: Event) {
        let mut did = None;
        match &event {
            Event::Started { step, does } => self.start(step, does),
            Event::Advanced { step, done, total } => self.advance(step, *done, *total),
            Event::Finished { step, .. } | Event::Failed { step, .. } => did = self.end(step),
            Event::Undone { .. } | Event::Note { .. } | Event::Warning { .. } => {}
        }
        if let Some(line) = plain::line(&event, did.unwrap_or("done"), self.colour) {
            // A terminal that is gone does not stop the work.
            let _ = self.screen.println(line);
        }
    }
}

const SPINNER: &str = "{prefix} {spinner} {wide_msg}";
const BAR: &str = "{prefix} [{bar:24}] {wide_msg}";

fn look(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ").tick_chars("|/-\\ ")
}

/// What the bar's length stands for: bytes where they are known, else items.
fn measure(done: Amount, total: Amount) -> (u64, u64) {
    if total.bytes > 0 { (done.bytes, total.bytes) } else { (done.items, total.items) }
}

/// "4.1 MB of 12.3 MB, 11 of 132 items".
fn of(done: Amount, total: Amount) -> String {
    let size = (total.bytes > 0).then(|| format!("{} of {}", human::bytes(done.bytes), human::bytes(total.bytes)));
    let items =
        (total.items > 0).then(|| format!("{} of {} items", human::number(done.items), human::number(total.items)));
    size.into_iter().chain(items).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::super::plain::tests::story;
    use super::*;

    fn screen() -> (InMemoryTerm, Bars) {
        let term = InMemoryTerm::new(20, 80);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 255);
        (term, Bars::new(target, Colour::Off))
    }

    #[test]
    fn a_bar_shows_bytes_and_files() {
        let (term, bars) = screen();
        story().into_iter().take(2).for_each(|event| bars.emit(event));
        bars.with_live(|live| live["fetch"].bar.force_draw());
        insta::assert_snapshot!(term.contents(), @"fetch       [=======>                ] 4.1 MB of 12.3 MB, 11 of 132 items");
    }

    #[test]
    fn without_a_total_it_says_what_it_does_and_how_much_was_done() {
        let (term, bars) = screen();
        bars.emit(Event::Started { step: "wheels", does: "collect the wheels" });
        bars.emit(Event::Advanced { step: "wheels", done: Amount { bytes: 0, items: 1234 }, total: None });
        bars.with_live(|live| live["wheels"].bar.force_draw());
        let text = term.contents().replace(['|', '/', '-', '\\'], "*");
        insta::assert_snapshot!(text, @"wheels      * collect the wheels: 1,234 items");
    }

    #[test]
    fn when_all_is_over_only_the_plain_lines_are_left() {
        let (term, bars) = screen();
        story().into_iter().for_each(|event| bars.emit(event));
        insta::assert_snapshot!(term.contents(), @r#"
        note: 3 files are on this machine already
        fetch       v2 is here (12.3 MB, 132 items, 1.2 s)
        check       look at every file (8 ms)
        warning: the pointer \u{1b}[31mexpired
        restart     failed: `systemctl` failed: exit status: 1
        restart     undone
        fetch       could not be undone: no permission
        "#);
    }
}
