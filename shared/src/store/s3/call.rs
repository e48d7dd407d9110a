//! One request in the making, and what S3 says in an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reqwest::{Body, Method, Request, StatusCode};

use crate::store::upload::Upload;
use crate::store::wire::{Answer, Sent};
use crate::store::xml;

/// A request in the making.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// What messages call it.
    pub(super) key: &'a str,
    pub(super) path: String,
    pub(super) query: BTreeMap<&'static str, String>,
    /// All of them are signed.
    pub(super) headers: BTreeMap<&'static str, String>,
    pub(super) body: Sending<'a>,
    /// How much of a good answer is kept.
    pub(super) keep: u64,
}

pub(super) enum Sending<'a> {
    Nothing,
    Bytes(&'a Bytes),
    File(&'a Upload),
}

impl Sending<'_> {
    /// Makes it the body of a request; `sent` is told how far it came.
    pub(super) fn put_into(&self, request: &mut Request, sent: &Arc<Sent>) {
        let body = match self {
            Self::Nothing => return,
            Self::Bytes(bytes) => Body::from((*bytes).clone()),
            Self::File(upload) => {
                let sent = Arc::clone(sent);
                Body::wrap_stream(upload.stream().inspect_ok(move |piece| {
                    sent.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }))
            }
        };
        *request.body_mut() = Some(body);
    }
}

pub(super) fn is_conflict(answer: &Answer) -> bool {
    answer.status == StatusCode::CONFLICT
}

pub(super) fn is_expired(answer: &Answer) -> bool {
    answer.status.is_client_error() && code(answer).is_some_and(|code| code == "ExpiredToken")
}

pub(super) fn code(answer: &Answer) -> Option<String> {
    xml::text(&String::from_utf8_lossy(&answer.body), "Code")
}

/// S3's own words: status, code and message.
pub(super) fn said(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let part = |name, before: &str| xml::text(&text, name).map_or_else(String::new, |said| format!("{before}{said}"));
    let shown = format!("{}{}{}", answer.status.as_u16(), part("Code", " "), part("Message", ": "));
    shown.chars().filter(|c| !c.is_control()).take(300).collect()
}
