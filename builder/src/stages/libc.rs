//! The C library that the nodes must have: the oldest that everything in a release runs on, and what asks for it.
//!
//! A wheel's tag is a promise that is not always kept, and a wheel that was built here promises nothing; so the versions of
//! symbols that its files ask for count too. The loader compares the same names when it starts them.

use std::collections::BTreeMap;

use pannier_shared::id::Target;

use super::bundle::{FOLDER, Packed};
use super::venv::{self, Made, Object};
use super::wheels::{LibcVersion, Wheel};

/// The oldest C library that will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// Its version; of glibc or musl, as the target says.
    pub version: LibcVersion,
    /// The file in the release that asks for it.
    pub file: String,
}

/// Files that do not run on the release's machines.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment cannot be read.
    #[error(transparent)]
    Venv(#[from] venv::Error),
    /// A wheel of one machine's has files of another's.
    #[error("`{wheel}` says that it is for {target}, but `{file}` in it is for {found}")]
    Foreign {
        /// The wheel.
        wheel: String,
        /// What the release is for.
        target: Target,
        /// The file.
        file: String,
        /// The machine that it is for.
        found: String,
    },
}

/// Finds the floor; nothing where nothing in the release needs a C library. Refuses a wheel whose files are all for another
/// machine.
pub fn floor(wheels: &[Wheel], made: &Made, packed: Option<&Packed>, target: &Target) -> Result<Option<Floor>, Error> {
    let machine = target.as_str().split('-').next().unwrap_or_default();
    let owners = owners(made)?;
    wheels.iter().try_for_each(|wheel| runs_on(wheel, &owners, machine, target))?;
    let of_tags = wheels.iter().filter_map(|wheel| Some((wheel.name.libc()?, format!("wheels/{}", wheel.file))));
    // Symbols have no versions in musl.
    let musl = target.as_str().ends_with("musl");
    let own = made.objects.iter().filter(|(_, elf)| elf.machine == machine && !musl);
    let of_files = own.filter_map(|(file, elf)| Some((elf.glibc?, format!("venv/{file}"))));
    let of_python = packed.and_then(|packed| packed.glibc.clone());
    let of_python = of_python.map(|(version, file)| (version, format!("{FOLDER}/{file}")));
    // Of several that ask for the same the last one would be taken: begin at the end.
    let all: Vec<_> = of_tags.chain(of_files).chain(of_python).collect();
    let most = all.into_iter().rev().max_by_key(|(version, _)| *version);
    Ok(most.map(|(version, file)| Floor { version, file }))
}

/// The programs and libraries of every distribution, by its name.
fn owners(made: &Made) -> Result<BTreeMap<String, Vec<&Object>>, Error> {
    let by_path: BTreeMap<&str, &Object> = made.objects.iter().map(|object| (object.0.as_str(), object)).collect();
    let files = venv::distributions(&made.venv)?.into_iter();
    let of = |files: Vec<String>| files.iter().filter_map(|file| by_path.get(file.as_str()).copied()).collect();
    Ok(files.map(|(name, files)| (name, of(files))).collect())
}

fn runs_on(
    wheel: &Wheel,
    owners: &BTreeMap<String, Vec<&Object>>,
    machine: &str,
    target: &Target,
) -> Result<(), Error> {
    let objects = owners.get(&wheel.name.name).map(Vec::as_slice).unwrap_or_default();
    let fits = objects.iter().any(|(_, elf)| elf.machine == machine);
    match objects.first() {
        Some((file, elf)) if !fits && wheel.name.is_of_a_machine() => Err(Error::Foreign {
            wheel: wheel.file.clone(),
            target: target.clone(),
            file: file.clone(),
            found: elf.machine.clone(),
        }),
        _ => Ok(()),
    }
}

impl Error {
    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Venv(_) => None,
            Self::Foreign { wheel, .. } => Some(format!(
                "tell those who made `{wheel}`; lock another version, or build it from source on such a machine and serve it with \
                 `PIP_FIND_LINKS`"
            )),
        }
    }
}
