//! The monitor: one small process for each container that outlives the command that started it.
//!
//! It is a copy of that command, made before the container exists: it becomes the container's parent, keeps its lock,
//! carries its output into the log and to visitors, and starts it again if the restart policy says so. There is no
//! daemon above it: if it is killed, the kernel ends the container (`PR_SET_PDEATHSIG`) and drops the lock, and the next
//! command finds what is left.

pub(crate) mod server;

use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::Result;

use super::restart::{self, Backoff};
use super::start::{self, Ended};
use super::{apart, leave, notes, oom_words};
use crate::containers::{Containers, Held};
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure};
use crate::record::{Record, StartFailure, Status};
use crate::terminal::Signals;
use crate::wire::{self, Event, Visited, Visitor};
use server::{First, Server};

/// Starts the container that `held` locks under a monitor of its own. The monitor says [`Event::Started`] or
/// [`Event::Failed`] first of all; with [`First::attached`] it says everything else that an attached visitor hears.
///
/// # Errors
/// If there can be no monitor. What keeps the container from starting is said by the monitor.
pub(crate) fn launch(
    engine: &Engine,
    held: Held,
    record: &Record,
    first: First,
) -> Result<Visitor> {
    let (visitor, visited) = wire::pair()?;
    apart::fork("monitor", || live(engine, held, record.id.clone(), first, visited))?;
    Ok(visitor)
}

/// The monitor's life.
fn live(engine: &Engine, held: Held, id: String, first: First, visited: Visited) {
    // For as long as the container is its own: one that comes while it is taken down is not lost.
    let settled = settle(engine, &held, &id, first, &visited)
        .and_then(|server| Ok((server, Signals::collect()?)));
    let (mut server, signals) = match settled {
        Ok(settled) => settled,
        Err(error) => {
            let failure = failure::explain(&error);
            visited.say(&Event::Failed(failure.clone()), None).ok();
            give_up(engine, held, &id, &failure).ok();
            return;
        }
    };
    server.welcome(visited, first);
    let end = keep(engine, &held, &id, &mut server, &signals);
    server.close();
    let (events, closed) = match end {
        End::NeverStarted(error) => {
            let failure = failure::explain(&error);
            let closed = give_up(engine, held, &id, &failure);
            (vec![Event::Failed(failure)], closed)
        }
        End::Ended { record, ended } => {
            let code = ended.code;
            let words = words_about(&record, &ended);
            let closed = leave(engine, held, &record);
            (words.into_iter().map(Event::Say).chain([Event::Exited(code)]).collect(), closed)
        }
        // A full disk, perhaps. The next command finds that nobody holds it, and tries again.
        End::Lost { error, code: None } => (vec![Event::Failed(failure::explain(&error))], Ok(())),
        End::Lost { error, code: Some(code) } => (vec![Event::Exited(code)], Err(error)),
    };
    if let Err(error) = closed {
        server.tell(&Event::Say(warning(&error)));
    }
    for event in events {
        server.tell(&event);
    }
    // The container is nobody's any more. What visitors have not read yet is all that is left to do: a signal ends that.
    drop(signals);
    server.say_the_rest();
}

/// Leaves the user's world, and is ready for the container.
fn settle(
    engine: &Engine,
    held: &Held,
    id: &str,
    first: First,
    visited: &Visited,
) -> Result<Server> {
    apart::leave_the_user(&[held.as_fd(), visited.as_fd()], c"mini-docker:mon")?;
    let record = Containers::new(engine).load(id)?;
    let short = id.get(..12).unwrap_or(id);
    syscalls::process::set_title(&format!("mini-docker: monitor of {} ({short})", record.name))
        .ok();
    Server::new(engine, held, &record, first)
}

/// How it came to an end.
enum End {
    /// The very first start failed: the container is as it was before.
    NeverStarted(anyhow::Error),
    Ended {
        record: Box<Record>,
        ended: Ended,
    },
    /// Its record cannot be read or written.
    Lost {
        error: anyhow::Error,
        /// How it ended before that.
        code: Option<i32>,
    },
}

