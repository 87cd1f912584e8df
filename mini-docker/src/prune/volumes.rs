//! `volume prune`: volumes that no container has.

use anyhow::Result;

use super::{Filters, Measured, Pruned};
use crate::create::volume_users;
use crate::engine::Engine;
use crate::events;

/// Removes the volumes that no container has and that `filters` lets go: those without a chosen name, or with `all` every
/// one.
///
/// # Errors
/// If the store cannot be read, or a volume cannot be removed.
pub fn volumes(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let store = engine.volumes()?;
    let mut measured = Measured::default();
    measured.add_all(&engine.root.join("volumes"), |_| true)?;
    let fits = |volume: &::volumes::Volume| {
        filters.labels_fit(|key| volume.labels.get(key).map(String::as_str))
    };
    let pruned = store.prune(filters.all, &fits, &|name| volume_users(engine, name))?;
    pruned.removed.iter().for_each(|name| events::volume(engine, "destroy", name));
    Ok(Pruned { lines: pruned.removed, reclaimed: measured.freed() })
}
