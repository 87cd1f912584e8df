//! `NetworkSettings` and the ports of `HostConfig`.

use serde_json::{Map, Value, json};

use crate::record::{NetworkRequest, Record};

/// Addresses and ports while it runs.
pub(super) fn network(record: &Record) -> Value {
    let network = &record.network;
    let address = network.address.map(|address| address.to_string()).unwrap_or_default();
    let mac = network.mac.clone().unwrap_or_default();
    let mut networks = Map::new();
    if !network.mode.starts_with("container:") {
        networks.insert(
            network.mode.clone(),
            json!({ "IPAddress": address, "MacAddress": mac, "IPAMConfig": ipam(network) }),
        );
    }
    json!({
        "Ports": published(network),
        "IPAddress": address,
        "MacAddress": mac,
        "Networks": networks,
    })
}

fn ipam(network: &NetworkRequest) -> Value {
    network.ip.map_or(Value::Null, |ip| json!({ "IPv4Address": ip }))
}

/// Ports that are published now: `{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}`.
fn published(network: &NetworkRequest) -> Map<String, Value> {
    let mut ports = Map::new();
    for port in &network.ports {
        // `0.0.0.0:8080->80/tcp`
        let Some((host, inside)) = port.split_once("->") else { continue };
        let Some((ip, number)) = host.rsplit_once(':') else { continue };
        bind(&mut ports, inside.to_owned(), ip.trim_matches(['[', ']']), number.to_owned());
    }
    ports
}

/// Ports that are to be published, as `-p` said: without an address or a number where it gave none.
pub(super) fn port_bindings(network: &NetworkRequest) -> Map<String, Value> {
    let mut ports = Map::new();
    for text in &network.publish {
        for port in network::parse_publish(text).unwrap_or_default() {
            let inside = format!("{}/{}", port.container_port, port.protocol);
            let ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            let number = match (port.host_port, port.host_port_last) {
                (Some(first), Some(last)) => format!("{first}-{last}"),
                (Some(port), None) => port.to_string(),
                (None, _) => String::new(),
            };
            bind(&mut ports, inside, &ip, number);
        }
    }
    ports
}

fn bind(ports: &mut Map<String, Value>, inside: String, ip: &str, number: String) {
    let binding = json!({ "HostIp": ip, "HostPort": number });
    match ports.get_mut(&inside).and_then(Value::as_array_mut) {
        Some(bindings) => bindings.push(binding),
        None => drop(ports.insert(inside, json!([binding]))),
    }
}
