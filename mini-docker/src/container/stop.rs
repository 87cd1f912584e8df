//! Containers are stopped: all get their signal first, then each has its time, and what is left is killed.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use syscalls::During;

use super::{First, PATIENCE, act, halt, has_ended, process, start_again, stuck};
use crate::attach;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure;
use crate::record::{Record, Status};

/// Seconds between the signal and the end by force, if neither the user nor the container says something else.
const TIMEOUT: i64 = 10;
/// How often we look whether a supervisor has let go, which nothing tells us.
const TICK: Duration = Duration::from_millis(5);

/// How to stop.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Instead of the container's own signal.
    pub signal: Option<i32>,
    /// Seconds until it is killed, instead of the container's own. Negative: for ever.
    pub timeout: Option<i64>,
    /// Tells the user why a container had to be killed.
    pub tells: bool,
}

/// Stops containers, all at the same time, and waits until their supervisors have let go. One that does not run is
/// stopped already. No restart policy brings them back. Each result is told when it is known, with its place in
/// `records`.
pub fn stop(
    engine: &Engine,
    records: &[Record],
    how: &How,
    mut done: impl FnMut(usize, Result<()>),
) {
    let mut left: Vec<(usize, Stopping<'_>)> = records
        .iter()
        .enumerate()
        .map(|(index, record)| (index, Stopping::new(engine, record, how)))
        .collect();
    while !left.is_empty() {
        let mut soonest: Option<Duration> = None;
        left.retain_mut(|(index, stopping)| {
            let result = match stopping.turn() {
                Ok(Turn::Done) => {
                    if stopping.signalled.is_some() && how.tells {
                        events::container(engine, &stopping.record, "stop", &[]);
                    }
                    Ok(())
                }
                Ok(Turn::Wait(time)) => {
                    soonest = [soonest, time].into_iter().flatten().min();
                    return true;
                }
                Err(error) => Err(error),
            };
            done(*index, result);
            false
        });
        if left.is_empty() {
            return;
        }
        let mut fds: Vec<PollFd<'_>> = left
            .iter()
            .filter_map(|(_, stopping)| stopping.runs.as_ref())
            .map(|run| PollFd::new(run.pidfd.as_fd(), PollFlags::POLLIN))
            .collect();
        let timeout = soonest.map(|time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        // EINTR: the next turn looks again.
        poll(&mut fds, timeout.unwrap_or(PollTimeout::NONE)).ok();
    }
}

/// Stops one container.
///
/// # Errors
/// If it cannot be ended.
pub fn one(engine: &Engine, record: &Record, how: &How) -> Result<()> {
    let mut result = Ok(());
    stop(engine, std::slice::from_ref(record), how, |_, stopped| result = stopped);
    result
}

/// Stops a container, if it runs, and starts it under a monitor. `--rm` does not remove it in between.
///
/// # Errors
/// If it cannot be ended or started.
pub fn restart(engine: &Engine, record: &Record, how: &How) -> Result<()> {
    let spared = record.auto_remove.then(|| Containers::new(engine).spare(&record.id));
    let spared = spared.transpose()?;
    one(engine, record, how)?;
    let started = start_again(engine, &record.id, First::background(record))?;
    // From here on it is removed when it has ended, or could not be started.
    drop(spared);
    match started {
        Some(visitor) => {
            attach::until_started(&visitor)?;
            events::container(engine, record, "restart", &[]);
            Ok(())
        }
        // Somebody else was faster.
        None => Ok(()),
    }
}

/// A container on its way to its end.
struct Stopping<'e> {
    engine: &'e Engine,
    record: Record,
    how: How,
    /// It was told to its monitor.
    halted: bool,
    /// The run that has got the signal: when it began.
    signalled: Option<Timestamp>,
    /// Its process, until it has ended.
    runs: Option<Run>,
    /// Since when nothing is left to do but to wait for its supervisor.
    idle: Option<Instant>,
}

struct Run {
    pid: i32,
    pidfd: OwnedFd,
    deadline: Option<Instant>,
}

enum Turn {
    Done,
    /// For the end of its process, but not longer than so. None: however long it takes.
    Wait(Option<Duration>),
}

impl<'e> Stopping<'e> {
    fn new(engine: &'e Engine, record: &Record, how: &How) -> Self {
        Self {
            engine,
            record: record.clone(),
            how: *how,
            halted: false,
            signalled: None,
            runs: None,
            idle: None,
        }
    }

    /// Looks at it and does what comes next.
    fn turn(&mut self) -> Result<Turn> {
        if let Some(run) = &self.runs
            && !has_ended(run.pidfd.as_fd())
        {
            return self.wait_or_kill();
        }
        self.runs = None;
        let containers = Containers::new(self.engine);
        let record = containers.load(&self.record.id).ok();
        if !containers.is_held(&self.record.id) {
            if record.is_some_and(|record| record.is_active()) {
                // Its supervisor was killed.
                crate::reclaim::reclaim(self.engine)?;
            }
            return Ok(Turn::Done);
        }
        // Without a record it is being removed.
        let Some(mut record) = record else { return self.wait_for_supervisor() };
        if self.signalled.is_some() && record.started() != self.signalled && !record.halted {
            // Somebody has started it again since.
            return Ok(Turn::Done);
        }
        if record.is_active() && !self.halted {
            self.halted = true;
            match halt(self.engine, &record.id) {
                Ok(now) => record = now,
                Err(_) => return self.wait_for_supervisor(),
            }
        }
        self.record = record;
        match self.record.status {
            Status::Running { started, .. } if self.signalled != Some(started) => self.begin(),
            _ => self.wait_for_supervisor(),
        }
    }

    /// Sends the signal.
    fn begin(&mut self) -> Result<Turn> {
        let (Some(pid), Some(pidfd)) = (self.record.pid(), process(self.engine, &self.record)?)
        else {
            return self.wait_for_supervisor();
        };
        let signal = self.signal();
        match syscalls::pidfd::send_raw(pidfd.as_fd(), signal) {
            // It has just ended.
            Err(Errno::ESRCH) => return self.wait_for_supervisor(),
            other => other.during("send signal to process", pid)?,
        }
        let number = signal.to_string();
        events::container(self.engine, &self.record, "kill", &[("signal", &number)]);
        // A process that stands still does not hear it.
        act::thaw(self.engine, &self.record.id)?;
        let timeout = self.timeout();
        let deadline = u64::try_from(timeout).ok().map(Duration::from_secs);
        let deadline = deadline.and_then(|timeout| Instant::now().checked_add(timeout));
        self.runs = Some(Run { pid, pidfd, deadline });
        (self.signalled, self.idle) = (self.record.started(), None);
        self.wait_or_kill()
    }

    fn wait_or_kill(&mut self) -> Result<Turn> {
        let Some(run) = &self.runs else { return self.wait_for_supervisor() };
        let Some(deadline) = run.deadline else { return Ok(Turn::Wait(None)) };
        let left = deadline.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            // What is less than a millisecond is nothing to poll.
            return Ok(Turn::Wait(Some(left.max(Duration::from_millis(1)))));
        }
        let caught = catches(run.pid, self.signal());
        if has_ended(run.pidfd.as_fd()) {
            return self.wait_for_supervisor();
        }
        if self.how.tells && self.timeout() > 0 {
            failure::tell(&self.why_killed(caught));
        }
        act::kill_all(self.engine, &self.record.id)?;
        self.runs = None;
        self.wait_for_supervisor()
    }

    /// Everything has been done; nothing tells when the lock is free.
    fn wait_for_supervisor(&mut self) -> Result<Turn> {
        let since = *self.idle.get_or_insert_with(Instant::now);
        if since.elapsed() < PATIENCE {
            return Ok(Turn::Wait(Some(TICK)));
        }
        // A command may be busy with a container that does not run: that is stopped enough.
        if self.record.is_active() { Err(stuck(&self.record).into()) } else { Ok(Turn::Done) }
    }

    fn signal(&self) -> i32 {
        self.how.signal.unwrap_or_else(|| act::stop_signal(&self.record))
    }

    fn timeout(&self) -> i64 {
        self.how.timeout.or(self.record.stop_timeout).unwrap_or(TIMEOUT)
    }

    /// Told to a user who wonders why it took so long. `caught`: whether process 1 has a handler for the signal.
    fn why_killed(&self, caught: Option<bool>) -> String {
        let (name, timeout) = (&self.record.name, self.timeout());
        let signal = signal_name(self.signal());
        let is_first = !self.record.init && !matches!(self.record.pid_mode.as_str(), "host");
        if is_first && caught == Some(false) {
            return format!(
                "mini-docker: container {name} was killed after {timeout} s: its process 1 ignored {signal}\n\
                 hint: the kernel drops a signal that process 1 has no handler for: run it with --init, or with \
                 --stop-signal and one that it handles"
            );
        }
        format!(
            "mini-docker: container {name} was killed: it had not ended {timeout} s after {signal}\n\
             hint: give it more time with stop -t, or run it with --stop-timeout"
        )
    }
}

