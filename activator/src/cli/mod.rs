//! The program: reads what was typed, does it by the library, prints what came of it. Nothing else prints or exits.

use std::process::ExitCode;

use clap::Parser;
use pannier_activator::config::Config;
use pannier_activator::node::View;
use pannier_activator::status::status;
use pannier_shared::id::AppName;
use pannier_shared::report::{Ended, Failure, Style, Surroundings, Talk, Volume};

mod args;
mod commands;
mod failure;
mod output;

use args::{Common, Typed};
use commands::perform;
use failure::Error;

/// What the first JSON line names.
const PROGRAM: &str = concat!("pannier-activator ", env!("CARGO_PKG_VERSION"));

/// Runs the program.
pub fn main() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => return not_understood(&error),
    };
    let talk = talk(&typed.common);
    let sink = talk.sink(PROGRAM);
    let done = perform(&typed.common, &typed.command, sink.as_ref());
    // The bars must be gone before anything else is written.
    drop(sink);
    talk.end(done.map_or_else(
        |error| Err(explained(error, typed.command.app(), &typed.common)),
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

/// With what serves now; nothing is said where that cannot be found out.
fn explained(error: Error, app: Option<&AppName>, common: &Common) -> Failure {
    let config = Config::load(&common.config).ok();
    let Some((name, app)) = app.zip(config.as_ref()).and_then(|(app, config)| Some((app, config.app(app).ok()?)))
    else {
        return error.into_failure(None);
    };
    let serving = View::open(name, app).ok().map(|view| status(&view).serving());
    error.into_failure(serving).or_full_disk(&app.root)
}
