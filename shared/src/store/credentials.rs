//! Whom S3 is asked as: keys from the environment, from a profile in `~/.aws/credentials`, or from the role of the EC2
//! instance (IMDSv2), in this order, under the names that the AWS SDKs use.
//!
//! Keys of a role expire; they are fetched again five minutes before, which is when the service has the next ones.
//! While that fails, those at hand are used to their last minute. Nothing here ever prints a secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::wire::{Patience, Redirects, Retry, Sent, Wire, is_passing};
use crate::sys::{clock, fs};

/// Renewed when they are good for less than this.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);

/// How long a token of the metadata service is good for: one conversation.
const TOKEN_SECONDS: &str = "300";

/// The longest answer of the metadata service, and the longest credentials file: both are below 4 KiB in practice.
const LONGEST: u64 = 256 * 1024;

/// A pair of keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// What must come with keys of a role.
    pub session_token: Option<String>,
    /// When they stop being good.
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.access_key.chars().take(4).collect();
        f.debug_struct("Credentials")
            .field("access_key", &format!("{shown}***"))
            .field("secret_key", &"***")
            .field("session_token", &self.session_token.as_ref().map(|_| "***"))
            .field("expires", &self.expires)
            .finish()
    }
}

/// Why there are no credentials; says where they were looked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCredentials(String);

/// Where credentials come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// They are known.
    Known(Credentials),
    /// The role of this EC2 instance; the address is that of the metadata service.
    Instance(Url),
    /// There are none, and why.
    Nowhere(NoCredentials),
}

impl Source {
    /// Finds the source in an environment.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let given = |name| env(name).filter(|value| !value.is_empty());
        match (given("AWS_ACCESS_KEY_ID"), given("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key), Some(secret_key)) => {
                let session_token = given("AWS_SESSION_TOKEN");
                return Self::Known(Credentials { access_key, secret_key, session_token, expires: None });
            }
            (Some(_), None) => return nowhere("`AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not"),
            (None, Some(_)) => return nowhere("`AWS_SECRET_ACCESS_KEY` is set, and `AWS_ACCESS_KEY_ID` is not"),
            (None, None) => {}
        }
        match profile(&given) {
            Ok(Some(known)) => Self::Known(known),
            Err(why) => Self::Nowhere(why),
            Ok(None) => instance(&given),
        }
    }
}

fn nowhere(why: impl Into<String>) -> Source {
    Source::Nowhere(NoCredentials(why.into()))
}

fn instance(given: &dyn Fn(&'static str) -> Option<String>) -> Source {
    if given("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return nowhere(
            "no credentials in the environment (`AWS_ACCESS_KEY_ID`) and no profile in `~/.aws/credentials`",
        );
    }
    let endpoint = given("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    match Url::parse(endpoint.as_deref().unwrap_or("http://169.254.169.254")) {
        Ok(url) if url.has_host() => Source::Instance(url),
        _ => nowhere("`AWS_EC2_METADATA_SERVICE_ENDPOINT` is not an address: expected `http://host`"),
    }
}

/// The profile's keys; none if there is no such file or it has no such profile, unless one was asked for by name.
fn profile(given: &dyn Fn(&'static str) -> Option<String>) -> Result<Option<Credentials>, NoCredentials> {
    let wanted = given("AWS_PROFILE");
    let name = wanted.as_deref().unwrap_or("default");
    let home = || given("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
    let Some(path) = given("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home) else { return Ok(None) };
    let missing = |what: &str| NoCredentials(format!("{what} profile `{name}` in `{}`", path.display()));
    let text = fs::if_there(fs::read_text(&path, LONGEST));
    let text = text.map_err(|error| NoCredentials(format!("{error}: {}", error.source)))?;
    match (text.and_then(|text| section(&text, name)), wanted.is_some()) {
        (Some(found), _) => found.into_credentials().ok_or_else(|| missing("a key is missing in")).map(Some),
        (None, true) => Err(missing("there is no")),
        (None, false) => Ok(None),
    }
}

#[derive(Default)]
struct Section {
    access_key: Option<String>,
    secret_key: Option<String>,
    session_token: Option<String>,
}

impl Section {
    fn into_credentials(self) -> Option<Credentials> {
        let (access_key, secret_key) = (self.access_key?, self.secret_key?);
        Some(Credentials { access_key, secret_key, session_token: self.session_token, expires: None })
    }
}

fn section(text: &str, name: &str) -> Option<Section> {
    let mut found: Option<Section> = None;
    let mut is_inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = header.trim() == name;
            if is_inside {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value)), Some(section)) = (is_inside, line.split_once('='), &mut found) {
            let value = Some(value.trim().to_owned());
            match key.trim() {
                "aws_access_key_id" => section.access_key = value,
                "aws_secret_access_key" => section.secret_key = value,
                "aws_session_token" => section.session_token = value,
                _ => {}
            }
        }
    }
    found
}

