//! Static files in a bucket, for a CDN to take them from.
//!
//! The connection, its tries and what its refusals mean are the store's ([`AwsStore`]). What is there is found out with one
//! list for each thousand objects, and by the ETag, which is a file's MD5 unless the object was sent in parts or is
//! encrypted with a key of one's own: then S3 is asked for its SHA-256, and where it has none the object is read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use bytes::Bytes;
use pannier_shared::digest::Hasher;
use pannier_shared::store::reading::range_header;
use pannier_shared::store::s3::S3Options;
use pannier_shared::store::wire::{self, Sent};
use pannier_shared::store::{MAX_FILE, MAX_RANGE};

use super::{Asset, Body, CACHE_CONTROL, Host, Put, Result, There};
use crate::store_aws::AwsStore;
use crate::store_aws::attempt::{Attempt, Failure, FileBody, body, failure};

/// More pages than this are no list of static files: ten million objects.
const PAGES: usize = 10_000;

/// A bucket, and a prefix in it.
#[derive(Debug)]
pub struct S3Host(AwsStore);

impl S3Host {
    /// Makes the client; nothing is asked yet.
    pub async fn new(options: S3Options) -> Self {
        Self(AwsStore::new(options).await)
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0.place.prefix)
    }

    async fn page(&self, token: Option<String>) -> Result<ListObjectsV2Output> {
        let prefix = &self.0.place.prefix;
        let call = async || {
            let list = self.0.client.list_objects_v2().bucket(&self.0.place.bucket).prefix(prefix);
            list.set_continuation_token(token.clone()).send().await.map_err(failure)
        };
        let page = self.0.send(prefix, call).await?;
        Ok(page.map_err(|refusal| self.0.place.refused(prefix, &refusal))?)
    }

    async fn put_once(&self, put: PutObjectFluentBuilder, asset: &Asset, body: &Body) -> Attempt<()> {
        let (sent, limit) = (Arc::new(Sent::default()), self.0.patience.after_upload);
        let body = match body {
            Body::Whole(bytes) => FileBody::of_bytes(bytes, &sent),
            Body::Frames(large) => FileBody::of_stream(large.stream(), asset.size, &sent),
        };
        let put = put.body(ByteStream::new(SdkBody::from_body_1_x(body))).content_length(asset.size as i64);
        let answer = put.customize().config_override(self.0.own_waiting()).send();
        match wire::answered(answer, limit, &sent).await {
            Some(answer) => answer.map(drop).map_err(failure),
            None => Err(Failure::Passing(wire::no_answer(limit))),
        }
    }

    async fn head(&self, asset: &Asset) -> Result<HeadObjectOutput> {
        let call = async || {
            let head = self.0.client.head_object().bucket(&self.0.place.bucket).key(self.key(&asset.name));
            head.checksum_mode(ChecksumMode::Enabled).send().await.map_err(failure)
        };
        let head = self.0.send(&asset.name, call).await?;
        Ok(head.map_err(|refusal| self.0.place.refused(&asset.name, &refusal))?)
    }

    /// Reads all of one content of an object, which is as long as the file, and compares.
    async fn reads_as(&self, asset: &Asset, etag: Option<&str>) -> Result<bool> {
        let mut hasher = Hasher::default();
        while hasher.length() < asset.size {
            let range = hasher.length()..asset.size.min(hasher.length() + MAX_RANGE);
            let call = async || {
                let get = self.0.client.get_object().bucket(&self.0.place.bucket).key(self.key(&asset.name));
                let get = get.range(range_header(&range)).set_if_match(etag.map(str::to_owned));
                body(get.send().await.map_err(failure)?, range.end - range.start, &self.0.patience).await
            };
            let piece: Bytes = match self.0.send(&asset.name, call).await? {
                Ok(piece) if !piece.is_empty() => piece,
                Ok(_) => return Ok(false),
                Err(refusal) => return Err(self.0.place.refused(&asset.name, &refusal).into()),
            };
            hasher.update(&piece);
        }
        Ok(hasher.finish() == asset.sha256)
    }
}

#[async_trait]
impl Host for S3Host {
    fn location(&self) -> &str {
        &self.0.place.location
    }

    async fn find(&self, names: &Arc<HashSet<String>>) -> Result<HashMap<String, There>> {
        let (mut found, mut token) = (HashMap::new(), None);
        for _ in 0..PAGES {
            let page = self.page(token).await?;
            for object in page.contents() {
                let name = object.key().and_then(|key| key.strip_prefix(&self.0.place.prefix));
                if let Some(name) = name.filter(|name| names.contains(*name)) {
                    let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                    found.insert(name.to_owned(), There { size, md5: object.e_tag().and_then(md5) });
                }
            }
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(found);
            }
        }
        Err(self.0.place.wrong(&self.0.place.prefix, "its list does not end".to_owned()).into())
    }

    async fn put(&self, asset: &Asset, body: &Body) -> Result<Put> {
        if asset.size > MAX_FILE {
            return Err(self.0.place.unsupported("take a static file of more than 5 GiB").into());
        }
        let call = || {
            let put = self.0.client.put_object().bucket(&self.0.place.bucket).key(self.key(&asset.name));
            let put = put.content_type(asset.media).set_content_encoding(asset.encoded.header().map(str::to_owned));
            let put = put.cache_control(CACHE_CONTROL).if_none_match("*");
            let put = put.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_sha256(asset.sha256.base64());
            self.put_once(put, asset, body)
        };
        match self.0.send(&asset.name, call).await {
            Ok(Ok(())) => Ok(Put::Stored),
            // Somebody else's, or our own work of which the answer was lost.
            Ok(Err(refusal)) if refusal.status == 412 => Ok(Put::Taken),
            Ok(Err(refusal)) => Err(self.0.place.refused(&asset.name, &refusal).into()),
            Err(error) => {
                // Where it was the file that could not be read, that is what is to be said.
                body.md5().await?;
                Err(error.into())
            }
        }
    }

    async fn holds(&self, asset: &Asset) -> Result<bool> {
        let head = self.head(asset).await?;
        if head.content_length() != i64::try_from(asset.size).ok() {
            return Ok(false);
        }
        match head.checksum_sha256() {
            // One of parts ends in their number.
            Some(sum) if !sum.contains('-') => Ok(sum == asset.sha256.base64()),
            _ => self.reads_as(asset, head.e_tag()).await,
        }
    }
}

/// The MD5 that an ETag may be.
fn md5(etag: &str) -> Option<[u8; 16]> {
    let text = etag.trim_matches('"');
    let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..16).map(byte).collect();
    bytes.filter(|_| text.len() == 32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_one_is_an_md5() {
        assert_eq!(md5("\"000102030405060708090a0b0c0d0e0f\"").unwrap()[15], 15);
        for etag in
            ["", "\"\"", "\"000102030405060708090a0b0c0d0e0f-2\"", "\"0001\"", "\"zz0102030405060708090a0b0c0d0e0f\""]
        {
            assert_eq!(md5(etag), None, "{etag}");
        }
    }
}
