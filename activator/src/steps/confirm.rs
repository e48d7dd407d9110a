//! Asks the app over HTTP whether it is healthy: the last step before a release may be called so.
//!
//! The question is repeated until enough answers in a row were right, or the deadline is over. A redirect is an
//! answer like any other and is not followed, and no proxy is ever used: the question is about this machine.

use std::sync::Arc;
use std::time::Duration;

use pannier_shared::sys::clock;
use reqwest::header::HeaderMap;
use tokio::runtime::Runtime;

/// The most bytes of an answer that are looked at.
const BODY: usize = 1 << 20;

/// What is asked, and what the answer must be.
#[derive(Debug, Clone)]
pub struct Health {
    /// The address, "http://127.0.0.1:8000/healthz".
    pub url: reqwest::Url,
    /// The status the answer must have.
    pub status: u16,
    /// More header lines, `Host` among them where Django's `ALLOWED_HOSTS` wants one.
    pub headers: HeaderMap,
    /// A text the body must contain.
    pub contains: Option<String>,
    /// After how long the release counts as failed.
    pub deadline: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
    /// How long one answer may take.
    pub timeout: Duration,
    /// How many right answers in a row are needed.
    pub successes: u32,
}

/// The app did not become healthy in time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The last answer was wrong, or there was none.
    #[error("the health check of {url} did not pass within {}s", .deadline.as_secs_f64())]
    Unhealthy {
        /// What was asked.
        url: String,
        /// For how long.
        deadline: Duration,
        /// What was wrong with the last answer.
        source: Wrong,
    },
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
    /// The same, by its TLS part.
    #[error("the HTTP client cannot be made")]
    Tls(#[from] rustls::Error),
}

impl Error {
    /// The same, with what the app answered changed: so that it can be passed on without what it must not show.
    pub fn with_body(mut self, change: impl FnOnce(String) -> String) -> Self {
        if let Error::Unhealthy { source: Wrong::Status { body, .. } | Wrong::Text { body, .. }, .. } = &mut self {
            *body = change(std::mem::take(body));
        }
        self
    }
}

/// What was wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// There was none.
    #[error("there was no answer: {0}")]
    None(String),
    /// It had another status.
    #[error("expected status {expected}, got {found}{}", start(.body))]
    Status {
        /// What it should have had.
        expected: u16,
        /// What it had.
        found: reqwest::StatusCode,
        /// Its body.
        body: String,
    },
    /// It did not contain the text.
    #[error("the answer does not contain `{wanted}`{}", start(.body))]
    Text {
        /// What it should contain.
        wanted: String,
        /// Its body.
        body: String,
    },
    /// It was right, but not often enough in a row before the deadline.
    #[error("only {found} of {needed} right answers in a row")]
    TooFew {
        /// How many there were.
        found: u32,
        /// How many are needed.
        needed: u32,
    },
}

/// The first lines of a body, indented, ready to follow a message.
fn start(body: &str) -> String {
    let lines = body.lines().map(str::trim_end).filter(|line| !line.is_empty()).take(5);
    lines.map(|line| format!("\n  | {}", line.chars().take(200).collect::<String>())).collect()
}

/// Asks until the app is healthy or the deadline is over; says how many questions it took.
pub fn confirm(health: &Health, runtime: &Runtime) -> Result<u32, Error> {
    let client = client(health)?;
    let end = clock::monotonic() + health.deadline;
    let (mut asked, mut in_a_row) = (0, 0);
    loop {
        asked += 1;
        let answer = runtime.block_on(ask(&client, health));
        in_a_row = if answer.is_ok() { in_a_row + 1 } else { 0 };
        if in_a_row >= health.successes {
            return Ok(asked);
        }
        if clock::monotonic() + health.interval >= end {
            let too_few = Wrong::TooFew { found: in_a_row, needed: health.successes };
            let source = answer.err().unwrap_or(too_few);
            return Err(Error::Unhealthy { url: health.url.to_string(), deadline: health.deadline, source });
        }
        clock::sleep(health.interval);
    }
}

/// Asks once, as things are now.
pub fn once(health: &Health, runtime: &Runtime) -> Result<(), Wrong> {
    let client = client(health).map_err(|error| Wrong::None(error.to_string()))?;
    runtime.block_on(ask(&client, health))
}

