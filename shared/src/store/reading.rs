//! What an answer must be before its bytes are taken for data: the same for S3 and for a web server.

use std::ops::Range;

use bytes::Bytes;

use super::Etag;
use super::wire::Answer;

/// Names the content an answer is of. A web server without ETags is believed by its date and size.
pub(super) fn etag(answer: &Answer) -> Option<Etag> {
    match (answer.header("etag"), answer.header("last-modified")) {
        (Some(etag), _) => Some(Etag(etag.to_owned())),
        (None, Some(date)) => Some(Etag(format!("{date} {}", total(answer)?))),
        (None, None) => None,
    }
}

/// True for a name that a server can be held to by `If-Match`.
pub(super) fn is_strong(etag: &Etag) -> bool {
    etag.0.starts_with('"')
}

/// The header of a request whose answer must come from the store itself.
pub(super) const PAST_CACHES: (&str, &str) = ("cache-control", "no-cache");

/// The value of the `Range` header.
pub fn range_header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end - 1)
}

/// An answer to a range request.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// Its status.
    pub status: u16,
    /// The range that it says it has.
    pub content_range: Option<&'a str>,
    /// What it has.
    pub body: Bytes,
}

impl<'a> Part<'a> {
    pub(super) fn of(answer: &'a Answer) -> Self {
        let (status, content_range) = (answer.status.as_u16(), answer.header("content-range"));
        Self { status, content_range, body: answer.body.clone() }
    }
}

/// The bytes of a good answer, of which no more was kept than asked for; `Err` says what is wrong with it.
pub(super) fn data(answer: &Answer, asked: &Range<u64>) -> Result<Bytes, String> {
    let given = answer.header("content-range").and_then(content_range);
    if answer.is_cut && given.is_some_and(|(given, _)| given == *asked) {
        return Err(format!("asked for bytes {}-{}, and its body has more", asked.start, asked.end - 1));
    }
    range(Part::of(answer), asked)
}

/// What came of a range before its answer broke off; nothing of an answer to anything else.
pub(super) fn beginning<'a>(answer: &'a Answer, asked: &Range<u64>) -> Option<&'a Bytes> {
    let (given, _) = content_range(answer.header("content-range")?)?;
    (answer.status.as_u16() == 206 && !answer.is_cut && given == *asked).then_some(&answer.body)
}

/// What is wrong with a body that has fewer bytes than its own `Content-Range` says: it was cut short on its way, and may
/// come whole another time.
pub(super) fn cut_short(answer: &Answer) -> Option<String> {
    let (given, _) = content_range(answer.header("content-range")?)?;
    let (expected, found) = (given.end.saturating_sub(given.start), answer.body.len() as u64);
    let is_short = answer.status.as_u16() == 206 && !answer.is_cut && found < expected;
    is_short.then(|| format!("sent {found} of {expected} bytes"))
}

/// The bytes of a good answer to a range request; `Err` says what is wrong with it.
pub fn range(part: Part<'_>, range: &Range<u64>) -> Result<Bytes, String> {
    let asked = format!("asked for bytes {}-{}", range.start, range.end - 1);
    let length = part.body.len() as u64;
    match (part.status, part.content_range.and_then(content_range)) {
        (206, Some((got, _))) if got == *range && length == range.end - range.start => Ok(part.body),
        (206 | 416, Some((_, size))) if range.end > size => Err(format!("{asked}, and it has {size}")),
        (206, Some((got, _))) if got == *range => Err(format!("{asked}, and its body has {length} bytes")),
        (206, Some((got, _))) => Err(format!("{asked}, and it gave {}-{}", got.start, got.end.saturating_sub(1))),
        (206, None) => Err(format!("{asked}, and it did not say which it gave")),
        (416, _) => Err(format!("{asked}, and it has fewer")),
        (200, _) => Err(format!("{asked}, and it gave the whole object: it cannot give ranges")),
        (status, _) => Err(format!("{asked}, and it answered with status {status}")),
    }
}

