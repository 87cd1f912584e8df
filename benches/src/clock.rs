//! What is read off a start.

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// One start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From the first call to the last, clean-up included.
    pub wall: Duration,
    /// CPU time of this process and of all children that were waited for, user and system.
    ///
    /// Work that the kernel does later on its own threads (taking a network namespace apart) is in nobody's bill.
    pub cpu: Duration,
    /// Until the program ran, where that can be seen from here.
    pub until_exec: Option<Duration>,
}

/// Runs from its making to [`stop`](Self::stop).
#[derive(Debug)]
pub struct Clock {
    begin: Instant,
    cpu: Duration,
    exec: Option<Duration>,
}

impl Clock {
    /// Starts the clock.
    ///
    /// # Errors
    /// Those of getrusage(2), hence none in practice.
    pub fn start() -> Result<Self> {
        let cpu = cpu()?;
        Ok(Self { begin: Instant::now(), cpu, exec: None })
    }

    /// Notes that the program runs now.
    pub fn exec_happened(&mut self) {
        self.exec = Some(self.begin.elapsed());
    }

    /// Reads it.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn stop(self) -> Result<Sample> {
        let wall = self.begin.elapsed();
        Ok(Sample { wall, cpu: cpu()?.saturating_sub(self.cpu), until_exec: self.exec })
    }
}

fn cpu() -> Result<Duration> {
    let mut sum = 0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let usage = getrusage(who)?;
        sum += (usage.user_time() + usage.system_time()).num_microseconds();
    }
    Ok(Duration::from_micros(sum.unsigned_abs()))
}
