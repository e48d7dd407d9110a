//! What a settings module was probably missing (a variable, a module, a file), read from its traceback.

/// What to write into pannier.toml, or what else to do: from the variable that Python knows was asked for, else from the
/// traceback's words. `settings` is the module that was being loaded, where that is known.
pub fn hint(traceback: &str, variable: Option<&str>, settings: Option<&str>) -> Option<String> {
    let field = missing_field(traceback);
    if let Some(variable) = variable.or_else(|| missing_variable(traceback)).or(field.as_deref()) {
        return Some(format!(
            "the variable `{variable}` is probably missing; a build needs no secrets, so give it a placeholder in \
             pannier.toml:\n\n[build.env]\n{variable} = \"only-for-the-build\""
        ));
    }
    if let Some(file) = missing_file(traceback) {
        return Some(format!(
            "a build has the files that git tracks, less what is excluded: if `{file}` is one of the app's, track it; if \
             it is made on the node, let the settings do without it here, or take its name from a variable"
        ));
    }
    if let Some(file) = missing_reference(traceback) {
        return Some(format!(
            "a static file refers to `{file}`, and no finder has that: add it, or correct what refers to it; where that is a \
             package's, use a storage of your own whose `hashed_name` returns the plain name when it raises ValueError"
        ));
    }
    let module = last_line(traceback)?.strip_prefix("ModuleNotFoundError: No module named ")?;
    if settings.is_some_and(|settings| is_at_or_above(bare(module), settings)) {
        return Some(
            "name the settings module with `--settings` or `settings = \"mysite.settings\"` in pannier.toml".to_owned(),
        );
    }
    Some(format!(
        "if {module} is a dependency, add it to the requirements; if it is the project's own, it is not packed"
    ))
}

/// True for `mysite` and `mysite.settings` of the module `mysite.settings`.
fn is_at_or_above(module: &str, settings: &str) -> bool {
    settings.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The variable that an error speaks of, in the words of django-environ, decouple, environs and Django.
fn missing_variable(traceback: &str) -> Option<&str> {
    traceback.lines().rev().find_map(|line| {
        let (kind, said) = line.split_once(": ")?;
        match kind.rsplit(['.', ' ']).next()? {
            "ImproperlyConfigured" | "UndefinedValueError" | "EnvError" | "EnvNotSetError" | "ValidationError" => {
                said.split_whitespace().map(bare).find(|word| is_variable(word))
            }
            _ => None,
        }
    })
}

/// The variable of a field that pydantic's settings lack: its name, or its alias, stands in the line before.
fn missing_field(traceback: &str) -> Option<String> {
    let lines: Vec<&str> = traceback.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with("Field required [type=missing"))?;
    Some(lines.get(at.checked_sub(1)?)?.to_uppercase()).filter(|name| is_variable(name))
}

/// The file that an error, or what it was raised from, says is not there.
fn missing_file(traceback: &str) -> Option<&str> {
    let said = traceback.lines().rev().find_map(|line| Some(line.split_once("FileNotFoundError: ")?.1))?;
    said.split(['\'', '"']).nth(1)
}

/// The file that a manifest storage of Django or WhiteNoise was led to by another, and that is not there.
fn missing_reference(traceback: &str) -> Option<&str> {
    let (before, _) = traceback.split_once(" could not be found with <")?;
    before.rsplit_once("The file ")?.1.split(['\'', '"']).nth(1)
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Upper-case, as variables are: `SECRET_KEY`, but neither `The` nor `URL`.
fn is_variable(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    word.len() > 3 && word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(allowed)
}

fn last_line(traceback: &str) -> Option<&str> {
    traceback.lines().rev().map(str::trim).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_usual_libraries_are_understood() {
        for (line, variable) in [
            (
                "django.core.exceptions.ImproperlyConfigured: Set the DATABASE_URL environment variable",
                Some("DATABASE_URL"),
            ),
            (
                "decouple.UndefinedValueError: SECRET_KEY not found. Declare it as envvar or define a default value.",
                Some("SECRET_KEY"),
            ),
            ("environs.exceptions.EnvNotSetError: Environment variable \"API_TOKEN\" not set", Some("API_TOKEN")),
            (
                "ImproperlyConfigured: Set the SECRET_KEY environment variable\nbecause of KeyError: 'SECRET_KEY'",
                Some("SECRET_KEY"),
            ),
            ("environs.exceptions.EnvError: Environment variable \"API_TOKEN\" not set", Some("API_TOKEN")),
            (
                "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
                Some("SECRET_KEY"),
            ),
            ("KeyError: 'default'", None),
            ("ZeroDivisionError: division by zero", None),
        ] {
            assert_eq!(missing_variable(line), variable, "{line}");
        }
    }

    #[test]
    fn a_field_that_pydantic_misses_is_the_variable_of_that_name() {
        let traceback = "\
pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings
secret_key
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.13/v/missing
";
        assert_eq!(missing_field(traceback).as_deref(), Some("SECRET_KEY"));
        assert_eq!(missing_field("Field required [type=missing"), None);
    }

    #[test]
    fn a_file_that_another_static_file_refers_to_is_named() {
        let traceback = "\
whitenoise.storage.MissingFileError: The file 'css/a.css.map' could not be found with <whitenoise.storage.X object at 0x7f>.

The CSS file 'css/a.css' references a file which could not be found:
  css/a.css.map
";
        insta::assert_snapshot!(hint(traceback, None, None).unwrap(), @"a static file refers to `css/a.css.map`, and no finder has that: add it, or correct what refers to it; where that is a package's, use a storage of your own whose `hashed_name` returns the plain name when it raises ValueError");
    }

    #[test]
    fn a_missing_file_is_named() {
        let traceback = "FileNotFoundError: [Errno 2] No such file or directory: 'conf/site.ini'";
        insta::assert_snapshot!(hint(traceback, None, None).unwrap(), @"a build has the files that git tracks, less what is excluded: if `conf/site.ini` is one of the app's, track it; if it is made on the node, let the settings do without it here, or take its name from a variable");
    }

    #[test]
    fn a_missing_module_is_told_apart() {
        insta::assert_snapshot!(hint("ModuleNotFoundError: No module named 'environ'", None, Some("mysite.settings")).unwrap(), @"if 'environ' is a dependency, add it to the requirements; if it is the project's own, it is not packed");
        for missing in ["mysite", "mysite.setings"] {
            let traceback = format!("ModuleNotFoundError: No module named '{missing}'");
            insta::allow_duplicates! {
                insta::assert_snapshot!(hint(&traceback, None, Some("mysite.setings")).unwrap(), @r#"name the settings module with `--settings` or `settings = "mysite.settings"` in pannier.toml"#);
            }
        }
    }
}
