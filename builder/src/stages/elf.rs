//! ELF: what a program or library loads, from where, and which machine and C library it is for.

use std::path::Path;

use goblin::elf::Elf as Parsed;
use goblin::elf::header;
use pannier_shared::sys::fs;

use crate::stages::wheels::LibcVersion;

/// The first bytes of every such file.
const MAGIC: &[u8] = b"\x7fELF";

/// An interpreter with everything linked in has 100 MB.
pub const LIMIT: u64 = 1 << 30;

/// What a file asks of the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// The machine, as in the first part of a target: "x86_64".
    pub machine: String,
    /// The loader it names, of a program: "/lib64/ld-linux-x86-64.so.2".
    pub loader: Option<String>,
    /// The libraries it needs, as it names them.
    pub needed: Vec<String>,
    /// Where it looks for them, before the caller's variables.
    pub rpath: Vec<String>,
    /// Where it looks for them, after the caller's variables.
    pub runpath: Vec<String>,
    /// The newest glibc whose symbols it uses.
    pub glibc: Option<LibcVersion>,
}

/// A file that cannot be read as what it begins like.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It is damaged, or of a kind that nobody makes.
    #[error("`{path}` is not a program or library that can be read")]
    Broken {
        /// The file.
        path: String,
        /// Why.
        source: goblin::error::Error,
    },
}

/// Reads what a file asks of the loader.
fn parse(path: &Path, bytes: &[u8]) -> Result<Elf, Error> {
    let failed = |source| Error::Broken { path: path.display().to_string(), source };
    let elf = Parsed::parse(bytes).map_err(failed)?;
    let folders = |paths: &[&str]| paths.iter().flat_map(|path| path.split(':')).map(str::to_owned).collect();
    Ok(Elf {
        machine: machine(elf.header.e_machine),
        loader: elf.interpreter.map(str::to_owned),
        needed: elf.libraries.iter().map(|name| (*name).to_owned()).collect(),
        rpath: folders(&elf.rpaths),
        runpath: folders(&elf.runpaths),
        glibc: glibc(&elf),
    })
}

/// Reads a file that is one; `None` for any other file.
pub fn read(path: &Path) -> Result<Option<Elf>, Error> {
    let bytes = fs::read(path, LIMIT)?;
    Ok(if bytes.starts_with(MAGIC) { Some(parse(path, &bytes)?) } else { None })
}

/// A machine's name in targets; numbers that no target has a name for stay numbers.
fn machine(number: u16) -> String {
    match number {
        header::EM_X86_64 => "x86_64".to_owned(),
        header::EM_AARCH64 => "aarch64".to_owned(),
        header::EM_386 => "x86".to_owned(),
        header::EM_ARM => "arm".to_owned(),
        header::EM_RISCV => "riscv64".to_owned(),
        header::EM_PPC64 => "powerpc64".to_owned(),
        header::EM_S390 => "s390x".to_owned(),
        other => format!("machine {other}"),
    }
}

/// The newest of the versions "GLIBC_2.34" that it names.
fn glibc(elf: &Parsed<'_>) -> Option<LibcVersion> {
    let needs = elf.verneed.as_ref()?;
    let names = needs.iter().flat_map(|file| file.iter().map(|one| one.vna_name).collect::<Vec<_>>());
    let names = names.filter_map(|name| elf.dynstrtab.get_at(name));
    names.filter_map(|name| of_symbol(name.strip_prefix("GLIBC_")?)).max()
}

/// The first glibc that unpacks relative relocations, which a file asks for by this name instead of a number.
const PACKED_RELOCATIONS: (&str, LibcVersion) = ("ABI_DT_RELR", LibcVersion::new(2, 36));

/// "2.2.5" is 2.2: of three numbers two tell.
fn of_symbol(version: &str) -> Option<LibcVersion> {
    if version == PACKED_RELOCATIONS.0 {
        return Some(PACKED_RELOCATIONS.1);
    }
    let mut numbers = version.splitn(3, '.');
    LibcVersion::parse(&format!("{}.{}", numbers.next()?, numbers.next()?))
}

/// True of a library that comes with the C library, and so is there wherever a program of its kind runs.
pub fn is_libc(name: &str) -> bool {
    const PARTS: &[&str] = &["c", "m", "dl", "pthread", "rt", "util", "resolv", "anl", "mvec"];
    let part = name.strip_prefix("lib").and_then(|rest| rest.split_once(".so.")).map(|(part, _)| part);
    let of_loader = ["ld-linux", "ld64.so", "ld-musl-", "libc.musl-"].iter().any(|start| name.starts_with(start));
    of_loader || part.is_some_and(|part| PARTS.contains(&part))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_read() {
        let here = std::env::current_exe().unwrap();
        let elf = read(&here).unwrap().unwrap();
        assert_eq!(elf.machine, std::env::consts::ARCH);
        if cfg!(target_env = "gnu") {
            assert!(elf.needed.iter().any(|name| name == "libc.so.6"), "{:?}", elf.needed);
            assert!(elf.glibc >= LibcVersion::parse("2.2") && elf.loader.is_some());
        }
    }

    #[test]
    fn others_are_none_and_broken_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.so");
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(read(&path).unwrap(), None);
        let error = parse(Path::new("lib/x.so"), b"\x7fELF\x02\x01\x01\0").unwrap_err();
        insta::assert_snapshot!(error, @"`lib/x.so` is not a program or library that can be read");
    }

    #[test]
    fn names_of_symbol_versions_are_versions() {
        assert_eq!(of_symbol("2.2.5"), LibcVersion::parse("2.2"));
        assert_eq!(of_symbol("ABI_DT_RELR"), LibcVersion::parse("2.36"));
        assert_eq!((of_symbol("PRIVATE"), of_symbol("2")), (None, None));
    }

    #[test]
    fn the_c_librarys_own_are_known() {
        for name in ["libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "libc.musl-x86_64.so.1", "libpthread.so.0"] {
            assert!(is_libc(name), "{name}");
        }
        for name in ["libcrypt.so.1", "libssl.so.3", "libcrypto.so.3", "libpython3.11.so.1.0", "libgcc_s.so.1"] {
            assert!(!is_libc(name), "{name}");
        }
    }
}
