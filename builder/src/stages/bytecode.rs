//! Byte code: compiled once here, because a release is read-only on the node.
//!
//! The `unchecked-hash` form holds neither a time stamp nor, with the build folder stripped, a path of this machine: the
//! same source gives the same bytes, and the interpreter never tries to write them anew.

use std::path::Path;
use std::time::Duration;

use pannier_shared::event::{Event, Sink};
use pannier_shared::sys::process;

use super::venv::Venv;
use crate::environment::Ambient;

/// 10,000 modules take a minute on one slow core.
const LIMIT: Duration = Duration::from_secs(1800);

/// How many files that do not compile are named.
const NAMED: usize = 5;

/// Byte code that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to compile Python files to byte code")]
pub struct Error(#[from] process::Error);

/// Compiles everything below `folders` (names below `tree`) with the Python of `runner`: byte code is the same on all machines. Files that are not valid Python, such as templates of code,
/// stay as they are and are told in a note.
pub fn compile(tree: &Path, folders: &[String], runner: &Venv, env: &Ambient, sink: &dyn Sink) -> Result<(), Error> {
    let mut command = env.local(runner.python());
    command.args(["-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s"]).arg(tree);
    command.args(folders.iter().map(|folder| tree.join(folder)));
    match process::run(&mut command, LIMIT) {
        Ok(_) => Ok(()),
        Err(process::Error::Failed { output, .. }) if output.contains("*** ") => {
            sink.emit(Event::Note { text: not_compiled(&output, tree) });
            Ok(())
        }
        Err(error) => Err(Error(error)),
    }
}

fn not_compiled(output: &str, tree: &Path) -> String {
    let tree = format!("{}/", tree.display());
    let named = |line: &str| line.strip_prefix("*** ")?.split('\'').nth(1).map(|path| path.replace(&tree, ""));
    let mut files: Vec<String> = output.lines().filter_map(named).collect();
    files.sort();
    let more = if files.len() > NAMED { ", ..." } else { "" };
    let shown = files[..files.len().min(NAMED)].join(", ");
    format!("{} files are not valid Python and have no byte code: {shown}{more}", files.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_do_not_compile_are_named_below_the_tree() {
        let output = "*** Error compiling '/b/tree/venv/x.py'...\n  File \"x.py\", line 1\n*** Error compiling '/b/tree/app/y.py'...\n";
        assert_eq!(
            not_compiled(output, Path::new("/b/tree")),
            "2 files are not valid Python and have no byte code: app/y.py, venv/x.py"
        );
    }
}
