//! Tells of kernel steps as they happen: `mini-docker run --explain` listens.
//!
//! A chapter wraps each call that belongs to its story in [`step!`](crate::step). If nobody listens, that costs the
//! load of one atomic; otherwise the call is timed and sent as a `tracing` event with target [`TARGET`] and the fields
//! `chapter`, `call`, `args`, `us` (microseconds) and, if the call failed, `error`.

use std::fmt::Display;
use std::time::Instant;

/// Target of all events sent from here.
pub const TARGET: &str = "kernel";

/// Starts the clock if somebody listens.
pub fn start() -> Option<Instant> {
    tracing::enabled!(target: TARGET, tracing::Level::TRACE).then(Instant::now)
}

/// Sends the event of a step that [`start`] has begun. Arguments are only formatted if somebody listens.
pub fn finish<T, E: Display, A: Display>(
    started: Option<Instant>,
    chapter: &'static str,
    call: &'static str,
    args: impl FnOnce() -> A,
    result: &Result<T, E>,
) {
    let Some(started) = started else { return };
    let us = started.elapsed().as_micros() as u64;
    let args = args();
    match result {
        Ok(_) => tracing::trace!(target: TARGET, chapter, call, %args, us),
        Err(error) => tracing::trace!(target: TARGET, chapter, call, %args, us, %error),
    }
}

/// Tells of a call before it is made, because it does not come back: execve(2).
pub fn announce<A: Display>(chapter: &'static str, call: &'static str, args: impl FnOnce() -> A) {
    finish::<(), &str, A>(start(), chapter, call, args, &Ok(()));
}

/// Runs one kernel step and tells of it: `step!("pivot_root", "\".\", \".\"", pivot_root(".", "."))`.
///
/// The arguments are those a reader of strace(1) would expect, with names in place of descriptor numbers where that
/// says more. They are a format string, optionally followed by its values in parentheses:
/// `step!("sethostname", ("{name:?}"), sethostname(name))`. The chapter is the package that contains the call.
#[macro_export]
macro_rules! step {
    ($call:literal, ($($args:tt)+), $run:expr) => {{
        let started = $crate::trace::start();
        let result = $run;
        $crate::trace::finish(
            started,
            env!("CARGO_PKG_NAME"),
            $call,
            || format!($($args)+),
            &result,
        );
        result
    }};
    ($call:literal, $args:literal, $run:expr) => {
        $crate::step!($call, ($args), $run)
    };
}
