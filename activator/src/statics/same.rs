//! Whether a name means the same content in two releases. It should, for it holds the content's hash; but what changes
//! files after they were named (a minifier of another version) can make two of one name.
//!
//! Asked for each file that a release has in common with another one, so it must be cheap: what reuse shared by a hard link
//! is one file, and what it cloned stands in the ledger, with the digest that it was proven to have.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pannier_shared::digest;
use pannier_shared::sys::look::Look;
use pannier_shared::sys::{clock, fs};

use crate::layout::Root;
use crate::ledger::Ledger;

/// Compares files of one root.
pub(super) struct Comparison<'a> {
    root: &'a Root,
    ledger: OnceCell<Ledger>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(root: &'a Root) -> Self {
        Self { root, ledger: OnceCell::new() }
    }

    /// Whether two files hold the same; one that is not there holds nothing that another does.
    pub(super) fn is_same(&self, one: &Path, other: &Path) -> fs::Result<bool> {
        let (Some(a), Some(b)) = (fs::if_there(fs::lstat(one))?, fs::if_there(fs::lstat(other))?) else {
            return Ok(false);
        };
        if !(a.is_file() && b.is_file()) || a.len() != b.len() {
            return Ok(false);
        }
        if (a.dev(), a.ino()) == (b.dev(), b.ino()) {
            return Ok(true);
        }
        let ledger = self.ledger.get_or_init(|| Ledger::load(&self.root.ledger(), clock::now()));
        match (ledger.content(&Look::from(&a)), ledger.content(&Look::from(&b))) {
            (Some(a), Some(b)) => Ok(a == b),
            _ => Ok(hash(one)? == hash(other)?),
        }
    }
}

fn hash(path: &Path) -> fs::Result<digest::Digest> {
    let hashed = digest::of_reader(fs::open(path)?).map_err(fs::failed("read", path))?;
    Ok(hashed.0)
}
