//! What a release's tree may hold: files, folders and relative links that stay inside, under names a person can see.
//!
//! The same rules bind the builder, which refuses to pack anything else, and the node, which refuses to unpack it,
//! even from a trusted signer. Each refusal names the entry. The list of attacks is that of the hostile-archive
//! literature: traversal, links out, writing through links, doubles, case and Unicode twins, unprintable names.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use unicode_normalization::UnicodeNormalization;

/// Most bytes of a path: the tree must also fit below a root within PATH_MAX (4,096).
pub const MAX_PATH: usize = 1024;
/// Most bytes of one component: what every file system takes.
pub const MAX_COMPONENT: usize = 255;
/// Deepest path: real trees stay below 30; unbounded depth exhausts stacks and descriptors of other tools.
pub const MAX_DEPTH: usize = 64;
/// Most entries: 30 times the largest real site measured (30,135), and at most some hundred MB of a node's memory.
pub const MAX_ENTRIES: usize = 1_000_000;
/// Largest file: the ustar size field's eleven octal digits.
pub const MAX_FILE: u64 = 0o777_7777_7777;
/// Most links a link may lead through, one that is met again counted again: the kernel's own limit (`MAXSYMLINKS`).
const MAX_HOPS: usize = 40;

/// An entry that is not allowed, or a tree that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry `{}` is not allowed: {why}", .path.escape_debug())]
pub struct Refused {
    /// The entry's path as it was given.
    pub path: String,
    /// The rule it breaks.
    pub why: String,
}

/// What kind of thing an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A regular file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symlink with this target.
    Link(&'a str),
}

/// The entries so far, by what names that are too much alike have in common (see [`fold`]).
type Seen<'a> = HashMap<Cow<'a, str>, (&'a str, Kind<'a>)>;

fn refuse<T>(path: &str, why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { path: path.chars().take(200).collect(), why: why.into() })
}

/// Checks a whole tree, entries in archive order: each name by itself, then against the others.
pub fn check_tree<'a>(entries: impl Iterator<Item = (&'a str, Kind<'a>)>) -> Result<(), Refused> {
    let mut seen = Seen::new();
    let mut links = BTreeMap::new();
    let mut folder = "";
    for (path, kind) in entries {
        check_path(path)?;
        check_kind(path, kind)?;
        // Neighbours share a folder, which need not be looked up again.
        let above = parent(path);
        if above != folder {
            check_parent(path, above, &seen)?;
            folder = above;
        }
        match seen.insert(fold(path), (path, kind)) {
            Some((other, _)) if other == path => return refuse(path, "it is there twice"),
            Some((other, _)) => {
                return refuse(path, format!("it differs from `{other}` only in case or in Unicode form"));
            }
            None => {}
        }
        if seen.len() > MAX_ENTRIES {
            return refuse(path, format!("the tree has more than {MAX_ENTRIES} entries"));
        }
        if let Kind::Link(target) = kind {
            links.insert(path, target);
        }
    }
    links.iter().try_for_each(|(path, target)| check_inside(path, target, &links))
}

/// Checks that the links `out`, each a path and its target, can be made in a tree that [`check_tree`] allowed, although they
/// lead out of it: the folder of each is there, nothing is in its way, and no link of the tree leads through one.
pub fn check_ways_out<'a>(
    entries: impl Iterator<Item = (&'a str, Kind<'a>)>,
    out: &'a [(String, String)],
) -> Result<(), Refused> {
    let mut seen = Seen::new();
    let mut links = BTreeMap::new();
    for (path, kind) in entries {
        if let Kind::Link(target) = kind {
            links.insert(path, target);
        }
        seen.insert(fold(path), (path, kind));
    }
    for (path, _) in out {
        check_path(path)?;
        check_parent(path, parent(path), &seen)?;
        if let Some((other, _)) = seen.get(&fold(path)) {
            return refuse(other, format!("the node makes a link at `{path}`"));
        }
    }
    let own: Vec<(&str, &str)> = links.iter().map(|(path, target)| (*path, *target)).collect();
    links.extend(out.iter().map(|(path, target)| (path.as_str(), target.as_str())));
    own.into_iter().try_for_each(|(path, target)| check_inside(path, target, &links))
}

