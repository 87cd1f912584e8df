//! The life of a container, from a record and a spec to an exit code.

pub mod child;
mod files;
mod network;
pub mod start;
mod user;

use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;

use crate::containers::{Containers, Held};
use crate::create::{Created, remove_anonymous};
use crate::engine::Engine;
use crate::failure;
use crate::record::{Record, Status};
use start::Ended;

/// Starts a container that was just created and sees it through to its end.
///
/// # Errors
/// What kept it from starting, or from being cleaned up.
pub fn run(engine: &Engine, created: Created<'_>) -> Result<u8> {
    let Created { reserved, mut record, mut spec } = created;
    let held = reserved.keep();
    let interactive = record.interactive;
    let outcome = start::start(engine, &held, &mut record, &mut spec, interactive);
    finish(engine, held, record, outcome)
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

/// Ends a running container by force, and holds it when its supervisor has let go. None if the supervisor has removed
/// it (`--rm`).
///
/// # Errors
/// If its processes cannot be ended, or the supervisor does not let go within ten seconds.
pub fn end(engine: &Engine, record: &Record) -> Result<Option<Held>> {
    let path = format!("{}/{}", engine.cgroup_parent(), record.id);
    match cgroups::Cgroup::open(&cgroups::Hierarchies::detect()?, &path) {
        Ok(cgroup) => match cgroup.kill() {
            // Its supervisor has taken the cgroup away at the same moment.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => {}
            other => other?,
        },
        // It has ended by itself meanwhile.
        Err(_) if !Containers::new(engine).is_held(&record.id) => {}
        Err(error) => return Err(error.into()),
    }
    let containers = Containers::new(engine);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if containers.load(&record.id).is_err() {
            return Ok(None);
        }
        if let Some(held) = containers.hold(&record.id)? {
            return Ok(Some(held));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Err(failure::Failure::new(format!("the supervisor of container {} does not end", record.name))
        .hint("is it stopped (ctrl-z)? continue it or end it")
        .into())
}

/// Starts a container that exists, and waits for its end. `interactive` opens its standard input for this run.
///
/// # Errors
/// If it runs already, or cannot be started.
pub fn start_again(engine: &Engine, mut record: Record, interactive: bool) -> Result<u8> {
    let containers = Containers::new(engine);
    let Some(held) = containers.hold(&record.id)? else {
        return Err(failure::Failure::new(format!("container {} is running", record.name)).into());
    };
    let mut spec = containers.load_spec(&record.id)?;
    let interactive = interactive || record.interactive;
    let outcome = start::start(engine, &held, &mut record, &mut spec, interactive);
    finish(engine, held, record, outcome)
}

/// Records the end, or removes what was to be removed with it, and says what the user must know.
fn finish(engine: &Engine, held: Held, mut record: Record, outcome: Result<Ended>) -> Result<u8> {
    let containers = Containers::new(engine);
    let closed = if record.auto_remove {
        remove_anonymous(engine, &record.mounts, &record.id);
        containers.remove(&record.id, &record.name, held)
    } else {
        match &outcome {
            Ok(ended) => record.end(ended.code, ended.oom),
            // It never ran: as before.
            Err(_) => {
                record.status = Status::Created;
                record.forget_network();
            }
        }
        let saved = containers.save(&record, None, true);
        saved.and_then(|()| crate::files::remove_tree(&held.run_dir))
    };
    let ended = outcome?;
    if ended.oom {
        let limit = ended.memory_limit.map(|bytes| format!(" (limit {})", human(bytes)));
        let limit = limit.unwrap_or_default();
        failure::tell(&format!(
            "mini-docker: container {} was killed: out of memory{limit}\n\
             hint: raise it with -m, or look for a leak in the program",
            record.name
        ));
    }
    // The program's own exit code counts; what could not be cleaned up is tried again by the next command.
    for error in ended.leftovers.into_iter().chain(closed.err()) {
        failure::warn(&error);
    }
    Ok(ended.code as u8)
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
