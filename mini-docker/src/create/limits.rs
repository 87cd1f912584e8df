//! Limits, devices and kernel parameters of the spec.

mod cpuset;
mod update;

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder,
};

use super::options::{IsolationFlags, LimitFlags};
use crate::failure::Failure;
use crate::record::NetworkRequest;
pub(crate) use update::update;

/// Length of the scheduling period that `--cpus` uses, in microseconds; the kernel's and Docker's own.
const PERIOD_US: u64 = 100_000;
/// Least memory of a container; below it not even the start succeeds. Docker's value.
const LEAST_MEMORY: i64 = 6 << 20;

/// The resources of the spec.
pub(super) fn resources(flags: &LimitFlags, isolation: &IsolationFlags) -> Result<LinuxResources> {
    let mut resources =
        LinuxResourcesBuilder::default().devices(device_rules(isolation)?).build()?;
    resources.set_network(None);
    let (quota, period) = cpu(flags)?;
    let mut cpu = LinuxCpuBuilder::default().build()?;
    cpu.set_quota(quota);
    cpu.set_period(period);
    cpu.set_shares(flags.cpu_shares);
    cpu.set_cpus(flags.cpuset_cpus.clone());
    cpu.set_mems(flags.cpuset_mems.clone());
    resources.set_cpu(Some(cpu));
    memory(flags)?;
    let mut memory = LinuxMemoryBuilder::default().build()?;
    memory.set_limit(flags.memory);
    memory.set_reservation(flags.memory_reservation);
    memory.set_swap(flags.memory_swap);
    resources.set_memory(Some(memory));
    if let Some(limit) = flags.pids_limit {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(limit).build()?));
    }
    let mut block = LinuxBlockIoBuilder::default().build()?;
    block.set_weight(flags.blkio_weight);
    block.set_throttle_read_bps_device(throttles(&flags.device_read_bps, true)?);
    block.set_throttle_write_bps_device(throttles(&flags.device_write_bps, true)?);
    block.set_throttle_read_iops_device(throttles(&flags.device_read_iops, false)?);
    block.set_throttle_write_iops_device(throttles(&flags.device_write_iops, false)?);
    resources.set_block_io(Some(block));
    Ok(resources)
}

fn cpu(flags: &LimitFlags) -> Result<(Option<i64>, Option<u64>)> {
    cpuset::check(cpuset::Of::Cpus, flags.cpuset_cpus.as_deref())?;
    cpuset::check(cpuset::Of::Mems, flags.cpuset_mems.as_deref())?;
    // 0 is no limit, as in Docker.
    if let Some(cpus) = flags.cpus.filter(|cpus| *cpus != 0.0) {
        let available = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        if !(cpus.is_finite() && (0.01..=available).contains(&cpus)) {
            return Err(Failure::new(format!("--cpus {cpus} is not from 0.01 to {available}"))
                .hint(format!("this machine has {available} CPUs"))
                .into());
        }
        return Ok((Some((cpus * PERIOD_US as f64) as i64), Some(PERIOD_US)));
    }
    if let Some(period) = flags.cpu_period
        && !(1_000..=1_000_000).contains(&period)
    {
        return Err(Failure::new(format!("--cpu-period {period} is not from 1000 to 1000000"))
            .hint("it is in microseconds: 100000 is a tenth of a second")
            .into());
    }
    if let Some(quota) = flags.cpu_quota
        && quota > 0
        && quota < 1_000
    {
        return Err(Failure::new(format!("--cpu-quota {quota} is below 1000"))
            .hint("it is in microseconds for each period")
            .into());
    }
    Ok((flags.cpu_quota.filter(|quota| *quota != 0), flags.cpu_period))
}

fn memory(flags: &LimitFlags) -> Result<()> {
    let wrong = |message: String, hint: &str| Err(Failure::new(message).hint(hint).into());
    match (flags.memory, flags.memory_swap) {
        (Some(memory), _) if (0..LEAST_MEMORY).contains(&memory) && memory != 0 => {
            wrong(format!("--memory {memory} is below 6 MiB"), "give at least 6m")
        }
        (None, Some(swap)) if swap > 0 => {
            wrong("--memory-swap without --memory".to_owned(), "it is memory and swap together")
        }
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => wrong(
            format!("--memory-swap {swap} is below --memory {memory}"),
            "it is memory and swap together",
        ),
        (Some(memory), _) if flags.memory_reservation.is_some_and(|least| least > memory) => wrong(
            "--memory-reservation is above --memory".to_owned(),
            "the reservation is what remains when the host runs short",
        ),
        _ => Ok(()),
    }
}

