//! One check, from its start to its answer.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use namespaces::{Exit, Init};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};

use crate::exec::{self, Ends, Job, Target};
use crate::failure;
use crate::record::Probe;
use crate::terminal::{pipe, set_nonblocking};

/// So much of what a check writes is kept.
const MOST: usize = 4096;
/// How often a look at its pipe may read: a check that writes without a pause must not keep the monitor busy.
const READS: usize = 16;

/// What has come of a check.
pub(super) enum Answer {
    Probe(Probe),
    /// It was broken off.
    Nothing,
}

/// A check that runs. Dropped, it ends.
pub(super) struct Running {
    init: Option<Init>,
    output: Option<File>,
    kept: Vec<u8>,
    truncated: bool,
    start: Timestamp,
    timeout: Duration,
    /// None: it was killed.
    deadline: Option<Instant>,
    fate: Fate,
}

/// How it is going to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    ByItself,
    TimedOut,
    BrokenOff,
}

impl Running {
    /// Starts a check. Whether its program could be executed is told by its answer: nothing here waits for the
    /// container, which may be paused at this moment.
    pub(super) fn start(
        target: &Target,
        job: &Job,
        timeout: Duration,
        lock: RawFd,
    ) -> Result<Self> {
        let (from, to) = pipe()?;
        set_nonblocking(from.as_fd())?;
        let copy = to.try_clone().context("copy a pipe")?;
        let streams = [None, Some(to), Some(copy)];
        let (start, began) = (Timestamp::now(), Instant::now());
        let ends = Ends { streams, terminal: None, lock: Some(lock) };
        let init = exec::spawn(target, job, ends)?;
        Ok(Self {
            init: Some(init),
            output: Some(from.into()),
            kept: Vec::new(),
            truncated: false,
            start,
            timeout,
            deadline: Some(began + timeout),
            fate: Fate::ByItself,
        })
    }

    /// A check that could not be started: it has an answer at once.
    pub(super) fn failed(message: String) -> Self {
        Self {
            init: None,
            output: None,
            kept: message.into_bytes(),
            truncated: false,
            start: Timestamp::now(),
            timeout: Duration::ZERO,
            deadline: Some(Instant::now()),
            fate: Fate::ByItself,
        }
    }

    /// What to poll for reading.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let process = self.init.as_ref().map(|init| init.pidfd.as_fd());
        process.into_iter().chain(self.output.as_ref().map(AsFd::as_fd))
    }

    /// When it has had its time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// It takes too long. In a paused container that is not its own fault.
    pub(super) fn time_out(&mut self, paused: bool) {
        self.deadline = None;
        if self.init.is_some() {
            self.fate = if paused { Fate::BrokenOff } else { Fate::TimedOut };
            self.kill();
        }
    }

    /// Reads what it has written. None while it runs.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        self.read();
        let code = match &mut self.init {
            None => -1,
            Some(init) => {
                // An error would mean that somebody else has collected it.
                let exit = init.try_wait().unwrap_or(Some(Exit::Code(-1)))?;
                // What it has written before its end.
                match init.wait_exec() {
                    Ok(()) => exit.shell_code(),
                    Err(error) => {
                        self.kept = failure::explain(&error.into()).message.into_bytes();
                        -1
                    }
                }
            }
        };
        self.init = None;
        self.read();
        let mut output = String::from_utf8_lossy(&self.kept).into_owned();
        if self.truncated {
            output.push_str("...");
        }
        let code = match self.fate {
            Fate::ByItself => code,
            Fate::BrokenOff => return Some(Answer::Nothing),
            Fate::TimedOut => {
                let colon = if output.is_empty() { "" } else { ": " };
                let words = format!("Health check exceeded timeout ({:?}){colon}", self.timeout);
                output.insert_str(0, &words);
                -1
            }
        };
        Some(Answer::Probe(Probe { start: self.start, end: Timestamp::now(), code, output }))
    }

    fn read(&mut self) {
        let mut buffer = [0; MOST];
        for _ in 0..READS {
            let Some(output) = &mut self.output else { return };
            match output.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    let room = MOST - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..length.min(room)]);
                    self.truncated |= length > room;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.output = None,
            }
        }
    }

    /// Ends it, and what it has started in its own session. It was not collected yet, so the pid is its own.
    fn kill(&self) {
        if let Some(init) = &self.init {
            killpg(init.pid, Signal::SIGKILL).ok();
            // Before it had a session.
            syscalls::pidfd::send_signal(init.pidfd.as_fd(), Signal::SIGKILL).ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut init) = self.init.take() {
            let mut fds = [PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(1000_u16)) == Ok(1) {
                init.try_wait().ok();
            }
            // One that is frozen cannot end yet, and nobody waits for it.
            init.into_running();
        }
    }
}
