//! Which of a release's static files have names that change with their content.
//!
//! Django's manifest says it, for it is by the manifest that pages come by these names; a name is never guessed from what
//! it looks like. What a bundler or django-compressor named by content is not in there, so a person can say it with
//! patterns. Names that are in the manifest as plain ones, and the manifests themselves, stay with the nodes: they hold
//! other things in the next release. Compressed twins go with their file.

use std::collections::HashSet;

use pannier_shared::archive::toc::FileRow;
use pannier_shared::digest::Digest;
use pannier_shared::static_names::{self, Manifest};

use super::{Error, media};
use crate::settings::Encoding;
use crate::stages::source::Patterns;
use crate::stages::static_files::MANIFESTS;

/// Where a release holds its static files.
const FOLDER: &str = "static/";

/// A file for browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its place among the files of the release.
    pub number: usize,
    /// Its name below `STATIC_URL`: whatever a release's path may be.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// What browsers are told that it is; of a twin, what its file is.
    pub media: &'static str,
    /// How it is compressed.
    pub encoded: Encoded,
}

/// How a file's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// As they are.
    Not,
    /// After unpacking: the file is a twin.
    By(Encoding),
}

impl Encoded {
    /// The value of `Content-Encoding`.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Not => None,
            Self::By(Encoding::Gz) => Some("gzip"),
            Self::By(Encoding::Br) => Some("br"),
            Self::By(Encoding::Zst) => Some("zstd"),
        }
    }
}

/// What was chosen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The files, in the order of the release.
    pub assets: Vec<Asset>,
    /// Hashed names of the manifest that the release has no file of.
    pub gone: Vec<String>,
}

/// The storage's manifest in a release.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Its name below `static/`.
    pub name: &'a str,
    /// What it holds; none where the release has no such file.
    pub text: Option<&'a [u8]>,
}

/// Chooses among the files of a release, all of them in their order.
pub fn choose<'a>(
    files: impl Iterator<Item = &'a FileRow>,
    manifest: Listed,
    immutable: &Patterns,
) -> Result<Chosen, Error> {
    let Listed { name: called, text } = manifest;
    let wrong = |why: static_names::Error| Error::Manifest { name: called.to_owned(), why: why.to_string() };
    let manifest = text.map(Manifest::parse).transpose().map_err(wrong)?;
    let statics = files.enumerate().filter_map(|(at, row)| Some((at, row.path.strip_prefix(FOLDER)?, row)));
    let statics: Vec<(usize, &str, &FileRow)> = statics.collect();
    let present: HashSet<&str> = statics.iter().map(|(_, name, _)| *name).collect();
    let listed = manifest.as_ref().map(Manifest::hashed).unwrap_or_default();
    let gone = listed.iter().filter(|name| !present.contains(*name)).map(|name| (*name).to_owned()).collect();
    let is_hashed = |name: &str| listed.contains(name) || (immutable.matches(name) && !is_manifest(name, called));
    let assets: Vec<Asset> = statics.iter().filter_map(|(at, name, row)| asset(*at, name, row, &is_hashed)).collect();
    if assets.is_empty() && (manifest.is_none() || statics.is_empty()) {
        return Err(if statics.is_empty() { Error::None } else { not_hashed(statics.len(), called, immutable) });
    }
    Ok(Chosen { assets, gone })
}

fn not_hashed(files: usize, called: &str, immutable: &Patterns) -> Error {
    let patterns = if immutable.is_empty() { "" } else { ", and no pattern of `immutable` matches one" };
    Error::NotHashed {
        files,
        why: format!("there is no `{FOLDER}{called}`, which Django's manifest storages write{patterns}"),
    }
}

/// Manifests, and the twins that a site's own storage may have made of them.
fn is_manifest(name: &str, called: &str) -> bool {
    let file = twin_of(name).map_or(name, |(file, _)| file);
    file == called || MANIFESTS.contains(&file)
}

