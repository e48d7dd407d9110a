//! Which system calls a command makes, and the command with one of them harmed: by `strace`.

use std::collections::{HashMap, HashSet};
use std::process::{Command, Output};

use super::node::{Node, Threads, Verb};
use crate::program;

/// The n-th call of a kind that a thread makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point {
    /// Which call.
    pub call: String,
    /// The how manyth of its thread, from 1.
    pub at: usize,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.call, self.at)
    }
}

/// All points of a verb in the order in which they came, each once. The node is left after the verb. Looks at the processes of
/// this machine (`/proc`) are left out: they are thousands, and no disk has a part in them.
pub fn points(node: &Node, verb: &Verb) -> Result<Vec<Point>, String> {
    let log = node.world.path("strace.log");
    let output = strace(node, verb, &["-y", "-o", log.to_str().unwrap_or_default()])?;
    if !output.status.success() {
        return Err(crate::said(&output));
    }
    let text = std::fs::read(&log).map_err(|error| error.to_string())?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// What came of a harmed command.
pub struct Harmed {
    /// What it came to.
    pub output: Output,
    /// Whether it was harmed at all: it may have made fewer calls this time.
    pub was: bool,
    /// Whether that was a wake: a thread wakes another through a counter of the kernel (eventfd), which no disk is part of,
    /// and which fails in none of these ways.
    pub woke: bool,
}

/// After so many seconds a command that was harmed will not end by itself: one that was not takes two.
const LIMIT: &str = "60";
/// A wake, as strace shows it.
const WAKE: &str = r#""\1\0\0\0\0\0\0\0", 8"#;

/// Runs a verb with `harm` done to it at a point: "signal=SIGKILL", "error=EIO".
pub fn harmed(node: &Node, verb: &Verb, point: &Point, harm: &str) -> Result<Harmed, String> {
    let log = node.world.path("strace.log");
    let Point { call, at } = point;
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{harm}:when={at}"));
    let output = strace(node, verb, &["-o", log.to_str().unwrap_or_default(), "-e", &trace, "-e", &inject])?;
    let text = std::fs::read(&log).map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&text);
    let was = text.contains("(INJECTED)") || text.contains("+++ killed by SIGKILL");
    Ok(Harmed { output, was, woke: was_a_wake(&text) })
}

/// Whether one of the harmed calls was a wake: every thread has its own n-th. Of a call that another thread's came between,
/// the first half says what it is and the second what came of it.
fn was_a_wake(text: &str) -> bool {
    let thread = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let mut begun: HashMap<String, &str> = HashMap::new();
    for line in text.lines() {
        if line.ends_with("<unfinished ...>") {
            begun.insert(thread(line), line);
        } else if line.contains("(INJECTED)") {
            let whole = if line.contains(" resumed>") { begun.get(&thread(line)).copied() } else { Some(line) };
            if whole.is_some_and(|call| call.contains(WAKE)) {
                return true;
            }
        }
    }
    false
}

fn strace(node: &Node, verb: &Verb, options: &[&str]) -> Result<Output, String> {
    let mut command = Command::new("timeout");
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["-s", "KILL", LIMIT]);
    command.args(["strace", "-q", "-e", "signal=none"]).args(options);
    if verb.threads == Threads::Several {
        command.arg("-f");
    }
    command.arg(program("pannier-activator")).arg("--config").arg(node.world.path("activator.toml")).arg("--quiet");
    command.args(verb.command).output().map_err(|error| format!("strace: {error}"))
}

/// Reads strace's lines: `PID name(...` with several threads, else `name(...`.
fn parse(text: &str) -> Vec<Point> {
    let (mut made, mut seen, mut points) = (HashMap::new(), HashSet::new(), Vec::new());
    for line in text.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        let (thread, rest) = match first.parse::<u32>() {
            Ok(thread) => (thread, line[line.find(first).unwrap_or(0) + first.len()..].trim_start()),
            Err(_) => (0, line),
        };
        let Some((call, _)) = rest.split_once('(') else { continue };
        if call.is_empty() || !call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let at = made.entry((thread, call.to_owned())).or_insert(0);
        *at += 1;
        let point = Point { call: call.to_owned(), at: *at };
        let is_of_proc = rest.contains("</proc/") || rest.contains("\"/proc/");
        if !is_of_proc && seen.insert(point.clone()) {
            points.push(point);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_known_also_when_another_call_came_between() {
        let wake = r#"write(5, "\1\0\0\0\0\0\0\0", 8"#;
        assert!(was_a_wake(&format!("7 {wake}) = -1 EINTR (Interrupted system call) (INJECTED)\n")));
        let parts = |thread: u32| {
            format!(
                "7 {wake} <unfinished ...>\n8 write(1, \"x\", 1 <unfinished ...>\n{thread} <... write resumed>) = -1 EINTR (INJECTED)\n"
            )
        };
        assert!(was_a_wake(&parts(7)) && !was_a_wake(&parts(8)));
        let other = "8 write(1, \"x\", 1) = -1 EINTR (INJECTED)\n";
        assert!(was_a_wake(&format!("{other}7 {wake}) = -1 EINTR (INJECTED)\n")) && !was_a_wake(other));
    }

    #[test]
    fn each_thread_is_counted_by_itself_and_each_point_named_once() {
        let text = "7 openat(AT_FDCWD, \"a(b\") = 3\n8 openat(AT_FDCWD, \"b\" <unfinished ...>\n7 openat(1) = 4\n\
                    8 <... openat resumed>) = 5\n8 +++ exited with 0 +++\n7 exit_group(0) = ?\n";
        let said: Vec<String> = parse(text).iter().map(Point::to_string).collect();
        assert_eq!(said, ["openat 1", "openat 2", "exit_group 1"]);
        assert_eq!(parse("read(3, \"\", 0) = 0\n--- SIGCHLD {} ---\n").len(), 1);
        let text = "open(\"/proc/1/maps\") = 3</proc/1/maps>\nread(3</proc/1/maps>, \"\", 0) = 0\nopen(\"a\") = 3\n";
        assert_eq!(parse(text), [Point { call: "open".to_owned(), at: 2 }]);
    }
}
