//! Torture: what a node goes through and must come out of whole. `scripts/torture` runs all of it and prints its figures;
//! `scripts/test` runs the short form of each part, by `tests/torture.rs`.
//!
//! [`PARTS`] is the list. A part does its worst to real programs on real disks and gives [`Figure`]s: how often it tried,
//! and what broke. [`node::VERBS`] is the list of what a node is doing meanwhile; a new command that changes something gets
//! its line there, and is then killed, failed and cut like the others.

mod beneath;
mod cut;
mod fail;
mod full;
mod kill;
mod node;
mod poison;
mod trace;

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Some of each kind: seconds.
    Short,
    /// All of it: minutes.
    Whole,
}

/// One way to do harm.
pub struct Part {
    /// Its name, to be typed.
    pub name: &'static str,
    /// What it does, for a person.
    pub does: &'static str,
    /// Does it, and tells each figure when it is known.
    pub run: fn(Extent, &mut dyn FnMut(Figure)),
}

/// All of them.
pub const PARTS: &[Part] = &[
    Part { name: "kill", does: "SIGKILL at every system call", run: kill::run },
    Part { name: "fail", does: "an error at every call that writes", run: fail::run },
    Part { name: "cut", does: "power cuts on ext4 and XFS", run: cut::run },
    Part { name: "full", does: "disks without room, in bytes and inodes", run: full::run },
    Part { name: "beneath", does: "a disk that cannot write what it took", run: beneath::run },
    Part { name: "poison", does: "hostile artifacts that a trusted key signed", run: poison::run },
];

/// What came of one thing that was tried many times.
#[derive(Debug, Default)]
pub struct Figure {
    /// What was tried.
    pub what: String,
    /// How often.
    pub tried: usize,
    /// What broke, one line for each.
    pub broken: Vec<String>,
    /// Why it could not be tried at all.
    pub skipped: Option<String>,
}

impl Figure {
    /// Nothing was tried yet.
    pub fn of(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// It cannot be tried here.
    pub fn skipped(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { skipped: Some(why.into()), ..Self::of(what) }
    }

    /// Counts one try; `at` says where it was made.
    pub fn count(&mut self, at: impl std::fmt::Display, came: Result<(), String>) {
        self.tried += 1;
        self.broken.extend(came.err().map(|why| format!("{at}: {why}")));
    }

    /// Whether it was tried and nothing broke.
    pub fn holds(&self) -> bool {
        self.skipped.is_none() && self.tried > 0 && self.broken.is_empty()
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(why) = &self.skipped {
            return write!(f, "{:<48} skipped: {why}", self.what);
        }
        write!(f, "{:<48} {:>6} tried {:>4} broken", self.what, self.tried, self.broken.len())?;
        self.broken.iter().take(10).try_for_each(|line| write!(f, "\n    {}", line.replace('\n', "\n    ")))
    }
}

/// Holds a fact against what it should be.
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: expected {expected:?}, found {found:?}")) }
}
