//! How a program ends badly: one error with its causes, what serves now, and what to do about it, in one place.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use super::{CYAN, Colour, RED, Style, human, paint};
use crate::exit::Exit;

/// What a program's `main` makes of a typed error: everything a person, or a machine, is told about it.
#[derive(Debug)]
pub struct Failure {
    /// What the program ends with.
    pub exit: Exit,
    /// What failed: the error's own words.
    pub message: String,
    /// Why, from near to far: the words of each error below it.
    pub causes: Vec<String>,
    /// The release that serves now, on a node.
    pub serving: Option<String>,
    /// What to do or look at, best first.
    pub hints: Vec<String>,
}

/// The failure as a JSON line.
#[derive(Serialize)]
#[serde(tag = "event", rename = "error")]
struct Line<'a> {
    exit: u8,
    message: &'a str,
    causes: &'a [String],
    serving: Option<&'a str>,
    hints: &'a [String],
}

impl Failure {
    /// Takes an error and all that stands below it.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut below = error.source();
        while let Some(cause) = below {
            causes.push(cause.to_string());
            below = cause.source();
        }
        Self { exit, message: error.to_string(), causes, serving: None, hints: Vec::new() }
    }

    /// A command line that was not understood, from the text that the parser has for people: its first paragraph, and
    /// the usage where it shows one.
    pub fn of_usage(text: &str) -> Self {
        let mut paragraphs = text.trim().split("\n\n");
        let message = paragraphs.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let usage = paragraphs.find_map(|paragraph| paragraph.strip_prefix("Usage: "));
        let hints = vec![usage.map_or_else(|| "try `--help`".to_owned(), |usage| format!("type it as `{usage}`"))];
        Self { exit: Exit::Usage, message, causes: Vec::new(), serving: None, hints }
    }

    /// Where a disk was full, it is the machine that has to be looked at, also when it was another program that met
    /// it first (a tool of the build, say): the status and the hint say so. `folder` is where most is written.
    pub fn or_full_disk(mut self, folder: &Path) -> Self {
        let is_full = self.causes.iter().any(|cause| cause.contains("No space left on device"));
        if is_full && matches!(self.exit, Exit::Machine | Exit::Program) {
            let folder = folder.display();
            self.exit = Exit::Machine;
            self.hints = vec![format!("see what takes it: `df -h {folder}; df -i {folder}`")];
        }
        self
    }

    /// Says which release serves now.
    pub fn serving(mut self, release: impl Into<String>) -> Self {
        self.serving = Some(release.into());
        self
    }

    /// Adds hints.
    pub fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }

    /// The text to print, with its final newline: for people on stderr, with [`Style::Json`] one line on stdout.
    pub fn render(&self, style: Style) -> String {
        match style {
            Style::Json => self.json(),
            Style::Plain => self.text(Colour::Off),
            Style::Bars(colour) => self.text(colour),
        }
    }

    fn text(&self, colour: Colour) -> String {
        let mut out = format!("{}: {}\n", paint("error", RED, colour), human::harmless(&self.message));
        for cause in &self.causes {
            let _ = writeln!(out, "  caused by: {}", human::harmless(cause));
        }
        if let Some(release) = &self.serving {
            let _ = writeln!(out, "\n{}: {}", paint("serving", CYAN, colour), human::harmless(release));
        }
        for (at, hint) in self.hints.iter().enumerate() {
            let gap = if at == 0 { "\n" } else { "" };
            let _ = writeln!(out, "{gap}{}: {}", paint("hint", CYAN, colour), human::harmless(hint));
        }
        out
    }

    fn json(&self) -> String {
        let Self { exit, message, causes, serving, hints } = self;
        let line = Line { exit: exit.code(), message, causes, serving: serving.as_deref(), hints };
        // Strings and a number always serialise.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to fetch `polls` v2")]
    struct Top(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("the release statement is refused")]
    struct Middle(#[source] std::io::Error);

    fn failure() -> Failure {
        let top = Top(Middle(std::io::Error::other("not signed\x07 by \"us\"")));
        Failure::of(Exit::Verification, &top)
            .serving("v1")
            .hints(["see `pannier keys show`".to_owned(), "or ask".to_owned()])
    }

    #[test]
    fn for_a_person() {
        insta::assert_snapshot!(failure().render(Style::Plain), @r#"
        error: failed to fetch `polls` v2
          caused by: the release statement is refused
          caused by: not signed\u{7} by "us"

        serving: v1

        hint: see `pannier keys show`
        hint: or ask
        "#);
        assert_eq!(failure().render(Style::Bars(Colour::Off)), failure().render(Style::Plain));
    }

    #[test]
    fn for_a_person_in_colour() {
        insta::assert_snapshot!(failure().render(Style::Bars(Colour::On)).replace('\x1b', "^"), @r#"
        ^[1;31merror^[0m: failed to fetch `polls` v2
          caused by: the release statement is refused
          caused by: not signed\u{7} by "us"

        ^[1;36mserving^[0m: v1

        ^[1;36mhint^[0m: see `pannier keys show`
        ^[1;36mhint^[0m: or ask
        "#);
    }

    #[test]
    fn with_nothing_to_add() {
        let short = Failure::of(Exit::Unexpected, &std::io::Error::other("broken"));
        insta::assert_snapshot!(short.render(Style::Plain), @"error: broken");
    }

    #[test]
    fn a_full_disk_is_the_machines_whoever_says_so() {
        let mut failure = failure().or_full_disk(Path::new("/srv/polls"));
        assert_eq!(failure.exit, Exit::Verification, "nothing speaks of a full disk");
        failure.exit = Exit::Program;
        failure.causes.push("`uv` failed:\n  | No space left on device (os error 28)".to_owned());
        let failure = failure.or_full_disk(Path::new("/srv/polls"));
        assert_eq!((failure.exit, failure.hints.len()), (Exit::Machine, 1));
        assert_eq!(failure.hints[0], "see what takes it: `df -h /srv/polls; df -i /srv/polls`");
    }

    #[test]
    fn a_command_line_that_is_not_understood() {
        let text =
            "error: unexpected argument '--nope' found\n\n  tip: x\n\nUsage: pannier version [OPTIONS]\n\nFor more";
        insta::assert_snapshot!(Failure::of_usage(text).render(Style::Json), @r#"{"event":"error","exit":2,"message":"unexpected argument '--nope' found","causes":[],"serving":null,"hints":["type it as `pannier version [OPTIONS]`"]}"#);
    }

    #[test]
    fn for_a_machine() {
        insta::assert_snapshot!(failure().render(Style::Json), @r#"{"event":"error","exit":4,"message":"failed to fetch `polls` v2","causes":["the release statement is refused","not signed\u0007 by \"us\""],"serving":"v1","hints":["see `pannier keys show`","or ask"]}"#);
    }
}
