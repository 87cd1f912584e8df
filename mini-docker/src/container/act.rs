//! What is done to a container that runs: it gets a signal, or its processes stand still and go on.

use std::os::fd::AsFd;

use anyhow::Result;
use cgroups::{Cgroup, Hierarchies};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use syscalls::During;

use super::{halt, process, stop};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::record::{Record, Status};
use crate::terminal::parse_signal;

/// The signal that `stop` sends.
pub fn stop_signal(record: &Record) -> i32 {
    parse_signal(&record.stop_signal).unwrap_or(Signal::SIGTERM as i32)
}

/// It does not run, which is what was asked of it.
pub fn not_running(record: &Record) -> Failure {
    let name = &record.name;
    match record.status {
        Status::Restarting { .. } => Failure::new(format!("container {name} is restarting"))
            .hint(format!("wait until it runs, or end that: mini-docker stop {name}")),
        _ => Failure::new(format!("container {name} is not running"))
            .hint(format!("start it: mini-docker start {name}")),
    }
}

/// Sends its first process a signal. SIGKILL and the signal that stops it mean that no restart policy brings it back;
/// SIGKILL is waited for.
///
/// # Errors
/// If it does not run.
pub fn kill(engine: &Engine, record: &Record, signal: i32) -> Result<()> {
    let kills = signal == Signal::SIGKILL as i32;
    let stops = kills || signal == stop_signal(record);
    if stops && matches!(record.status, Status::Restarting { .. }) || kills && record.is_active() {
        return stop::one(
            engine,
            record,
            &stop::How { signal: Some(signal), timeout: Some(10), tells: false },
        );
    }
    let Some(pidfd) = process(engine, record)? else { return Err(not_running(record).into()) };
    if stops {
        halt(engine, &record.id)?;
    }
    match syscalls::pidfd::send_raw(pidfd.as_fd(), signal) {
        Err(Errno::ESRCH) => return Err(not_running(record).into()),
        other => other.during("send signal to process", &record.name)?,
    }
    events::container(engine, record, "kill", &[("signal", &signal.to_string())]);
    if stops { thaw(engine, &record.id) } else { Ok(()) }
}

/// Whether its processes stand still (`pause`).
pub fn is_paused(engine: &Engine, record: &Record) -> bool {
    let frozen = |cgroup: Cgroup| cgroup.is_frozen().unwrap_or(false);
    record.pid().is_some()
        && cgroup(engine, &record.id).is_ok_and(|found| found.is_some_and(frozen))
}

/// Makes its processes stand still.
///
/// # Errors
/// If it does not run or stands still already; `EBUSY` if a process does not stop within five seconds.
pub fn pause(engine: &Engine, record: &Record) -> Result<()> {
    let name = &record.name;
    let Some(cgroup) = running(engine, record)? else { return Err(not_running(record).into()) };
    if cgroup.is_frozen()? {
        return Err(Failure::new(format!("container {name} is already paused"))
            .hint(format!("let it go on: mini-docker unpause {name}"))
            .into());
    }
    match cgroup.freeze() {
        Err(error) if is_gone(error.errno) => return Err(not_running(record).into()),
        other => other?,
    }
    // Its restart policy may have started it again in between: frozen before its program runs, it could neither go on
    // nor be stopped.
    let now = Containers::new(engine).load(&record.id)?;
    if now.pid() != record.pid() {
        thaw(engine, &record.id)?;
        return Err(not_running(&now).into());
    }
    events::container(engine, record, "pause", &[]);
    Ok(())
}

/// Lets its processes go on.
///
/// # Errors
/// If they do not stand still.
pub fn unpause(engine: &Engine, record: &Record) -> Result<()> {
    let not_paused = || Failure::new(format!("container {} is not paused", record.name));
    let Some(cgroup) = running(engine, record)? else {
        return Err(not_paused().hint("it does not run").into());
    };
    if !cgroup.is_frozen()? {
        return Err(not_paused().hint("its processes run").into());
    }
    match cgroup.thaw() {
        Err(error) if is_gone(error.errno) => Err(not_paused().hint("it has just ended").into()),
        other => {
            other?;
            events::container(engine, record, "unpause", &[]);
            Ok(())
        }
    }
}

/// Lets the processes of a container go on if they stand still: otherwise a signal has no effect.
pub(crate) fn thaw(engine: &Engine, id: &str) -> Result<()> {
    let Some(cgroup) = cgroup(engine, id)? else { return Ok(()) };
    match cgroup.thaw() {
        // A machine without a freezer has paused nobody.
        Err(error) if is_gone(error.errno) || error.errno == Errno::ENOSYS => Ok(()),
        other => Ok(other?),
    }
}

/// Kills all its processes, also those that stand still. If there are none, that is what was wanted.
pub(crate) fn kill_all(engine: &Engine, id: &str) -> Result<()> {
    let Some(cgroup) = cgroup(engine, id)? else { return Ok(()) };
    match cgroup.kill() {
        Err(error) if is_gone(error.errno) => Ok(()),
        other => Ok(other?),
    }
}

fn running(engine: &Engine, record: &Record) -> Result<Option<Cgroup>> {
    match process(engine, record)? {
        Some(_) => cgroup(engine, &record.id),
        None => Ok(None),
    }
}

/// The cgroup of its processes, if there is one.
fn cgroup(engine: &Engine, id: &str) -> Result<Option<Cgroup>> {
    let path = format!("{}/{id}", engine.cgroup_parent());
    match Cgroup::open(&Hierarchies::detect()?, &path) {
        Err(cgroups::Error::Kernel(error)) if is_gone(error.errno) => Ok(None),
        other => Ok(Some(other?)),
    }
}

/// Its supervisor has taken the cgroup away at the same moment.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}
