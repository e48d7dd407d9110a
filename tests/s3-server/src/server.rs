//! The server itself: it listens, keeps a log of what was asked, and puts the faults of the connection under the API.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, Method, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError, HttpRequest, HttpResponse};

use crate::api::Api;
use crate::auth::{Keys, Session};
use crate::faults::{Active, Faults};
use crate::state::State;

/// Longest body that is read only to be refused.
const REFUSED_BODY: usize = 6 << 30;

/// The header of a copy's range.
const COPY_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The one access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// What must come with the key, if anything.
    pub session_token: Option<String>,
    /// Buckets that are there from the start.
    pub buckets: Vec<String>,
    /// Buckets whose objects everybody may read.
    pub public: Vec<String>,
    /// Where objects are kept; without, in memory.
    pub dir: Option<PathBuf>,
    /// What goes wrong from the start.
    pub faults: Faults,
}

impl Default for Options {
    /// A free loopback port, key `test`, secret `testtest`, a bucket `pannier` in memory, no faults.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            access_key: "test".to_owned(),
            secret_key: "testtest".to_owned(),
            session_token: None,
            buckets: vec!["pannier".to_owned()],
            public: Vec::new(),
            dir: None,
            faults: Faults::default(),
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `PUT`.
    pub method: String,
    /// The path, without the query, which may hold a signature.
    pub path: String,
    /// Length of the request's body as announced.
    pub sent: u64,
    /// The range that the server was to copy from another object.
    pub copied: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The status; 0 when the connection was broken instead.
    pub status: u16,
    /// Length of the answer's body as announced.
    pub length: u64,
}

/// A running server, with threads of its own: it answers whatever the test does. Dropped, it is gone.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Shared {
    s3: S3Service,
    session: Session,
    faults: Arc<Active>,
    log: Mutex<Vec<Logged>>,
    state: Arc<State>,
    /// How many PUTs are being answered, and the most there were at once.
    puts: Mutex<(usize, usize)>,
}

impl Server {
    /// Starts a server; when this returns, it accepts connections.
    pub fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let shared = Arc::new(Shared::new(options)?);
        runtime.spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, runtime: Some(runtime) })
    }

    /// The endpoint: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the faults, and starts counting anew.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.faults.set(faults);
    }

    /// From now on another session token must come with the key; those before it are expired.
    pub fn renew_session(&self, token: &str) {
        self.shared.session.renew(token.to_owned());
    }

    /// What was asked so far, in the order of the answers.
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most PUTs there were at once so far.
    pub fn most_puts_at_once(&self) -> usize {
        self.shared.puts.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// How many multipart uploads were begun and neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.shared.state.lock().uploads.len()
    }

    /// Forgets the log.
    pub fn clear_requests(&self) {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn new(options: Options) -> io::Result<Self> {
        let faults = Arc::new(Active::default());
        faults.set(options.faults);
        let state = Arc::new(State::open(options.dir.as_deref(), &options.buckets)?);
        let session = Session::default();
        options.session_token.into_iter().for_each(|token| session.renew(token));
        let keys = Keys {
            access_key: options.access_key,
            secret_key: options.secret_key,
            session: session.clone(),
            public: options.public,
        };
        let mut builder = S3ServiceBuilder::new(Api { state: Arc::clone(&state), faults: Arc::clone(&faults) });
        builder.set_auth(keys.clone());
        builder.set_access(keys);
        Ok(Self { s3: builder.build(), session, faults, log: Mutex::default(), state, puts: Mutex::default() })
    }

    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut logged = Logged {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            sent: number(header_text(request.headers(), header::CONTENT_LENGTH)),
            copied: header_text(request.headers(), COPY_RANGE),
            range: header_text(request.headers(), header::RANGE),
            status: 0,
            length: 0,
        };
        let is_put = request.method() == Method::PUT;
        let is_completion = request.method() == Method::POST && request.uri().query().is_some_and(has_upload_id);
        self.count_put(is_put, |now| now + 1);
        let mut answer = match (is_completion || logged.copied.is_some()) && self.faults.fails_in_200() {
            true => error("InternalError", 200, request).await,
            false => self.answer_or_fault(request).await,
        };
        self.count_put(is_put, |now| now - 1);
        let is_done = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        if is_done && (is_put && self.faults.loses_answer() || is_completion && self.faults.loses_completion()) {
            answer = Err(HttpError::new("the answer is lost on purpose".into()));
        }
        if let Ok(answer) = &answer {
            logged.status = answer.status().as_u16();
            logged.length = number(header_text(answer.headers(), header::CONTENT_LENGTH));
        }
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(logged);
        answer
    }

    fn count_put(&self, is_put: bool, change: impl Fn(usize) -> usize) {
        if is_put {
            let mut puts = self.puts.lock().unwrap_or_else(PoisonError::into_inner);
            puts.0 = change(puts.0);
            puts.1 = puts.1.max(puts.0);
        }
    }

    async fn answer_or_fault(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let latency = self.faults.current().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if self.faults.slows_down() {
            return error("SlowDown", 503, request).await;
        }
        self.s3.call(request).await
    }
}

/// An error in place of an answer, after all of the request was read.
async fn error(code: &str, status: u16, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
    request.body_mut().store_all_limited(REFUSED_BODY).await.map_err(HttpError::new)?;
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>On purpose.</Message></Error>"
    );
    let answer = http::Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml");
    answer.body(Body::from(text)).map_err(|error| HttpError::new(error.into()))
}

fn has_upload_id(query: &str) -> bool {
    query.split('&').any(|pair| pair.starts_with("uploadId="))
}

fn number(text: Option<String>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn header_text(headers: &http::HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    loop {
        // A connection that could not be accepted is its client's matter; the next one may be fine.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request: http::Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move { shared.answer(request.map(Body::from)).await }
            });
            let connection = Builder::new(TokioExecutor::new());
            // A broken connection is what some tests are about.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
