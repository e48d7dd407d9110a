//! Paths of the app that live across releases: uploads, a file of local settings. In the release each is a link that the node
//! makes, to the same path below the app's `shared/`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::archive::policy;

/// The most paths of one release: a hand-written list.
const MAX_PATHS: usize = 100;

/// The app's folder in a release, and above it the folder of the release and that of all releases.
const UP: &str = "../../../";

/// A path below the app's folder, and below `shared/` on the node: relative, without `.` and `..`, of names that a release may
/// have too (see `archive::policy`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SharedPath(String);

/// A path that cannot be shared, or paths that cannot be shared together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadShared {
    /// It is no path below the app.
    #[error("`{}` cannot be shared: {why}", .path.escape_debug())]
    Path {
        /// The path, as far as it can be shown.
        path: String,
        /// The rule it breaks.
        why: String,
    },
    /// It is there twice.
    #[error("`{0}` is shared twice")]
    Twice(SharedPath),
    /// One lies below the other, whose link would lead away what it needs.
    #[error("`{below}` lies in `{above}`, which is shared as a whole")]
    Below {
        /// The inner path.
        below: SharedPath,
        /// The outer one.
        above: SharedPath,
    },
    /// There are too many.
    #[error("{0} paths are shared, where {MAX_PATHS} are the most")]
    TooMany(usize),
}

impl SharedPath {
    /// The path itself, "var/uploads".
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where the release has its link, "app/var/uploads".
    pub fn link(&self) -> String {
        format!("app/{self}")
    }

    /// What that link holds, "../../../../shared/var/uploads": relative, so that the whole root can be moved.
    pub fn target(&self) -> String {
        format!("{UP}{}shared/{self}", "../".repeat(self.0.matches('/').count()))
    }

    /// Whether `path` lies below this one.
    pub fn is_above(&self, path: &str) -> bool {
        path.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl TryFrom<String> for SharedPath {
    type Error = BadShared;

    fn try_from(path: String) -> Result<Self, BadShared> {
        // With the folder that it gets in the release: length and depth count as a whole.
        match policy::check_path(&path).and_then(|()| policy::check_path(&format!("app/{path}"))) {
            Ok(()) => Ok(Self(path)),
            Err(refused) => Err(BadShared::Path { path: path.chars().take(200).collect(), why: refused.why }),
        }
    }
}

impl From<SharedPath> for String {
    fn from(path: SharedPath) -> Self {
        path.0
    }
}

impl fmt::Display for SharedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All shared paths of a release: none is there twice, none lies below another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Lists")]
pub struct Shared {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    folders: Vec<SharedPath>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<SharedPath>,
}

/// The same before it was looked at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists {
    #[serde(default)]
    folders: Vec<SharedPath>,
    #[serde(default)]
    files: Vec<SharedPath>,
}

impl Shared {
    /// Paths that are shared, if they can be together.
    pub fn new(folders: Vec<SharedPath>, files: Vec<SharedPath>) -> Result<Self, BadShared> {
        let shared = Self { folders, files };
        let mut sorted: Vec<&SharedPath> = shared.paths().collect();
        if sorted.len() > MAX_PATHS {
            return Err(BadShared::TooMany(sorted.len()));
        }
        sorted.sort();
        for (at, path) in sorted.iter().enumerate() {
            if let Some(next) = sorted[at + 1..].iter().find(|next| next == &path || path.is_above(next.as_str())) {
                let (below, above) = ((*next).clone(), (*path).clone());
                return Err(if below == above { BadShared::Twice(below) } else { BadShared::Below { below, above } });
            }
        }
        Ok(shared)
    }

    /// These and `more`, less what of that is shared by these already, or could not be together with them.
    pub fn and(self, more: Self) -> Self {
        let fits = |path: &SharedPath| {
            self.paths().all(|own| own != path && !own.is_above(path.as_str()) && !path.is_above(own.as_str()))
        };
        let of = |own: &[SharedPath], more: Vec<SharedPath>| {
            own.iter().cloned().chain(more.into_iter().filter(fits)).collect()
        };
        Self { folders: of(&self.folders, more.folders), files: of(&self.files, more.files) }
    }