/// Credentials, renewed in time.
#[derive(Debug)]
pub(super) struct Provider {
    source: Source,
    current: Mutex<Option<Credentials>>,
}

impl Provider {
    pub(super) fn new(source: Source) -> Self {
        Self { source, current: Mutex::default() }
    }

    /// Credentials that are good now.
    pub(super) async fn get(&self) -> Result<Credentials, NoCredentials> {
        let endpoint = match &self.source {
            Source::Known(known) => return Ok(known.clone()),
            Source::Nowhere(why) => return Err(why.clone()),
            Source::Instance(endpoint) => endpoint,
        };
        let mut current = self.current.lock().await;
        match &*current {
            Some(known) if good_for(known, clock::now()) > RENEW_BEFORE => return Ok(known.clone()),
            _ => {}
        }
        match Instance::new(endpoint.clone())?.credentials().await {
            Ok(fresh) => Ok(current.insert(fresh).clone()),
            Err(why) => match &*current {
                Some(known) if good_for(known, clock::now()) > Duration::ZERO => Ok(known.clone()),
                _ => Err(why),
            },
        }
    }

    /// Forgets what the store called expired, so that the next [`Provider::get`] fetches others.
    pub(super) async fn forget(&self) {
        *self.current.lock().await = None;
    }
}

fn good_for(credentials: &Credentials, now: Timestamp) -> Duration {
    match credentials.expires {
        None => Duration::MAX,
        Some(expires) => Duration::try_from(expires.duration_since(now)).unwrap_or_default(),
    }
}

/// The metadata service of an EC2 instance, version 2 only: a token first, which a forwarded request cannot get.
struct Instance {
    wire: Wire,
    endpoint: Url,
}

/// What the service says of a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Role {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: Timestamp,
}

impl Instance {
    fn new(endpoint: Url) -> Result<Self, NoCredentials> {
        let second = Duration::from_secs(1);
        let patience = Patience {
            connect: second,
            first_byte: second,
            after_upload: second,
            stall: second,
            slow: 5 * second,
            attempts: 3,
            pause: Duration::from_millis(200),
            total: 5 * second,
        };
        let wire = Wire::new(&endpoint, Redirects::Never, patience).map_err(NoCredentials)?;
        Ok(Self { wire, endpoint })
    }

