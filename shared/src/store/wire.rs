//! HTTP as the remote stores use it: one request with every wait bounded, and the rule for trying again.
//!
//! Each phase has its own limit, because one limit for the whole would either cut a slow line off or hang on a dead
//! one: connecting, the first byte of the answer (counted from the last byte sent, so that a long upload is not a
//! silence), each further piece, and a floor under the rate. What fails in passing (the connection, 5xx, 429) is tried
//! again after a growing pause of random length, a few times and for a bounded time.
//!
//! What is said of a failure names the host and the cause, never the address in full: its query may be a signature.

use std::error::Error as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response, StatusCode, Url};
use tokio::time::timeout;
use url::Host;

use super::location::is_loopback;
use crate::sys::clock;

/// Slower than this for a whole body, a connection is given up: 16 MiB may take four minutes.
const FLOOR_BYTES_PER_SECOND: u64 = 64 * 1024;

/// A whole body never takes longer than this, whatever it may hold.
const LONGEST_SECONDS: u64 = 60 * 60;

/// The most of an error's body that is read: S3's are below 1 KiB.
const ERROR_BODY: u64 = 64 * 1024;

/// Most redirects that are followed.
const REDIRECTS: usize = 5;

/// How long and how often.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the first byte of an answer, after the last byte of the request. S3 answers in tens of milliseconds.
    pub first_byte: Duration,
    /// The same after a body was sent: its last bytes may still wait in the kernel for a slow line, and S3 takes its
    /// time over a large object.
    pub after_upload: Duration,
    /// For each further piece of a body.
    pub stall: Duration,
    /// How often a request is sent at most.
    pub attempts: u32,
    /// The first pause; each further one is twice as long, all of random length up to that.
    pub pause: Duration,
    /// No attempt begins after this.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(15),
            after_upload: Duration::from_secs(60),
            stall: Duration::from_secs(10),
            attempts: 5,
            pause: Duration::from_millis(200),
            total: Duration::from_secs(120),
        }
    }
}

/// Where requests may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    /// Nowhere else: a signature is good for one address.
    Never,
    /// A few times, but never from `https` to `http`.
    Follow,
}

/// An answer, as much of it as was asked for.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// There is more of the body than was to be kept.
    pub(super) is_cut: bool,
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// How much of a request's body is sent; a request without one never moves it.
#[derive(Debug, Default)]
pub struct Sent(AtomicU64);

impl Sent {
    /// So many more bytes were taken to be sent.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Sends requests.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) client: Client,
    pub(super) patience: Patience,
}

impl Wire {
    /// For requests to the host of `url`. This machine and what is on its link (the metadata service of an instance)
    /// are not asked through a proxy.
    pub(super) fn new(url: &Url, redirects: Redirects, patience: Patience) -> Result<Self, String> {
        // An error says that a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(concat!("pannier/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(20))
            .redirect(policy(redirects));
        if is_near(url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| causes(&error))?;
        Ok(Self { client, patience })
    }

    /// Sends one request once. Of a good answer at most `keep` bytes are kept. `Err` says what went wrong on the way.
    pub(super) async fn once(&self, request: Request, keep: u64, sent: &Sent) -> Result<Answer, String> {
        let host = host(request.url());
        let response = self.response(request, sent).await.map_err(|why| format!("`{host}` {why}"))?;
        let keep = if response.status().is_success() { keep } else { ERROR_BODY };
        self.answer(response, keep).await.map_err(|why| format!("`{host}` {why}"))
    }