    /// The paths that are folders.
    pub fn folders(&self) -> &[SharedPath] {
        &self.folders
    }

    /// The paths that are files.
    pub fn files(&self) -> &[SharedPath] {
        &self.files
    }

    /// All of them, the folders first.
    pub fn paths(&self) -> impl Iterator<Item = &SharedPath> {
        self.folders.iter().chain(&self.files)
    }

    /// The links that the node makes for them: path in the release, and target.
    pub fn links(&self) -> Vec<(String, String)> {
        self.paths().map(|path| (path.link(), path.target())).collect()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.paths().next().is_none()
    }
}

impl TryFrom<Lists> for Shared {
    type Error = BadShared;

    fn try_from(lists: Lists) -> Result<Self, BadShared> {
        Self::new(lists.folders, lists.files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> SharedPath {
        SharedPath::try_from(text.to_owned()).unwrap()
    }

    fn shared(folders: &[&str], files: &[&str]) -> Result<Shared, String> {
        let paths = |list: &[&str]| list.iter().map(|text| path(text)).collect();
        Shared::new(paths(folders), paths(files)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_link_leads_from_the_app_to_the_same_path_of_shared() {
        for (text, link, target) in [
            ("media", "app/media", "../../../shared/media"),
            ("var/uploads", "app/var/uploads", "../../../../shared/var/uploads"),
            ("a/b/c.py", "app/a/b/c.py", "../../../../../shared/a/b/c.py"),
        ] {
            assert_eq!((path(text).link().as_str(), path(text).target().as_str()), (link, target));
            // `releases/v1/app/…` less as many folders as there are `..` is the root.
            let above = format!("releases/v1/{link}").matches('/').count();
            assert_eq!(target.matches("../").count(), above, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_below_the_app_is_refused() {
        let refused = |text: &str| SharedPath::try_from(text.to_owned()).unwrap_err().to_string();
        for bad in
            ["", ".", "..", "/media", "media/", "a//b", "./a", "a/./b", "../x", "a/../../x", "a\\b", "a\nb", "a\0"]
        {
            assert!(refused(bad).contains("cannot be shared: "), "{bad:?}");
        }
        assert!(SharedPath::try_from("x".repeat(256)).is_err());
        let deep = |folders: usize| SharedPath::try_from("a/".repeat(folders) + "b");
        assert!(deep(62).is_ok() && deep(63).is_err());
        insta::assert_snapshot!(refused("a/../b"), @"`a/../b` cannot be shared: its path has the component `..`");
        insta::assert_snapshot!(refused("a\u{202e}b"), @r"`a\u{202e}b` cannot be shared: its name has the unprintable character U+202E");
    }

    #[test]
    fn no_path_is_there_twice_or_below_another_over_both_lists() {
        assert!(shared(&["media", "media2", "var/a", "var/b"], &["media.py", "local/settings.py"]).is_ok());
        insta::assert_snapshot!(shared(&["media"], &["media"]).unwrap_err(), @"`media` is shared twice");
        insta::assert_snapshot!(shared(&["a", "a-b", "a/b"], &[]).unwrap_err(), @"`a/b` lies in `a`, which is shared as a whole");
        insta::assert_snapshot!(shared(&["var"], &["var/local.py"]).unwrap_err(), @"`var/local.py` lies in `var`, which is shared as a whole");
        let many: Vec<String> = (0..101).map(|n| format!("f{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        insta::assert_snapshot!(shared(&many, &[]).unwrap_err(), @"101 paths are shared, where 100 are the most");
    }

    #[test]
    fn a_statement_has_them_as_they_were_written_or_is_refused() {
        let parse = |text: &str| serde_json::from_str::<Shared>(text).map_err(|error| error.to_string());
        for good in [r#"{"folders":["media","a/b"],"files":["local.py"]}"#, r#"{"files":["b","a"]}"#, "{}"] {
            assert_eq!(serde_json::to_string(&parse(good).unwrap()).unwrap(), good);
        }
        for bad in [r#"{"folders":["../x"]}"#, r#"{"folder":["x"]}"#, r#"{"folders":["x"],"files":["x/y"]}"#] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
