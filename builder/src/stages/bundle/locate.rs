//! Which interpreter `python = "bundled"` means: a folder that was named, or one of those that uv installed.

use std::path::{Path, PathBuf};

use pannier_shared::id::Target;
use pannier_shared::sys::fs;

use super::Error;
use crate::environment::Ambient;

/// A header of a few definitions.
const HEADER_LIMIT: u64 = 1024 * 1024;

/// The folder of an interpreter, with `bin` and `lib` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    /// Where it lies, with every link in the path resolved.
    pub root: PathBuf,
    /// Where it lies as it was named: files may hold the path in either form.
    pub named: PathBuf,
    /// Its feature version, "3.12".
    pub python: String,
}

impl Prefix {
    /// A copy for an error, which is passed on by value at every level.
    pub fn boxed(&self) -> Box<Self> {
        Box::new(self.clone())
    }

    /// Its program, below the folder.
    pub fn program(&self) -> String {
        format!("bin/python{}", self.python)
    }

    /// Its full version, of one that cannot be asked: its headers say it.
    pub fn full_version(&self) -> Result<String, Error> {
        let header = format!("include/python{}/patchlevel.h", self.python);
        let text = fs::if_there(fs::read_text(&self.root.join(&header), HEADER_LIMIT))?;
        let line = text.as_deref().and_then(|text| text.split_once("#define PY_VERSION")?.1.split('"').nth(1));
        line.map(str::to_owned).ok_or_else(|| Error::NoPrefix { folder: self.named.clone(), missing: header })
    }

    /// Its standard library, below the folder.
    pub fn library(&self) -> String {
        format!("lib/python{}", self.python)
    }
}

/// Finds the folder: a path (relative to the project), or a version of those that uv installed for the target, or the
/// newest of them.
pub fn locate(wanted: Option<&str>, project: &Path, env: &Ambient, target: &Target) -> Result<Prefix, Error> {
    match wanted {
        Some(path) if path.contains('/') => at(&project.join(path)),
        wanted => at(&installed(wanted, &folder_of_uv(env), target)?),
    }
}

/// A target as uv has it in the names of interpreters: "linux-x86_64-gnu".
pub fn uv_platform(target: &Target) -> String {
    let parts: Vec<&str> = target.as_str().split('-').collect();
    if let [machine, system, libc] = parts[..] { format!("{system}-{machine}-{libc}") } else { target.to_string() }
}

/// The interpreter of a folder, or of the program in its `bin`. A virtual environment's program leads to its base.
fn at(named: &Path) -> Result<Prefix, Error> {
    let missing = || Error::Missing(named.to_owned());
    let meta = fs::if_there(fs::stat(named))?.ok_or_else(missing)?;
    let folder =
        if meta.is_dir() { named.to_owned() } else { above_bin(&fs::canonical(named)?).ok_or_else(missing)? };
    if fs::exists(&folder.join("pyvenv.cfg")) {
        return Err(Error::Environment(folder));
    }
    let root = fs::canonical(&folder)?;
    let python = version_of(&root)?;
    let prefix = Prefix { root, named: folder, python };
    // The path configuration finds the library by this file, from wherever the program lies.
    let landmark = format!("{}/os.py", prefix.library());
    if fs::exists(&prefix.root.join(&landmark)) {
        return Ok(prefix);
    }
    Err(Error::NoPrefix { folder: prefix.named, missing: landmark })
}

fn above_bin(program: &Path) -> Option<PathBuf> {
    program.parent()?.parent().map(Path::to_owned)
}

/// The version that `bin/python3` is; without that link, the newest `bin/python3.X`.
fn version_of(root: &Path) -> Result<String, Error> {
    let bin = root.join("bin");
    let feature = |name: &str| name.strip_prefix("python3.")?.parse::<u32>().ok();
    let linked = fs::canonical(&bin.join("python3")).ok();
    let linked = linked.and_then(|path| feature(path.file_name()?.to_str()?));
    let listed = || {
        let names = fs::if_there(fs::list(&bin)).ok().flatten().unwrap_or_default();
        names.iter().filter_map(|name| feature(name.to_str()?)).max()
    };
    match linked.or_else(listed) {
        Some(minor) => Ok(format!("3.{minor}")),
        None => Err(Error::NoPrefix { folder: root.to_owned(), missing: "bin/python3".to_owned() }),
    }
}

