//! S3 through the AWS SDK, which brings what a CI machine needs and a node does not: single sign-on, roles assumed
//! from other roles, credential processes, web identities.
//!
//! The SDK signs, sends and reads; the rules are those of the small client: its own tries are switched off in favour of
//! ours, which also repeat a broken body and a 409; refusals mean what [`Place`] says; each write carries a mark.
//! `checksum_algorithm` is always given: left to the SDK, uploads come in `aws-chunked` pieces with a trailing
//! CRC32, which several S3 servers refuse.
//!
//! A large file, and one of which the bucket has parts already, goes up in parts ([`multipart`]).

pub(crate) mod attempt;
mod multipart;
mod parts;
mod reader;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Config, Credentials, SharedHttpClient};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::ChecksumAlgorithm;
use aws_smithy_http_client::tls;
use bytes::Bytes;
use pannier_shared::digest::Digest;
use pannier_shared::store::credentials::Source;
use pannier_shared::store::reading::{self, Part};
use pannier_shared::store::s3::S3Options;
use pannier_shared::store::s3::place::{MARK, Place, Refusal};
use pannier_shared::store::upload::Upload;
use pannier_shared::store::wire::{self, Patience, Retry, Sent};
use pannier_shared::store::{Condition, Error, Etag, Glance, Key, MAX_FILE, Meta, Object, Result, Store, Stored};
use pannier_shared::store::{check_range, names};
use pannier_shared::sys::fs;

use attempt::{Attempt, Failure, FileBody, body, failure};

/// For how long a file's upload may go on being tried: the limit of single requests is too short for a slow line.
const LONG: Duration = Duration::from_secs(6 * 60 * 60);

/// A store in a bucket, through the AWS SDK.
#[derive(Debug)]
pub struct AwsStore {
    pub(crate) place: Place,
    pub(crate) client: Client,
    /// What messages call the server.
    host: String,
    pub(crate) patience: Patience,
}

