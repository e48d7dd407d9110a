//! Sizes, times and foreign text for people.

use std::time::Duration;

use crate::event::Amount;

/// A size in decimal units with three digits or so: "999 B", "1.0 kB", "12.3 MB". Decimal, because disks, networks and
/// `ls --si` count so.
pub fn bytes(count: u64) -> String {
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut units = ["kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would round to 1000.0 belongs to the next unit.
    while value >= 999.95 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A duration as precise as a person cares: "3 ms", "1.2 s", "2 min 05 s", "1 h 02 min".
pub fn duration(took: Duration) -> String {
    let millis = took.as_millis();
    let seconds = (millis + 500) / 1000;
    if millis < 1000 {
        format!("{millis} ms")
    } else if millis < 59_950 {
        format!("{:.1} s", took.as_secs_f64())
    } else if seconds < 3600 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
    }
}

/// A number with its thousands apart: "26,000".
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// Bytes and items, what there is of them: "12.3 MB, 132 items"; empty when there is nothing.
pub fn amount(amount: Amount) -> String {
    let size = (amount.bytes > 0).then(|| bytes(amount.bytes));
    let items = match amount.items {
        0 => None,
        1 => Some("1 item".to_owned()),
        many => Some(format!("{} items", number(many))),
    };
    size.into_iter().chain(items).collect::<Vec<_>>().join(", ")
}

/// Text that came from elsewhere (a store's answer, a program's output, an unverified file), made harmless for a
/// terminal: control characters other than line breaks and tabs are shown as `\u{1b}` and so on.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') || is_direction(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that make a terminal show text in another order than it stands there.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_unit_where_they_would_round_up() {
        let text: Vec<String> = [0, 999, 1000, 12_345_678, 999_949, 999_950, 8_388_608, u64::MAX].map(bytes).into();
        assert_eq!(text, ["0 B", "999 B", "1.0 kB", "12.3 MB", "999.9 kB", "1.0 MB", "8.4 MB", "18446.7 PB"]);
    }

    #[test]
    fn durations_get_coarser() {
        let text: Vec<String> = [0, 3, 999, 1000, 1234, 59_949, 59_950, 125_000, 3_599_499, 3_599_500, 3_720_000]
            .map(|ms| duration(Duration::from_millis(ms)))
            .into();
        assert_eq!(
            text,
            [
                "0 ms",
                "3 ms",
                "999 ms",
                "1.0 s",
                "1.2 s",
                "59.9 s",
                "1 min 00 s",
                "2 min 05 s",
                "59 min 59 s",
                "1 h 00 min",
                "1 h 02 min"
            ]
        );
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, 26_000, 1_234_567].map(number), ["0", "999", "1,000", "26,000", "1,234,567"]);
    }

    #[test]
    fn amounts_say_what_there_is() {
        let text = |bytes, items| amount(Amount { bytes, items });
        assert_eq!([text(0, 0), text(5, 0), text(0, 1), text(5, 2)], ["", "5 B", "1 item", "5 B, 2 items"]);
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(harmless("a\tü\n\x1b[2J\r\u{202e}b"), "a\tü\n\\u{1b}[2J\\u{d}\\u{202e}b");
    }
}