fn throttles(flags: &[String], bytes: bool) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let mut all = Vec::new();
    for flag in flags {
        let wrong = |what: String| {
            Failure::new(format!("invalid rate `{flag}`: {what}"))
                .hint("/dev/DISK:RATE, as in /dev/sda:1mb")
        };
        let (path, rate) =
            flag.rsplit_once(':').ok_or_else(|| wrong("no rate after a colon".to_owned()))?;
        let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if !metadata.file_type().is_block_device() {
            return Err(wrong(format!("`{path}` is not a block device")).into());
        }
        let rate = if bytes {
            super::options::parse_size(rate).map_err(wrong)?
        } else {
            rate.parse().map_err(|_| wrong("not a number".to_owned()))?
        };
        let device = metadata.rdev();
        all.push(
            LinuxThrottleDeviceBuilder::default()
                .major(nix::sys::stat::major(device) as i64)
                .minor(nix::sys::stat::minor(device) as i64)
                .rate(rate.max(0) as u64)
                .build()?,
        );
    }
    Ok((!all.is_empty()).then_some(all))
}

/// Which devices may be opened or made: Docker's list and the user's, or all.
fn device_rules(isolation: &IsolationFlags) -> Result<Vec<LinuxDeviceCgroup>> {
    let rule = |allow: bool, kind: char, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(device_type(kind))
            .access(access)
            .build()?;
        rule.set_major(major);
        rule.set_minor(minor);
        Ok::<_, anyhow::Error>(rule)
    };
    if isolation.privileged {
        return Ok(vec![rule(true, 'a', None, None, "rwm")?]);
    }
    let mut rules = Vec::new();
    for default in cgroups::default_device_rules() {
        rules.push(rule(
            default.allow,
            default.kind,
            default.major,
            default.minor,
            &default.access,
        )?);
    }
    for flag in &isolation.device {
        let device = HostDevice::parse(flag)?;
        for node in device.nodes()? {
            let (major, minor) = (node.major(), node.minor());
            rules.push(rule(true, kind_of(&node), Some(major), Some(minor), &device.access)?);
        }
    }
    Ok(rules)
}

fn device_type(kind: char) -> LinuxDeviceType {
    match kind {
        'b' => LinuxDeviceType::B,
        'c' => LinuxDeviceType::C,
        _ => LinuxDeviceType::A,
    }
}

fn kind_of(device: &LinuxDevice) -> char {
    if device.typ() == LinuxDeviceType::B { 'b' } else { 'c' }
}

/// The device nodes of the spec: Docker's set, and those of the user.
pub(super) fn devices(isolation: &IsolationFlags) -> Result<Vec<LinuxDevice>> {
    let mut devices = Vec::new();
    for device in rootfs::default_devices() {
        devices.push(
            LinuxDeviceBuilder::default()
                .path(device.path)
                .typ(device_type(device.kind))
                .major(device.major as i64)
                .minor(device.minor as i64)
                .file_mode(device.mode)
                .uid(device.uid)
                .gid(device.gid)
                .build()?,
        );
    }
    if isolation.privileged {
        walk(Path::new("/dev"), Path::new("/dev"), &mut devices)?;
    }
    for flag in &isolation.device {
        devices.extend(HostDevice::parse(flag)?.nodes()?);
    }
    Ok(devices)
}

/// `--device HOST[:INSIDE[:rwm]]`.
struct HostDevice {
    host: PathBuf,
    inside: PathBuf,
    access: String,
}

impl HostDevice {
    fn parse(flag: &str) -> Result<Self> {
        let wrong = |what: &str| {
            Failure::new(format!("invalid device `{flag}`: {what}"))
                .hint("/dev/HOST[:/dev/INSIDE[:rwm]]; r is read, w is write, m is mknod")
        };
        let parts: Vec<&str> = flag.split(':').collect();
        let is_access = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
        let (host, inside, access) = match parts[..] {
            [host] => (host, host, "rwm"),
            [host, access] if is_access(access) => (host, host, access),
            [host, inside] => (host, inside, "rwm"),
            [host, inside, access] if is_access(access) => (host, inside, access),
            _ => return Err(wrong("too many parts, or access other than r, w, m").into()),
        };
        if !host.starts_with('/') || !inside.starts_with('/') {
            return Err(wrong("a path is not absolute").into());
        }
        Ok(Self { host: host.into(), inside: inside.into(), access: access.to_owned() })
    }