/// Checks one path by itself.
pub fn check_path(path: &str) -> Result<(), Refused> {
    if path.len() > MAX_PATH {
        return refuse(path, format!("its path is longer than {MAX_PATH} bytes"));
    }
    if path.starts_with('/') {
        return refuse(path, "its path is absolute");
    }
    if path.split('/').count() > MAX_DEPTH {
        return refuse(path, format!("it lies deeper than {MAX_DEPTH} folders"));
    }
    check_characters(path, path)?;
    path.split('/').try_for_each(|component| check_component(path, component))
}

fn check_component(path: &str, component: &str) -> Result<(), Refused> {
    match component {
        "" => refuse(path, "its path has an empty component"),
        "." | ".." => refuse(path, format!("its path has the component `{component}`")),
        c if c.len() > MAX_COMPONENT => refuse(path, format!("a component is longer than {MAX_COMPONENT} bytes")),
        _ => Ok(()),
    }
}

fn check_characters(path: &str, text: &str) -> Result<(), Refused> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\\') {
        return Ok(());
    }
    match text.chars().find(|c| is_hidden(*c)) {
        Some(c) => refuse(path, format!("its name has the unprintable character U+{:04X}", c as u32)),
        None if text.contains('\\') => refuse(path, "its name has a backslash"),
        None => Ok(()),
    }
}

/// Characters a person cannot see, or that reorder what they see: controls, bidi marks, zero-width, line separators.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn check_kind(path: &str, kind: Kind) -> Result<(), Refused> {
    match kind {
        Kind::File(size) if size > MAX_FILE => refuse(path, format!("it is larger than {MAX_FILE} bytes")),
        Kind::Link(target) => check_target(path, target),
        _ => Ok(()),
    }
}

fn check_target(path: &str, target: &str) -> Result<(), Refused> {
    if target.starts_with('/') {
        return refuse(path, format!("it is a link to the absolute path `{}`", target.escape_debug()));
    }
    if target.is_empty() || target.len() > MAX_PATH || target.split('/').any(|c| c.is_empty() || c == ".") {
        return refuse(path, format!("its link target `{}` is not a plain relative path", target.escape_debug()));
    }
    check_characters(path, target)
}

/// A parent must be a folder that came before: so nothing is ever written through a link.
fn check_parent(path: &str, above: &str, seen: &Seen) -> Result<(), Refused> {
    if above.is_empty() {
        return Ok(());
    }
    match seen.get(&fold(above)) {
        Some((other, Kind::Folder)) if *other == above => Ok(()),
        Some((other, _)) if *other == above => refuse(path, format!("`{above}` is not a folder")),
        _ => refuse(path, format!("its folder `{above}` does not come before it")),
    }
}

/// The folder an entry lies in; empty at the top.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

/// What names that only differ in case or Unicode form have in common.
fn fold(path: &str) -> Cow<'_, str> {
    match path.is_ascii() {
        true if path.bytes().any(|byte| byte.is_ascii_uppercase()) => path.to_ascii_lowercase().into(),
        true => path.into(),
        false => path.nfc().flat_map(char::to_lowercase).nfc().collect(),
    }
}