fn asset(number: usize, name: &str, row: &FileRow, is_hashed: &impl Fn(&str) -> bool) -> Option<Asset> {
    let (file, encoded) = match twin_of(name).filter(|(file, _)| is_hashed(file)) {
        Some((file, encoding)) => (file, Encoded::By(encoding)),
        None => (name, Encoded::Not),
    };
    is_hashed(file).then(|| Asset {
        number,
        name: name.to_owned(),
        size: row.size,
        sha256: row.sha256,
        media: media::of(file),
        encoded,
    })
}

/// The name that this one would be a twin of.
fn twin_of(name: &str) -> Option<(&str, Encoding)> {
    let (file, ending) = name.rsplit_once('.')?;
    Encoding::ALL.iter().find(|encoding| encoding.ending() == ending).map(|encoding| (file, *encoding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::told;

    const NONE: &[&str] = &[];

    fn rows(paths: &[&str]) -> Vec<FileRow> {
        let row = |path: &&str| FileRow {
            path: (*path).to_owned(),
            size: path.len() as u64,
            executable: false,
            sha256: Digest::of(path.as_bytes()),
        };
        paths.iter().map(row).collect()
    }

    fn chosen(paths: &[&str], manifest: Option<&str>, immutable: &[&str]) -> Result<Chosen, Error> {
        let patterns: Vec<String> = immutable.iter().map(|pattern| (*pattern).to_owned()).collect();
        let listed = Listed { name: "staticfiles.json", text: manifest.map(str::as_bytes) };
        choose(rows(paths).iter(), listed, &Patterns::new(&patterns))
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        chosen.assets.iter().map(|asset| asset.name.as_str()).collect()
    }

    fn manifest(paths: &[(&str, &str)]) -> String {
        let paths: std::collections::BTreeMap<_, _> = paths.iter().copied().collect();
        serde_json::json!({"paths": paths, "version": "1.1", "hash": "0123"}).to_string()
    }

    #[test]
    fn the_manifest_decides_and_not_what_a_name_looks_like() {
        let manifest = manifest(&[("a.css", "a.0123456789ab.css"), ("b.css", "named-otherwise.css")]);
        let paths = [
            "app/static/a.0123456789ab.css",
            "static/a.0123456789ab.css",
            "static/a.css",
            "static/b.css",
            "static/looks.0123456789ab.css",
            "static/named-otherwise.css",
            "static/staticfiles.json",
        ];
        let chosen = chosen(&paths, Some(&manifest), NONE).unwrap();
        assert_eq!(names(&chosen), ["a.0123456789ab.css", "named-otherwise.css"]);
        assert_eq!((chosen.assets[0].number, chosen.assets[0].size), (1, 25));
    }

    #[test]
    fn twins_go_with_their_file_and_say_how_they_are_compressed() {
        let manifest = manifest(&[("a.js", "a.01.js"), ("x.gz", "x.01.gz"), ("b.js", "b.js")]);
        let paths = ["a.01.js", "a.01.js.br", "a.01.js.gz", "a.01.js.zst", "a.js.gz", "b.js", "b.js.gz", "x.01.gz"];
        let paths = paths.map(|path| format!("static/{path}"));
        let chosen = chosen(&paths.each_ref().map(String::as_str), Some(&manifest), NONE).unwrap();
        let said: Vec<_> = chosen.assets.iter().map(|a| (a.name.as_str(), a.media, a.encoded.header())).collect();
        let js = "text/javascript; charset=utf-8";
        assert_eq!(
            said,
            [
                ("a.01.js", js, None),
                ("a.01.js.br", js, Some("br")),
                ("a.01.js.gz", js, Some("gzip")),
                ("a.01.js.zst", js, Some("zstd")),
                ("x.01.gz", "application/gzip", None),
            ]
        );
    }

    #[test]
    fn what_keeps_its_plain_name_is_not_hashed() {
        let manifest = manifest(&[("a.css", "a.css"), ("b.css", "c.css"), ("c.css", "c.01.css")]);
        let chosen = chosen(&["static/a.css", "static/c.css", "static/c.01.css"], Some(&manifest), NONE).unwrap();
        assert_eq!(names(&chosen), ["c.01.css"]);
        assert!(chosen.gone.is_empty());
    }

    #[test]
    fn patterns_add_what_a_bundler_named_but_never_a_manifest() {
        let paths =
            ["CACHE/css/out.01.css", "CACHE/css/out.01.css.gz", "CACHE/manifest.json", "CACHE/manifest.json.gz"];
        let paths = paths.map(|path| format!("static/{path}"));
        let paths = [&paths.each_ref().map(String::as_str)[..], &["static/a.css", "static/staticfiles.json"]].concat();
        let chosen_by = |patterns: &[&str]| chosen(&paths, None, patterns).unwrap();
        let chosen = chosen_by(&["CACHE/**"]);
        assert_eq!(names(&chosen), ["CACHE/css/out.01.css", "CACHE/css/out.01.css.gz"]);
        assert_eq!(chosen.assets[1].encoded, Encoded::By(Encoding::Gz));
        assert_eq!(names(&chosen_by(&["CACHE/**", "*.json", "a.css"])).last(), Some(&"a.css"));
    }

    #[test]
    fn names_that_the_release_has_no_file_of_are_told_and_lead_nowhere() {
        let manifest = manifest(&[("a.css", "a.01.css"), ("b", "../../etc/passwd"), ("c", "/etc/passwd"), ("d", "")]);
        let chosen = chosen(&["static/a.01.css", "app/x"], Some(&manifest), NONE).unwrap();
        assert_eq!(names(&chosen), ["a.01.css"]);
        assert_eq!(chosen.gone, ["", "../../etc/passwd", "/etc/passwd"]);
    }

    #[test]
    fn a_release_without_hashed_names_is_refused_with_what_to_set() {
        let refused = |paths: &[&str], patterns: &[&str]| {
            let error = chosen(paths, None, patterns).unwrap_err();
            format!("{}\nhint: {}", told(&error), error.hint().unwrap_or_default())
        };
        insta::assert_snapshot!(refused(&["static/a.css", "static/b.css", "app/x"], NONE), @r#"
        none of the release's 2 static files is known to have a name that changes with its content: there is no `static/staticfiles.json`, which Django's manifest storages write
        hint: have Django name them by content (`STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}`), or, where a bundler does, say which with `immutable = ["assets/**"]` in `[publish]` of pannier.toml
        "#);
        insta::assert_snapshot!(refused(&["static/a.css"], &["dist/**"]).lines().next().unwrap(), @"none of the release's 1 static files is known to have a name that changes with its content: there is no `static/staticfiles.json`, which Django's manifest storages write, and no pattern of `immutable` matches one");
        insta::assert_snapshot!(refused(&["app/x"], NONE), @"
        the release holds no static files
        hint: publish without them: `--static none`, or no `static` in `[publish]` of pannier.toml
        ");
        let empty = chosen(&["static/staticfiles.json"], Some(&manifest(&[])), NONE).unwrap();
        assert_eq!(empty, Chosen::default(), "a site whose storage hashes, and that has no files");
    }

    #[test]
    fn a_manifest_that_is_none_is_refused() {
        let refused = |text: &str| told(&chosen(&["static/staticfiles.json"], Some(text), NONE).unwrap_err());
        insta::assert_snapshot!(refused("<html>"), @"`static/staticfiles.json` of the release is no manifest of Django's: expected value at line 1 column 1");
        insta::assert_snapshot!(refused(r#"{"version": "2.0", "paths": {}}"#), @"`static/staticfiles.json` of the release is no manifest of Django's: it has version `2.0`, known are 1.0 and 1.1");
        insta::assert_snapshot!(refused("{}"), @"`static/staticfiles.json` of the release is no manifest of Django's: it has version ``, known are 1.0 and 1.1");
    }
}
