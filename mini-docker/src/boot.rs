//! What becomes of containers when the machine boots and when it goes down: `system restart-all`, `system stop-all`.
//!
//! No daemon is there to remember them. What was asked for (`--restart`) and what has become of it is in their records;
//! a unit of systemd(1) has these two commands executed, see `contrib/`.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use cgroups::{Cgroup, Hierarchies};
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::Pid;
use syscalls::pidfd;

use crate::attach;
use crate::container::{self, First, monitor, restart};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::Record;
use crate::terminal::parse_signal;
use crate::wire::{self, Request};

/// A monitor that was told to end has this much longer than its container.
const GRACE: Duration = Duration::from_secs(10);
/// After so long it is told again.
const AGAIN: Duration = Duration::from_millis(250);

/// What came of each container: its name, and what went wrong.
pub type Outcomes = Vec<(String, Result<()>)>;

/// Starts all containers that nobody holds and whose restart policy wants them to run, the oldest first, those that share
/// a namespace with another one after it. `tell` hears of each as soon as it has come to something.
///
/// # Errors
/// If the folder of containers cannot be read.
pub fn restart_all(engine: &Engine, tell: &mut dyn FnMut(&str, Result<()>)) -> Result<()> {
    let containers = Containers::new(engine);
    let mut records = containers.list()?;
    records.retain(|record| restart::wants_after_boot(record) && !containers.is_held(&record.id));
    records.reverse();
    for record in in_order(records) {
        match start(engine, &record.id) {
            // Somebody was faster.
            Ok(false) => {}
            Ok(true) => tell(&record.name, Ok(())),
            Err(error) => tell(&record.name, Err(error)),
        }
    }
    Ok(())
}

/// The same, in an order in which none comes before the one whose namespaces it shares. In a circle nobody is first.
fn in_order(mut waiting: Vec<Record>) -> Vec<Record> {
    let mut ordered: Vec<Record> = Vec::new();
    while !waiting.is_empty() {
        let ids: BTreeSet<String> = waiting.iter().map(|record| record.id.clone()).collect();
        let is_free =
            |record: &Record| !needs(record).any(|id| id != record.id && ids.contains(id));
        let (free, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_free);
        if free.is_empty() {
            ordered.extend(rest);
            break;
        }
        ordered.extend(free);
        waiting = rest;
    }
    ordered
}

/// The ids of the containers that must run before it.
fn needs(record: &Record) -> impl Iterator<Item = &str> {
    let modes = [record.network.mode.as_str(), record.pid_mode.as_str()];
    modes.into_iter().filter_map(|mode| mode.strip_prefix("container:"))
}

/// As `start`, but the policy's start and not the user's: how often the policy has started it stays known. False if it
/// runs already.
fn start(engine: &Engine, id: &str) -> Result<bool> {
    let containers = Containers::new(engine);
    let Some((held, _)) = container::hold_idle(engine, id)? else { return Ok(false) };
    let record = containers.edit(id, false, |record| {
        // With `always` also what the user had stopped: from now on it is to run.
        record.halted = false;
        Ok(())
    })?;
    let first = First::background(&record);
    attach::until_started(&monitor::launch(engine, held, &record, first)?)?;
    Ok(true)
}

/// Ends all containers as `stop` does, all at the same time, but so that [`restart_all`] brings them back: the monitors
/// are told to end, not the containers that the user has stopped them.
///
/// # Errors
/// If the folder of containers cannot be read.
pub fn stop_all(engine: &Engine) -> Result<Outcomes> {
    let containers = Containers::new(engine);
    let records = containers.list()?;
    let mut stopping = Vec::new();
    for record in records.into_iter().filter(|record| containers.is_held(&record.id)) {
        let patience = match record.stop_timeout.unwrap_or(10) {
            seconds @ 0.. => Some(Duration::from_secs(seconds.unsigned_abs())),
            _ => None,
        };
        let asked = ask_to_end(engine, &record);
        stopping.push((record, patience.map(|patience| Instant::now() + patience), asked));
    }
    let outcomes = stopping.into_iter().map(|(record, deadline, asked)| {
        let ended = asked.and_then(|asked| wait(engine, &record, deadline, asked));
        (record.name, ended)
    });
    Ok(outcomes.collect())
}

