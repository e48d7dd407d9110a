//! Who may ask: one pair of keys, with an optional session token; and everybody for the objects of a public bucket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};

/// The header or query parameter that carries a session token.
const TOKEN: &str = "x-amz-security-token";

#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) session: Session,
    pub(crate) public: Vec<String>,
}

/// The session token that must come with the key, if any, and those that were good before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session(Arc<Mutex<Vec<String>>>);

impl Session {
    /// From now on this one is good, and all earlier ones are expired.
    pub(crate) fn renew(&self, token: String) {
        self.tokens().push(token);
    }

    fn check(&self, given: Option<String>) -> S3Result<()> {
        let tokens = self.tokens();
        match tokens.split_last() {
            Some((good, _)) if given.as_ref() == Some(good) => Ok(()),
            Some((_, expired)) if given.is_some_and(|given| expired.contains(&given)) => {
                Err(s3_error!(ExpiredToken, "The provided token has expired."))
            }
            Some(_) => Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid.")),
            None => Ok(()),
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            return Ok(SecretKey::from(self.secret_key.as_str()));
        }
        Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            if self.is_for_everybody(cx) {
                return Ok(());
            }
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        self.session.check(given_token(cx))
    }
}

impl Keys {
    fn is_for_everybody(&self, cx: &S3AccessContext<'_>) -> bool {
        let is_public = |bucket: &str| self.public.iter().any(|public| public == bucket);
        matches!(cx.method().as_str(), "GET" | "HEAD")
            && matches!(cx.s3_path(), S3Path::Object { bucket, .. } if is_public(bucket))
    }
}

fn given_token(cx: &S3AccessContext<'_>) -> Option<String> {
    if let Some(header) = cx.headers().get(TOKEN) {
        return header.to_str().ok().map(str::to_owned);
    }
    let pairs = cx.uri().query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(TOKEN))?.1;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}
