//! What a step has written becomes a layer: a tar in the image store, a tree in the layer store, a line in the cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use build::cache::{self, Cache, Ingredients};
use images::commit::NewLayer;
use layers::{Added, DiffError};
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use syscalls::inroot;

use crate::commit::own;
use crate::engine::Engine;
use crate::files::make_dir;

/// What is needed to make layers.
pub(super) struct Press<'e> {
    pub(super) engine: &'e Engine,
    pub(super) cache: &'e Cache,
    /// `SOURCE_DATE_EPOCH`: no file is later.
    pub(super) epoch: Option<i64>,
}

impl Press<'_> {
    /// Makes a layer of `upper`, the upper folder of an overlay that is not mounted any more, and remembers that it is
    /// what came of `ingredients`. With `skip`, an upper folder in which nothing is makes no layer.
    ///
    /// # Errors
    /// If a file cannot be said in a layer, or the disk is full. Nothing of it stays.
    pub(super) fn press(
        &self,
        upper: &Path,
        ingredients: Ingredients,
        files: BTreeMap<String, String>,
        skip: bool,
    ) -> Result<cache::Record> {
        let folder = File::open(upper).with_context(|| format!("open `{}`", upper.display()))?;
        if let Some(epoch) = self.epoch {
            build::times::clamp_tree(folder.as_fd(), epoch)?;
        }
        let root = folder.metadata()?;
        let as_made = (root.mode() & 0o7777, root.uid(), root.gid()) == (0o755, 0, 0);
        let is_empty = as_made && fs::read_dir(upper)?.next().is_none();
        let now = jiff::Timestamp::now().as_second();
        if skip && is_empty {
            let record = cache::Record { ingredients, layer: None, made: now, used: now, files };
            self.cache.put(&record)?;
            return Ok(record);
        }
        // The root of a tree is not what a step is about, unless it has changed it.
        let keep = |path: &[u8]| !path.is_empty() || !as_made;
        let store = self.engine.images()?;
        let (layer, stats) = store.new_layer(|out| {
            layers::diff_of(folder.as_fd(), &keep, out).map_err(|error| match error {
                DiffError::Write(io) => own(io),
                other => anyhow::Error::from(other),
            })
        })?;
        let diff_id = layer.diff_id();
        let known = cache::Layer {
            diff_id: diff_id.clone(),
            size: layer.size(),
            bytes: stats.bytes,
            count: stats.files,
        };
        layer.keep_at(&blob(self.engine, &diff_id)?)?;
        // First the record, then the layer: what no record names is swept away.
        let record = cache::Record { ingredients, layer: Some(known), made: now, used: now, files };
        self.cache.put(&record)?;
        let added = Added { size: stats.bytes, files: stats.files };
        let (layers, id) = (self.engine.layers()?, diff_id.parse()?);
        if stats.skipped_sockets > 0 {
            // The tree is not what the tar says.
            layers.add(&id, File::open(blob(self.engine, &diff_id)?)?)?;
        } else {
            layers.adopt(&id, upper, added)?;
        }
        Ok(record)
    }
}

/// Where the tar of a layer is kept for the cache: `<root>/build/blobs/<hex>`.
///
/// # Errors
/// If the folder cannot be made.
pub(super) fn blob(engine: &Engine, diff_id: &str) -> Result<PathBuf> {
    let blobs = super::folder(engine)?.join("blobs");
    make_dir(&blobs)?;
    Ok(blobs.join(diff_id.trim_start_matches("sha256:")))
}

/// Whether a layer of the cache can be used. One whose tree a power cut has taken is unpacked again.
pub(super) fn is_here(engine: &Engine, layer: &cache::Layer) -> Result<bool> {
    let path = blob(engine, &layer.diff_id)?;
    if path.metadata().map_or(true, |metadata| metadata.len() != layer.size) {
        return Ok(false);
    }
    let (store, id) = (engine.layers()?, layer.diff_id.parse()?);
    if !store.has(&id) {
        let tar = File::open(&path).with_context(|| format!("open `{}`", path.display()))?;
        return Ok(store.add(&id, tar).is_ok());
    }
    Ok(true)
}

/// The layer for an image.
///
/// # Errors
/// If it has gone.
pub(super) fn for_image(
    engine: &Engine,
    store: &images::Store,
    layer: &cache::Layer,
) -> Result<NewLayer> {
    let path = blob(engine, &layer.diff_id)?;
    Ok(store.known_layer(&path, &layer.diff_id, layer.size)?)
}

/// Takes out of `upper` what is there only because the runtime has mounted something on it, and the folders that were
/// made or copied up for it and have nothing else in them. No link is followed.
///
/// # Errors
/// If something cannot be removed.
pub(super) fn tidy(upper: &Path, mount_points: &[PathBuf], lowers: &[PathBuf]) -> Result<()> {
    let root = crate::engine::open_dir(upper)?;
    let mut points: Vec<&PathBuf> = mount_points.iter().collect();
    // What is deeper first: a mount point may lie in another one.
    points.sort();
    for point in points.into_iter().rev() {
        remove_empty(&root, point, lowers, true)?;
        for parent in point.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
            remove_empty(&root, parent, lowers, false)?;
        }
    }
    Ok(())
}

/// Removes an empty file or folder. One that was copied up with other attributes stays.
fn remove_empty(root: &OwnedFd, path: &Path, lowers: &[PathBuf], is_point: bool) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let Ok(folder) = inroot::open(root.as_fd(), parent, flags, Mode::empty()) else {
        return Ok(());
    };
    let Ok(stat) = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(()) };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let before = lowers.iter().find_map(|lower| lower.join(path).symlink_metadata().ok());
    let was_there = before.as_ref().is_some_and(|old| !old.file_type().is_char_device());
    let same = before.as_ref().is_some_and(|old| {
        (old.mode(), old.uid(), old.gid()) == (stat.st_mode, stat.st_uid, stat.st_gid)
    });
    // What was there before was not made by the runtime: a file that is empty now was emptied.
    let flag = match kind {
        SFlag::S_IFDIR if !was_there || same => UnlinkatFlags::RemoveDir,
        SFlag::S_IFREG if is_point && !was_there && stat.st_size == 0 => UnlinkatFlags::NoRemoveDir,
        _ => return Ok(()),
    };
    if was_there && is_opaque(&folder, name) {
        return Ok(());
    }
    // Not empty: something of the step's own is in it.
    unlinkat(&folder, name, flag).ok();
    Ok(())
}

/// The folder hides what is below it, though it is empty itself.
fn is_opaque(parent: &OwnedFd, name: &std::ffi::OsStr) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(folder) = nix::fcntl::openat(parent, name, flags, Mode::empty()) else { return false };
    use xattr::FileExt;
    let folder = File::from(folder);
    let opaque = |key: &str| folder.get_xattr(key).ok().flatten();
    ["trusted.overlay.opaque", "user.overlay.opaque"].into_iter().any(|key| opaque(key).is_some())
}