/// Who was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It kills the container when its time is over.
    Monitor,
    Process,
}

fn ask_to_end(engine: &Engine, record: &Record) -> Result<Asked> {
    // What stands still hears nothing.
    let path = format!("{}/{}", engine.cgroup_parent(), record.id);
    if let Ok(cgroup) = Cgroup::open(&Hierarchies::detect()?, &path) {
        cgroup.thaw().ok();
    }
    if tell_monitor(engine, record)? {
        return Ok(Asked::Monitor);
    }
    if let Some(process) = container::process(engine, record)? {
        let signal = parse_signal(&record.stop_signal).unwrap_or(Signal::SIGTERM as i32);
        pidfd::send_raw(process.as_fd(), signal)?;
    }
    Ok(Asked::Process)
}

/// False if it has none. A monitor that was told already is not in more of a hurry.
fn tell_monitor(engine: &Engine, record: &Record) -> Result<bool> {
    let run_dir = Containers::new(engine).run_dir(&record.id);
    let Some(visitor) = wire::visit(&run_dir)? else { return Ok(false) };
    let monitor = getsockopt(&visitor.as_fd(), sockopt::PeerCredentials)?;
    let process = pidfd::open(Pid::from_raw(monitor.pid()));
    // It still hears: so the descriptor is of the monitor, and of none that has got its pid since.
    if let (Ok(process), Ok(())) = (process, visitor.try_say(&Request::Look)) {
        pidfd::send_raw(process.as_fd(), Signal::SIGTERM as i32).ok();
    }
    Ok(true)
}

fn wait(engine: &Engine, record: &Record, deadline: Option<Instant>, asked: Asked) -> Result<()> {
    let containers = Containers::new(engine);
    let deadline = deadline.map(|deadline| match asked {
        Asked::Monitor => deadline + GRACE,
        Asked::Process => deadline,
    });
    let mut told = Instant::now();
    while containers.is_held(&record.id) {
        // It may have heard it just when it was starting the container, and taken it for the end of that start only.
        if asked == Asked::Monitor && told.elapsed() > AGAIN {
            tell_monitor(engine, record)?;
            told = Instant::now();
        }
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        if asked == Asked::Process {
            // Without a monitor there is no restart policy that had to stay.
            return container::end(engine, record).map(drop);
        }
        return Err(Failure::new(format!("the monitor of container {} does not end", record.name))
            .hint(format!("end the container by force: mini-docker rm -f {}", record.name))
            .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, network: &str) -> Record {
        let json = serde_json::json!({
            "id": name,
            "name": name,
            "created": "2026-01-31T12:00:00Z",
            "network": { "mode": network, "publish": [], "dns": [], "dns_search": [], "dns_options": [], "extra_hosts": [] },
            "status": { "state": "exited", "code": 1, "oom": false, "finished": "2026-01-31T12:00:00Z" },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn whoever_is_joined_comes_first() {
        let order = |all: &[(&str, &str)]| -> Vec<String> {
            let records = all.iter().map(|(name, network)| record(name, network)).collect();
            in_order(records).into_iter().map(|record| record.name).collect()
        };
        let chain = [("a", "container:b"), ("b", "container:c"), ("c", "bridge"), ("d", "bridge")];
        assert_eq!(order(&chain), ["c", "d", "b", "a"]);
        // What it joins is not among those that start.
        assert_eq!(order(&[("a", "container:x"), ("b", "none")]), ["a", "b"]);
        // Nobody in a circle can start, and all of them shall be told of.
        assert_eq!(
            order(&[("a", "container:b"), ("b", "container:a"), ("c", "none")]),
            ["c", "a", "b"]
        );
    }
}
