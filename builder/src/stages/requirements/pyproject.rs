//! pyproject.toml alone: `[project] dependencies`, with the extras and dependency groups that were chosen (PEP 621, 735).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::list::List;
use super::{Ask, Error, Required, Wanted, index, normalise, toml_of};

/// How many groups deep one may include another: more is a circle.
const DEPTH: usize = 16;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PyProject {
    project: Option<Project>,
    #[serde(default)]
    dependency_groups: BTreeMap<String, Vec<Member>>,
    #[serde(default)]
    tool: Tool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    dependencies: Option<Vec<String>>,
    #[serde(default)]
    optional_dependencies: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    dynamic: Vec<String>,
}

/// A line of a group.
#[derive(Deserialize)]
#[serde(untagged)]
enum Member {
    Requirement(String),
    Include {
        #[serde(rename = "include-group")]
        group: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tool {
    uv: Uv,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Uv {
    sources: BTreeMap<String, toml::Value>,
}

/// Reads the list; uv resolves it.
pub(super) fn read(ask: &Ask<'_>) -> Result<Required, Error> {
    let read: PyProject = toml_of(&ask.text()?, ask.file)?;
    let mut all = List { file: ask.file.to_owned(), ..List::default() };
    let dynamic =
        read.project.as_ref().is_some_and(|project| project.dynamic.iter().any(|name| name == "dependencies"));
    let not_in_project = || Error::NotInProject { file: ask.file.to_owned(), dynamic };
    let project = read.project.as_ref().ok_or_else(not_in_project)?;
    let mut lines = project.dependencies.clone().ok_or_else(not_in_project)?;
    lines.extend(project.extras(ask)?);
    lines.extend(read.groups(ask)?);
    lines.iter().try_for_each(|line| all.add(line, ask.file.to_owned()))?;
    let placed = |name: &&String| all.list.iter().any(|one| one.name == normalise(name));
    if let Some(name) = read.tool.uv.sources.keys().find(placed) {
        return Err(Error::NeedsLock { file: ask.file.to_owned(), name: name.clone() });
    }
    Ok(Required {
        file: ask.file.to_owned(),
        wanted: Wanted::Open(all),
        indexes: index::of_uv(ask)?,
        notes: Vec::new(),
    })
}

impl Project {
    fn extras(&self, ask: &Ask<'_>) -> Result<Vec<String>, Error> {
        let known: Vec<String> = self.optional_dependencies.keys().cloned().collect();
        ask.all_known("extra", &ask.choice.extras, &known)?;
        let chosen = |name: &str| ask.choice.extras.iter().any(|one| normalise(one) == normalise(name));
        let lists = self.optional_dependencies.iter().filter(|(name, _)| chosen(name));
        Ok(lists.flat_map(|(_, list)| list.clone()).collect())
    }
}

impl PyProject {
    fn groups(&self, ask: &Ask<'_>) -> Result<Vec<String>, Error> {
        let known: Vec<String> = self.dependency_groups.keys().cloned().collect();
        ask.all_known("group", &ask.choice.groups, &known)?;
        let mut lines = Vec::new();
        for name in &ask.choice.groups {
            self.group(name, DEPTH, &mut lines)?;
        }
        Ok(lines)
    }

    fn group(&self, name: &str, depth: usize, lines: &mut Vec<String>) -> Result<(), Error> {
        let depth = depth.checked_sub(1).ok_or_else(|| Error::Circle(name.to_owned()))?;
        let groups = self.dependency_groups.iter().filter(|(other, _)| normalise(other) == normalise(name));
        for member in groups.flat_map(|(_, members)| members) {
            match member {
                Member::Requirement(line) => lines.push(line.clone()),
                Member::Include { group } => self.group(group, depth, lines)?,
            }
        }
        Ok(())
    }
}
