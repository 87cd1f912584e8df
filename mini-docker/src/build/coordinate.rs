//! One worker for each stage: a copy of this process, which goes through the stage's instructions. Stages that do not
//! need each other are built side by side; one that needs another's files asks for them here and waits.
//!
//! Copies, and no threads: a step becomes a container by `clone3`, and that wants a process with one thread.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::exit_now;

use super::aside;
use super::display::Display;
use super::plan::Plan;
use super::stage;
use super::talk::{Outcome, Said, Talk, Told};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::terminal::Signals;

/// A stage that is being built.
struct Worker {
    stage: usize,
    pid: Pid,
    talk: Option<Talk<Said>>,
    outcome: Option<Outcome>,
    /// Stages that it waits for.
    needs: Vec<usize>,
}

/// Builds all stages that the plan's target needs.
///
/// # Errors
/// That of the first stage that has failed; the others are ended.
pub(super) fn build(engine: &Engine, plan: &Plan<'_>, display: &mut Display) -> Result<Outcome> {
    let signals = Signals::collect()?;
    let mut workers: Vec<Worker> = Vec::new();
    for &stage in &plan.needed {
        let started = start(engine, plan, stage, &signals, &mut workers);
        if let Err(error) = started {
            end(&mut workers);
            return Err(error);
        }
    }
    let outcome = see_through(plan, display, &signals, &mut workers);
    if outcome.is_err() {
        end(&mut workers);
    }
    for worker in &workers {
        waitpid(worker.pid, None).ok();
    }
    if outcome.is_err() {
        clean(engine);
    }
    outcome
}

/// Takes away what workers have left that were ended in the middle of something.
fn clean(engine: &Engine) {
    let cleaned = [aside::reclaim(engine), crate::reclaim::reclaim(engine), clean_stores(engine)];
    cleaned.iter().filter_map(|cleaned| cleaned.as_ref().err()).for_each(crate::failure::warn);
}

fn start(
    engine: &Engine,
    plan: &Plan<'_>,
    stage: usize,
    signals: &Signals,
    workers: &mut Vec<Worker>,
) -> Result<()> {
    let (ours, theirs) = UnixStream::pair().context("make a socket pair")?;
    let parent = nix::unistd::getpid();
    let nothing_new = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    match clone3(&nothing_new).context("create a worker")? {
        Cloned::Parent { pid, .. } => {
            let talk = Some(Talk::new(ours));
            workers.push(Worker { stage, pid, talk, outcome: None, needs: Vec::new() });
            Ok(())
        }
        Cloned::Child => {
            // Whatever happens, this copy never goes back into the code of the command that it was.
            let life = AssertUnwindSafe(|| {
                drop(ours);
                workers.clear();
                signals.leave();
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM).ok();
                if nix::unistd::getppid() == parent {
                    stage::work(engine, plan, stage, Talk::new(theirs));
                }
            });
            exit_now(if catch_unwind(life).is_ok() { 0 } else { 70 })
        }
    }
}

/// Layers that were being made.
fn clean_stores(engine: &Engine) -> Result<()> {
    engine.layers()?.reclaim()?;
    // Whoever begins a layer takes away what the dead have left. Images that are being pulled keep what they have.
    engine.images()?.new_layer(|_| anyhow::Ok(()))?;
    Ok(())
}

fn see_through(
    plan: &Plan<'_>,
    display: &mut Display,
    signals: &Signals,
    workers: &mut [Worker],
) -> Result<Outcome> {
    loop {
        wait(workers, signals, display)?;
        if let Some(signal) = signals.next_end() {
            return Err(cancelled(signal));
        }
        for worker in workers.iter_mut() {
            while let Some(said) = worker.talk.as_mut().and_then(Talk::next) {
                heed(plan, display, worker, said)?;
            }
        }
        serve(workers)?;
        let target = workers.iter().find(|worker| worker.stage == plan.target);
        let all = workers.iter().all(|worker| worker.outcome.is_some());
        if let Some(outcome) = target.and_then(|worker| worker.outcome.clone()).filter(|_| all) {
            return Ok(outcome);
        }
    }
}

/// Waits until somebody says something, and reads it.
fn wait(workers: &mut [Worker], signals: &Signals, display: &mut Display) -> Result<()> {
    let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    let talking: Vec<usize> = (0..workers.len()).filter(|at| workers[*at].talk.is_some()).collect();
    for &at in &talking {
        if let Some(talk) = &workers[at].talk {
            fds.push(PollFd::new(talk.as_fd(), PollFlags::POLLIN));
        }
    }
    let timeout = display.pause().map_or(PollTimeout::NONE, PollTimeout::from);
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno).context("wait for the stages"),
    }
    let ready: Vec<bool> =
        fds[1..].iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect();
    drop(fds);
    display.tick();
    for (at, _) in talking.into_iter().zip(ready).filter(|(_, ready)| *ready) {
        let worker = &mut workers[at];
        if let Some(talk) = &mut worker.talk
            && !talk.read()?
            && worker.outcome.is_none()
            && !talk.has_more()
        {
            return Err(Failure::new(format!("the worker of stage {} was killed", worker.stage))
                .hint("for want of memory perhaps: see dmesg")
                .into());
        }
    }
    Ok(())
}

fn heed(plan: &Plan<'_>, display: &mut Display, worker: &mut Worker, said: Said) -> Result<()> {
    let stage = worker.stage;
    match said {
        Said::Begin { step, text } => display.begin(stage, step, &text),
        Said::Cached { step } => display.cached(stage, step),
        Said::Why { step, reason } => display.why(stage, step, &reason),
        Said::Output { step, text } => display.output(stage, step, &text),
        Said::Done { step } => display.done(stage, step),
        Said::Warning(text) => display.warning(&text),
        Said::Need(other) => worker.needs.push(other),
        Said::Finished(outcome) => {
            worker.outcome = Some(*outcome);
            worker.talk = None;
        }
        Said::Failed { message, hint, at } => {
            display.failed(stage);
            // With Docker's exit code, whatever that of the step's container would have been.
            let failure = Failure { hint, ..Failure::new(message) };
            return Err(plan.explain(failure, at, &display.last_lines(stage)).into());
        }
    }
    Ok(())
}

/// Tells workers what they wait for and what is done.
fn serve(workers: &mut [Worker]) -> Result<()> {
    for at in 0..workers.len() {
        let needs = std::mem::take(&mut workers[at].needs);
        for need in needs {
            let done = workers.iter().find(|worker| worker.stage == need);
            match done.and_then(|worker| worker.outcome.clone()) {
                Some(outcome) => {
                    if let Some(talk) = &mut workers[at].talk {
                        talk.say(&Told::Stage(Box::new(outcome)))?;
                    }
                }
                None => workers[at].needs.push(need),
            }
        }
    }
    Ok(())
}

/// What is said when a signal has ended a build: its exit code is 128 and the signal's number.
pub(super) fn cancelled(signal: i32) -> anyhow::Error {
    Failure::new("the build was cancelled")
        .hint("steps that were finished are in the cache: the next build goes on from there")
        .code(u8::try_from(128 + signal).unwrap_or(1))
        .into()
}

/// Ends the workers that still work, and with them what they run. One that misses the signal, because a container of its
/// has ended in the same moment, finds at its next word that nobody listens.
fn end(workers: &mut [Worker]) {
    for worker in workers.iter_mut().filter(|worker| worker.outcome.is_none()) {
        worker.talk = None;
        nix::sys::signal::kill(worker.pid, Signal::SIGTERM).ok();
    }
}
