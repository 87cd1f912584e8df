//! Health checks: a command that a monitor executes in its container from time to time, and what follows from its exit
//! code. The rules are Docker's:
//!
//! - the first check begins one interval after the start, each other one interval after the end of the one before;
//! - exit code 0 makes it healthy; so many other codes in a row make it unhealthy;
//! - until the first success, failures in the start period do not count, and the interval is another one.
//!
//! No thread: [`Checker::turn`] is called from the monitor's loop whenever something has happened, and never waits.

mod probe;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use namespaces::Init;
use nix::sys::signal::Signal;

use crate::container;
use crate::containers::{Containers, Held};
use crate::engine::Engine;
use crate::events;
use crate::exec::{self, Job, Target};
use crate::failure;
use crate::record::{Health, HealthCheck, HealthStatus, OnUnhealthy, Probe, Record};
use probe::{Answer, Running};

/// So many checks are remembered.
const REMEMBERED: usize = 5;

/// What is known of a container that has just been started. None: it has no check.
pub(crate) fn at_start(record: &Record) -> Option<Health> {
    record.health_check.as_ref().map(|_| nothing_known())
}

fn nothing_known() -> Health {
    Health { status: HealthStatus::Starting, failing_streak: 0, log: Vec::new() }
}

/// What follows from a check that began so long after the start.
fn judge(health: &mut Health, check: &HealthCheck, age: Duration, probe: Probe) {
    if probe.code == 0 {
        (health.status, health.failing_streak) = (HealthStatus::Healthy, 0);
    } else if health.status != HealthStatus::Starting
        || age >= Duration::from_millis(check.start_period)
    {
        health.failing_streak = health.failing_streak.saturating_add(1);
        if health.failing_streak >= check.retries {
            health.status = HealthStatus::Unhealthy;
        }
    }
    health.log.push(probe);
    let old = health.log.len().saturating_sub(REMEMBERED);
    health.log.drain(..old);
}

/// How long to wait for the next check, so long after the start.
fn pause(health: &Health, check: &HealthCheck, age: Duration) -> Duration {
    let begins = age < Duration::from_millis(check.start_period);
    Duration::from_millis(match begins && health.status == HealthStatus::Starting {
        true => check.start_interval,
        false => check.interval,
    })
}

/// The command that a check executes.
fn arguments(check: &HealthCheck) -> Vec<String> {
    let words = check.test.iter().skip(1).cloned();
    if check.test.first().is_none_or(|kind| kind != "CMD-SHELL") {
        return words.collect();
    }
    let shell = match check.shell.is_empty() {
        true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        false => check.shell.clone(),
    };
    shell.into_iter().chain(words).collect()
}

/// The checks of one container.
pub(crate) struct Checker {
    engine: Engine,
    id: String,
    check: HealthCheck,
    /// Seconds before a container that does not end is killed. Negative: never.
    patience: i64,
    /// The container's lock, which no process of a check may hold.
    lock: RawFd,
    health: Health,
    started: Instant,
    job: Option<Job>,
    phase: Phase,
}

/// What a checker does.
enum Phase {
    /// The container does not run.
    Idle,
    /// The next check is due then.
    Waits(Instant),
    /// A check runs, begun so long after the start.
    Runs(Box<Running>, Duration),
    /// The container was told to end; then it is killed.
    Ends(Option<Instant>),
}

impl Checker {
    /// None if the container has no check.
    pub(crate) fn new(engine: &Engine, held: &Held, record: &Record) -> Option<Self> {
        Some(Self {
            engine: engine.clone(),
            id: record.id.clone(),
            check: record.health_check.clone()?,
            patience: record.stop_timeout.unwrap_or(10),
            lock: held.as_fd().as_raw_fd(),
            health: nothing_known(),
            started: Instant::now(),
            job: None,
            phase: Phase::Idle,
        })
    }

