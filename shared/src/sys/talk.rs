//! A program that is spoken with while it runs: it prints lines, and is told lines.
//!
//! Both of its streams come through one pipe, so that its lines stay in order. It leads a process group of its own, all of
//! which is ended when the talk is. Its standard input stays open as long as who started it lives: one that wants to end
//! with it reads there.

use std::io::{BufRead, BufReader, PipeReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::account::Account;
use super::process::{Error, kill_group, name_of, spawn};

/// The most bytes of a line; what is longer comes in pieces of so many.
const LINE: u64 = 4 << 20;

/// Lines that may wait to be heard: who prints more has to wait.
const WAITING: usize = 256;

/// For so long a program that has ended may leave the pipe open (another one holds it) before it is not listened to any more.
const ECHO: Duration = Duration::from_millis(200);

/// A program that is running.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// What came of listening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It printed this line.
    Line(String),
    /// Nothing in the time that was given.
    Nothing,
    /// It has ended, and all that it printed was heard.
    Ended(ExitStatus),
}

/// Starts a command, as another user where one is given.
pub fn begin(account: Option<&Account>, command: &mut Command) -> Result<Talk, Error> {
    let not_started = |source| Error::NotStarted { program: name_of(command), source };
    let (reader, out) = std::io::pipe().map_err(not_started)?;
    let err = out.try_clone().map_err(not_started)?;
    command.stdin(Stdio::piped()).stdout(out).stderr(err).process_group(0);
    let started = spawn(account, command).map_err(|source| Error::NotStarted { program: name_of(command), source });
    // The command would keep our ends of the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = started?;
    let (tell, lines) = sync_channel(WAITING);
    std::thread::spawn(move || pass_on(reader, &tell));
    Ok(Talk { input: child.stdin.take(), child, lines })
}

fn pass_on(reader: PipeReader, tell: &SyncSender<String>) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        line.clear();
        if tell.send(text).is_err() {
            return;
        }
    }
}

impl Talk {
    /// The next line, for which it is waited for at most `patience`.
    pub fn hear(&mut self, patience: Duration) -> Heard {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Heard::Line(line),
            Err(RecvTimeoutError::Disconnected) => self.child.wait().map_or(Heard::Nothing, Heard::Ended),
            Err(RecvTimeoutError::Timeout) => match self.child.try_wait() {
                Ok(Some(status)) => self.lines.recv_timeout(ECHO).map_or(Heard::Ended(status), Heard::Line),
                _ => Heard::Nothing,
            },
        }
    }

    /// Tells it a line. One that has ended does not hear it, which shows when it is listened to.
    pub fn say(&mut self, line: &str) {
        if let Some(input) = &mut self.input {
            let _ = input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush());
        }
    }
}

/// Nobody listens any more: what still runs of it is ended.
impl Drop for Talk {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            kill_group(&self.child);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::program;

    fn sh(script: &str) -> Talk {
        let mut command = program("/bin/sh");
        begin(None, command.args(["-c", script])).unwrap()
    }

    fn all(talk: &mut Talk) -> (Vec<String>, Option<i32>) {
        let mut lines = Vec::new();
        loop {
            match talk.hear(Duration::from_secs(10)) {
                Heard::Line(line) => lines.push(line),
                Heard::Ended(status) => return (lines, status.code()),
                Heard::Nothing => panic!("it says nothing: {lines:?}"),
            }
        }
    }

    #[test]
    fn both_streams_come_in_order_and_then_the_end() {
        let mut talk = sh("echo one; echo two >&2; printf three; exit 3");
        assert_eq!(all(&mut talk), (["one", "two", "three"].map(str::to_owned).to_vec(), Some(3)));
    }

    #[test]
    fn it_answers_what_it_is_told() {
        let mut talk = sh("read word; echo \"heard $word\"");
        assert_eq!(talk.hear(Duration::from_millis(20)), Heard::Nothing);
        talk.say("go");
        assert_eq!(all(&mut talk), (vec!["heard go".to_owned()], Some(0)));
        talk.say("too late");
    }

    #[test]
    fn one_that_ended_is_not_waited_for_because_of_what_it_left_running() {
        let mut talk = sh("sleep 60 & echo $!");
        let Heard::Line(left) = talk.hear(Duration::from_secs(10)) else { panic!("no line") };
        let end = (0..500).map(|_| talk.hear(Duration::from_millis(20))).find(|heard| *heard != Heard::Nothing);
        assert!(matches!(end, Some(Heard::Ended(status)) if status.success()), "{end:?}");
        let left = rustix::process::Pid::from_raw(left.parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(left, rustix::process::Signal::KILL);
    }

    #[test]
    fn one_that_nobody_listens_to_is_ended_with_all_it_started() {
        let mut talk = sh("sleep 60 & echo $!; wait");
        let Heard::Line(left) = talk.hear(Duration::from_secs(10)) else { panic!("no line") };
        drop(talk);
        let alive = || std::fs::read_to_string(format!("/proc/{left}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        let ended = (0..500).any(|_| {
            crate::sys::clock::sleep(Duration::from_millis(10));
            !alive()
        });
        assert!(ended, "process {left} is still there");
    }
}
