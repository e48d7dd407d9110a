//! Proof: what runs is the packed interpreter, all of it, wherever the release lies.
//!
//! That it starts proves nothing: a moved interpreter can take its library from the place it was built for, or load
//! another `libpython` that the machine has, and nobody notices until a node has neither. So the environment's Python
//! is started in two different places, each time with what it was copied from out of sight, and asked where everything
//! that it has, and everything that the kernel has mapped for it, lies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pannier_shared::sys::{fs, process};
use serde::Deserialize;

use super::bundle::Packed;
use super::elf;
use crate::environment;

/// Importing every module in C, on a slow disk.
const LIMIT: Duration = Duration::from_secs(120);

const SCRIPT: &str = include_str!("../python/proof.py");

/// Covers each of its arguments up to `--`, a folder by an empty one and a file by an empty one, and becomes the rest.
const HIDE: &str = r#"while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mount -t tmpfs none "$1"; else mount --bind /dev/null "$1"; fi || exit 125
    shift
done
shift
exec "$@""#;

/// How a namespace is made in which something can be hidden: for anybody where the kernel allows it, else for root.
const NAMESPACES: &[&[&str]] = &[&["--map-root-user", "--mount"], &["--mount"]];

/// A second place: deeper than the first, and with a space in its name.
const ELSEWHERE: &str = "another place/deep";

/// Libraries that the C library loads by itself, for names of users and the end of threads.
const OF_LIBC: &[&str] = &["libnss_", "libgcc_s."];

/// Why a bundled interpreter is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It does not run at all.
    #[error("the bundled interpreter does not run in `{}`", .place.display())]
    Dead {
        /// The release's folder.
        place: PathBuf,
        /// Why.
        source: process::Error,
    },
    /// It answered something else.
    #[error("the bundled interpreter did not answer as a Python does")]
    Strange(#[source] serde_json::Error),
    /// It uses what a node would not have.
    #[error("the bundled interpreter is not all that runs: {}", .0.join("; "))]
    Outside(Vec<String>),
}

/// What the interpreter says of itself.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    version: String,
    /// `sys.prefix`, `sys.executable` and the like, by name.
    places: BTreeMap<String, PathBuf>,
    /// `sys.path` and the paths of `sysconfig`, by name.
    paths: BTreeMap<String, PathBuf>,
    /// Modules that cannot be imported, and why.
    failed: BTreeMap<String, String>,
    /// Shared objects that are mapped.
    mapped: Vec<PathBuf>,
    /// What a child, started through `sys.executable`, has as `sys.prefix`.
    child: PathBuf,
}

/// Whether what the interpreter was copied from could be put out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was.
    Hidden,
    /// This machine allows nobody, or not this user, to make a namespace for it.
    Seen,
}

/// Runs the release's Python where it is and in another place below `work`; the release is back where it was afterwards.
pub fn prove(tree: &Path, work: &Path, packed: &Packed, version: &str) -> Result<Origin, Error> {
    let hiding = Hiding::find(packed);
    let elsewhere = work.join(ELSEWHERE);
    prove_at(tree, &hiding, version)?;
    fs::create_dir_all(elsewhere.parent().unwrap_or(work))?;
    fs::rename(tree, &elsewhere)?;
    let proven = prove_at(&elsewhere, &hiding, version);
    fs::rename(&elsewhere, tree)?;
    proven?;
    Ok(if hiding.namespace.is_some() { Origin::Hidden } else { Origin::Seen })
}

fn prove_at(place: &Path, hiding: &Hiding, version: &str) -> Result<(), Error> {
    let mut command = hiding.command(&place.join("venv/bin/python"));
    let printed = process::run(command.args(["-c", SCRIPT]), LIMIT);
    let printed = printed.map_err(|source| Error::Dead { place: place.to_owned(), source })?;
    let answer: Answer = serde_json::from_slice(&printed.stdout).map_err(Error::Strange)?;
    let outside = judge(&answer, place, version);
    if outside.is_empty() { Ok(()) } else { Err(Error::Outside(outside)) }
}

/// How what the interpreter was copied from is put out of sight.
struct Hiding {
    namespace: Option<&'static [&'static str]>,
    covered: Vec<PathBuf>,
}

