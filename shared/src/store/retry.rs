//! The rule for trying a request again: a few times, after growing pauses of random length, for a bounded time.
//!
//! A server that says `Retry-After` is taken at its word, up to that time; one that asks for more is given up at once,
//! because nobody is helped by a node that waits for something that it will not live to see.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;

use super::wire::Patience;
use crate::sys::clock;

/// Counts the attempts of one request.
#[derive(Debug)]
pub struct Retry<'a> {
    patience: &'a Patience,
    attempts: u32,
    until: Instant,
}

impl<'a> Retry<'a> {
    /// Before the first attempt.
    pub fn new(patience: &'a Patience) -> Self {
        Self { patience, attempts: 1, until: clock::monotonic() + patience.total }
    }

    /// True for the first attempt.
    pub fn is_first(&self) -> bool {
        self.attempts == 1
    }

    /// Waits for the next attempt after one that failed because of `why`; `Err` when there is none left.
    pub async fn again(&mut self, why: String) -> Result<(), String> {
        self.after(why, None).await
    }

    /// Like [`Self::again`], and not before the pause that the server `asked` for is over.
    pub async fn after(&mut self, why: String, asked: Option<Duration>) -> Result<(), String> {
        let longest = self.patience.pause.saturating_mul(1 << (self.attempts - 1).min(10));
        let pause = longest.mul_f64(random_fraction()).max(asked.unwrap_or_default());
        let is_late = clock::monotonic() + pause > self.until;
        if self.attempts >= self.patience.attempts || is_late {
            let asked = asked.filter(|_| is_late).map(|asked| format!(", to be asked again in {} s", asked.as_secs()));
            let why = why + &asked.unwrap_or_default();
            return Err(match self.attempts {
                1 => why,
                n => format!("{why} ({n} attempts)"),
            });
        }
        self.attempts += 1;
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// True for an answer after which the same request may succeed.
pub(super) fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// What `Retry-After` asks for: seconds, or a date. Anything else asks for nothing, and nothing for more than a day.
pub(super) fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    const MOST: u64 = 24 * 60 * 60;
    let seconds = match value.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let then = rfc2822::DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
            u64::try_from(then.as_second() - now.as_second()).ok()?
        }
    };
    Some(Duration::from_secs(seconds.min(MOST)))
}

fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all pauses are of the least length, which is still a pause.
    let _ = getrandom::fill(&mut bytes);
    0.25 + 0.75 * f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for status in [500, 502, 503, 504, 429, 408] {
            assert!(is_passing(StatusCode::from_u16(status).unwrap()), "{status}");
        }
        for status in [200, 206, 301, 400, 401, 403, 404, 409, 412, 416, 501] {
            assert!(!is_passing(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[tokio::test]
    async fn attempts_are_counted_and_end() {
        let patience = Patience { attempts: 3, pause: Duration::from_millis(1), ..Patience::default() };
        let mut retry = Retry::new(&patience);
        retry.again("one".to_owned()).await.unwrap();
        retry.again("two".to_owned()).await.unwrap();
        assert_eq!(retry.again("three".to_owned()).await.unwrap_err(), "three (3 attempts)");
    }

    #[tokio::test]
    async fn no_attempt_begins_after_the_total() {
        let patience = Patience { total: Duration::ZERO, ..Patience::default() };
        assert_eq!(Retry::new(&patience).again("why".to_owned()).await.unwrap_err(), "why");
    }

    #[tokio::test]
    async fn a_pause_that_was_asked_for_is_kept_or_the_request_given_up() {
        let patience = Patience { pause: Duration::from_millis(1), ..Patience::default() };
        let (asked, before) = (Duration::from_millis(50), clock::monotonic());
        Retry::new(&patience).after("status 503".to_owned(), Some(asked)).await.unwrap();
        assert!(clock::monotonic() - before >= asked);
        let long = Some(Duration::from_secs(600));
        let error = Retry::new(&patience).after("status 503".to_owned(), long).await.unwrap_err();
        insta::assert_snapshot!(error, @"status 503, to be asked again in 600 s");
    }

    #[test]
    fn seconds_and_dates_are_understood_and_nonsense_asks_for_nothing() {
        let now: Timestamp = "2026-11-20T19:00:00Z".parse().unwrap();
        let seconds = |value| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("Fri, 20 Nov 2026 19:01:00 GMT"), Some(60));
        assert_eq!(seconds("Fri, 20 Nov 2026 18:59:00 GMT"), None);
        assert_eq!(seconds("99999999999"), Some(24 * 60 * 60));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }
}
