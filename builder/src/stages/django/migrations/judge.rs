//! What a migration does to older code, and whether it can be undone, from what its operations do to the database.
//!
//! What a migration does to a table that it makes itself concerns no older code: that table is new. The same holds for
//! initial migrations of one app together, into which Django splits a first migration with a loop in it.

use std::collections::BTreeSet;

use pannier_shared::statement::{Effect, Finding, Reverse};

use super::column;
use super::operation::{Field, Opaque, Operation};

/// A declaration that says neither.
#[derive(Debug, PartialEq, Eq)]
pub struct BadDeclaration(pub String);

/// What was found of one migration.
#[derive(Debug)]
pub struct Judged {
    /// What older code notices, and what was declared.
    pub findings: Vec<Finding>,
    /// The worst of its operations.
    pub reverse: Reverse,
}

/// Judges one migration; the models in `new` are of tables that older code does not have, and those that it makes are added.
pub fn judge(operations: &[Operation], new: &mut BTreeSet<String>) -> Result<Judged, BadDeclaration> {
    let mut judged = Judged { findings: Vec::new(), reverse: Reverse::Whole };
    for operation in operations {
        let Verdict { on, effect, reverse } = verdict(operation)?;
        let is_on_new = model(operation).is_some_and(|model| new.contains(model));
        remember(operation, new);
        if let Some(effect) = effect.filter(|_| !is_on_new) {
            judged.findings.push(Finding { effect, on });
        }
        judged.reverse = judged.reverse.max(reverse);
    }
    Ok(judged)
}

/// What one operation does, were its table an old one.
struct Verdict {
    on: String,
    effect: Option<Effect>,
    reverse: Reverse,
}

fn remember(operation: &Operation, new: &mut BTreeSet<String>) {
    match operation {
        Operation::CreateModel { model } => new.insert(model.clone()),
        Operation::RenameModel { model, to } if new.contains(model) => new.insert(to.clone()),
        _ => false,
    };
}

fn model(operation: &Operation) -> Option<&String> {
    match operation {
        Operation::CreateModel { model }
        | Operation::DeleteModel { model }
        | Operation::RenameModel { model, .. }
        | Operation::MoveTable { model }
        | Operation::AddField { model, .. }
        | Operation::RemoveField { model, .. }
        | Operation::AlterField { model, .. }
        | Operation::RenameField { model, .. }
        | Operation::UniqueTogether { model, .. }
        | Operation::AddOrder { model }
        | Operation::RemoveOrder { model }
        | Operation::AddConstraint { model, .. }
        | Operation::RemoveConstraint { model, .. } => Some(model),
        Operation::Python(_) | Operation::Sql(_) | Operation::Custom { .. } | Operation::Noop => None,
    }
}

fn verdict(operation: &Operation) -> Result<Verdict, BadDeclaration> {
    let said = |on: &str, effect, reverse| Verdict { on: on.to_owned(), effect, reverse };
    let unless = Reverse::UnlessRowsForbid;
    Ok(match operation {
        Operation::CreateModel { model } => said(model, None, Reverse::Whole),
        Operation::DeleteModel { model } => said(model, Some(Effect::DropsTable), Reverse::Whole),
        Operation::RenameModel { model, .. } | Operation::MoveTable { model } => {
            said(model, Some(Effect::RenamesTable), Reverse::Whole)
        }
        Operation::AddField { model, name, field } => said(&join(model, name), added(field), Reverse::Whole),
        Operation::RemoveField { model, name, field } => removed(join(model, name), field.as_ref()),
        Operation::AlterField { model, name, before, after } => altered(join(model, name), before.as_ref(), after),
        Operation::RenameField { model, name, before, after } => {
            said(&join(model, name), renamed(before.as_ref(), after.as_ref()), Reverse::Whole)
        }
        Operation::UniqueTogether { model, adds, removes } => {
            let fields = adds.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            let effect = (!adds.is_empty()).then_some(Effect::AddsConstraint);
            said(&format!("{model} ({fields})"), effect, if removes.is_empty() { Reverse::Whole } else { unless })
        }
        Operation::AddOrder { model } => said(&join(model, "_order"), Some(Effect::RequiresColumn), Reverse::Whole),
        Operation::RemoveOrder { model } => said(&join(model, "_order"), Some(Effect::DropsColumn), Reverse::Whole),
        Operation::AddConstraint { model, name } => {
            said(&format!("{model} ({name})"), Some(Effect::AddsConstraint), Reverse::Whole)
        }
        Operation::RemoveConstraint { model, .. } => said(model, None, unless),
        Operation::Python(opaque) => of_code("RunPython", Effect::RunsPython, opaque)?,
        Operation::Sql(opaque) => of_code("RunSQL", Effect::RunsSql, opaque)?,
        Operation::Custom { operation, opaque } => of_code(operation, Effect::RunsCustom, opaque)?,
        Operation::Noop => said("", None, Reverse::None),
    })
}

fn join(model: &str, field: &str) -> String {
    format!("{model}.{field}")
}

/// Older code inserts rows without the column, and Django leaves no default of its own in the database.
fn added(field: &Field) -> Option<Effect> {
    if field.column.is_none() || field.generated {
        return None;
    }
    let is_filled = field.null || field.db_default;
    if !is_filled {
        return Some(Effect::RequiresColumn);
    }
    // The same default in a second row.
    (field.unique && field.db_default).then_some(Effect::AddsConstraint)
}

fn removed(on: String, field: Option<&Field>) -> Verdict {
    let Some(field) = field else {
        return Verdict { on, effect: Some(Effect::DropsColumn), reverse: Reverse::UnlessRowsForbid };
    };
    if field.column.is_none() {
        let effect = field.own_table.then_some(Effect::DropsTable);
        return Verdict { on, effect, reverse: Reverse::Whole };
    }
    let comes_back = field.generated || field.null || field.fills && !field.unique;
    let reverse = if comes_back { Reverse::Whole } else { Reverse::UnlessRowsForbid };
    Verdict { on, effect: Some(Effect::DropsColumn), reverse }
}

fn altered(on: String, before: Option<&Field>, after: &Field) -> Verdict {
    let Some(before) = before else {
        return Verdict { on, effect: Some(Effect::RunsCustom), reverse: Reverse::UnlessRowsForbid };
    };
    let back = column::change(after, before);
    let is_free = matches!(back, None | Some(Effect::RenamesColumn));
    let reverse = if is_free { Reverse::Whole } else { Reverse::UnlessRowsForbid };
    Verdict { on, effect: column::change(before, after), reverse }
}

/// A field whose column, or table, keeps its name is another name in the code alone.
fn renamed(before: Option<&Field>, after: Option<&Field>) -> Option<Effect> {
    match (before, after) {
        (Some(before), _) if before.own_table => Some(Effect::RenamesTable),
        (Some(before), Some(after)) if before.column == after.column => None,
        _ => Some(Effect::RenamesColumn),
    }
}

fn of_code(on: &str, undeclared: Effect, opaque: &Opaque) -> Result<Verdict, BadDeclaration> {
    let effect = match opaque.declared.as_deref() {
        None => undeclared,
        Some("additive") => Effect::DeclaredAdditive,
        Some("destructive") => Effect::DeclaredDestructive,
        Some(other) => return Err(BadDeclaration(other.to_owned())),
    };
    let reverse = if opaque.reversible { Reverse::Whole } else { Reverse::None };
    Ok(Verdict { on: on.to_owned(), effect: Some(effect), reverse })
}
