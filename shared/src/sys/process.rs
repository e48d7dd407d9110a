//! Other programs: started here and nowhere else, always without a shell, always with a known environment.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::account::Account;
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
    #[error("`{program}` did not end within {}s and was killed{}", .limit.as_secs(), last_lines(.output))]
    TooSlow {
        /// The program and its first arguments.
        program: String,
        /// The limit.
        limit: Duration,
        /// What it printed last, where that was kept.
        output: String,
    },
}

impl Error {
    /// The same, with what the program printed changed: so that it can be passed on without what it must not show.
    pub fn with_output(mut self, change: impl FnOnce(String) -> String) -> Self {
        if let Error::Failed { output, .. } | Error::TooSlow { output, .. } = &mut self {
            *output = change(std::mem::take(output));
        }
        self
    }
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

/// The name a message gives a command: the program and at most three arguments, up to one that is a whole script.
pub fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args().take(3)).map(|word| word.to_string_lossy());
    words.take_while(|word| !word.contains('\n')).collect::<Vec<_>>().join(" ")
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
        None => Err(Error::TooSlow { program, limit, output: String::new() }),
    }
}

/// Runs a command to its end with both streams going to a new file `log` (an old one of that name is replaced), and
/// makes another status than 0 an error that shows the file's end.
///
/// For commands that leave a program running behind them (a script that starts a server in the background): such a
/// program keeps the streams open, so reading a pipe to its end would wait for the server to stop. The command leads a
/// process group of its own, and all of the group is ended when the limit is over. A log that cannot be made (the disk
/// is full) is no reason not to run the command: then what it prints is lost.
pub fn run_logged(command: &mut Command, limit: Duration, log: &Path) -> Result<(), Error> {
    run_logged_as(None, command, limit, log)
}

/// Like [`run_logged`], as another user where one is given: with its groups, its rights and no way to more. The log stays
/// that of who runs this.
pub fn run_logged_as(
    account: Option<&Account>,
    command: &mut Command,
    limit: Duration,
    log: &Path,
) -> Result<(), Error> {
    let program = name_of(command);
    let not_started = |source| Error::NotStarted { program: program.clone(), source };
    let (out, err) = log_streams(log).unwrap_or_else(|_| (Stdio::null(), Stdio::null()));
    let mut child = spawn(account, command.stdout(out).stderr(err).process_group(0)).map_err(not_started)?;
    match wait_group(&mut child, limit) {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(Error::Failed { program, status, output: tail(log) }),
        None => Err(Error::TooSlow { program, limit, output: tail(log) }),
    }
}

/// Puts a command in the place of this program, as another user where one is given; it keeps this one's streams and number.
/// It only comes back when that cannot be done.
pub fn replace_with(account: Option<&Account>, command: &mut Command) -> Error {
    let source = match account.map_or(Ok(()), Account::take_on) {
        Ok(()) => command.exec(),
        Err(source) => source,
    };
    Error::NotStarted { program: name_of(command), source }
}

/// A thread that became another user cannot be used for anything else, so it is one of its own.
pub(super) fn spawn(account: Option<&Account>, command: &mut Command) -> io::Result<Child> {
    let Some(account) = account else { return command.spawn() };
    std::thread::scope(|scope| {
        let child = scope.spawn(|| account.take_on().and_then(|()| command.spawn()));
        child.join().unwrap_or_else(|why| resume_unwind(why))
    })
}

fn log_streams(log: &Path) -> io::Result<(Stdio, Stdio)> {
    match std::fs::remove_file(log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let out = OpenOptions::new().append(true).create_new(true).mode(0o600).open(log)?;
    let err = out.try_clone()?;
    Ok((out.into(), err.into()))
}

/// The end of a log as text; nothing when it cannot be read, because it only adorns another error.
pub fn tail(log: &Path) -> String {
    let bytes = super::fs::read_tail(log, 16 * 1024).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a running process works, and what it runs: its working folder and its program, as far as they can be looked at.
pub fn whereabouts(pid: u32) -> Vec<PathBuf> {
    ["cwd", "exe"].iter().filter_map(|name| std::fs::read_link(format!("/proc/{pid}/{name}")).ok()).collect()
}

/// The user this program acts as (effective user id).
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
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
    let ended = wait_until(child, limit);
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

/// Like [`wait`], but kills the whole process group the child leads.
fn wait_group(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let ended = wait_until(child, limit);
    if ended.is_none() {
        kill_group(child);
        let _ = child.wait();
    }
    ended
}

/// Ends all of the process group that the child leads.
pub(super) fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // Gone already is what we want.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

fn wait_until(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = clock::monotonic() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if clock::monotonic() >= end {
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
    fn what_a_command_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "echo started; sleep 60 & echo $! >&2; exit 3";
        let error = run_logged(&mut sh(script), Duration::from_secs(10), &log).unwrap_err();
        assert!(error.to_string().contains("| started"), "{error}");
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(tail(&log).lines().last().unwrap().parse().unwrap()).unwrap(),
            rustix::process::Signal::KILL,
        );
    }

    #[test]
    fn a_logged_command_that_hangs_is_killed_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = "sleep 60 & echo $!; wait";
        let error = run_logged(&mut sh(script), Duration::from_millis(200), &log).unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        let left = rustix::process::Pid::from_raw(tail(&log).trim().parse().unwrap()).unwrap();
        let alive = || match std::fs::read_to_string(format!("/proc/{left}/stat")) {
            Ok(stat) => !stat.contains(") Z "),
            Err(_) => false,
        };
        for _ in 0..200 {
            if !alive() {
                return;
            }
            clock::sleep(Duration::from_millis(10));
        }
        panic!("process {left} is still there");
    }

    #[test]
    fn a_log_that_cannot_be_made_does_not_stop_the_command() {
        let dir = tempfile::tempdir().unwrap();
        run_logged(&mut sh("echo lost"), Duration::from_secs(10), &dir.path().join("none/log")).unwrap();
    }

    #[test]
    fn nothing_of_our_environment_leaks() {
        let printed = run(&mut sh("env"), Duration::from_secs(10)).unwrap();
        assert!(!String::from_utf8_lossy(&printed.stdout).contains("HOME="));
    }
}
