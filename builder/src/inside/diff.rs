//! `pannier diff`: in what two releases differ, and what a node that has the first will fetch for the second.
//!
//! What is fetched is worked out with the code that nodes fetch by (`archive::ranges`): the end of the artifact with
//! the tables that change with every release, the others that the first release does not have, and the frames with a file whose content it does not have, neighbours
//! merged to requests. So it is exact for a node that has the first release and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;

use pannier_shared::archive::compare::{Aspect, Change, Comparison};
use pannier_shared::archive::ranges::{self, Cost, Run};
use pannier_shared::archive::read;
use pannier_shared::archive::toc::{Class, FileRow};
use pannier_shared::digest::Digest;
use pannier_shared::id::{AppName, Target, Version};
use pannier_shared::report::human;
use pannier_shared::statement::{Dependency, Description, SharedPath};
use serde::Serialize;

use super::migrations::{self, Early, IN_TWO_RELEASES};
use super::{Inside, class_name, python};

/// Whether files are named, or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Counted by part.
    Counts,
    /// Named too.
    Files,
}

/// The difference of two releases.
#[derive(Debug, Serialize)]
pub struct Difference {
    from: Side,
    to: Side,
    /// What their statements say differently.
    settings: Vec<Setting>,
    /// Dependencies that are not the same file.
    dependencies: Vec<Moved>,
    /// Migrations that only one has, or that have another text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    migrations: Vec<migrations::Moved>,
    /// What the second drops while the first has it in its models.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    early_drops: Vec<Early>,
    /// Files and links by part; parts with neither are left out.
    parts: Vec<Part>,
    /// Files and links that differ, when they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileChange>>,
    fetch: Fetch,
}

/// One of the two.
#[derive(Debug, Serialize)]
struct Side {
    app: AppName,
    version: Version,
    target: Target,
    /// SHA-256 of its artifact.
    artifact: Digest,
}

/// Something that two statements say differently; absent where one says nothing.
#[derive(Debug, Serialize)]
pub struct Setting {
    what: &'static str,
    from: Option<String>,
    to: Option<String>,
}

/// A dependency that differs; a version is absent where the release does not have it.
#[derive(Debug, Serialize)]
struct Moved {
    name: String,
    from: Option<String>,
    to: Option<String>,
}

/// What became of the files and links of one class.
#[derive(Debug, Serialize)]
struct Part {
    part: Class,
    #[serde(flatten)]
    counts: Counts,
}

/// How many of each.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Counts {
    kept: u64,
    changed: u64,
    added: u64,
    removed: u64,
}

/// A file or link that differs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct FileChange {
    path: String,
    change: Kind,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Changed,
    /// Only its mode changed.
    Mode,
    Added,
    Removed,
}

/// What a node that has the first release, and nothing else, takes from the store for the second.
#[derive(Debug, Serialize)]
struct Fetch {
    /// Files whose content it does not have.
    files: u64,
    /// Bytes, with the end of the artifact and the tables.
    bytes: u64,
    requests: u64,
    /// Bytes of the whole artifact.
    artifact: u64,
}

impl Difference {
    /// Compares two releases.
    pub fn of(from: &Inside, to: &Inside, detail: Detail) -> Result<Self, read::Error> {
        let (parts, files) = files(from, to);
        let (before, after) = (&from.release().migrations, &to.release().migrations);
        Ok(Self {
            from: Side::of(from),
            to: Side::of(to),
            settings: settings(from.release(), to.release()),
            dependencies: dependencies(&from.release().dependencies, &to.release().dependencies),
            migrations: migrations::moved(before, after),
            early_drops: migrations::early(before, after),
            parts,
            files: (detail == Detail::Files).then_some(files),
            fetch: Fetch::of(from, to)?,
        })
    }
}

impl Side {
    fn of(inside: &Inside) -> Self {
        let Description { app, version, target, .. } = inside.release().clone();
        Self { app, version, target, artifact: inside.statement.artifact.sha256 }
    }
}

