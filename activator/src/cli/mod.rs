//! The program: reads what was typed, does it by the library, prints what came of it. Nothing else prints or exits.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pannier_activator::config::Config;
use pannier_activator::node::View;
use pannier_activator::status::status;
use pannier_shared::event::{Event, Sink};
use pannier_shared::id::AppName;
use pannier_shared::report::{self, Style, Surroundings};

mod args;
mod commands;
mod failure;
mod output;

use args::{Common, Typed};
use commands::Session;
use failure::Error;

/// What the first JSON line names.
const PROGRAM: &str = concat!("pannier-activator ", env!("CARGO_PKG_VERSION"));

/// Runs the program.
pub fn main() -> ExitCode {
    let typed = Typed::parse();
    let style = style(&typed.common);
    let sink = sink(&typed.common, style);
    let done = Session::begin(&typed.common, sink.as_ref()).and_then(|session| session.run(&typed.command));
    drop(sink);
    match done {
        Ok(output) => {
            print(&mut std::io::stdout(), if style == Style::Json { output.json() } else { output.to_string() });
            ExitCode::from(output.exit().code())
        }
        Err(error) => fail(error, typed.command.app(), &typed.common, style),
    }
}

fn style(common: &Common) -> Style {
    if common.json { Style::Json } else { Style::for_person(&Surroundings::of_process()) }
}

fn sink(common: &Common, style: Style) -> Box<dyn Sink> {
    let sink = report::for_terminal(style, PROGRAM);
    if common.quiet { Box::new(WarningsOnly(sink)) } else { sink }
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

fn fail(error: Error, app: Option<&AppName>, common: &Common, style: Style) -> ExitCode {
    let failure = error.into_failure(app.and_then(|app| serving(app, common)));
    let text = failure.render(style);
    match style {
        Style::Json => print(&mut std::io::stdout(), text),
        Style::Plain | Style::Bars(_) => print(&mut std::io::stderr(), text),
    }
    ExitCode::from(failure.exit.code())
}

/// What serves now; nothing is said where that cannot be found out.
fn serving(app: &AppName, common: &Common) -> Option<String> {
    let config = Config::load(&common.config).ok()?;
    let view = View::open(app, config.app(app).ok()?).ok()?;
    Some(status(&view).serving())
}

/// A reader that went away is no reason to fail: what was asked for is done.
fn print(out: &mut impl Write, text: String) {
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
