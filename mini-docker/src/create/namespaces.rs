//! What a container has of its own, and what it shares: namespaces and network of the spec.

use anyhow::Result;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType};

use super::options::{IsolationFlags, NetworkFlags};
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;
use crate::record::NetworkRequest;

/// Checks the network flags and turns them into a request. `exposed` are the ports that `-P` publishes.
pub(super) fn network_request(
    engine: &Engine,
    flags: &NetworkFlags,
    exposed: &[String],
) -> Result<NetworkRequest> {
    let mode = mode(engine, "network", &flags.mode, &["bridge", "none", "host"])?;
    let mode = if mode == "default" { "bridge".to_owned() } else { mode };
    let mut publish = Vec::new();
    for text in &flags.publish {
        network::parse_publish(text)?;
        publish.push(text.clone());
    }
    if flags.publish_all {
        publish.extend(exposed.iter().cloned());
    }
    if mode != "bridge" {
        let useless = [
            ("-p", !flags.publish.is_empty() && mode.starts_with("container:")),
            ("--ip", flags.ip.is_some()),
            ("--mac-address", flags.mac_address.is_some()),
            ("--link", !flags.link.is_empty()),
        ];
        if let Some((flag, _)) = useless.iter().find(|(_, given)| *given) {
            return Err(Failure::new(format!("{flag} needs a network of the container's own"))
                .hint(format!("--network is `{}`: leave out {flag} or use `bridge`", flags.mode))
                .into());
        }
        if !publish.is_empty() {
            crate::failure::tell(&format!(
                "mini-docker: warning: published ports are ignored with --network {mode}"
            ));
        }
        publish.clear();
    }
    if let Some(mac) = &flags.mac_address {
        parse_mac(mac)?;
    }
    if !flags.network_alias.is_empty() {
        return Err(Failure::new(
            "network-scoped alias is supported only for containers in user defined networks",
        )
        .hint(
            "on the bridge network, --link CONTAINER:ALIAS makes another container known by a name",
        )
        .into());
    }
    let mut links = Vec::new();
    for text in &flags.link {
        let (name, alias) = text.split_once(':').unwrap_or((text, text));
        let other = Containers::new(engine).find(name)?;
        let alias = alias.trim_start_matches('/');
        if alias.is_empty() || alias.contains(char::is_whitespace) {
            return Err(Failure::new(format!("bad format for links: {text}"))
                .hint("--link takes CONTAINER or CONTAINER:ALIAS")
                .into());
        }
        links.push((other.id, alias.to_owned()));
    }
    let mut extra_hosts = Vec::new();
    for text in &flags.add_host {
        let parts = text.split_once(['=', ':']);
        let Some((name, address)) = parts.filter(|(name, address)| {
            let address = address.trim_matches(['[', ']']);
            !name.is_empty()
                && (address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok())
        }) else {
            return Err(Failure::new(format!("invalid host entry `{text}`"))
                .hint("--add-host takes NAME:IP, or NAME:host-gateway")
                .into());
        };
        extra_hosts.push((name.to_owned(), address.trim_matches(['[', ']']).to_owned()));
    }
    Ok(NetworkRequest {
        mode,
        publish,
        ip: flags.ip,
        mac: flags.mac_address.clone(),
        dns: flags.dns.clone(),
        dns_search: flags.dns_search.clone(),
        dns_options: flags.dns_option.clone(),
        extra_hosts,
        links,
        linked: Vec::new(),
        address: None,
        ports: Vec::new(),
    })
}

/// Reads six pairs of hex digits.
///
/// # Errors
/// A failure with a hint for anything else.
pub fn parse_mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Option<Vec<u8>> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2))
        .collect();
    bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok()).ok_or_else(|| {
        Failure::new(format!("invalid hardware address `{text}`"))
            .hint("six pairs of hex digits: 02:42:ac:11:00:02")
            .into()
    })
}

/// One of the plain modes, or `container:<id>` of an existing container.
pub(super) fn mode(engine: &Engine, flag: &str, text: &str, plain: &[&str]) -> Result<String> {
    if let Some(name) = text.strip_prefix("container:") {
        return Ok(format!("container:{}", Containers::new(engine).find(name)?.id));
    }
    if plain.contains(&text) || text == "default" {
        return Ok(text.to_owned());
    }
    Err(Failure::new(format!("unknown {flag} mode `{text}`"))
        .hint(format!("one of {}, container:NAME", plain.join(", ")))
        .into())
}

/// The namespaces of the spec. Those of another container get their path when the container starts.
pub(super) fn namespaces(
    network: &NetworkRequest,
    pid_mode: &str,
    isolation: &IsolationFlags,
) -> Result<Vec<LinuxNamespace>> {
    let host = |mode: &Option<String>| mode.as_deref() == Some("host");
    match isolation.ipc.as_deref() {
        None | Some("host" | "private" | "shareable") => {}
        Some(other) => {
            return Err(Failure::new(format!("unsupported ipc mode `{other}`"))
                .hint("one of private, shareable, host")
                .into());
        }
    }
    let kinds = [
        (LinuxNamespaceType::Mount, true),
        (LinuxNamespaceType::Uts, !host(&isolation.uts)),
        (LinuxNamespaceType::Ipc, !host(&isolation.ipc)),
        (LinuxNamespaceType::Pid, pid_mode != "host"),
        (LinuxNamespaceType::Network, network.mode != "host"),
        (LinuxNamespaceType::Cgroup, !host(&isolation.cgroupns)),
    ];
    kinds
        .into_iter()
        .filter(|(_, own)| *own)
        .map(|(kind, _)| Ok(LinuxNamespaceBuilder::default().typ(kind).build()?))
        .collect()
}

/// The pid mode as it is remembered: `private`, `host` or `container:<id>`.
pub(super) fn pid_mode(engine: &Engine, isolation: &IsolationFlags) -> Result<String> {
    mode(engine, "pid", isolation.pid.as_deref().unwrap_or("private"), &["private", "host"])
}

#[cfg(test)]
mod tests {
    use super::parse_mac;

    #[test]
    fn hardware_addresses_have_six_pairs() {
        assert_eq!(parse_mac("02:42:ac:11:00:02").unwrap(), [2, 0x42, 0xac, 0x11, 0, 2]);
        for wrong in
            ["", "02:42:ac:11:00", "02:42:ac:11:00:02:03", "2:42:ac:11:0:2", "zz:42:ac:11:00:02"]
        {
            parse_mac(wrong).unwrap_err();
        }
    }
}
