//! The S3 calls, over [`State`]. A body is read to its end before anything is answered, also when the answer is no:
//! an unread body would be taken for the next request of the connection.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::StreamExt;
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use crate::checksums::{self, Sums, give, given};
use crate::data::{Spool, Spooled, fresh_name};
use crate::faults::Active;
use crate::multipart::{self, Upload};
use crate::state::{Conditions, Object, Objects, State, headers, is_etag, not_met, tell};
use crate::stream::Outgoing;

/// Most names in one page of a list.
const PAGE: usize = 1000;

/// What `encoding-type=url` leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_').remove(b'*');

pub(crate) struct Api {
    pub(crate) state: Arc<State>,
    pub(crate) faults: Arc<Active>,
}

impl Api {
    /// Reads a body to its end, and checks what the client said of it.
    async fn receive(&self, body: Option<StreamingBlob>, said: Said) -> S3Result<Spooled> {
        let hasher = checksums::wanted(&said.sums, said.algorithm.as_deref(), &said.headers);
        let mut spool = Spool::new(&self.state.place, hasher)?;
        if let Some(mut body) = body {
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(|error| S3Error::with_source(S3ErrorCode::IncompleteBody, error))?;
                spool.push(&bytes)?;
            }
        }
        let mut spooled = spool.finish();
        let mut sums = said.sums;
        if let Some(trailers) = said.trailers.and_then(|trailers| trailers.take()) {
            sums.take_headers(&trailers);
        }
        if let Err(error) = spooled.sums.check(&sums) {
            spooled.data.remove();
            return Err(error);
        }
        Ok(spooled)
    }

    fn write(&self, at: (&str, &str), object: Object, conditions: &Conditions, upload: Option<&str>) -> S3Result<()> {
        if conditions.is_some() && self.faults.conflicts() {
            object.data.remove();
            return Err(s3_error!(ConditionalRequestConflict, "The conditional request cannot succeed."));
        }
        self.state.write(at, object, conditions, upload)
    }

    /// The body of an answer, and the range it holds if that is not everything.
    fn body(&self, object: &Object, asked: Option<&s3s::dto::Range>) -> S3Result<(StreamingBlob, Option<Range<u64>>)> {
        let size = object.data.size();
        let faults = self.faults.current();
        let range = match asked {
            Some(range) if !faults.whole_body_for_range => {
                Some(range.check(size).map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?)
            }
            _ => None,
        };
        let range = match range {
            Some(range) if faults.wrong_content_range && range.end < size => Some(range.start + 1..range.end + 1),
            other => other,
        };
        let sent = range.clone().unwrap_or(0..size);
        let body = Outgoing::new(object.data.open()?, sent, self.faults.ending(), faults.stream_mbps);
        Ok((StreamingBlob::new(body), range))
    }
}