impl AwsStore {
    /// Makes the client. Nothing is asked yet: that the bucket is there shows with the first call.
    pub async fn new(options: S3Options) -> Self {
        let place = Place::of(&options);
        let patience = options.patience.clone();
        let host = match &options.endpoint {
            Some(url) => wire::host(url),
            None => format!("s3.{}.amazonaws.com", options.region),
        };
        let timeouts = timeouts(&patience).read_timeout(patience.first_byte).build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client())
            .region(Region::new(options.region))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Source::Known(keys) = options.credentials {
            let expires = keys.expires.map(SystemTime::from);
            let keys = Credentials::new(keys.access_key, keys.secret_key, keys.session_token, expires, "pannier");
            loader = loader.credentials_provider(keys);
        }
        let mut config = aws_sdk_s3::config::Builder::from(&loader.load().await);
        if let Some(endpoint) = options.endpoint {
            config = config.endpoint_url(endpoint).force_path_style(true);
        }
        Self { place, client: Client::from_conf(config.build()), host, patience }
    }

    /// Carries a call out, again while that may help. `Ok(Err(_))` is a refusal for good.
    pub(crate) async fn send<T, F: Future<Output = Attempt<T>>>(
        &self,
        key: &str,
        call: impl Fn() -> F,
    ) -> Result<std::result::Result<T, Refusal>> {
        self.send_with(&self.patience, key, call).await
    }

    async fn send_with<T, F: Future<Output = Attempt<T>>>(
        &self,
        patience: &Patience,
        key: &str,
        call: impl Fn() -> F,
    ) -> Result<std::result::Result<T, Refusal>> {
        let mut retry = Retry::new(patience);
        loop {
            let why = match call().await {
                Ok(done) => return Ok(Ok(done)),
                Err(Failure::Refused(refusal)) if refusal.may_pass() => refusal.said(),
                Err(Failure::Refused(refusal)) => return Ok(Err(refusal)),
                Err(Failure::NotSent(why)) => return Err(self.place.denied(key, why)),
                Err(Failure::Wrong(why)) => return Err(self.place.wrong(key, why)),
                Err(Failure::File(error)) => return Err(error),
                Err(Failure::Passing(why)) => format!("`{}` {why}", self.host),
            };
            retry.again(why).await.map_err(|detail| self.place.unavailable(detail))?;
        }
    }

    /// Writes on a condition, and knows its own work.
    async fn write<F: Future<Output = Attempt<Option<String>>>>(
        &self,
        key: &Key,
        condition: &Condition,
        send: impl Fn(PutObjectFluentBuilder) -> F,
    ) -> Result<Etag> {
        let mark = fs::random_name();
        let call = || {
            let put = self.client.put_object().bucket(&self.place.bucket).key(self.place.path(key));
            let put = put.metadata(MARK, &mark).checksum_algorithm(ChecksumAlgorithm::Sha256);
            send(match condition {
                Condition::Absent => put.if_none_match("*"),
                Condition::Unchanged(etag) => put.if_match(&etag.0),
            })
        };
        match self.send(key.as_str(), call).await? {
            Ok(etag) => self.etag(key, etag),
            Err(refusal) if refusal.status == 412 => {
                self.marked(key, &mark).await.ok_or_else(|| self.place.lost(key, condition))
            }
            Err(refusal) => Err(self.place.refused(key.as_str(), &refusal)),
        }
    }

    /// Stores a file in one piece.
    async fn put_whole(&self, key: &Key, upload: &Upload) -> Result<Etag> {
        if upload.size() > MAX_FILE {
            return Err(self.place.unsupported("take a file of more than 5 GiB: it cannot check one sent in parts"));
        }
        let limit = self.patience.after_upload;
        let send = |put: PutObjectFluentBuilder| {
            let sent = Arc::new(Sent::default());
            let body = ByteStream::new(SdkBody::from_body_1_x(FileBody::of(upload, &sent)));
            let put = put.body(body).content_length(upload.size() as i64).checksum_sha256(upload.digest().base64());
            let answer = put.customize().config_override(self.own_waiting()).send();
            async move {
                match wire::answered(answer, limit, &sent).await {
                    Some(Ok(put)) => Ok(put.e_tag),
                    Some(Err(error)) => Err(upload.failure().map_or_else(|| failure(error), Failure::File)),
                    None => Err(Failure::Passing(wire::no_answer(limit))),
                }
            }
        };
        self.write(key, &Condition::Absent, send).await
    }

    /// For what sends a body: the SDK takes the time of sending for waiting, so the waiting is ours.
    pub(crate) fn own_waiting(&self) -> aws_sdk_s3::config::Builder {
        Config::builder().timeout_config(timeouts(&self.patience).disable_read_timeout().build())
    }

    /// For what S3 takes its time over.
    fn slow_answers(&self) -> aws_sdk_s3::config::Builder {
        let patient = timeouts(&self.patience).read_timeout(self.patience.after_upload);
        Config::builder().timeout_config(patient.build())
    }

    /// The object's name, if it has this mark.
    async fn marked(&self, key: &Key, mark: &str) -> Option<Etag> {
        let call = async || {
            let head = self.client.head_object().bucket(&self.place.bucket).key(self.place.path(key));
            head.send().await.map_err(failure)
        };
        let head = self.send(key.as_str(), call).await.ok()?.ok()?;
        let is_ours = head.metadata.is_some_and(|metadata| metadata.get(MARK).is_some_and(|found| found == mark));
        is_ours.then(|| head.e_tag.map(Etag)).flatten()
    }

    async fn head_once(&self, key: &Key) -> Result<std::result::Result<Meta, Refusal>> {
        let call = async || {
            let head = self.client.head_object().bucket(&self.place.bucket).key(self.place.path(key));
            head.send().await.map_err(failure)
        };
        let head = match self.send(key.as_str(), call).await? {
            Ok(head) => head,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let size = head.content_length.and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| self.place.wrong(key.as_str(), "it gave no size".to_owned()))?;
        Ok(Ok(Meta { size, etag: self.etag(key, head.e_tag)? }))
    }

    /// Asks again in a way that S3 explains: an answer to HEAD has no body, so no code. None if all is well now.
    async fn explained(&self, key: &Key) -> Result<Option<Error>> {
        let call = async || {
            let get = self.client.get_object().bucket(&self.place.bucket).key(self.place.path(key));
            get.range(reading::range_header(&(0..1))).send().await.map(drop).map_err(failure)
        };
        match self.send(key.as_str(), call).await? {
            Err(refusal) if refusal.status != 416 => Ok(Some(self.place.refused(key.as_str(), &refusal))),
            _ => Ok(None),
        }
    }

    async fn page(&self, below: &str, token: Option<String>) -> Result<ListObjectsV2Output> {
        let call = async || {
            let list = self.client.list_objects_v2().bucket(&self.place.bucket).prefix(below).delimiter("/");
            list.set_continuation_token(token.clone()).send().await.map_err(failure)
        };
        let page = self.send(below, call).await?;
        page.map_err(|refusal| self.place.refused(below, &refusal))
    }

    fn etag(&self, key: &Key, etag: Option<String>) -> Result<Etag> {
        etag.map(Etag).ok_or_else(|| self.place.wrong(key.as_str(), "it gave no ETag".to_owned()))
    }
}

#[async_trait]
impl Store for AwsStore {
    fn location(&self) -> &str {
        &self.place.location
    }

    async fn get(&self, key: &Key, limit: u64) -> Result<Object> {
        let call = async || {
            let get = self.client.get_object().bucket(&self.place.bucket).key(self.place.path(key));
            let got = get.send().await.map_err(failure)?;
            let etag = got.e_tag.clone();
            Ok((body(got, limit, &self.patience).await?, etag))
        };
        match self.send(key.as_str(), call).await? {
            Ok((bytes, etag)) => Ok(Object { bytes, etag: self.etag(key, etag)? }),
            Err(refusal) => Err(self.place.refused(key.as_str(), &refusal)),
        }
    }

