//! Patterns of paths, as `exclude` and `allow` take them.
//!
//! A pattern without `/` matches a file or folder of that name at any depth; one with a `/` matches from the top. What
//! matches a folder matches everything in it. `*` and `?` stay within a name, `**` stands for any folders.

/// Several patterns; a path matches when one of them does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Takes patterns as they were written.
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.to_vec())
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that match none of `paths`.
    pub fn idle(&self, paths: &[String]) -> Vec<&str> {
        let names: Vec<Vec<&str>> = paths.iter().map(|path| path.split('/').collect()).collect();
        let idle = |pattern: &&String| !names.iter().any(|names| matches_one(pattern, names));
        self.0.iter().filter(idle).map(String::as_str).collect()
    }

    /// True when `path` (relative, `/`-separated) or a folder above it matches.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        self.0.iter().any(|pattern| matches_one(pattern, &names))
    }
}

fn matches_one(pattern: &str, names: &[&str]) -> bool {
    let anchored = pattern.trim_end_matches('/').contains('/');
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match parts.as_slice() {
        [] => false,
        [name] if !anchored => names.iter().any(|given| name_matches(name, given)),
        parts => prefix_matches(parts, names),
    }
}

/// True when `parts` match the first names, whatever follows.
fn prefix_matches(parts: &[&str], names: &[&str]) -> bool {
    match (parts, names) {
        ([], _) => true,
        (["**", rest @ ..], _) => (0..=names.len()).any(|skip| prefix_matches(rest, &names[skip..])),
        ([part, parts @ ..], [name, names @ ..]) => name_matches(part, name) && prefix_matches(parts, names),
        (_, []) => false,
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| name_matches(rest.as_str(), &name[at..]))
        }
        Some(wanted) => {
            let mut given = name.chars();
            given.next().is_some_and(|c| wanted == '?' || wanted == c) && name_matches(rest.as_str(), given.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Patterns::new(&[pattern.to_owned()]).matches(path)
    }

    #[test]
    fn a_name_matches_at_any_depth_and_with_all_below_it() {
        assert!(matches("docs", "docs/index.md") && matches("docs/", "a/docs/x") && matches("*.psd", "a/b.psd"));
        assert!(!matches("docs", "mydocs/x") && !matches("*.psd", "a.psd.txt"));
    }

    #[test]
    fn a_path_matches_from_the_top() {
        assert!(
            matches("a/b", "a/b/c") && matches("/a", "a/x") && matches("a/*/c", "a/b/c") && matches("a/b?", "a/bc")
        );
        assert!(!matches("a/b", "x/a/b") && !matches("/a", "b/a") && !matches("a/*", "a"));
    }

    #[test]
    fn what_matches_nothing_is_known() {
        let patterns = Patterns::new(&["docs".to_owned(), "*.psd".to_owned(), "a/x".to_owned()]);
        assert_eq!(patterns.idle(&["docs/x.md".to_owned(), "b/a/x".to_owned()]), ["*.psd", "a/x"]);
    }

    #[test]
    fn two_stars_stand_for_any_folders() {
        assert!(matches("a/**/z", "a/z") && matches("a/**/z", "a/b/c/z") && matches("**/z", "z"));
        assert!(!matches("a/**/z", "b/z"));
    }
}
