//! The container's place on a network, and its undoing.

use anyhow::Result;
use namespaces::Init;
use oci_spec::runtime::Spec;
use std::os::fd::AsFd;

use super::files::write_hosts;
use super::start::{network_namespace, owns_network};
use crate::containers::Held;
use crate::create::parse_mac;
use crate::engine::Engine;
use crate::record::Record;

/// Takes the container off its network when closed or dropped.
#[derive(Debug)]
pub(super) struct Connection {
    joined: Option<(network::Store, network::Network, String)>,
}

impl Connection {
    /// Takes the container off its network.
    pub(super) fn close(mut self) -> Result<()> {
        match self.joined.take() {
            Some((store, network, id)) => Ok(store.disconnect(&network, &id)?),
            None => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((store, network, id)) = self.joined.take() {
            // The start has failed and that is what the user hears of; a remainder is reclaimed by the next command.
            store.disconnect(&network, &id).ok();
        }
    }
}

/// Connects the container as its record asks: an address on the bridge, loopback alone, or nothing of its own.
pub(super) fn connect(
    engine: &Engine,
    record: &mut Record,
    spec: &Spec,
    init: &Init,
    held: &Held,
) -> Result<Connection> {
    if !owns_network(record, spec) {
        return Ok(Connection { joined: None });
    }
    let netns = network_namespace(init)?;
    if record.network.mode != "bridge" {
        network::loopback_up(netns.as_fd())?;
        return Ok(Connection { joined: None });
    }
    let store = engine.networks()?;
    let network = store.default_bridge()?;
    let mut ports = Vec::new();
    for text in &record.network.publish {
        ports.extend(network::parse_publish(text)?);
    }
    let request = network::Request {
        container: record.id.clone(),
        hostname: spec.hostname().clone().unwrap_or_default(),
        aliases: vec![record.name.clone()],
        ip: record.network.ip,
        mac: record.network.mac.as_deref().map(parse_mac).transpose()?,
        ports,
    };
    let connected = store.connect(&network, &request, netns.as_fd())?;
    let connection = Connection { joined: Some((store, network, record.id.clone())) };
    record.network.address = Some(connected.ip);
    record.network.ports = connected.ports.iter().map(ToString::to_string).collect();
    write_hosts(held, record, spec, Some(connected.ip), Some(connected.gateway))?;
    Ok(connection)
}
