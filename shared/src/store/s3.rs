//! S3 with a small client: reqwest and a signer, a quarter of the weight of the AWS SDK.
//!
//! Requests are signed in their query, with every header that we set among what is signed. What S3 says is believed
//! as little as possible: a range must come with exactly its `Content-Range` and length and, pinned, its ETag; a file's
//! digest is checked here before its last piece is sent, and by S3 against `x-amz-checksum-sha256`.
//!
//! # Conflicts and lost answers
//! 412 means that the condition did not hold. 409 means that writes met, and nothing about this one: it is tried
//! again. When an attempt's answer was lost, it may have been carried out, and the next one meets its own work as 412.
//! So each write carries a mark of its own in the object's metadata, and a write that lost looks whose mark is there.
//! (Comparing contents is not enough: of two who raise a counter to the same number, one must lose.)

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, Request, StatusCode};
use rusty_s3::UrlStyle;

mod call;
mod options;
pub mod place;

use call::{Call, Sending, refusal};
pub use options::S3Options;
use options::amazon;
use place::Place;

use super::credentials::Provider;
use super::gather::Gathered;
use super::upload::Upload;
use super::wire::{Answer, Broken, Redirects, Retry, Sent, Wire};
use super::{
    Condition, Error, Etag, Glance, Key, MAX_FILE, Meta, Object, Result, Store, Stored, check_range, names, reading,
    xml,
};
use crate::digest::Digest;
use crate::sys::{clock, fs};

/// How long a signature is good for; checked by S3 when a request arrives, so an upload may take longer.
const SIGNED_FOR: Duration = Duration::from_secs(5 * 60);

/// The header that carries [`place::MARK`].
const MARK: &str = "x-amz-meta-pannier-write";

/// The longest page of a list: 1,000 keys of 1 KiB, and what is said of each.
const LIST_PAGE: u64 = 4 * 1024 * 1024;

/// A store in a bucket.
#[derive(Debug)]
pub struct S3Store {
    place: Place,
    bucket: rusty_s3::Bucket,
    provider: Provider,
    wire: Wire,
}

impl S3Store {
    /// Makes the client. Nothing is asked yet: that the bucket is there shows with the first call.
    pub fn new(options: S3Options) -> Result<Self> {
        let place = Place::of(&options);
        let (endpoint, style) = match &options.endpoint {
            Some(url) => (url.clone(), UrlStyle::Path),
            None => amazon(&options.bucket.name, &options.region).map_err(|detail| place.unavailable(detail))?,
        };
        let wire = Wire::new(&endpoint, Redirects::Never, options.patience);
        let wire = wire.map_err(|detail| place.unavailable(detail))?;
        let bucket = rusty_s3::Bucket::new(endpoint, style, options.bucket.name, options.region);
        let bucket = bucket.map_err(|error| place.unavailable(error.to_string()))?;
        Ok(Self { place, bucket, provider: Provider::new(options.credentials), wire })
    }

