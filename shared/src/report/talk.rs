//! The frame of a program: how it talks, chosen once from its flags and its surroundings, and how its end is printed.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;

use super::{Failure, Style, for_terminal};
use crate::event::{Event, Sink};
use crate::exit::Exit;

/// How a program talks.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    /// In which form.
    pub style: Style,
    /// How much.
    pub volume: Volume,
}

/// How much a program says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Everything.
    All,
    /// Warnings, errors and the result.
    Quiet,
}

/// A command that was done: its result, and what the program ends with.
#[derive(Debug)]
pub struct Ended {
    /// The text for stdout, with its final newline; for [`Style::Json`] made by [`result_line`].
    pub output: String,
    /// The status.
    pub exit: Exit,
}

impl Talk {
    /// The sink to hand to the libraries; `program` is as in [`for_terminal`].
    pub fn sink(self, program: &str) -> Box<dyn Sink> {
        let sink = for_terminal(self.style, program);
        match self.volume {
            Volume::All => sink,
            Volume::Quiet => Box::new(WarningsOnly(sink)),
        }
    }

    /// Prints how it ended, and gives the status to end with. Everything that draws must be gone.
    pub fn end(self, done: Result<Ended, Failure>) -> ExitCode {
        let (mut out, mut err) = (io::stdout(), io::stderr());
        ExitCode::from(self.print(done, &mut out, &mut err).code())
    }

    fn print(self, done: Result<Ended, Failure>, out: &mut impl Write, err: &mut impl Write) -> Exit {
        match done {
            Ok(ended) => match print(out, &ended.output) {
                Ok(()) => ended.exit,
                Err(error) => {
                    let lost = Failure::of(Exit::Unexpected, &Lost(error));
                    let _ = print(err, &lost.render(Style::Plain));
                    lost.exit
                }
            },
            Err(failure) => {
                let text = failure.render(self.style);
                // There is no other place to complain at.
                let _ = if self.style == Style::Json { print(out, &text) } else { print(err, &text) };
                failure.exit
            }
        }
    }
}

/// What was done is done, but nobody can know.
#[derive(Debug, thiserror::Error)]
#[error("it is done, but the result cannot be written to stdout")]
struct Lost(#[source] io::Error);

/// A reader that went away is no reason to fail: it has what it wanted. A disk that is full is one.
fn print(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Passes on what a person should look at, and no progress.
struct WarningsOnly(Box<dyn Sink>);

impl Sink for WarningsOnly {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Warning { .. }) {
            self.0.emit(event);
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "result")]
struct Line<'a, T: Serialize> {
    #[serde(flatten)]
    output: &'a T,
}

/// A command's result as a JSON line.
pub fn result_line(output: &impl Serialize) -> String {
    // Names, numbers and lists always have a JSON form.
    serde_json::to_string(&Line { output }).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::plain::tests::Gone;
    use super::*;

    const TALK: Talk = Talk { style: Style::Plain, volume: Volume::All };

    fn ended() -> Result<Ended, Failure> {
        Ok(Ended { output: "v1 serves\n".to_owned(), exit: Exit::Done })
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn results_go_to_stdout_and_errors_to_stderr_or_as_json_to_stdout() {
        let failed = || Err(Failure::of(Exit::Store, &io::Error::other("gone")));
        let run = |style, done| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let exit = Talk { style, ..TALK }.print(done, &mut out, &mut err);
            (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
        };
        assert_eq!(run(Style::Plain, ended()), (Exit::Done, "v1 serves\n".to_owned(), String::new()));
        assert_eq!(run(Style::Plain, failed()), (Exit::Store, String::new(), "error: gone\n".to_owned()));
        let (exit, out, err) = run(Style::Json, failed());
        assert_eq!((exit, err.as_str()), (Exit::Store, ""));
        assert!(out.starts_with("{\"event\":\"error\",\"exit\":7,"), "{out}");
    }

    #[test]
    fn a_reader_that_is_gone_has_what_it_wanted() {
        assert_eq!(TALK.print(ended(), &mut Gone, &mut Vec::new()), Exit::Done);
    }

    #[test]
    fn a_result_that_is_lost_is_an_error() {
        let mut err = Vec::new();
        assert_eq!(TALK.print(ended(), &mut Full, &mut err), Exit::Unexpected);
        insta::assert_snapshot!(String::from_utf8(err).unwrap(), @"
        error: it is done, but the result cannot be written to stdout
          caused by: no storage space
        ");
    }
}
