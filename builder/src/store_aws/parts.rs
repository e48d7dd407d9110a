//! Of which parts an upload is made: what is sent, and what S3 copies from an object it has.
//!
//! S3 wants every part but the last to have at least 5 MiB, whether sent or copied. So a shared range shorter than that
//! is sent, and where what lies between two shared ranges is shorter, it grows into the one behind it.

use std::ops::Range;

use pannier_shared::store::upload::Shared;

/// The most bytes of a part: small enough that several fit into memory and that little is lost when one fails, large
/// enough that 10,000 of them make a file of 156 GiB.
pub(super) const LONGEST: u64 = 16 * 1024 * 1024;

/// The fewest bytes of a part that is not the last: S3's own limit.
const SHORTEST: u64 = 5 * 1024 * 1024;

/// The most parts of an upload: S3's own limit.
const MOST: usize = 10_000;

/// The largest file that can be sent in parts.
pub(super) const LARGEST_FILE: u64 = MOST as u64 * LONGEST;

/// Below two parts there is nothing to send side by side, and one request is quicker than the four of an upload.
const WORTH_IT: u64 = 2 * LONGEST;

/// One part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its number, from 1.
    pub(super) number: i32,
    /// Its bytes in the file.
    pub(super) range: Range<u64>,
    /// Where S3 has these bytes; `range` is this part's own.
    pub(super) shared: Option<Shared>,
}

/// The parts of a file of `size` bytes that shares these ranges; none when it is to be sent in one piece.
pub(super) fn plan(size: u64, shared: &[Shared]) -> Option<Vec<Part>> {
    let parts = with_copies(size, shared);
    let has_copies = parts.iter().any(|part| part.shared.is_some());
    match parts.len() {
        _ if size <= WORTH_IT && !has_copies => None,
        n if n > MOST => Some(with_copies(size, &[])),
        _ => Some(parts),
    }
}

/// The same parts, all of them sent.
pub(super) fn without_copies(parts: &[Part]) -> Vec<Part> {
    parts.iter().map(|part| Part { shared: None, ..part.clone() }).collect()
}

fn with_copies(size: u64, shared: &[Shared]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut at = 0;
    for shared in shared {
        let between = shared.range.start.saturating_sub(at);
        let start = if between == 0 { at } else { at + between.max(SHORTEST) };
        let end = shared.range.end;
        if end > size || start.saturating_add(SHORTEST) > end {
            continue;
        }
        push(&mut parts, at..start, None);
        push(&mut parts, start..end, Some(shared));
        at = end;
    }
    push(&mut parts, at..size, None);
    parts
}

/// Adds a stretch as parts of about the same length.
fn push(parts: &mut Vec<Part>, stretch: Range<u64>, shared: Option<&Shared>) {
    let length = stretch.end - stretch.start;
    let pieces = length.div_ceil(LONGEST);
    for n in 0..pieces {
        let range = stretch.start + length * n / pieces..stretch.start + length * (n + 1) / pieces;
        let shared = shared.map(|shared| Shared {
            from: shared.from + (range.start - shared.range.start),
            range: range.clone(),
            ..shared.clone()
        });
        parts.push(Part { number: parts.len() as i32 + 1, range, shared });
    }
}

#[cfg(test)]
mod tests {
    use pannier_shared::store::Etag;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn shared(mib: Range<u64>, from: u64) -> Shared {
        let (source, etag) = ("old".parse().unwrap(), Etag("\"e\"".to_owned()));
        Shared { range: mib.start * MIB..mib.end * MIB, source, etag, from: from * MIB }
    }

    /// A plan in MiB: `s` is sent, `c` copied.
    fn drawn(size: u64, shared: &[Shared]) -> String {
        let Some(parts) = plan(size * MIB, shared) else { return "one piece".to_owned() };
        let mut at = 0;
        let mut drawn = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let length = part.range.end - part.range.start;
            assert_eq!((part.range.start, part.number), (at, n as i32 + 1), "parts lie side by side");
            assert!(length <= LONGEST && (length >= SHORTEST || n + 1 == parts.len()), "{part:?}");
            at = part.range.end;
            drawn.push(match &part.shared {
                Some(shared) => {
                    assert_eq!(shared.range, part.range);
                    format!("c{}@{}", length / MIB, shared.from / MIB)
                }
                None => format!("s{}", length / MIB),
            });
        }
        assert_eq!(at, size * MIB, "they are all of the file");
        drawn.join(" ")
    }

    #[test]
    fn a_small_file_goes_in_one_piece_and_a_large_one_in_parts_of_about_the_same_size() {
        assert_eq!(drawn(0, &[]), "one piece");
        assert_eq!(drawn(32, &[]), "one piece");
        assert_eq!(drawn(33, &[]), "s11 s11 s11");
        assert_eq!(drawn(160, &[]), ["s16"; 10].join(" "));
    }

    #[test]
    fn what_is_shared_is_copied_from_where_it_lies() {
        assert_eq!(drawn(40, &[shared(0..39, 2)]), "c13@2 c13@15 c13@28 s1");
        assert_eq!(drawn(7, &[shared(0..6, 0)]), "c6@0 s1");
        assert_eq!(drawn(6, &[shared(0..6, 0)]), "c6@0");
        assert_eq!(drawn(30, &[shared(0..10, 0), shared(20..30, 50)]), "c10@0 s10 c10@50");
    }

    #[test]
    fn what_is_too_short_to_be_a_part_grows_into_what_is_shared() {
        assert_eq!(drawn(30, &[shared(1..28, 1)]), "s5 c11@5 c11@16 s2");
        assert_eq!(drawn(30, &[shared(0..10, 0), shared(11..28, 3)]), "c10@0 s5 c13@7 s2");
        assert_eq!(drawn(40, &[shared(0..10, 0), shared(11..19, 3), shared(20..30, 9)]), "c10@0 s10 c10@9 s10");
    }

    #[test]
    fn what_is_shared_but_too_short_or_impossible_is_sent() {
        assert_eq!(drawn(30, &[shared(0..4, 0)]), "one piece");
        assert_eq!(drawn(33, &[shared(30..34, 0), shared(30..60, 0)]), "s11 s11 s11");
        let overlapping = [shared(0..20, 0), shared(10..30, 3), shared(5..12, 0)];
        assert_eq!(drawn(40, &overlapping), "c10@0 c10@10 c10@13 s10");
    }

    #[test]
    fn the_largest_file_has_as_many_parts_as_there_may_be() {
        let parts = plan(LARGEST_FILE, &[shared(1..7, 0)]).unwrap();
        assert_eq!(parts.len(), MOST);
        assert!(parts.iter().all(|part| part.shared.is_none()));
    }

    #[test]
    fn parts_without_copies_are_the_same_parts() {
        let parts = plan(40 * MIB, &[shared(0..39, 2)]).unwrap();
        let sent = without_copies(&parts);
        assert!(sent.iter().all(|part| part.shared.is_none()));
        assert!(sent.iter().map(|part| &part.range).eq(parts.iter().map(|part| &part.range)));
    }
}