/// Where `uv python install` puts interpreters.
fn folder_of_uv(env: &Ambient) -> PathBuf {
    let data = || env.get("XDG_DATA_HOME").map(PathBuf::from);
    let home = || env.get("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let own = env.get("UV_PYTHON_INSTALL_DIR").map(PathBuf::from);
    own.or_else(|| Some(data().or_else(home)?.join("uv/python"))).unwrap_or_default()
}

/// The newest that fits: "3.12" fits every 3.12, "3.12.8" itself.
fn installed(wanted: Option<&str>, folder: &Path, target: &Target) -> Result<PathBuf, Error> {
    let names = fs::if_there(fs::list(folder))?.unwrap_or_default();
    let platform = uv_platform(target);
    let fits = |found: &[u32; 3]| wanted.is_none_or(|wanted| begins_with(found, wanted));
    let found = names.iter().filter_map(|name| Some((uv_version(name.to_str()?, &platform)?, name)));
    let newest = found.filter(|(version, _)| fits(version)).max();
    let none = || {
        let (wanted, target) = (wanted.map(str::to_owned), target.clone());
        Error::NoneInstalled { wanted, target, folder: folder.to_owned() }
    };
    newest.map(|(_, name)| folder.join(name)).ok_or_else(none)
}

/// The version in "cpython-3.12.8-linux-x86_64-gnu". Builds without the global lock have a "+" in it and are another ABI.
fn uv_version(name: &str, platform: &str) -> Option<[u32; 3]> {
    let (version, rest) = name.strip_prefix("cpython-")?.split_once('-')?;
    let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    numbers.filter(|_| rest == platform)?.try_into().ok()
}

fn begins_with(found: &[u32; 3], wanted: &str) -> bool {
    wanted.split('.').map(str::parse).zip(found).all(|(wanted, found)| wanted.as_ref() == Ok(found))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make their files with std")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::told;

    fn prefix(root: &Path, python: &str) {
        for folder in ["bin".to_owned(), format!("lib/python{python}")] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join(format!("bin/python{python}")), "").unwrap();
        std::fs::write(root.join(format!("lib/python{python}/os.py")), "").unwrap();
    }

    fn env(folder: &Path) -> Ambient {
        Ambient::of([("UV_PYTHON_INSTALL_DIR".into(), folder.into())])
    }

    #[test]
    fn the_newest_that_uv_installed_and_fits_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let arch = std::env::consts::ARCH;
        for (name, python) in
            [("3.12.9", "3.12"), ("3.12.10", "3.12"), ("3.11.2", "3.11"), ("3.13.1+freethreaded", "3.13")]
        {
            prefix(&dir.path().join(format!("cpython-{name}-linux-{arch}-gnu")), python);
        }
        let found = |wanted: Option<&str>| {
            let found = locate(wanted, Path::new("/"), &env(dir.path()), &Target::host()).map(|prefix| prefix.root);
            found.map(|root| root.file_name().unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(found(None).unwrap(), format!("cpython-3.12.10-linux-{arch}-gnu"));
        assert_eq!(found(Some("3.11")).unwrap(), format!("cpython-3.11.2-linux-{arch}-gnu"));
        assert_eq!(found(Some("3.12.9")).unwrap(), format!("cpython-3.12.9-linux-{arch}-gnu"));
        let error = found(Some("3.14")).unwrap_err();
        insta::assert_snapshot!(told(&error).replace(dir.path().to_str().unwrap(), "/uv"), @"there is no Python 3.14 to pack in `/uv`");
        insta::assert_snapshot!(error.hint().unwrap(), @r#"install it: `uv python install 3.14`, or name a folder: `python = "bundled:/opt/python"`"#);
    }

    #[test]
    fn a_folder_its_program_and_an_environment_of_it_all_lead_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap().join("p");
        prefix(&root, "3.12");
        std::fs::create_dir_all(dir.path().join("venv/bin")).unwrap();
        symlink(root.join("bin/python3.12"), dir.path().join("venv/bin/python")).unwrap();
        for named in ["./p", "p/bin/python3.12", "venv/bin/python"] {
            let found = locate(Some(named), dir.path(), &Ambient::default(), &Target::host()).unwrap();
            assert_eq!((found.root, found.python.as_str()), (root.clone(), "3.12"), "{named}");
        }
    }

    #[test]
    fn what_is_no_interpreter_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let told = |named: &str| {
            let error = locate(Some(named), dir.path(), &Ambient::default(), &Target::host()).unwrap_err();
            told(&error).replace(dir.path().to_str().unwrap(), "/d")
        };
        insta::assert_snapshot!(told("a/b"), @"there is no interpreter at `/d/a/b`");
        std::fs::create_dir_all(dir.path().join("a/b/bin")).unwrap();
        insta::assert_snapshot!(told("a/b"), @"`/d/a/b` is not an interpreter's folder: it has no `bin/python3`");
        std::fs::write(dir.path().join("a/b/bin/python3.12"), "").unwrap();
        insta::assert_snapshot!(told("a/b"), @"`/d/a/b` is not an interpreter's folder: it has no `lib/python3.12/os.py`");
        std::fs::write(dir.path().join("a/b/pyvenv.cfg"), "").unwrap();
        insta::assert_snapshot!(told("a/b"), @"`/d/a/b` is a virtual environment, not an interpreter: it has a `pyvenv.cfg`");
    }
}
