//! Takes away what a killed supervisor left. Every command begins with it; when there is nothing to do it costs a look
//! at each folder in the run root.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies};
use jiff::Timestamp;

use crate::create::{remove_anonymous, remove_orphans};
use crate::engine::Engine;
use crate::record::{Containers, Held, Status, remove_tree};

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
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if containers.is_held(&id) {
            continue;
        }
        if let Some(held) = containers.seize(&id)? {
            reclaim_one(engine, &containers, &id, held)
                .with_context(|| format!("take away what is left of container {id}"))?;
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
    after_boot(engine, &containers)
}

/// One container whose supervisor is gone and whose lock is ours.
fn reclaim_one(engine: &Engine, containers: &Containers<'_>, id: &str, held: Held) -> Result<()> {
    let hierarchies = Hierarchies::detect()?;
    // Its processes end with the cgroup; their namespaces, mounts and links end with them.
    if let Ok(cgroup) = Cgroup::open(&hierarchies, &format!("{}/{id}", engine.cgroup_parent())) {
        let oom = cgroup.oom_kills().is_ok_and(|kills| kills > 0);
        cgroup.kill()?;
        cgroup.remove()?;
        tracing::debug!(id, oom, "killed what was left");
    }
    match containers.load(id) {
        Ok(mut record) if !record.auto_remove => {
            if let Status::Running { .. } = record.status {
                record.status =
                    Status::Exited { code: 137, oom: false, finished: Timestamp::now() };
                record.network.address = None;
                record.network.ports.clear();
                containers.save(&record, None, true)?;
            }
            remove_tree(&held.run_dir)
        }
        Ok(record) => {
            remove_anonymous(engine, &record.mounts, &record.id);
            containers.remove(id, &record.name, held)
        }
        // No record yet, or a torn one: it was being created.
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
fn after_boot(engine: &Engine, containers: &Containers<'_>) -> Result<()> {
    let marker = engine.run_root.join("looked-after-boot");
    if marker.exists() {
        return Ok(());
    }
    let folder = engine.root.join("containers");
    for entry in
        fs::read_dir(&folder).with_context(|| format!("read `{}`", folder.display()))?.flatten()
    {
        let id = entry.file_name().to_string_lossy().into_owned();
        let needs_work = match containers.load(&id) {
            Ok(record) => record.auto_remove || matches!(record.status, Status::Running { .. }),
            Err(_) => true,
        };
        if needs_work && let Some(held) = containers.hold(&id)? {
            reclaim_one(engine, containers, &id, held)?;
        }
    }
    fs::write(&marker, "").with_context(|| format!("write `{}`", marker.display()))
}