/// What a client says of a body it sends.
struct Said {
    sums: Sums,
    algorithm: Option<String>,
    headers: HeaderMap,
    trailers: Option<TrailingHeaders>,
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let mut inner = self.state.lock();
        if inner.buckets.contains_key(&req.input.bucket) {
            return Err(s3_error!(BucketAlreadyOwnedByYou));
        }
        inner.buckets.insert(req.input.bucket, Objects::new());
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.state.lock().objects(&req.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let said = Said {
            sums: given!(req.input),
            algorithm: req.input.checksum_algorithm.as_ref().map(|name| name.as_str().to_owned()),
            headers: req.headers,
            trailers: req.trailing_headers,
        };
        let Spooled { data, md5, sums } = self.receive(req.input.body.take(), said).await?;
        let etag = hex::encode(md5);
        let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(etag.clone())), ..Default::default() };
        give!(output, sums);
        output.checksum_type = sums.kind();
        let headers = headers!(req.input);
        let object = Object { data, etag, modified: SystemTime::now(), sums, metadata: req.input.metadata, headers };
        let conditions = Conditions { if_match: req.input.if_match, if_none_match: req.input.if_none_match };
        self.write((&req.input.bucket, &req.input.key), object, &conditions, None)?;
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let object = self.state.object(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let (body, range) = self.body(&object, input.range.as_ref())?;
        let size = object.data.size();
        let length = range.as_ref().map_or(size, |range| range.end - range.start);
        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(body),
            content_length: Some(length as i64),
            content_range: range.as_ref().map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata.clone(),
            ..Default::default()
        };
        tell!(output, object.headers);
        if input.checksum_mode.is_some() && range.is_none() {
            give!(output, object.sums);
            output.checksum_type = object.sums.kind();
        }
        Ok(S3Response::new(output))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let object = self.state.object(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(object.data.size() as i64),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(object.modified.into()),
            metadata: object.metadata.clone(),
            ..Default::default()
        };
        tell!(output, object.headers);
        if input.checksum_mode.is_some() {
            give!(output, object.sums);
            output.checksum_type = object.sums.kind();
        }
        Ok(S3Response::new(output))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.state.delete(&req.input.bucket, &req.input.key, req.input.if_match)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let page = page(self.state.lock().objects(&input.bucket)?, &input);
        let encode = |text: String| match input.encoding_type {
            Some(_) => utf8_percent_encode(&text, KEPT).to_string(),
            None => text,
        };
        let contents: Vec<_> = page.objects.into_iter().map(|(key, object)| listed(encode(key), &object)).collect();
        let folders: Vec<_> =
            page.folders.into_iter().map(|prefix| CommonPrefix { prefix: Some(encode(prefix)) }).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: Some((contents.len() + folders.len()) as i32),
            max_keys: Some(input.max_keys.unwrap_or(PAGE as i32)),
            is_truncated: Some(page.next.is_some()),
            contents: Some(contents),
            common_prefixes: Some(folders),
            continuation_token: input.continuation_token,
            next_continuation_token: page.next,
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            name: Some(input.bucket),
            prefix: input.prefix,
            start_after: input.start_after,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut input = req.input;
        if self.faults.current().no_checksum_of_the_whole {
            (input.checksum_algorithm, input.checksum_type) = (None, None);
        }
        let algorithm = input.checksum_algorithm.as_ref().map(|name| name.as_str().to_owned());
        let is_sha = algorithm.as_deref().is_some_and(|name| name.starts_with("SHA"));
        let composite = input.checksum_type.as_ref().map_or(is_sha, |kind| kind.as_str() == ChecksumType::COMPOSITE);
        let upload = Upload {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            algorithm,
            composite,
            headers: headers!(input),
            metadata: input.metadata,
            parts: Default::default(),
        };
        let id = fresh_name();
        let mut inner = self.state.lock();
        inner.objects(&input.bucket)?;
        inner.uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, mut req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let at = (req.input.bucket.as_str(), req.input.key.as_str());
        let upload = multipart::find(&self.state, &req.input.upload_id, at);
        let algorithm = upload.as_ref().map_or("CRC64NVME", |upload| upload.algorithm()).to_owned();
        let said = Said {
            sums: given!(req.input),
            algorithm: Some(algorithm),
            headers: req.headers,
            trailers: req.trailing_headers,
        };
        let spooled = self.receive(req.input.body.take(), said).await?;
        let part = multipart::store_part(&self.state, &req.input.upload_id, req.input.part_number, spooled.into())?;
        let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag())), ..Default::default() };
        give!(output, part.sums);
        Ok(S3Response::new(output))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let upload = multipart::find(&self.state, &input.upload_id, (&input.bucket, &input.key))?;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else { return Err(s3_error!(NotImplemented)) };
        let source = self.state.object(bucket, key)?;
        check_read(&source, input.copy_source_if_match.as_ref(), input.copy_source_if_none_match.as_ref())?;
        let mut range = copied_range(input.copy_source_range.as_deref(), source.data.size())?;
        if range.end < source.data.size() && self.faults.copies_wrongly() {
            range = range.start + 1..range.end + 1;
        }
        let mut spool = Spool::new(&self.state.place, checksums::hasher(&[upload.algorithm()]))?;
        spool.push_range(&source.data.open()?, range)?;
        let part = multipart::store_part(&self.state, &input.upload_id, input.part_number, spool.finish().into())?;
        let mut result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.etag())),
            last_modified: Some(source.modified.into()),
            ..Default::default()
        };
        if !self.faults.current().silent_copies {
            give!(result, part.sums);
        }
        Ok(S3Response::new(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let at = (input.bucket.as_str(), input.key.as_str());
        let upload = multipart::find(&self.state, &input.upload_id, at)?;
        let named = input.multipart_upload.as_ref().and_then(|upload| upload.parts.clone()).unwrap_or_default();
        let parts = upload.chosen(&named)?;
        let mut object = upload.assemble(&parts, &self.state.place)?;
        let size_is_wrong = input.mpu_object_size.is_some_and(|size| size as u64 != object.data.size());
        let checked = object.sums.check(&given!(input));
        if size_is_wrong || checked.is_err() {
            object.data.remove();
            checked?;
            return Err(s3_error!(InvalidRequest, "The object size does not match x-amz-mp-object-size."));
        }
        let mut output = CompleteMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            ..Default::default()
        };
        give!(output, object.sums);
        output.checksum_type = object.sums.kind();
        let conditions = Conditions { if_match: input.if_match, if_none_match: input.if_none_match };
        self.write(at, object, &conditions, Some(&input.upload_id))?;
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        multipart::find(&self.state, &input.upload_id, (&input.bucket, &input.key))?;
        if let Some(upload) = self.state.lock().uploads.remove(&input.upload_id) {
            upload.remove();
        }
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

fn check_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|wanted| !is_etag(wanted, &object.etag)) {
        return Err(not_met());
    }
    if if_none_match.is_some_and(|known| is_etag(known, &object.etag)) {
        return Err(S3Error::new(S3ErrorCode::NotModified));
    }
    Ok(())
}