    /// The container's program runs.
    pub(crate) fn begin(&mut self) {
        (self.started, self.health) = (Instant::now(), nothing_known());
        self.wait();
    }

    /// The container has ended, and so does a check.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Idle;
    }

    /// What to poll for reading.
    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let running = match &self.phase {
            Phase::Runs(running, _) => Some(running),
            _ => None,
        };
        running.into_iter().flat_map(|running| running.fds())
    }

    /// When [`turn`](Self::turn) must be called even if nothing happens.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle => None,
            Phase::Waits(until) => Some(*until),
            Phase::Runs(running, _) => running.deadline(),
            Phase::Ends(until) => *until,
        }
    }

    /// Does what is due. True if the container is to be started again when it has ended.
    pub(crate) fn turn(&mut self, first: &Init, stop_signal: i32) -> bool {
        let now = Instant::now();
        match &mut self.phase {
            Phase::Waits(until) if now >= *until => self.start_check(first),
            Phase::Runs(running, age) => {
                let age = *age;
                if now >= running.deadline().unwrap_or(now + Duration::from_secs(1)) {
                    running.time_out(
                        self.job.as_ref().is_some_and(|job| exec::is_paused(job.cgroup())),
                    );
                }
                let Some(answer) = running.answer() else { return false };
                self.phase = Phase::Idle;
                return self.settle(answer, age, first, stop_signal);
            }
            Phase::Ends(Some(until)) if now >= *until => {
                signal(first, Signal::SIGKILL as i32);
                self.phase = Phase::Ends(None);
            }
            _ => {}
        }
        false
    }

    fn wait(&mut self) {
        let pause = pause(&self.health, &self.check, self.started.elapsed());
        self.phase = Phase::Waits(Instant::now() + pause);
    }

    fn start_check(&mut self, first: &Init) {
        let age = self.started.elapsed();
        match self.try_start(first) {
            Ok(Some(running)) => self.phase = Phase::Runs(Box::new(running), age),
            // Paused, or ending: the loop will see.
            Ok(None) => self.wait(),
            Err(error) => {
                let running = Running::failed(failure::explain(&error).message);
                self.phase = Phase::Runs(Box::new(running), age);
            }
        }
    }

    fn try_start(&mut self, first: &Init) -> Result<Option<Running>> {
        let job = match self.job.take() {
            Some(job) => job,
            None => Job::plain(&self.engine, &self.id, &arguments(&self.check))?,
        };
        let job = self.job.insert(job);
        if exec::is_paused(job.cgroup()) || container::is_ending(first.pid) {
            return Ok(None);
        }
        let pidfd = first.pidfd.try_clone().context("copy a descriptor")?;
        let target = Target { pid: first.pid, pidfd };
        let timeout = Duration::from_millis(self.check.timeout);
        Running::start(&target, job, timeout, self.lock).map(Some)
    }

    /// A check has ended.
    fn settle(&mut self, answer: Answer, age: Duration, first: &Init, stop_signal: i32) -> bool {
        let before = self.health.status;
        match answer {
            // It was ended together with the container, or while that was paused: that says nothing.
            Answer::Probe(probe) if probe.code != 0 && container::is_ending(first.pid) => {}
            Answer::Nothing => {}
            Answer::Probe(probe) => judge(&mut self.health, &self.check, age, probe),
        }
        let action = match (before, self.health.status) {
            (HealthStatus::Starting | HealthStatus::Healthy, HealthStatus::Unhealthy) => {
                self.check.on_unhealthy
            }
            _ => OnUnhealthy::None,
        };
        let halts = action == OnUnhealthy::Stop;
        let health = self.health.clone();
        let edited = Containers::new(&self.engine).edit(&self.id, halts, |record| {
            record.health = Some(health);
            record.halted |= halts;
            Ok(())
        });
        // A full disk keeps nobody from being checked.
        if let Ok(record) = edited
            && before != self.health.status
        {
            events::health(&self.engine, &record, self.health.status);
        }
        self.wait();
        match action {
            OnUnhealthy::None => return false,
            OnUnhealthy::Kill => {
                signal(first, Signal::SIGKILL as i32);
                self.phase = Phase::Ends(None);
            }
            OnUnhealthy::Restart | OnUnhealthy::Stop => {
                signal(first, stop_signal);
                let patience = u64::try_from(self.patience).ok().map(Duration::from_secs);
                self.phase = Phase::Ends(patience.map(|patience| Instant::now() + patience));
            }
        }
        action == OnUnhealthy::Restart
    }
}

