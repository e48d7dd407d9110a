//! Work that is spread over the machine's cores.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many threads this process can run at once: the cores it may use, less where a container is given a share only.
pub fn count() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Calls `work` for each number below `total`, on all cores, the calling thread's among them; gives what came of it, in
/// the order of the numbers.
pub fn on_all_cores<T: Send>(total: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < total);
    let some = || std::iter::from_fn(take).map(|number| (number, work(number))).collect::<Vec<_>>();
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..count().min(total)).map(|_| scope.spawn(some)).collect();
        let mut done = some();
        done.extend(others.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|why| resume_unwind(why))));
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_comes_in_order() {
        for total in [0, 1, 2, 1000] {
            let calls = AtomicUsize::new(0);
            let done = on_all_cores(total, |number| {
                calls.fetch_add(1, Ordering::Relaxed);
                number * 2
            });
            assert_eq!(done, (0..total).map(|number| number * 2).collect::<Vec<_>>());
            assert_eq!(calls.into_inner(), total);
        }
    }
}