    async fn credentials(&self) -> Result<Credentials, NoCredentials> {
        let token = self.ask(Method::PUT, "latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
        let token = token.await?;
        let roles = "latest/meta-data/iam/security-credentials/";
        let role = self.ask(Method::GET, roles, "x-aws-ec2-metadata-token", &token).await?;
        let role = role.lines().next().unwrap_or_default().trim();
        let answer = self.ask(Method::GET, &format!("{roles}{role}"), "x-aws-ec2-metadata-token", &token).await?;
        let role: Role = serde_json::from_str(&answer)
            .map_err(|error| self.failed(&format!("gave no credentials for the role `{role}`: {error}")))?;
        Ok(Credentials {
            access_key: role.access_key_id,
            secret_key: role.secret_access_key,
            session_token: Some(role.token),
            expires: Some(role.expiration),
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: &'static str,
        value: &str,
    ) -> Result<String, NoCredentials> {
        let mut retry = Retry::new(&self.wire.patience);
        loop {
            let url = self.endpoint.join(path).map_err(|error| self.failed(&error.to_string()))?;
            let mut request = Request::new(method.clone(), url);
            let value = value.parse().map_err(|_| self.failed("gave a token that cannot be sent back"))?;
            request.headers_mut().insert(header, value);
            let why = match self.wire.once(request, LONGEST, &Sent::default()).await {
                Ok(answer) if answer.status.is_success() => {
                    return Ok(String::from_utf8_lossy(&answer.body).into_owned());
                }
                Ok(answer) if !is_passing(answer.status) => {
                    return Err(self.failed(&format!("answered `{path}` with status {}", answer.status.as_u16())));
                }
                Ok(answer) => format!("status {}", answer.status.as_u16()),
                Err(broken) => broken.why,
            };
            retry.again(why).await.map_err(|why| self.failed(&format!("does not answer: {why}")))?;
        }
    }

    fn failed(&self, what: &str) -> NoCredentials {
        NoCredentials(format!(
            "no credentials in the environment (`AWS_ACCESS_KEY_ID`), no profile in `~/.aws/credentials`, \
             and the instance's metadata service {what}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(vars: &[(&str, &str)]) -> Source {
        Source::from_env(&|name| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    fn known(source: Source) -> Credentials {
        match source {
            Source::Known(credentials) => credentials,
            other => panic!("{other:?}"),
        }
    }

    fn nowhere_text(source: Source) -> String {
        match source {
            Source::Nowhere(why) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    const FILE: &str = "# mine\n[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key=s1\n\n\
        [ci]\naws_access_key_id=AKIACI\naws_secret_access_key = s2\naws_session_token = t2\nregion = x\n[half]\n\
        aws_access_key_id = AKIAHALF\n";

    fn file() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        fs::write(&path, FILE.as_bytes()).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (dir, path)
    }

    #[test]
    fn the_environment_comes_first() {
        let (_dir, path) = file();
        let found = known(source(&[
            ("AWS_ACCESS_KEY_ID", "AKIAENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_SESSION_TOKEN", "t"),
            ("AWS_SHARED_CREDENTIALS_FILE", &path),
        ]));
        assert_eq!((found.access_key.as_str(), found.session_token.as_deref()), ("AKIAENV", Some("t")));
    }

    #[test]
    fn half_a_pair_is_not_passed_over() {
        insta::assert_snapshot!(nowhere_text(source(&[("AWS_ACCESS_KEY_ID", "AKIA")])), @"`AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not");
    }

    #[test]
    fn a_profile_is_read() {
        let (_dir, path) = file();
        let default = known(source(&[("AWS_SHARED_CREDENTIALS_FILE", &path)]));
        assert_eq!((default.access_key.as_str(), default.session_token), ("AKIADEFAULT", None));
        let ci = known(source(&[("AWS_SHARED_CREDENTIALS_FILE", &path), ("AWS_PROFILE", "ci")]));
        assert_eq!((ci.secret_key.as_str(), ci.session_token.as_deref()), ("s2", Some("t2")));
    }

    #[test]
    fn a_profile_asked_for_by_name_must_be_there_and_whole() {
        let (_dir, path) = file();
        for (name, said) in [("other", "there is no profile `other`"), ("half", "a key is missing in profile `half`")] {
            let text = nowhere_text(source(&[("AWS_SHARED_CREDENTIALS_FILE", &path), ("AWS_PROFILE", name)]));
            assert!(text.starts_with(said), "{text}");
        }
    }

    #[test]
    fn the_instance_comes_last_and_can_be_forbidden() {
        let home = ("HOME", "/nothing/here");
        assert!(matches!(source(&[home]), Source::Instance(url) if url.as_str() == "http://169.254.169.254/"));
        let at = source(&[home, ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")]);
        assert!(matches!(at, Source::Instance(url) if url.as_str() == "http://127.0.0.1:9/"));
        nowhere_text(source(&[home, ("AWS_EC2_METADATA_DISABLED", "true")]));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let shown = format!(
            "{:?}",
            source(&[
                ("AWS_ACCESS_KEY_ID", "AKIAVERYLONG"),
                ("AWS_SECRET_ACCESS_KEY", "hunter2"),
                ("AWS_SESSION_TOKEN", "hunter3"),
            ])
        );
        insta::assert_snapshot!(shown, @r#"Known(Credentials { access_key: "AKIA***", secret_key: "***", session_token: Some("***"), expires: None })"#);
    }

    #[test]
    fn expired_credentials_are_good_for_nothing() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut credentials = known(source(&[("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "s")]));
        assert_eq!(good_for(&credentials, now), Duration::MAX);
        credentials.expires = Some(now + Duration::from_secs(60));
        assert_eq!(good_for(&credentials, now), Duration::from_secs(60));
        credentials.expires = Some(now - Duration::from_secs(60));
        assert_eq!(good_for(&credentials, now), Duration::ZERO);
    }
}