impl Hiding {
    fn find(packed: &Packed) -> Self {
        let allowed = |flags: &&&[&str]| {
            let mut unshare = environment::project("unshare");
            let place = packed.prefix.root.join(packed.prefix.library());
            unshare.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").args(**flags);
            process::run(unshare.args(["mount", "-t", "tmpfs", "none"]).arg(place), LIMIT).is_ok()
        };
        let library = format!("{}/", packed.prefix.library());
        let others = packed.files.iter().filter(|path| !path.starts_with(&library));
        let covered = others.chain([&packed.prefix.library()]).map(|path| packed.prefix.root.join(path)).collect();
        Self { namespace: NAMESPACES.iter().find(allowed).copied(), covered }
    }

    /// The program, to be run without what is covered.
    fn command(&self, program: &Path) -> Command {
        let Some(flags) = self.namespace else { return environment::project(program) };
        let mut command = environment::project("unshare");
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").args(flags).args(["/bin/sh", "-c", HIDE, "sh"]);
        command.args(&self.covered).arg("--").arg(program);
        command
    }
}

/// What of an answer leads out of the release at `root`, as sentences.
fn judge(answer: &Answer, root: &Path, version: &str) -> Vec<String> {
    let mut said = Vec::new();
    if answer.version != version {
        said.push(format!("it is Python {}, not {version}", answer.version));
    }
    let expected = [("sys.executable", "venv/bin/python"), ("sys.prefix", "venv"), ("sys.base_prefix", "python")];
    for (name, below) in expected {
        let found = answer.places.get(name).map_or("nothing".to_owned(), |path| path.display().to_string());
        if Path::new(&found) != root.join(below) {
            said.push(format!("`{name}` is `{found}`, not `{below}` of the release"));
        }
    }
    let child = [("sys.prefix of a child".to_owned(), answer.child.clone())];
    let others = answer.places.iter().filter(|(name, _)| expected.iter().all(|(known, _)| known != name));
    let outside = others.chain(&answer.paths).map(|(name, path)| (name.clone(), path.clone())).chain(child);
    said.extend(
        outside
            .filter(|(_, path)| !path.starts_with(root))
            .map(|(name, path)| format!("`{name}` is `{}`", path.display())),
    );
    let foreign = answer.mapped.iter().filter(|path| !path.starts_with(root) && !is_systems(path));
    said.extend(foreign.map(|path| format!("it has loaded `{}`", path.display())));
    said.extend(answer.failed.iter().map(|(module, why)| format!("`import {module}` fails: {why}")));
    said
}

/// True of what every machine with this C library has.
fn is_systems(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    elf::is_libc(&name) || OF_LIBC.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let paths =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(name, path)| ((*name).to_owned(), path.into())).collect();
        Answer {
            version: "3.11.7".to_owned(),
            places: paths(&[
                ("sys.executable", "/r/venv/bin/python"),
                ("sys.prefix", "/r/venv"),
                ("sys.base_prefix", "/r/python"),
            ]),
            paths: paths(&[("sysconfig stdlib", "/r/python/lib/python3.11")]),
            failed: BTreeMap::new(),
            mapped: ["/usr/lib/libc.so.6", "/r/python/lib/libpython3.11.so.1.0"].map(PathBuf::from).to_vec(),
            child: "/r/venv".into(),
        }
    }

    #[test]
    fn one_that_has_only_itself_and_the_c_library_is_believed() {
        assert_eq!(judge(&answer(), Path::new("/r"), "3.11.7"), Vec::<String>::new());
    }

    #[test]
    fn everything_that_leads_out_is_named() {
        let mut answer = answer();
        answer.version = "3.11.2".to_owned();
        answer.places.insert("sys.base_prefix".to_owned(), "/usr".into());
        answer.paths.insert("sys.path[2]".to_owned(), "/usr/lib/python3.11".into());
        answer.mapped.push("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0".into());
        answer.failed.insert("_ssl".to_owned(), "libssl.so.3: cannot open shared object file".to_owned());
        answer.child = "/usr".into();
        let error = Error::Outside(judge(&answer, Path::new("/r"), "3.11.7"));
        insta::assert_snapshot!(error.to_string().replace("; ", ";\n"), @"
        the bundled interpreter is not all that runs: it is Python 3.11.2, not 3.11.7;
        `sys.base_prefix` is `/usr`, not `python` of the release;
        `sys.path[2]` is `/usr/lib/python3.11`;
        `sys.prefix of a child` is `/usr`;
        it has loaded `/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0`;
        `import _ssl` fails: libssl.so.3: cannot open shared object file
        ");
    }
}
