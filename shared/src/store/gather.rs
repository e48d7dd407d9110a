//! A range put together from several answers: what came before a body broke off is kept, and only the rest is asked for
//! again. That the pieces are of one content is for the caller's digests to say, as it is of a single answer.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::reading;
use super::wire::Answer;

/// What came of a range so far.
#[derive(Debug)]
pub(super) struct Gathered {
    range: Range<u64>,
    bytes: BytesMut,
}

impl Gathered {
    /// Nothing yet of a range.
    pub(super) fn of(range: Range<u64>) -> Self {
        Self { range, bytes: BytesMut::new() }
    }

    /// What is still to come.
    pub(super) fn rest(&self) -> Range<u64> {
        self.range.start + self.bytes.len() as u64..self.range.end
    }

    /// Takes what came of the rest before its answer broke off, if it can be told what that is. The last byte is left
    /// to come, so that there is an answer to judge at the end.
    pub(super) fn keep(&mut self, broken: Option<&Answer>) {
        let Some(body) = broken.and_then(|answer| reading::beginning(answer, &self.rest())) else { return };
        let rest = self.rest();
        let most = (rest.end - rest.start).saturating_sub(1) as usize;
        self.bytes.extend_from_slice(&body[..body.len().min(most)]);
    }

    /// The whole range, with what a good answer to the rest has; `Err` says what is wrong with that.
    pub(super) fn end(mut self, answer: &Answer) -> Result<Bytes, String> {
        let rest = reading::data(answer, &self.rest())?;
        if self.bytes.is_empty() {
            return Ok(rest);
        }
        self.bytes.extend_from_slice(&rest);
        Ok(self.bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;

    fn answer(status: u16, range: &str, body: &'static str) -> Answer {
        let headers = [("content-range".parse().unwrap(), range.parse().unwrap())].into_iter().collect();
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into(), is_cut: false }
    }

    #[test]
    fn only_the_rest_is_asked_for_again() {
        let mut gathered = Gathered::of(2..8);
        gathered.keep(Some(&answer(206, "bytes 2-7/10", "ab")));
        assert_eq!(gathered.rest(), 4..8);
        gathered.keep(None);
        gathered.keep(Some(&answer(206, "bytes 4-7/10", "c")));
        assert_eq!(gathered.end(&answer(206, "bytes 5-7/10", "def")).unwrap(), "abcdef");
    }

    #[test]
    fn what_is_not_the_beginning_of_the_rest_is_not_kept() {
        let mut gathered = Gathered::of(2..8);
        for other in [answer(200, "bytes 2-7/10", "ab"), answer(206, "bytes 3-7/10", "b"), answer(503, "", "busy")] {
            gathered.keep(Some(&other));
            assert_eq!(gathered.rest(), 2..8);
        }
        gathered.keep(Some(&answer(206, "bytes 2-7/10", "abcdef")));
        assert_eq!(gathered.rest(), 7..8);
    }
}
