//! Target: the kind of machine that a release is for, where it is another one than this.
//!
//! A wheel says by its platform tag where it runs; which tags a machine of the target takes is written down here, because
//! that machine cannot be asked. Everything else of such a release is the same on all machines: Python's source, its byte
//! code (one form for each feature version), static files.

use pannier_shared::id::Target;

use super::interpreter::Interpreter;
use super::wheels::LibcVersion;

/// The processors that can be built for, and the minor version of the first glibc that has wheels for them.
const MACHINES: &[(&str, u32)] = &[("x86_64", 5), ("aarch64", 17)];

/// The glibc that the target's machines are taken to have where this machine, having another C library, is no measure:
/// that of the systems of 2018, which most wheels ask for.
const GLIBC: LibcVersion = LibcVersion::new(2, 28);

/// The newest musl that there is a tag for.
const MUSL_MINOR: u32 = 2;

/// Names that platform tags had before glibc's version stood in them (PEP 600), and that version's second number.
const OLD_TAGS: &[(u32, &str)] = &[(17, "manylinux2014"), (12, "manylinux2010"), (5, "manylinux1")];

/// A kind of machine that releases cannot be made for here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Its tags are not known.
    #[error("a release for `{target}` cannot be built on `{here}`")]
    Unknown {
        /// The target.
        target: Target,
        /// This machine.
        here: Target,
    },
    /// The interpreter's extensions have a name that does not say for which machine they are.
    #[error("it is not known how extensions for `{target}` are called: those of `{here}` have the ABI `{abi}`")]
    Abi {
        /// The target.
        target: Target,
        /// This machine.
        here: Target,
        /// This machine's ABI.
        abi: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let machines = MACHINES.iter().map(|(name, _)| *name);
        let names = machines.flat_map(|name| ["gnu", "musl"].map(|libc| format!("`{name}-linux-{libc}`")));
        let names = names.collect::<Vec<_>>().join(", ");
        match self {
            Self::Unknown { target, .. } | Self::Abi { target, .. } => {
                format!(
                    "build on a machine that is `{target}`, without `--target`; from here one can build for {names}"
                )
            }
        }
    }
}

/// Another kind of machine than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cross {
    /// Its name.
    pub target: Target,
    /// Its processor, as in the first part of the name.
    pub machine: &'static str,
    /// This machine's name.
    pub here: Target,
    libc: Libc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Libc {
    /// glibc from the first version with wheels to this one.
    Gnu {
        oldest: u32,
        newest: LibcVersion,
    },
    Musl,
}

impl Cross {
    /// The way to a target from the machine that `python` runs on; `None` when that is the target.
    pub fn to(target: &Target, python: &Interpreter) -> Result<Option<Self>, Error> {
        let here = python.target.clone();
        if *target == here {
            return Ok(None);
        }
        let unknown = || Error::Unknown { target: target.clone(), here: here.clone() };
        let (machine, libc) = target.as_str().split_once("-linux-").ok_or_else(unknown)?;
        let (machine, oldest) = *MACHINES.iter().find(|(name, _)| *name == machine).ok_or_else(unknown)?;
        let newest = python.glibc.as_deref().and_then(LibcVersion::parse).unwrap_or(GLIBC);
        let libc = match libc {
            "gnu" => Libc::Gnu { oldest, newest },
            "musl" => Libc::Musl,
            _ => return Err(unknown()),
        };
        Ok(Some(Self { target: target.clone(), machine, here, libc }))
    }

    /// The interpreter of the same version on such a machine; `executable` stays the one that runs here.
    pub fn interpreter(&self, python: &Interpreter) -> Result<Interpreter, Error> {
        let unknown = || Error::Abi { target: self.target.clone(), here: self.here.clone(), abi: python.abi.clone() };
        let stem = python.abi.strip_suffix(self.here.as_str()).ok_or_else(unknown)?;
        Ok(Interpreter { abi: format!("{stem}{}", self.target), target: self.target.clone(), ..python.clone() })
    }

    /// True where the C library is musl.
    pub fn is_musl(&self) -> bool {
        self.libc == Libc::Musl
    }

