//! Is a lock fresh? Poetry and Pipenv write into it a hash of what they locked, taken over Python's JSON of the
//! dependency tables; this is that JSON and those two hashes.
//!
//! Source: `Locker._get_content_hash` of Poetry 2.5, `Pipfile.get_hash` of plette in Pipenv 2026.10.

use pannier_shared::digest::Digest;
use toml::{Table, Value};

/// Tables of `[tool.poetry]` that count even where they are missing, unless `[project]` says something.
const POETRY_ALWAYS: &[&str] = &["dependencies", "source", "extras", "dev-dependencies"];

/// Keys of `[project]` that count.
const PROJECT: &[&str] = &["requires-python", "dependencies", "optional-dependencies"];

/// Tables of a Pipfile that are no category of packages.
const NO_CATEGORY: &[&str] =
    &["source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop"];

/// How Python's `json.dumps` separates.
#[derive(Clone, Copy)]
struct Style {
    item: &'static str,
    key: &'static str,
}

const WIDE: Style = Style { item: ", ", key: ": " };
const NARROW: Style = Style { item: ",", key: ":" };

/// Whether `[dependency-groups]` counts in Poetry's hash: since Poetry 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// As Poetry writes it now.
    Counted,
    /// As it wrote it before.
    LeftOut,
}

/// The `content-hash` that Poetry writes for a pyproject.toml.
pub fn of_poetry(pyproject: &Table, groups: Groups) -> String {
    let table = pyproject.get("dependency-groups").filter(|table| table.as_table().is_some_and(|t| !t.is_empty()));
    let counted = table.filter(|_| groups == Groups::Counted);
    Digest::of(poetry_json(pyproject, counted).as_bytes()).to_string()
}

fn poetry_json(pyproject: &Table, groups: Option<&Value>) -> String {
    let project = pyproject.get("project").and_then(Value::as_table);
    let project: Vec<(String, String)> = project.map(|project| some(project, PROJECT)).unwrap_or_default();
    let poetry = pyproject.get("tool").and_then(|tool| tool.get("poetry")).and_then(Value::as_table);
    let poetry = poetry.cloned().unwrap_or_default();
    let mut relevant = some(&poetry, POETRY_ALWAYS);
    relevant.extend(some(&poetry, &["group"]));
    if project.is_empty() && groups.is_none() {
        let missing = POETRY_ALWAYS.iter().filter(|key| !poetry.contains_key(**key));
        relevant.extend(missing.map(|key| ((*key).to_owned(), "null".to_owned())));
        return object(relevant, WIDE);
    }
    let mut whole = vec![("tool".to_owned(), object(vec![("poetry".to_owned(), object(relevant, WIDE))], WIDE))];
    whole.extend((!project.is_empty()).then(|| ("project".to_owned(), object(project, WIDE))));
    whole.extend(groups.map(|groups| ("dependency-groups".to_owned(), json(groups, WIDE))));
    object(whole, WIDE)
}

fn some(table: &Table, keys: &[&str]) -> Vec<(String, String)> {
    let found = keys.iter().filter_map(|key| table.get(*key).map(|value| ((*key).to_owned(), json(value, WIDE))));
    found.collect()
}

/// The hash that Pipenv writes for a Pipfile.
pub fn of_pipfile(pipfile: &Table) -> String {
    let or_empty = |key: &str| pipfile.get(key).map_or_else(|| "{}".to_owned(), |value| json(value, NARROW));
    let pypi = r#"[{"name":"pypi","url":"https://pypi.org/simple","verify_ssl":true}]"#;
    let sources = pipfile.get("source").map_or_else(|| pypi.to_owned(), |value| json(value, NARROW));
    let meta = vec![("sources".to_owned(), sources), ("requires".to_owned(), or_empty("requires"))];
    let mut whole = vec![
        ("_meta".to_owned(), object(meta, NARROW)),
        ("default".to_owned(), or_empty("packages")),
        ("develop".to_owned(), or_empty("dev-packages")),
    ];
    let others = pipfile.iter().filter(|(key, _)| !NO_CATEGORY.contains(&key.as_str()));
    whole.extend(others.map(|(key, value)| (key.clone(), json(value, NARROW))));
    Digest::of(object(whole, NARROW).as_bytes()).to_string()
}

