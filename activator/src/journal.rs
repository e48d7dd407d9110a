//! What was begun and what came of it: one line of JSON per event, written and fsynced before the event happens.
//!
//! The journal answers one question at start: was something begun and never ended, and how far had it come? And it is
//! the history a person reads. It never holds the present, which is `state`. A power cut can leave the last line cut;
//! such a line tells of something that had not happened yet, so it is skipped, and the next line starts afresh.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pannier_shared::id::Version;
use pannier_shared::steps::Phase;
use pannier_shared::sys::{clock, fs};
use serde::{Deserialize, Serialize};

/// How much of the journal's end is read: an operation takes about twenty lines of 200 bytes, and only what the last command
/// began can be open, because every command that changes anything first ends what was open.
const TAIL: u64 = 64 * 1024;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A release is brought to the node.
    Fetch,
    /// A release is made the one that serves.
    Activate,
    /// An earlier release is made the one that serves.
    Rollback,
    /// A release is removed.
    Prune,
    /// A damaged release is mended.
    Repair,
    /// Migrations of a release are applied.
    Migrate,
    /// Migrations that a release applied are taken back by its code.
    Reverse,
}

impl Operation {
    /// Whether it changes which release serves.
    pub fn switches(self) -> bool {
        match self {
            Operation::Activate | Operation::Rollback => true,
            Operation::Fetch | Operation::Prune | Operation::Repair => false,
            Operation::Migrate | Operation::Reverse => false,
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Operation::Fetch => "fetch",
            Operation::Activate => "activate",
            Operation::Rollback => "rollback",
            Operation::Prune => "prune",
            Operation::Repair => "repair",
            Operation::Migrate => "migrate",
            Operation::Reverse => "reverse",
        })
    }
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did what it should.
    Done,
    /// It failed, and what it had begun was undone.
    Undone,
    /// It failed, and something could not be undone.
    Mixed,
    /// It was interrupted, and the next command cleaned up after it.
    Healed,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When (UTC).
    pub at: Timestamp,
    /// Which operation; the same random name on all its lines.
    pub id: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// An operation begins.
    Began {
        /// Which kind.
        operation: Operation,
        /// The release it is about.
        version: Version,
        /// The release that served before.
        #[serde(default)]
        from: Option<Version>,
    },
    /// A step is about to run.
    Step {
        /// Its name.
        step: String,
    },
    /// A step is about to be undone.
    Undo {
        /// Its name.
        step: String,
    },
    /// Something that must not be forgotten.
    Said {
        /// One line for a person.
        text: String,
    },
    /// An operation ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why, for a person; may be empty.
        detail: String,
    },
}

/// An operation that was begun and never ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unended {
    /// Its name.
    pub id: String,
    /// When it began.
    pub at: Timestamp,
    /// Which kind.
    pub operation: Operation,
    /// The release it was about.
    pub version: Version,
    /// The release that served before.
    pub from: Option<Version>,
    /// The steps that were about to run, in order.
    pub steps: Vec<String>,
    /// True when it had begun to undo them.
    pub undoing: bool,
}

/// A root's journal.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal at `path`, which need not exist.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The last lines, oldest first; those that are cut are left out.
    pub fn recent(&self) -> fs::Result<Vec<Line>> {
        let bytes = fs::if_there(fs::read_tail(&self.path, TAIL))?.unwrap_or_default();
        Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// The operation that was begun and never ended, if there is one.
    pub fn unended(&self) -> fs::Result<Option<Unended>> {
        Ok(self.all_unended()?.into_iter().next())
    }

    /// All of them, the outermost first: a fetch that makes room has a prune within it.
    pub fn all_unended(&self) -> fs::Result<Vec<Unended>> {
        Ok(all_unended(&self.recent()?))
    }

    /// Writes down that an operation begins.
    pub fn begin(&self, operation: Operation, version: &Version, from: Option<&Version>) -> fs::Result<Ongoing> {
        let ongoing = Ongoing { journal: self.clone(), id: fs::random_name() };
        ongoing.write(What::Began { operation, version: version.clone(), from: from.cloned() })?;
        Ok(ongoing)
    }

    /// Writes down what became of an operation that an earlier process left open.
    pub fn close(&self, unended: &Unended, detail: &str) -> fs::Result<()> {
        let ongoing = Ongoing { journal: self.clone(), id: unended.id.clone() };
        ongoing.write(What::Ended { outcome: Outcome::Healed, detail: detail.to_owned() })
    }

    fn append(&self, line: &Line) -> fs::Result<()> {
        let last = fs::if_there(fs::read_tail(&self.path, 1))?;
        let cut = last.as_ref().is_some_and(|last| last != b"\n" && !last.is_empty());
        let mut bytes = if cut { vec![b'\n'] } else { Vec::new() };
        // Plain text and enums always have a JSON form.
        bytes.extend(serde_json::to_vec(line).unwrap_or_default());
        bytes.push(b'\n');
        fs::append_durably(&self.path, &bytes)?;
        match (last, self.path.parent()) {
            (None, Some(folder)) => fs::sync_dir(folder),
            _ => Ok(()),
        }
    }
}

/// An operation under way.
#[derive(Debug)]
pub struct Ongoing {
    journal: Journal,
    id: String,
}