    /// The SDK tells no date of an answer, and nobody who uses it asks for one.
    async fn glance(&self, key: &Key, limit: u64, known: Option<&Etag>) -> Result<Glance> {
        let call = async || {
            let get = self.client.get_object().bucket(&self.place.bucket).key(self.place.path(key));
            let got = get.set_if_none_match(known.map(|known| known.0.clone())).send().await.map_err(failure)?;
            let etag = got.e_tag.clone();
            Ok((body(got, limit, &self.patience).await?, etag))
        };
        let object = match self.send(key.as_str(), call).await? {
            Ok((bytes, etag)) => Some(Object { bytes, etag: self.etag(key, etag)? }),
            Err(Refusal { status: 304, .. }) if known.is_some() => None,
            Err(refusal) => return Err(self.place.refused(key.as_str(), &refusal)),
        };
        Ok(Glance { object, date: None })
    }

    async fn head(&self, key: &Key) -> Result<Meta> {
        if let Ok(meta) = self.head_once(key).await? {
            return Ok(meta);
        }
        if let Some(error) = self.explained(key).await? {
            return Err(error);
        }
        self.head_once(key).await?.map_err(|refusal| self.place.refused(key.as_str(), &refusal))
    }

    async fn get_range(&self, key: &Key, range: Range<u64>, pin: Option<&Etag>) -> Result<Bytes> {
        check_range(self.location(), &range)?;
        let call = async || {
            let get = self.client.get_object().bucket(&self.place.bucket).key(self.place.path(key));
            let get = get.range(reading::range_header(&range)).set_if_match(pin.map(|pin| pin.0.clone()));
            let got = get.send().await.map_err(failure)?;
            let (etag, content_range) = (got.e_tag.clone(), got.content_range.clone());
            let body = match &content_range {
                None => Bytes::new(),
                Some(_) => body(got, range.end - range.start, &self.patience).await?,
            };
            Ok((etag, content_range, body))
        };
        let wrong = |detail| self.place.wrong(key.as_str(), detail);
        match self.send(key.as_str(), call).await? {
            Ok((etag, ..)) if pin.is_some_and(|pin| etag.as_ref() != Some(&pin.0)) => Err(self.place.changed(key)),
            Ok((_, content_range, body)) => {
                let status = if content_range.is_some() { 206 } else { 200 };
                reading::range(Part { status, content_range: content_range.as_deref(), body }, &range).map_err(wrong)
            }
            Err(Refusal { status: 412, .. }) => Err(self.place.changed(key)),
            Err(Refusal { status: 416, .. }) => {
                let part = Part { status: 416, content_range: None, body: Bytes::new() };
                reading::range(part, &range).map_err(wrong)
            }
            Err(refusal) => Err(self.place.refused(key.as_str(), &refusal)),
        }
    }

    async fn put(&self, key: &Key, bytes: Bytes, condition: Condition) -> Result<Etag> {
        let digest = Digest::of(&bytes);
        let send = |put: PutObjectFluentBuilder| {
            let put = put.body(ByteStream::from(bytes.clone())).checksum_sha256(digest.base64());
            async { Ok(put.send().await.map_err(failure)?.e_tag) }
        };
        self.write(key, &condition, send).await
    }

    async fn put_file(&self, key: &Key, upload: &Upload) -> Result<Stored> {
        if upload.size() > parts::LARGEST_FILE {
            return Err(self.place.unsupported("take a file of more than 156 GiB"));
        }
        match self.head(key).await {
            Ok(_) => return Err(self.place.lost(key, &Condition::Absent)),
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        if let Some(parts) = parts::plan(upload.size(), upload.shared())
            && let Some(stored) = self.put_parts(key, upload, parts).await?
        {
            return Ok(stored);
        }
        Ok(Stored { etag: self.put_whole(key, upload).await?, copied: 0 })
    }

    fn can_copy(&self) -> bool {
        true
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let Some(below) = names::below(&self.place.prefix, prefix) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = self.page(&below, token.clone()).await?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            let all = folders.chain(page.contents().iter().filter_map(|object| object.key()));
            found.extend(all.filter_map(|name| Some(name.strip_prefix(&below)?.trim_end_matches('/').to_owned())));
            match page.next_continuation_token {
                None => return Ok(names::tidied(found)),
                next if next == token || found.len() > names::MOST => {
                    return Err(self.place.wrong(&below, "its list does not end".to_owned()));
                }
                next => token = next,
            }
        }
    }
}

fn http_client() -> SharedHttpClient {
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    aws_smithy_http_client::Builder::new().tls_provider(ring).build_https()
}

fn timeouts(patience: &Patience) -> aws_config::timeout::TimeoutConfigBuilder {
    TimeoutConfig::builder().connect_timeout(patience.connect)
}
