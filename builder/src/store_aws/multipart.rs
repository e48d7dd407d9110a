//! An upload in parts: read once, sent and copied side by side, put together by S3 at the end.
//!
//! * **Memory**: [`AT_ONCE`] parts at most.
//! * **Proof**: the upload is begun with a full-object CRC-64/NVME, completed with the one computed over the file as it
//!   was read (and found to have its SHA-256), and S3's own is compared. So copied ranges are proven without being read
//!   back. A server that does not offer this gets no upload in parts.
//! * **Conflicts**: a 409 means that the upload is void: it is begun anew. 412 and a missing upload may be our own
//!   work whose answer was lost: the mark tells, as for one PUT.
//! * **Nothing is left behind**: whatever ends an upload before its completion aborts it, also when it is dropped. What
//!   is left by a process that was killed, or by a beginning whose answer was lost, is for the bucket's lifecycle rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use pannier_shared::store::s3::place::{MARK, Refusal};
use pannier_shared::store::upload::{Shared, Upload};
use pannier_shared::store::wire::{self, Patience, Retry, Sent};
use pannier_shared::store::{Condition, Error, Etag, Key, Result, Stored};
use pannier_shared::sys::fs;

use super::attempt::{Failure, FileBody, failure};
use super::parts::{Part, without_copies};
use super::reader::{self, Chunk, Crc, Reader};
use super::{AwsStore, LONG};

/// How many parts are on their way at once: one connection to S3 carries about 85 MB/s, so eight fill 5 Gbit/s; their
/// 128 MiB are what an upload needs of memory.
const AT_ONCE: usize = 8;

/// How an upload came to its end, if not by an error.
enum Ended {
    Stored(Etag),
    /// It is void, for this reason, and may succeed when it is begun anew.
    Void(String),
    /// What S3 put together is not the file.
    Unlike(String),
}

/// A part that S3 has.
struct Arrived {
    number: i32,
    etag: String,
    crc: Crc,
    length: u64,
    is_copy: bool,
}

/// Why a part did not arrive.
enum Stopped {
    By(Error),
    /// The upload is gone.
    Void(String),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::By(error)
    }
}

impl AwsStore {
    /// Stores a file in parts. `None`: this server cannot prove the whole, so nothing was sent.
    pub(super) async fn put_parts(&self, key: &Key, upload: &Upload, mut parts: Vec<Part>) -> Result<Option<Stored>> {
        let patience = Patience { total: LONG, ..self.patience.clone() };
        let mut retry = Retry::new(&patience);
        loop {
            let Some(open) = self.begin(key).await? else { return Ok(None) };
            let arrived = match self.send_parts(&open, upload, &parts).await {
                Ok(arrived) => arrived,
                Err(Stopped::By(error)) => return open.abort(Err(error)).await,
                Err(Stopped::Void(why)) => {
                    open.abort(Ok(())).await?;
                    retry.again(why).await.map_err(|detail| self.place.unavailable(detail))?;
                    continue;
                }
            };
            let copied = arrived.iter().filter(|part| part.is_copy).map(|part| part.length).sum();
            match self.complete(&open, &arrived).await {
                Ok(Ended::Stored(etag)) => {
                    open.done();
                    return Ok(Some(Stored { etag, copied }));
                }
                Ok(Ended::Unlike(why)) if copied == 0 => {
                    return open.abort(Err(self.place.wrong(key.as_str(), why))).await;
                }
                Ok(Ended::Unlike(_)) => parts = without_copies(&parts),
                Ok(Ended::Void(why)) => {
                    retry.again(why).await.map_err(|detail| self.place.unavailable(detail))?;
                }
                Err(error) => return open.abort(Err(error)).await,
            }
            open.abort(Ok(())).await?;
        }
    }

    /// Begins an upload that ends with a checksum of the whole; none where the server does not offer that.
    async fn begin<'a>(&'a self, key: &'a Key) -> Result<Option<Open<'a>>> {
        let mark = fs::random_name();
        let call = async || {
            let begin = self.client.create_multipart_upload().bucket(&self.place.bucket).key(self.place.path(key));
            let begin = begin.metadata(MARK, &mark).checksum_algorithm(ChecksumAlgorithm::Crc64Nvme);
            begin.checksum_type(ChecksumType::FullObject).send().await.map_err(failure)
        };
        let begun = match self.send(key.as_str(), call).await? {
            Ok(begun) => begun,
            Err(refusal) if cannot(&refusal) => return Ok(None),
            Err(refusal) => return Err(self.place.refused(key.as_str(), &refusal)),
        };
        let id = begun.upload_id.ok_or_else(|| self.place.wrong(key.as_str(), "it gave no upload id".to_owned()))?;
        let open = Open { store: self, key, id: Some(id), mark };
        match begun.checksum_algorithm {
            Some(ChecksumAlgorithm::Crc64Nvme) => Ok(Some(open)),
            _ => open.abort(Ok(None)).await,
        }
    }