    /// The nodes: one, or all below a folder.
    fn nodes(&self) -> Result<Vec<LinuxDevice>> {
        let mut found = Vec::new();
        let metadata = std::fs::metadata(&self.host).map_err(|error| {
            Failure::new(format!("open device `{}`: {error}", self.host.display()))
                .hint("the device is one of the host")
        })?;
        if metadata.is_dir() {
            walk(&self.host, &self.inside, &mut found)?;
        } else {
            found.extend(node(&self.inside, &metadata)?);
        }
        if found.is_empty() {
            return Err(Failure::new(format!("`{}` is not a device", self.host.display())).into());
        }
        Ok(found)
    }
}

fn node(inside: &Path, metadata: &std::fs::Metadata) -> Result<Option<LinuxDevice>> {
    let kind = metadata.file_type();
    let kind = if kind.is_block_device() {
        LinuxDeviceType::B
    } else if kind.is_char_device() {
        LinuxDeviceType::C
    } else {
        return Ok(None);
    };
    let device = LinuxDeviceBuilder::default()
        .path(inside)
        .typ(kind)
        .major(nix::sys::stat::major(metadata.rdev()) as i64)
        .minor(nix::sys::stat::minor(metadata.rdev()) as i64)
        .file_mode(metadata.mode() & 0o7777)
        .uid(metadata.uid())
        .gid(metadata.gid())
        .build()?;
    Ok(Some(device))
}

/// All device nodes below a folder of the host, but those that a container has of its own.
fn walk(host: &Path, inside: &Path, found: &mut Vec<LinuxDevice>) -> Result<()> {
    const OWN: [&str; 6] = ["pts", "shm", "mqueue", "console", "ptmx", "fd"];
    let Ok(entries) = std::fs::read_dir(host) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Ok(metadata) = entry.metadata() else { continue };
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        let inside = inside.join(&name);
        if metadata.is_dir() {
            walk(&entry.path(), &inside, found)?;
        } else if !found.iter().any(|device| device.path() == &inside) {
            found.extend(node(&inside, &metadata)?);
        }
    }
    Ok(())
}

/// `--sysctl` and Docker's two of the network: any user may bind low ports and send pings, since both are the
/// container's own.
pub(super) fn sysctls(
    isolation: &IsolationFlags,
    network: &NetworkRequest,
) -> Result<HashMap<String, String>> {
    let mut all = HashMap::new();
    let own_network = matches!(network.mode.as_str(), "bridge" | "none");
    if own_network && !isolation.privileged {
        all.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        all.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
    }
    for flag in &isolation.sysctl {
        let Some((name, value)) = flag.split_once('=') else {
            return Err(Failure::new(format!("invalid kernel parameter `{flag}`"))
                .hint("--sysctl takes NAME=VALUE, as in net.core.somaxconn=1024")
                .into());
        };
        all.insert(name.to_owned(), value.to_owned());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_quota_and_period() {
        let half = LimitFlags { cpus: Some(0.5), ..LimitFlags::default() };
        assert_eq!(cpu(&half).unwrap(), (Some(50_000), Some(100_000)));
        assert_eq!(
            cpu(&LimitFlags { cpus: Some(0.0), ..LimitFlags::default() }).unwrap(),
            (None, None)
        );
        for wrong in [0.001, -1.0, 1e9, f64::NAN] {
            cpu(&LimitFlags { cpus: Some(wrong), ..LimitFlags::default() }).unwrap_err();
        }
        let textbook = LimitFlags {
            cpu_period: Some(100_000),
            cpu_quota: Some(20_000),
            ..LimitFlags::default()
        };
        assert_eq!(cpu(&textbook).unwrap(), (Some(20_000), Some(100_000)));
    }

    #[test]
    fn memory_flags_must_agree() {
        let flags = |memory, swap| LimitFlags {
            memory: Some(memory),
            memory_swap: swap,
            ..LimitFlags::default()
        };
        memory(&flags(64 << 20, None)).unwrap();
        memory(&flags(64 << 20, Some(-1))).unwrap();
        memory(&flags(1 << 20, None)).unwrap_err();
        memory(&flags(64 << 20, Some(32 << 20))).unwrap_err();
    }

    #[test]
    fn devices_have_three_parts_at_most() {
        let device = HostDevice::parse("/dev/null:/dev/nothing:r").unwrap();
        assert_eq!(device.access, "r");
        assert_eq!(device.nodes().unwrap()[0].path(), Path::new("/dev/nothing"));
        for wrong in ["null", "/dev/null:x", "/dev/null:/x:q", "/a:/b:r:w"] {
            assert!(HostDevice::parse(wrong).is_err(), "{wrong}");
        }
        assert!(HostDevice::parse("/etc/passwd").unwrap().nodes().is_err());
    }
}
