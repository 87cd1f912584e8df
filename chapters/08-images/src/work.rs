//! Several jobs at the same time; the first failure ends them all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does the jobs in their order, up to `workers` at the same time. After a failure no new one is begun, and `stop`
/// tells the others. All threads have ended when it returns.
///
/// # Errors
/// The first failure: those after it are usually its consequence.
pub(crate) fn side_by_side<J: Sync, E: Send>(
    workers: usize,
    jobs: &[J],
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let worker = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = work(job) {
                stop.store(true, Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                return;
            }
        }
    };
    thread::scope(|scope| {
        let workers = workers.clamp(1, jobs.len().max(1));
        (1..workers).for_each(|_| drop(scope.spawn(worker)));
        worker();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once() {
        let jobs: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        let stop = AtomicBool::new(false);
        let done = side_by_side(4, &jobs, &stop, |job| {
            job.fetch_add(1, Ordering::Relaxed);
            Ok::<(), ()>(())
        });
        assert_eq!(done, Ok(()));
        assert!(jobs.iter().all(|job| job.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn the_first_failure_ends_the_rest() {
        let (jobs, stop) = ((0..1000).collect::<Vec<u32>>(), AtomicBool::new(false));
        let begun = AtomicUsize::new(0);
        let result = side_by_side(1, &jobs, &stop, |job| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *job == 3 { Err(*job) } else { Ok(()) }
        });
        assert_eq!((result, begun.into_inner()), (Err(3), 4));
    }
}
