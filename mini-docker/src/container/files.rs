//! Files that a container needs on the host while it runs.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use oci_spec::runtime::Spec;

use crate::containers::{Containers, Held};
use crate::engine::{Engine, open_dir};
use crate::failure::Failure;
use crate::record::Record;

/// Writes resolv.conf, hostname and a first hosts, which the address is added to when it is known.
pub(super) fn write_network_files(held: &Held, record: &Record, spec: &Spec) -> Result<()> {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let source = network::files::resolv_conf_source(&host);
    let host = match source {
        "/etc/resolv.conf" => host,
        other => fs::read_to_string(other).unwrap_or(host),
    };
    let request = &record.network;
    let on_host = request.mode == "host";
    let resolv = network::files::resolv_conf(
        &host,
        &request.dns,
        &request.dns_search,
        &request.dns_options,
        on_host,
    );
    let hostname = spec.hostname().clone().unwrap_or_else(host_name);
    let files = [("resolv.conf", resolv), ("hostname", format!("{hostname}\n"))];
    for (name, text) in files {
        let path = held.run_dir.join(name);
        fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))?;
    }
    write_hosts(held, record, spec, None, None)
}

/// Names and addresses of the containers that this one is linked to: alias, name and short id of each.
pub(super) fn linked(engine: &Engine, record: &Record) -> Result<Vec<(String, String)>> {
    let mut hosts = Vec::new();
    for (id, alias) in &record.network.links {
        let other = Containers::new(engine).load(id).with_context(|| format!("link {alias}"))?;
        let address = other.network.address.filter(|_| other.pid().is_some()).ok_or_else(|| {
            Failure::new(format!(
                "cannot link to a non running container: {} as {alias}",
                other.name
            ))
            .hint(format!("start it: mini-docker start {}", other.name))
        })?;
        let short = other.id.get(..12).unwrap_or(&other.id).to_owned();
        let mut names = vec![alias.clone(), short];
        names.extend((other.name != *alias).then_some(other.name));
        hosts.extend(names.into_iter().map(|name| (name, address.to_string())));
    }
    Ok(hosts)
}

/// Writes hosts. In place: the container has this very file mounted.
pub(super) fn write_hosts(
    held: &Held,
    record: &Record,
    spec: &Spec,
    address: Option<Ipv4Addr>,
    gateway: Option<Ipv4Addr>,
) -> Result<()> {
    let hostname = spec.hostname().clone().unwrap_or_else(host_name);
    let mut extra = record.network.extra_hosts.clone();
    extra.extend(record.network.linked.iter().cloned());
    for (_, ip) in &mut extra {
        if ip == "host-gateway" {
            *ip = gateway.map_or_else(|| "127.0.0.1".to_owned(), |gateway| gateway.to_string());
        }
    }
    let text = if record.network.mode == "host" {
        let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
        for (name, ip) in &extra {
            hosts.push_str(&format!("{ip}\t{name}\n"));
        }
        hosts
    } else {
        let domain = spec.domainname().as_deref();
        network::files::hosts(&hostname, domain, address.map(Into::into), &extra)
    };
    let path = held.run_dir.join("hosts");
    fs::write(&path, text).with_context(|| format!("write `{}`", path.display()))
}

fn host_name() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Fills new volumes with what the image has at their place.
pub(crate) fn fill_volumes(root: BorrowedFd<'_>, record: &Record) -> Result<()> {
    for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
        let Some(source) = &mount.source else { continue };
        let data = open_dir(source)?;
        if mount.copy {
            volumes::populate(data.as_fd(), root, &mount.target)?;
        } else {
            volumes::settle(data.as_fd())?;
        }
    }
    Ok(())
}
