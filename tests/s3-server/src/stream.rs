//! A body on its way out: paced, cut or stalled as the faults say.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::data::{CHUNK, Source};
use crate::faults::Ending;

pub(crate) struct Outgoing {
    source: Source,
    left: Range<u64>,
    /// Where it breaks off, if it does.
    middle: u64,
    ending: Ending,
    pace: Option<Pace>,
}

struct Pace {
    bytes_per_second: f64,
    started: Instant,
    sent: u64,
    nap: Pin<Box<Sleep>>,
}

impl Outgoing {
    pub(crate) fn new(source: Source, range: Range<u64>, ending: Ending, mbps: Option<u32>) -> Self {
        let started = Instant::now();
        let pace = mbps.map(|mbps| Pace {
            bytes_per_second: f64::from(mbps) * 1e6,
            started,
            sent: 0,
            nap: Box::pin(sleep_until(started)),
        });
        Self { source, middle: range.start + (range.end - range.start) / 2, left: range, ending, pace }
    }

    fn next_end(&self) -> u64 {
        let end = match self.ending {
            Ending::Whole => self.left.end,
            Ending::Cut | Ending::Stalled => self.middle,
        };
        end.min(self.left.start + CHUNK)
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(pace) = &mut self.pace {
            ready!(pace.nap.as_mut().poll(cx));
        }
        let end = self.next_end();
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        if end == self.left.start {
            return match self.ending {
                Ending::Stalled => Poll::Pending,
                _ => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into()))),
            };
        }
        let length = end - self.left.start;
        let bytes = self.source.read(self.left.start, length).map_err(StdError::from);
        self.left.start = end;
        if let Some(pace) = &mut self.pace {
            pace.sent += length;
            let due = pace.started + Duration::from_secs_f64(pace.sent as f64 / pace.bytes_per_second);
            pace.nap.as_mut().reset(due);
        }
        Poll::Ready(Some(bytes))
    }
}

impl ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact((self.left.end - self.left.start) as usize)
    }
}
