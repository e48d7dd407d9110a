//! A command as it is written into pannier.toml: words, quoted as a shell quotes them, but run without a shell.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::Deserialize;

/// A command line of at least one word: `manage.py compress --force`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CommandLine {
    text: String,
    program: String,
    arguments: Vec<String>,
}

/// A text that is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A quote is opened and not closed, or the last character escapes nothing.
    #[error("`{0}` is not a command: a quote in it is not closed")]
    Quote(String),
    /// There is no word in it.
    #[error("a command is empty")]
    Empty,
}

impl CommandLine {
    /// The first word.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The words after it.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// True when the program is the project's manage.py, however its folder is written.
    pub fn is_manage(&self) -> bool {
        self.program.rsplit('/').next() == Some("manage.py")
    }
}

impl FromStr for CommandLine {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = shlex::split(text).ok_or_else(|| Error::Quote(text.to_owned()))?.into_iter();
        let program = words.next().filter(|word| !word.is_empty()).ok_or(Error::Empty)?;
        Ok(Self { text: text.to_owned(), program, arguments: words.collect() })
    }
}

impl TryFrom<String> for CommandLine {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<CommandLine, Error> {
        text.parse()
    }

    #[test]
    fn words_are_quoted_as_in_a_shell_and_nothing_is_expanded() {
        let line = parsed("npm run 'a b' \"c d\" $HOME;").unwrap();
        assert_eq!((line.program(), line.is_manage()), ("npm", false));
        assert_eq!(line.arguments(), ["run", "a b", "c d", "$HOME;"]);
        assert!(parsed("manage.py compress").unwrap().is_manage() && parsed("./src/manage.py x").unwrap().is_manage());
    }

    #[test]
    fn what_is_no_command_is_said() {
        insta::assert_snapshot!(parsed("echo 'a").unwrap_err(), @"`echo 'a` is not a command: a quote in it is not closed");
        insta::assert_snapshot!(parsed("  ").unwrap_err(), @"a command is empty");
        assert_eq!(parsed("'' x").unwrap_err(), Error::Empty);
    }
}
