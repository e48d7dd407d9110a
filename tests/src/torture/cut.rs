//! Cut: the power goes, by the shutdown request of ext4 and XFS, in one of two ways: with the file system's log on the disk
//! but not the data that it speaks of, or without either. What the disk has then is what a reboot finds.
//!
//! At each commit step: the command is killed before the n-th call that commits, and the power goes at that very moment. At
//! random: it goes at any time of a day's work. After a cut every release that is there is whole to the byte, `current`
//! leads to one, what a command had promised before is so, and the remembered serial is not below what was seen; the same
//! commands run again make of the node what they would have made of it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::node::{FETCH, Facts, Node, Size, Threads, VERBS, Verb};
use super::trace::{self, Point};
use super::{Extent, Figure, expect};
use crate::disk::{Disk, Image, Kind, Log};
use crate::noise;

/// Random cuts per file system.
const CUTS: usize = 100;

/// Calls that make something durable, or give it its name.
const COMMITS: &[&str] =
    &["syncfs", "fsync", "fdatasync", "rename", "renameat2", "symlink", "unlink", "unlinkat", "rmdir", "exit_group"];

/// A day's work, from a node where v1 serves.
const DAY: &[&[&str]] = &[
    &["fetch", "polls", "v2"],
    &["activate", "polls", "v2"],
    &["rollback", "polls"],
    &["activate", "polls", "@production"],
];

/// A channel that is seen before the node is kept: its serial must never be forgotten.
const SEE: &[&str] = &["fetch", "polls", "@staging"];

/// Cuts the power on both file systems.
pub fn run(extent: Extent, tell: &mut dyn FnMut(Figure)) {
    let kinds: &[Kind] = if extent == Extent::Short { &[Kind::Ext4] } else { &[Kind::Ext4, Kind::Xfs] };
    kinds.iter().for_each(|kind| on(*kind, extent, tell));
}

fn on(kind: Kind, extent: Extent, tell: &mut dyn FnMut(Figure)) {
    let name = kind.name();
    for verb in VERBS {
        let what = format!("{name}: cut at each commit of {}", verb.name);
        tell(match Cut::ready(kind, verb) {
            Ok(cut) => cut.at_each_commit(what, verb, extent),
            Err(why) => Figure::skipped(what, why),
        });
    }
    let what = format!("{name}: cut at random");
    tell(match Cut::ready(kind, &FETCH) {
        Ok(cut) => cut.at_random(what, extent),
        Err(why) => Figure::skipped(what, why),
    });
}

/// A node whose root is a disk of its own, which is laid anew before each cut.
struct Cut {
    node: Node,
    kind: Kind,
    /// The disk as it is before.
    kept: PathBuf,
    /// All releases as they should be.
    whole: Facts,
}

impl Cut {
    fn ready(kind: Kind, verb: &Verb) -> Result<Self, String> {
        let node = Node::serving(Size::Small);
        let world = &node.world;
        for (version, channel) in [("v1", "staging"), ("v2", "production")] {
            let promote = ["promote", "polls", version, "--to", channel, "--key", "ci"];
            let output = world.builder(&promote).output().map_err(|error| error.to_string())?;
            expect(&crate::said(&output), &output.status.success(), &true)?;
        }
        node.ok(SEE)?;
        verb.before.iter().try_for_each(|command| node.ok(command))?;
        let kept = world.path("kept.img");
        let disk = Image::make(&kept, kind, 320, &[])?.mount(&world.path("laying"))?;
        copy_into(&world.root(), &world.path("laying"))?;
        // Of mkfs, and none of the node's.
        let _ = std::fs::remove_dir(world.path("laying/lost+found"));
        disk.unmount()?;
        DAY.iter().try_for_each(|command| node.ok(command))?;
        let whole = node.facts();
        std::fs::remove_dir_all(world.root()).map_err(|error| error.to_string())?;
        node.configure(verb.keep);
        Ok(Self { node, kind, kept, whole })
    }

    /// The disk as it was before anything was done, mounted.
    fn fresh(&self) -> Result<(Image, Disk), String> {
        let file = self.node.world.path("disk.img");
        // The holes stay holes.
        let status = std::process::Command::new("cp").args(["--sparse=always"]).args([&self.kept, &file]).status();
        expect("cp", &status.is_ok_and(|status| status.success()), &true)?;
        let image = Image::of(&file, self.kind);
        let disk = image.mount(&self.node.world.root())?;
        Ok((image, disk))
    }

    fn at_each_commit(&self, what: String, verb: &Verb, extent: Extent) -> Figure {
        let mut figure = Figure::of(what);
        // Only what one thread does is in one order, and the main thread is the one that commits.
        let verb = &Verb { threads: Threads::Main, ..*verb };
        let (points, after) = match self.uncut(verb) {
            Ok(uncut) => uncut,
            Err(why) => return Figure::skipped(figure.what, why),
        };
        let every = if extent == Extent::Short { 9 } else { 1 };
        for point in points.iter().step_by(every) {
            for log in [Log::Flushed, Log::Lost] {
                figure.count(format!("{point}, log {log:?}"), self.at_commit(verb, point, log, &after));
            }
        }
        figure
    }

    /// The commits of a verb, and what it makes of the node.
    fn uncut(&self, verb: &Verb) -> Result<(Vec<Point>, Facts), String> {
        let (_, disk) = self.fresh()?;
        let points = trace::points(&self.node, verb)?;
        let after = self.node.facts();
        disk.unmount()?;
        Ok((points.into_iter().filter(|point| COMMITS.contains(&point.call.as_str())).collect(), after))
    }

