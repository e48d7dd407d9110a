//! The program: reads what was typed, does it by the library, prints what came of it. Nothing else prints or exits.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pannier_builder::environment::Ambient;
use pannier_shared::event::Sink;
use pannier_shared::report::{Ended, Failure, Style, Surroundings, Talk, Volume};

mod args;
mod commands;
mod failure;
mod live;
mod output;

use args::{Common, Typed};
use commands::Session;

/// What the first JSON line names.
const PROGRAM: &str = concat!("pannier ", env!("CARGO_PKG_VERSION"));

/// Runs the program.
pub fn main() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => return not_understood(&error),
    };
    let talk = talk(&typed.common);
    let sink: Arc<dyn Sink> = Arc::from(talk.sink(PROGRAM));
    let session = Session { sink: Arc::clone(&sink), env: Ambient::of(std::env::vars_os()), style: talk.style };
    let done = session.run(&typed.command);
    // The bars must be gone before anything else is written.
    drop((session, sink));
    talk.end(done.map_or_else(
        |error| Err(error.into_failure()),
        |output| Ok(Ended { output: output.text(talk.style), exit: output.exit() }),
    ))
}

fn talk(common: &Common) -> Talk {
    let style = if common.json { Style::Json } else { Style::for_person(&Surroundings::of_process()) };
    Talk { style, volume: if common.quiet { Volume::Quiet } else { Volume::All } }
}

/// Also help and the version come this way; a machine is only told what is an error.
fn not_understood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let talk = Talk { style: Style::Json, volume: Volume::Quiet };
        // Its first line says how the others are to be read.
        drop(talk.sink(PROGRAM));
        return talk.end(Err(Failure::of_usage(&error.to_string())));
    }
    error.exit()
}
