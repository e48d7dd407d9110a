//! What a bucket's names mean to a list: one component below a prefix, and nothing that is no key.

use super::Key;

/// More names than this below one prefix are an error: no store of Pannier's has them, and memory is bounded.
pub const MOST: usize = 1_000_000;

/// What an S3 prefix must be to list what is directly below `prefix` in a store whose own prefix is `own` (empty, or
/// ending in `/`); none if nothing can be below it.
pub fn below(own: &str, prefix: &str) -> Option<String> {
    match prefix {
        "" => Some(own.to_owned()),
        _ => prefix.parse::<Key>().is_ok().then(|| format!("{own}{prefix}/")),
    }
}

/// Names that are one component of a key, sorted, each once. What else is in a bucket was not put there by a store.
pub fn tidied(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| is_component(name));
    names.sort();
    names.dedup();
    names
}

/// True for one component of a key.
pub fn is_component(name: &str) -> bool {
    !name.contains('/') && name.parse::<Key>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_lies_below_both_prefixes() {
        assert_eq!(below("", "").unwrap(), "");
        assert_eq!(below("own/", "").unwrap(), "own/");
        assert_eq!(below("own/", "a/b").unwrap(), "own/a/b/");
        assert_eq!(below("own/", "../secret"), None);
    }

    #[test]
    fn foreign_names_are_left_out() {
        let names = ["b", "a", "", "a", "no key", ".."].map(str::to_owned).to_vec();
        assert_eq!(tidied(names), ["a", "b"]);
    }
}