    fn object<'a>(&self, method: Method, key: &'a Key) -> Call<'a> {
        Call {
            method,
            key: key.as_str(),
            path: self.place.path(key),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Sending::Nothing,
            keep: 0,
        }
    }

    async fn request(&self, call: &Call<'_>, sent: &Arc<Sent>) -> Result<Request> {
        let keys = self.provider.get().await.map_err(|why| self.place.denied(call.key, why.to_string()))?;
        let method = match call.method {
            Method::GET => rusty_s3::Method::Get,
            Method::HEAD => rusty_s3::Method::Head,
            _ => rusty_s3::Method::Put,
        };
        let url = rusty_s3::signing::sign(
            &clock::now(),
            method,
            self.bucket.object_url(&call.path),
            &keys.access_key,
            &keys.secret_key,
            keys.session_token.as_deref(),
            self.bucket.region(),
            SIGNED_FOR.as_secs(),
            call.query.iter().map(|(name, value)| (*name, value.as_str())),
            call.headers.iter().map(|(name, value)| (*name, value.as_str())),
        );
        let mut request = Request::new(call.method.clone(), url);
        for (name, value) in &call.headers {
            let value = value.parse().map_err(|_| self.place.wrong(call.key, "a header cannot be sent".to_owned()))?;
            request.headers_mut().insert(*name, value);
        }
        call.body.put_into(&mut request, sent);
        Ok(request)
    }

    /// Sends a call until it is answered for good.
    async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        let mut retry = Retry::new(&self.wire.patience);
        loop {
            match self.attempt(call, &retry).await? {
                Ok(answer) => return Ok(answer),
                Err(broken) => self.wait(&mut retry, broken).await?,
            }
        }
    }

    /// Sends a call once; `Ok(Err(_))` is worth another attempt.
    async fn attempt(&self, call: &Call<'_>, retry: &Retry<'_>) -> Result<std::result::Result<Answer, Broken>> {
        let sent = Arc::new(Sent::default());
        let request = self.request(call, &sent).await?;
        let outcome = self.wire.once(request, call.keep, &sent).await;
        if let Sending::File(upload) = call.body
            && let Some(error) = upload.failure()
        {
            return Err(error);
        }
        Ok(match outcome.map(|answer| (refusal(&answer), answer)) {
            Ok((None, answer)) => Ok(answer),
            Ok((Some(refusal), answer)) if refusal.is_expired() && retry.is_first() => {
                self.provider.forget().await;
                Err(Broken::passing(refusal.said(), &answer))
            }
            Ok((Some(refusal), answer)) if refusal.may_pass() => Err(Broken::passing(refusal.said(), &answer)),
            Ok((Some(_), answer)) => Ok(answer),
            Err(broken) => Err(broken),
        })
    }

    async fn wait(&self, retry: &mut Retry<'_>, broken: Broken) -> Result<()> {
        retry.after(broken.why, broken.pause).await.map_err(|detail| self.place.unavailable(detail))
    }

    fn refused(&self, key: &str, answer: &Answer) -> Error {
        self.place.refused(key, &refusal(answer).unwrap_or_default())
    }

    /// Asks again in a way that S3 explains: an answer to HEAD has no body, so no code. None if all is well now.
    async fn explained(&self, key: &Key) -> Result<Option<Error>> {
        let mut call = self.object(Method::GET, key);
        call.headers.insert("range", reading::range_header(&(0..1)));
        call.keep = 1;
        let answer = self.send(&call).await?;
        let is_there = answer.status.is_success() || answer.status == StatusCode::RANGE_NOT_SATISFIABLE;
        Ok((!is_there).then(|| self.refused(key.as_str(), &answer)))
    }

    fn etag(&self, key: &Key, answer: &Answer) -> Result<Etag> {
        reading::etag(answer).ok_or_else(|| self.place.wrong(key.as_str(), "it gave no ETag".to_owned()))
    }

    /// The small object of a good answer.
    fn whole(&self, key: &Key, answer: Answer, limit: u64) -> Result<Object> {
        match answer.status {
            StatusCode::OK if answer.is_cut => {
                Err(self.place.wrong(key.as_str(), format!("it has more than the {limit} bytes that are expected")))
            }
            StatusCode::OK => Ok(Object { etag: self.etag(key, &answer)?, bytes: answer.body }),
            _ => Err(self.refused(key.as_str(), &answer)),
        }
    }

    /// Writes on a condition, and knows its own work.
    async fn write(&self, key: &Key, mut call: Call<'_>, condition: &Condition) -> Result<Etag> {
        let mark = fs::random_name();
        call.headers.insert(MARK, mark.clone());
        match condition {
            Condition::Absent => call.headers.insert("if-none-match", "*".to_owned()),
            Condition::Unchanged(etag) => call.headers.insert("if-match", etag.0.clone()),
        };
        let answer = self.send(&call).await?;
        match answer.status {
            status if status.is_success() => self.etag(key, &answer),
            StatusCode::PRECONDITION_FAILED => {
                self.marked(key, &mark).await.ok_or_else(|| self.place.lost(key, condition))
            }
            _ => Err(self.refused(key.as_str(), &answer)),
        }
    }

    /// Sends `call` for a range of an object.
    async fn range(&self, mut call: Call<'_>, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        check_range(&self.place.location, &range)?;
        call.headers.extend(pin.map(|pin| ("if-match", pin.0.clone())));
        let (mut retry, mut gathered) = (Retry::new(&self.wire.patience), Gathered::of(range));
        let answer = loop {
            let rest = gathered.rest();
            call.keep = rest.end - rest.start;
            call.headers.insert("range", reading::range_header(&rest));
            match self.attempt(&call, &retry).await? {
                Ok(answer) => break answer,
                Err(broken) => {
                    gathered.keep(broken.got.as_ref());
                    self.wait(&mut retry, broken).await?;
                }
            }
        };
        let is_other = pin.is_some_and(|pin| reading::etag(&answer).is_some_and(|found| found != *pin));
        match answer.status.as_u16() {
            412 => Err(self.place.changed(key)),
            200 | 206 if is_other => Err(self.place.changed(key)),
            200 | 206 | 416 => gathered.end(&answer).map_err(|detail| self.place.wrong(key.as_str(), detail)),
            _ => Err(self.refused(key.as_str(), &answer)),
        }
    }

    /// The object's name, if it has this mark.
    async fn marked(&self, key: &Key, mark: &str) -> Option<Etag> {
        let answer = self.send(&self.object(Method::HEAD, key)).await.ok()?;
        (answer.status == StatusCode::OK && answer.header(MARK) == Some(mark)).then(|| reading::etag(&answer))?
    }

    /// One page of a list: names, and where the next page begins.
    async fn page(&self, below: &str, token: Option<String>) -> Result<(Vec<String>, Option<String>)> {
        let mut call = Call {
            method: Method::GET,
            key: below,
            path: String::new(),
            query: BTreeMap::from([("delimiter", "/".to_owned()), ("list-type", "2".to_owned())]),
            headers: BTreeMap::new(),
            body: Sending::Nothing,
            keep: LIST_PAGE,
        };
        call.query.insert("prefix", below.to_owned());
        call.query.extend(token.map(|token| ("continuation-token", token)));
        let answer = self.send(&call).await?;
        if answer.status != StatusCode::OK || answer.is_cut {
            return Err(self.refused(below, &answer));
        }
        let text = String::from_utf8_lossy(&answer.body);
        if !text.contains("<ListBucketResult") {
            return Err(self.place.wrong(below, "it gave something else than a list".to_owned()));
        }
        let names = xml::texts(&text, "Prefix").chain(xml::texts(&text, "Key"));
        let names = names.filter_map(|name| Some(name.strip_prefix(below)?.trim_end_matches('/').to_owned()));
        let is_more = xml::text(&text, "IsTruncated").is_some_and(|more| more == "true");
        let next = xml::text(&text, "NextContinuationToken").filter(|_| is_more);
        Ok((names.collect(), next))
    }
}

