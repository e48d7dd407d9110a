//! What `recover` gives: a line for each app, with what is true of it now or what went wrong and what to type.

use std::fmt::{self, Display};
use std::path::PathBuf;

use pannier_activator::recover::{self, Came, Recovered};
use pannier_shared::digest::Digest;
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, RoleName, SuiteName, Version};
use pannier_shared::report::{Failure, human};
use serde::Serialize;

use crate::cli::failure::Error;

/// A recovery, app by app.
#[derive(Debug, Serialize)]
pub struct Recovery {
    suite: SuiteName,
    serial: u64,
    role: RoleName,
    /// In the order in which they were brought back.
    apps: Vec<Row>,
    /// Bytes that came from the store.
    bytes: u64,
    seconds: f64,
    /// The report of a drill.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<PathBuf>,
}

/// One app.
#[derive(Debug, Serialize)]
struct Row {
    app: AppName,
    /// `@CHANNEL`, or a version.
    runs: String,
    version: Option<Version>,
    /// SHA-256 of the release's statement.
    statement: Option<Digest>,
    /// Bytes that came from the store.
    bytes: u64,
    /// Requests it took.
    requests: u64,
    /// Files whose content was here already.
    reused_files: u64,
    /// From its turn until it was here.
    fetch_seconds: f64,
    /// From its turn until it served.
    seconds: f64,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// It serves now.
    Serves,
    /// It served already.
    Served,
    /// It is in the drill's folder, and was read back.
    Proven,
    /// It does not serve.
    Failed,
}

/// What went wrong, as it is said when it is the only thing that was typed.
#[derive(Debug, Serialize)]
struct Told {
    exit: u8,
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    #[serde(skip)]
    status: Exit,
}

impl Recovery {
    pub(super) fn of(suite: SuiteName, role: RoleName, recovery: recover::Recovery) -> Self {
        let recover::Recovery { serial, apps, took, report } = recovery;
        let apps: Vec<Row> = apps.into_iter().map(Row::of).collect();
        let bytes = apps.iter().map(|row| row.bytes).sum();
        Self { suite, serial, role, apps, bytes, seconds: seconds(took), report }
    }

    /// What those that failed have in common, else that a person is needed.
    pub(super) fn exit(&self) -> Exit {
        let mut failed = self.apps.iter().filter_map(|row| row.failure.as_ref()).map(|told| told.status);
        match failed.next() {
            None => Exit::Done,
            Some(first) if failed.all(|status| status == first) => first,
            Some(_) => Exit::Mixed,
        }
    }
}

impl Row {
    fn of(recovered: Recovered) -> Self {
        let Recovered { app, runs, version, statement, moved, fetching, took, came } = recovered;
        let (verdict, failure) = match came {
            Ok(Came::Serves) => (Verdict::Serves, None),
            Ok(Came::Served) => (Verdict::Served, None),
            Ok(Came::Proven(_)) => (Verdict::Proven, None),
            Err(trouble) => (Verdict::Failed, Some(Told::of(trouble))),
        };
        let moved = moved.unwrap_or_default();
        Self {
            app,
            runs: runs.to_string(),
            version,
            statement,
            bytes: moved.bytes,
            requests: moved.requests,
            reused_files: moved.reused_files,
            fetch_seconds: seconds(fetching),
            seconds: seconds(took),
            verdict,
            failure,
        }
    }
}

impl Told {
    fn of(trouble: recover::Trouble) -> Self {
        let Failure { exit, message, causes, hints, .. } = Error::from(trouble).into_failure(None);
        Self { exit: exit.code(), message, causes, hints, status: exit }
    }
}

fn seconds(took: std::time::Duration) -> f64 {
    (took.as_secs_f64() * 1e3).round() / 1e3
}

impl Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.apps.iter().try_for_each(|row| row.fmt(f))?;
        let Self { suite, serial, role, apps, bytes, seconds, report } = self;
        let failed = apps.iter().filter(|row| row.verdict == Verdict::Failed).count();
        let bytes = human::bytes(*bytes);
        let back = apps.len() - failed;
        writeln!(
            f,
            "{back} of {} apps of {suite}/{role} (serial {serial}) are back: {bytes} in {seconds:.1} s",
            apps.len()
        )?;
        report.iter().try_for_each(|report| writeln!(f, "{}", report.display()))
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { app, runs, version, statement, bytes, seconds, verdict, failure, .. } = self;
        let version = version.as_ref().map_or(runs.as_str(), Version::as_str);
        let word = match verdict {
            Verdict::Serves => "serves",
            Verdict::Served => "served already",
            Verdict::Proven => "is here and proven",
            Verdict::Failed => "FAILED",
        };
        let app = app.as_str();
        write!(f, "{app:<20} {version:<20} {:>10} {seconds:>7.1} s  {word}", human::bytes(*bytes))?;
        match (failure, statement) {
            (Some(told), _) => told.fmt(f),
            (None, Some(statement)) => writeln!(f, "  sha256:{statement}"),
            (None, None) => writeln!(f),
        }
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, ": {}", human::harmless(&self.message))?;
        for cause in &self.causes {
            writeln!(f, "  caused by: {}", human::harmless(cause))?;
        }
        self.hints.iter().try_for_each(|hint| writeln!(f, "  hint: {}", human::harmless(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(app: &str, verdict: Verdict) -> Row {
        Row {
            app: app.parse().unwrap(),
            runs: "@production".to_owned(),
            version: Some("2026.11.20".parse().unwrap()),
            statement: Some(Digest::of(b"")),
            bytes: 12_345_678,
            requests: 7,
            reused_files: 0,
            fetch_seconds: 1.25,
            seconds: 2.5,
            verdict,
            failure: None,
        }
    }

    fn told(status: Exit) -> Option<Told> {
        let (message, causes) = ("failed to fetch `shop`".to_owned(), vec!["the store is away".to_owned()]);
        Some(Told { exit: status.code(), message, causes, hints: vec!["type it again".to_owned()], status })
    }

    fn recovery(apps: Vec<Row>) -> Recovery {
        let (suite, role) = ("production".parse().unwrap(), "web".parse().unwrap());
        Recovery { suite, serial: 3, role, apps, bytes: 24_691_356, seconds: 2.75, report: None }
    }

    #[test]
    fn each_app_has_a_line_and_what_failed_says_why_and_what_to_type() {
        let failed = Row {
            version: None,
            statement: None,
            bytes: 0,
            failure: told(Exit::Store),
            ..row("shop", Verdict::Failed)
        };
        let text = recovery(vec![row("polls", Verdict::Serves), row("blog", Verdict::Served), failed]).to_string();
        insta::assert_snapshot!(text, @"
        polls                2026.11.20              12.3 MB     2.5 s  serves  sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        blog                 2026.11.20              12.3 MB     2.5 s  served already  sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        shop                 @production                 0 B     2.5 s  FAILED: failed to fetch `shop`
          caused by: the store is away
          hint: type it again
        2 of 3 apps of production/web (serial 3) are back: 24.7 MB in 2.8 s
        ");
    }

    #[test]
    fn the_status_is_what_those_that_failed_have_in_common() {
        let failed = |status| Row { failure: told(status), ..row("shop", Verdict::Failed) };
        let exit = |rows| recovery(rows).exit();
        assert_eq!(exit(vec![row("polls", Verdict::Serves)]), Exit::Done);
        assert_eq!(exit(vec![row("polls", Verdict::Serves), failed(Exit::Store), failed(Exit::Store)]), Exit::Store);
        assert_eq!(exit(vec![failed(Exit::Store), failed(Exit::Refused)]), Exit::Mixed);
    }
}
