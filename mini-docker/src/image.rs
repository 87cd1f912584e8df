//! Images: the store of chapter 08 and the layers of chapter 04, kept in step.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use images::{Image, Loaded, Reference, Removed};

use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::record::Record;

/// Finds an image by name, id or digest.
///
/// # Errors
/// If there is none here, or the name could mean several.
pub fn resolve(engine: &Engine, name: &str) -> Result<Image> {
    engine.images()?.resolve(name).map_err(|error| match error {
        images::Error::NotFound(_) => not_found(name),
        other => other.into(),
    })
}

fn not_found(name: &str) -> anyhow::Error {
    Failure::new(format!("no such image: {name}"))
        .hint("`mini-docker images` lists what is here; `mini-docker pull` brings what is not")
        .into()
}

/// Finds the images to save, see [`images::Store::select`].
///
/// # Errors
/// As [`resolve`].
pub fn select(engine: &Engine, names: &[String]) -> Result<Vec<images::save::Selected>> {
    engine.images()?.select(names).map_err(|error| match error {
        images::Error::NotFound(name) => not_found(&name),
        other => other.into(),
    })
}

/// Loads the images of an archive or folder, and unpacks their layers.
///
/// # Errors
/// If the archive is broken; nothing of it is kept then.
pub fn load(
    engine: &Engine,
    source: images::Source,
    name: Option<&Reference>,
) -> Result<Vec<Loaded>> {
    settle(engine);
    let store = engine.images()?;
    let loaded = store.load(source, name)?;
    unpack_all(engine, &store, &loaded)?;
    for one in &loaded {
        let name = one.reference.as_ref().map_or_else(|| one.id.clone(), Reference::familiar);
        events::image(engine, "load", &one.id, &name);
    }
    Ok(loaded)
}

/// Makes an image of one layer from a tar of a root file system.
///
/// # Errors
/// If the tar is broken; nothing of it is kept then.
pub fn import(
    engine: &Engine,
    tar: impl std::io::Read,
    reference: Option<&Reference>,
    changes: &[String],
    message: &str,
) -> Result<Loaded> {
    settle(engine);
    let store = engine.images()?;
    let loaded = store.import(tar, reference, changes, message)?;
    unpack_all(engine, &store, std::slice::from_ref(&loaded))?;
    let name = reference.map_or_else(|| loaded.id.clone(), Reference::familiar);
    events::image(engine, "import", &loaded.id, &name);
    Ok(loaded)
}

/// Unpacks what is not unpacked yet. An image that cannot be unpacked is not kept.
pub(crate) fn unpack_all(engine: &Engine, store: &images::Store, loaded: &[Loaded]) -> Result<()> {
    for one in loaded {
        let image = store.resolve(&one.id)?;
        if let Err(error) = unpack(engine, store, &image) {
            for one in loaded {
                // By name, so that an image that was here before under another name stays.
                let name =
                    one.reference.as_ref().map_or_else(|| one.id.clone(), ToString::to_string);
                store.remove(&name, true, &|_| Vec::new()).ok();
                // The name goes back to the image that had it.
                if let (Some(replaced), Some(name)) = (&one.replaced, &one.reference) {
                    store.resolve(replaced).and_then(|old| store.tag(&old, name)).ok();
                }
            }
            sweep_layers(engine).ok();
            return Err(error);
        }
    }
    Ok(())
}

/// Unpacks the layers of an image that are not unpacked yet.
///
/// # Errors
/// If a layer is broken, is not what its digest says, or the disk is full.
pub fn unpack(engine: &Engine, store: &images::Store, image: &Image) -> Result<()> {
    let layers = engine.layers()?;
    for layer in &image.layers {
        let id = layer.diff_id.parse()?;
        if !layers.has(&id) {
            let tar = store.open_layer(layer)?;
            layers
                .add_within(&id, tar, &room(engine)?)
                .with_context(|| format!("unpack layer {}", layer.digest))?;
        }
    }
    Ok(())
}

/// Unpacks again what a container needs and the disk did not have yet when the machine went down.
///
/// # Errors
/// If its image is gone, or as [`unpack`].
pub fn restore(engine: &Engine, record: &Record) -> Result<()> {
    let id = record.image_id.as_deref().unwrap_or_default();
    let store = engine.images()?;
    let image = store.resolve(id).map_err(|error| {
        Failure::new(format!("a layer of container {} is not here: {error}", record.name))
            .hint("pull or load its image again")
    })?;
    unpack(engine, &store, &image)
}

/// The unpacked layers of a container, topmost first, as an overlay wants them. What a power cut took is unpacked again.
///
/// # Errors
/// As [`restore`].
pub(crate) fn lowers(engine: &Engine, record: &Record) -> Result<Vec<PathBuf>> {
    let store = engine.layers()?;
    let mut lowers = Vec::with_capacity(record.layers.len());
    for id in record.layers.iter().rev() {
        let id = id.parse()?;
        if !store.has(&id) {
            restore(engine, record)?;
        }
        lowers.push(store.path(&id));
    }
    Ok(layers::distinct(lowers))
}

