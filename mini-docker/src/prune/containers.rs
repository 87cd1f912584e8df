//! `container prune`: containers that do not run go, with what they have written.

use anyhow::Result;

use super::{Filters, Measured, Pruned};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure;
use crate::files::remove_tree;
use crate::record::Record;
use crate::{events, names};

/// Removes the containers that nobody holds and that `filters` lets go, newest first. Their volumes stay, the anonymous
/// ones too, as with Docker.
///
/// # Errors
/// If the folder of containers cannot be read. A container that cannot be removed is told of, and the others go.
pub fn containers(engine: &Engine, filters: &Filters) -> Result<Pruned> {
    let containers = Containers::new(engine);
    let (mut pruned, mut measured) = (Pruned::default(), Measured::default());
    for record in containers.list()?.into_iter().filter(|record| fits(filters, record)) {
        match remove(engine, &record, &mut measured) {
            Ok(true) => pruned.lines.push(record.id),
            Ok(false) => {}
            Err(error) => failure::warn(&error),
        }
    }
    pruned.reclaimed = measured.freed();
    Ok(pruned)
}

/// False if it runs, or was removed meanwhile.
fn remove(engine: &Engine, record: &Record, measured: &mut Measured) -> Result<bool> {
    let containers = Containers::new(engine);
    let Some(held) = containers.hold(&record.id)? else { return Ok(false) };
    // It may have another name by now.
    let Ok(record) = containers.load(&record.id) else {
        remove_tree(&held.run_dir)?;
        return Ok(false);
    };
    measured.add(held.dir.clone());
    if names::is_valid(&record.name) {
        measured.add(engine.root.join("names").join(&record.name));
    }
    containers.remove(&record.id, &record.name, held)?;
    events::container(engine, &record, "destroy", &[]);
    Ok(true)
}

fn fits(filters: &Filters, record: &Record) -> bool {
    filters.until.is_none_or(|until| record.created < until)
        && filters.labels_fit(|key| record.labels.get(key).map(String::as_str))
}
