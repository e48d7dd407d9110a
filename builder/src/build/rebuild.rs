//! Builds a release once more, to be compared with one that is published.

use std::sync::Arc;

use pannier_shared::archive::read::Contents;
use pannier_shared::event::Sink;
use pannier_shared::statement::{Artifact, Description};

use super::{Build, Error, Failed, Request, TABLE, clear, run};
use crate::inside;
use crate::publish::ARTIFACT_FILE;

/// A release that was built again, to be compared; nothing of it is on the disk any more.
#[derive(Debug)]
pub struct Rebuilt {
    /// What it says of itself.
    pub description: Description,
    /// Its archive.
    pub artifact: Artifact,
    /// Its tree and frames.
    pub contents: Contents,
}

/// Builds a release as far as its archive, and keeps nothing but what is known of it.
pub fn rebuild(request: Request, sink: &Arc<dyn Sink>) -> Result<Rebuilt, Box<Failed>> {
    let out = request.out.clone();
    let end = TABLE.iter().position(|step| step.name == "pack").map_or(TABLE.len(), |at| at + 1);
    let mut build = run(&TABLE[..end], request, sink)?;
    let known = known(&build);
    let cleared = clear(&mut build);
    known
        .and_then(|known| cleared.map(|()| known))
        .map_err(|source| Box::new(Failed { out, does: "compare the release", source, left: Vec::new() }))
}

/// What is in the archive, read back from it.
fn known(build: &Build) -> Result<Rebuilt, Error> {
    let (artifact, path) = (build.artifact.get()?.clone(), build.outbox().join(ARTIFACT_FILE));
    let contents = inside::open_file(&path, &artifact).and_then(|(outline, tables)| {
        outline.contents(tables).map_err(|source| inside::Error::of_archive(&path, source))
    });
    let description = build.tree.get()?.description.clone();
    Ok(Rebuilt { description, artifact, contents: contents.map_err(Box::new)? })
}