fn signal(first: &Init, number: i32) {
    // It may have ended just now, which the loop sees.
    syscalls::pidfd::send_raw(first.pidfd.as_fd(), number).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck {
            test: vec!["CMD-SHELL".to_owned(), "a b".to_owned()],
            interval: 30_000,
            timeout: 30_000,
            retries: 3,
            start_period: 10_000,
            start_interval: 1_000,
            shell: Vec::new(),
            on_unhealthy: OnUnhealthy::None,
        }
    }

    fn probe(code: i32) -> Probe {
        let now = jiff::Timestamp::now();
        Probe { start: now, end: now, code, output: String::new() }
    }

    /// Checks at these ages (in seconds) with these codes; the states after each.
    fn states(checks: &[(u64, i32)]) -> String {
        let mut health = nothing_known();
        let mut states = String::new();
        for (age, code) in checks {
            judge(&mut health, &check(), Duration::from_secs(*age), probe(*code));
            states.push(match health.status {
                HealthStatus::Starting => 's',
                HealthStatus::Healthy => 'h',
                HealthStatus::Unhealthy => 'u',
            });
            states.push_str(&health.failing_streak.to_string());
        }
        states
    }

    #[test]
    fn the_rules_are_dockers() {
        for (checks, expected) in [
            (&[(0, 0)][..], "h0"),
            (&[(11, 1), (12, 1), (13, 1), (14, 1)], "s1s2u3u4"),
            (&[(11, 1), (12, 1), (13, 0), (14, 1)], "s1s2h0h1"),
            (&[(11, -1), (12, 137), (13, 2), (14, 0)], "s1s2u3h0"),
            // In the start period failures do not count, until the first success.
            (&[(1, 1), (2, 1), (3, 1), (4, 1), (10, 1)], "s0s0s0s0s1"),
            (&[(1, 0), (2, 1), (3, 1), (4, 1)], "h0h1h2u3"),
        ] {
            assert_eq!(states(checks), expected, "{checks:?}");
        }
    }

    #[test]
    fn five_checks_are_remembered_the_newest_last() {
        let mut health = nothing_known();
        for code in 1..=7 {
            judge(&mut health, &check(), Duration::ZERO, probe(code));
        }
        let codes: Vec<i32> = health.log.iter().map(|probe| probe.code).collect();
        assert_eq!(codes, [3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_start_has_an_interval_of_its_own() {
        let (mut health, check) = (nothing_known(), check());
        let seconds =
            |health: &Health, age| pause(health, &check, Duration::from_secs(age)).as_secs();
        assert_eq!((seconds(&health, 0), seconds(&health, 9), seconds(&health, 10)), (1, 1, 30));
        health.status = HealthStatus::Healthy;
        assert_eq!(seconds(&health, 0), 30);
    }

    #[test]
    fn a_line_is_for_a_shell() {
        let mut check = check();
        assert_eq!(arguments(&check), ["/bin/sh", "-c", "a b"]);
        check.shell = vec!["/bin/ash".to_owned(), "-ec".to_owned()];
        assert_eq!(arguments(&check), ["/bin/ash", "-ec", "a b"]);
        check.test = vec!["CMD".to_owned(), "a".to_owned(), "b c".to_owned()];
        assert_eq!(arguments(&check), ["a", "b c"]);
    }
}