/// What a layer may hold: what the disk has free, less a reserve for the rest of the machine (a twentieth of the disk, at
/// most 1 GiB). A small download may unpack to anything.
///
/// # Errors
/// If the file system does not tell.
pub fn room(engine: &Engine) -> Result<layers::Limits> {
    const GIB: u64 = 1 << 30;
    let disk = nix::sys::statvfs::statvfs(&engine.root)
        .with_context(|| format!("read the free space of `{}`", engine.root.display()))?;
    let block = disk.fragment_size();
    let reserve = (disk.blocks() * block / 20).min(GIB);
    let bytes = (disk.blocks_available() * block).saturating_sub(reserve);
    // Headers and padding take time, not space.
    Ok(layers::Limits { bytes, archive: bytes.saturating_add(GIB), ..layers::Limits::default() })
}

/// Has the disk take over what earlier commands of this boot have unpacked. By then it mostly has: the kernel writes what
/// is half a minute old. For commands that change images, which nobody expects to end at once.
pub fn settle(engine: &Engine) {
    let settled = engine.layers().map(|layers| layers.settle(Duration::from_secs(40)));
    // If it fails, the layers are unpacked again after a reboot, and that is all.
    settled.map(|settled| settled.ok()).ok();
}

/// Bytes that an image's layers take unpacked: what `images` shows as its size.
pub fn unpacked_size(layers: &layers::Store, image: &Image) -> u64 {
    let sizes = image.layers.iter().map(|layer| {
        layer.diff_id.parse().ok().and_then(|id| layers.size(&id).ok()).unwrap_or(layer.size)
    });
    sizes.sum()
}

/// Removes a name, and the image with its last name, and the layers that nothing needs any more.
///
/// # Errors
/// If a container uses the image, or it has several names and is named by its id.
pub fn remove(engine: &Engine, name: &str, force: bool) -> Result<Removed> {
    settle(engine);
    let containers = Containers::new(engine);
    // Asked when the store is locked: somebody may be making a container right now.
    let users = |id: &str| -> Vec<String> {
        let records = containers.list().unwrap_or_default().into_iter();
        let mine = records.filter(|record| record.image_id.as_deref() == Some(id));
        mine.map(|record| record.id[..12].to_owned()).collect()
    };
    let store = engine.images()?;
    // A damaged image can only be removed.
    let image = match resolve(engine, name) {
        Err(error) if error.is::<Failure>() => return Err(error),
        other => other.ok(),
    };
    let records = containers.list()?;
    let running = records.iter().find(|record| {
        let id = image.as_ref().map(|image| image.id.as_str());
        id.is_some() && record.image_id.as_deref() == id && containers.is_held(&record.id)
    });
    let last_name = image.as_ref().is_some_and(|image| image.references.len() <= 1);
    if let Some(record) = running.filter(|_| last_name) {
        return Err(Failure::new(format!(
            "image {name} is being used by running container {}",
            &record.id[..12]
        ))
        .hint(format!("stop and remove the container {} first", record.name))
        .into());
    }
    let removed = store.remove(name, force, &users)?;
    events::image_removed(engine, image.as_ref().map_or(name, |image| &image.id), &removed);
    sweep_layers(engine)?;
    Ok(removed)
}

/// Unpacked layers that belong to no image and no container.
///
/// # Errors
/// If a store cannot be read.
pub(crate) fn unused_layers(engine: &Engine) -> Result<Vec<layers::DiffId>> {
    let store = engine.images()?;
    if !store.damaged()?.is_empty() {
        // Nobody knows which layers they have.
        return Ok(Vec::new());
    }
    let mut needed = store.diff_ids()?;
    let (records, damaged) = Containers::new(engine).scan()?;
    if !damaged.is_empty() {
        // Nobody knows which layers they use.
        return Ok(Vec::new());
    }
    for record in records {
        needed.extend(record.layers);
    }
    needed.extend(crate::build::prune::diff_ids(engine)?);
    let ids = engine.layers()?.ids()?.into_iter();
    Ok(ids.filter(|id| !needed.contains(&id.to_string())).collect())
}

/// Removes unpacked layers that belong to no image and no container, and what was being unpacked when a command was
/// killed.
///
/// # Errors
/// If a layer cannot be removed.
pub fn sweep_layers(engine: &Engine) -> Result<u64> {
    let layers = engine.layers()?;
    let mut freed = 0;
    for id in unused_layers(engine)? {
        let size = layers.size(&id).unwrap_or_default();
        match layers.remove(&id) {
            Ok(()) => freed += size,
            // Somebody else was faster.
            Err(layers::Error::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    layers.reclaim()?;
    Ok(freed)
}

/// Opens what `load -i` and `import` name: a file, a folder, or `-` for standard input.
///
/// # Errors
/// If it cannot be opened.
pub fn open_source(path: &Path) -> Result<images::Source> {
    if path == Path::new("-") {
        return Ok(images::Source::Tar(Box::new(std::io::stdin())));
    }
    Ok(images::Source::open(path)?)
}
