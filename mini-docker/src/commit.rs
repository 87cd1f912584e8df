//! A container becomes an image: its image's layers, one layer of what it has written, and its own settings.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Result;
use images::Reference;
use images::commit::{Derived, History, NewLayer};
use jiff::Timestamp;
use layers::DiffError;
use serde_json::Map;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::export::{Access, guarded, upper};
use crate::failure::Failure;
use crate::image;
use crate::pause::Paused;
use crate::record::Record;

/// What `commit` is asked for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Container, by name or id.
    pub container: String,
    /// Name of the new image.
    pub reference: Option<Reference>,
    /// Who, for config and history.
    pub author: String,
    /// Why, for the history.
    pub message: String,
    /// Instructions as of [`images::changes`].
    pub changes: Vec<String>,
    /// Whether a running container stands still while its files are read.
    pub pause: bool,
}

/// Makes an image of a container; returns its id, `sha256:...`.
///
/// Of a `--rootfs` container it is an image of one layer, the whole folder. Volumes, tmpfs and what the runtime mounts
/// are in none.
///
/// # Errors
/// If there is no such container, its image has gone, or an instruction is wrong.
pub fn commit(engine: &Engine, request: &Request) -> Result<String> {
    let record = Containers::new(engine).find(&request.container)?;
    let store = engine.images()?;
    let base = match &record.image_id {
        Some(id) => Some(store.resolve(id).map_err(|error| {
            match error {
                images::Error::NotFound(_) => Failure::new(format!(
                    "the image of container {} has been removed: {id}",
                    record.name
                ))
                .hint("mini-docker export, then import, keeps its files")
                .into(),
                other => anyhow::Error::from(other),
            }
        })?),
        None => None,
    };
    let mut process = match &base {
        Some(base) => store.process_json(base)?,
        None => Map::new(),
    };
    process.extend(record.config.clone());
    process.retain(|_, value| !value.is_null());
    images::changes::apply(&mut process, &request.changes)?;

    let layer = new_layer(engine, &store, &record, request.pause)?;
    let history = History {
        created: Timestamp::now(),
        created_by: record.command.join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: layer.is_none(),
    };
    let loaded = store.derive(Derived {
        base: base.as_ref(),
        layers: layer.into_iter().collect(),
        history: vec![history],
        process,
        reference: request.reference.as_ref(),
    })?;
    image::unpack_all(engine, &store, std::slice::from_ref(&loaded))?;
    let name = loaded.reference.as_ref().map(Reference::familiar).unwrap_or_default();
    let more =
        [("comment", request.message.as_str()), ("imageID", &loaded.id), ("imageRef", &name)];
    events::container(engine, &record, "commit", &more);
    Ok(loaded.id)
}

/// What the container has changed, as a layer; None if that is nothing.
fn new_layer(
    engine: &Engine,
    store: &images::Store,
    record: &Record,
    pause: bool,
) -> Result<Option<NewLayer>> {
    let access = Access::to(engine, record)?;
    let (files, skipped) = match record.image_id {
        Some(_) => (guarded(upper(engine, record)?)?, mount_points(engine, record)?),
        None => (access.tree(engine, record)?, Vec::new()),
    };
    let running = matches!(access, Access::Running(_));
    let keep =
        |path: &[u8]| !skipped.iter().any(|skip| skip.as_os_str().as_encoded_bytes() == path);
    let (layer, stats) = store.new_layer(|out| {
        // Not before: the store may keep us waiting, and the container with us.
        let _paused = if running && pause { Paused::new(engine, record)? } else { None };
        layers::diff_of(files.as_fd(), &keep, out).map_err(|error| match error {
            // Our own error, which a full disk needs whole.
            DiffError::Write(io) => own(io),
            other => other.into(),
        })
    })?;
    access.release()?;
    // The folder is made with this mode and owner; then no container has changed it either.
    let root = nix::sys::stat::fstat(&files)?;
    let as_made = (root.st_mode & 0o7777, root.st_uid, root.st_gid) == (0o755, 0, 0);
    let nothing = record.image_id.is_some() && stats.entries == 1 && as_made;
    Ok((!nothing).then_some(layer))
}

/// The store's own error out of the writer that carried it.
pub(crate) fn own(error: io::Error) -> anyhow::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<images::Error>()) {
        Some(own) => own.clone().into(),
        None => error.into(),
    }
}

/// Everything that something was mounted on, relative to the root.
pub(crate) fn every_mount_point(engine: &Engine, record: &Record) -> Result<Vec<PathBuf>> {
    let spec = Containers::new(engine).load_spec(&record.id)?;
    let mounts = spec.mounts().iter().flatten().map(|mount| mount.destination());
    Ok(mounts.map(|target| relative(target)).collect())
}

fn relative(target: &Path) -> PathBuf {
    target.strip_prefix("/").unwrap_or(target).to_owned()
}

/// Files and folders that are in the container's own folder only because the runtime mounts something there, `/proc`
/// and `/etc/hosts`. Docker keeps them out of the image too; those of volumes are in it.
pub(crate) fn mount_points(engine: &Engine, record: &Record) -> Result<Vec<PathBuf>> {
    let spec = Containers::new(engine).load_spec(&record.id)?;
    let mounts = spec.mounts().iter().flatten().map(|mount| mount.destination());
    let asked = |target: &&PathBuf| record.mounts.iter().any(|mount| mount.target == **target);
    Ok(mounts.filter(|target| !asked(target)).map(|target| relative(target)).collect())
}
