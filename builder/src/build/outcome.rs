//! What comes of a build.

use std::path::PathBuf;

use pannier_shared::digest::Digest;
use pannier_shared::statement::{Artifact, Description};
use pannier_shared::steps::NotUndone;

use super::Error;

/// A release on disk, ready to be published.
#[derive(Debug)]
pub struct Built {
    /// The folder that holds its files.
    pub folder: PathBuf,
    /// What it says of itself.
    pub description: Description,
    /// Its archive.
    pub artifact: Artifact,
    /// SHA-256 of the signed statement: what a channel names.
    pub statement: Digest,
}

/// A build that failed, and what of it could not be taken back.
#[derive(Debug, thiserror::Error)]
#[error("failed to {does}")]
pub struct Failed {
    /// The folder that the build was to write into.
    pub out: PathBuf,
    /// What the step that failed does.
    pub does: &'static str,
    /// Why.
    pub source: Error,
    /// What is left behind; empty when nothing is.
    pub left: Vec<NotUndone<Error>>,
}
