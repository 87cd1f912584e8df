//! A few threads, many things to do.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

/// Runs something for each item, in their order, at most `workers` at the same time. Results are in
/// the order of the items; of several errors, one is returned.
pub(crate) fn side_by_side<T: Sync, R: Send>(
    workers: usize,
    items: &[T],
    run: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match items.get(at) {
                Some(item) => done.push((at, run(item)?)),
                None => return Ok(done),
            }
        }
    };
    let done: Vec<Result<Vec<(usize, R)>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let mut results = Vec::new();
    for part in done {
        results.extend(part?);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use anyhow::bail;

    use super::*;

    #[test]
    fn two_run_at_once_and_results_stay_in_order() {
        // Would wait forever if only one ran at a time.
        let both = Barrier::new(2);
        let run = |item: &u32| {
            both.wait();
            Ok(item * 2)
        };
        assert_eq!(side_by_side(2, &[1, 2, 3, 4], run).unwrap(), [2, 4, 6, 8]);
    }

    #[test]
    fn an_error_is_returned() {
        let run = |item: &u32| if *item == 2 { bail!("two") } else { Ok(*item) };
        assert_eq!(side_by_side(2, &[1, 2, 3], run).unwrap_err().to_string(), "two");
    }
}
