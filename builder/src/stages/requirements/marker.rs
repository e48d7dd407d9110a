//! Environment markers (PEP 508, and PEP 751's `extras` and `dependency_groups`): does a dependency apply here?
//!
//! Versions are compared as versions where both sides are some, else everything is compared as text, as the
//! specification has it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifier};

use super::normalise;

/// What markers are asked against.
#[derive(Debug, Clone, Default)]
pub struct Scene {
    /// The interpreter's variables.
    pub variables: BTreeMap<String, String>,
    /// Chosen extras, normalised.
    pub extras: BTreeSet<String>,
    /// Chosen dependency groups, normalised.
    pub groups: BTreeSet<String>,
}

/// Why a marker cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// It ends too early or goes on too long.
    #[error("it is not a marker at `{0}`")]
    Syntax(String),
    /// A name that no specification knows.
    #[error("it asks for `{0}`, which no interpreter knows")]
    Unknown(String),
}

/// True when the marker holds; the empty one does.
pub fn holds(marker: &str, scene: &Scene) -> Result<bool, Error> {
    if marker.trim().is_empty() {
        return Ok(true);
    }
    let mut reader = Reader { rest: marker.trim(), scene };
    let held = reader.any()?;
    if reader.rest.is_empty() { Ok(held) } else { Err(reader.wrong()) }
}

/// Operators; a longer one stands before its beginning.
const OPERATORS: &[&str] = &["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

struct Reader<'a> {
    rest: &'a str,
    scene: &'a Scene,
}

/// One side of a comparison.
enum Side<'a> {
    Text(String),
    Extra,
    Set(&'a BTreeSet<String>),
}

impl<'a> Reader<'a> {
    fn any(&mut self) -> Result<bool, Error> {
        let mut held = self.all()?;
        while self.take_word("or") {
            held |= self.all()?;
        }
        Ok(held)
    }

    fn all(&mut self) -> Result<bool, Error> {
        let mut held = self.one()?;
        while self.take_word("and") {
            held &= self.one()?;
        }
        Ok(held)
    }

    fn one(&mut self) -> Result<bool, Error> {
        if self.take("(") {
            let held = self.any()?;
            return if self.take(")") { Ok(held) } else { Err(self.wrong()) };
        }
        let left = self.side()?;
        let operator = self.operator()?;
        let right = self.side()?;
        self.compare(&left, &operator, &right)
    }

    fn side(&mut self) -> Result<Side<'a>, Error> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let (text, rest) = self.rest[1..].split_once(quote).ok_or_else(|| self.wrong())?;
            self.rest = rest.trim_start();
            return Ok(Side::Text(text.to_owned()));
        }
        let name = self.name();
        match name {
            "" => Err(self.wrong()),
            "extra" => Ok(Side::Extra),
            "extras" => Ok(Side::Set(&self.scene.extras)),
            "dependency_groups" => Ok(Side::Set(&self.scene.groups)),
            _ => self.variable(name),
        }
    }

    fn variable(&self, name: &str) -> Result<Side<'a>, Error> {
        // Old names that lists written long ago still use.
        let name = match name {
            "os.name" => "os_name",
            "sys.platform" => "sys_platform",
            "platform.version" => "platform_version",
            "platform.machine" => "platform_machine",
            "platform.python_implementation" | "python_implementation" => "platform_python_implementation",
            name => name,
        };
        let value = self.scene.variables.get(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
        Ok(Side::Text(value.clone()))
    }

    fn operator(&mut self) -> Result<String, Error> {
        if self.take_word("in") {
            return Ok("in".to_owned());
        }
        if self.take_word("not") {
            return if self.take_word("in") { Ok("not in".to_owned()) } else { Err(self.wrong()) };
        }
        let found = OPERATORS.iter().find(|operator| self.take(operator));
        found.map(|operator| (*operator).to_owned()).ok_or_else(|| self.wrong())
    }

    fn compare(&self, left: &Side<'_>, operator: &str, right: &Side<'_>) -> Result<bool, Error> {
        match (left, operator, right) {
            (Side::Text(name), "in", Side::Set(set)) => Ok(set.contains(&normalise(name))),
            (Side::Text(name), "not in", Side::Set(set)) => Ok(!set.contains(&normalise(name))),
            (Side::Text(name), "==", Side::Extra) | (Side::Extra, "==", Side::Text(name)) => {
                Ok(self.scene.extras.contains(&normalise(name)))
            }
            (Side::Text(name), "!=", Side::Extra) | (Side::Extra, "!=", Side::Text(name)) => {
                Ok(!self.scene.extras.contains(&normalise(name)))
            }
            (Side::Text(left), _, Side::Text(right)) => Ok(texts(left, operator, right)),
            _ => Err(Error::Syntax(operator.to_owned())),
        }
    }

    fn name(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        name
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    /// Takes a word that ends where it ends: "order" does not begin with "or".
    fn take_word(&mut self, word: &str) -> bool {
        let ends = |rest: &&str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let rest = self.rest.strip_prefix(word).filter(ends);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn wrong(&self) -> Error {
        Error::Syntax(if self.rest.is_empty() { "its end".to_owned() } else { self.rest.to_owned() })
    }
}

fn texts(left: &str, operator: &str, right: &str) -> bool {
    match operator {
        "in" => return right.contains(left),
        "not in" => return !right.contains(left),
        _ => {}
    }
    as_versions(left, operator, right).unwrap_or_else(|| match operator {
        "==" | "===" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        _ => false,
    })
}

fn as_versions(left: &str, operator: &str, right: &str) -> Option<bool> {
    let specifier = VersionSpecifier::from_str(&format!("{operator}{right}")).ok()?;
    Some(specifier.contains(&Version::from_str(left).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let variables = [("python_version", "3.11"), ("python_full_version", "3.11.7"), ("sys_platform", "linux")];
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        Scene { variables, extras: set("fast-json"), groups: set("main") }
    }

    #[test]
    fn markers_that_hold() {
        for marker in [
            "",
            "python_version >= '3.9'",
            "'3.9' <= python_version",
            "python_full_version == \"3.11.*\"",
            "python_version ~= '3.10'",
            "sys_platform == 'linux' and (python_version < '3' or python_version>'3.10')",
            "sys_platform == 'win32' or sys_platform != 'darwin'",
            "sys_platform in 'linux linux2'",
            "python_version not in '3.8, 3.9'",
            "extra == 'Fast_JSON'",
            "'fast.json' in extras and 'main' in dependency_groups and 'dev' not in dependency_groups",
            "sys.platform == 'linux'",
        ] {
            assert_eq!(holds(marker, &scene()), Ok(true), "{marker}");
        }
    }

    #[test]
    fn markers_that_do_not_hold() {
        for marker in [
            "python_version < '3.9'",
            "sys_platform == 'win32' and python_version >= '3.9' or sys_platform == 'darwin'",
            "extra == 'other'",
            "extra != 'fast-json'",
            "python_version > '3.11'",
            "python_version == '3.1'",
        ] {
            assert_eq!(holds(marker, &scene()), Ok(false), "{marker}");
        }
    }

    #[test]
    fn nonsense_says_where() {
        let told = |marker: &str| holds(marker, &scene()).unwrap_err().to_string();
        insta::assert_snapshot!(told("python_version >="), @"it is not a marker at `its end`");
        insta::assert_snapshot!(told("python_version >= '3' else"), @"it is not a marker at `else`");
        insta::assert_snapshot!(told("moon == 'full'"), @"it asks for `moon`, which no interpreter knows");
        assert!(holds("(python_version > '3'", &scene()).is_err() && holds("extra < 'x'", &scene()).is_err());
    }
}
