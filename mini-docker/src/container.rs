//! The life of a container, from a record and a spec to an exit code.

pub mod act;
pub(crate) mod apart;
pub mod child;
mod files;
pub(crate) mod monitor;
mod network;
pub(crate) mod notes;
mod process;
pub mod restart;
pub mod start;
pub mod stop;
pub(crate) mod user;
pub mod wait;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::containers::{Containers, Held};
use crate::create::{Created, remove_anonymous};
use crate::engine::Engine;
use crate::events;
use crate::failure;
use crate::record::{Record, StartFailure, Status};
use crate::terminal::{Foreground, Signals};
use crate::wire::{self, Request, Visitor};
pub(crate) use files::fill_volumes;
pub use monitor::server::First;
pub use process::process;
pub(crate) use process::{has_ended, is_ending};
use start::Ended;

/// Starts a container that was just created and sees it through to its end, without a monitor.
///
/// # Errors
/// What kept it from starting, or from being cleaned up.
pub fn run(engine: &Engine, created: Created<'_>) -> Result<u8> {
    let Created { reserved, mut record, mut spec } = created;
    let held = reserved.keep();
    let mut foreground = Foreground::new(record.interactive);
    let outcome = Signals::collect().and_then(|signals| {
        start::start(engine, &held, &mut record, &mut spec, &mut foreground, &signals)
    });
    finish(engine, held, record, outcome)
}

/// Starts a container that was just created under a monitor.
///
/// # Errors
/// If there can be no monitor; what keeps the container from starting is said by it.
pub fn launch(engine: &Engine, created: Created<'_>, first: First) -> Result<Visitor> {
    let Created { reserved, record, .. } = created;
    monitor::launch(engine, reserved.keep(), &record, first)
}

/// Starts a container that exists under a monitor. None if it runs already.
///
/// # Errors
/// As [`launch`].
pub fn start_again(engine: &Engine, id: &str, first: First) -> Result<Option<Visitor>> {
    let Some((held, _)) = hold_idle(engine, id)? else { return Ok(None) };
    notes::forget_halt(&held.run_dir)?;
    // What a user starts has not been started again yet, nor stopped.
    let record = Containers::new(engine).edit(id, false, |record| {
        (record.restarts, record.halted) = (0, false);
        Ok(())
    })?;
    monitor::launch(engine, held, &record, first).map(Some)
}