/// A client that speaks plain HTTP only (the configuration allows nothing else): it trusts no certificate, so it needs
/// neither the machine's certificates nor a look at them.
fn client(health: &Health) -> Result<reqwest::Client, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy();
    Ok(client.redirect(reqwest::redirect::Policy::none()).timeout(health.timeout).build()?)
}

async fn ask(client: &reqwest::Client, health: &Health) -> Result<(), Wrong> {
    let request = client.get(health.url.clone()).headers(health.headers.clone());
    let mut response = request.send().await.map_err(|error| Wrong::None(innermost(&error)))?;
    let found = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Wrong::None(innermost(&error)))? {
        body.extend_from_slice(&chunk[..chunk.len().min(BODY - body.len())]);
        if body.len() == BODY {
            break;
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    if found.as_u16() != health.status {
        return Err(Wrong::Status { expected: health.status, found, body });
    }
    match &health.contains {
        Some(wanted) if !body.contains(wanted) => Err(Wrong::Text { wanted: wanted.clone(), body }),
        _ => Ok(()),
    }
}

/// The cause at the end of the chain: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests play the app")]

    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Asks an app that gives these answers in turn, the last one for ever.
    fn asked(answers: &'static [&'static str], change: impl FnOnce(&mut Health)) -> Result<u32, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/health", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for at in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                let n = stream.read(&mut request).unwrap();
                let host = String::from_utf8_lossy(&request[..n]).to_lowercase();
                let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned();
                let answer = answers[at.min(answers.len() - 1)].replace("HOST", &host);
                let (status, body) = answer.split_once('\n').unwrap_or((&answer, ""));
                let length = body.len();
                let _ =
                    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
            }
        });
        let mut health = Health {
            url: url.parse().unwrap(),
            status: 200,
            headers: HeaderMap::new(),
            contains: None,
            deadline: Duration::from_secs(30),
            interval: Duration::from_millis(5),
            timeout: Duration::from_secs(10),
            successes: 1,
        };
        change(&mut health);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        confirm(&health, &runtime).map_err(|error| {
            let cause = std::error::Error::source(&error).unwrap();
            format!("{error}: {cause}").replace(&url, "URL")
        })
    }

    fn briefly(health: &mut Health) {
        health.deadline = Duration::from_millis(100);
        health.interval = Duration::from_millis(60);
    }

    #[test]
    fn it_asks_until_the_answer_is_right() {
        assert_eq!(asked(&["503 Busy", "503 Busy", "200 OK"], |_| ()), Ok(3));
    }

    #[test]
    fn right_answers_must_come_in_a_row() {
        let answers = &["200 OK", "503 Busy", "200 OK", "200 OK"];
        assert_eq!(asked(answers, |health| health.successes = 2), Ok(4));
    }

    #[test]
    fn the_host_header_is_the_one_asked_for() {
        let host = |health: &mut Health| {
            health.headers.insert(reqwest::header::HOST, "polls.example.org".parse().unwrap());
            health.contains = Some("for polls.example.org".to_owned());
        };
        assert_eq!(asked(&["200 OK\nfor HOST"], host), Ok(1));
    }

    #[test]
    fn the_last_wrong_answer_is_shown() {
        let error = asked(&["500 Oops\n<h1>Server Error</h1>\n\nno such table: polls\n"], briefly).unwrap_err();
        insta::assert_snapshot!(error, @"
        the health check of URL did not pass within 0.1s: expected status 200, got 500 Internal Server Error
          | <h1>Server Error</h1>
          | no such table: polls
        ");
        let error = asked(&["302 Found"], briefly).unwrap_err();
        insta::assert_snapshot!(error, @"the health check of URL did not pass within 0.1s: expected status 200, got 302 Found");
        let text = |health: &mut Health| {
            briefly(health);
            health.contains = Some("ok".to_owned());
        };
        insta::assert_snapshot!(asked(&["200 OK\nwelcome to nginx"], text).unwrap_err(), @"
        the health check of URL did not pass within 0.1s: the answer does not contain `ok`
          | welcome to nginx
        ");
        let many = |health: &mut Health| {
            briefly(health);
            health.successes = 50;
        };
        let error = asked(&["200 OK"], many).unwrap_err();
        assert!(error.contains("of 50 right answers in a row"), "{error}");
    }

    #[test]
    fn an_app_that_never_answers_runs_into_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let error = asked(&["200 OK"], |health| {
            briefly(health);
            health.timeout = Duration::from_millis(50);
            health.url = url;
        });
        assert!(error.unwrap_err().ends_with("there was no answer: it took too long"));
    }
}
