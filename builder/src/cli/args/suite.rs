//! What can be typed after `pannier suite`.

use std::path::PathBuf;

use clap::Subcommand;
use pannier_builder::moving::DAYS;
use pannier_shared::id::SuiteName;

use super::{Key, Place};

/// `pannier suite`.
#[derive(Debug, Subcommand)]
pub enum Suite {
    /// Sign a suite and store it: what the nodes of each role run, and what a bare node must be told for that
    Set {
        /// The suite as TOML: `suite = "NAME"`, and a table [roles.ROLE.APP] for each app
        #[arg(value_name = "FILE")]
        written: PathBuf,
        /// Why, for those who read it
        #[arg(long, default_value = "")]
        reason: String,
        /// Who does it; the key's comment when not given
        #[arg(long)]
        who: Option<String>,
        /// For how many days it is fresh
        #[arg(long, default_value_t = DAYS)]
        days: u32,
        #[command(flatten)]
        key: Key,
        #[command(flatten)]
        place: Place,
    },
    /// Say what each role would run now, and what of it cannot be had
    Show {
        /// The suite
        suite: SuiteName,
        #[command(flatten)]
        place: Place,
    },
    /// Copy what a suite needs now into another store, so that nodes can be brought back from there
    Mirror {
        /// The suite
        suite: SuiteName,
        /// The store that gets the copy: file:///path or s3://bucket/prefix
        #[arg(long, value_name = "URL")]
        to: String,
        #[command(flatten)]
        place: Place,
    },
}
