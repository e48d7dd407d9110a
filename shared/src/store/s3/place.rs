//! Which bucket is spoken to, and what its refusals mean: the same whichever client asks.

use super::S3Options;
use crate::store::location::Location;
use crate::store::{Condition, Error, Key};

/// The metadata that says which write an object is of; as a header, with `x-amz-meta-` before it.
pub const MARK: &str = "pannier-write";

/// A bucket, and a prefix in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// How a person names it.
    pub location: String,
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Empty, or ending in `/`.
    pub prefix: String,
}

/// An answer that is not a success.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// S3's code: "NoSuchKey"; empty in an answer to HEAD.
    pub code: String,
    /// S3's message.
    pub message: String,
    /// Where the bucket is, if S3 says that it is elsewhere.
    pub region: Option<String>,
}

impl Place {
    /// Where these options lead.
    pub fn of(options: &S3Options) -> Self {
        let prefix = match options.bucket.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self {
            location: Location::S3(options.bucket.clone()).to_string(),
            bucket: options.bucket.name.clone(),
            region: options.region.clone(),
            prefix,
        }
    }

    /// The object's name in the bucket.
    pub fn path(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What a refusal means to somebody who wanted to do something with `key`.
    pub fn refused(&self, key: &str, refusal: &Refusal) -> Error {
        match (refusal.status, refusal.code.as_str()) {
            (404, "NoSuchBucket") => self.unavailable(format!("there is no bucket `{}`", self.bucket)),
            (404, _) => Error::NotFound { store: self.location.clone(), key: key.to_owned() },
            (_, "AuthorizationHeaderMalformed") | (300..=399, _) => {
                let elsewhere = refusal.region.as_deref().unwrap_or("another one");
                let region = &self.region;
                let detail = format!("the bucket is not in the region `{region}` but in {elsewhere}: set `AWS_REGION`");
                self.unavailable(detail)
            }
            (401 | 403, "AccessDenied") => {
                let or = "S3 says this also of a key that is not there when the credentials may not list the bucket";
                self.denied(key, format!("{} ({or})", refusal.said()))
            }
            (401 | 403, _) | (_, "ExpiredToken") => self.denied(key, refusal.said()),
            _ => self.wrong(key, refusal.said()),
        }
    }

    /// For a write whose condition did not hold.
    pub fn lost(&self, key: &Key, condition: &Condition) -> Error {
        let (store, key) = (self.location.clone(), key.to_string());
        match condition {
            Condition::Absent => Error::AlreadyExists { store, key },
            Condition::Unchanged(_) => Error::Changed { store, key },
        }
    }

    /// For a pinned read of another content.
    pub fn changed(&self, key: &Key) -> Error {
        Error::Changed { store: self.location.clone(), key: key.to_string() }
    }

    /// [`Error::Denied`].
    pub fn denied(&self, key: &str, detail: String) -> Error {
        Error::Denied { store: self.location.clone(), key: key.to_owned(), detail }
    }

    /// [`Error::Unavailable`].
    pub fn unavailable(&self, detail: String) -> Error {
        Error::Unavailable { store: self.location.clone(), detail }
    }

    /// [`Error::WrongAnswer`].
    pub fn wrong(&self, key: &str, detail: String) -> Error {
        Error::WrongAnswer { store: self.location.clone(), key: key.to_owned(), detail }
    }

    /// [`Error::Unsupported`].
    pub fn unsupported(&self, what: &'static str) -> Error {
        Error::Unsupported { store: self.location.clone(), what }
    }
}

impl Refusal {
    /// S3's own words, without what could upset a terminal, at most 300 characters.
    pub fn said(&self) -> String {
        let part = |before: &str, text: &str| if text.is_empty() { String::new() } else { format!("{before}{text}") };
        let text = format!("{}{}{}", self.status, part(" ", &self.code), part(": ", &self.message));
        text.chars().filter(|c| !c.is_control()).take(300).collect()
    }

    /// True if the same request may succeed later. A 409 is such: writes met, and nothing is said about this one.
    pub fn may_pass(&self) -> bool {
        (matches!(self.status, 408 | 409 | 429 | 500..) && self.status != 501) || self.code == "RequestTimeout"
    }

    /// True if other credentials may succeed.
    pub fn is_expired(&self) -> bool {
        self.code == "ExpiredToken"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal { status, code: code.to_owned(), ..Refusal::default() }
    }

    fn said(refusal: &Refusal) -> String {
        let place = Place {
            location: "s3://b1x/p".to_owned(),
            bucket: "b1x".to_owned(),
            region: "us-east-1".to_owned(),
            prefix: "p/".to_owned(),
        };
        place.refused("app/v1", refusal).to_string()
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        insta::assert_snapshot!(said(&refusal(404, "NoSuchKey")), @"`app/v1` is not in the store s3://b1x/p");
        insta::assert_snapshot!(said(&refusal(404, "NoSuchBucket")), @"the store s3://b1x/p is unavailable: there is no bucket `b1x`");
        let denied = Refusal { message: "Access Denied".to_owned(), ..refusal(403, "AccessDenied") };
        insta::assert_snapshot!(said(&denied), @"the store s3://b1x/p denied access to `app/v1`: 403 AccessDenied: Access Denied (S3 says this also of a key that is not there when the credentials may not list the bucket)");
        insta::assert_snapshot!(said(&refusal(403, "RequestTimeTooSkewed")), @"the store s3://b1x/p denied access to `app/v1`: 403 RequestTimeTooSkewed");
        insta::assert_snapshot!(said(&refusal(400, "ExpiredToken")), @"the store s3://b1x/p denied access to `app/v1`: 400 ExpiredToken");
        let elsewhere =
            Refusal { region: Some("eu-west-1".to_owned()), ..refusal(400, "AuthorizationHeaderMalformed") };
        insta::assert_snapshot!(said(&elsewhere), @"the store s3://b1x/p is unavailable: the bucket is not in the region `us-east-1` but in eu-west-1: set `AWS_REGION`");
        insta::assert_snapshot!(said(&refusal(301, "PermanentRedirect")), @"the store s3://b1x/p is unavailable: the bucket is not in the region `us-east-1` but in another one: set `AWS_REGION`");
        insta::assert_snapshot!(said(&refusal(418, "")), @"the store s3://b1x/p gave a wrong answer for `app/v1`: 418");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [408, 409, 429, 500, 502, 503, 504] {
            assert!(refusal(status, "").may_pass(), "{status}");
        }
        for status in [301, 400, 401, 403, 404, 412, 416, 501] {
            assert!(!refusal(status, "").may_pass(), "{status}");
        }
        assert!(refusal(400, "RequestTimeout").may_pass());
    }

    #[test]
    fn nothing_of_a_message_reaches_the_terminal_but_text() {
        let message = format!("\u{1b}[2J{}", "x".repeat(1000));
        let said = Refusal { message, ..refusal(400, "Odd") }.said();
        assert!(said.starts_with("400 Odd: [2Jxxx"), "{said}");
        assert_eq!(said.len(), 300);
    }
}
