//! What the server keeps: buckets, objects and uploads under one lock. A condition is checked and its write done
//! without the lock being let go in between.
//!
//! In a directory an object is a data file and a record `<data file>.json`. The record appears by rename, after the
//! data, and the old ones are removed after that; of two records for a key, the later one counts.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::{ETagCondition, Metadata};
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::checksums::Sums;
use crate::data::{Data, Place};
use crate::multipart::Upload;

/// An object. Never changed, only replaced.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) data: Data,
    pub(crate) etag: String,
    pub(crate) modified: SystemTime,
    pub(crate) sums: Sums,
    /// What the client wants kept with it.
    pub(crate) metadata: Option<Metadata>,
    pub(crate) headers: Headers,
}

/// What the client wants others to be told of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Headers {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_type: Option<String>,
}

/// Reads them from a request.
macro_rules! headers {
    ($input:expr) => {
        $crate::state::Headers {
            cache_control: $input.cache_control.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_type: $input.content_type.clone(),
        }
    };
}

/// Fills them into an answer.
macro_rules! tell {
    ($output:expr, $headers:expr) => {
        $output.cache_control = $headers.cache_control.clone();
        $output.content_encoding = $headers.content_encoding.clone();
        $output.content_type = $headers.content_type.clone();
    };
}

pub(crate) use {headers, tell};

/// On what a write depends.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl Conditions {
    pub(crate) fn is_some(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    fn check(&self, current: Option<&Arc<Object>>) -> S3Result<()> {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(wanted), Some(object)) if !is_etag(wanted, &object.etag) => return Err(not_met()),
            _ => {}
        }
        match (&self.if_none_match, current) {
            (Some(ETagCondition::ETag(_)), _) => Err(s3_error!(NotImplemented, "If-None-Match takes `*` only.")),
            (Some(ETagCondition::Any), Some(_)) => Err(not_met()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn is_etag(condition: &ETagCondition, etag: &str) -> bool {
    condition.as_etag().is_none_or(|wanted| wanted.value() == etag)
}

pub(crate) fn not_met() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

pub(crate) type Objects = BTreeMap<String, Arc<Object>>;

/// Everything under the lock.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) buckets: BTreeMap<String, Objects>,
    pub(crate) uploads: HashMap<String, Upload>,
}

impl Inner {
    pub(crate) fn objects(&self, bucket: &str) -> S3Result<&Objects> {
        self.buckets.get(bucket).ok_or_else(no_such_bucket)
    }
}

fn no_such_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

#[derive(Debug)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    pub(crate) place: Place,
}