    fn at_commit(&self, verb: &Verb, point: &Point, log: Log, after: &Facts) -> Result<(), String> {
        let (image, disk) = self.fresh()?;
        let seen = serial(&self.node.facts(), "staging");
        trace::harmed(&self.node, verb, point, "signal=SIGKILL")?;
        disk.cut(log)?;
        disk.unmount()?;
        let disk = image.mount(&self.node.world.root())?;
        self.is_whole(seen)?;
        self.node.ok(verb.command)?;
        self.node.facts().same_as(after)?;
        disk.unmount()
    }

    fn at_random(&self, what: String, extent: Extent) -> Figure {
        let mut figure = Figure::of(what);
        let day = match self.day() {
            Ok(day) => day,
            Err(why) => return Figure::skipped(figure.what, why),
        };
        let cuts = if extent == Extent::Short { 2 } else { CUTS };
        for (at, seed) in noise(cuts * 4, 5).chunks(4).enumerate() {
            let part = f64::from(u32::from_le_bytes(seed.try_into().unwrap())) / f64::from(u32::MAX);
            let log = if at % 2 == 0 { Log::Flushed } else { Log::Lost };
            figure.count(format!("cut {at} at {part:.3} of the day, log {log:?}"), self.after(day.mul_f64(part), log));
        }
        figure
    }

    /// How long the day is without a cut.
    fn day(&self) -> Result<Duration, String> {
        let (_, disk) = self.fresh()?;
        let began = Instant::now();
        DAY.iter().try_for_each(|command| self.node.ok(command))?;
        let took = began.elapsed();
        self.node.facts().same_as(&self.whole)?;
        disk.unmount()?;
        Ok(took)
    }

    /// Cuts the power after that long.
    fn after(&self, time: Duration, log: Log) -> Result<(), String> {
        let (image, disk) = self.fresh()?;
        let seen = serial(&self.node.facts(), "staging");
        let done = Mutex::new(0);
        let (promised, done) = std::thread::scope(|scope| {
            let day = scope.spawn(|| {
                for command in DAY {
                    if self.node.ok(command).is_err() {
                        return;
                    }
                    *done.lock().unwrap() += 1;
                }
            });
            std::thread::sleep(time);
            let promised = *done.lock().unwrap();
            disk.cut(log)?;
            // To cut takes a moment, in which more can be done.
            let _ = day.join();
            Ok::<_, String>((promised, *done.lock().unwrap()))
        })?;
        disk.unmount()?;
        let disk = image.mount(&self.node.world.root())?;
        let serves = self.is_whole(seen)?;
        self.kept_its_promise(promised, done, &serves)?;
        for command in DAY.iter().skip(promised) {
            self.node.ok(command).or_else(|why| went_back_already(command, why))?;
        }
        self.node.facts().same_as(&self.whole)?;
        disk.unmount()
    }

    /// Every release is whole to the byte, and `current` leads to one; the serial is not below `seen`. Before anything
    /// heals.
    fn is_whole(&self, seen: u64) -> Result<String, String> {
        let facts = self.node.facts();
        let damaged: Vec<_> =
            facts.releases.iter().filter(|line| !self.whole.releases.contains(line)).take(5).collect();
        expect("damaged", &damaged.len(), &0).map_err(|why| format!("{why}: {damaged:?}"))?;
        for version in ["v1", "v2"] {
            let of = |facts: &Facts| {
                let (folder, inside) = (format!("releases/{version} "), format!("releases/{version}/"));
                facts.releases.iter().filter(|line| line.starts_with(&folder) || line.starts_with(&inside)).count()
            };
            let there = of(&facts);
            expect("all of a release or none", &(there == 0 || there == of(&self.whole)), &true)?;
        }
        let found = serial(&facts, "staging");
        expect("the serial", &(found >= seen), &true)?;
        self.node.serves(&self.whole)
    }

    /// What a command said it had done before the cut is so after it; what was said in the moment of the cut, and what was
    /// under way, may be, or not.
    fn kept_its_promise(&self, promised: usize, done: usize, serves: &str) -> Result<(), String> {
        let after = ["v1", "v1", "v2", "v1", "v2"];
        let may = &after[promised..=(done + 1).min(DAY.len())];
        if !may.contains(&serves) {
            return Err(format!("`{serves}` serves after {promised} commands, not one of {may:?}"));
        }
        let facts = self.node.facts();
        let here = facts.releases.iter().any(|line| line.starts_with("releases/v2 "));
        expect("v2 is here", &(promised == 0 || here), &true)?;
        expect("production was seen", &(promised < DAY.len() || serial(&facts, "production") > 0), &true)
    }
}

/// A rollback whose confirmation was durable when the power went has nothing left to go back to.
fn went_back_already(command: &[&str], why: String) -> Result<(), String> {
    if command[0] == "rollback" && why.contains("no healthy release to go back to") { Ok(()) } else { Err(why) }
}

fn serial(facts: &Facts, channel: &str) -> u64 {
    facts.state["channels"][channel]["serial"].as_u64().unwrap_or(0)
}

fn copy_into(from: &Path, to: &Path) -> Result<(), String> {
    let status = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    expect("cp", &status.is_ok_and(|status| status.success()), &true)
}
