//! The same bytes every time: takes out of the static root what depends on when and how fast it was made.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use pannier_shared::sys::fs;
use serde_json::{Map, Value};
use walkdir::WalkDir;

use super::Error;

/// django-compressor's offline manifest: its keys come in the order in which its threads were done.
const COMPRESSOR_MANIFEST: &str = "CACHE/manifest.json";

/// A manifest has a line for each block of each template.
const MANIFEST_LIMIT: u64 = 64 * 1024 * 1024;

/// Takes the time stamps out of gzip files, and puts the keys of django-compressor's manifest in order.
pub fn normalise(folder: &Path) -> Result<(), Error> {
    for entry in WalkDir::new(folder) {
        let entry = entry.map_err(Error::Walk)?;
        if entry.file_type().is_file() && entry.path().extension().is_some_and(|end| end == "gz") {
            forget_gzip_time(entry.path())?;
        }
    }
    sort_keys(&folder.join(COMPRESSOR_MANIFEST))
}

/// Zeroes bytes 4 to 7 of a gzip header, its modification time (RFC 1952, 2.3).
fn forget_gzip_time(path: &Path) -> Result<(), Error> {
    let mut file = fs::open_for_change(path)?;
    let mut magic = [0; 2];
    let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    if is_gzip {
        let zeroed = file.seek(SeekFrom::Start(4)).and_then(|_| file.write_all(&[0; 4]));
        zeroed.map_err(fs::failed("write", path))?;
    }
    Ok(())
}

/// Writes a JSON object anew with its keys sorted; what is none stays as it is.
fn sort_keys(path: &Path) -> Result<(), Error> {
    let Some(text) = fs::if_there(fs::read(path, MANIFEST_LIMIT))? else { return Ok(()) };
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&text) else { return Ok(()) };
    object.sort_keys();
    let sorted = serde_json::to_vec_pretty(&object).unwrap_or(text);
    Ok(fs::write(path, &sorted)?)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn gzip_files_forget_when_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.gz"), [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3, 9]).unwrap();
        std::fs::write(dir.path().join("b.gz"), [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        normalise(dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a.gz")).unwrap(), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 9]);
        assert_eq!(std::fs::read(dir.path().join("b.gz")).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn the_order_of_the_compressors_threads_does_not_show() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("CACHE")).unwrap();
        let manifest = dir.path().join(COMPRESSOR_MANIFEST);
        let written = |text: &str| {
            std::fs::write(&manifest, text).unwrap();
            normalise(dir.path()).unwrap();
            std::fs::read_to_string(&manifest).unwrap()
        };
        assert_eq!(written(r#"{"b": "<x>", "a": "é"}"#), written(r#"{"a": "é", "b": "<x>"}"#));
        assert_eq!(written("not JSON"), "not JSON");
    }
}
