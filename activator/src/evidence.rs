//! What is kept of an activation that failed: why, and what was printed by then by the restart command and what it left
//! running, or by the processes under systemd. It lies in `.pannier/failed/<version>/` and outlives the release, because it is small and most wanted when the
//! release is gone.
//!
//! Nothing depends on it: that it cannot be written is a warning.

use std::path::Path;

use jiff::Timestamp;
use pannier_shared::id::Version;
use pannier_shared::sys::fs;
use serde::{Deserialize, Serialize};

use crate::layout::Root;
use crate::steps::start::Extent;

/// How many failures are kept.
const MOST: usize = 20;
/// How much is kept of what was printed.
pub const KEPT: Extent = Extent { bytes: 256 * 1024, lines: 1000 };

/// Why an activation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// When it failed (UTC).
    pub at: Timestamp,
    /// The release.
    pub version: Version,
    /// The error and its causes, from near to far.
    pub error: Vec<String>,
}

/// Keeps what is known of a failure in the place of an earlier one of the same release, and removes the oldest of too many.
pub fn keep(
    root: &Root,
    version: &Version,
    error: &dyn std::error::Error,
    printed: &str,
    now: Timestamp,
) -> fs::Result<()> {
    let folder = root.failed().join(version.as_str());
    let chain = std::iter::successors(Some(error), |error| error.source());
    let why = Why { at: now, version: version.clone(), error: chain.map(ToString::to_string).collect() };
    fs::remove_tree(&folder)?;
    fs::create_dir_all(&folder)?;
    // Plain texts always have a JSON form. What an app prints may be secret.
    fs::write_new_durably(&folder.join("why.json"), &serde_json::to_vec_pretty(&why).unwrap_or_default(), 0o600)?;
    fs::write_new_durably(&folder.join("printed.log"), printed.as_bytes(), 0o600)?;
    forget_oldest(root)
}

fn forget_oldest(root: &Root) -> fs::Result<()> {
    let mut kept = Vec::new();
    for name in fs::list(&root.failed())? {
        let folder = root.failed().join(name);
        kept.push((read(&folder).map(|why| why.at), folder));
    }
    kept.sort();
    let too_many = kept.len().saturating_sub(MOST);
    kept.iter().take(too_many).try_for_each(|(_, folder)| fs::remove_tree(folder))
}

/// Reads why; nothing where it is not there, or damaged.
pub fn read(folder: &Path) -> Option<Why> {
    serde_json::from_slice(&fs::read(&folder.join("why.json"), 1 << 20).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests look at files by hand")]

    use super::*;
    use crate::testing::{Fixture, v};
    use std::os::unix::fs::PermissionsExt;

    fn failure(number: usize) -> fs::Error {
        let source = std::io::Error::other(format!("attempt {number}"));
        fs::Error { op: "start", path: "/srv/polls".into(), source }
    }

    #[test]
    fn the_newest_failures_are_kept_each_release_once() {
        let fixture = Fixture::with(&[]);
        let root = fixture.root();
        let at = |seconds: usize| Timestamp::from_second(1_800_000_000 + seconds as i64).unwrap();
        for number in 0..MOST + 2 {
            keep(&root, &v(&format!("v{number}")), &failure(number), "", at(number)).unwrap();
        }
        keep(&root, &v("v5"), &failure(99), "Traceback\n", at(99)).unwrap();
        let there = |name: &str| read(&root.failed().join(name)).map(|why| why.error);
        assert_eq!((there("v0"), there("v1"), there("v2").is_some()), (None, None, true));
        assert_eq!(there("v5").unwrap(), ["failed to start `/srv/polls`", "attempt 99"]);
        let log = root.failed().join("v5/printed.log");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "Traceback\n");
        assert_eq!(log.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
