//! What a command gives on stdout: lines for a person, or one JSON object.

use std::fmt::{self, Display};

use pannier_activator::activate::Activated;
use pannier_activator::doctor::{Finding, Verdict};
use pannier_activator::fetch::Fetched;
use pannier_activator::migrate::Moved;
use pannier_activator::plan::forecast::Forecast;
use pannier_activator::prune::Decision;
use pannier_activator::recover;
use pannier_activator::releases::{Here, Published};
use pannier_activator::repair::Repaired;
use pannier_activator::status::Status;
use pannier_activator::steps::fetch::Transferred;
use pannier_activator::units::of_release::Written;
use pannier_activator::verify::{Compared, Report};
use pannier_shared::exit::Exit;
use pannier_shared::id::{AppName, RoleName, SuiteName, Version};
use pannier_shared::report::{Style, human, result_line};
use serde::Serialize;

mod recovery;

use recovery::Recovery;

/// The result of a command.
#[derive(Debug, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Output {
    /// Of `fetch`.
    Fetch {
        /// The app.
        app: AppName,
        /// The release that is prepared now.
        version: Version,
        /// False when it was here already.
        changed: bool,
        /// Bytes that came from the store.
        bytes: u64,
        /// Requests it took.
        requests: u64,
        /// Files whose content was here already.
        reused_files: u64,
        /// Their bytes.
        reused_bytes: u64,
        /// All its files that have content.
        files: u64,
    },
    /// Of `plan`.
    Plan {
        /// The app.
        app: AppName,
        /// What a fetch would do.
        #[serde(flatten)]
        forecast: Forecast,
    },
    /// Of `activate`.
    Activate(Switched),
    /// Of `rollback`.
    Rollback(Switched),
    /// Of `migrate`.
    Migrate {
        /// The app.
        app: AppName,
        /// The release whose code it was.
        version: Version,
        /// What was applied, in order.
        applied: Vec<Moved>,
    },
    /// Of `status`.
    Status {
        /// One for each app.
        apps: Vec<Status>,
    },
    /// Of `releases`.
    Releases {
        /// The app.
        app: AppName,
        /// On this node, newest first.
        releases: Vec<Here>,
    },
    /// Of `releases --published`.
    Published {
        /// The app.
        app: AppName,
        /// In the store.
        releases: Vec<Published>,
    },
    /// Of `doctor`.
    Doctor {
        /// What was found, in the order in which it was looked at.
        findings: Vec<Finding>,
        /// How many are warnings.
        warnings: usize,
        /// How many are wrong.
        wrong: usize,
    },
    /// Of `verify`.
    Verify {
        /// The app.
        app: AppName,
        /// What was found.
        #[serde(flatten)]
        report: Report,
    },
    /// Of `verify --all`.
    VerifyAll {
        /// The app.
        app: AppName,
        /// What was found, by release.
        releases: Vec<Compared>,
    },
    /// Of `repair`.
    Repair {
        /// The app.
        app: AppName,
        /// What was done, in order.
        releases: Vec<Repaired>,
    },
    /// Of `prune`.
    Prune {
        /// The app.
        app: AppName,
        /// What became of each release, or would.
        releases: Vec<Decision>,
    },
    /// Of `recover`.
    Recover(Recovery),
    /// Of `units`.
    Units {
        /// The app.
        app: AppName,
        /// The units.
        #[serde(flatten)]
        units: Written,
    },
}

/// What an activation came to.
#[derive(Debug, Serialize)]
pub struct Switched {
    app: AppName,
    /// The release that serves.
    version: Version,
    /// False when it served already.
    changed: bool,
    /// What served before.
    before: Option<Version>,
}

impl Switched {
    /// `version` serves now.
    pub fn to(app: AppName, version: Version, activated: Activated) -> Self {
        match activated {
            Activated::Already => Self { app, version, changed: false, before: None },
            Activated::Now { before } => Self { app, version, changed: true, before },
        }
    }
}

impl Output {
    /// Of a fetch.
    pub fn fetched(app: AppName, fetched: Fetched) -> Self {
        let changed = fetched.moved.is_some();
        let Transferred { bytes, requests, reused_files, reused_bytes, files } = fetched.moved.unwrap_or_default();
        Output::Fetch { app, version: fetched.version, changed, bytes, requests, reused_files, reused_bytes, files }
    }

    /// Of an examination.
    pub fn doctor(findings: Vec<Finding>) -> Self {
        let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (warnings, wrong) = (count(Verdict::Warning), count(Verdict::Wrong));
        Output::Doctor { findings, warnings, wrong }
    }

    /// Of a recovery.
    pub fn recovered(suite: SuiteName, role: RoleName, recovery: recover::Recovery) -> Self {
        Output::Recover(Recovery::of(suite, role, recovery))
    }

