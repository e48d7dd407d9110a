//! What Pannier's two programs share. Nothing here prints, exits or reads a configuration file.
//!
//! The chain of proof runs through these rooms: [`signature`] makes a `Verified` statement, whose digest of the table
//! of contents lets [`archive`] read that table, whose digests of the frames let it decode those. [`store`] brings the
//! bytes and is believed in nothing; [`published`] joins the two: from the name of a release or channel to its proof.

pub mod archive;
pub mod digest;
pub mod event;
pub mod exit;
pub mod id;
pub mod keys;
pub mod published;
pub mod receipt;
pub mod report;
pub mod signature;
pub mod statement;
pub mod static_names;
pub mod steps;
pub mod store;
pub mod sys;
