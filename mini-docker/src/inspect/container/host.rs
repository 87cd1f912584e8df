//! `HostConfig`: what the container may use of the host, as the flags said or as the spec has it.

use oci_spec::runtime::{
    Linux, LinuxNamespaceType, LinuxPids, LinuxResources, LinuxThrottleDevice, Spec,
};
use serde_json::{Map, Value, json};

use super::network::port_bindings;
use crate::record::{LogOptions, Record, RestartPolicy};

/// `HostConfig` of a container.
pub(super) fn host_config(record: &Record, spec: &Spec) -> Value {
    let linux = spec.linux().as_ref();
    let mut object = json!({
        "Binds": some(&record.asked.binds),
        "ContainerIDFile": record.asked.cidfile,
        "LogConfig": log_config(&record.log),
        "NetworkMode": record.network.mode,
        "PortBindings": port_bindings(&record.network),
        "RestartPolicy": restart_policy(record.restart),
        "AutoRemove": record.auto_remove,
        "VolumesFrom": some(&record.asked.volumes_from),
        "Init": record.init,
        "ReadonlyRootfs": spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or_default(),
        "Runtime": "mini-docker",
    });
    let Some(map) = object.as_object_mut() else { return object };
    map.extend(isolation(record, spec));
    map.extend(network(record));
    map.extend(limits(record, spec));
    map.extend(never_asked());
    map.insert(
        "MaskedPaths".to_owned(),
        json!(linux.and_then(|linux| linux.masked_paths().clone())),
    );
    map.insert(
        "ReadonlyPaths".to_owned(),
        json!(linux.and_then(|linux| linux.readonly_paths().clone())),
    );
    object
}

/// A list that Docker writes as `null` when it is empty.
fn some(list: &[String]) -> Option<&[String]> {
    (!list.is_empty()).then_some(list)
}

fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn log_config(log: &LogOptions) -> Value {
    let mut options = Map::new();
    let usual = LogOptions::default();
    if !log.enabled {
        return json!({ "Type": "none", "Config": options });
    }
    // The defaults are named too: unlike Docker's, they have limits.
    let size = log.max_size.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
    let size = if log.max_size == usual.max_size { "10m".to_owned() } else { size };
    options.insert("max-file".to_owned(), log.max_file.to_string().into());
    options.insert("max-size".to_owned(), size.into());
    json!({ "Type": "json-file", "Config": options })
}

fn restart_policy(policy: RestartPolicy) -> Value {
    let (name, most) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::OnFailure { most } => ("on-failure", most.unwrap_or_default()),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
    };
    json!({ "Name": name, "MaximumRetryCount": most })
}

/// What it shares and what it may do.
fn isolation(record: &Record, spec: &Spec) -> Map<String, Value> {
    let asked = &record.asked;
    let linux = spec.linux().as_ref();
    let own = |kind| {
        let namespaces = linux.and_then(|linux| linux.namespaces().as_ref());
        namespaces.is_some_and(|all| all.iter().any(|namespace| namespace.typ() == kind))
    };
    let ipc = match asked.ipc.as_str() {
        "" if own(LinuxNamespaceType::Ipc) => "private",
        "" => "host",
        given => given,
    };
    let devices: Vec<Value> = asked.devices.iter().map(|flag| device(flag)).collect();
    let pair = |text: &String, sign: char| {
        let (key, value) = text.split_once(sign).unwrap_or((text, ""));
        (key.to_owned(), Value::from(value))
    };
    let sysctls: Map<String, Value> = asked.sysctls.iter().map(|text| pair(text, '=')).collect();
    let tmpfs: Map<String, Value> = asked.tmpfs.iter().map(|text| pair(text, ':')).collect();
    let mut object = fields(json!({
        "CapAdd": some(&asked.cap_add),
        "CapDrop": some(&asked.cap_drop),
        "CgroupnsMode": if own(LinuxNamespaceType::Cgroup) { "private" } else { "host" },
        "Devices": devices,
        "GroupAdd": some(&record.group_add),
        "IpcMode": ipc,
        "PidMode": if record.pid_mode == "private" { "" } else { &record.pid_mode },
        "Privileged": asked.privileged,
        "SecurityOpt": some(&asked.security_opt),
        "UTSMode": if own(LinuxNamespaceType::Uts) { "" } else { "host" },
        "UsernsMode": "",
    }));
    for (key, map) in [("Sysctls", sysctls), ("Tmpfs", tmpfs)] {
        if !map.is_empty() {
            object.insert(key.to_owned(), map.into());
        }
    }
    object
}

