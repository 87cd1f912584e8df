//! What is stored takes so much of the disk: `system df`.
//!
//! Sizes are those of du(1): blocks, folders included, and what has several names once. An image is its unpacked layers
//! and the blobs that it came as; a part that two images share is counted for each of them in `df -v`, and once in the sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Result;
use images::Image;
use volumes::Volume;

use crate::build::prune;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::Record;

/// What is stored, and what of it takes which part of the disk.
#[derive(Debug)]
pub struct Usage {
    /// Images, in the order of the store.
    pub images: Vec<ImageUsage>,
    /// All layers and blobs, each once; also those that no image has any more.
    pub images_total: u64,
    /// Those of them that no container needs.
    pub images_reclaimable: u64,
    /// Containers, newest first: what each has written, its log and its records.
    pub containers: Vec<(Record, u64)>,
    /// Volumes by name: how many containers have each, its data and its record.
    pub volumes: Vec<(Volume, usize, u64)>,
    /// Steps that builds remember, the one that was not used for longest first.
    pub build: Vec<prune::Entry>,
    /// What builds keep for the next one and no image has: layers, their archives, folders of cache mounts.
    pub build_total: u64,
}

/// What an image takes.
#[derive(Debug)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// All its parts.
    pub size: u64,
    /// Those that other images have too.
    pub shared: u64,
    /// Number of containers that were made from it.
    pub containers: usize,
}

/// A blob or an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Blob(String),
    Layer(String),
}

/// Measures everything.
///
/// # Errors
/// If a store cannot be read.
pub fn measure(engine: &Engine) -> Result<Usage> {
    let mut seen = BTreeSet::new();
    let records = Containers::new(engine).list()?;
    let parts = parts(engine, &mut seen);
    let images = engine.images()?.list()?;
    let mut owners: BTreeMap<Part, usize> = BTreeMap::new();
    for part in images.iter().flat_map(parts_of) {
        *owners.entry(part).or_default() += 1;
    }
    // A container keeps its layers even if its image was removed by force.
    let layers = records.iter().flat_map(|record| &record.layers);
    let mut needed: BTreeSet<Part> = layers.map(|id| Part::Layer(hex(id).to_owned())).collect();
    let mut measured = Vec::new();
    for image in images {
        let is_its = |record: &&Record| record.image_id.as_deref() == Some(&image.id);
        let containers = records.iter().filter(is_its).count();
        let own = parts_of(&image);
        let sum = |wanted: &dyn Fn(&Part) -> bool| -> u64 {
            own.iter().filter(|part| wanted(part)).filter_map(|part| parts.get(part)).sum()
        };
        let (size, shared) = (sum(&|_| true), sum(&|part| owners[part] > 1));
        if containers > 0 {
            needed.extend(own);
        }
        measured.push(ImageUsage { image, size, shared, containers });
    }
    let of_builds: BTreeSet<Part> = prune::diff_ids(engine)?
        .iter()
        .map(|id| Part::Layer(hex(id).to_owned()))
        .filter(|part| !owners.contains_key(part) && !needed.contains(part))
        .collect();
    let cached: u64 = of_builds.iter().filter_map(|part| parts.get(part)).sum();
    let total = parts.values().sum::<u64>() - cached;
    let kept: u64 = needed.iter().filter_map(|part| parts.get(part)).sum();
    let containers = records.iter().map(|record| {
        let folder = engine.root.join("containers").join(&record.id);
        (record.clone(), disk_usage(&folder, &mut seen))
    });
    let containers = containers.collect();
    let volumes = engine.volumes()?.list()?.into_iter().map(|volume| {
        let has = |record: &&Record| {
            record.mounts.iter().any(|mount| mount.volume.as_deref() == Some(&volume.name))
        };
        let links = records.iter().filter(has).count();
        let size = disk_usage(&engine.root.join("volumes").join(&volume.name), &mut seen);
        (volume, links, size)
    });
    let volumes = volumes.collect();
    let build_total = cached + disk_usage(&engine.root.join("build"), &mut seen);
    Ok(Usage {
        images: measured,
        images_total: total,
        images_reclaimable: total.saturating_sub(kept),
        containers,
        volumes,
        build: prune::entries(engine)?,
        build_total,
    })
}

/// Each blob and each layer that is there, and its size.
fn parts(engine: &Engine, seen: &mut BTreeSet<(u64, u64)>) -> BTreeMap<Part, u64> {
    let mut parts = BTreeMap::new();
    type Named = fn(String) -> Part;
    let folders = [("images/blobs/sha256", Part::Blob as Named), ("layers", Part::Layer)];
    for (folder, part) in folders {
        for entry in fs::read_dir(engine.root.join(folder)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Not what is being unpacked.
            if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                parts.insert(part(name), disk_usage(&entry.path(), seen));
            }
        }
    }
    parts
}

/// What an image is made of. A layer that it has twice is one part.
fn parts_of(image: &Image) -> BTreeSet<Part> {
    let blobs = [&image.manifest_digest, &image.id].into_iter();
    let blobs = blobs.chain(image.layers.iter().map(|layer| &layer.digest));
    let layers = image.layers.iter().map(|layer| Part::Layer(hex(&layer.diff_id).to_owned()));
    blobs.map(|digest| Part::Blob(hex(digest).to_owned())).chain(layers).collect()
}

fn hex(digest: &str) -> &str {
    digest.strip_prefix("sha256:").unwrap_or(digest)
}

/// Bytes on the disk, as du(1) counts: blocks, and a file with several names once. A container may change what is
/// measured: a link in the place of a folder is not followed, and a path may be of any length.
pub(crate) fn disk_usage(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let Ok(metadata) = path.symlink_metadata() else { return 0 };
    if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert((metadata.dev(), metadata.ino()))
    {
        return 0;
    }
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
    let Ok(folder) = File::options().read(true).custom_flags(flags).open(path) else { return own };
    let here = format!("/proc/self/fd/{}", folder.as_raw_fd());
    let entries = fs::read_dir(here).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_usage(&entry.path(), seen)).sum::<u64>()
}
