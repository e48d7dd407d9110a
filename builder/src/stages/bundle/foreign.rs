//! An interpreter for another kind of machine: what can be known of it without running it.
//!
//! Its program says for which processor it is and which loader starts it; its library says what extensions are called
//! (`SOABI`). That it starts, and has every module that a site needs, only a machine of its kind can show.

use pannier_shared::sys::fs;

use super::Error;
use super::locate::Prefix;
use crate::stages::elf;
use crate::stages::target::Cross;

/// The file in which an interpreter's build wrote down its settings; a machine's name follows.
const SETTINGS: &str = "_sysconfigdata_";

/// Refuses one that is not for the target, or whose extensions are called otherwise than `abi`.
pub fn fits(prefix: &Prefix, cross: &Cross, abi: &str) -> Result<(), Error> {
    let another = |found: String| Error::NotForTarget {
        prefix: prefix.boxed(),
        program: prefix.program(),
        found,
        target: cross.target.clone(),
    };
    let Some(elf) = elf::read(&prefix.root.join(prefix.program()))? else { return Err(another("a script".to_owned())) };
    if elf.machine != cross.machine {
        return Err(another(elf.machine));
    }
    if let Some(loader) = elf.loader.filter(|loader| loader.contains("musl") != cross.is_musl()) {
        return Err(another(format!("{} with the loader `{loader}`", cross.machine)));
    }
    match soabi(prefix)? {
        Some(found) if found != abi => Err(Error::AnotherAbi { prefix: prefix.boxed(), found, wanted: abi.to_owned() }),
        _ => Ok(()),
    }
}

/// What it calls its extensions, if it says so.
fn soabi(prefix: &Prefix) -> Result<Option<String>, Error> {
    let library = prefix.root.join(prefix.library());
    let names = fs::list(&library)?;
    let settings =
        names.iter().filter_map(|name| name.to_str()).find(|name| name.starts_with(SETTINGS) && name.ends_with(".py"));
    let Some(name) = settings else { return Ok(None) };
    let text = fs::read_text(&library.join(name), elf::LIMIT)?;
    Ok(text.split_once("'SOABI': '").and_then(|(_, rest)| rest.split('\'').next()).map(str::to_owned))
}
