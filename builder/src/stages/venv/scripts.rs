//! Console scripts, the same whoever installed them.
//!
//! uv and pip write other words into them, into `INSTALLER`, and pip the path of the environment. A script of ours starts
//! the Python beside it, wherever that lies, and calls what the distribution's `entry_points.txt` names; a script that a
//! wheel brought itself keeps its text and gets the same beginning.

use std::collections::BTreeMap;
use std::io::Read;

use pannier_shared::digest::{self, Digest};
use pannier_shared::sys::fs;

use super::{Error, Venv, record};

/// What stands in `INSTALLER`.
const INSTALLER: &str = "pannier\n";

/// The most bytes of a list of entry points, or of a script that a wheel brings.
const LIMIT: u64 = 16 * 1024 * 1024;

/// How a script finds the Python of its own environment: read by `sh` as a command, by Python as a text.
const BEGINNING: &str =
    "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n";

/// Rewrites the scripts of a distribution; gives the lines of RECORD that say something else now, by path.
pub fn rewrite(venv: &Venv, dist_info: &str, text: &str) -> Result<BTreeMap<String, String>, Error> {
    let folder = venv.root.join(&venv.site).join(dist_info);
    let listed = fs::if_there(fs::read_text(&folder.join("entry_points.txt"), LIMIT))?.unwrap_or_default();
    let points = entry_points(&listed);
    let mut changed = BTreeMap::new();
    for path in record::paths(text) {
        let Some(below) = record::resolve(&venv.site, &path) else { continue };
        let new = match below.strip_prefix("bin/") {
            _ if path == format!("{dist_info}/INSTALLER") => Some(INSTALLER.to_owned()),
            Some(name) => script(venv, &below, points.get(name))?,
            None => None,
        };
        if let Some(new) = new {
            fs::write(&venv.root.join(&below), new.as_bytes())?;
            changed.insert(path.clone(), record::line(&path, &Digest::of(new.as_bytes()), new.len()));
        }
    }
    Ok(changed)
}

/// What a script says from now on; nothing where it stays as it is.
fn script(venv: &Venv, below: &str, point: Option<&EntryPoint>) -> Result<Option<String>, Error> {
    if let Some(point) = point {
        return Ok(Some(point.script()));
    }
    let path = venv.root.join(below);
    let mut start = [0; 2];
    let is_script = fs::open(&path)?.read_exact(&mut start).is_ok() && start == *b"#!";
    if !is_script {
        return Ok(None);
    }
    let text = fs::read_text(&path, LIMIT)?;
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let own = format!("#!{}", venv.root.join("bin/python").display());
    Ok(first.starts_with(&own).then(|| format!("{BEGINNING}{rest}")))
}

/// `name = module:callable` of `entry_points.txt`.
#[derive(Debug, PartialEq, Eq)]
struct EntryPoint {
    module: String,
    /// With dots, when it is a part of something.
    callable: String,
}

impl EntryPoint {
    fn script(&self) -> String {
        let Self { module, callable } = self;
        let first = callable.split('.').next().unwrap_or(callable);
        format!(
            "{BEGINNING}import sys\n\nfrom {module} import {first}\n\nif __name__ == \"__main__\":\n    sys.exit({callable}())\n"
        )
    }
}

/// The scripts of a list of entry points, by name.
fn entry_points(text: &str) -> BTreeMap<&str, EntryPoint> {
    let mut found = BTreeMap::new();
    let mut of_scripts = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            of_scripts = matches!(section.trim_end_matches(']').trim(), "console_scripts" | "gui_scripts");
        } else if let Some((name, point)) = line.split_once('=').filter(|_| of_scripts) {
            let named = point.split('[').next().unwrap_or(point).split_once(':');
            let point = named.map(|(module, callable)| (module.trim().to_owned(), callable.trim().to_owned()));
            found.extend(point.map(|(module, callable)| (name.trim(), EntryPoint { module, callable })));
        }
    }
    found
}

/// A digest as RECORD has it: base64 for addresses, without padding.
pub fn in_record(sha256: &Digest) -> String {
    let text = digest::base64(sha256.as_bytes()).replace('+', "-").replace('/', "_");
    text.trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_from_the_entry_points() {
        let text =
            "[console_scripts]\n# one\nrun = a.b:main\nother=c:App.start [extra]\nbad\n[paste.server]\nx = y:z\n";
        let found = entry_points(text);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["other", "run"]);
        insta::assert_snapshot!(found["other"].script(), @r#"
        #!/bin/sh
        '''exec' "$(dirname -- "$(realpath -- "$0")")"/'python' "$0" "$@"
        ' '''
        import sys

        from c import App

        if __name__ == "__main__":
            sys.exit(App.start())
        "#);
    }

    #[test]
    fn digests_are_written_as_installers_write_them() {
        // Of an empty file, as RECORD files have it everywhere.
        assert_eq!(in_record(&Digest::of(b"")), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    }
}
