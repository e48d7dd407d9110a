//! What installed packages say of their licences: in `METADATA`, core metadata of any version.

use std::collections::BTreeMap;

use pannier_shared::sys::fs;

use super::super::requirements::normalise;
use super::super::venv::Venv;

/// Most bytes of a METADATA: it holds the package's README, which is long at times.
const LIMIT: u64 = 4 * 1024 * 1024;
/// A licence field longer than this is the licence's text, which some packages put there.
const NAME_LIMIT: usize = 100;

/// What a package says of its licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Licence {
    /// An SPDX expression (PEP 639).
    Expression(String),
    /// Names, in its own words.
    Names(Vec<String>),
}

/// The licences of all packages in an environment that name one, by normalised name.
pub fn read(venv: &Venv) -> Result<BTreeMap<String, Licence>, fs::Error> {
    let site = venv.root.join(&venv.site);
    let mut found = BTreeMap::new();
    for name in fs::list(&site)?.iter().filter_map(|name| name.to_str()).filter(|name| name.ends_with(".dist-info")) {
        let text = fs::if_there(fs::read(&site.join(name).join("METADATA"), LIMIT))?.unwrap_or_default();
        found.extend(of(&String::from_utf8_lossy(&text)));
    }
    Ok(found)
}

/// Name and licence out of one METADATA.
fn of(text: &str) -> Option<(String, Licence)> {
    let fields: Vec<(&str, &str)> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let all = |wanted: &'static str| {
        let named = fields.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| *value).filter(|value| !value.is_empty() && *value != "UNKNOWN")
    };
    let licence = if let Some(expression) = all("License-Expression").next() {
        Licence::Expression(expression.to_owned())
    } else {
        let short = all("License").filter(|value| value.len() <= NAME_LIMIT && !is_continued(text, value));
        let mut names: Vec<String> = short.map(str::to_owned).collect();
        if names.is_empty() {
            names.extend(all("Classifier").filter_map(classified).map(str::to_owned));
        }
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(Licence::Names(names))?
    };
    Some((normalise(all("Name").next()?), licence))
}

/// "BSD License" of "License :: OSI Approved :: BSD License"; that it is approved is no name.
fn classified(classifier: &str) -> Option<&str> {
    let name = classifier.strip_prefix("License :: ")?.rsplit(" :: ").next()?;
    (name != "OSI Approved").then_some(name)
}

/// Whether the field goes on in the next line: then it is the licence's text and not its name.
fn is_continued(text: &str, value: &str) -> bool {
    let after = text.lines().skip_while(|line| !(line.starts_with("License:") && line.ends_with(value))).nth(1);
    after.is_some_and(|line| line.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &str) -> String {
        let text = format!("Metadata-Version: 2.4\nName: Some.Thing\n{fields}\n\nLicense: in the README\n");
        match of(&text) {
            Some((name, Licence::Expression(expression))) => format!("{name}: {expression}"),
            Some((name, Licence::Names(names))) => format!("{name}: {names:?}"),
            None => "none".to_owned(),
        }
    }

    #[test]
    fn the_most_exact_word_counts() {
        let classifiers = "Classifier: License :: OSI Approved :: BSD License\nClassifier: License :: OSI Approved";
        assert_eq!(told(&format!("License-Expression: MIT\n{classifiers}")), "some-thing: MIT");
        assert_eq!(told(&format!("License: BSD-3-Clause\n{classifiers}")), r#"some-thing: ["BSD-3-Clause"]"#);
        assert_eq!(told(classifiers), r#"some-thing: ["BSD License"]"#);
    }

    #[test]
    fn what_is_no_name_is_no_licence() {
        for fields in ["License: UNKNOWN", "License: Copyright me\n        All rights", "Summary: x", "License:"] {
            assert_eq!(told(fields), "none", "{fields}");
        }
        assert_eq!(told(&format!("License: {}", "long ".repeat(30))), "none");
    }
}