impl State {
    /// Opens the state kept in `folder`, or an empty one in memory.
    pub(crate) fn open(folder: Option<&Path>, buckets: &[String]) -> io::Result<Self> {
        let mut inner = Inner::default();
        let place = match folder {
            None => Place::Memory,
            Some(folder) => {
                std::fs::create_dir_all(folder)?;
                load(folder, &mut inner)?;
                Place::Folder(folder.to_owned())
            }
        };
        for bucket in buckets {
            inner.buckets.entry(bucket.clone()).or_default();
        }
        Ok(Self { inner: Mutex::new(inner), place })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn object(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        let found = self.lock().objects(bucket)?.get(key).cloned();
        found.ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    /// Writes an object if the conditions hold; with `upload`, ends that upload in the same instant.
    pub(crate) fn write(
        &self,
        (bucket, key): (&str, &str),
        object: Object,
        conditions: &Conditions,
        upload: Option<&str>,
    ) -> S3Result<()> {
        let mut inner = self.lock();
        let checked = match upload {
            Some(id) if !inner.uploads.contains_key(id) => Err(s3_error!(NoSuchUpload)),
            _ => inner.objects(bucket).and_then(|objects| conditions.check(objects.get(key))),
        };
        if let Err(error) = checked.and_then(|()| record((bucket, key), &object).map_err(S3Error::internal_error)) {
            object.data.remove();
            return Err(error);
        }
        let replaced = inner.buckets.entry(bucket.to_owned()).or_default().insert(key.to_owned(), Arc::new(object));
        if let Some(replaced) = replaced {
            forget(&replaced);
        }
        if let Some(upload) = upload.and_then(|id| inner.uploads.remove(id)) {
            upload.remove();
        }
        Ok(())
    }

    pub(crate) fn delete(&self, bucket: &str, key: &str, if_match: Option<ETagCondition>) -> S3Result<()> {
        let mut inner = self.lock();
        let objects = inner.buckets.get_mut(bucket).ok_or_else(no_such_bucket)?;
        Conditions { if_match, if_none_match: None }.check(objects.get(key))?;
        if let Some(object) = objects.remove(key) {
            forget(&object);
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    bucket: String,
    key: String,
    etag: String,
    size: u64,
    modified_ns: u64,
    sums: Sums,
    metadata: Option<Metadata>,
    #[serde(default)]
    headers: Headers,
}

fn record((bucket, key): (&str, &str), object: &Object) -> io::Result<()> {
    let Data::File(path, size) = &object.data else { return Ok(()) };
    let record = Record {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        etag: object.etag.clone(),
        size: *size,
        modified_ns: object.modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
        sums: object.sums.clone(),
        metadata: object.metadata.clone(),
        headers: object.headers.clone(),
    };
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, serde_json::to_vec(&record)?)?;
    std::fs::rename(&temporary, record_path(path))
}

fn record_path(data: &Path) -> PathBuf {
    data.with_extension("json")
}

fn forget(object: &Object) {
    if let Data::File(path, _) = &object.data {
        // The later record counts, also when this one stays.
        let _ = std::fs::remove_file(record_path(path));
    }
    object.data.remove();
}

fn load(folder: &Path, inner: &mut Inner) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let record: Record = serde_json::from_slice(&std::fs::read(&path)?)?;
        let objects = inner.buckets.entry(record.bucket).or_default();
        let object = Object {
            data: Data::File(path.with_extension(""), record.size),
            etag: record.etag,
            modified: UNIX_EPOCH + Duration::from_nanos(record.modified_ns),
            sums: record.sums,
            metadata: record.metadata,
            headers: record.headers,
        };
        if objects.get(&record.key).is_none_or(|other| other.modified <= object.modified) {
            objects.insert(record.key, Arc::new(object));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksums;
    use crate::data::Spool;

    const AT: (&str, &str) = ("bucket", "key");

    fn write(state: &State, text: &str, conditions: Conditions) -> S3Result<()> {
        let mut spool = Spool::new(&state.place, checksums::hasher(&["SHA256"]))?;
        spool.push(text.as_bytes())?;
        let spooled = spool.finish();
        let object = Object {
            data: spooled.data,
            etag: hex::encode(spooled.md5),
            modified: SystemTime::now(),
            sums: spooled.sums,
            metadata: None,
            headers: Headers { content_type: Some("text/plain".to_owned()), ..Headers::default() },
        };
        state.write(AT, object, &conditions, None)
    }

    fn read(state: &State) -> String {
        let object = state.object(AT.0, AT.1).unwrap();
        let bytes = object.data.open().unwrap().read(0, object.data.size()).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn absent() -> Conditions {
        Conditions { if_none_match: Some(ETagCondition::Any), ..Default::default() }
    }

    fn unchanged(etag: &str) -> Conditions {
        Conditions { if_match: Some(etag.parse().unwrap()), ..Default::default() }
    }

    #[test]
    fn a_directory_keeps_the_last_object_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let buckets = ["bucket".to_owned()];
        let state = State::open(Some(dir.path()), &buckets).unwrap();
        write(&state, "first", absent()).unwrap();
        write(&state, "lost", absent()).unwrap_err();
        let etag = format!("\"{}\"", state.object(AT.0, AT.1).unwrap().etag);
        write(&state, "second", unchanged(&etag)).unwrap();
        write(&state, "lost", unchanged(&etag)).unwrap_err();
        let sums = state.object(AT.0, AT.1).unwrap().sums.clone();
        drop(state);
        let again = State::open(Some(dir.path()), &[]).unwrap();
        assert_eq!(read(&again), "second");
        assert_eq!(again.object(AT.0, AT.1).unwrap().sums, sums);
        assert_eq!(again.object(AT.0, AT.1).unwrap().headers.content_type.as_deref(), Some("text/plain"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "one data file and its record");
        again.delete(AT.0, AT.1, None).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_swap_of_nothing_is_no_such_key() {
        let state = State::open(None, &["bucket".to_owned()]).unwrap();
        let error = write(&state, "x", unchanged("\"0123\"")).unwrap_err();
        assert_eq!(error.code().as_str(), "NoSuchKey");
    }

    #[test]
    fn an_object_being_read_stays_readable_when_it_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(Some(dir.path()), &["bucket".to_owned()]).unwrap();
        write(&state, "first", Conditions::default()).unwrap();
        let source = state.object(AT.0, AT.1).unwrap().data.open().unwrap();
        write(&state, "second", Conditions::default()).unwrap();
        assert_eq!(source.read(0, 5).unwrap(), "first");
    }
}