#[async_trait]
impl Store for S3Store {
    fn location(&self) -> &str {
        &self.place.location
    }

    async fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        let mut call = self.object(Method::GET, key);
        call.keep = limit;
        let answer = self.send(&call).await?;
        self.whole(key, answer, limit)
    }

    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance> {
        let mut call = self.object(Method::GET, key);
        call.keep = limit;
        call.headers.extend(known.map(|known| ("if-none-match", known.0.clone())));
        let answer = self.send(&call).await?;
        let date = answer.date();
        if answer.status == StatusCode::NOT_MODIFIED && known.is_some() {
            return Ok(Glance { object: None, date });
        }
        Ok(Glance { object: Some(self.whole(key, answer, limit)?), date })
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        let mut answer = self.send(&self.object(Method::HEAD, key)).await?;
        if answer.status != StatusCode::OK {
            if let Some(error) = self.explained(key).await? {
                return Err(error);
            }
            answer = self.send(&self.object(Method::HEAD, key)).await?;
        }
        if answer.status != StatusCode::OK {
            return Err(self.refused(key.as_str(), &answer));
        }
        let size =
            reading::total(&answer).ok_or_else(|| self.place.wrong(key.as_str(), "it gave no size".to_owned()))?;
        Ok(Meta { size, etag: self.etag(key, &answer)? })
    }

    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        self.range(self.object(Method::GET, key), key, range, pin).await
    }

    async fn get_range_anew(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let mut call = self.object(Method::GET, key);
        let (name, value) = reading::PAST_CACHES;
        call.headers.insert(name, value.to_owned());
        self.range(call, key, range, None).await
    }

    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> Result<Etag> {
        let mut call = self.object(Method::PUT, key);
        call.headers.insert("x-amz-checksum-sha256", Digest::of(&bytes).base64());
        call.body = Sending::Bytes(&bytes);
        self.write(key, call, &condition).await
    }

    async fn put_file(&self, key: &Key, upload: &Upload) -> Result<Stored> {
        if upload.size() > MAX_FILE {
            return Err(self.place.unsupported("take a file of more than 5 GiB"));
        }
        match self.head(key).await {
            Ok(_) => return Err(self.place.lost(key, &Condition::Absent)),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut call = self.object(Method::PUT, key);
        call.headers.insert("x-amz-checksum-sha256", upload.digest().base64());
        call.headers.insert("content-length", upload.size().to_string());
        call.body = Sending::File(upload);
        let etag = self.write(key, call, &Condition::Absent).await?;
        Ok(Stored { etag, copied: 0 })
    }

    fn first_byte(&self) -> Option<Duration> {
        self.wire.first_byte()
    }

    async fn clock(&self) -> Result<Option<jiff::Timestamp>> {
        self.wire.date(self.bucket.base_url().clone()).await.map_err(|detail| self.place.unavailable(detail))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let Some(below) = names::below(&self.place.prefix, prefix) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let (page, next) = self.page(&below, token.clone()).await?;
            found.extend(page);
            match next {
                None => return Ok(names::tidied(found)),
                Some(_) if next == token || found.len() > names::MOST => {
                    return Err(self.place.wrong(&below, "its list does not end".to_owned()));
                }
                Some(_) => token = next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::location::{Bucket, Location};

    fn bucket(text: &str) -> Bucket {
        match text.parse().unwrap() {
            Location::S3(bucket) => bucket,
            other => panic!("{other}"),
        }
    }

    fn options(location: &str, vars: &[(&str, &str)]) -> Result<S3Options> {
        let env = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        S3Options::from_env(bucket(location), &env)
    }

    fn address(location: &str, vars: &[(&str, &str)]) -> String {
        let store = S3Store::new(options(location, vars).unwrap()).unwrap();
        let key: Key = "app/v1+2".parse().unwrap();
        store.bucket.object_url(&store.object(Method::GET, &key).path).to_string()
    }

    #[test]
    fn amazon_is_addressed_by_host_and_others_by_path() {
        let region = ("AWS_REGION", "eu-west-1");
        assert_eq!(address("s3://b1x/p", &[region]), "https://b1x.s3.eu-west-1.amazonaws.com/p/app/v1%2B2");
        assert_eq!(address("s3://b.x", &[region]), "https://s3.eu-west-1.amazonaws.com/b.x/app/v1%2B2");
        assert_eq!(address("s3://b1x", &[]), "https://b1x.s3.us-east-1.amazonaws.com/app/v1%2B2");
        let china = ("AWS_DEFAULT_REGION", "cn-north-1");
        assert_eq!(address("s3://b1x", &[china]), "https://b1x.s3.cn-north-1.amazonaws.com.cn/app/v1%2B2");
        let endpoint = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000");
        assert_eq!(address("s3://b1x/p", &[endpoint]), "http://127.0.0.1:9000/b1x/p/app/v1%2B2");
    }

    #[test]
    fn the_endpoint_for_s3_alone_comes_first() {
        let vars = [("AWS_ENDPOINT_URL", "http://one/"), ("AWS_ENDPOINT_URL_S3", "http://two/")];
        assert_eq!(options("s3://b1x", &vars).unwrap().endpoint.unwrap().as_str(), "http://two/");
    }

    #[test]
    fn what_is_no_address_or_region_is_said() {
        let error = options("s3://b1x", &[("AWS_ENDPOINT_URL", "minio:9000")]).unwrap_err();
        insta::assert_snapshot!(error, @"the store s3://b1x is unavailable: `AWS_ENDPOINT_URL` is not an address: expected `https://host`");
        let error = S3Store::new(options("s3://b1x", &[("AWS_REGION", "no region")]).unwrap()).unwrap_err();
        insta::assert_snapshot!(error, @"the store s3://b1x is unavailable: `AWS_REGION` is not a region: `no region`");
    }
}