    /// The platform tags of wheels that run there, the best first.
    pub fn platforms(&self) -> Vec<String> {
        let mut tags = Vec::new();
        match self.libc {
            Libc::Gnu { oldest, newest } => {
                for minor in (oldest..=newest.minor()).rev() {
                    tags.push(format!("manylinux_2_{minor}_{}", self.machine));
                    let old = OLD_TAGS.iter().find(|(of, _)| *of == minor);
                    tags.extend(old.map(|(_, name)| format!("{name}_{}", self.machine)));
                }
            }
            Libc::Musl => {
                let all = (0..=MUSL_MINOR).rev();
                tags.extend(all.map(|minor| format!("musllinux_1_{minor}_{}", self.machine)));
            }
        }
        tags.push(format!("linux_{}", self.machine));
        tags
    }

    /// The same in a few words.
    pub fn wanted(&self) -> String {
        match self.libc {
            Libc::Gnu { oldest, newest } => {
                format!(
                    "manylinux_2_{oldest}_{0} to manylinux_{1}_{2}_{0}",
                    self.machine,
                    newest.major(),
                    newest.minor()
                )
            }
            Libc::Musl => format!("musllinux_1_0_{0} to musllinux_1_{MUSL_MINOR}_{0}", self.machine),
        }
    }

    /// What uv calls such a machine when it chooses versions.
    pub fn resolving(&self) -> String {
        let libc = if self.libc == Libc::Musl { "musl" } else { "gnu" };
        format!("{}-unknown-linux-{libc}", self.machine)
    }

    /// What uv calls such a machine when it installs wheels that were chosen already: as new as it knows.
    pub fn installing(&self) -> String {
        match self.libc {
            Libc::Gnu { .. } => format!("{}-manylinux_2_40", self.machine),
            Libc::Musl => self.resolving(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::python;

    fn cross(target: &str) -> Result<Option<Cross>, Error> {
        Cross::to(&target.parse().unwrap(), &python())
    }

    #[test]
    fn the_target_that_one_is_on_is_none() {
        assert_eq!(cross("x86_64-linux-gnu").unwrap(), None);
    }

    #[test]
    fn tags_are_those_of_the_targets_processor_and_c_library() {
        let arm = cross("aarch64-linux-gnu").unwrap().unwrap();
        assert_eq!(
            arm.platforms(),
            ["manylinux_2_18_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]
        );
        assert_eq!(arm.wanted(), "manylinux_2_17_aarch64 to manylinux_2_18_aarch64");
        let musl = cross("aarch64-linux-musl").unwrap().unwrap();
        assert_eq!(musl.platforms()[0], "musllinux_1_2_aarch64");
        assert!(!musl.platforms().iter().any(|tag| tag.contains("manylinux")));
    }

    #[test]
    fn the_targets_interpreter_is_the_same_but_for_its_machine() {
        let there = cross("aarch64-linux-gnu").unwrap().unwrap().interpreter(&python()).unwrap();
        assert_eq!((there.abi.as_str(), there.target.as_str()), ("cpython-311-aarch64-linux-gnu", "aarch64-linux-gnu"));
        assert_eq!((there.version, there.cache_tag), (python().version, python().cache_tag));
        let odd = Interpreter { abi: "cpython-311".to_owned(), ..python() };
        let error = cross("aarch64-linux-gnu").unwrap().unwrap().interpreter(&odd).unwrap_err();
        insta::assert_snapshot!(error, @"it is not known how extensions for `aarch64-linux-gnu` are called: those of `x86_64-linux-gnu` have the ABI `cpython-311`");
    }

    #[test]
    fn a_target_without_known_tags_is_refused_with_those_that_there_are() {
        for target in ["sparc64-linux-gnu", "aarch64-macos-gnu", "aarch64-linux-uclibc"] {
            assert!(cross(target).is_err(), "{target}");
        }
        let error = cross("sparc64-linux-gnu").unwrap_err();
        insta::assert_snapshot!(error, @"a release for `sparc64-linux-gnu` cannot be built on `x86_64-linux-gnu`");
        insta::assert_snapshot!(error.hint(), @"build on a machine that is `sparc64-linux-gnu`, without `--target`; from here one can build for `x86_64-linux-gnu`, `x86_64-linux-musl`, `aarch64-linux-gnu`, `aarch64-linux-musl`");
    }
}
