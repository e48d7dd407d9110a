//! Everything that can be wrong with an archive, each naming the part it is in.

use super::super::frame;
use super::super::layout::BadCut;
use super::super::policy::Refused;
use super::super::toc;
use crate::digest::Digest;

/// What is wrong with an archive, and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The statement describes no possible archive.
    #[error("the statement describes an impossible archive: {0}")]
    Statement(&'static str),
    /// The caller brought another number of bytes than asked for.
    #[error("expected {expected} bytes of the {part}, found {found}")]
    Short {
        /// Which part.
        part: &'static str,
        /// How many it should have.
        expected: u64,
        /// How many came.
        found: u64,
    },
    /// The footer's bytes are wrong.
    #[error("the footer is damaged")]
    Footer,
    /// The 8 bytes in front of the root or a table are wrong.
    #[error("the frame header in front of the {part} is damaged")]
    Skippable {
        /// Which part.
        part: String,
    },
    /// A digest is wrong.
    #[error("the {part} is damaged: expected sha256 {expected}, found {found}")]
    Digest {
        /// Which part.
        part: String,
        /// From the part above it in the chain.
        expected: Digest,
        /// Of the bytes that came.
        found: Digest,
    },
    /// A table was proven but cannot be read.
    #[error("the {part} cannot be read")]
    Table {
        /// Which part.
        part: String,
        /// Why.
        #[source]
        source: toc::Error,
    },
    /// The tables contradict each other or the statement.
    #[error("the table of contents contradicts itself: {0}")]
    Contradiction(String),
    /// The frames of a group do not fit its entries.
    #[error("the table of group `{group}` contradicts itself")]
    Cut {
        /// Which group.
        group: String,
        /// Why.
        #[source]
        source: BadCut,
    },
    /// The tree holds something a release may not hold.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A frame was proven but cannot be decoded.
    #[error("{part} cannot be decoded")]
    Frame {
        /// Which frame.
        part: String,
        /// Why.
        #[source]
        source: frame::Error,
    },
    /// The tar stream is not the one the table describes.
    #[error("{part} does not hold what the table of contents says: the header or padding of `{path}` differs")]
    Stream {
        /// Which frame.
        part: String,
        /// The entry it is about.
        path: String,
    },
}

/// Result of reading a part of an archive.
pub type Result<T> = std::result::Result<T, Error>;
