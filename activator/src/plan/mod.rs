//! What a fetch will do, as a value: which files the node has already, which frames are asked for, what that needs.
//!
//! [`Plan::make`] asks the store for the new release's root and the tables the node does not have, looks for every
//! file's content in the releases on the node, and decides. `fetch` executes that very value, and `pannier-activator
//! plan` prints a [`forecast`] of it. It is a forecast: whether a file on the node still holds what its table says is
//! only known when it is hashed again, so the frames are named last, by [`Plan::runs`], when it is known which files
//! are [`Wanted`] from the store.

use std::collections::HashSet;

use pannier_shared::archive::read::Contents;
use pannier_shared::event::Sink;
use pannier_shared::signature::Verified;
use pannier_shared::statement::{Artifact, Description, Statement};

use crate::fetch::Origin;
use crate::steps::fetch::Error;
use crate::steps::remote::{Remote, Taken};
use crate::steps::reuse::Method;

mod choices;
mod contents;
pub mod forecast;
mod kept;
pub mod schema;

pub use choices::{Choice, Place};
pub use contents::Proven;
pub use kept::{Kept, Kind};
pub use pannier_shared::archive::ranges;
use ranges::{Cost, Run};

/// What a fetch of one verified release will do on one node.
#[derive(Debug)]
pub struct Plan {
    release: Description,
    artifact: Artifact,
    proven: Proven,
    kept: Vec<Kept>,
    choices: Vec<Choice>,
    method: Method,
    cost: Cost,
    taken: Taken,
}

/// What a fetch needs on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Bytes, each new file taking whole blocks.
    pub bytes: u64,
    /// Files, folders and links to be made.
    pub inodes: u64,
}

/// The files whose content must come from the store, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted(Vec<bool>);

impl Wanted {
    /// Whether a file's content must come from the store.
    pub fn contains(&self, file: usize) -> bool {
        self.0[file]
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|is_wanted| **is_wanted).count()
    }

    /// Adds a file.
    pub fn add(&mut self, file: usize) {
        self.0[file] = true;
    }
}

impl Plan {
    /// Plans to bring the release of `statement` to a node that has `kept`, by `method` where a file is there already.
    pub fn make(
        origin: &Origin,
        statement: &Verified<Statement>,
        kept: Vec<Kept>,
        method: Method,
        sink: &dyn Sink,
    ) -> Result<Self, Error> {
        let (release, artifact) = (statement.release.clone(), statement.artifact.clone());
        let remote = Remote::new(origin.store, &release, Taken::default());
        let proven = origin.runtime.block_on(contents::contents(&remote, &artifact, &kept, Cost::default()))?;
        let taken = remote.taken();
        Ok(Self { taken, ..Self::with(statement, proven, kept, method, sink) })
    }

    /// The same for a release whose table of contents is at hand: the store is not asked.
    pub fn with(
        statement: &Verified<Statement>,
        proven: Proven,
        kept: Vec<Kept>,
        method: Method,
        sink: &dyn Sink,
    ) -> Self {
        let (release, artifact) = (statement.release.clone(), statement.artifact.clone());
        let (choices, cost) = (choices::choose(&proven.contents, &kept, sink), proven.cost);
        Self { release, artifact, proven, kept, choices, method, cost, taken: Taken::default() }
    }

    /// What the release says of itself.
    pub fn release(&self) -> &Description {
        &self.release
    }

    /// The release's tree and frames, proven.
    pub fn contents(&self) -> &Contents {
        &self.proven.contents
    }

    /// The bytes that prove [`Self::contents`]: the artifact's end, and its tables.
    pub fn proof(&self) -> (&[u8], &[u8]) {
        (&self.proven.tail, &self.proven.tables)
    }

    /// The releases on the node that files may come from.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Where each file's content comes from, by its number.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// How many files have content at all.
    pub fn files(&self) -> u64 {
        self.choices.iter().filter(|choice| **choice != Choice::Empty).count() as u64
    }

    /// How files on the node are reused.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What requests are taken to cost.
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// The same plan with other requests: what `scripts/bench-study` compares.
    pub fn at_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    /// What was taken from the store to make the plan.
    pub fn taken(&self) -> Taken {
        self.taken
    }

    /// The files that are not on the node.
    pub fn wanted(&self) -> Wanted {
        Wanted(self.choices.iter().map(|choice| *choice == Choice::Store).collect())
    }

    /// The requests that bring `wanted`.
    pub fn runs(&self, wanted: &Wanted) -> Vec<Run> {
        self.runs_besides(wanted, &HashSet::new())
    }

    /// The same without the frames that came already, by number.
    pub fn runs_besides(&self, wanted: &Wanted, came: &HashSet<usize>) -> Vec<Run> {
        ranges::frames(self.contents(), |file| wanted.contains(file), |frame| came.contains(&frame), &self.cost)
    }

    /// What the disk must have free. A linked file needs nothing, a clone only its inode; every new one up to a block
    /// (4 KiB) more than its bytes.
    pub fn needs(&self) -> Needs {
        let contents = self.contents();
        let folders_and_links = (contents.folders().count() + contents.links().count()) as u64;
        let mut needs = Needs { bytes: 0, inodes: folders_and_links };
        for (file, choice) in contents.files().zip(&self.choices) {
            let linked = matches!(choice, Choice::Here(place) if place.executable == file.executable);
            match self.method {
                Method::Link if linked => {}
                Method::Clone if matches!(choice, Choice::Here(_)) => needs.inodes += 1,
                _ => needs = Needs { bytes: needs.bytes.saturating_add(file.size), inodes: needs.inodes + 1 },
            }
        }
        needs.bytes = needs.bytes.saturating_add(needs.inodes.saturating_mul(4096));
        needs
    }
}
