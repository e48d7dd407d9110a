//! `RECORD`: the file in which a wheel's installer wrote down what it installed (one CSV line per file).

use std::collections::{BTreeMap, BTreeSet};

use pannier_shared::digest::Digest;

use super::scripts::in_record;

/// The paths of a RECORD, in order, as written.
pub fn paths(text: &str) -> impl Iterator<Item = String> {
    text.lines().map(first_field).filter(|path| !path.is_empty())
}

/// The RECORD without the lines of files that were removed, and with other lines for those that were changed.
pub fn changed(text: &str, removed: &BTreeSet<String>, changed: &BTreeMap<String, String>) -> String {
    let kept = text.lines().map(|line| (first_field(line), line)).filter(|(path, _)| !removed.contains(path));
    kept.map(|(path, line)| format!("{}\n", changed.get(&path).map_or(line, String::as_str))).collect()
}

/// The line of a file.
pub fn line(path: &str, sha256: &Digest, size: usize) -> String {
    let path = if path.contains([',', '"']) { format!("\"{}\"", path.replace('"', "\"\"")) } else { path.to_owned() };
    format!("{path},sha256={},{size}", in_record(sha256))
}

/// A path of a RECORD, resolved against the folder it starts from: "../../../bin/x" below "lib/python3.11/site-packages"
/// is "bin/x". `None` when it leaves the venv.
pub fn resolve(site: &str, path: &str) -> Option<String> {
    let mut names: Vec<&str> = site.split('/').filter(|name| !name.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                names.pop()?;
            }
            name => names.push(name),
        }
    }
    (!path.starts_with('/')).then(|| names.join("/"))
}

/// The first field of a CSV line; a name with a comma or a quote stands in quotes.
fn first_field(line: &str) -> String {
    let Some(quoted) = line.strip_prefix('"') else {
        return line.split(',').next().unwrap_or_default().trim_end().to_owned();
    };
    let mut field = String::new();
    let mut rest = quoted.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => break,
            c => field.push(c),
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_first_fields() {
        let text = "a/b.py,sha256=x,1\n\"odd,\"\"name\"\".txt\",,\na.dist-info/RECORD,,\n";
        assert_eq!(paths(text).collect::<Vec<_>>(), ["a/b.py", "odd,\"name\".txt", "a.dist-info/RECORD"]);
    }

    #[test]
    fn lines_of_removed_files_go_and_those_of_changed_ones_say_so() {
        let removed = BTreeSet::from(["a/direct_url.json".to_owned()]);
        let new = line("b,c", &Digest::of(b""), 0);
        assert_eq!(new, "\"b,c\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0");
        let text = "\"b,c\",sha256=x,9\na/x,,\na/direct_url.json,sha256=x,9\n";
        let lines = BTreeMap::from([("b,c".to_owned(), new.clone())]);
        assert_eq!(changed(text, &removed, &lines), format!("{new}\na/x,,\n"));
    }

    #[test]
    fn scripts_are_found_outside_of_site_packages() {
        let site = "lib/python3.11/site-packages";
        assert_eq!(resolve(site, "../../../bin/gunicorn").as_deref(), Some("bin/gunicorn"));
        assert_eq!(resolve(site, "a/../b.py").as_deref(), Some("lib/python3.11/site-packages/b.py"));
        assert_eq!(resolve(site, "../../../../x"), None);
        assert_eq!(resolve(site, "/etc/x"), None);
    }
}
