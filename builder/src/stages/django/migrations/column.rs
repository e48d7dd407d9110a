//! What becomes of a column when its field is altered.

use pannier_shared::statement::Effect;

use super::operation::Field;

/// What older code notices of it, the worst thing first; nothing when whatever fitted before fits after.
pub fn change(before: &Field, after: &Field) -> Option<Effect> {
    if before.column.is_none() || after.column.is_none() {
        return of_relation_table(before, after);
    }
    if before.column != after.column {
        return Some(Effect::RenamesColumn);
    }
    if before.primary_key != after.primary_key || before.generated != after.generated {
        return Some(Effect::ChangesType);
    }
    kind(before, after).or_else(|| limits(before, after)).or_else(|| rules(before, after))
}

/// Many-to-many fields have a table instead.
fn of_relation_table(before: &Field, after: &Field) -> Option<Effect> {
    let differs = before.column != after.column || before.to != after.to || before.own_table != after.own_table;
    differs.then_some(Effect::ChangesType)
}

fn kind(before: &Field, after: &Field) -> Option<Effect> {
    let (from, to) = (before.kind.as_str(), after.kind.as_str());
    if from == to {
        return (before.other != after.other).then_some(Effect::RunsCustom);
    }
    if let (Some(from), Some(to)) = (Whole::of(from), Whole::of(to)) {
        return if from.automatic != to.automatic { Some(Effect::ChangesType) } else { from.into(to) };
    }
    match (from, to) {
        (from, to) if is_text(from) && is_text(to) => None,
        (from, "TextField") if is_text(from) => None,
        ("ForeignKey", "OneToOneField") | ("OneToOneField", "ForeignKey") => None,
        ("TextField", to) if is_text(to) => Some(Effect::NarrowsColumn),
        _ => Some(Effect::ChangesType),
    }
}

/// The kinds that are text with a limit.
fn is_text(kind: &str) -> bool {
    matches!(kind, "CharField" | "SlugField" | "FileField" | "FilePathField")
}

/// A kind of whole numbers.
struct Whole {
    bits: u32,
    negative: bool,
    automatic: bool,
}

impl Whole {
    fn of(kind: &str) -> Option<Self> {
        let (bits, negative, automatic) = match kind {
            "SmallIntegerField" => (16, true, false),
            "IntegerField" => (32, true, false),
            "BigIntegerField" => (64, true, false),
            "PositiveSmallIntegerField" => (16, false, false),
            "PositiveIntegerField" => (32, false, false),
            "PositiveBigIntegerField" => (64, false, false),
            "SmallAutoField" => (16, true, true),
            "AutoField" => (32, true, true),
            "BigAutoField" => (64, true, true),
            _ => return None,
        };
        Some(Self { bits, negative, automatic })
    }

    fn into(self, to: Self) -> Option<Effect> {
        (to.bits < self.bits || self.negative && !to.negative).then_some(Effect::NarrowsColumn)
    }
}

fn limits(before: &Field, after: &Field) -> Option<Effect> {
    let whole = |field: &Field| {
        field.max_digits.zip(field.decimal_places).map(|(all, behind)| (all.saturating_sub(behind), behind))
    };
    let is_shorter = after.max_length.is_some_and(|after| before.max_length.is_none_or(|before| after < before));
    let is_smaller = match (whole(before), whole(after)) {
        (Some(before), Some(after)) => after.0 < before.0 || after.1 < before.1,
        (None, Some(_)) => true,
        _ => false,
    };
    // A text field's max_length is the form's, not the column's.
    let is_shorter = is_shorter && after.kind != "TextField";
    (is_shorter || is_smaller || before.null && !after.null).then_some(Effect::NarrowsColumn)
}

fn rules(before: &Field, after: &Field) -> Option<Effect> {
    let led_elsewhere = before.to != after.to && after.db_constraint;
    let held = !before.db_constraint && after.db_constraint;
    if led_elsewhere || held || !before.unique && after.unique {
        return Some(Effect::AddsConstraint);
    }
    // Older code that knows the default leaves the value to the database.
    (before.db_default && !after.db_default && !after.null).then_some(Effect::RequiresColumn)
}