/// `HOST[:INSIDE[:rwm]]`, or `HOST:rwm`.
fn device(flag: &str) -> Value {
    let parts: Vec<&str> = flag.split(':').collect();
    let (host, inside, access) = match parts[..] {
        [host, access] if !access.starts_with('/') => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] => (host, inside, access),
        _ => (flag, flag, "rwm"),
    };
    json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access })
}

fn network(record: &Record) -> Map<String, Value> {
    let network = &record.network;
    let hosts: Vec<String> =
        network.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    fields(json!({
        "Dns": network.dns,
        "DnsOptions": network.dns_options,
        "DnsSearch": network.dns_search,
        "ExtraHosts": some(&hosts),
        "PublishAllPorts": record.asked.publish_all,
    }))
}

/// How much it may use.
fn limits(record: &Record, spec: &Spec) -> Map<String, Value> {
    let process = spec.process().as_ref();
    let resources = spec.linux().as_ref().and_then(|linux: &Linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    let cpu = resources.and_then(|resources| resources.cpu().as_ref());
    let pids = resources.and_then(|resources| resources.pids().as_ref());
    // `--cpus` is told as such, and not also as the quota that it becomes.
    let by_quota = record.asked.nano_cpus == 0;
    let rlimits = process.and_then(|process| process.rlimits().clone()).unwrap_or_default();
    let ulimits: Vec<Value> = rlimits
        .iter()
        .map(|limit| {
            let name = limit.typ().to_string().trim_start_matches("RLIMIT_").to_lowercase();
            // No limit is -1, as in Docker.
            json!({ "Name": name, "Soft": limit.soft() as i64, "Hard": limit.hard() as i64 })
        })
        .collect();
    let mut object = fields(json!({
        "CpuShares": cpu.and_then(|cpu| cpu.shares()).unwrap_or_default(),
        "Memory": memory.and_then(|memory| memory.limit()).unwrap_or_default(),
        "NanoCpus": record.asked.nano_cpus,
        "CpuPeriod": cpu.and_then(|cpu| cpu.period()).filter(|_| by_quota).unwrap_or_default(),
        "CpuQuota": cpu.and_then(|cpu| cpu.quota()).filter(|_| by_quota).unwrap_or_default(),
        "CpusetCpus": cpu.and_then(|cpu| cpu.cpus().clone()).unwrap_or_default(),
        "CpusetMems": cpu.and_then(|cpu| cpu.mems().clone()).unwrap_or_default(),
        "MemoryReservation": memory.and_then(|memory| memory.reservation()).unwrap_or_default(),
        "MemorySwap": memory.and_then(|memory| memory.swap()).unwrap_or_default(),
        "OomKillDisable": false,
        "OomScoreAdj": process.and_then(|process| process.oom_score_adj()).unwrap_or_default(),
        "PidsLimit": pids.map(LinuxPids::limit),
        "ShmSize": shm_size(spec),
        "Ulimits": ulimits,
    }));
    object.extend(block_io(resources));
    object
}

fn block_io(resources: Option<&LinuxResources>) -> Map<String, Value> {
    let block = resources.and_then(|resources| resources.block_io().as_ref());
    let rates = |list: Option<&Option<Vec<LinuxThrottleDevice>>>| -> Vec<Value> {
        let all = list.and_then(Option::as_ref).into_iter().flatten();
        all.map(|one| {
            let path = format!("/dev/block/{}:{}", one.major(), one.minor());
            // The name that people know, where there is one.
            let known = std::fs::canonicalize(&path).ok();
            let path = known.map_or(path, |known| known.to_string_lossy().into_owned());
            json!({ "Path": path, "Rate": one.rate() })
        })
        .collect()
    };
    fields(json!({
        "BlkioWeight": block.and_then(|block| block.weight()).unwrap_or_default(),
        "BlkioDeviceReadBps": rates(block.map(|block| block.throttle_read_bps_device())),
        "BlkioDeviceWriteBps": rates(block.map(|block| block.throttle_write_bps_device())),
        "BlkioDeviceReadIOps": rates(block.map(|block| block.throttle_read_iops_device())),
        "BlkioDeviceWriteIOps": rates(block.map(|block| block.throttle_write_iops_device())),
    }))
}

/// What Docker has flags for and we have not, as it is where nobody asks: templates that name it find it.
fn never_asked() -> Map<String, Value> {
    fields(json!({
        "BlkioWeightDevice": [],
        "Cgroup": "",
        "CgroupParent": "",
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "Isolation": "",
        "Links": null,
        "MemorySwappiness": null,
        "VolumeDriver": "",
    }))
}

/// Size of `/dev/shm` in bytes; 0 if it is the host's.
fn shm_size(spec: &Spec) -> i64 {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let shm = mounts.iter().rfind(|mount| mount.destination().as_os_str() == "/dev/shm");
    let options = shm.and_then(|mount| mount.options().clone()).unwrap_or_default();
    let size = options.iter().find_map(|option| option.strip_prefix("size="));
    size.and_then(|text| crate::create::options::parse_size(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_have_dockers_names() {
        for (policy, name, most) in [
            (RestartPolicy::No, "no", 0),
            (RestartPolicy::OnFailure { most: None }, "on-failure", 0),
            (RestartPolicy::OnFailure { most: Some(5) }, "on-failure", 5),
            (RestartPolicy::Always, "always", 0),
            (RestartPolicy::UnlessStopped, "unless-stopped", 0),
        ] {
            let expected = json!({ "Name": name, "MaximumRetryCount": most });
            assert_eq!(restart_policy(policy), expected);
        }
    }

    #[test]
    fn devices_are_told_in_three_parts() {
        for (flag, host, inside, access) in [
            ("/dev/null", "/dev/null", "/dev/null", "rwm"),
            ("/dev/null:r", "/dev/null", "/dev/null", "r"),
            ("/dev/null:/dev/x", "/dev/null", "/dev/x", "rwm"),
            ("/dev/null:/dev/x:rw", "/dev/null", "/dev/x", "rw"),
        ] {
            let told = device(flag);
            let parts = ["PathOnHost", "PathInContainer", "CgroupPermissions"]
                .map(|key| told[key].as_str().unwrap().to_owned());
            assert_eq!(parts, [host, inside, access], "{flag}");
        }
    }

    #[test]
    fn logs_tell_their_limits() {
        let log = |log: LogOptions| log_config(&log);
        let usual = LogOptions::default();
        assert_eq!(
            log(usual.clone()),
            json!({ "Type": "json-file", "Config": { "max-file": "3", "max-size": "10m" } })
        );
        assert_eq!(
            log(LogOptions { max_size: None, ..usual.clone() })["Config"]["max-size"],
            json!("-1")
        );
        assert_eq!(
            log(LogOptions { max_size: Some(4096), ..usual.clone() })["Config"]["max-size"],
            "4096"
        );
        assert_eq!(
            log(LogOptions { enabled: false, ..usual }),
            json!({ "Type": "none", "Config": {} })
        );
    }
}