/// What a statement says beside its dependencies, each with its name.
fn said(release: &Description) -> Vec<(&'static str, Option<String>)> {
    let django = &release.django;
    let commit = |dirty| if dirty { ", and changes that are not in it" } else { "" };
    vec![
        ("app", Some(release.app.to_string())),
        ("target", Some(release.target.to_string())),
        ("commit", release.source.as_ref().map(|source| format!("{}{}", source.commit, commit(source.dirty)))),
        ("python", Some(python(&release.interpreter))),
        ("built on", release.built_on.as_ref().map(Target::to_string)),
        ("libc", release.libc_floor.clone()),
        ("settings", Some(django.settings.clone())),
        ("folder", Some(django.folder.clone())),
        ("wsgi", django.wsgi.clone()),
        ("asgi", django.asgi.clone()),
        ("static URL", Some(django.static_url.clone())),
        ("hashed names", Some(if django.static_hashed { "yes" } else { "no" }.to_owned())),
        ("processes", processes(release)),
        ("shared folders", shared(release.running.shared.folders())),
        ("shared files", shared(release.running.shared.files())),
        ("built by", Some(format!("pannier {}", release.built_by))),
    ]
}

/// All processes in one line; nothing where there are none.
fn processes(release: &Description) -> Option<String> {
    let processes = &release.running.processes;
    let told: Vec<String> = processes.iter().map(|process| format!("{}: {}", process.name, process.command)).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// All paths in one line; nothing where there are none.
fn shared(paths: &[SharedPath]) -> Option<String> {
    let paths: Vec<&str> = paths.iter().map(SharedPath::as_str).collect();
    (!paths.is_empty()).then(|| paths.join(", "))
}

/// What two releases say differently of themselves, dependencies aside.
pub fn settings(from: &Description, to: &Description) -> Vec<Setting> {
    let pairs = said(from).into_iter().zip(said(to)).filter(|(from, to)| from != to);
    pairs.map(|((what, from), (_, to))| Setting { what, from, to }).collect()
}

fn dependencies(from: &[Dependency], to: &[Dependency]) -> Vec<Moved> {
    let by_name = |list: &'_ [Dependency]| -> BTreeMap<String, Dependency> {
        list.iter().map(|dependency| (dependency.name.clone(), dependency.clone())).collect()
    };
    let (from, to) = (by_name(from), by_name(to));
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let differing = names.into_iter().filter(|name| from.get(*name) != to.get(*name));
    let version = |side: &BTreeMap<String, Dependency>, name: &str| side.get(name).map(|found| found.version.clone());
    differing.map(|name| Moved { name: name.clone(), from: version(&from, name), to: version(&to, name) }).collect()
}

/// Counts by part, and the differing files sorted by path.
fn files(from: &Inside, to: &Inside) -> (Vec<Part>, Vec<FileChange>) {
    let mut comparison = Comparison::with(to.contents.tables());
    let mut counts: BTreeMap<Class, Counts> = BTreeMap::new();
    let mut files = Vec::new();
    for (class, _, _, table) in from.groups() {
        for (path, change) in comparison.take(table) {
            let counts = counts.entry(class).or_default();
            let kind = match change {
                Change::Kept => {
                    counts.kept += 1;
                    continue;
                }
                Change::Changed(Aspect::Mode { .. }) => (&mut counts.changed, Kind::Mode),
                Change::Changed(_) => (&mut counts.changed, Kind::Changed),
                Change::Removed => (&mut counts.removed, Kind::Removed),
            };
            *kind.0 += 1;
            files.push(FileChange { path: path.to_owned(), change: kind.1 });
        }
    }
    let classes: Vec<Class> = to.groups().map(|group| group.0).collect();
    for (group, path) in comparison.added() {
        counts.entry(classes[group]).or_default().added += 1;
        files.push(FileChange { path: path.to_owned(), change: Kind::Added });
    }
    files.sort();
    (counts.into_iter().map(|(part, counts)| Part { part, counts }).collect(), files)
}

