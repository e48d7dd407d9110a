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
