//! HTTP as the remote stores use it: one request with every wait bounded.
//!
//! Each phase has its own limit, because one limit for the whole would either cut a slow line off or hang on a dead
//! one: connecting, the first byte of the answer (counted from the last byte sent, so that a long upload is not a
//! silence), each further piece, and a floor under the rate. A range whose first byte is late is asked for twice (see
//! `hedge`). What fails in passing (the connection, a body that is cut short, 5xx, 429) is tried again (see `retry`).
//!
//! What is said of a failure names the host and the cause, never the address in full: its query may be a signature.

use std::error::Error as _;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RANGE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, StatusCode, Url};
use tokio::time::timeout;
use url::Host;

use super::hedge::FirstBytes;
use super::location::is_loopback;
use super::reading;
pub use super::retry::Retry;
pub(super) use super::retry::is_passing;
use super::retry::retry_after;
use crate::sys::clock;

/// A body that comes slower than this is given up. A line of 1 Mbit/s that four bodies share gives each of them four
/// times as much. A body of 16 MiB has at most 35 minutes.
const FLOOR_BYTES_PER_SECOND: u64 = 8 * 1024;

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
    /// For a body that comes, but slower than 8 KiB per second. Long enough that a line which stumbles is not cut off.
    pub slow: Duration,
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
            slow: Duration::from_secs(30),
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

    /// What time it was where it was answered, to the second below.
    pub(super) fn date(&self) -> Option<Timestamp> {
        let date = jiff::fmt::rfc2822::parse(self.header("date")?).ok()?;
        Some(date.timestamp())
    }
}

/// A request that was not answered well, and why; what came of the answer before it broke off.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) why: String,
    /// How long the server asks not to be asked again.
    pub(super) pause: Option<Duration>,
    pub(super) got: Option<Answer>,
}

impl Broken {
    /// For an answer that came whole and says, in the words of `why`, that it may be another one later.
    pub(super) fn passing(why: String, answer: &Answer) -> Self {
        let asked = answer.header(RETRY_AFTER.as_str());
        Self { why, pause: asked.and_then(|asked| retry_after(asked, clock::now())), got: None }
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
    first_bytes: FirstBytes,
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
        Ok(Self { client, patience, first_bytes: FirstBytes::default() })
    }

    /// See [`super::Store::first_byte`].
    pub(super) fn first_byte(&self) -> Option<Duration> {
        self.first_bytes.shortest()
    }

    /// Sends one request once. Of a good answer at most `keep` bytes are kept.
    pub(super) async fn once(&self, request: Request, keep: u64, sent: &Sent) -> Result<Answer, Broken> {
        let host = host(request.url());
        let said = |why| format!("`{host}` {why}");
        let response =
            self.response(request, sent).await.map_err(|why| Broken { why: said(why), pause: None, got: None })?;
        let keep = if response.status().is_success() { keep } else { ERROR_BODY };
        let (answer, end) = self.answer(response, keep).await;
        match end.err().or_else(|| reading::cut_short(&answer)) {
            None => Ok(answer),
            Some(why) => Err(Broken { why: said(why), pause: None, got: Some(answer) }),
        }
    }

    /// The time in the `Date` header of whatever is answered at `url`, an error as well: none if there is no such header.
    pub(super) async fn date(&self, url: Url) -> Result<Option<Timestamp>, String> {
        let answer =
            self.once(Request::new(Method::HEAD, url), 0, &Sent::default()).await.map_err(|broken| broken.why)?;
        Ok(answer.date())
    }

    /// The beginning of an answer. One to a range that is late is asked for twice.
    async fn response(&self, request: Request, sent: &Sent) -> Result<Response, String> {
        let copy = request.headers().contains_key(RANGE).then(|| request.try_clone()).flatten();
        let Some(copy) = copy else { return self.one_response(request, sent).await };
        let late = self.first_bytes.asked();
        let mut first = pin!(self.timed_response(request, sent));
        if let Ok(answer) = timeout(late, &mut first).await {
            return answer;
        }
        if !self.first_bytes.ask_twice() {
            return first.await;
        }
        let mut second = pin!(self.timed_response(copy, sent));
        tokio::select! {
            answer = &mut first => good_or(answer, second).await,
            answer = &mut second => good_or(answer, first).await,
        }
    }