    /// What the program ends with: a release that is not as it was signed is a result, and not a success.
    pub fn exit(&self) -> Exit {
        match self {
            Output::Doctor { wrong: 1.., .. } => Exit::Refused,
            Output::Recover(recovery) => recovery.exit(),
            Output::Verify { report, .. } if !report.damaged.is_empty() => Exit::Verification,
            Output::VerifyAll { releases, .. } if !releases.iter().all(is_sound) => Exit::Verification,
            _ => Exit::Done,
        }
    }

    /// The text to print, with its final newline.
    pub fn text(&self, style: Style) -> String {
        if style == Style::Json { result_line(self) } else { self.to_string() }
    }
}

impl Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Fetch { version, changed: false, .. } => writeln!(f, "{version} is prepared already"),
            Output::Fetch { version, bytes, reused_files: 0, .. } => {
                writeln!(f, "{version} is prepared ({} fetched)", human::bytes(*bytes))
            }
            Output::Fetch { version, bytes, reused_files, files, .. } => {
                let (here, files) = (human::number(*reused_files), human::number(*files));
                writeln!(
                    f,
                    "{version} is prepared ({} fetched, {here} of {files} files were here)",
                    human::bytes(*bytes)
                )
            }
            Output::Plan { forecast, .. } => forecast.fmt(f),
            Output::Activate(switched) | Output::Rollback(switched) => switched.fmt(f),
            Output::Migrate { version, applied, .. } => match applied.len() {
                0 => writeln!(f, "all migrations of {version} are applied already"),
                1 => writeln!(f, "1 migration of {version} was applied"),
                count => writeln!(f, "{count} migrations of {version} were applied"),
            },
            Output::Status { apps } => apps.iter().try_for_each(|status| status.fmt(f)),
            Output::Releases { releases, .. } => lines(f, releases),
            Output::Published { releases, .. } => lines(f, releases),
            Output::Doctor { findings, warnings, wrong } => examined(f, findings, *warnings, *wrong),
            Output::Verify { report, .. } => verified(f, report),
            Output::VerifyAll { releases, .. } => releases.iter().try_for_each(|compared| match compared {
                Compared::Report(report) => verified(f, report),
                Compared::Unproven { version, error } => writeln!(f, "{version} cannot be compared: {error}"),
            }),
            Output::Repair { releases, .. } => releases.iter().try_for_each(|repaired| mended(f, repaired)),
            Output::Prune { releases, .. } => {
                releases.iter().try_for_each(|Decision { version, verdict }| writeln!(f, "{version} {verdict}"))
            }
            Output::Recover(recovery) => recovery.fmt(f),
            Output::Units { units, .. } => written(f, units),
        }
    }
}

impl Display for Switched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, self.changed) {
            (_, false) => writeln!(f, "{} serves already", self.version),
            (Some(before), _) => writeln!(f, "{} serves (before: {before})", self.version),
            (None, _) => writeln!(f, "{} serves", self.version),
        }
    }
}

fn lines(f: &mut fmt::Formatter<'_>, rows: &[impl Display]) -> fmt::Result {
    rows.iter().try_for_each(|row| writeln!(f, "{row}"))
}

fn examined(f: &mut fmt::Formatter<'_>, findings: &[Finding], warnings: usize, wrong: usize) -> fmt::Result {
    lines(f, findings)?;
    let plural = |count, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let (things, warnings) = (plural(wrong, "thing"), plural(warnings, "warning"));
    match wrong {
        0 => writeln!(f, "nothing is wrong ({warnings})"),
        1 => writeln!(f, "{things} is wrong ({warnings})"),
        _ => writeln!(f, "{things} are wrong ({warnings})"),
    }
}

fn written(f: &mut fmt::Formatter<'_>, units: &Written) -> fmt::Result {
    match &units.written {
        Some(paths) => lines(f, paths),
        None => units.files.iter().try_for_each(|file| writeln!(f, "### {}\n{}", file.path, file.text)),
    }
}

fn verified(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    for finding in &report.damaged {
        writeln!(f, "{}: {}", human::harmless(&finding.path), finding.damage)?;
    }
    let Report { version, entries, bytes, kinds, damaged } = report;
    let size = format!("({} entries, {})", human::number(*entries), human::bytes(*bytes));
    let kinds = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ");
    match damaged.len() {
        0 => writeln!(f, "{version} is as it was signed {size}"),
        1 => writeln!(f, "{version} is damaged in 1 place: {kinds} {size}"),
        count => writeln!(f, "{version} is damaged in {count} places: {kinds} {size}"),
    }
}

fn is_sound(compared: &Compared) -> bool {
    matches!(compared, Compared::Report(report) if report.damaged.is_empty())
}

fn mended(f: &mut fmt::Formatter<'_>, repaired: &Repaired) -> fmt::Result {
    let Repaired { version, damaged, records, bytes, .. } = repaired;
    if !repaired.was_damaged() {
        return writeln!(f, "{version} is as it was signed");
    }
    for finding in damaged {
        writeln!(f, "{}: {}", human::harmless(&finding.path), finding.damage)?;
    }
    if let Some(why) = records {
        writeln!(f, "its records: {why}")?;
    }
    writeln!(f, "{version} is mended ({} fetched)", human::bytes(*bytes))
}
