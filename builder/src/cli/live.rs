//! Shows a result again and again in the same place.

use std::io::{Write, stdout};
use std::time::Duration;

use pannier_shared::report::Style;

use super::output::Output;

/// How long a result stays.
pub const PAUSE: Duration = Duration::from_secs(2);

/// Puts the cursor to the top and clears what is below.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows it; false once nobody reads it any more.
pub fn show(output: &Output, style: Style) -> bool {
    let clear = if matches!(style, Style::Bars(_)) { CLEAR } else { "" };
    let mut out = stdout().lock();
    out.write_all(format!("{clear}{}", output.text(style)).as_bytes()).and_then(|()| out.flush()).is_ok()
}