/// `bytes=first-last`, both given, as S3 wants it here.
fn copied_range(text: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(text) = text else { return Ok(0..size) };
    let numbers = text.strip_prefix("bytes=").and_then(|text| text.split_once('-'));
    let numbers = numbers.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match numbers {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        _ => Err(s3_error!(InvalidArgument, "The x-amz-copy-source-range value is not valid for the source.")),
    }
}

/// A page of a list.
#[derive(Default)]
struct Page {
    objects: Vec<(String, Arc<Object>)>,
    folders: Vec<String>,
    /// Where the next page goes on: the last key or folder of this one.
    next: Option<String>,
}

fn page(objects: &Objects, input: &ListObjectsV2Input) -> Page {
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
    let after = input.continuation_token.as_ref().or(input.start_after.as_ref()).cloned().unwrap_or_default();
    let most = input.max_keys.map_or(PAGE, |most| (most.max(0) as usize).min(PAGE));
    let mut page = Page::default();
    let mut last = after.clone();
    for (key, object) in objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
        let folder = delimiter.and_then(|delimiter| folder(key, prefix, delimiter));
        let name = folder.as_ref().unwrap_or(key);
        if *name <= after || page.folders.last() == Some(name) {
            continue;
        }
        if page.objects.len() + page.folders.len() == most {
            page.next = Some(last);
            break;
        }
        last.clone_from(name);
        match folder {
            Some(folder) => page.folders.push(folder),
            None => page.objects.push((key.clone(), Arc::clone(object))),
        }
    }
    page
}

fn folder(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let at = key[prefix.len()..].find(delimiter)?;
    Some(key[..prefix.len() + at + delimiter.len()].to_owned())
}

fn listed(key: String, object: &Object) -> s3s::dto::Object {
    s3s::dto::Object {
        key: Some(key),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(object.modified.into()),
        size: Some(object.data.size() as i64),
        ..Default::default()
    }
}
