//! From the OCI runtime spec to what each chapter takes. Nothing here knows flags or images.

mod sysctl;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::runtime::{
    Capabilities, LinuxDeviceType, LinuxIdMapping, LinuxNamespaceType, LinuxResources,
    LinuxThrottleDevice, Mount, Spec,
};
use rootfs::{Attr, Propagation};

use crate::failure::Failure;
pub(crate) use sysctl::{is_own, own_sysctls};

/// The namespaces to create and to join (chapter 01).
///
/// # Errors
/// If a namespace to join cannot be opened.
pub fn namespaces(spec: &Spec) -> Result<namespaces::Plan> {
    let mut plan = namespaces::Plan {
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        ..Default::default()
    };
    let linux = spec.linux().as_ref().context("the spec has no `linux` part")?;
    for namespace in linux.namespaces().iter().flatten() {
        let kind = match namespace.typ() {
            LinuxNamespaceType::Mount => namespaces::Kind::Mount,
            LinuxNamespaceType::Uts => namespaces::Kind::Uts,
            LinuxNamespaceType::Ipc => namespaces::Kind::Ipc,
            LinuxNamespaceType::Pid => namespaces::Kind::Pid,
            LinuxNamespaceType::Network => namespaces::Kind::Net,
            LinuxNamespaceType::User => namespaces::Kind::User,
            LinuxNamespaceType::Cgroup => namespaces::Kind::Cgroup,
            LinuxNamespaceType::Time => namespaces::Kind::Time,
        };
        match namespace.path() {
            None => plan.create.push(kind),
            Some(path) => {
                let file = File::open(path)
                    .with_context(|| format!("open namespace `{}`", path.display()))?;
                plan.join.push((kind, OwnedFd::from(file)));
            }
        }
    }
    let map = |mappings: &Option<Vec<LinuxIdMapping>>| {
        let mappings = mappings.iter().flatten();
        mappings
            .map(|map| namespaces::IdMap {
                inside: map.container_id(),
                outside: map.host_id(),
                count: map.size(),
            })
            .collect()
    };
    plan.uid_map = map(linux.uid_mappings());
    plan.gid_map = map(linux.gid_mappings());
    Ok(plan)
}

/// Limits (chapter 02).
pub fn limits(resources: &LinuxResources) -> cgroups::Limits {
    let mut limits = cgroups::Limits::default();
    if let Some(cpu) = resources.cpu() {
        limits.cpu_quota_us = cpu.quota();
        limits.cpu_period_us = cpu.period();
        limits.cpu_shares = cpu.shares();
        limits.cpuset_cpus = cpu.cpus().clone();
        limits.cpuset_mems = cpu.mems().clone();
    }
    if let Some(memory) = resources.memory() {
        limits.memory = memory.limit();
        limits.memory_reservation = memory.reservation();
        limits.memory_swap = memory.swap();
    }
    limits.pids = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
    if let Some(block) = resources.block_io() {
        let throttles = |devices: &Option<Vec<LinuxThrottleDevice>>| {
            devices
                .iter()
                .flatten()
                .map(|device| cgroups::Throttle {
                    major: device.major() as u64,
                    minor: device.minor() as u64,
                    rate: device.rate(),
                })
                .collect()
        };
        limits.blkio_weight = block.weight();
        limits.read_bps = throttles(block.throttle_read_bps_device());
        limits.write_bps = throttles(block.throttle_write_bps_device());
        limits.read_iops = throttles(block.throttle_read_iops_device());
        limits.write_iops = throttles(block.throttle_write_iops_device());
    }
    for rule in resources.devices().iter().flatten() {
        limits.devices.push(cgroups::DeviceRule {
            allow: rule.allow(),
            kind: device_kind(rule.typ().unwrap_or(LinuxDeviceType::A)),
            major: rule.major(),
            minor: rule.minor(),
            access: rule.access().clone().unwrap_or_else(|| "rwm".to_owned()),
        });
    }
    limits
}

fn device_kind(kind: LinuxDeviceType) -> char {
    match kind {
        LinuxDeviceType::A => 'a',
        LinuxDeviceType::B => 'b',
        LinuxDeviceType::C | LinuxDeviceType::U => 'c',
        LinuxDeviceType::P => 'p',
    }
}