    async fn response(&self, request: Request, sent: &Sent) -> Result<Response, String> {
        let limit = match request.body() {
            None => self.patience.first_byte,
            Some(_) => self.patience.after_upload,
        };
        match answered(self.client.execute(request), limit, sent).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(what_failed(error)),
            None => Err(no_answer(limit)),
        }
    }

    async fn answer(&self, mut response: Response, keep: u64) -> Result<Answer, String> {
        let length = response.content_length();
        let mut answer = Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Bytes::new(),
            is_cut: length.is_some_and(|length| length > keep),
        };
        if !answer.is_cut {
            (answer.body, answer.is_cut) = self.body(&mut response, keep).await?;
        }
        Ok(answer)
    }

    async fn body(&self, response: &mut Response, keep: u64) -> Result<(Bytes, bool), String> {
        let expected = response.content_length().unwrap_or_default().min(keep);
        let slowest = Duration::from_secs((keep / FLOOR_BYTES_PER_SECOND).min(LONGEST_SECONDS));
        let end = clock::monotonic() + self.patience.stall + slowest;
        let mut body = BytesMut::with_capacity(expected as usize);
        while let Some(piece) = self.piece(response, end).await? {
            body.extend_from_slice(&piece);
            if body.len() as u64 > keep {
                return Ok((Bytes::new(), true));
            }
        }
        Ok((body.freeze(), false))
    }

    async fn piece(&self, response: &mut Response, end: Instant) -> Result<Option<Bytes>, String> {
        if clock::monotonic() > end {
            return Err(format!("sent less than {} KiB per second", FLOOR_BYTES_PER_SECOND / 1024));
        }
        match timeout(self.patience.stall, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(what_failed(error)),
            Err(_) => Err(format!("stopped sending for {} s", self.patience.stall.as_secs_f32())),
        }
    }
}

/// Waits for an answer, at most `limit` after anything was last sent; `None` when that is over.
pub async fn answered<T>(answer: impl Future<Output = T>, limit: Duration, sent: &Sent) -> Option<T> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = sent.0.load(Ordering::Relaxed);
        match timeout(limit, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if sent.0.load(Ordering::Relaxed) != before => {}
            Err(_) => return None,
        }
    }
}

/// What is said of a host after [`answered`] gave up.
pub fn no_answer(limit: Duration) -> String {
    format!("gave no answer within {} s", limit.as_secs_f32())
}

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
        let longest = self.patience.pause.saturating_mul(1 << (self.attempts - 1).min(10));
        let pause = longest.mul_f64(random_fraction());
        if self.attempts >= self.patience.attempts || clock::monotonic() + pause > self.until {
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

/// The host and port of an address: all of it that may be shown.
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn is_near(url: &Url) -> bool {
    is_loopback(url) || matches!(url.host(), Some(Host::Ipv4(ip)) if ip.is_link_local())
}

fn what_failed(error: reqwest::Error) -> String {
    let error = error.without_url();
    let what = match &error {
        error if error.is_timeout() => "cannot be reached in time",
        error if error.is_connect() => "cannot be reached",
        error if error.is_redirect() => "leads elsewhere",
        _ => "broke the connection",
    };
    format!("{what}: {}", causes(&error))
}

/// The last two causes of an error: the ones above only say that there was one.
fn causes(error: &reqwest::Error) -> String {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        next = cause.source();
    }
    chain[chain.len().saturating_sub(2)..].join(": ")
}

fn policy(redirects: Redirects) -> Policy {
    match redirects {
        Redirects::Never => Policy::none(),
        Redirects::Follow => Policy::custom(|attempt| {
            let was_safe = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            if attempt.previous().len() > REDIRECTS {
                attempt.error("too many redirects")
            } else if was_safe && attempt.url().scheme() != "https" {
                attempt.error("a redirect from `https` to `http`")
            } else {
                attempt.follow()
            }
        }),
    }
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
    async fn who_cannot_be_reached_is_named_without_the_query() {
        let url: Url = "http://127.0.0.1:1/x?X-Amz-Signature=secret".parse().unwrap();
        let wire = Wire::new(&url, Redirects::Never, Patience::default()).unwrap();
        let error = wire.once(Request::new(reqwest::Method::GET, url), 10, &Sent::default()).await.unwrap_err();
        insta::assert_snapshot!(error, @"`127.0.0.1:1` cannot be reached: tcp connect error: Connection refused (os error 111)");
    }
}