/// Follows a link through the tree's other links; at no point may it be above the root.
fn check_inside(path: &str, target: &str, links: &BTreeMap<&str, &str>) -> Result<(), Refused> {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    let mut todo: Vec<&str> = target.split('/').rev().collect();
    let mut hops = 0;
    while let Some(component) = todo.pop() {
        if component == ".." {
            if at.pop().is_none() {
                return refuse(path, format!("it is a link to `{target}`, which leaves the tree"));
            }
            continue;
        }
        at.push(component);
        let here = at.join("/");
        if let Some(next) = links.get(here.as_str()) {
            hops += 1;
            if hops > MAX_HOPS {
                return refuse(path, format!("its link target `{target}` goes in circles"));
            }
            at.pop();
            todo.extend(next.split('/').rev());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(entries: &[(&str, Kind)]) -> String {
        match check_tree(entries.iter().copied()) {
            Ok(()) => "allowed".to_owned(),
            Err(refused) => refused.to_string(),
        }
    }

    const F: Kind = Kind::File(1);
    const D: Kind = Kind::Folder;

    #[test]
    fn ordinary_trees_are_allowed() {
        let tree =
            [("a", D), ("a/b", D), ("a/b/ü -x.txt", F), ("a/l", Kind::Link("b/../b")), ("up", Kind::Link("a/b"))];
        assert_eq!(why(&tree), "allowed");
    }

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        let long = format!("a/{}", "x".repeat(256));
        for name in ["../x", "a/../x", "./x", "a/./b", "a//b", "a/", "/x", "//x", "", ".", "..", "C:\\x", &long] {
            assert_ne!(why(&[("a", D), (name, F)]), "allowed", "{name}");
        }
        assert_ne!(why(&[(&"x".repeat(1025), F)]), "allowed");
    }

    #[test]
    fn names_a_person_cannot_see_are_refused() {
        for name in ["a\0", "a\n", "a\x1b[2J", "a\u{202e}b", "a\u{200b}", "\u{feff}a", "a\u{7f}"] {
            let text = why(&[(name, F)]);
            assert!(text.contains("unprintable"), "{name:?}: {text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn doubles_and_twins_are_refused() {
        assert!(why(&[("a", F), ("a", F)]).contains("twice"));
        assert!(why(&[("a", D), ("a", F)]).contains("twice"));
        assert!(why(&[("README", F), ("readme", F)]).contains("only in case"));
        assert!(why(&[("\u{e9}", F), ("e\u{301}", F)]).contains("Unicode"));
    }

    #[test]
    fn parents_must_be_folders_that_came_before() {
        assert!(why(&[("a/b", F)]).contains("does not come before"));
        assert!(why(&[("a", F), ("a/b", F)]).contains("not a folder"));
        assert!(why(&[("d", Kind::Link("e")), ("e", D), ("d/f", F)]).contains("not a folder"));
    }

    #[test]
    fn links_out_are_refused_however_they_get_there() {
        for target in ["/etc/passwd", "..", "../x", "b/../../x", "b/c/../../../x", "", ".", "b//c", "b/", "b\\c"] {
            assert_ne!(why(&[("b", D), ("l", Kind::Link(target))]), "allowed", "{target}");
        }
        let through = [("a", D), ("a/b", D), ("a/b/l", Kind::Link("../..")), ("m", Kind::Link("a/b/l/../x"))];
        assert!(why(&through).contains("leaves the tree"), "{}", why(&through));
        assert!(why(&[("l", Kind::Link("m")), ("m", Kind::Link("l"))]).contains("circles"));
    }

    #[test]
    fn a_link_through_itself_is_a_circle_however_long_it_gets() {
        for target in ["x/../l/y", "l/l", "../a/l/../l/b"] {
            assert!(why(&[("a", D), ("a/l", Kind::Link(target))]).contains("circles"), "{target}");
        }
    }

    #[test]
    fn a_way_out_has_its_folder_and_nothing_in_its_way_or_through_it() {
        let out = |path: &str| vec![(path.to_owned(), "../../../shared/x".to_owned())];
        let why = |entries: &[(&str, Kind)], path: &str| match check_ways_out(entries.iter().copied(), &out(path)) {
            Ok(()) => "allowed".to_owned(),
            Err(refused) => refused.to_string(),
        };
        let tree = [("app", D), ("app/f", F), ("app/d", D), ("app/d/f", F), ("app/l", Kind::Link("d"))];
        for good in ["app/media", "app/d/media", "app/f2"] {
            assert_eq!(why(&tree, good), "allowed");
        }
        insta::assert_snapshot!(why(&tree, "app/f"), @"entry `app/f` is not allowed: the node makes a link at `app/f`");
        insta::assert_snapshot!(why(&tree, "app/D"), @"entry `app/d` is not allowed: the node makes a link at `app/D`");
        insta::assert_snapshot!(why(&tree, "app/l/x"), @"entry `app/l/x` is not allowed: `app/l` is not a folder");
        insta::assert_snapshot!(why(&tree, "app/f/x"), @"entry `app/f/x` is not allowed: `app/f` is not a folder");
        insta::assert_snapshot!(why(&tree, "app/no/x"), @"entry `app/no/x` is not allowed: its folder `app/no` does not come before it");
        for through in ["media", "media/x", "../app/media/../../x", "e/media"] {
            let tree = [("app", D), ("app/e", Kind::Link("../app")), ("app/l", Kind::Link(through))];
            assert!(why(&tree, "app/media").contains("leaves the tree"), "{through}: {}", why(&tree, "app/media"));
        }
    }

    #[test]
    fn a_link_may_be_followed_twice_without_being_a_circle() {
        let tree = [("d", D), ("l", Kind::Link("d")), ("m", Kind::Link("l/../l/x"))];
        assert_eq!(why(&tree), "allowed");
    }
}