/// The container's files (chapter 03), with bind mounts already opened as detached mounts (chapter 06).
///
/// Where the cgroup mounts belong in the order is told by their index: they can only be made in the child, once it is
/// in its cgroup.
#[derive(Debug)]
pub struct Files {
    /// For [`rootfs`].
    pub plan: rootfs::Plan,
    /// Where `/sys/fs/cgroup` goes in `plan.mounts`, and whether it is read-only.
    pub cgroup: Option<(usize, Attr)>,
}

/// Reads root, mounts, devices and paths of the spec.
///
/// # Errors
/// If the source of a bind mount cannot be opened, or an option is unknown.
pub fn files(spec: &Spec, terminal: Option<syscalls::tty::Size>) -> Result<Files> {
    let linux = spec.linux().as_ref().context("the spec has no `linux` part")?;
    let process = spec.process().as_ref().context("the spec has no `process` part")?;
    let mut mounts = Vec::new();
    let mut cgroup = None;
    for mount in spec.mounts().iter().flatten() {
        if matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2")) {
            cgroup = Some((mounts.len(), options(mount)?.attr));
        } else {
            mounts.push(one_mount(mount)?);
        }
    }
    let devices = linux.devices().iter().flatten().map(|device| rootfs::Device {
        path: device.path().clone(),
        kind: device_kind(device.typ()),
        major: device.major() as u64,
        minor: device.minor() as u64,
        mode: device.file_mode().unwrap_or(0o666),
        uid: device.uid().unwrap_or_default(),
        gid: device.gid().unwrap_or_default(),
    });
    let paths = |paths: &Option<Vec<String>>| paths.iter().flatten().map(PathBuf::from).collect();
    let sysctls = linux.sysctl().iter().flatten();
    let mut sysctls: Vec<(String, String)> =
        sysctls.map(|(name, value)| (name.clone(), value.clone())).collect();
    sysctls.sort();
    own_sysctls(linux, |kind| is_own(linux, kind))?;
    let own_users = linux
        .namespaces()
        .iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User);
    let plan = rootfs::Plan {
        mounts,
        devices: devices.collect(),
        masked: paths(linux.masked_paths()),
        readonly: paths(linux.readonly_paths()),
        read_only_root: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or_default(),
        terminal,
        root_propagation: None,
        workdir: process.cwd().clone(),
        sysctls,
        private_devices: !own_users,
    };
    Ok(Files { plan, cgroup })
}

/// Option of a bind mount, besides those of the OCI spec: a folder below the source to mount instead of it. Links in
/// it are followed inside the source and never lead out.
pub(crate) const SUBPATH_OPTION: &str = "subpath";

/// The options of a mount, told apart: attributes of the mount, and data for the filesystem.
struct MountOptions {
    attr: Attr,
    read_only_recursive: bool,
    recursive: bool,
    propagation: Option<Propagation>,
    propagation_recursive: bool,
    copy_up: bool,
    data: Vec<(String, Option<String>)>,
}

fn options(mount: &Mount) -> Result<MountOptions> {
    let mut all = MountOptions {
        attr: Attr::empty(),
        read_only_recursive: false,
        recursive: false,
        propagation: None,
        propagation_recursive: true,
        copy_up: false,
        data: Vec::new(),
    };
    for option in mount.options().iter().flatten() {
        match option.as_str() {
            "ro" => all.attr |= Attr::RDONLY,
            "rro" => {
                all.attr |= Attr::RDONLY;
                all.read_only_recursive = true;
            }
            "nosuid" => all.attr |= Attr::NOSUID,
            "nodev" => all.attr |= Attr::NODEV,
            "noexec" => all.attr |= Attr::NOEXEC,
            "noatime" => all.attr |= Attr::NOATIME,
            "nodiratime" => all.attr |= Attr::NODIRATIME,
            "strictatime" => all.attr |= Attr::STRICTATIME,
            "nosymfollow" => all.attr |= Attr::NOSYMFOLLOW,
            "rw" => all.attr.remove(Attr::RDONLY),
            "suid" => all.attr.remove(Attr::NOSUID),
            "dev" => all.attr.remove(Attr::NODEV),
            "exec" => all.attr.remove(Attr::NOEXEC),
            "relatime" | "defaults" | "bind" => {}
            "rbind" => all.recursive = true,
            "tmpcopyup" => all.copy_up = true,
            "private" | "slave" | "shared" | "unbindable" | "rprivate" | "rslave" | "rshared"
            | "runbindable" => {
                all.propagation_recursive = option.starts_with('r');
                all.propagation = Some(match option.trim_start_matches('r') {
                    "private" => Propagation::Private,
                    "slave" => Propagation::Slave,
                    "shared" => Propagation::Shared,
                    _ => Propagation::Unbindable,
                });
            }
            data => {
                let (key, value) = match data.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (data, None),
                };
                all.data.push((key.to_owned(), value));
            }
        }
    }
    Ok(all)
}

