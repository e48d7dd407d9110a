//! What kind of content a static file is, by its ending, as browsers are told it.
//!
//! A table of our own rather than a crate's or the machine's: what a file is sent with stays for as long as its name does,
//! so the same file must not become another kind with the next update of something. The types are IANA's where there is one
//! for what the web calls the thing, the endings those that pages refer to. Text is UTF-8, because Django reads and
//! writes it so; JSON and XML say that themselves.

/// Kinds by ending.
const KINDS: &[(&str, &str)] = &[
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("cjs", JAVASCRIPT),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("cur", "image/vnd.microsoft.icon"),
    ("eot", "application/vnd.ms-fontobject"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", JAVASCRIPT),
    ("json", "application/json"),
    ("jxl", "image/jxl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", JAVASCRIPT),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("po", "text/plain; charset=utf-8"),
    ("rss", "application/rss+xml"),
    ("svg", "image/svg+xml"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("ttc", "font/collection"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("xsl", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// RFC 9239: the other names of it are obsolete.
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// For what is in no table: browsers save it and run nothing.
const UNKNOWN: &str = "application/octet-stream";

/// The `Content-Type` of a file of this name.
pub fn of(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let ending = file.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = ending.and_then(|ending| KINDS.binary_search_by_key(&ending.as_str(), |(known, _)| known).ok());
    known.map_or(UNKNOWN, |at| KINDS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_in_order_so_that_they_are_found() {
        assert!(KINDS.is_sorted_by_key(|(ending, _)| ending));
    }

    #[test]
    fn kinds_are_told_by_ending_in_any_case() {
        assert_eq!(of("css/site.0123456789ab.css"), "text/css; charset=utf-8");
        assert_eq!(of("a.b/SITE.0123456789ab.JS"), "text/javascript; charset=utf-8");
        assert_eq!(of("site.0123456789ab.js.map"), "application/json");
        assert_eq!(of("f.0123456789ab.woff2"), "font/woff2");
        assert_eq!(of("a b (1)/\u{e9}.0123456789ab.svg"), "image/svg+xml");
        assert_eq!(of("dump.0123456789ab.gz"), "application/gzip");
    }

    #[test]
    fn what_is_not_known_is_nothing_that_a_browser_runs() {
        for name in ["LICENSE.0123456789ab", "LICENSE", "js/LICENSE", "a.js/b", "", "a.", ".", "x.exe"] {
            assert_eq!(of(name), "application/octet-stream", "{name}");
        }
    }
}