    /// Sends or copies all parts; gives them in the order of the file.
    async fn send_parts(
        &self,
        open: &Open<'_>,
        upload: &Upload,
        parts: &[Part],
    ) -> std::result::Result<Vec<Arrived>, Stopped> {
        let may_copy = &AtomicBool::new(true);
        let arriving = chunks(Reader::new(upload, parts.to_vec()))
            .map_ok(|chunk| self.send_chunk(open, upload, chunk, may_copy))
            .try_buffer_unordered(AT_ONCE);
        let mut arrived: Vec<Arrived> = arriving.try_collect().await?;
        arrived.sort_by_key(|part| part.number);
        Ok(arrived)
    }

    async fn send_chunk(
        &self,
        open: &Open<'_>,
        upload: &Upload,
        chunk: Chunk,
        may_copy: &AtomicBool,
    ) -> std::result::Result<Arrived, Stopped> {
        let Chunk { part, crc, bytes } = chunk;
        let length = part.range.end - part.range.start;
        let arrived = |etag, is_copy| Arrived { number: part.number, etag, crc, length, is_copy };
        if let Some(shared) = &part.shared
            && may_copy.load(Ordering::Relaxed)
        {
            if let Some(etag) = self.copy(open, part.number, shared, crc).await {
                return Ok(arrived(etag, true));
            }
            // The others would fail for the same reason, each after all its tries.
            may_copy.store(false, Ordering::Relaxed);
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => read_again(upload, &part, crc).await?,
        };
        Ok(arrived(self.send_part(open, part.number, &bytes, crc).await?, false))
    }

    /// Lets S3 copy a part; none when that did not work, for whatever reason.
    async fn copy(&self, open: &Open<'_>, number: i32, shared: &Shared, crc: Crc) -> Option<String> {
        let source = format!("{}/{}", self.place.bucket, self.place.path(&shared.source)).replace('+', "%2B");
        let range = format!("bytes={}-{}", shared.from, shared.from + (shared.range.end - shared.range.start) - 1);
        let call = async || {
            let copy = self.client.upload_part_copy().bucket(&self.place.bucket).key(self.place.path(open.key));
            let copy = copy.set_upload_id(open.id.clone()).part_number(number).copy_source(&source);
            let copy = copy.copy_source_range(&range).copy_source_if_match(&shared.etag.0);
            copy.customize().config_override(self.slow_answers()).send().await.map_err(failure)
        };
        let copied = self.send(open.key.as_str(), call).await.ok()?.ok()?.copy_part_result?;
        let is_alike = copied.checksum_crc64_nvme.is_none_or(|found| found == crc.base64());
        copied.e_tag.filter(|_| is_alike)
    }

    async fn send_part(
        &self,
        open: &Open<'_>,
        number: i32,
        bytes: &Bytes,
        crc: Crc,
    ) -> std::result::Result<String, Stopped> {
        let limit = self.patience.after_upload;
        let call = async || {
            let sent = Arc::new(Sent::default());
            let body = ByteStream::new(SdkBody::from_body_1_x(FileBody::of_bytes(bytes, &sent)));
            let part = self.client.upload_part().bucket(&self.place.bucket).key(self.place.path(open.key));
            let part = part.set_upload_id(open.id.clone()).part_number(number).content_length(bytes.len() as i64);
            let part = part.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_crc64_nvme(crc.base64());
            let answer = part.body(body).customize().config_override(self.own_waiting()).send();
            match wire::answered(answer, limit, &sent).await {
                Some(answer) => Ok(answer.map_err(failure)?.e_tag),
                None => Err(Failure::Passing(wire::no_answer(limit))),
            }
        };
        let patience = Patience { total: LONG, ..self.patience.clone() };
        match self.send_with(&patience, open.key.as_str(), call).await? {
            Ok(etag) => Ok(self.etag(open.key, etag)?.0),
            Err(refusal) if is_gone(&refusal) => Err(Stopped::Void(refusal.said())),
            Err(refusal) => Err(Stopped::By(self.place.refused(open.key.as_str(), &refusal))),
        }
    }

    async fn complete(&self, open: &Open<'_>, arrived: &[Arrived]) -> Result<Ended> {
        let crc = arrived.iter().fold(Crc::default(), |crc, part| crc.then(part.crc, part.length));
        let key = open.key.as_str();
        match self.complete_once(open, arrived, crc).await? {
            Ok(Ok(done)) => {
                let etag = self.etag(open.key, done.e_tag)?;
                self.check_whole(open.key, &etag, done.checksum_crc64_nvme, crc).await?;
                Ok(Ended::Stored(etag))
            }
            Ok(Err(conflict)) => Ok(Ended::Void(conflict.said())),
            Err(refusal) if refusal.status == 412 || is_gone(&refusal) => {
                match self.marked(open.key, &open.mark).await {
                    Some(etag) => {
                        self.check_whole(open.key, &etag, None, crc).await?;
                        Ok(Ended::Stored(etag))
                    }
                    None if refusal.status == 412 => Err(self.place.lost(open.key, &Condition::Absent)),
                    None => Ok(Ended::Void(refusal.said())),
                }
            }
            Err(refusal) if refusal.code == "BadDigest" => Ok(Ended::Unlike(refusal.said())),
            Err(refusal) => Err(self.place.refused(key, &refusal)),
        }
    }