impl Ongoing {
    /// The operation's name: the same on all its lines.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes down that a step is about to act.
    pub fn note(&self, step: &str, phase: Phase) -> fs::Result<()> {
        let step = step.to_owned();
        self.write(match phase {
            Phase::Run => What::Step { step },
            Phase::Undo => What::Undo { step },
        })
    }

    /// Writes down something that must not be forgotten.
    pub fn say(&self, text: &str) -> fs::Result<()> {
        self.write(What::Said { text: text.to_owned() })
    }

    /// Writes down how it ended.
    pub fn end(self, outcome: Outcome, detail: &str) -> fs::Result<()> {
        self.write(What::Ended { outcome, detail: detail.to_owned() })
    }

    fn write(&self, what: What) -> fs::Result<()> {
        self.journal.append(&Line { at: clock::now(), id: self.id.clone(), what })
    }
}

fn all_unended(lines: &[Line]) -> Vec<Unended> {
    let is_end = |line: &&Line| matches!(line.what, What::Ended { .. });
    let ended: HashSet<&str> = lines.iter().filter(is_end).map(|line| line.id.as_str()).collect();
    let open = lines.iter().enumerate().filter(|(_, line)| !ended.contains(line.id.as_str()));
    open.filter_map(|(at, line)| as_unended(line, &lines[at..])).collect()
}

/// What a line began and no line after it ended.
fn as_unended(line: &Line, after: &[Line]) -> Option<Unended> {
    let Line { at, id, what: What::Began { operation, version, from } } = line else { return None };
    let its_own = || after.iter().filter(|line| line.id == *id);
    let steps = its_own().filter_map(|line| match &line.what {
        What::Step { step } => Some(step.clone()),
        _ => None,
    });
    Some(Unended {
        id: id.clone(),
        at: *at,
        operation: *operation,
        version: version.clone(),
        from: from.clone(),
        steps: steps.collect(),
        undoing: its_own().any(|line| matches!(line.what, What::Undo { .. })),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests damage journals by hand")]

    use super::*;

    fn journal() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(&dir.path().join("journal.jsonl"));
        (dir, journal)
    }

    fn v(name: &str) -> Version {
        name.parse().unwrap()
    }

    #[test]
    fn what_was_ended_is_not_open() {
        let (_dir, journal) = journal();
        assert_eq!(journal.unended().unwrap(), None);
        let ongoing = journal.begin(Operation::Fetch, &v("v1"), None).unwrap();
        ongoing.end(Outcome::Done, "").unwrap();
        assert_eq!(journal.unended().unwrap(), None);
    }

    #[test]
    fn what_was_begun_and_not_ended_tells_how_far_it_came() {
        let (_dir, journal) = journal();
        journal.begin(Operation::Fetch, &v("v2"), None).unwrap().end(Outcome::Done, "").unwrap();
        let ongoing = journal.begin(Operation::Activate, &v("v2"), Some(&v("v1"))).unwrap();
        ongoing.note("switch", Phase::Run).unwrap();
        ongoing.note("restart", Phase::Run).unwrap();
        ongoing.note("switch", Phase::Undo).unwrap();
        let unended = journal.unended().unwrap().unwrap();
        assert_eq!((unended.operation, unended.version.clone()), (Operation::Activate, v("v2")));
        assert_eq!(
            (unended.from.clone(), unended.steps.clone()),
            (Some(v("v1")), vec!["switch".into(), "restart".into()])
        );
        journal.close(&unended, "switched back").unwrap();
        assert_eq!(journal.unended().unwrap(), None);
    }

    #[test]
    fn an_operation_within_another_hides_neither() {
        let (_dir, journal) = journal();
        let fetch = journal.begin(Operation::Fetch, &v("v2"), None).unwrap();
        let prune = journal.begin(Operation::Prune, &v("v1"), None).unwrap();
        let open = || journal.all_unended().unwrap().into_iter().map(|open| open.operation).collect::<Vec<_>>();
        assert_eq!(open(), [Operation::Fetch, Operation::Prune]);
        prune.end(Outcome::Done, "").unwrap();
        assert_eq!(open(), [Operation::Fetch]);
        fetch.end(Outcome::Done, "").unwrap();
        assert_eq!(open(), []);
    }

    #[test]
    fn a_cut_last_line_is_skipped_and_the_next_one_starts_afresh() {
        let (_dir, journal) = journal();
        let ongoing = journal.begin(Operation::Activate, &v("v2"), None).unwrap();
        let whole = std::fs::read(&journal.path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&journal.path, [&whole[..], &whole[..cut]].concat()).unwrap();
            ongoing.note("switch", Phase::Run).unwrap();
            let steps = journal.unended().unwrap().unwrap().steps;
            assert_eq!(steps, ["switch"], "cut after {cut} bytes");
        }
    }

    #[test]
    fn only_the_end_of_a_long_journal_is_read() {
        let (_dir, journal) = journal();
        std::fs::write(&journal.path, "{}\n".repeat(100_000)).unwrap();
        journal.begin(Operation::Rollback, &v("v1"), None).unwrap();
        assert_eq!(journal.unended().unwrap().unwrap().operation, Operation::Rollback);
    }
}
