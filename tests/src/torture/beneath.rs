//! Beneath: a disk that has room and cannot write, because its blocks lie in a file on a disk that is full. Somebody else on
//! the machine syncs it first, and is told; the fetch must be told too, or it would commit a release that is not there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::node::{Node, Size};
use super::{Extent, Figure, expect};
use crate::disk::{Disk, Image, Kind};
use crate::{program, said};

/// What a fetch brings beside the files that are there already is more than this.
const LEFT_BELOW: u64 = 3 << 20;

/// Breaks a disk beneath a fetch.
pub fn run(_: Extent, tell: &mut dyn FnMut(Figure)) {
    let mut figure = Figure::of("a disk that cannot write what it took");
    match broken_beneath() {
        Err(why) => return tell(Figure::skipped(figure.what, why)),
        Ok((node, _disk, _below)) => figure.count("fetch", sync_is_told(&node)),
    }
    tell(figure);
}

fn broken_beneath() -> Result<(Node, Disk, Disk), String> {
    let node = Node::serving(Size::Large);
    let (root, aside, below) = (node.world.root(), node.world.path("aside"), node.world.path("below"));
    std::fs::rename(&root, &aside).map_err(|error| error.to_string())?;
    let lower = Disk::tmpfs(&below, "size=200m").ok_or("no tmpfs")?;
    let image = Image::make(&below.join("disk.img"), Kind::Ext4, 256, &["-N", "40000", "-J", "size=4"])?;
    let disk = image.mount(&root)?;
    let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&root).status();
    expect("cp", &copied.is_ok_and(|status| status.success()), &true)?;
    fill_the_log(&root);
    lower.leave_bytes(LEFT_BELOW);
    Ok((node, disk, lower))
}

/// The fetch is held up before its sync until another program has synced the disk.
fn sync_is_told(node: &Node) -> Result<(), String> {
    let mut command = Command::new("strace");
    command.env_clear().env("PATH", "/usr/bin:/bin").args(["-q", "-o", "/dev/null", "-e", "trace=syncfs"]);
    command.args(["-e", "inject=syncfs:delay_enter=3s"]).arg(program("pannier-activator"));
    command.arg("--config").arg(node.world.path("activator.toml")).arg("--quiet").args(["fetch", "polls", "v2"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let staging = node.world.root().join(".pannier/staging");
    let sealed = |folder: std::fs::DirEntry| folder.path().join("records/record.json").exists();
    let began = Instant::now();
    while !std::fs::read_dir(&staging).is_ok_and(|mut all| all.any(|folder| folder.is_ok_and(sealed))) {
        expect("the fetch came to its sync", &(began.elapsed() < Duration::from_secs(60)), &true)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    let told = Command::new("sync").arg("-f").arg(&staging).output().map_err(|error| error.to_string())?;
    expect("the other program was told", &told.status.success(), &false)?;
    let output = running.wait_with_output().map_err(|error| error.to_string())?;
    // 11 when the file system went read-only in the meantime, so that nothing could be undone.
    expect(&said(&output), &matches!(output.status.code(), Some(8 | 11)), &true)?;
    expect(&said(&output), &said(&output).contains("failed to sync the file system"), &true)?;
    expect("v2 is here", &node.world.root().join("releases/v2").exists(), &false)
}

/// Lets the file system write its whole log once, so that it has blocks below: only data is to find none.
fn fill_the_log(root: &Path) {
    for round in 0..4 {
        let folder = root.join(format!("round{round}"));
        std::fs::create_dir(&folder).unwrap();
        (0..3000).for_each(|at| drop(std::fs::File::create(folder.join(at.to_string())).unwrap()));
        let _ = Command::new("sync").arg("-f").arg(root).status();
        std::fs::remove_dir_all(&folder).unwrap();
        let _ = Command::new("sync").arg("-f").arg(root).status();
    }
}
