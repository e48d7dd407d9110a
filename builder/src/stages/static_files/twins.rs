//! Pre-compressed twins: `site.css.gz`, `site.css.br` and `site.css.zst` beside `site.css`, which a server sends as they
//! are to browsers that take them.
//!
//! Made once here at the highest levels, so that no node compresses anything. Files of equal content (a manifest storage
//! keeps each under its plain and its hashed name) are compressed once. A twin that is there already stays: the site's
//! own storage made it. One thread makes one twin, so that the number of cores changes no byte.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use pannier_shared::digest::Digest;
use pannier_shared::sys::{cores, fs};
use walkdir::WalkDir;

use super::{Error, MANIFESTS};
use crate::settings::Encoding;
use crate::shelf::Shelf;

/// Endings of files that compress; pictures, fonts for the web and films are compressed already.
const KINDS: &[&str] = &[
    "atom",
    "bmp",
    "cjs",
    "css",
    "csv",
    "eot",
    "geojson",
    "htm",
    "html",
    "ico",
    "js",
    "json",
    "map",
    "md",
    "mjs",
    "otf",
    "rss",
    "svg",
    "tsv",
    "ttf",
    "txt",
    "vtt",
    "wasm",
    "webmanifest",
    "xhtml",
    "xml",
    "xsl",
    "yaml",
    "yml",
];

/// A larger file would keep one core busy for minutes, and pages do not hold such text.
const LARGEST: u64 = 64 * 1024 * 1024;

/// RFC 9659 allows browsers to refuse a window above 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The highest level of zstd that keeps to that window by itself.
const ZSTD_LEVEL: i32 = 19;

/// The highest quality of brotli, and the window that its own program takes for it.
const BROTLI: (u32, u32) = (11, 22);

/// The crates whose bytes these are; a test holds them to what is built in.
const MINIZ: &str = "miniz_oxide 0.9.1";
const BROTLI_CRATE: &str = "brotli 8.0.4";

/// What was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Twins.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A file that may get twins.
struct File {
    path: PathBuf,
    size: u64,
}

/// One content that lacks a twin of one kind, and the names that the twin gets.
struct Job {
    encoding: Encoding,
    size: u64,
    source: PathBuf,
    twins: Vec<PathBuf>,
}

/// Makes the twins that are missing below `folder`, those that are at least a twentieth smaller than their file.
pub fn make(folder: &Path, encodings: &[Encoding], shelf: &Shelf) -> Result<Made, Error> {
    let files = if encodings.is_empty() { Vec::new() } else { files(folder)? };
    let contents = contents(&files)?;
    let mut jobs: Vec<Job> = contents.values().flat_map(|content| jobs_of(content, encodings)).collect();
    // The longest first, so that no core is left with one when the others are done.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.size));
    let made = cores::on_all_cores(jobs.len(), |number| do_job(&jobs[number], shelf));
    made.into_iter().try_fold(Made::default(), |sum, made| {
        let made = made?;
        Ok(Made { files: sum.files + made.files, bytes: sum.bytes + made.bytes })
    })
}

fn files(folder: &Path) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.map_err(Error::Walk)?;
        if entry.file_type().is_file() && compresses(entry.path()) && !is_manifest(entry.path(), folder) {
            let size = fs::lstat(entry.path())?.len();
            files.push(File { path: entry.into_path(), size });
        }
    }
    files.retain(|file| file.size <= LARGEST);
    Ok(files)
}

fn compresses(path: &Path) -> bool {
    let ending = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|end| KINDS.contains(&end.as_str()))
}

fn is_manifest(path: &Path, folder: &Path) -> bool {
    MANIFESTS.iter().any(|manifest| path == folder.join(manifest))
}

/// The files by what is in them.
fn contents(files: &[File]) -> Result<BTreeMap<Digest, Vec<&File>>, Error> {
    let digest = |number: usize| fs::read(&files[number].path, LARGEST).map(|bytes| Digest::of(&bytes));
    let mut contents: BTreeMap<Digest, Vec<_>> = BTreeMap::new();
    for (file, digest) in files.iter().zip(cores::on_all_cores(files.len(), digest)) {
        contents.entry(digest?).or_default().push(file);
    }
    Ok(contents)
}

fn jobs_of(content: &[&File], encodings: &[Encoding]) -> Vec<Job> {
    let job = |encoding: &Encoding| {
        let twins = content.iter().map(|file| twin(&file.path, *encoding)).filter(|twin| !fs::exists(twin));
        let first = content.first()?;
        Some(Job { encoding: *encoding, size: first.size, source: first.path.clone(), twins: twins.collect() })
    };
    encodings.iter().filter_map(job).filter(|job| !job.twins.is_empty()).collect()
}

fn twin(path: &Path, encoding: Encoding) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(encoding.ending());
    name.into()
}

fn do_job(job: &Job, shelf: &Shelf) -> Result<Made, Error> {
    let plain = fs::read(&job.source, LARGEST)?;
    let made = shelf.made(&how(job.encoding), &plain, || compress(&plain, job.encoding));
    let compressed =
        made.map_err(|source| Error::Compress { path: job.source.clone(), encoding: job.encoding, source })?;
    if compressed.len() + plain.len() / 20 >= plain.len() {
        return Ok(Made::default());
    }
    for twin in &job.twins {
        fs::write(twin, &compressed)?;
    }
    let files = job.twins.len() as u64;
    Ok(Made { files, bytes: files * compressed.len() as u64 })
}

