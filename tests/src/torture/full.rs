//! Full: disks that lack room, in bytes or in inodes, on a tmpfs and on an ext4. With 1, 50 or 99 % of what a release needs
//! free it is refused before anything of it is fetched; when the rest of the room goes after 1, 50 or 99 % of its files
//! were made, what was begun is taken back. In both cases the node is as it was, and the same command succeeds when
//! there is room again.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::node::{FETCH, Facts, Node, Size};
use super::trace::{self, Point};
use super::{Extent, Figure, expect};
use crate::disk::{Disk, Image, Kind};
use crate::{program, said};

const PERCENT: &[usize] = &[1, 50, 99];

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lack {
    Bytes,
    Inodes,
}

/// Where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    Tmpfs,
    Ext4,
}

/// Takes the room away.
pub fn run(extent: Extent, tell: &mut dyn FnMut(Figure)) {
    let places: &[On] = if extent == Extent::Short { &[On::Tmpfs] } else { &[On::Tmpfs, On::Ext4] };
    let size = if extent == Extent::Short { Size::Small } else { Size::Large };
    let all = places.iter().flat_map(|on| [Lack::Bytes, Lack::Inodes].map(|lack| (*on, lack)));
    all.for_each(|(on, lack)| tell(full(on, lack, size)));
}

fn full(on: On, lack: Lack, size: Size) -> Figure {
    let mut figure = Figure::of(format!("too few {lack:?} on {on:?}").to_lowercase());
    let (node, disk) = match laid(on, size) {
        Ok(laid) => laid,
        Err(why) => return Figure::skipped(figure.what, why),
    };
    let before = node.facts();
    for percent in PERCENT {
        figure.count(format!("{percent} % free"), predicted(&node, &disk, lack, *percent, &before));
    }
    let points = match files_made(&node) {
        Ok(points) => points,
        Err(why) => return Figure::skipped(figure.what, why),
    };
    let after = node.facts();
    for percent in PERCENT {
        let point = &points[(points.len() - 1) * percent / 100];
        let came = forget(&node).and_then(|()| overtaken(&node, &disk, lack, point, (&before, &after)));
        figure.count(format!("none left after {percent} % of the files"), came);
    }
    figure
}

/// A node where v1 serves, on a disk of its own with room for v2.
fn laid(on: On, size: Size) -> Result<(Node, Disk), String> {
    let node = Node::serving(size);
    let (root, aside) = (node.world.root(), node.world.path("aside"));
    std::fs::rename(&root, &aside).map_err(|error| error.to_string())?;
    let disk = match on {
        On::Tmpfs => Disk::tmpfs(&root, "size=256m,nr_inodes=40000").ok_or("no tmpfs")?,
        On::Ext4 => Image::make(&node.world.path("disk.img"), Kind::Ext4, 256, &["-N", "40000"])?.mount(&root)?,
    };
    let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&root).status();
    expect("cp", &copied.is_ok_and(|status| status.success()), &true)?;
    // Of mkfs, and none of the node's.
    let _ = std::fs::remove_dir(root.join("lost+found"));
    Ok((node, disk))
}

/// Leaves `percent` of what v2 needs; it must be refused by a look at the room.
fn predicted(node: &Node, disk: &Disk, lack: Lack, percent: usize, before: &Facts) -> Result<(), String> {
    let needed = needed(node, lack)? * percent as u64 / 100;
    match lack {
        Lack::Bytes => disk.leave_bytes(needed),
        Lack::Inodes => disk.leave_inodes(needed),
    }
    let output = node.world.run(&["--quiet", "fetch", "polls", "v2"]);
    let journal = std::fs::read_to_string(node.world.root().join(".pannier/journal.jsonl")).unwrap_or_default();
    disk.relieve();
    expect(&said(&output), &output.status.code(), &Some(8))?;
    expect(&said(&output), &said(&output).contains("not enough room"), &true)?;
    let last = journal.rfind(r#""what":"began""#).map_or("", |at| &journal[at..]);
    expect("the transfer began", &last.contains("\"transfer\""), &false)?;
    node.facts().same_as(before)
}

fn needed(node: &Node, lack: Lack) -> Result<u64, String> {
    let output = node.world.run(&["--json", "plan", "polls", "v2"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default();
    let name = if lack == Lack::Bytes { "disk_bytes" } else { "inodes" };
    find(&last, name).ok_or_else(|| format!("no `{name}` in {text}"))
}

fn find(value: &serde_json::Value, name: &str) -> Option<u64> {
    match value {
        serde_json::Value::Object(fields) => {
            fields.get(name).and_then(serde_json::Value::as_u64).or_else(|| fields.values().find_map(|v| find(v, name)))
        }
        _ => None,
    }
}

/// The calls that make files in a fetch of v2, of the thread that makes the most.
fn files_made(node: &Node) -> Result<Vec<Point>, String> {
    let points = trace::points(node, &FETCH)?;
    let made: Vec<Point> = points.into_iter().filter(|point| point.call == "openat2").collect();
    if made.is_empty() { Err("no file was made".to_owned()) } else { Ok(made) }
}

/// Takes v2 off the node again.
fn forget(node: &Node) -> Result<(), String> {
    for folder in ["releases/v2", ".pannier/toc/v2"] {
        let _ = std::fs::remove_dir_all(node.world.root().join(folder));
    }
    node.ok(&["--quiet", "fetch", "polls", "v1"])
}

/// All room goes when the fetch comes to a point.
fn overtaken(
    node: &Node,
    disk: &Disk,
    lack: Lack,
    point: &Point,
    (before, after): (&Facts, &Facts),
) -> Result<(), String> {
    let log = node.world.path("stopped.log");
    let _ = std::fs::remove_file(&log);
    let inject = format!("inject={}:signal=SIGSTOP:when={}", point.call, point.at);
    let mut command = Command::new("strace");
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["-f", "-q", "-o"]).arg(&log);
    command.args(["-e", &format!("trace={}", point.call), "-e", &inject]).arg(program("pannier-activator"));
    command.arg("--config").arg(node.world.path("activator.toml")).arg("--quiet").args(FETCH.command);
    let mut running =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let stopped = stopped(&log, &mut running);
    match lack {
        Lack::Bytes => disk.fill(),
        Lack::Inodes => disk.fill_inodes(),
    }
    // A thread that stops only now would stay stopped.
    while let (Some(process), Ok(None)) = (&stopped, running.try_wait()) {
        let _ = Command::new("kill").args(["-CONT", process]).stderr(Stdio::null()).status();
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = running.wait_with_output().map_err(|error| error.to_string())?;
    disk.relieve();
    match output.status.code() {
        // It had all the room that it needed.
        Some(0) => return node.facts().same_as(after),
        Some(8) => {}
        _ => return Err(said(&output)),
    }
    let words = ["No space left on device", "not enough room"];
    expect(&said(&output), &words.iter().any(|words| said(&output).contains(words)), &true)?;
    node.facts().same_as(before)?;
    node.ok(FETCH.command)?;
    node.facts().same_as(after)
}

/// The process of a thread: only processes can be told to go on.
fn process_of(thread: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().to_owned())
}

/// Waits until a thread of the traced program was stopped; gives the program's number. None if it came to its end instead.
fn stopped(log: &Path, running: &mut Child) -> Option<String> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains("stopped by SIGSTOP")) {
            return process_of(line.split_whitespace().next()?);
        }
        if !matches!(running.try_wait(), Ok(None)) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