/// The range and the size out of `Content-Range`; the range is empty in a 416.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let size = size.parse().ok()?;
    match range.split_once('-') {
        None if range == "*" => Some((0..0, size)),
        None => None,
        Some((first, last)) => Some((first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?, size)),
    }
}

/// The size of the object, of which the answer may hold a part.
pub(super) fn total(answer: &Answer) -> Option<u64> {
    match answer.header("content-range").and_then(content_range) {
        Some((_, size)) => Some(size),
        None => answer.header("content-length")?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.iter().map(pair).collect::<HeaderMap>(),
            body: Bytes::from(body),
            is_cut: false,
        }
    }

    fn wrong(status: u16, content_range: &'static str, body: &'static str) -> String {
        range(Part::of(&answer(status, &[("content-range", content_range)], body)), &(2..5)).unwrap_err()
    }

    #[test]
    fn exactly_what_was_asked_for_is_data() {
        let good = answer(206, &[("content-range", "bytes 2-4/10")], "abc");
        assert_eq!(range(Part::of(&good), &(2..5)).unwrap(), "abc");
    }

    #[test]
    fn everything_else_is_said_to_be_what_it_is() {
        insta::assert_snapshot!(wrong(200, "", "0123456789"), @"asked for bytes 2-4, and it gave the whole object: it cannot give ranges");
        insta::assert_snapshot!(wrong(206, "bytes 3-5/10", "abc"), @"asked for bytes 2-4, and it gave 3-5");
        insta::assert_snapshot!(wrong(206, "bytes 2-4/10", "ab"), @"asked for bytes 2-4, and its body has 2 bytes");
        insta::assert_snapshot!(wrong(206, "bytes 2-3/4", "ab"), @"asked for bytes 2-4, and it has 4");
        insta::assert_snapshot!(wrong(416, "bytes */4", ""), @"asked for bytes 2-4, and it has 4");
        insta::assert_snapshot!(wrong(416, "", ""), @"asked for bytes 2-4, and it has fewer");
        insta::assert_snapshot!(wrong(206, "nonsense", "abc"), @"asked for bytes 2-4, and it did not say which it gave");
        insta::assert_snapshot!(wrong(204, "", ""), @"asked for bytes 2-4, and it answered with status 204");
    }

    #[test]
    fn a_long_body_and_one_that_was_cut_short_are_told_apart() {
        let headers = [("content-range", "bytes 2-4/10")];
        let long = Answer { is_cut: true, ..answer(206, &headers, "") };
        insta::assert_snapshot!(data(&long, &(2..5)).unwrap_err(), @"asked for bytes 2-4, and its body has more");
        insta::assert_snapshot!(data(&long, &(3..6)).unwrap_err(), @"asked for bytes 3-5, and it gave 2-4");
        insta::assert_snapshot!(cut_short(&answer(206, &headers, "ab")).unwrap(), @"sent 2 of 3 bytes");
        assert_eq!(cut_short(&answer(206, &headers, "abc")), None);
        assert_eq!(cut_short(&answer(416, &[("content-range", "bytes */4")], "")), None);
    }

    #[test]
    fn a_range_at_the_end_of_all_numbers_is_no_overflow() {
        assert_eq!(content_range("bytes 0-18446744073709551615/9"), None);
    }

    #[test]
    fn without_an_etag_date_and_size_name_a_content() {
        let etag_of = |headers: &[_]| etag(&answer(206, headers, "")).map(|etag| etag.0);
        let date = ("last-modified", "Fri, 20 Nov 2026 19:00:00 GMT");
        let whole = etag_of(&[date, ("content-length", "10")]);
        assert_eq!(whole, etag_of(&[date, ("content-length", "3"), ("content-range", "bytes 2-4/10")]));
        assert_ne!(whole, etag_of(&[date, ("content-length", "11")]));
        assert_eq!(etag_of(&[("etag", "\"x\""), date]).as_deref(), Some("\"x\""));
        assert_eq!(etag_of(&[]), None);
    }
}
