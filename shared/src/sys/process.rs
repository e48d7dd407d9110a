//! Other programs: started here and nowhere else, always without a shell, always with a known environment.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::clock;

/// A program that could not be started, failed, or took too long.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not start.
    #[error("failed to start `{program}`")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with another status than 0.
    #[error("`{program}` failed: {status}{}", last_lines(.output))]
    Failed {
        /// The program and its first arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed last, stderr after stdout.
        output: String,
    },
    /// It was ended because its time was over.
    #[error("`{program}` did not end within {}s and was killed", .limit.as_secs())]
    TooSlow {
        /// The program and its first arguments.
        program: String,
        /// The limit.
        limit: Duration,
    },
}

/// The last ten lines of `output`, indented, ready to follow a message.
pub fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let tail = &lines[lines.len().saturating_sub(10)..];
    tail.iter().map(|line| format!("\n  | {line}")).collect()
}

/// What a program printed.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// A program to run, with an empty environment and no standard input.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command
}

/// The name a message gives a command: the program and at most three arguments.
pub fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args().take(3));
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end, keeps what it prints, and makes another status than 0 an error.
pub fn run(command: &mut Command, limit: Duration) -> Result<Printed, Error> {
    let program = name_of(command);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|source| Error::NotStarted { program: program.clone(), source })?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let status = wait(&mut child, limit);
    let collected = |thread: std::thread::JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    match status {
        Some(status) if status.success() => Ok(Printed { stdout: collected(stdout), stderr: collected(stderr) }),
        Some(status) => {
            let output = [collected(stdout), collected(stderr)].concat();
            Err(Error::Failed { program, status, output: String::from_utf8_lossy(&output).into_owned() })
        }
        None => Err(Error::TooSlow { program, limit }),
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for the child; kills it and gives `None` when the limit is over.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = clock::monotonic() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if clock::monotonic() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        clock::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = program("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn keeps_both_streams_apart() {
        let printed = run(&mut sh("echo out; echo err >&2"), Duration::from_secs(10)).unwrap();
        assert_eq!((printed.stdout, printed.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    }

    #[test]
    fn a_failure_shows_its_last_lines() {
        let error = run(&mut sh("echo one; echo two >&2; exit 3"), Duration::from_secs(10)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3") && text.contains("| two"), "{text}");
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error = run(&mut sh("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
    }

    #[test]
    fn nothing_of_our_environment_leaks() {
        let printed = run(&mut sh("env"), Duration::from_secs(10)).unwrap();
        assert!(!String::from_utf8_lossy(&printed.stdout).contains("HOME="));
    }
}
