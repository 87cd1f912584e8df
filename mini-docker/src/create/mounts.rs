//! The mounts of the spec: those every container has, and those that the user or the image asks for.

use std::path::{Path, PathBuf};

use anyhow::Result;
use oci_spec::image::Config as ImageConfig;
use oci_spec::runtime::{Mount, MountBuilder};

use super::options::{Options, StorageFlags};
use super::volumes_from::volumes_of;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::events;
use crate::failure::Failure;
use crate::record::{MountRecord, NetworkRequest};
use crate::spec::SUBPATH_OPTION;

/// Files that mini-docker writes for each container and mounts into it.
pub(crate) const NETWORK_FILES: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

/// Label of an anonymous volume: the id of the container that it was made for.
const OWNER_LABEL: &str = "mini-docker.container";

/// A mount that is asked for.
pub(super) struct Requested {
    pub(super) spec: volumes::Spec,
    /// A volume that somebody else made without a name (`--volumes-from`). One of our own has no name yet.
    pub(super) anonymous: bool,
}

impl From<volumes::Spec> for Requested {
    fn from(spec: volumes::Spec) -> Self {
        Self { spec, anonymous: false }
    }
}

/// What the flags and the image ask for, checked but not made. Later flags may not repeat a target.
pub(super) fn requested(
    engine: &Engine,
    config: &ImageConfig,
    flags: &StorageFlags,
) -> Result<Vec<Requested>> {
    let mut all: Vec<Requested> = Vec::new();
    for text in &flags.volume {
        all.push(volumes::parse_volume(text)?.into());
    }
    for text in &flags.mount {
        all.push(volumes::parse_mount(text)?.into());
    }
    for text in &flags.tmpfs {
        all.push(volumes::parse_tmpfs(text)?.into());
    }
    let taken = |all: &[Requested], target: &Path| all.iter().any(|one| one.spec.target == target);
    for (index, Requested { spec, .. }) in all.iter().enumerate() {
        if taken(&all[..index], &spec.target) {
            return Err(Failure::new(format!("duplicate mount point: {}", spec.target.display()))
                .hint("each target may be mounted once")
                .into());
        }
    }
    for text in &flags.volumes_from {
        for one in volumes_of(engine, text)? {
            if !taken(&all, &one.spec.target) {
                all.push(one);
            }
        }
    }
    for target in config.volumes().iter().flatten() {
        if !taken(&all, Path::new(target)) {
            all.push(volumes::parse_volume(target)?.into());
        }
    }
    Ok(all)
}

/// A mount that is ready: what is remembered of it, what the spec says, and what keeps its volume from being removed
/// until the record is written.
pub(super) struct Resolved {
    pub(super) record: MountRecord,
    pub(super) mount: Mount,
    pub(super) hold: Option<volumes::Hold>,
}

/// Makes what is missing (volumes, folders of `-v`) and says where everything is.
pub(super) fn resolve(
    engine: &Engine,
    id: &str,
    requested: Vec<Requested>,
) -> Result<Vec<Resolved>> {
    let mut done: Vec<Resolved> = Vec::new();
    for one in requested {
        match resolve_one(engine, id, &one) {
            Ok(one) => done.push(one),
            Err(error) => {
                let records: Vec<MountRecord> = done.into_iter().map(|one| one.record).collect();
                remove_anonymous(engine, &records, "");
                return Err(error);
            }
        }
    }
    Ok(done)
}

/// Removes the anonymous volumes among the mounts of container `id`: they go with `--rm`, `rm -v`, and a creation that
/// failed.
pub(crate) fn remove_anonymous(engine: &Engine, mounts: &[MountRecord], id: &str) {
    let anonymous: Vec<&String> = mounts
        .iter()
        .filter(|mount| mount.anonymous)
        .filter_map(|mount| mount.volume.as_ref())
        .collect();
    if anonymous.is_empty() {
        return;
    }
    let Ok(store) = engine.volumes() else { return };
    for volume in anonymous {
        // In use by another container (--volumes-from): it stays, as in Docker.
        let others = |name: &str| {
            let mut users = volume_users(engine, name);
            users.retain(|user| user != id);
            users
        };
        if store.remove(volume, &others, false).is_ok() {
            events::volume(engine, "destroy", volume);
        }
    }
}