/// So long we wait for a supervisor that has nothing to do any more but to let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Holds a container that does not run. None if it runs, or waits to be started again. A supervisor that is about to
/// begin or to let go is waited for.
///
/// # Errors
/// If it is gone, or a command keeps it busy for more than ten seconds.
pub fn hold_idle(engine: &Engine, id: &str) -> Result<Option<(Held, Record)>> {
    let containers = Containers::new(engine);
    let deadline = Instant::now() + PATIENCE;
    // flock(2) knows no deadline, and a signal to end it would need a handler: so it is looked at again and again.
    let mut pause = Duration::from_millis(1);
    loop {
        let held = containers.hold(id)?;
        match (held, containers.load(id)) {
            // Its supervisor was killed since this command began.
            (Some(held), Ok(record)) if record.is_active() => {
                drop(held);
                crate::reclaim::reclaim(engine)?;
            }
            (Some(held), Ok(record)) => return Ok(Some((held, record))),
            (Some(_), Err(error)) if containers.has_record(id) => return Err(error),
            (Some(held), Err(_)) => {
                // Somebody has removed it since its name was looked up: nothing of it shall come back.
                crate::files::remove_tree(&held.run_dir)?;
                return Err(gone(id).into());
            }
            (None, Ok(record)) if record.is_active() => return Ok(None),
            (None, Err(_)) if !containers.is_held(id) => return Err(gone(id).into()),
            (None, _) => {}
        }
        if Instant::now() >= deadline {
            let id = id.get(..12).unwrap_or(id);
            return Err(failure::Failure::new(format!("container {id} is busy"))
                .hint(
                    "another command starts, exports or removes it: try again when it has finished",
                )
                .into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// It was there a moment ago.
fn gone(id: &str) -> failure::Failure {
    failure::Failure::new(format!("no such container: {}", id.get(..12).unwrap_or(id)))
        .hint("it has just been removed")
}

/// Tells its monitor, if there is one, to look at its record.
pub fn wake(engine: &Engine, id: &str) {
    if let Ok(Some(visitor)) = wire::visit(&Containers::new(engine).run_dir(id)) {
        visitor.try_say(&Request::Look).ok();
    }
}

/// Remembers that the user wants it stopped: no restart policy brings it back, and if it is about to be started again it
/// is not.
///
/// # Errors
/// If that can be written nowhere.
pub fn halt(engine: &Engine, id: &str) -> Result<Record> {
    let containers = Containers::new(engine);
    let halts = |record: &mut Record| {
        record.halted = true;
        Ok(())
    };
    let record = containers.edit(id, true, halts).or_else(|error| {
        // A full disk keeps nobody from stopping.
        let mut record = containers.load(id).map_err(|_| error)?;
        notes::note_halt(&containers.run_dir(id))?;
        record.halted = true;
        Ok::<_, anyhow::Error>(record)
    })?;
    wake(engine, id);
    Ok(record)
}

/// Leaves a container that was just created for a later start. Returns its id.
///
/// # Errors
/// If it cannot be written.
pub fn keep(engine: &Engine, created: Created<'_>) -> Result<String> {
    let Created { reserved, record, spec } = created;
    let saved = Containers::new(engine).save(&record, Some(&spec), true);
    if saved.is_err() {
        remove_anonymous(engine, &record.mounts, &record.id);
    }
    saved?;
    crate::files::remove_tree(&reserved.keep().run_dir)?;
    Ok(record.id)
}

/// Ends a container by force, whatever it does, and holds it when its supervisor has let go. None if the supervisor has
/// removed it (`--rm`).
///
/// # Errors
/// If its processes cannot be ended, or the supervisor does not let go within ten seconds.
pub fn end(engine: &Engine, record: &Record) -> Result<Option<Held>> {
    halt(engine, &record.id).ok();
    let containers = Containers::new(engine);
    let deadline = Instant::now() + PATIENCE;
    // Many may be ended at once: the supervisors need the processors more than those who wait for them.
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        if containers.load(&record.id).is_ok() {
            if let Some(held) = containers.hold(&record.id)? {
                return Ok(Some(held));
            }
        } else if !containers.is_held(&record.id) {
            return Ok(None);
        }
        // A monitor may be starting it at this moment, so this is tried until nobody has it.
        act::kill_all(engine, &record.id)?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
    Err(stuck(record).into())
}

/// Its processes have ended, and still its supervisor does not let go.
fn stuck(record: &Record) -> failure::Failure {
    failure::Failure::new(format!("the supervisor of container {} does not end", record.name))
        .hint("is it stopped (ctrl-z)? continue it or end it")
}

/// Records the end, or removes what was to be removed with it, and says what the user must know.
fn finish(engine: &Engine, held: Held, mut record: Record, outcome: Result<Ended>) -> Result<u8> {
    let conclude = |record: &mut Record| {
        match &outcome {
            Ok(ended) => record.end(ended.code, ended.oom),
            // It never ran: as before.
            Err(error) => {
                record.status = Status::Created;
                record.failure = Some(StartFailure::new(&failure::explain(error)));
                record.forget_network();
            }
        }
        Ok(())
    };
    // Commands may have changed it meanwhile.
    if let Ok(now) = Containers::new(engine).load(&record.id) {
        record = now;
    }
    let recorded = match record.auto_remove {
        true => conclude(&mut record),
        false => Containers::new(engine).edit(&record.id, true, conclude).map(|now| record = now),
    };
    if let Ok(ended) = &outcome {
        events::died(engine, &record, ended.code, ended.oom);
    }
    let closed = recorded.and_then(|()| leave(engine, held, &record));
    let ended = outcome?;
    if let Some(words) = oom_words(&record, &ended) {
        failure::tell(&words);
    }
    // The program's own exit code counts; what could not be cleaned up is tried again by the next command.
    for error in ended.leftovers.into_iter().chain(closed.err()) {
        failure::warn(&error);
    }
    Ok(ended.code as u8)
}

/// Name of the file in which somebody who waits without a monitor wants to find the exit code.
pub const EXIT_CODE: &str = "exit-code";

/// Lets go of a container that has ended; with `--rm` nothing of it stays.
fn leave(engine: &Engine, held: Held, record: &Record) -> Result<()> {
    if let Status::Exited { code, .. } = record.status
        && let Ok(mut file) = File::options().write(true).open(held.run_dir.join(EXIT_CODE))
    {
        file.write_all(code.to_string().as_bytes()).ok();
    }
    let containers = Containers::new(engine);
    if record.auto_remove && containers.is_spared(&record.id) {
        containers.edit(&record.id, true, |saved| {
            (saved.status, saved.failure) = (record.status.clone(), record.failure.clone());
            saved.forget_network();
            Ok(())
        })?;
        // The folder stays: if nobody starts it again, the next command finds it there and removes the container. Who
        // waits for this end has the file open; the next end gets one of its own.
        return crate::files::remove_file(&held.run_dir.join(EXIT_CODE));
    }
    if record.auto_remove {
        remove_anonymous(engine, &record.mounts, &record.id);
        let removed = containers.remove(&record.id, &record.name, held);
        events::container(engine, record, "destroy", &[]);
        return removed;
    }
    crate::files::remove_tree(&held.run_dir)
}

fn oom_words(record: &Record, ended: &Ended) -> Option<String> {
    let limit = ended.memory_limit.map(|bytes| format!(" (limit {})", human(bytes)));
    ended.oom.then(|| {
        format!(
            "mini-docker: container {} was killed: out of memory{}\n\
             hint: raise it with -m, or look for a leak in the program",
            record.name,
            limit.unwrap_or_default()
        )
    })
}

/// A size as people say it: `64 MiB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}
