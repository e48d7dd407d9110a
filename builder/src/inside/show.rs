//! `pannier show`: one release in figures and words.

use std::collections::BTreeMap;
use std::fmt;

use pannier_shared::archive::toc::Class;
use pannier_shared::digest::Digest;
use pannier_shared::id::{DocumentName, Target};
use pannier_shared::report::human;
use pannier_shared::statement::{Artifact, Attached, Dependency, Description};
use serde::Serialize;

use super::{Inside, Size, class_name, migrations, python, sizes_of};

/// What there is to say of a release.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// What it says of itself.
    release: Description,
    /// Its archive.
    artifact: Artifact,
    /// What lies beside it, as the statement has it; it was read and is the same.
    documents: BTreeMap<DocumentName, Attached>,
    /// SHA-256 of the signed statement: what a channel names.
    statement: Digest,
    /// The name of the key that signed it, from the trust file.
    signer: String,
    /// Where it was read.
    place: String,
    /// Its parts, in the order of the archive.
    parts: Vec<Part>,
    /// Its dependencies, as the statement has them.
    packages: Vec<Package>,
    /// Bytes of the tables of contents, which are in no part.
    tables: u64,
}

/// All groups of one class.
#[derive(Debug, Serialize)]
struct Part {
    part: Class,
    #[serde(flatten)]
    size: Size,
}

/// A dependency, and what it weighs: its wheel and what it installed.
#[derive(Debug, Serialize)]
struct Package {
    #[serde(flatten)]
    dependency: Dependency,
    #[serde(flatten)]
    size: Size,
}

impl Summary {
    /// Sums up a release.
    pub fn of(inside: Inside) -> Self {
        let artifact = inside.statement.artifact.clone();
        let parts = parts(&inside);
        let data: u64 = parts.iter().map(|part| part.size.compressed).sum();
        Self {
            packages: packages(&inside),
            release: inside.release().clone(),
            statement: inside.statement.digest(),
            signer: inside.statement.signer().to_owned(),
            tables: artifact.size.saturating_sub(data),
            artifact,
            documents: inside.statement.documents.clone(),
            place: inside.place,
            parts,
        }
    }
}

fn parts(inside: &Inside) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (class, _, length, table) in inside.groups() {
        // Groups come sorted by class.
        if parts.last().is_none_or(|part| part.part != class) {
            parts.push(Part { part: class, size: Size::default() });
        }
        if let Some(part) = parts.last_mut() {
            part.size.add(table, length);
        }
    }
    parts
}

fn packages(inside: &Inside) -> Vec<Package> {
    let mut sizes = sizes_of(inside, Class::Dependency);
    let package = |dependency: &Dependency| Package {
        size: sizes.remove(&dependency.name).unwrap_or_default(),
        dependency: dependency.clone(),
    };
    inside.release().dependencies.iter().map(package).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, artifact, .. } = self;
        writeln!(f, "{} {} for {}", release.app, release.version, release.target)?;
        writeln!(f, "in         {}", human::harmless(&self.place))?;
        writeln!(f, "statement  sha256:{}  signed by {}", self.statement, human::harmless(&self.signer))?;
        writeln!(f, "artifact   sha256:{}  {}", artifact.sha256, human::bytes(artifact.size))?;
        for (name, said) in &self.documents {
            writeln!(f, "beside     sha256:{}  {name}, {}", said.sha256, human::bytes(said.size))?;
        }
        writeln!(f, "unpacked   {} in {} entries", human::bytes(artifact.unpacked), human::number(artifact.entries))?;
        origin(f, release)?;
        writeln!(f, "\n{:<40} {:>8} {:>10} {:>10}", "part", "files", "plain", "compressed")?;
        self.parts.iter().try_for_each(|part| row(f, &class_name(part.part), &part.size))?;
        row(f, "tables", &Size { files: 0, plain: 0, compressed: self.tables })?;
        if self.packages.is_empty() {
            return writeln!(f, "\nno dependencies");
        }
        writeln!(f, "\n{:<40} {:>8} {:>10} {:>10}  sha256 of the wheel", "package", "files", "plain", "compressed")?;
        self.packages.iter().try_for_each(|package| package_row(f, package))
    }
}

fn origin(f: &mut fmt::Formatter<'_>, release: &Description) -> fmt::Result {
    let said = |text: &str| human::harmless(text);
    match &release.source {
        Some(source) if source.dirty => {
            writeln!(f, "commit     {}, and changes that are not in it", said(&source.commit))?
        }
        Some(source) => writeln!(f, "commit     {}", said(&source.commit))?,
        None => writeln!(f, "commit     none: it was not built from a git repository")?,
    }
    writeln!(f, "python     {}", said(&python(&release.interpreter)))?;
    if let Some(here) = &release.built_on {
        writeln!(f, "built on   {here}: nothing that is for {} alone was run", release.target)?;
    }
    if let Some(floor) = &release.libc_floor {
        let of = release.libc_floor_of.as_ref().map(|file| format!(", for {}", said(file))).unwrap_or_default();
        writeln!(f, "libc       {} {} or later{of}", libc_name(&release.target), said(floor))?;
    }
    writeln!(f, "settings   {}", said(&release.django.settings))?;
    for process in &release.running.processes {
        let socket = if process.socket { "  (on a socket that stays open)" } else { "" };
        writeln!(f, "process    {}: {}{socket}", process.name, said(&process.command.to_string()))?;
    }
    for (name, hook) in &release.running.hooks {
        writeln!(f, "hook       {name}: {}", said(&hook.command.to_string()))?;
    }
    for (what, paths) in [("folder", release.running.shared.folders()), ("file", release.running.shared.files())] {
        for path in paths {
            writeln!(f, "shared     {what} {}", said(path.as_str()))?;
        }
    }
    migrations::write(f, &release.migrations)?;
    writeln!(f, "built by   pannier {}", said(&release.built_by))
}

/// What the C library of a target is called.
fn libc_name(target: &Target) -> &'static str {
    if target.as_str().ends_with("-musl") { "musl" } else { "glibc" }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, size: &Size) -> fmt::Result {
    let Size { files, plain, compressed } = *size;
    let (files, plain, compressed) = (human::number(files), human::bytes(plain), human::bytes(compressed));
    writeln!(f, "{name:<40} {files:>8} {plain:>10} {compressed:>10}")
}

fn package_row(f: &mut fmt::Formatter<'_>, package: &Package) -> fmt::Result {
    let Package { dependency, size } = package;
    let name = human::harmless(&format!("{} {}", dependency.name, dependency.version));
    let (files, plain) = (human::number(size.files), human::bytes(size.plain));
    writeln!(f, "{name:<40} {files:>8} {plain:>10} {:>10}  {}", human::bytes(size.compressed), dependency.sha256)
}
