//! What the client must know, and how the environment says it.

use reqwest::Url;
use rusty_s3::UrlStyle;

use crate::store::credentials::Source;
use crate::store::location::{Bucket, Location};
use crate::store::wire::Patience;
use crate::store::{Error, Result};

/// Where S3 is and how to speak to it.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Bucket and prefix.
    pub bucket: Bucket,
    /// The region to sign for.
    pub region: String,
    /// Another server than Amazon's; it is addressed by path (`https://host/bucket/key`).
    pub endpoint: Option<Url>,
    /// Whom to ask as.
    pub credentials: Source,
    /// How long and how often.
    pub patience: Patience,
}

impl S3Options {
    /// Takes everything but the bucket from an environment, under the names that the AWS SDKs use.
    pub fn from_env(bucket: Bucket, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| env(name).filter(|value| !value.is_empty()));
        let endpoint = match first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]) {
            None => None,
            Some(text) => Some(endpoint(&bucket, &text)?),
        };
        Ok(Self {
            region: first(["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| "us-east-1".to_owned()),
            credentials: Source::from_env(env),
            patience: Patience::default(),
            endpoint,
            bucket,
        })
    }
}

fn endpoint(bucket: &Bucket, text: &str) -> Result<Url> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() => Ok(url),
        _ => Err(Error::Unavailable {
            store: Location::S3(bucket.clone()).to_string(),
            detail: "`AWS_ENDPOINT_URL` is not an address: expected `https://host`".to_owned(),
        }),
    }
}

/// Amazon's own address. A bucket with a dot is addressed by path: no certificate covers it as a host.
pub(super) fn amazon(bucket: &str, region: &str) -> std::result::Result<(Url, UrlStyle), String> {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let style = if bucket.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
    let url = Url::parse(&format!("https://s3.{region}.{domain}"));
    url.map(|url| (url, style)).map_err(|_| format!("`AWS_REGION` is not a region: `{region}`"))
}
