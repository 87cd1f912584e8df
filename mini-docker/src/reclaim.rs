//! Takes away what a killed supervisor left. Every command begins with it; when there is nothing to do it costs a look
//! at each folder in the run root.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies};
use jiff::Timestamp;

use crate::container::notes;
use crate::containers::{Containers, Held};
use crate::create::{remove_anonymous, remove_orphans};
use crate::engine::Engine;
use crate::events;
use crate::failure::{Failure, code};
use crate::files::remove_tree;
use crate::record::Status;

/// Looks for containers without a supervisor and takes their processes, links, rules, cgroups and folders away. A
/// container that was not `--rm` is remembered as exited.
///
/// # Errors
/// If something cannot be taken away: it would be in the way of what comes next.
pub fn reclaim(engine: &Engine) -> Result<()> {
    let folder = engine.run_root.join("containers");
    let entries = fs::read_dir(&folder).with_context(|| format!("read `{}`", folder.display()))?;
    let containers = Containers::new(engine);
    let mut found = false;
    let mut result = Ok(());
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if containers.is_held(&id) {
            continue;
        }
        if let Some(held) = containers.seize(&id)? {
            let reclaimed = reclaim_one(engine, &containers, &id, held)
                .with_context(|| format!("take away what is left of container {id}"));
            result = result.and(reclaimed);
            found = true;
        }
    }
    if found {
        let is_alive = |id: &str| containers.is_held(id);
        cgroups::reclaim(&Hierarchies::detect()?, &engine.cgroup_parent(), &is_alive)?;
        if engine.run_root.join("networks").exists() {
            engine.networks()?.reclaim(&is_alive)?;
        }
    }
    result.and(after_boot(engine, &containers))
}

/// One container whose supervisor is gone and whose lock is ours.
fn reclaim_one(engine: &Engine, containers: &Containers<'_>, id: &str, held: Held) -> Result<()> {
    let hierarchies = Hierarchies::detect()?;
    let mut oom = false;
    // Its processes end with the cgroup; their namespaces, mounts and links end with them.
    if let Ok(cgroup) = Cgroup::open(&hierarchies, &format!("{}/{id}", engine.cgroup_parent())) {
        oom = cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        cgroup.kill()?;
        cgroup.remove()?;
    }
    match containers.load(id) {
        Ok(record) if !record.auto_remove || containers.is_spared(id) => {
            if record.is_active() {
                // What its supervisor knew, and could write down nowhere else.
                let noted = notes::end_of(&held.run_dir, &record.status);
                let mut died = false;
                let record = containers.edit(id, true, |record| {
                    match record.status {
                        // Nobody is left to start it again; how it ended is known.
                        Status::Restarting { code, oom, started, finished } => {
                            record.status = Status::Exited { code, oom, started, finished };
                        }
                        _ => {
                            let (code, oom, finished) =
                                noted.unwrap_or((137, oom, Timestamp::now()));
                            let started = record.started();
                            record.status = Status::Exited { code, oom, started, finished };
                            record.forget_network();
                            died = noted.is_none();
                        }
                    }
                    Ok(())
                })?;
                if died {
                    events::died(engine, &record, 137, oom);
                }
            }
            // One that is only spared is looked at again.
            if record.auto_remove { Ok(()) } else { remove_tree(&held.run_dir) }
        }
        Ok(record) => {
            if let Status::Running { .. } = record.status {
                events::died(engine, &record, 137, oom);
            }
            remove_anonymous(engine, &record.mounts, &record.id);
            containers.remove(id, &record.name, held)?;
            events::container(engine, &record, "destroy", &[]);
            Ok(())
        }
        // Not ours to judge: written by another version, or damaged. Its data stays.
        Err(error) if containers.has_record(id) => {
            remove_tree(&held.run_dir)?;
            Err(error)
        }
        // No record: it was being created, or being removed.
        Err(_) => {
            remove_orphans(engine, id)?;
            let name = name_of(&engine.root.join("names"), id).unwrap_or_default();
            containers.remove(id, &name, held)
        }
    }
}

fn name_of(names: &Path, id: &str) -> Option<String> {
    let mut entries = fs::read_dir(names).ok()?.flatten();
    entries
        .find(|entry| fs::read_to_string(entry.path()).is_ok_and(|owner| owner == id))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
}

/// Once after a boot, when the run root is new: containers that were running are not, and what was being created is
/// garbage.
///
/// An empty run root alone proves nothing: with the same boot id somebody has cleaned it, or uses another one, and the
/// containers run on.
fn after_boot(engine: &Engine, containers: &Containers<'_>) -> Result<()> {
    let marker = engine.run_root.join("looked-after-boot");
    if marker.exists() {
        return Ok(());
    }
    let boot_id =
        fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot id")?;
    let now = format!("{}\n{}\n", boot_id.trim(), engine.run_root.display());
    let note = engine.root.join("boot");
    let last = fs::read_to_string(&note).unwrap_or_default();
    if last.lines().next() == now.lines().next() {
        if last != now && !containers.list()?.is_empty() {
            let other = last.lines().nth(1).unwrap_or_default();
            return Err(Failure::new(format!(
                "the containers of {} are kept with the run root {other}, not {}",
                engine.root.display(),
                engine.run_root.display()
            ))
            .hint(format!("use --run-root {other}, or another --root"))
            .code(code::RUNTIME)
            .into());
        }
    } else {
        after_reboot(engine, containers)?;
    }
    for (path, text) in [(&note, now.as_str()), (&marker, "")] {
        fs::write(path, text).with_context(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

fn after_reboot(engine: &Engine, containers: &Containers<'_>) -> Result<()> {
    let folder = engine.root.join("containers");
    let entries = fs::read_dir(&folder).with_context(|| format!("read `{}`", folder.display()))?;
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let needs_work = match containers.load(&id) {
            Ok(record) => record.auto_remove || record.is_active(),
            Err(_) => !containers.has_record(&id),
        };
        if needs_work && let Some(held) = containers.hold(&id)? {
            reclaim_one(engine, containers, &id, held)?;
        }
    }
    Ok(())
}
