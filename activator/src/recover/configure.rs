//! The node's configuration, completed from the suite: tables for apps that it does not have, and the store and the trust
//! file where it names none. What stands there already is a person's word and stays as it is.
//!
//! The new text is what is parsed and then written, so that later commands read what this one acted by. An app whose table
//! cannot be read is left out of it: it must not take the others with it.

use std::path::Path;

use pannier_shared::id::AppName;
use pannier_shared::statement::suite::{Member, OnNode, Runs};
use pannier_shared::steps::Done;
use pannier_shared::sys::fs;
use toml::{Table, Value};

use super::{Error, Place, Recovering};
use crate::config::{self, Config};

/// The longest configuration: what `Config::load` takes.
const LIMIT: u64 = 1 << 20;

pub fn configure(run: &mut Recovering) -> Result<Done, Error> {
    let file = run.config_file();
    let before = match run.request.place {
        Place::Node => fs::if_there(fs::read_text(&file, LIMIT))?.unwrap_or_default(),
        // What lies in a drill's folder is nobody's word: it could name the roots of what runs.
        Place::Scratch(_) => String::new(),
    };
    let mut text = with_origin(run, &before, &file)?;
    let known = Config::parse(&text, &file)?;
    for (app, member) in run.members()?.clone() {
        if let Some(there) = known.apps.get(&app) {
            run.told.insert(app, there.clone());
            continue;
        }
        let parse = |table: &str| Config::parse(table, &file).and_then(|one| one.app(&app).cloned());
        let table = table_of(&app, &member, &run.request.place);
        // A drill finds out as well what a node could not be told.
        match parse(&table_of(&app, &member, &Place::Node)).and_then(|_| parse(&table)) {
            Ok(one) => {
                text = format!("{text}\n{table}");
                run.told.insert(app, one);
            }
            Err(error) => {
                run.unfit.insert(app, error);
            }
        }
    }
    if text == before {
        return Ok(Done::said("it says all of it already"));
    }
    Config::parse(&text, &file)?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write_durably(&file, text.as_bytes())?;
    Ok(Done::said(file.display().to_string()))
}

/// Top keys stand above the first table.
fn with_origin(run: &Recovering, before: &str, file: &Path) -> Result<String, config::Error> {
    let syntax = |error: toml::de::Error| config::Error::Syntax { file: file.to_owned(), why: error.to_string() };
    let there: Table = before.parse().map_err(syntax)?;
    let request = run.request;
    let mut added = Table::new();
    if !there.contains_key("store") {
        added.insert("store".to_owned(), Value::String(request.store.to_owned()));
    }
    if !there.contains_key("trust") {
        added.insert("trust".to_owned(), Value::String(request.trust.display().to_string()));
    }
    let said = match before {
        "" => format!("# Written by `pannier-activator recover --suite {} --role {}`.\n", request.suite, request.role),
        _ => String::new(),
    };
    Ok(format!("{said}{added}{before}"))
}

/// `[apps.NAME]`, as a person would write it.
fn table_of(app: &AppName, member: &Member, place: &Place) -> String {
    let node = match place {
        Place::Node => member.node.clone(),
        Place::Scratch(folder) => aside(&member.node, &folder.join(app.as_str())),
    };
    // Texts, numbers and tables of them: there is no such thing that TOML could not say.
    let mut table = Table::try_from(node).unwrap_or_default();
    if let Runs::Channel(channel) = &member.runs {
        table.insert("channel".to_owned(), Value::String(channel.to_string()));
    }
    let app = Table::from_iter([(app.to_string(), Value::Table(table))]);
    Table::from_iter([("apps".to_owned(), Value::Table(app))]).to_string()
}

/// What is left of it in a drill: only what says how a release gets there.
fn aside(node: &OnNode, root: &Path) -> OnNode {
    OnNode {
        root: Some(root.display().to_string()),
        python: node.python.clone(),
        rehash: node.rehash.clone(),
        keep: node.keep,
        keep_failed: node.keep_failed,
        ..OnNode::default()
    }
}
