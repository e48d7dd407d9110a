//! A small S3 server for Pannier's tests and demo: `pannier-s3d`, or [`Server`] inside a test.
//!
//! Protocol and signature checks are those of the `s3s` crate; behind them is one state under one lock, so that of
//! many conditional writes exactly one wins, which is what the servers at hand do not give. [`Faults`] make it slow,
//! cut, stalled, wrong or forgetful while a test runs.
//!
//! # What it does
//! PutObject and CompleteMultipartUpload with `If-None-Match: *` and `If-Match`; GetObject and HeadObject with ranges,
//! `If-Match` (412) and `If-None-Match` (304); ListObjectsV2 with prefix, delimiter and pages of at most 1,000;
//! multipart uploads with UploadPart, UploadPartCopy and the 5 MiB floor; checksums (CRC32, CRC32C, CRC64NVME, SHA-1,
//! SHA-256; in headers and trailers) checked, kept and given back; user metadata, content type, content encoding and cache control; DeleteObject; one pair of keys, with an optional
//! session token, and buckets whose objects everybody may read. Objects live in memory, or as files of a directory, from which a later start reads them again.
//!
//! # What it does not do, so that no test may lean on it
//! Versions, tags, policies, IAM (a key that may write but not list), object lock, encryption, lifecycle,
//! other headers of an object, CORS, GET by part number, redirects to another region, virtual-hosted addresses, TLS. It is not durable: nothing is
//! fsynced. It answers 409 only when told to ([`Faults::conflicts`]), S3 whenever conditional writes meet. And it is
//! our own reading of the documentation: the suite runs against moto as well, and a release against S3 itself.
#![allow(clippy::disallowed_methods, reason = "a server for tests, no part of Pannier: nothing goes through `sys`")]

mod api;
mod auth;
mod checksums;
mod data;
mod faults;
mod multipart;
mod server;
mod state;
mod stream;

pub use faults::Faults;
pub use server::{Logged, Options, Server};
