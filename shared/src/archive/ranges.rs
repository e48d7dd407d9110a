//! Which bytes to ask for: wanted parts of an artifact put together to ranges.
//!
//! A node fetches by it, and the builder says by it what a node will fetch.

use std::ops::Range;
use std::time::Duration;

use super::footer::SKIPPABLE_HEADER;
use super::read::{self, Contents, Frame, Outline, tail_range};
use super::toc::{Class, GroupRow};
use crate::statement::Artifact;

/// About how many bytes of a table an entry takes: 35 in sites of 5,800 and of 26,000 files, most of it a digest.
const TABLE_BYTES: u64 = 38;
/// The most bytes of tables that are asked for unseen: those of 100,000 entries.
const MOST_UNSEEN: u64 = 4 << 20;

/// A first byte that takes longer comes over a long line: S3 from a node in the same region takes 10 to 30 ms.
const LONG: Duration = Duration::from_millis(60);

/// What the way to the store costs, as far as it decides which requests are made. It is assumed: the figures are those of
/// S3 from a node in the same region, and far from critical. Only that a line is long is measured, see [`Cost::seen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// From a request to its first byte.
    pub first_byte: Duration,
    /// Bytes per second once they flow.
    pub bytes_per_second: u64,
    /// Requests in flight.
    pub connections: usize,
    /// About how many bytes one request asks for: enough that its first byte is a small part of its time, little enough
    /// that all connections have work and a lost one costs little. Parts are not cut.
    pub range: u64,
}

impl Default for Cost {
    fn default() -> Self {
        Self { first_byte: Duration::from_millis(20), bytes_per_second: 50_000_000, connections: 4, range: 4 << 20 }
    }
}

impl Cost {
    /// The cost where a first byte was seen to take so long. On a long line twice as many requests are in flight: four of
    /// 4 MiB move no more than 160 MB in a second when each waits 100 ms for its first byte, and eight made a first fetch
    /// over such a line 9 % faster.
    pub fn seen(self, first_byte: Duration) -> Self {
        if first_byte < LONG {
            return self;
        }
        Self { first_byte: 2 * self.first_byte, connections: 2 * self.connections, ..self }
    }

    /// The most unwanted bytes that are cheaper than another request: what flows while one waits for a first byte,
    /// divided by the requests that wait at the same time. 250 kB by default, which on a slow line still is little.
    pub fn gap(&self) -> u64 {
        let flows = self.first_byte.as_micros() as u64 * self.bytes_per_second / 1_000_000;
        flows / self.connections.max(1) as u64
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The bytes asked for.
    pub range: Range<u64>,
    /// What is wanted of them, by number.
    pub parts: Vec<usize>,
}

impl Run {
    /// How many bytes are asked for.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Puts wanted parts, which come in the order in which they lie, together to ranges.
pub fn runs(wanted: impl IntoIterator<Item = (usize, Range<u64>)>, cost: &Cost) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (part, range) in wanted {
        match runs.last_mut() {
            Some(run) if run.length() < cost.range && range.start - run.range.end <= cost.gap() => {
                run.range.end = range.end;
                run.parts.push(part);
            }
            _ => runs.push(Run { range, parts: vec![part] }),
        }
    }
    runs
}

/// What is asked for first: the root and, before it, the tables that are probably missing. These are all on an empty node,
/// else those that change with every release, which lie last, as long as they were in the `nearest` one.
pub fn end(artifact: &Artifact, nearest: Option<&[GroupRow]>) -> read::Result<Range<u64>> {
    let tail = tail_range(artifact)?;
    let unseen = match nearest {
        None => artifact.entries.saturating_mul(TABLE_BYTES),
        Some(groups) => {
            let changing = groups.iter().filter(|row| row.class >= Class::App);
            changing.map(|row| SKIPPABLE_HEADER + row.table.length).sum::<u64>() * 17 / 16
        }
    };
    Ok(tail.start.saturating_sub(unseen.min(MOST_UNSEEN))..tail.end)
}

/// The requests for what did not come with the `end` of the tables of these groups.
pub fn tables(outline: &Outline, missing: impl IntoIterator<Item = usize>, end: &Range<u64>, cost: &Cost) -> Vec<Run> {
    let ranges = missing.into_iter().map(|group| (group, outline.table_range(group)));
    let before_end = ranges.map(|(group, range)| (group, range.start..range.end.min(end.start)));
    runs(before_end.filter(|(_, range)| !range.is_empty()), cost)
}

/// The requests that bring `wanted` files, by number, without the frames that `came` already, by number: of all frames,
/// those with a byte of one. When every file that has content is wanted, every frame is taken, so that a first fetch
/// checks the whole artifact.
pub fn frames(
    contents: &Contents,
    wanted: impl Fn(usize) -> bool,
    came: impl Fn(usize) -> bool,
    cost: &Cost,
) -> Vec<Run> {
    let cold = contents.files().enumerate().all(|(number, file)| file.size == 0 || wanted(number));
    let needed = |frame: &&Frame| !came(frame.number) && (cold || contents.files_in(frame).any(&wanted));
    let frames = contents.frames().iter().filter(needed);
    runs(frames.map(|frame| (frame.number, frame.range.clone())), cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(wanted: &[Range<u64>]) -> Vec<(Range<u64>, Vec<usize>)> {
        let cost = Cost { first_byte: Duration::from_millis(1), bytes_per_second: 20_000, connections: 2, range: 100 };
        assert_eq!(cost.gap(), 10);
        let runs = runs(wanted.iter().cloned().enumerate(), &cost);
        runs.into_iter().map(|run| (run.range, run.parts)).collect()
    }

    #[test]
    fn neighbours_and_near_ones_share_a_request() {
        assert_eq!(ranges(&[]), []);
        assert_eq!(ranges(&[0..5, 5..9, 19..20]), [(0..20, vec![0, 1, 2])]);
        assert_eq!(ranges(&[0..5, 16..20]), [(0..5, vec![0]), (16..20, vec![1])]);
    }

    #[test]
    fn a_request_that_is_long_enough_takes_no_more() {
        assert_eq!(ranges(&[0..99, 99..200, 200..201]), [(0..200, vec![0, 1]), (200..201, vec![2])]);
    }

    #[test]
    fn a_long_line_has_more_requests_in_flight_and_the_same_gap() {
        let near = Cost::default();
        assert_eq!(near.seen(Duration::from_millis(30)), near);
        let far = near.seen(Duration::from_millis(100));
        assert_eq!((far.connections, far.gap()), (2 * near.connections, near.gap()));
    }

    #[test]
    fn a_gap_of_a_quarter_of_a_megabyte_is_cheaper_than_a_request() {
        assert_eq!(Cost::default().gap(), 250_000);
    }
}
