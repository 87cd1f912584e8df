//! What builds leave for the next one, and how it goes: `builder prune`, `system df`.

use std::collections::BTreeSet;
use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result};
use build::cache::Record;
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};

use super::{aside, cache, folder, layer};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::files::{remove_file, remove_tree};
use crate::image;

/// Nobody prunes as long as it lives.
#[derive(Debug)]
pub(super) struct InUse(#[expect(dead_code, reason = "the lock is its life")] Flock<File>);

/// Says that a build goes on.
///
/// # Errors
/// If the folder cannot be locked.
pub(super) fn in_use(engine: &Engine) -> Result<InUse> {
    let path = folder(engine)?;
    let folder = File::open(&path).with_context(|| format!("open `{}`", path.display()))?;
    let lock = Flock::lock(folder, FlockArg::LockShared).map_err(|(_, errno)| errno);
    Ok(InUse(lock.context("lock the build cache")?))
}

/// A line of the cache.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it is the result of.
    pub instruction: String,
    /// Its key.
    pub key: String,
    /// Bytes that it takes, unpacked and as tar.
    pub size: u64,
    /// When it was made.
    pub made: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
}

/// What there is, the one that was not used for longest first.
///
/// # Errors
/// If the cache cannot be read.
pub fn entries(engine: &Engine) -> Result<Vec<Entry>> {
    if !engine.root.join("build").exists() {
        return Ok(Vec::new());
    }
    Ok(cache(engine)?.list()?.iter().map(entry).collect())
}

fn entry(record: &Record) -> Entry {
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or_default();
    Entry {
        instruction: record.ingredients.instruction.replace('\u{1f}', " "),
        key: record.ingredients.key(),
        size: record.layer.as_ref().map_or(0, |layer| layer.size + layer.bytes),
        made: time(record.made),
        used: time(record.used),
    }
}

/// The layers that the cache needs.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn diff_ids(engine: &Engine) -> Result<Vec<String>> {
    if !engine.root.join("build").exists() {
        return Ok(Vec::new());
    }
    let records = cache(engine)?.list()?.into_iter();
    Ok(records.filter_map(|record| record.layer).map(|layer| layer.diff_id).collect())
}

/// What was pruned.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The steps that are forgotten.
    pub entries: Vec<Entry>,
    /// Bytes that are free now.
    pub freed: u64,
}

/// Forgets what was not used for so long, and with `all` also what images are made of and the folders of cache mounts.
/// Images keep their layers.
///
/// # Errors
/// If a build goes on, or something cannot be removed.
pub fn prune(engine: &Engine, all: bool, unused_for: Duration) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    if !engine.root.join("build").exists() {
        return Ok(pruned);
    }
    let path = folder(engine)?;
    let open = File::open(&path).with_context(|| format!("open `{}`", path.display()))?;
    let Ok(_alone) = Flock::lock(open, FlockArg::LockExclusiveNonblock) else {
        return Err(Failure::new("a build is going on, and uses the cache")
            .hint("prune when it has ended")
            .into());
    };
    aside::reclaim(engine)?;
    let before = free_space(engine)?;
    let cache = cache(engine)?;
    let of_images = engine.images()?.diff_ids()?;
    let now = Timestamp::now().as_second();
    let mut kept = BTreeSet::new();
    for record in cache.list()? {
        let idle = u64::try_from(now - record.used).unwrap_or_default();
        let needed = record.layer.as_ref().is_some_and(|layer| of_images.contains(&layer.diff_id));
        if (needed && !all) || Duration::from_secs(idle) < unused_for {
            kept.extend(record.layer.map(|layer| layer.diff_id));
            continue;
        }
        cache.remove(&record)?;
        pruned.entries.push(entry(&record));
    }
    sweep_blobs(engine, &kept)?;
    if all {
        remove_tree(&path.join("mounts"))?;
        remove_file(&path.join("hashes"))?;
    }
    image::sweep_layers(engine)?;
    pruned.freed = free_space(engine)?.saturating_sub(before);
    Ok(pruned)
}

fn sweep_blobs(engine: &Engine, kept: &BTreeSet<String>) -> Result<()> {
    let blobs = folder(engine)?.join("blobs");
    let kept: BTreeSet<_> =
        kept.iter().map(|diff_id| layer::blob(engine, diff_id)).collect::<Result<_>>()?;
    let Ok(entries) = std::fs::read_dir(&blobs) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("read `{}`", blobs.display()))?.path();
        if !kept.contains(&path) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn free_space(engine: &Engine) -> Result<u64> {
    let disk = nix::sys::statvfs::statvfs(&engine.root)
        .with_context(|| format!("read the free space of `{}`", engine.root.display()))?;
    Ok(disk.blocks_free() * disk.fragment_size())
}
