//! One request in the making, and what S3 says in an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use reqwest::{Body, Method, Request};

use super::place::Refusal;
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
                Body::wrap_stream(upload.stream().inspect_ok(move |piece| sent.add(piece.len())))
            }
        };
        *request.body_mut() = Some(body);
    }
}

/// What an answer that is not a success says; none for a success.
pub(super) fn refusal(answer: &Answer) -> Option<Refusal> {
    if answer.status.is_success() {
        return None;
    }
    let text = String::from_utf8_lossy(&answer.body);
    let part = |name| xml::text(&text, name).unwrap_or_default();
    let region = answer.header("x-amz-bucket-region").map(str::to_owned).or_else(|| xml::text(&text, "Region"));
    Some(Refusal { status: answer.status.as_u16(), code: part("Code"), message: part("Message"), region })
}
