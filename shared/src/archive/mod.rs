//! The archive: one `.tar.zst` that stock tools open, made of independent frames that a node can check, fetch and
//! decode one by one.
//!
//! ```text
//! data frames   group by group, stable first: folders, interpreter, a group per dependency, venv glue, static, app,
//!               release, complete. Together they are one ordinary tar stream with its end blocks.
//! tables        a skippable frame per group: zstd-compressed JSON of its entries and frames     (toc::Table)
//! root          a skippable frame: zstd-compressed JSON that lists the groups                   (toc::Root)
//! footer        a skippable frame of 64 bytes that leads to the root                            (footer)
//! ```
//!
//! **Chain of proof.** The signed statement holds the SHA-256 of the root, the root those of the tables, a table those
//! of its frames, each over *compressed* bytes: nothing is decompressed or parsed before its digest was right, and
//! each decoder gets the exact length it may produce.
//!
//! **One description.** The tar headers are a pure function of the tables ([`header`]). A reader regenerates and
//! compares them; there is no tar parser here, so no second opinion an attacker could exploit. What a table may
//! describe at all is in [`policy`].
//!
//! **Two levels**, because the digests of 26,000 files are 1 MB that do not compress: a node that has the previous
//! release needs the root (a few KB) and the tables of the groups that changed.
//!
//! **Room by room:** [`policy`] what is allowed, [`toc`] the JSON, [`header`] tar headers, [`layout`] how a group's tar
//! stream is cut into frames, [`frame`] one zstd frame, [`footer`] skippable frames, [`write`] packing, [`read`] the chain,
//! [`compare`] how two trees differ, [`ranges`] which bytes of one to ask for.

pub mod compare;
pub mod footer;
pub mod frame;
pub mod header;
pub mod layout;
pub mod policy;
pub mod ranges;
pub mod read;
pub mod toc;
pub mod write;

/// The last member of every archive: whoever finds it has an archive that was not cut.
pub const COMPLETE: &str = ".pannier/COMPLETE";

/// What [`COMPLETE`] holds.
pub const COMPLETE_TEXT: &[u8] = b"This release was unpacked to its last member.\n";

/// The folder of Pannier's own files in the tree.
pub const OWN_FOLDER: &str = ".pannier";
