//! The project's own commands after collectstatic (`manage.py compress` and the like), in the order in which they are
//! written, in the scratch copy. What they leave in the static root is kept, and nothing else.

use std::path::Path;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::process;

use super::Error;
use crate::command_line::CommandLine;
use crate::stages::scratch::Scratch;

/// What all commands are run with.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Where they run.
    pub scratch: &'a Scratch,
    /// The settings module.
    pub settings: &'a str,
    /// The static root, where it is not the one that the settings name.
    pub root: Option<&'a Path>,
}

/// Runs them one after the other; the first that fails ends it.
pub fn run_all(commands: &[CommandLine], setting: Setting<'_>, sink: &dyn Sink) -> Result<(), Error> {
    for command in commands {
        sink.emit(Event::Note { text: format!("running `{command}`") });
        run(command, setting).map_err(|source| Error::Command(named(source, command, &setting.scratch.app)))?;
    }
    Ok(())
}

fn run(command: &CommandLine, setting: Setting<'_>) -> Result<(), process::Error> {
    if command.is_manage() {
        setting.scratch.manage(setting.settings, setting.root, command.arguments())
    } else {
        setting.scratch.run(setting.settings, command.program(), command.arguments())
    }
}

/// The failure under the name that the command has in pannier.toml, its paths as they are in the project.
fn named(error: process::Error, command: &CommandLine, app: &Path) -> process::Error {
    let program = command.to_string();
    let plain = |output: String| output.replace(&format!("{}/", app.display()), "");
    match error {
        process::Error::NotStarted { source, .. } => process::Error::NotStarted { program, source },
        process::Error::Failed { status, output, .. } => {
            process::Error::Failed { program, status, output: plain(output) }
        }
        process::Error::TooSlow { limit, output, .. } => {
            process::Error::TooSlow { program, limit, output: plain(output) }
        }
    }
}