/// Removes the anonymous volumes that were made for a container which never got a record: its creation was killed.
pub(crate) fn remove_orphans(engine: &Engine, id: &str) -> Result<()> {
    if !engine.root.join("volumes").exists() {
        return Ok(());
    }
    let store = engine.volumes()?;
    store.reclaim()?;
    for volume in store.list()? {
        if volume.labels.get(OWNER_LABEL).is_some_and(|owner| owner == id) {
            store.remove(&volume.name, &|name| volume_users(engine, name), true)?;
        }
    }
    Ok(())
}

/// The ids of the containers that use a volume.
pub fn volume_users(engine: &Engine, volume: &str) -> Vec<String> {
    let records = Containers::new(engine).list().unwrap_or_default();
    let uses = |mount: &MountRecord| mount.volume.as_deref() == Some(volume);
    records
        .into_iter()
        .filter(|record| record.mounts.iter().any(uses))
        .map(|record| record.id)
        .collect()
}

fn resolve_one(engine: &Engine, id: &str, requested: &Requested) -> Result<Resolved> {
    let spec = &requested.spec;
    let mut record = MountRecord {
        kind: spec.kind.to_string(),
        volume: None,
        source: None,
        target: spec.target.clone(),
        read_only: spec.read_only,
        anonymous: false,
        copy: false,
        nocopy: spec.nocopy,
        subpath: spec.subpath.clone(),
        propagation: spec
            .propagation
            .map(|kind| propagation_name(kind, spec.propagation_recursive)),
        recursive: match (spec.recursive, spec.read_only_recursive) {
            (false, _) => Some("disabled".to_owned()),
            (true, false) => Some("writable".to_owned()),
            (true, true) => None,
        },
    };
    let mut hold = None;
    let (kind, source, options) = match spec.kind {
        volumes::Kind::Tmpfs => ("tmpfs", PathBuf::from("tmpfs"), tmpfs_options(spec)),
        volumes::Kind::Bind => {
            // Opened to find mistakes (and make what `-v` makes) now; opened again when the container starts.
            volumes::open_source(spec)?;
            let source = std::path::absolute(spec.source.as_deref().unwrap_or_default())?;
            record.source = Some(source.clone());
            ("bind", source, bind_options(spec))
        }
        volumes::Kind::Volume => {
            let store = engine.volumes()?;
            let name = spec.source.as_deref();
            let mut labels = spec.labels.clone();
            if name.is_none() {
                labels.push((OWNER_LABEL.to_owned(), id.to_owned()));
            }
            let is_new = name.is_none_or(|name| store.get(name).is_err());
            let (volume, held) = store.acquire(name, &labels, &spec.driver_opts)?;
            if is_new {
                events::volume(engine, "create", &volume.name);
            }
            hold = Some(held);
            // Opened to find mistakes now. A volume with `o=bind` is a folder elsewhere.
            volumes::open_volume(&volume)?;
            let device = volume.options.get("device").map(PathBuf::from);
            let folder = device.unwrap_or_else(|| volume.mountpoint.clone());
            // Not `volume.anonymous`: one that was made without a name is the user's once the user names it.
            record.anonymous = name.is_none() || requested.anonymous;
            record.volume = Some(volume.name.clone());
            record.source = Some(folder.clone());
            record.copy = !spec.nocopy && spec.subpath.is_none();
            ("bind", folder, bind_options(spec))
        }
    };
    Ok(Resolved { mount: mount(&spec.target, kind, &source, options)?, record, hold })
}

fn tmpfs_options(spec: &volumes::Spec) -> Vec<String> {
    let mut options = attributes(spec);
    options.extend(spec.tmpfs_size.map(|size| format!("size={size}")));
    options.push(format!("mode={:o}", spec.tmpfs_mode.unwrap_or(0o1777)));
    options.extend(spec.tmpfs_options.iter().map(|(key, value)| format!("{key}={value}")));
    options
}

fn bind_options(spec: &volumes::Spec) -> Vec<String> {
    let mut options = attributes(spec);
    options.push(if spec.recursive { "rbind" } else { "bind" }.to_owned());
    let propagation = spec.propagation.unwrap_or(rootfs::Propagation::Private);
    options.push(propagation_name(propagation, spec.propagation_recursive));
    // Not joined to the source: what is in the volume may lead out of it, so it is resolved inside the volume.
    options.extend(
        spec.subpath.iter().map(|path| format!("{SUBPATH_OPTION}={}", path.to_string_lossy())),
    );
    options
}

