//! The program: reads what was typed, does it by the library, prints what came of it. Nothing else prints or exits.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pannier_builder::environment::Ambient;
use pannier_shared::event::{Event, Sink};
use pannier_shared::report::{self, Style, Surroundings};

mod args;
mod commands;
mod failure;
mod output;

use args::{Common, Typed};
use commands::Session;

/// What the first JSON line names.
const PROGRAM: &str = concat!("pannier ", env!("CARGO_PKG_VERSION"));

/// Runs the program.
pub fn main() -> ExitCode {
    let typed = Typed::parse();
    let style = style(&typed.common);
    let sink = sink(&typed.common, style);
    let session = Session { sink: Arc::clone(&sink), env: Ambient::of(std::env::vars_os()) };
    let done = session.run(&typed.command);
    // The bars must be gone before anything else is written.
    drop((session, sink));
    match done {
        Ok(output) => {
            print(&mut std::io::stdout(), if style == Style::Json { output.json() } else { output.to_string() });
            ExitCode::from(output.exit().code())
        }
        Err(error) => fail(&error.into_failure(), style),
    }
}

fn style(common: &Common) -> Style {
    if common.json { Style::Json } else { Style::for_person(&Surroundings::of_process()) }
}

fn sink(common: &Common, style: Style) -> Arc<dyn Sink> {
    let sink = report::for_terminal(style, PROGRAM);
    if common.quiet { Arc::new(WarningsOnly(sink)) } else { Arc::from(sink) }
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

fn fail(failure: &report::Failure, style: Style) -> ExitCode {
    let text = failure.render(style);
    match style {
        Style::Json => print(&mut std::io::stdout(), text),
        Style::Plain | Style::Bars(_) => print(&mut std::io::stderr(), text),
    }
    ExitCode::from(failure.exit.code())
}

/// A reader that went away is no reason to fail: what was asked for is done.
fn print(out: &mut impl Write, text: String) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