impl Fetch {
    fn of(from: &Inside, to: &Inside) -> Result<Self, read::Error> {
        let (cost, contents) = (Cost::default(), &to.contents);
        let here: HashSet<Digest> = from.contents.files().map(|file| file.sha256).collect();
        let wanted: Vec<bool> = contents.files().map(|file| is_wanted(file, &here)).collect();
        let artifact = &to.statement.artifact;
        let end = ranges::end(artifact, Some(&from.contents.outline().root().groups))?;
        let runs =
            [tables(from, to, &end, &cost), ranges::frames(contents, |file| wanted[file], |_| false, &cost)].concat();
        Ok(Self {
            files: wanted.iter().filter(|wanted| **wanted).count() as u64,
            bytes: (end.end - end.start) + runs.iter().map(Run::length).sum::<u64>(),
            requests: 1 + runs.len() as u64,
            artifact: artifact.size,
        })
    }
}

/// Content counts, whatever its path and mode were: a node copies what it cannot link.
fn is_wanted(file: &FileRow, here: &HashSet<Digest>) -> bool {
    file.size > 0 && !here.contains(&file.sha256)
}

/// The requests for tables that the first release does not have, and that do not come with the `end`.
fn tables(from: &Inside, to: &Inside, end: &Range<u64>, cost: &Cost) -> Vec<Run> {
    let known: HashSet<Digest> = from.contents.outline().root().groups.iter().map(|row| row.table.sha256).collect();
    let outline = to.contents.outline();
    let rows = outline.root().groups.iter().enumerate().filter(|(_, row)| !known.contains(&row.table.sha256));
    ranges::tables(outline, rows.map(|(group, _)| group), end, cost)
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, fetch, .. } = self;
        if from.artifact == to.artifact {
            return writeln!(f, "{from} and {to} are the same artifact, sha256:{}", to.artifact);
        }
        writeln!(f, "{from} -> {to}")?;
        self.settings.iter().try_for_each(|setting| writeln!(f, "{setting}"))?;
        if !self.dependencies.is_empty() {
            writeln!(f, "\ndependencies")?;
        }
        self.dependencies.iter().try_for_each(|moved| writeln!(f, "{moved}"))?;
        self.write_migrations(f)?;
        writeln!(f, "\n{:<14} {:>8} {:>8} {:>8} {:>8}", "files", "kept", "changed", "added", "removed")?;
        self.parts.iter().try_for_each(|part| writeln!(f, "{part}"))?;
        self.files.iter().flatten().try_for_each(|file| writeln!(f, "{file}"))?;
        let (bytes, artifact) = (human::bytes(fetch.bytes), human::bytes(fetch.artifact));
        let (files, requests) = (human::number(fetch.files), human::number(fetch.requests));
        writeln!(
            f,
            "\na node that has nothing but {} fetches {bytes} of {artifact} in {requests} requests, for {files} files",
            from.version
        )
    }
}

impl Difference {
    fn write_migrations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.migrations.is_empty() {
            writeln!(f, "\nmigrations")?;
        }
        self.migrations.iter().try_for_each(|moved| writeln!(f, "{moved}"))?;
        self.early_drops.iter().try_for_each(|early| writeln!(f, "warning: {early}"))?;
        if self.early_drops.is_empty() { Ok(()) } else { writeln!(f, "{IN_TWO_RELEASES}") }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.app, self.version)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |side: &Option<String>| human::harmless(side.as_deref().unwrap_or("none"));
        write!(f, "{:<14} {} -> {}", self.what, word(&self.from), word(&self.to))
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = human::harmless(&self.name);
        match (self.from.as_deref().map(human::harmless), self.to.as_deref().map(human::harmless)) {
            (None, to) => write!(f, "+ {name} {}", to.unwrap_or_default()),
            (Some(from), None) => write!(f, "- {name} {from}"),
            (Some(from), Some(to)) if from == to => write!(f, "~ {name} {from}, another file"),
            (Some(from), Some(to)) => write!(f, "~ {name} {from} -> {to}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { kept, changed, added, removed } = self.counts;
        let [kept, changed, added, removed] = [kept, changed, added, removed].map(human::number);
        write!(f, "{:<14} {kept:>8} {changed:>8} {added:>8} {removed:>8}", class_name(self.part))
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Kind::Changed => "~",
            Kind::Mode => "m",
            Kind::Added => "+",
            Kind::Removed => "-",
        };
        write!(f, "{sign} {}", human::harmless(&self.path))
    }
}