/// Attributes of the mount in the spec's words; `rro` reaches the mounts below, `ro` does not.
fn attributes(spec: &volumes::Spec) -> Vec<String> {
    use rootfs::Attr;
    let access = match (spec.read_only, spec.read_only_recursive) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    let names = [
        (Attr::NOSUID, "nosuid"),
        (Attr::NODEV, "nodev"),
        (Attr::NOEXEC, "noexec"),
        (Attr::NOATIME, "noatime"),
        (Attr::NODIRATIME, "nodiratime"),
        (Attr::STRICTATIME, "strictatime"),
        (Attr::NOSYMFOLLOW, "nosymfollow"),
    ];
    let set = names.iter().filter(|(attr, _)| spec.attr.contains(*attr));
    set.map(|(_, name)| (*name).to_owned()).chain([access.to_owned()]).collect()
}

fn propagation_name(propagation: rootfs::Propagation, recursive: bool) -> String {
    let name = match propagation {
        rootfs::Propagation::Private => "private",
        rootfs::Propagation::Slave => "slave",
        rootfs::Propagation::Shared => "shared",
        rootfs::Propagation::Unbindable => "unbindable",
    };
    if recursive { format!("r{name}") } else { name.to_owned() }
}

fn mount(
    target: &Path,
    kind: &str,
    source: &Path,
    options: impl IntoIterator<Item = impl Into<String>>,
) -> Result<Mount> {
    Ok(MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(source)
        .options(options.into_iter().map(Into::into).collect::<Vec<String>>())
        .build()?)
}

/// All mounts of the spec, in the order in which they are made.
pub(super) fn mounts(
    engine: &Engine,
    id: &str,
    network: &NetworkRequest,
    requested: Vec<Mount>,
    options: &Options,
) -> Result<Vec<Mount>> {
    let privileged = options.isolation.privileged;
    let shm = options.limits.shm_size.filter(|size| *size > 0).unwrap_or(64 << 20);
    let sys_access = if privileged { "rw" } else { "ro" };
    let mut all = vec![
        mount("/proc".as_ref(), "proc", "proc".as_ref(), ["nosuid", "noexec", "nodev"])?,
        mount(
            "/dev".as_ref(),
            "tmpfs",
            "tmpfs".as_ref(),
            ["nosuid", "strictatime", "mode=755", "size=65536k"],
        )?,
        mount(
            "/dev/pts".as_ref(),
            "devpts",
            "devpts".as_ref(),
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount(
            "/sys".as_ref(),
            "sysfs",
            "sysfs".as_ref(),
            ["nosuid", "noexec", "nodev", sys_access],
        )?,
        mount(
            "/sys/fs/cgroup".as_ref(),
            "cgroup",
            "cgroup".as_ref(),
            ["nosuid", "noexec", "nodev", "relatime", sys_access],
        )?,
    ];
    if options.isolation.ipc.as_deref() == Some("host") {
        for target in ["/dev/mqueue", "/dev/shm"] {
            all.push(mount(target.as_ref(), "bind", target.as_ref(), ["rbind", "rprivate"])?);
        }
    } else {
        all.push(mount(
            "/dev/mqueue".as_ref(),
            "mqueue",
            "mqueue".as_ref(),
            ["nosuid", "noexec", "nodev"],
        )?);
        let size = format!("size={shm}");
        all.push(mount(
            "/dev/shm".as_ref(),
            "tmpfs",
            "shm".as_ref(),
            ["nosuid", "noexec", "nodev", "mode=1777", &size],
        )?);
    }
    // What the user mounts at the place of one of ours replaces it (`--tmpfs /dev/shm`).
    all.retain(|own| !requested.iter().any(|mount| mount.destination() == own.destination()));
    // A container that shares another's network sees that one's names, too.
    let owner = network.mode.strip_prefix("container:").unwrap_or(id);
    let mut later = requested;
    for name in NETWORK_FILES {
        let target = Path::new("/etc").join(name);
        let owner = if name == "hostname" { id } else { owner };
        if !later.iter().any(|mount| mount.destination() == &target) {
            let source = Containers::new(engine).run_dir(owner).join(name);
            later.push(mount(&target, "bind", &source, ["rbind", "rprivate"])?);
        }
    }
    // A mount hides what an earlier one put below its target: outer targets first.
    later.sort_by_key(|mount| mount.destination().components().count());
    all.extend(later);
    Ok(all)
}
