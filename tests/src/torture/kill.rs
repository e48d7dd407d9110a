//! Kill: SIGKILL before every system call of every verb. `current` leads to a whole release at once, and the same command
//! run again makes of the node what it would have made without the kill, with nothing left over.
//!
//! On 20 files every call of every thread; on 11,000 files 60 calls drawn at random and the last 20.
//! (`activator/tests/killed.rs` does the same for the calls that change something, of activations that are undone too.)

use std::os::unix::process::ExitStatusExt;

use super::node::{Facts, Node, Size, VERBS, Verb};
use super::trace::{self, Point};
use super::{Extent, Figure};
use crate::noise;

/// Calls that are drawn at random where not all are tried.
const DRAWN: usize = 60;
/// The last calls, which are all tried: they commit.
const LAST: usize = 20;

/// Kills every verb.
pub fn run(extent: Extent, tell: &mut dyn FnMut(Figure)) {
    let sizes: &[Size] = if extent == Extent::Short { &[Size::Small] } else { &[Size::Small, Size::Large] };
    sizes.iter().for_each(|size| VERBS.iter().for_each(|verb| tell(kill(verb, *size, extent))));
}

fn kill(verb: &Verb, size: Size, extent: Extent) -> Figure {
    let mut figure = Figure::of(format!("kill {}, {}", verb.name, size.name()));
    let node = Node::ready(verb, size);
    let points = match trace::points(&node, verb) {
        Ok(points) => points,
        Err(why) => return Figure::skipped(figure.what, why),
    };
    let whole = node.facts();
    for point in chosen(points, size, extent) {
        node.restore();
        let came = kill_at(&node, verb, &point, &whole);
        figure.count(&point, came);
    }
    figure
}

fn chosen(points: Vec<Point>, size: Size, extent: Extent) -> Vec<Point> {
    let (drawn, last) = match (extent, size) {
        (Extent::Short, _) => (6, 4),
        (Extent::Whole, Size::Small) => return points,
        (Extent::Whole, Size::Large) => (DRAWN, LAST),
    };
    let early = points.len().saturating_sub(last);
    let seeds = noise(drawn * 8, 11);
    let draw = |seed: &[u8]| u64::from_le_bytes(seed.try_into().unwrap()) as usize % early.max(1);
    let drawn = seeds.chunks(8).map(|seed| points[draw(seed)].clone());
    drawn.chain(points[early..].iter().cloned()).collect()
}

/// What a node is after the kill must be whole; what it is after the next run must be `whole`.
fn kill_at(node: &Node, verb: &Verb, point: &Point, whole: &Facts) -> Result<(), String> {
    let harmed = trace::harmed(node, verb, point, "signal=SIGKILL")?;
    let status = harmed.output.status;
    if status.signal() != Some(9) && !status.success() {
        return Err(crate::said(&harmed.output));
    }
    node.serves(whole)?;
    node.ok(verb.command)?;
    node.facts().same_as(whole)
}