pub(crate) fn one_mount(mount: &Mount) -> Result<rootfs::Mount> {
    let options = options(mount)?;
    let target = mount.destination().clone();
    let kind = mount.typ().clone().unwrap_or_else(|| "bind".to_owned());
    let is_bind = kind == "bind"
        || mount.options().iter().flatten().any(|option| option == "bind" || option == "rbind");
    if !is_bind {
        // devpts is always an instance of its own since Linux 4.7; the option has no meaning for fsconfig.
        let data = options.data.into_iter().filter(|(key, _)| key != "newinstance").collect();
        return Ok(rootfs::Mount {
            target,
            source: rootfs::Source::Filesystem { kind, options: data },
            attr: options.attr,
            read_only_recursive: false,
            propagation: options.propagation,
            copy_up: options.copy_up,
            is_file: false,
        });
    }
    let source = mount.source().clone().unwrap_or_default();
    let place = open_source(&source)?;
    let mut wanted = volumes::Spec::new(volumes::Kind::Bind, &target);
    wanted.read_only = options.attr.contains(Attr::RDONLY);
    wanted.read_only_recursive = options.read_only_recursive;
    wanted.attr = options.attr - Attr::RDONLY;
    wanted.recursive = options.recursive;
    wanted.propagation = options.propagation;
    wanted.propagation_recursive = options.propagation_recursive;
    let subpath = options.data.into_iter().find(|(key, _)| key == SUBPATH_OPTION);
    wanted.subpath = subpath.and_then(|(_, path)| path).map(PathBuf::from);
    let detached = volumes::detached(place.as_fd(), &wanted)?;
    let is_file = !File::from(detached.try_clone()?).metadata()?.is_dir();
    Ok(rootfs::Mount {
        target,
        source: rootfs::Source::Detached(detached),
        attr: Attr::empty(),
        read_only_recursive: false,
        propagation: None,
        copy_up: false,
        is_file,
    })
}

fn open_source(source: &Path) -> Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().read(true).custom_flags(nix::libc::O_PATH).open(source).map_err(
        |error| {
            Failure::new(format!("open mount source `{}`: {error}", source.display()))
                .hint("the source of a bind mount is a path on this host")
        },
    )?;
    Ok(file.into())
}

/// What the process may do (chapter 07).
///
/// # Errors
/// If the spec names a capability that is not known.
pub fn confinement(spec: &Spec) -> Result<security::Confinement> {
    let process = spec.process().as_ref().context("the spec has no `process` part")?;
    let caps = process.capabilities().clone().unwrap_or_default();
    let set = |capabilities: &Option<Capabilities>| -> Result<BTreeSet<security::Capability>> {
        capabilities
            .iter()
            .flatten()
            .map(|capability| {
                format!("CAP_{capability}")
                    .parse()
                    .map_err(|_| anyhow::anyhow!("unknown capability `{capability}`"))
            })
            .collect()
    };
    let user = process.user();
    Ok(security::Confinement {
        caps: security::CapSets {
            bounding: set(caps.bounding())?,
            effective: set(caps.effective())?,
            permitted: set(caps.permitted())?,
            inheritable: set(caps.inheritable())?,
            ambient: set(caps.ambient())?,
        },
        user: security::User {
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
        },
        no_new_privileges: process.no_new_privileges().unwrap_or_default(),
        rlimits: process
            .rlimits()
            .iter()
            .flatten()
            .map(|limit| {
                let name = serde_json::to_value(limit.typ())?;
                Ok(security::Rlimit {
                    name: name.as_str().unwrap_or_default().to_owned(),
                    soft: limit.soft(),
                    hard: limit.hard(),
                })
            })
            .collect::<Result<_>>()?,
        oom_score_adj: process.oom_score_adj(),
    })
}