/// Starts it, and again, as often as its policy says.
fn keep(engine: &Engine, held: &Held, id: &str, server: &mut Server, signals: &Signals) -> End {
    let containers = Containers::new(engine);
    let mut backoff = Backoff::default();
    let mut again = false;
    // Restarts that could not be written down.
    let mut uncounted = 0;
    let is_wanted = || {
        let halted = notes::is_halted(&held.run_dir);
        !halted && containers.load(id).is_ok_and(|record| !record.halted)
    };
    loop {
        let loaded = containers.load(id).and_then(|record| Ok((record, containers.load_spec(id)?)));
        let (mut record, mut spec) = match loaded {
            Ok(both) => both,
            Err(error) => return End::Lost { error, code: None },
        };
        let (began, mut failed) = (Instant::now(), None);
        server.begin(&record);
        let ended = match start::start(engine, held, &mut record, &mut spec, server, signals) {
            Ok(ended) => ended,
            Err(error) if !again && !server.has_started() => return End::NeverStarted(error),
            // It was here and could be started a moment ago.
            Err(error) => {
                let failure = failure::explain(&error);
                server.log_own(&format!("mini-docker: {}\n", failure.message));
                let code = failure.code.unwrap_or(failure::code::RUNTIME);
                if code > 128 {
                    // A signal came to the monitor.
                    server.leave();
                }
                failed = Some(StartFailure::new(&failure));
                Ended::failed(i32::from(code))
            }
        };
        // One that has come since its process ended.
        server.hear_of_the_end(signals);
        let (restart, restart_wish) = (!server.is_leaving(), server.take_restart_wish());
        let conclude = |record: &mut Record| {
            record.end(ended.code, ended.oom);
            record.failure = failed.clone();
            record.restarts += uncounted;
            let wanted = restart_wish || restart::wants(record, ended.code);
            if restart && wanted && !record.halted && !notes::is_halted(&held.run_dir) {
                record.restarts += 1;
                let Status::Exited { code, oom, started, finished } = record.status else {
                    return Ok(());
                };
                record.status = Status::Restarting { code, oom, started, finished };
            }
            Ok(())
        };
        // Commands may have changed it meanwhile.
        let mut record = containers.load(id).unwrap_or(record);
        let mut unwritten = record.clone();
        let concluded = match record.auto_remove {
            // Nothing of it stays, and nobody starts it again.
            true => {
                record.end(ended.code, ended.oom);
                Ok(record)
            }
            false => containers.edit(id, true, conclude),
        };
        let record = match concluded {
            Ok(record) => {
                uncounted = 0;
                record
            }
            Err(error) => {
                conclude(&mut unwritten).ok();
                notes::note_end(&held.run_dir, &unwritten.status);
                events::died(engine, &unwritten, ended.code, ended.oom);
                // It is tried again after a pause: perhaps there is room then.
                if containers.has_record(id)
                    && matches!(unwritten.status, Status::Restarting { .. })
                {
                    server.tell_one_end(ended.code);
                    if server.pause(backoff.pause(began.elapsed()), signals, &is_wanted) {
                        again = true;
                        uncounted += 1;
                        continue;
                    }
                }
                return End::Lost { error, code: Some(ended.code) };
            }
        };
        events::died(engine, &record, ended.code, ended.oom);
        if !matches!(record.status, Status::Restarting { .. }) {
            return End::Ended { record: Box::new(record), ended };
        }
        for words in words_about(&record, &ended) {
            server.tell(&Event::Say(words));
        }
        server.tell_one_end(ended.code);
        if !server.pause(backoff.pause(began.elapsed()), signals, &is_wanted) {
            let settled = containers.edit(id, true, |record| {
                if let Status::Restarting { code, oom, started, finished } = record.status {
                    record.status = Status::Exited { code, oom, started, finished };
                }
                Ok(())
            });
            return match settled {
                Ok(record) => {
                    End::Ended { record: Box::new(record), ended: Ended::failed(ended.code) }
                }
                Err(error) => End::Lost { error, code: Some(ended.code) },
            };
        }
        again = true;
    }
}

/// What the user must hear of an end.
fn words_about(record: &Record, ended: &Ended) -> Vec<String> {
    oom_words(record, ended).into_iter().chain(ended.leftovers.iter().map(warning)).collect()
}

fn warning(error: &anyhow::Error) -> String {
    format!("mini-docker: warning: {}", failure::explain(error).message)
}

/// After a start that failed: as if it had not been tried, but that the reason is remembered.
fn give_up(engine: &Engine, held: Held, id: &str, failure: &Failure) -> Result<()> {
    let containers = Containers::new(engine);
    let record = containers.edit(id, true, |record| {
        if !matches!(record.status, Status::Exited { .. }) {
            record.status = Status::Created;
        }
        record.failure = Some(StartFailure::new(failure));
        record.forget_network();
        Ok(())
    })?;
    leave(engine, held, &record)
}