/// Whether the process has a handler for the signal: the mask `SigCgt` of proc_pid_status(5). None if that cannot be
/// read.
fn catches(pid: i32, signal: i32) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    is_in_mask(status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?, signal)
}

/// The lowest bit is signal 1.
fn is_in_mask(mask: &str, signal: i32) -> Option<bool> {
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    let bit = u32::try_from(signal).ok()?.checked_sub(1)?;
    Some(mask.checked_shr(bit)? & 1 == 1)
}

fn signal_name(number: i32) -> String {
    Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_begin_with_signal_1() {
        // What a shell has that handles INT, TERM and CHLD.
        let mask = "\t0000000000014002";
        for (signal, caught) in [
            (2, Some(true)),
            (15, Some(true)),
            (17, Some(true)),
            (1, Some(false)),
            (64, Some(false)),
            (0, None),
            (65, None),
        ] {
            assert_eq!(is_in_mask(mask, signal), caught, "{signal}");
        }
        assert_eq!(is_in_mask("\t8000000000000000", 64), Some(true));
        assert_eq!(is_in_mask("nothing", 1), None);
    }

    #[test]
    fn this_process_catches_what_it_says() {
        // The test runner has no handler for it.
        assert_eq!(catches(std::process::id() as i32, Signal::SIGURG as i32), Some(false));
        assert_eq!(catches(-1, 15), None);
    }

    #[test]
    fn signals_without_a_name_have_a_number() {
        assert_eq!(signal_name(15), "SIGTERM");
        assert_eq!(signal_name(37), "signal 37");
    }
}
