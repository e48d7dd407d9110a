//! Reads one table of a configuration file, key by key, so that every complaint names the file and the key's path.
//!
//! serde could fill the structs in one call, but its errors name a line and not the key, and its unknown keys come
//! without the near names that turn a typing error into a minute's work.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pannier_shared::id;
use toml::{Table, Value};

use super::Error;

/// One table of the file, with the keys that were asked for so far.
pub struct Section<'a> {
    file: &'a Path,
    path: String,
    table: &'a Table,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Section<'a> {
    /// The file's top table.
    pub fn top(file: &'a Path, table: &'a Table) -> Self {
        Self { file, path: String::new(), table, known: RefCell::default() }
    }

    /// The error that `key` is wrong, and why.
    pub fn wrong(&self, key: &str, why: impl Into<String>) -> Error {
        Error::Wrong { file: self.file.to_owned(), key: self.path_of(key), why: why.into() }
    }

    /// After all keys were asked for: any other key is an error.
    pub fn finish(self) -> Result<(), Error> {
        let known = self.known.borrow();
        let Some(unknown) = self.table.keys().find(|key| !known.contains(key.as_str())) else { return Ok(()) };
        let near = id::near(unknown, known.iter().copied()).into_iter().map(str::to_owned).collect();
        Err(Error::Unknown { file: self.file.to_owned(), key: self.path_of(unknown), near })
    }

    /// A table below this one.
    pub fn section(&self, key: &'static str) -> Result<Option<Section<'a>>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let table = value.as_table().ok_or_else(|| self.mistyped(key, "a table", value))?;
        Ok(Some(Section { file: self.file, path: self.path_of(key), table, known: RefCell::default() }))
    }

    /// The tables below this one, whatever their names are.
    pub fn each(&self) -> impl Iterator<Item = Result<(&'a str, Section<'a>), Error>> + '_ {
        self.table.iter().map(|(key, value)| {
            let table = value.as_table().ok_or_else(|| self.mistyped(key, "a table", value))?;
            let path = self.path_of(key);
            Ok((key.as_str(), Section { file: self.file, path, table, known: RefCell::default() }))
        })
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.mistyped(key, "a text", value))
    }

    /// A text that has a form of its own.
    pub fn parsed<T>(&self, key: &'static str) -> Result<Option<T>, Error>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|error: T::Err| self.wrong(key, error.to_string()))
    }

    /// An absolute path.
    pub fn path(&self, key: &'static str) -> Result<Option<PathBuf>, Error> {
        let Some(path) = self.text(key)?.map(PathBuf::from) else { return Ok(None) };
        if path.is_absolute() { Ok(Some(path)) } else { Err(self.wrong(key, "it must be an absolute path")) }
    }

    /// A whole number within limits.
    pub fn number(&self, key: &'static str, limits: std::ops::RangeInclusive<u32>) -> Result<Option<u32>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_integer().ok_or_else(|| self.mistyped(key, "a number", value))?;
        let within = u32::try_from(number).ok().filter(|number| limits.contains(number));
        let limits = || format!("{number} is not between {} and {}", limits.start(), limits.end());
        within.map(Some).ok_or_else(|| self.wrong(key, limits()))
    }

    /// A duration such as "30s".
    pub fn duration(&self, key: &'static str) -> Result<Option<Duration>, Error> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        super::duration(text).map(Some).map_err(|why| self.wrong(key, why))
    }

    /// A list of texts that is not empty.
    pub fn words(&self, key: &'static str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let words = value
            .as_array()
            .and_then(|list| list.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>());
        let words = words
            .ok_or_else(|| self.mistyped(key, r#"a list of texts such as ["systemctl", "restart", "polls"]"#, value))?;
        if words.is_empty() { Err(self.wrong(key, "it must not be empty")) } else { Ok(Some(words)) }
    }

    /// Whether a key holds exactly this text.
    pub fn says(&self, key: &'static str, text: &str) -> bool {
        self.get(key).and_then(Value::as_str) == Some(text)
    }

    /// A table of texts under names of the writer's choice.
    pub fn texts(&self, key: &'static str) -> Result<Vec<(&'a str, &'a str)>, Error> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let table = value.as_table().ok_or_else(|| self.mistyped(key, "a table", value))?;
        let text = |(name, value): (&'a String, &'a Value)| value.as_str().map(|value| (name.as_str(), value));
        let texts: Option<Vec<_>> = table.iter().map(text).collect();
        texts.ok_or_else(|| self.wrong(key, "expected texts in it"))
    }

    fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key);
        self.table.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn mistyped(&self, key: &str, expected: &str, found: &Value) -> Error {
        let found = match found {
            Value::String(_) => "a text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        };
        self.wrong(key, format!("expected {expected}, found {found}"))
    }
}

/// Parses "500ms", "30s", "5m", "1h"; not 0, and at most a day, which no step of ours may take.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(milliseconds)?);
    (duration <= Duration::from_secs(24 * 3600)).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit() {
        for (text, seconds) in [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1h", 3600.0)] {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "30", "s", "0s", "1.5s", "1h30m", "-1s", "25h", "99999999999999999999s", "30 s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