/// What a twin is made with: the shelf's twins by anything else are not taken.
fn how(encoding: Encoding) -> String {
    let with = match encoding {
        Encoding::Gz => format!("{MINIZ}, level {}", Compression::best().level()),
        Encoding::Br => format!("{BROTLI_CRATE}, {BROTLI:?}"),
        Encoding::Zst => format!("zstd {}, {ZSTD_LEVEL}, {ZSTD_WINDOW_LOG}", zstd::zstd_safe::version_string()),
    };
    format!("twin {}, {with}", encoding.ending())
}

fn compress(plain: &[u8], encoding: Encoding) -> io::Result<Vec<u8>> {
    match encoding {
        Encoding::Gz => gzip(plain),
        Encoding::Br => brotli(plain),
        Encoding::Zst => zstd(plain),
    }
}

/// Without a name, a time or an operating system in its header.
fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

fn brotli(plain: &[u8]) -> io::Result<Vec<u8>> {
    let (quality, window) = BROTLI;
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 64 * 1024, quality, window);
    encoder.write_all(plain)?;
    Ok(encoder.into_inner())
}

fn zstd(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(ZSTD_WINDOW_LOG))?;
    encoder.compress(plain)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test")]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::files as names;

    const ALL: &[Encoding] = &[Encoding::Gz, Encoding::Br, Encoding::Zst];

    fn text() -> String {
        (0..500).map(|n| format!(".rule-{n} {{ color: #{n:06x} }}\n")).collect()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    fn unpacked(path: &Path) -> Vec<u8> {
        let packed = std::fs::read(path).unwrap();
        let mut plain = Vec::new();
        match path.extension().unwrap().to_str().unwrap() {
            "gz" => flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut plain).unwrap(),
            "br" => brotli::Decompressor::new(&packed[..], 4096).read_to_end(&mut plain).unwrap(),
            _ => zstd::stream::copy_decode(&packed[..], &mut plain).map(|()| 0).unwrap(),
        };
        plain
    }

    #[test]
    fn every_twin_holds_its_file() {
        let text = text();
        let dir = folder(&[("a/site.css", text.as_bytes()), ("a/site.0123456789ab.css", text.as_bytes())]);
        let made = make(dir.path(), ALL, &Shelf::none()).unwrap();
        assert_eq!(made.files, 6);
        for encoding in ALL {
            for name in ["a/site.css", "a/site.0123456789ab.css"] {
                assert!(unpacked(&twin(&dir.path().join(name), *encoding)) == text.as_bytes(), "{name} {encoding:?}");
            }
        }
    }

    #[test]
    fn only_what_compresses_and_gets_smaller_has_twins() {
        let text = text();
        let dir = folder(&[
            ("photo.jpg", text.as_bytes()),
            ("font.woff2", text.as_bytes()),
            ("tiny.css", b"a{}"),
            ("empty.js", b""),
            ("staticfiles.json", text.as_bytes()),
            ("CACHE/manifest.json", text.as_bytes()),
            ("LOGO.SVG", text.as_bytes()),
        ]);
        assert_eq!(make(dir.path(), &[Encoding::Gz], &Shelf::none()).unwrap().files, 1);
        let found = names(dir.path());
        assert_eq!(found.iter().filter(|name| name.ends_with(".gz")).collect::<Vec<_>>(), ["LOGO.SVG.gz"]);
    }

    #[test]
    fn what_the_sites_own_storage_made_stays() {
        let text = text();
        let dir = folder(&[("site.css", text.as_bytes()), ("site.css.br", b"its own")]);
        assert_eq!(make(dir.path(), ALL, &Shelf::none()).unwrap().files, 2);
        assert_eq!(std::fs::read(dir.path().join("site.css.br")).unwrap(), b"its own");
        assert_eq!(names(dir.path()), ["site.css", "site.css.br", "site.css.gz", "site.css.zst"]);
        assert_eq!(make(dir.path(), ALL, &Shelf::none()).unwrap(), Made::default(), "nothing is missing any more");
    }

    #[test]
    fn twins_from_the_shelf_are_the_same_and_the_shelf_knows_what_made_them() {
        let (text, kept) = (text(), tempfile::tempdir().unwrap());
        let shelf = Shelf::at(kept.path().to_owned());
        let twins = |shelf: &Shelf| {
            let dir = folder(&[("site.css", text.as_bytes())]);
            make(dir.path(), ALL, shelf).unwrap();
            ALL.iter()
                .map(|encoding| std::fs::read(twin(&dir.path().join("site.css"), *encoding)).unwrap())
                .collect::<Vec<_>>()
        };
        let without = twins(&Shelf::none());
        assert!(twins(&shelf) == without && twins(&shelf) == without);
        assert_eq!(names(kept.path()).len(), 3);
        let lock = include_str!("../../../../Cargo.lock");
        for one in [MINIZ, BROTLI_CRATE] {
            let (name, version) = one.split_once(' ').unwrap();
            assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n")), "{one} is not built in");
        }
    }

    #[test]
    fn none_are_made_when_none_are_wanted() {
        let dir = folder(&[("site.css", text().as_bytes())]);
        assert_eq!(make(dir.path(), &[], &Shelf::none()).unwrap(), Made::default());
    }

    #[test]
    fn a_gzip_twin_says_neither_when_nor_where_it_was_made() {
        let packed = gzip(text().as_bytes()).unwrap();
        assert_eq!(packed[3..10], [0, 0, 0, 0, 0, 2, 255], "no flags, no time, best compression, no system");
    }

    #[test]
    fn the_window_of_a_zstd_twin_is_one_that_browsers_take() {
        let plain: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let packed = zstd(&plain).unwrap();
        // RFC 8878, 3.1.1: no single segment, so the window stands in the sixth byte.
        assert_eq!(packed[4] & 0x20, 0);
        assert!(packed[5] >> 3 <= 13, "2^(10 + 13) is 8 MiB");
    }
}
