//! A web server as a store, for reading: the release's files behind any `https://` address, a mirror, a CDN.
//!
//! It must answer range requests and say `ETag` or `Last-Modified`. A pin is checked here too, against what each
//! answer says of itself, since servers differ in what they make of `If-Match`. There is no list: a channel or a version is
//! asked for by name.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, Request, StatusCode, Url};

use super::gather::Gathered;
use super::upload::Upload;
use super::wire::{Answer, Broken, Patience, Redirects, Retry, Sent, Wire, is_passing};
use super::{Condition, Error, Etag, Glance, Key, Meta, Object, Result, Store, Stored, check_range, reading};

/// A store on a web server.
#[derive(Debug)]
pub struct WebStore {
    url: Url,
    wire: Wire,
}

impl WebStore {
    /// Makes the client; nothing is asked yet. `url` is that of a parsed location: no query, no credentials.
    pub fn new(url: Url, patience: Patience) -> Result<Self> {
        match Wire::new(&url, Redirects::Follow, patience) {
            Ok(wire) => Ok(Self { url, wire }),
            Err(detail) => Err(Error::Unavailable { store: url.to_string(), detail }),
        }
    }

    async fn send(&self, method: Method, key: &Key, headers: &[(&'static str, String)], keep: u64) -> Result<Answer> {
        let mut retry = Retry::new(&self.wire.patience);
        loop {
            match self.attempt(self.request(method.clone(), key, headers)?, keep).await {
                Ok(answer) => return Ok(answer),
                Err(broken) => self.wait(&mut retry, broken).await?,
            }
        }
    }

    /// Reads a range; `headers` are sent besides.
    async fn range(
        &self,
        key: &Key,
        range: Range<u64>,
        pin: Option<&Etag>,
        mut headers: Vec<(&'static str, String)>,
    ) -> Result<Bytes> {
        check_range(self.location(), &range)?;
        headers.extend(pin.filter(|pin| reading::is_strong(pin)).map(|pin| ("if-match", pin.0.clone())));
        let (mut retry, mut gathered) = (Retry::new(&self.wire.patience), Gathered::of(range));
        let answer = loop {
            let (rest, mut request) = (gathered.rest(), self.request(Method::GET, key, &headers)?);
            request.headers_mut().insert("range", self.value(key, &reading::range_header(&rest))?);
            match self.attempt(request, rest.end - rest.start).await {
                Ok(answer) => break answer,
                Err(broken) => {
                    gathered.keep(broken.got.as_ref());
                    self.wait(&mut retry, broken).await?;
                }
            }
        };
        let is_read = matches!(answer.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let is_other = is_read && pin.is_some_and(|pin| reading::etag(&answer).as_ref() != Some(pin));
        match answer.status.as_u16() {
            412 => Err(Error::Changed { store: self.url.to_string(), key: key.to_string() }),
            _ if is_other => Err(Error::Changed { store: self.url.to_string(), key: key.to_string() }),
            200 | 206 | 416 => gathered.end(&answer).map_err(|detail| self.wrong(key, detail)),
            _ => Err(self.refused(key, &answer)),
        }
    }

    fn request(&self, method: Method, key: &Key, headers: &[(&'static str, String)]) -> Result<Request> {
        let mut request = Request::new(method, self.address(key));
        for (name, value) in headers {
            request.headers_mut().insert(*name, self.value(key, value)?);
        }
        Ok(request)
    }

    fn value(&self, key: &Key, text: &str) -> Result<HeaderValue> {
        text.parse().map_err(|_| self.wrong(key, "a header cannot be sent".to_owned()))
    }

    async fn attempt(&self, request: Request, keep: u64) -> std::result::Result<Answer, Broken> {
        let answer = self.wire.once(request, keep, &Sent::default()).await?;
        if is_passing(answer.status) {
            return Err(Broken::passing(format!("status {}", answer.status.as_u16()), &answer));
        }
        Ok(answer)
    }

    async fn wait(&self, retry: &mut Retry<'_>, broken: Broken) -> Result<()> {
        let spent = |detail| Error::Unavailable { store: self.url.to_string(), detail };
        retry.after(broken.why, broken.pause).await.map_err(spent)
    }

    fn address(&self, key: &Key) -> Url {
        let mut url = self.url.clone();
        // Keys hold nothing that a path would have to quote.
        url.set_path(&format!("{}/{key}", self.url.path().trim_end_matches('/')));
        url
    }

    fn refused(&self, key: &Key, answer: &Answer) -> Error {
        let (store, key) = (self.url.to_string(), key.to_string());
        let status = answer.status.as_u16();
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { store, key },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Denied { store, key, detail: format!("status {status}") }
            }
            _ => Error::WrongAnswer { store, key, detail: format!("status {status}") },
        }
    }

    fn etag(&self, key: &Key, answer: &Answer) -> Result<Etag> {
        let without = || self.wrong(key, "it gave neither `ETag` nor `Last-Modified`".to_owned());
        reading::etag(answer).ok_or_else(without)
    }

    fn object(&self, key: &Key, answer: Answer, limit: u64) -> Result<Object> {
        match answer.status {
            StatusCode::OK if answer.is_cut => {
                Err(self.wrong(key, format!("it has more than the {limit} bytes that are expected")))
            }
            StatusCode::OK => Ok(Object { etag: self.etag(key, &answer)?, bytes: answer.body }),
            _ => Err(self.refused(key, &answer)),
        }
    }

    fn wrong(&self, key: &Key, detail: String) -> Error {
        Error::WrongAnswer { store: self.url.to_string(), key: key.to_string(), detail }
    }

    fn unsupported<T>(&self, what: &'static str) -> Result<T> {
        Err(Error::Unsupported { store: self.url.to_string(), what })
    }
}

#[async_trait]
impl Store for WebStore {
    fn location(&self) -> &str {
        self.url.as_str()
    }

    async fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        let answer = self.send(Method::GET, key, &[], limit).await?;
        self.object(key, answer, limit)
    }

    /// A server that does not know `If-None-Match` sends the object again: that is noticed here.
    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance> {
        let named = known.filter(|known| reading::is_strong(known));
        let headers: Vec<_> = named.map(|known| ("if-none-match", known.0.clone())).into_iter().collect();
        let answer = self.send(Method::GET, key, &headers, limit).await?;
        let date = answer.date();
        if answer.status == StatusCode::NOT_MODIFIED && named.is_some() {
            return Ok(Glance { object: None, date });
        }
        let object = self.object(key, answer, limit)?;
        Ok(Glance { object: Some(object).filter(|object| Some(&object.etag) != known), date })
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let answer = self.send(Method::HEAD, key, &[], 0).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(key, &answer));
        }
        let size = reading::total(&answer).ok_or_else(|| self.wrong(key, "it gave no size".to_owned()))?;
        Ok(Meta { size, etag: self.etag(key, &answer)? })
    }

    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        self.range(key, range, pin, Vec::new()).await
    }

    async fn get_range_anew(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let (name, value) = reading::PAST_CACHES;
        self.range(key, range, None, vec![(name, value.to_owned())]).await
    }

    async fn put(&self, _: &Key, _: Bytes, _: Condition) -> Result<Etag> {
        self.unsupported("be written to")
    }

    async fn put_file(&self, _: &Key, _: &Upload) -> Result<Stored> {
        self.unsupported("be written to")
    }

    fn first_byte(&self) -> Option<Duration> {
        self.wire.first_byte()
    }

    async fn clock(&self) -> Result<Option<jiff::Timestamp>> {
        let unavailable = |detail| Error::Unavailable { store: self.url.to_string(), detail };
        self.wire.date(self.url.clone()).await.map_err(unavailable)
    }

    async fn list(&self, _: &str) -> Result<Vec<String>> {
        self.unsupported("be listed")
    }
}
