//! What the script says of migrations and their operations: facts that Django knows, in its words.

use std::collections::BTreeMap;

use pannier_shared::digest::Digest;
use pannier_shared::id::{AppLabel, MigrationId, MigrationName};
use serde::Deserialize;

/// All of them.
#[derive(Debug, Default, Deserialize)]
pub struct Told {
    /// Every installed app, with or without migrations.
    pub apps: Vec<AppLabel>,
    /// Every migration, in an order in which they can be applied.
    pub all: Vec<Migration>,
}

/// One migration.
#[derive(Debug, Deserialize)]
pub struct Migration {
    /// Its app.
    pub app: AppLabel,
    /// Its name.
    pub name: MigrationName,
    /// Of its source file.
    pub sha256: Digest,
    /// Resolved and sorted.
    pub depends_on: Vec<MigrationId>,
    /// Resolved and sorted.
    pub run_before: Vec<MigrationId>,
    /// As it says.
    pub replaces: Vec<MigrationId>,
    /// True for one that begins its app.
    pub initial: bool,
    /// True for one transaction.
    pub atomic: bool,
    /// Those that do something to the database, or may.
    pub operations: Vec<Operation>,
}

/// One operation that concerns the database. Models are "app.model", in lower case.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Operation {
    /// A table is made.
    CreateModel {
        /// Its model.
        model: String,
    },
    /// A table goes.
    DeleteModel {
        /// Its model.
        model: String,
    },
    /// A model, and so its table, gets another name.
    RenameModel {
        /// Before.
        model: String,
        /// After.
        to: String,
    },
    /// A table gets another name than Django would give it.
    MoveTable {
        /// Its model.
        model: String,
    },
    /// A field is new.
    AddField {
        /// Its model.
        model: String,
        /// Its name.
        name: String,
        /// Itself.
        field: Field,
    },
    /// A field goes.
    RemoveField {
        /// Its model.
        model: String,
        /// Its name.
        name: String,
        /// Itself, where Django can say what it was.
        field: Option<Field>,
    },
    /// A field becomes another one.
    AlterField {
        /// Its model.
        model: String,
        /// Its name.
        name: String,
        /// As it was, where Django can say that.
        before: Option<Field>,
        /// As it will be.
        after: Field,
    },
    /// A field gets another name.
    RenameField {
        /// Its model.
        model: String,
        /// Its name before.
        name: String,
        /// As it was.
        before: Option<Field>,
        /// As it will be.
        after: Option<Field>,
    },
    /// `unique_together` changes.
    UniqueTogether {
        /// The model.
        model: String,
        /// Sets of fields that become unique.
        adds: Vec<Vec<String>>,
        /// Sets of fields that need not be unique any more.
        removes: Vec<Vec<String>>,
    },
    /// The column `_order` is new.
    AddOrder {
        /// The model.
        model: String,
    },
    /// The column `_order` goes.
    RemoveOrder {
        /// The model.
        model: String,
    },
    /// A constraint is new.
    AddConstraint {
        /// The model.
        model: String,
        /// The constraint's name.
        name: String,
    },
    /// A constraint goes.
    RemoveConstraint {
        /// The model.
        model: String,
        /// The constraint's name.
        name: String,
    },
    /// `RunPython`.
    Python(Opaque),
    /// `RunSQL`.
    Sql(Opaque),
    /// One that has code of its own.
    Custom {
        /// Its class.
        operation: String,
        /// The rest.
        #[serde(flatten)]
        opaque: Opaque,
    },
    /// Code or SQL that does nothing, and says no way back.
    Noop,
}

/// What only its author knows.
#[derive(Debug, Deserialize)]
pub struct Opaque {
    /// The attribute `pannier` of the operation, else of its migration.
    pub declared: Option<String>,
    /// Whether Django can undo it.
    pub reversible: bool,
}

/// A field as far as the database has to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Field {
    /// Django's name for the kind of column, or a class.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its column; absent where it has none.
    pub column: Option<String>,
    /// True for a many-to-many field with a table that Django makes.
    pub own_table: bool,
    /// Whether it may be null.
    pub null: bool,
    /// Whether Django can fill the column in rows that are there.
    pub fills: bool,
    /// Whether the database fills it in rows that are inserted without it.
    pub db_default: bool,
    /// Whether values must differ.
    pub unique: bool,
    /// Whether it is the primary key.
    pub primary_key: bool,
    /// Whether the database computes it.
    pub generated: bool,
    /// The most characters; absent for no limit.
    pub max_length: Option<u64>,
    /// Digits of a decimal number.
    pub max_digits: Option<u32>,
    /// Those of them behind the point.
    pub decimal_places: Option<u32>,
    /// Where a relation leads.
    pub to: Option<String>,
    /// Whether the database holds a relation.
    pub db_constraint: bool,
    /// Arguments that none of the above tells.
    pub other: BTreeMap<String, String>,
}
