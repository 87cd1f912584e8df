//! `--volumes-from`: the mounts of another container, just as that one has them.

use anyhow::Result;

use super::mounts::Requested;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::MountRecord;

/// `--volumes-from CONTAINER[:ro|rw]`.
pub(super) fn volumes_of(engine: &Engine, text: &str) -> Result<Vec<Requested>> {
    let (name, read_only) = match text.rsplit_once(':') {
        Some((name, "ro")) => (name, true),
        Some((name, "rw")) => (name, false),
        Some(_) => {
            return Err(Failure::new(format!("invalid --volumes-from `{text}`"))
                .hint("CONTAINER, CONTAINER:ro or CONTAINER:rw")
                .into());
        }
        None => (text, false),
    };
    let record = Containers::new(engine).find(name)?;
    Ok(record.mounts.iter().filter_map(|mount| same_again(mount, read_only)).collect())
}

/// One mount of the other container. None for a tmpfs, which is never shared.
fn same_again(mount: &MountRecord, read_only: bool) -> Option<Requested> {
    let (kind, source) = match (&mount.volume, &mount.source) {
        (Some(volume), _) => (volumes::Kind::Volume, volume.clone()),
        (None, Some(folder)) => (volumes::Kind::Bind, folder.to_string_lossy().into_owned()),
        (None, None) => return None,
    };
    let mut spec = volumes::Spec::new(kind, &mount.target);
    spec.source = Some(source);
    spec.read_only = read_only || mount.read_only;
    spec.read_only_recursive = mount.recursive.as_deref() != Some("writable");
    spec.recursive = mount.recursive.as_deref() != Some("disabled");
    if let Some(name) = &mount.propagation {
        (spec.propagation, spec.propagation_recursive) = propagation(name);
    }
    spec.nocopy = mount.nocopy;
    spec.subpath.clone_from(&mount.subpath);
    Some(Requested { spec, anonymous: mount.anonymous })
}

/// A propagation by the name that a flag has for it: kind, and whether it is meant for the mounts below too.
fn propagation(name: &str) -> (Option<rootfs::Propagation>, bool) {
    let kind = match name.strip_prefix('r').unwrap_or(name) {
        "private" => Some(rootfs::Propagation::Private),
        "slave" => Some(rootfs::Propagation::Slave),
        "shared" => Some(rootfs::Propagation::Shared),
        "unbindable" => Some(rootfs::Propagation::Unbindable),
        _ => None,
    };
    (kind, name.starts_with('r'))
}