fn json(value: &Value, style: Style) -> String {
    match value {
        Value::String(text) => string(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(truth) => truth.to_string(),
        Value::Datetime(time) => string(&time.to_string()),
        Value::Array(list) => {
            let items: Vec<String> = list.iter().map(|item| json(item, style)).collect();
            format!("[{}]", items.join(style.item))
        }
        Value::Table(table) => {
            object(table.iter().map(|(key, value)| (key.clone(), json(value, style))).collect(), style)
        }
    }
}

fn object(mut members: Vec<(String, String)>, style: Style) -> String {
    members.sort();
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{}{}{value}", string(key), style.key)).collect();
    format!("{{{}}}", members.join(style.item))
}

/// A string in ASCII, as Python writes it.
fn string(text: &str) -> String {
    let escaped = |unit: u16| match char::from_u32(u32::from(unit)) {
        Some('"') => "\\\"".to_owned(),
        Some('\\') => "\\\\".to_owned(),
        Some('\n') => "\\n".to_owned(),
        Some('\r') => "\\r".to_owned(),
        Some('\t') => "\\t".to_owned(),
        Some('\u{8}') => "\\b".to_owned(),
        Some('\u{c}') => "\\f".to_owned(),
        Some(c @ ' '..='~') => c.to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", text.encode_utf16().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values are what the two tools gave for these texts.
    const CLASSIC: &str = r#"
        [tool.poetry]
        name = "site"
        [tool.poetry.dependencies]
        python = "^3.11"
        django = {version = "5.2.7", extras = ["argon2"]}
        [tool.poetry.group.dev.dependencies]
        pytest = "*"
    "#;

    const PROJECT_TEXT: &str = r#"
        [project]
        name = "site"
        requires-python = ">=3.11"
        dependencies = ["django (>=5.2,<6)", "caf\u00e9"]
        [dependency-groups]
        dev = ["pytest", {include-group = "x"}]
        x = []
        [tool.poetry.dependencies]
        inner = {path = "packages/inner"}
    "#;

    const PIPFILE: &str = r#"
        [[source]]
        url = "https://i.example/simple"
        verify_ssl = true
        name = "own"
        [packages]
        django = "==5.2.7"
        inner = {path = "./packages/inner"}
        [dev-packages]
        pytest = "*"
        [docs]
        sphinx = {version = "*", markers = "python_version > '3'"}
        [requires]
        python_version = "3.11"
        [scripts]
        a = "b"
    "#;

    fn poetry(text: &str, groups: Groups) -> String {
        of_poetry(&toml::from_str(text).unwrap(), groups)
    }

    #[test]
    fn poetry_would_write_the_same() {
        let classic = "c541d2a3a8bf15f819fa1e24cd965347fd0d450132359e5e1603ab9298fa3aba";
        assert_eq!(poetry(CLASSIC, Groups::Counted), classic);
        let counted = "403f20bd532117c2ac73aa538ecc692f809a0921ff984e5250d622e44a08478e";
        assert_eq!(poetry(PROJECT_TEXT, Groups::Counted), counted);
        let left_out = "687cfcecbe1114de4e31ab6e3b7ab0233e1365ee2e36cf9622af643c7a70a881";
        assert_eq!(poetry(PROJECT_TEXT, Groups::LeftOut), left_out);
    }

    #[test]
    fn pipenv_would_write_the_same() {
        let hash = |text: &str| of_pipfile(&toml::from_str(text).unwrap());
        assert_eq!(hash(PIPFILE), "d7514aa1d88334d1ccc2a8739d298bea5d89386b461158bc81d62f9ff820a1f4");
        let without_source = "e34336994c9a9a3f014e74492b8c604374a11b34db7a5fc7b9dcb2e1bdc5b79e";
        assert_eq!(hash("[packages]\ndjango = \"*\"\n"), without_source);
    }

    #[test]
    fn strings_are_ascii_as_python_writes_them() {
        assert_eq!(string("\"a\\\n\u{1f600}\u{7f}"), r#""\"a\\\n\ud83d\ude00\u007f""#);
    }
}
