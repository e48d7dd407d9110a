//! What a wheel's file name says: project, version, and the oldest glibc it runs on.

use pannier_shared::sys::fs;

use crate::stages::requirements;

/// The parts of `name-version(-build)?-python-abi-platform.whl` that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    /// Normalised project name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The platform tags, one or several.
    platforms: Vec<String>,
}

/// A version of glibc or musl, compared as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LibcVersion(u32, u32);

impl LibcVersion {
    /// A known version.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self(major, minor)
    }

    /// The first number.
    pub fn major(self) -> u32 {
        self.0
    }

    /// The second number.
    pub fn minor(self) -> u32 {
        self.1
    }

    /// Reads "2.28".
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for LibcVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl WheelName {
    /// Reads a file name; `None` when it is not a wheel's.
    pub fn parse(file: &str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let ([name, version, _, _, platform] | [name, version, _, _, _, platform]) = parts.as_slice() else {
            return None;
        };
        let platforms = platform.split('.').map(str::to_owned).collect();
        Some(Self { name: requirements::normalise(name), version: (*version).to_owned(), platforms })
    }

    /// The oldest C library it runs on: the lowest of its tags, since each of them is a promise. A wheel that was not made
    /// for others (`linux_x86_64`) promises nothing; what it needs, its files say. `None` for pure Python.
    pub fn libc(&self) -> Option<LibcVersion> {
        self.platforms.iter().filter_map(|tag| of_manylinux(tag).or_else(|| of_musllinux(tag))).min()
    }

    /// True when it is for one kind of machine.
    pub fn is_of_a_machine(&self) -> bool {
        self.platforms.iter().all(|tag| tag != "any")
    }
}

/// `manylinux_2_28_x86_64`, or one of the names that came before (PEP 600 gives their meaning).
fn of_manylinux(tag: &str) -> Option<LibcVersion> {
    let rest = tag.strip_prefix("manylinux")?;
    let (first, rest) = rest.split_once('_')?;
    match first {
        "1" => Some(LibcVersion(2, 5)),
        "2010" => Some(LibcVersion(2, 12)),
        "2014" => Some(LibcVersion(2, 17)),
        "" => {
            let mut numbers = rest.split('_');
            Some(LibcVersion(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        }
        _ => None,
    }
}

/// `musllinux_1_2_x86_64` (PEP 656).
fn of_musllinux(tag: &str) -> Option<LibcVersion> {
    let mut numbers = tag.strip_prefix("musllinux_")?.splitn(3, '_');
    Some(LibcVersion(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The wheels in a folder, sorted by file name.
pub fn list(folder: &std::path::Path) -> Result<Vec<(String, WheelName)>, fs::Error> {
    let names = fs::list(folder)?.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter_map(|file| WheelName::parse(&file).map(|name| (file, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glibc(file: &str) -> Option<String> {
        WheelName::parse(file).unwrap().libc().map(|floor| floor.to_string())
    }

    #[test]
    fn names_are_read_with_and_without_a_build_number() {
        let name = WheelName::parse("Django_X-5.2.7-py3-none-any.whl").unwrap();
        assert_eq!((name.name.as_str(), name.version.as_str()), ("django-x", "5.2.7"));
        assert_eq!(WheelName::parse("a-1-2-py3-none-any.whl").unwrap().version, "1");
        assert_eq!(WheelName::parse("a-1.tar.gz"), None);
        assert_eq!(WheelName::parse("a-1.whl"), None);
    }

    #[test]
    fn the_floor_is_the_lowest_promise_of_a_wheel() {
        assert_eq!(glibc("a-1-py3-none-any.whl"), None);
        assert_eq!(glibc("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl").as_deref(), Some("2.17"));
        assert_eq!(glibc("a-1-cp311-cp311-manylinux2014_x86_64.manylinux_2_28_x86_64.whl").as_deref(), Some("2.17"));
        assert_eq!(glibc("a-1-cp311-cp311-manylinux1_x86_64.whl").as_deref(), Some("2.5"));
        assert_eq!(glibc("a-1-cp311-cp311-linux_x86_64.whl"), None);
        assert_eq!(glibc("a-1-cp311-cp311-musllinux_1_2_x86_64.whl").as_deref(), Some("1.2"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(LibcVersion::parse("2.9") < LibcVersion::parse("2.17"));
    }
}
