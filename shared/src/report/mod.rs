//! Draws events and failures: bars on a terminal, plain lines in a log, JSON lines for machines.
//!
//! The libraries emit `event::Event`s and return errors; a program's `main` chooses a [`Style`], hands the sink of
//! [`for_terminal`] to the libraries and prints what [`Failure::render`] gives. Talk goes to stderr and data to
//! stdout; with `--json` the events are the data.

use std::io::{self, IsTerminal};

use crate::event::Sink;

mod bars;
mod failure;
pub mod human;
mod json;
mod plain;
mod talk;

pub use bars::Bars;
pub use failure::Failure;
pub use json::{JsonLines, SCHEMA};
pub use plain::Plain;
pub use talk::{Ended, Talk, Volume, result_line};

/// How a program talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Moving bars, on a terminal.
    Bars(Colour),
    /// One line per piece of news, for logs and pipes.
    Plain,
    /// One JSON object per line, for machines.
    Json,
}

/// Whether words are coloured; colour never says anything that the words do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Coloured.
    On,
    /// As the terminal has it.
    Off,
}

/// What decides how to talk to a person.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// True when stderr is a terminal.
    pub terminal: bool,
    /// The variable `NO_COLOR`; anything in it switches colour off.
    pub no_color: Option<String>,
    /// The variable `TERM`; `dumb` cannot move its cursor.
    pub term: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self { terminal: io::stderr().is_terminal(), no_color: variable("NO_COLOR"), term: variable("TERM") }
    }
}

impl Style {
    /// How to talk to a person there.
    pub fn for_person(surroundings: &Surroundings) -> Self {
        let colour = match surroundings.no_color.as_deref() {
            None | Some("") => Colour::On,
            Some(_) => Colour::Off,
        };
        match surroundings.term.as_deref() {
            Some("dumb") => Self::Plain,
            _ if surroundings.terminal => Self::Bars(colour),
            _ => Self::Plain,
        }
    }
}

/// The sink that draws on this process's stderr, or with [`Style::Json`] writes to its stdout. `program` is what the
/// first JSON line names: "pannier 0.1.0".
pub fn for_terminal(style: Style, program: &str) -> Box<dyn Sink> {
    match style {
        Style::Bars(colour) => Box::new(Bars::new(indicatif::ProgressDrawTarget::stderr(), colour)),
        Style::Plain => Box::new(Plain::new(Box::new(io::stderr()))),
        Style::Json => Box::new(JsonLines::new(Box::new(io::stdout()), program)),
    }
}

/// A word in bold and the colour of an ANSI code, where colour is wanted.
fn paint(word: &str, code: u8, colour: Colour) -> String {
    match colour {
        Colour::On => format!("\x1b[1;{code}m{word}\x1b[0m"),
        Colour::Off => word.to_owned(),
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;

#[cfg(test)]
mod tests {
    use super::*;

    fn style(terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Style {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Style::for_person(&Surroundings { terminal, no_color: owned(no_color), term: owned(term) })
    }

    #[test]
    fn bars_are_for_terminals_that_can_move_their_cursor() {
        assert_eq!(style(true, None, Some("xterm")), Style::Bars(Colour::On));
        assert_eq!(style(true, None, Some("dumb")), Style::Plain);
        assert_eq!(style(false, None, Some("xterm")), Style::Plain);
    }

    #[test]
    fn no_color_switches_colour_off_unless_it_is_empty() {
        assert_eq!(style(true, Some("1"), None), Style::Bars(Colour::Off));
        assert_eq!(style(true, Some(""), None), Style::Bars(Colour::On));
    }
}
