//! How one call of the SDK ended, and the bodies it takes and gives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use http_body::{Body, Frame, SizeHint};
use pannier_shared::store::Error;
use pannier_shared::store::s3::place::Refusal;
use pannier_shared::store::upload::{Unsendable, Upload};
use pannier_shared::store::wire::{Patience, Sent};

/// In what pieces a part is handed to the connection.
const PIECE: usize = 256 * 1024;

pub(crate) type Attempt<T> = Result<T, Failure>;

/// How one attempt failed.
pub(crate) enum Failure {
    /// S3 said no.
    Refused(Refusal),
    /// Nothing was sent: for want of credentials, as a rule.
    NotSent(String),
    /// The connection, or the waiting.
    Passing(String),
    /// The answer is not one.
    Wrong(String),
    /// The file to upload.
    File(Error),
}

pub(crate) fn failure<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E>) -> Failure {
    if let Some(error) = no_credentials(&error) {
        return Failure::NotSent(error);
    }
    match &error {
        SdkError::ConstructionFailure(_) => Failure::NotSent(causes(&error)),
        SdkError::ServiceError(refused) => {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            let code = text(refused.err().code());
            Failure::Refused(Refusal {
                status: meant(refused.raw().status().as_u16(), &code),
                code,
                message: text(refused.err().message()),
                region: refused.raw().headers().get("x-amz-bucket-region").map(str::to_owned),
            })
        }
        SdkError::DispatchFailure(failed) if failed.is_user() => Failure::NotSent(causes(&error)),
        SdkError::DispatchFailure(failed) if failed.is_timeout() => {
            Failure::Passing(format!("gave no answer: {}", causes(&error)))
        }
        SdkError::DispatchFailure(failed) if failed.is_io() => {
            Failure::Passing(format!("cannot be reached: {}", causes(&error)))
        }
        _ => Failure::Passing(format!("broke the connection: {}", causes(&error))),
    }
}

/// The status that an error stands for. What takes S3 long begins with a 200 and may still end with an error in its body.
fn meant(status: u16, code: &str) -> u16 {
    match (status, code) {
        (200..=299, "PreconditionFailed") => 412,
        (200..=299, "ConditionalRequestConflict") => 409,
        (200..=299, "BadDigest" | "InvalidPart" | "InvalidRequest") => 400,
        (200..=299, "NoSuchUpload") => 404,
        (200..=299, _) => 500,
        _ => status,
    }
}

/// What the SDK says when it has no credentials to sign with: it calls that a failure of the connection.
fn no_credentials(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut chain = std::iter::successors(Some(error), |error| error.source());
    let error = chain.find_map(|error| error.downcast_ref::<CredentialsError>())?;
    Some(match error {
        CredentialsError::CredentialsNotLoaded(_) => "no credentials: none in the environment (`AWS_ACCESS_KEY_ID` \
             and `AWS_SECRET_ACCESS_KEY`), in a profile below `~/.aws` or from a role of this machine"
            .to_owned(),
        other => format!("no credentials: {}", causes(other)),
    })
}

/// The last two causes of an error: the ones above only say that there was one.
fn causes(error: &dyn std::error::Error) -> String {
    let chain: Vec<String> =
        std::iter::successors(Some(error), |error| error.source()).map(|e| e.to_string()).collect();
    chain[chain.len().saturating_sub(2)..].join(": ")
}

/// A body of at most `limit` bytes.
pub(crate) async fn body(got: GetObjectOutput, limit: u64, patience: &Patience) -> Attempt<Bytes> {
    let too_long = || Failure::Wrong(format!("it has more than the {limit} bytes that are expected"));
    let length = got.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
    if length > limit {
        return Err(too_long());
    }
    let mut stream = got.body;
    let mut bytes = BytesMut::with_capacity(length as usize);
    loop {
        match tokio::time::timeout(patience.stall, stream.next()).await {
            Ok(Some(Ok(piece))) => bytes.extend_from_slice(&piece),
            Ok(Some(Err(error))) => return Err(Failure::Passing(format!("broke the connection: {}", causes(&error)))),
            Ok(None) => return Ok(bytes.freeze()),
            Err(_) => {
                return Err(Failure::Passing(format!("stopped sending for {} s", patience.stall.as_secs_f32())));
            }
        }
        if bytes.len() as u64 > limit {
            return Err(too_long());
        }
    }
}

/// A file as the SDK wants it: a body of known length.
pub(crate) struct FileBody {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, Unsendable>> + Send + Sync>>,
    left: u64,
    sent: Arc<Sent>,
}

impl FileBody {
    pub(crate) fn of(upload: &Upload, sent: &Arc<Sent>) -> Self {
        Self::of_stream(upload.stream(), upload.size(), sent)
    }

    /// A file that comes as a stream of this length.
    pub(crate) fn of_stream(
        pieces: impl Stream<Item = Result<Bytes, Unsendable>> + Send + Sync + 'static,
        length: u64,
        sent: &Arc<Sent>,
    ) -> Self {
        Self { pieces: Box::pin(pieces), left: length, sent: Arc::clone(sent) }
    }

    /// A part of a file that is in memory, in pieces: how far it came must show.
    pub(crate) fn of_bytes(bytes: &Bytes, sent: &Arc<Sent>) -> Self {
        let (bytes, left) = (bytes.clone(), bytes.len() as u64);
        let starts = (0..bytes.len()).step_by(PIECE);
        let pieces = starts.map(move |start| Ok(bytes.slice(start..bytes.len().min(start + PIECE))));
        Self { pieces: Box::pin(stream::iter(pieces)), left, sent: Arc::clone(sent) }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = Unsendable;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Unsendable>>> {
        let piece = std::task::ready!(self.pieces.as_mut().poll_next(cx));
        Poll::Ready(piece.map(|piece| {
            let piece = piece?;
            self.sent.add(piece.len());
            self.left = self.left.saturating_sub(piece.len() as u64);
            Ok(Frame::data(piece))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
