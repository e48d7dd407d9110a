//! Platform: what the release's interpreter answers to environment markers, and which wheels it can use.
//!
//! Asked of the Python that runs pip, which is of the same version and ABI as the release's, because pip brings the
//! library that knows the tags.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pannier_shared::id::Target;
use pannier_shared::sys::process;
use serde::Deserialize;

use super::interpreter::Interpreter;
use super::target::Cross;
use super::tools::Tools;

const PROBE: &str = include_str!("../python/platform.py");

/// An interpreter answers in well under a second; a cold disk takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Markers and tags of an interpreter.
#[derive(Debug, Clone, Default)]
pub struct Platform {
    /// The variables of PEP 508 except `extra`.
    pub markers: BTreeMap<String, String>,
    /// Each tag with its rank, the best first; empty when the interpreter's pip cannot tell.
    tags: HashMap<String, usize>,
    /// The kind of machine it is on, where that is another one than this.
    pub elsewhere: Option<Cross>,
}

/// An interpreter that does not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It failed.
    #[error("the interpreter cannot be asked which wheels it can use")]
    Silent(#[source] process::Error),
    /// It answered something else.
    #[error("the interpreter did not answer as a Python does")]
    Strange(#[source] serde_json::Error),
    /// Its pip is one that a distribution took apart.
    #[error("the interpreter's pip does not say which wheels `{0}` can use")]
    NoTags(Target),
}

#[derive(Deserialize)]
struct Answer {
    markers: BTreeMap<String, String>,
    tags: Vec<String>,
}

/// Asks the interpreter about itself.
pub fn ask(tools: &Tools) -> Result<Platform, Error> {
    let Answer { markers, tags } = answer(tools, &[])?;
    Ok(Platform::of(markers, tags))
}

/// Asks the interpreter about a like one, `python`, on another kind of machine. Which kernel that has nobody knows: markers
/// that ask for it are answered as here.
pub fn ask_about(cross: &Cross, python: &Interpreter, tools: &Tools) -> Result<Platform, Error> {
    let Answer { mut markers, tags } = answer(tools, &cross.platforms())?;
    if tags.is_empty() {
        return Err(Error::NoTags(cross.target.clone()));
    }
    let own = [("platform_machine", cross.machine), ("python_full_version", &python.version)];
    markers.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Ok(Platform { elsewhere: Some(cross.clone()), ..Platform::of(markers, tags) })
}

fn answer(tools: &Tools, platforms: &[String]) -> Result<Answer, Error> {
    let printed = process::run(tools.python().args(["-c", PROBE]).args(platforms), LIMIT).map_err(Error::Silent)?;
    serde_json::from_slice(&printed.stdout).map_err(Error::Strange)
}

impl Platform {
    /// A platform of known answers; tags in the order of preference.
    pub fn of(markers: BTreeMap<String, String>, tags: impl IntoIterator<Item = String>) -> Self {
        Self { markers, tags: tags.into_iter().zip(0..).collect(), elsewhere: None }
    }

    /// How well a wheel fits, 0 best; `None` when it does not. A file name may hold several tags of each kind.
    pub fn rank(&self, wheel: &str) -> Option<usize> {
        let mut parts = wheel.strip_suffix(".whl")?.rsplit('-');
        let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
        let tags = pythons.split('.').flat_map(|python| {
            abis.split('.').flat_map(move |abi| platforms.split('.').map(move |on| format!("{python}-{abi}-{on}")))
        });
        tags.filter_map(|tag| self.tags.get(&tag).copied()).min()
    }

    /// True when none of the files, wheels and source archives, can be used here. Unknown tags speak for a file.
    pub fn can_use_none_of(&self, files: &[String]) -> bool {
        let useless = |file: &String| file.ends_with(".whl") && self.rank(file).is_none();
        !files.is_empty() && !self.tags.is_empty() && files.iter().all(useless)
    }

    /// True when one of the files is a wheel that can be used here.
    pub fn can_use_a_wheel_of(&self, files: &[String]) -> bool {
        files.iter().any(|file| self.rank(file).is_some())
    }

    /// The best of some files: the wheel that fits best, else a source archive.
    pub fn best<'a, T>(&self, files: &'a [T], name: impl Fn(&T) -> &str) -> Option<&'a T> {
        let wheels = files.iter().filter_map(|file| self.rank(name(file)).map(|rank| (rank, file)));
        let best = wheels.min_by_key(|(rank, _)| *rank).map(|(_, file)| file);
        best.or_else(|| files.iter().find(|file| !name(file).ends_with(".whl")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform() -> Platform {
        let tags = ["cp311-cp311-manylinux_2_28_x86_64", "cp311-abi3-manylinux_2_17_x86_64", "py3-none-any"];
        Platform::of(BTreeMap::new(), tags.map(str::to_owned))
    }

    #[test]
    fn the_best_file_is_the_wheel_that_fits_best_else_the_source() {
        let best = |files: &[&str]| platform().best(files, |file| file).map(|file| (*file).to_owned());
        let pure = "a-1-py2.py3-none-any.whl";
        let binary = "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl";
        assert_eq!(best(&[pure, binary, "a-1.tar.gz"]).as_deref(), Some(binary));
        assert_eq!(best(&["a-1-cp39-cp39-win32.whl", "a-1.tar.gz"]).as_deref(), Some("a-1.tar.gz"));
        assert_eq!(best(&["a-1-cp39-cp39-win32.whl"]), None);
    }

    #[test]
    fn a_file_that_nothing_is_known_of_is_not_refused() {
        let foreign = vec!["a-1-cp39-cp39-win32.whl".to_owned()];
        assert!(platform().can_use_none_of(&foreign) && !platform().can_use_none_of(&[]));
        assert!(!Platform::default().can_use_none_of(&foreign));
        assert!(!platform().can_use_none_of(&[foreign[0].clone(), "a-1.tar.gz".to_owned()]));
        assert!(!platform().can_use_a_wheel_of(&foreign));
        assert!(platform().can_use_a_wheel_of(&["a-1-py3-none-any.whl".to_owned()]));
    }
}
