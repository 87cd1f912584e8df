//! A container in Docker's shape: what its record and its OCI spec know.

use anyhow::Result;
use oci_spec::runtime::Spec;
use serde_json::{Map, Value, json};

use super::{NO_TIME, config, image};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::{MountRecord, Record, Status};

/// Describes a container.
///
/// # Errors
/// If its spec cannot be read.
pub fn container(engine: &Engine, record: &Record) -> Result<Value> {
    let containers = Containers::new(engine);
    let spec = containers.load_spec(&record.id)?;
    let (path, args) = match record.command.split_first() {
        Some((path, args)) => (path.as_str(), args),
        None => ("", &[][..]),
    };
    let diff_ids: Vec<&str> = record.layers.iter().map(String::as_str).collect();
    let mut folders = Map::new();
    if !diff_ids.is_empty() {
        let own = containers.dir(&record.id);
        let mut lower = image::folders(&engine.layers()?, &diff_ids);
        let text = |lower: &mut Map<String, Value>, key: &str| match lower.remove(key) {
            Some(Value::String(text)) => vec![text],
            _ => Vec::new(),
        };
        let mut lowers = text(&mut lower, "UpperDir");
        lowers.extend(text(&mut lower, "LowerDir"));
        folders.insert("LowerDir".to_owned(), lowers.join(":").into());
        folders.insert("UpperDir".to_owned(), json!(own.join("upper")));
        folders.insert("WorkDir".to_owned(), json!(own.join("work")));
    }
    let own = containers.run_dir(&record.id);
    let mut object = json!({
        "Id": record.id,
        "Created": record.created.to_string(),
        "Path": path,
        "Args": args,
        "State": state(&record.status),
        "Image": record.image_id.clone().unwrap_or_default(),
        "ResolvConfPath": own.join("resolv.conf"),
        "HostnamePath": own.join("hostname"),
        "HostsPath": own.join("hosts"),
        "Name": format!("/{}", record.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": host_config(record, &spec),
        "GraphDriver": { "Data": folders, "Name": "overlay2" },
        "Mounts": record.mounts.iter().map(|mount| one_mount(engine, mount)).collect::<Vec<_>>(),
    });
    // Beyond what one macro call can nest.
    object["Config"] = own_config(record, &spec);
    object["NetworkSettings"] = network(record);
    Ok(object)
}

fn state(status: &Status) -> Value {
    let (name, pid, code, oom, started, finished) = match status {
        Status::Created => ("created", 0, 0, false, None, None),
        Status::Running { pid, started } => ("running", *pid, 0, false, Some(started), None),
        Status::Exited { code, oom, finished } => ("exited", 0, *code, *oom, None, Some(finished)),
    };
    let time = |time: Option<&jiff::Timestamp>| {
        time.map_or_else(|| NO_TIME.to_owned(), ToString::to_string)
    };
    json!({
        "Status": name,
        "Running": name == "running",
        "Paused": false,
        "Restarting": false,
        "OOMKilled": oom,
        "Dead": false,
        "Pid": pid,
        "ExitCode": code,
        "Error": "",
        "StartedAt": time(started),
        "FinishedAt": time(finished),
    })
}

fn host_config(record: &Record, spec: &Spec) -> Value {
    let network = &record.network;
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    let cpu = resources.and_then(|resources| resources.cpu().as_ref());
    let pids = resources.and_then(|resources| resources.pids().as_ref());
    let process = spec.process().as_ref();
    let hosts: Vec<String> =
        network.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect();
    let paths = |paths: Option<&Option<Vec<String>>>| json!(paths.and_then(Option::as_ref));
    json!({
        "NetworkMode": network.mode,
        "AutoRemove": record.auto_remove,
        "Dns": network.dns,
        "DnsOptions": network.dns_options,
        "DnsSearch": network.dns_search,
        "ExtraHosts": hosts,
        "GroupAdd": record.group_add,
        "Init": record.init,
        "PidMode": if record.pid_mode == "private" { "" } else { &record.pid_mode },
        "OomScoreAdj": process.and_then(|process| process.oom_score_adj()).unwrap_or_default(),
        "ReadonlyRootfs": spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or_default(),
        "CpuShares": cpu.and_then(|cpu| cpu.shares()).unwrap_or_default(),
        "Memory": memory.and_then(|memory| memory.limit()).unwrap_or_default(),
        "MemoryReservation": memory.and_then(|memory| memory.reservation()).unwrap_or_default(),
        "MemorySwap": memory.and_then(|memory| memory.swap()).unwrap_or_default(),
        "CpuPeriod": cpu.and_then(|cpu| cpu.period()).unwrap_or_default(),
        "CpuQuota": cpu.and_then(|cpu| cpu.quota()).unwrap_or_default(),
        "CpusetCpus": cpu.and_then(|cpu| cpu.cpus().clone()).unwrap_or_default(),
        "CpusetMems": cpu.and_then(|cpu| cpu.mems().clone()).unwrap_or_default(),
        "PidsLimit": pids.map(oci_spec::runtime::LinuxPids::limit),
        "MaskedPaths": paths(linux.map(oci_spec::runtime::Linux::masked_paths)),
        "ReadonlyPaths": paths(linux.map(oci_spec::runtime::Linux::readonly_paths)),
    })
}

fn one_mount(engine: &Engine, mount: &MountRecord) -> Value {
    let volume = mount.volume.as_ref();
    let place = volume.and_then(|name| Some(engine.volumes().ok()?.get(name).ok()?.mountpoint));
    let source = place.or_else(|| mount.source.clone()).unwrap_or_default();
    let mut object = Map::new();
    object.insert("Type".to_owned(), mount.kind.clone().into());
    if let Some(name) = volume {
        object.insert("Name".to_owned(), name.clone().into());
    }
    object.insert("Source".to_owned(), json!(source));
    object.insert("Destination".to_owned(), json!(mount.target));
    if volume.is_some() {
        object.insert("Driver".to_owned(), "local".into());
    }
    object.insert("Mode".to_owned(), if mount.read_only { "ro" } else { "" }.into());
    object.insert("RW".to_owned(), (!mount.read_only).into());
    let usual = if mount.kind == "bind" { "rprivate" } else { "" };
    let propagation = mount.propagation.clone().unwrap_or_else(|| usual.to_owned());
    object.insert("Propagation".to_owned(), propagation.into());
    object.into()
}

/// Image's command and entry point are one command here: the record keeps what is executed.
fn own_config(record: &Record, spec: &Spec) -> Value {
    let process = spec.process().as_ref();
    config(&json!({
        "Hostname": spec.hostname().clone().unwrap_or_default(),
        "Domainname": spec.domainname().clone().unwrap_or_default(),
        "User": record.user,
        "Tty": record.terminal,
        "OpenStdin": record.interactive,
        "Env": process.and_then(|process| process.env().clone()),
        "Cmd": record.command,
        "Image": record.image.clone().unwrap_or_default(),
        "WorkingDir": process.map(|process| process.cwd().clone()),
        "Labels": record.labels,
        "StopSignal": record.stop_signal,
    }))
}

fn network(record: &Record) -> Value {
    let network = &record.network;
    let address = network.address.map(|address| address.to_string()).unwrap_or_default();
    let mut ports: Map<String, Value> = Map::new();
    for port in &network.ports {
        // `0.0.0.0:8080->80/tcp`
        let Some((host, inside)) = port.split_once("->") else { continue };
        let Some((ip, number)) = host.rsplit_once(':') else { continue };
        let binding = json!({ "HostIp": ip.trim_matches(['[', ']']), "HostPort": number });
        match ports.get_mut(inside).and_then(Value::as_array_mut) {
            Some(bindings) => bindings.push(binding),
            None => {
                ports.insert(inside.to_owned(), json!([binding]));
            }
        }
    }
    let mut networks = Map::new();
    if !network.mode.starts_with("container:") {
        networks.insert(network.mode.clone(), json!({ "IPAddress": address }));
    }
    json!({ "Ports": ports, "IPAddress": address, "Networks": networks })
}