    /// A 409 is not tried again as it is: it comes back as the inner error.
    async fn complete_once(
        &self,
        open: &Open<'_>,
        arrived: &[Arrived],
        crc: Crc,
    ) -> Result<std::result::Result<std::result::Result<CompleteMultipartUploadOutput, Refusal>, Refusal>> {
        let named = |part: &Arrived| CompletedPart::builder().part_number(part.number).e_tag(&part.etag).build();
        let parts: Vec<CompletedPart> = arrived.iter().map(named).collect();
        let size: u64 = arrived.iter().map(|part| part.length).sum();
        let call = async || {
            let all = CompletedMultipartUpload::builder().set_parts(Some(parts.clone())).build();
            let complete = self.client.complete_multipart_upload().bucket(&self.place.bucket);
            let complete = complete.key(self.place.path(open.key)).set_upload_id(open.id.clone());
            let complete = complete.multipart_upload(all).if_none_match("*").mpu_object_size(size as i64);
            let complete = complete.checksum_type(ChecksumType::FullObject).checksum_crc64_nvme(crc.base64());
            match complete.customize().config_override(self.slow_answers()).send().await.map_err(failure) {
                Ok(done) => Ok(Ok(done)),
                Err(Failure::Refused(refusal)) if refusal.status == 409 => Ok(Err(refusal)),
                Err(failure) => Err(failure),
            }
        };
        self.send(open.key.as_str(), call).await
    }

    /// Compares S3's checksum of the whole with ours; where its answer did not say it, it is asked for.
    async fn check_whole(&self, key: &Key, etag: &Etag, said: Option<String>, expected: Crc) -> Result<()> {
        let call = async || {
            let head = self.client.head_object().bucket(&self.place.bucket).key(self.place.path(key));
            let head = head.if_match(&etag.0).checksum_mode(ChecksumMode::Enabled);
            head.send().await.map_err(failure)
        };
        let found = match said {
            Some(found) => Some(found),
            None => {
                let head = self.send(key.as_str(), call).await?;
                head.map_err(|refusal| self.place.refused(key.as_str(), &refusal))?.checksum_crc64_nvme
            }
        };
        match (found, expected.base64()) {
            (Some(found), expected) if found == expected => Ok(()),
            (Some(found), expected) => {
                let detail = format!("it has crc64nvme {found}, and the file has {expected}");
                Err(self.place.wrong(key.as_str(), detail))
            }
            (None, _) => Err(self.place.wrong(key.as_str(), "it gave no checksum of the whole".to_owned())),
        }
    }
}

/// True where a server does not know what was asked for.
fn cannot(refusal: &Refusal) -> bool {
    refusal.status == 501 || matches!(refusal.code.as_str(), "InvalidRequest" | "InvalidArgument" | "NotImplemented")
}

fn is_gone(refusal: &Refusal) -> bool {
    refusal.code == "NoSuchUpload"
}

/// What a reader gives, read where it does not stop the other tasks.
fn chunks(reader: Reader) -> impl Stream<Item = std::result::Result<Chunk, Stopped>> {
    stream::try_unfold(reader, |mut reader| async {
        let read = tokio::task::spawn_blocking(move || Ok(reader.next()?.map(|chunk| (chunk, reader))));
        read.await.unwrap_or_else(|ended| Err(Stopped::Void(format!("reading {ended}"))))
    })
}

async fn read_again(upload: &Upload, part: &Part, crc: Crc) -> std::result::Result<Bytes, Stopped> {
    let (upload, range) = (upload.clone(), part.range.clone());
    let read = tokio::task::spawn_blocking(move || Ok(reader::again(&upload, &range, crc)?));
    read.await.unwrap_or_else(|ended| Err(Stopped::Void(format!("reading {ended}"))))
}

/// An upload that was begun. Dropped before [`Open::done`], it is aborted.
struct Open<'a> {
    store: &'a AwsStore,
    key: &'a Key,
    /// None when there is nothing to abort any more.
    id: Option<String>,
    mark: String,
}

impl Open<'_> {
    fn done(mut self) {
        self.id = None;
    }

    /// Aborts the upload and passes on why. That it cannot be aborted is not worth more than the reason.
    async fn abort<T>(mut self, reason: Result<T>) -> Result<T> {
        if let Some(id) = &self.id {
            let (place, path) = (&self.store.place, self.store.place.path(self.key));
            let call = async || abort(&self.store.client, &place.bucket, &path, id).await;
            let patience = Patience { attempts: 2, ..self.store.patience.clone() };
            let _ = self.store.send_with(&patience, self.key.as_str(), call).await;
        }
        self.id = None;
        reason
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (client, place) = (self.store.client.clone(), &self.store.place);
        let (bucket, path) = (place.bucket.clone(), place.path(self.key));
        runtime.spawn(async move { abort(&client, &bucket, &path, &id).await.map_err(drop) });
    }
}

async fn abort(client: &Client, bucket: &str, path: &str, id: &str) -> super::attempt::Attempt<()> {
    let abort = client.abort_multipart_upload().bucket(bucket).key(path).upload_id(id);
    abort.send().await.map(drop).map_err(failure)
}
