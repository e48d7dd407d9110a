//! Where a store is, as a person writes it: `file:///path`, `s3://bucket/prefix` or `https://host/path`.
//!
//! A location never holds credentials: those that are written into one are refused (and not repeated in the error),
//! so every message, log line and statement may show a location as it is. Plain `http://` is for this machine only:
//! what a store gives is believed in nothing, but a network must not learn who asks for what, nor hold updates back.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::{Host, Url};

use super::Key;

/// Where a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine: `file:///path`.
    Dir(PathBuf),
    /// A bucket, with an optional prefix: `s3://bucket/prefix`.
    S3(Bucket),
    /// A web server that gives files, read-only: `https://host/path`.
    Web(Url),
}

/// A bucket and the prefix below which the store lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// A key without a `/` at either end; empty for the whole bucket.
    pub prefix: String,
}

/// A text that is not a location.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a store location: {why}")]
pub struct BadLocation {
    /// The text as given, shortened to 120 characters, and without what may be a password.
    pub given: String,
    /// The rule it breaks, and what to write instead.
    pub why: String,
}

impl FromStr for Location {
    type Err = BadLocation;
    fn from_str(text: &str) -> Result<Self, BadLocation> {
        let bad = |why| BadLocation { given: presentable(text), why };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad(without_scheme(text)))?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(bad("credentials do not belong into a location; give them in the environment".to_owned()));
        }
        let location = match scheme {
            "file" => directory(text),
            "s3" => bucket(rest).map(Self::S3),
            "https" | "http" => web(text),
            _ => Err("expected `file:///path`, `s3://bucket/prefix` or `https://host/path`".to_owned()),
        };
        location.map_err(bad)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => match Url::from_file_path(path) {
                Ok(url) => f.write_str(url.as_str()),
                Err(()) => write!(f, "file://{}", path.display()),
            },
            Self::S3(Bucket { name, prefix }) if prefix.is_empty() => write!(f, "s3://{name}"),
            Self::S3(Bucket { name, prefix }) => write!(f, "s3://{name}/{prefix}"),
            Self::Web(url) => f.write_str(url.as_str()),
        }
    }
}

fn without_scheme(text: &str) -> String {
    match text.strip_prefix('/') {
        Some(_) => format!("for a directory write `file://{}`", presentable(text)),
        None => "expected `file:///path`, `s3://bucket/prefix` or `https://host/path`".to_owned(),
    }
}

fn directory(text: &str) -> Result<Location, String> {
    if !text.starts_with("file:///") {
        return Err("a directory is written with three slashes and from the root: `file:///srv/store`".to_owned());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("write `?` as `%3F` and `#` as `%23` in a path".to_owned());
    }
    url.to_file_path().map(Location::Dir).map_err(|()| "it does not name a path of this machine".to_owned())
}

fn bucket(rest: &str) -> Result<Bucket, String> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&name.len()) || !name.chars().all(allowed) || !name.starts_with(ends) || !name.ends_with(ends)
    {
        return Err("a bucket's name has 3 to 63 lower-case letters, digits, `.` and `-`".to_owned());
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && prefix.parse::<Key>().is_err() {
        return Err("a prefix has components of letters, digits and `.`, `_`, `+`, `-` only".to_owned());
    }
    Ok(Bucket { name: name.to_owned(), prefix: prefix.to_owned() })
}

fn web(text: &str) -> Result<Location, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a web store's address has no `?` and no `#`".to_owned());
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("`http://` is allowed for this machine only (127.0.0.1, localhost); write `https://`".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(Location::Web(url))
}

/// True when the address is this machine by its very text, without asking a name server.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::from(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What of a bad text may be shown: nothing before an `@` (it may be a password), nothing after a `?` (it may be signed).
fn presentable(text: &str) -> String {
    let shown = text.split('?').next().unwrap_or_default();
    let shown = match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        (_, None) => shown.to_owned(),
    };
    shown.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Location>().unwrap().to_string()
    }

    fn refused(text: &str) -> String {
        text.parse::<Location>().unwrap_err().to_string()
    }

    #[test]
    fn a_location_prints_as_it_can_be_typed_again() {
        for text in
            ["file:///srv/store", "s3://bucket", "s3://my.bucket-1/a/b", "https://host/path", "http://[::1]:80/"]
        {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string().parse::<Location>().unwrap(), location, "{text}");
        }
    }

    #[test]
    fn a_slash_at_the_end_changes_nothing() {
        assert_eq!(parsed("s3://bucket/a/"), "s3://bucket/a");
        assert_eq!(parsed("s3://bucket/"), "s3://bucket");
        assert_eq!(parsed("https://host/a/"), "https://host/a");
    }

    #[test]
    fn a_path_may_hold_what_urls_quote() {
        let location: Location = "file:///srv/my store/100%25".parse().unwrap();
        assert_eq!(location, Location::Dir("/srv/my store/100%".into()));
        assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for text in ["http://127.0.0.1:9/x", "http://127.1.2.3/", "http://localhost/", "http://[::1]/"] {
            assert!(text.parse::<Location>().is_ok(), "{text}");
        }
        insta::assert_snapshot!(refused("http://example.com/x"), @"`http://example.com/x` is not a store location: `http://` is allowed for this machine only (127.0.0.1, localhost); write `https://`");
        assert!("http://localhost.example.com/".parse::<Location>().is_err());
        assert!("http://10.0.0.1/".parse::<Location>().is_err());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        insta::assert_snapshot!(refused("/srv/store"), @"`/srv/store` is not a store location: for a directory write `file:///srv/store`");
        insta::assert_snapshot!(refused("store"), @"`store` is not a store location: expected `file:///path`, `s3://bucket/prefix` or `https://host/path`");
        insta::assert_snapshot!(refused("ftp://host/x"), @"`ftp://host/x` is not a store location: expected `file:///path`, `s3://bucket/prefix` or `https://host/path`");
        insta::assert_snapshot!(refused("file://srv/store"), @"`file://srv/store` is not a store location: a directory is written with three slashes and from the root: `file:///srv/store`");
        insta::assert_snapshot!(refused("s3://Bucket/x"), @"`s3://Bucket/x` is not a store location: a bucket's name has 3 to 63 lower-case letters, digits, `.` and `-`");
        insta::assert_snapshot!(refused("s3://bucket/a//b"), @"`s3://bucket/a//b` is not a store location: a prefix has components of letters, digits and `.`, `_`, `+`, `-` only");
    }

    #[test]
    fn credentials_are_refused_and_not_repeated() {
        insta::assert_snapshot!(refused("https://me:hunter2@host/x"), @"`https://***@host/x` is not a store location: credentials do not belong into a location; give them in the environment");
        for text in ["s3://key:hunter2@bucket/x", "https://host/x?X-Amz-Signature=hunter2", "hunter2@host"] {
            assert!(!refused(text).contains("hunter2"), "{text}");
        }
    }
}