    async fn timed_response(&self, request: Request, sent: &Sent) -> Result<Response, String> {
        let begun = clock::monotonic();
        let response = self.one_response(request, sent).await?;
        self.first_bytes.came(clock::monotonic() - begun);
        Ok(response)
    }

    async fn one_response(&self, request: Request, sent: &Sent) -> Result<Response, String> {
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

    /// An answer, and whether its body came to its end.
    async fn answer(&self, mut response: Response, keep: u64) -> (Answer, Result<(), String>) {
        let length = response.content_length();
        let mut answer = Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Bytes::new(),
            is_cut: length.is_some_and(|length| length > keep),
        };
        if answer.is_cut {
            return (answer, Ok(()));
        }
        let mut body = BytesMut::with_capacity(length.unwrap_or_default() as usize);
        let end = self.body(&mut response, keep, &mut body).await;
        answer.is_cut = body.len() as u64 > keep;
        if !answer.is_cut {
            answer.body = body.freeze();
        }
        (answer, end)
    }

    /// Reads a body until it ends or has more than `keep` bytes.
    async fn body(&self, response: &mut Response, keep: u64, body: &mut BytesMut) -> Result<(), String> {
        let mut pace = Pace { begun: clock::monotonic(), bytes: 0, window: self.patience.slow };
        while body.len() as u64 <= keep
            && let Some(piece) = self.piece(response).await?
        {
            body.extend_from_slice(&piece);
            pace.came(piece.len() as u64)?;
        }
        Ok(())
    }

    async fn piece(&self, response: &mut Response) -> Result<Option<Bytes>, String> {
        match timeout(self.patience.stall, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(what_failed(error)),
            Err(_) => Err(format!("stopped sending for {} s", self.patience.stall.as_secs_f32())),
        }
    }
}

/// What came first of two, unless it is a failure: then what the other says.
async fn good_or(
    came: Result<Response, String>,
    other: impl Future<Output = Result<Response, String>>,
) -> Result<Response, String> {
    match came {
        Ok(response) if !is_passing(response.status()) => Ok(response),
        _ => other.await,
    }
}

/// How fast a body comes: measured over one window after the other, so that a good beginning does not excuse what
/// follows.
struct Pace {
    begun: Instant,
    bytes: u64,
    window: Duration,
}

impl Pace {
    /// More of it came; `Err` at the end of a window with too little.
    fn came(&mut self, bytes: u64) -> Result<(), String> {
        self.bytes += bytes;
        let passed = clock::monotonic() - self.begun;
        if passed < self.window {
            return Ok(());
        }
        if (self.bytes as f64) < FLOOR_BYTES_PER_SECOND as f64 * passed.as_secs_f64() {
            let (floor, window) = (FLOOR_BYTES_PER_SECOND / 1024, self.window.as_secs_f32());
            return Err(format!("sent less than {floor} KiB per second for {window} s"));
        }
        (self.begun, self.bytes) = (clock::monotonic(), 0);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_comes_too_slowly_is_given_up_at_the_end_of_its_window() {
        let window = Duration::from_millis(5);
        let pace = || Pace { begun: clock::monotonic(), bytes: 0, window };
        let mut long = Pace { window: Duration::from_secs(3600), ..pace() };
        let (mut quick, mut slow) = (pace(), pace());
        clock::sleep(window);
        assert_eq!(quick.came(1 << 30), Ok(()));
        assert_eq!((quick.bytes, long.came(1)), (0, Ok(())));
        insta::assert_snapshot!(slow.came(1).unwrap_err(), @"sent less than 8 KiB per second for 0.005 s");
    }

    #[tokio::test]
    async fn who_cannot_be_reached_is_named_without_the_query() {
        let url: Url = "http://127.0.0.1:1/x?X-Amz-Signature=secret".parse().unwrap();
        let wire = Wire::new(&url, Redirects::Never, Patience::default()).unwrap();
        let error = wire.once(Request::new(Method::GET, url), 10, &Sent::default()).await.unwrap_err();
        insta::assert_snapshot!(error.why, @"`127.0.0.1:1` cannot be reached: tcp connect error: Connection refused (os error 111)");
    }
}
