//! The bridge: a switch made of software, with the host itself plugged in as the containers' gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use syscalls::error::During;
use syscalls::{KernelError, step};

use crate::netlink::{Batch, Socket, question};
use crate::records::fingerprint;
use crate::store::Network;
use crate::subnet::Subnet;

/// A link of the namespace to which the socket belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
}

/// Looks a link up by name.
///
/// # Errors
/// What the kernel says other than `ENODEV`.
pub(crate) fn find(socket: &Socket, name: &str) -> Result<Option<Link>, KernelError> {
    const GETLINK: u16 = 18;
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    match socket.get(&question(GETLINK, false, &encoded(&message), "look for link", name)) {
        // struct ifinfomsg: family, padding, type, index, flags (rtnetlink(7)). The rest is long and not needed.
        Ok(answer) => {
            let number =
                |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
            let up = |flags: u32| flags & LinkFlags::Up.bits() != 0;
            Ok(number(4).zip(number(8)).map(|(index, flags)| Link { index, up: up(flags) }))
        }
        Err(error) if error.errno == Errno::ENODEV => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the bridge and gives the gateway's address to it. It comes up last: a bridge that is up is complete.
///
/// # Errors
/// `EEXIST` if there is a link of that name; `EOPNOTSUPP` if the kernel has no bridges.
pub(crate) fn create(socket: &Socket, network: &Network) -> Result<Link, KernelError> {
    let mut batch = Batch::default();
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(network.bridge.clone()),
        LinkAttribute::Mtu(network.mtu),
        LinkAttribute::Group(group(network)),
        // A bridge that chooses its address itself changes it with its ports, and every neighbour has to ask again.
        LinkAttribute::Address(mac(network.gateway).to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    let new = NLM_F_CREATE | NLM_F_EXCL;
    batch.route(RouteNetlinkMessage::NewLink(message), new, "create bridge", &network.bridge);
    socket.send(&batch)?;
    let gone = || KernelError::new("look for link", &network.bridge, Errno::ENODEV);
    let link = find(socket, &network.bridge)?.ok_or_else(gone)?;
    forward(&network.bridge)?;
    let mut batch = Batch::default();
    batch.route(
        RouteNetlinkMessage::NewAddress(address(link.index, network.gateway, &network.subnet)),
        new,
        "add address to bridge",
        format!("{}/{} {}", network.gateway, network.subnet.prefix, network.bridge),
    );
    batch.route(
        RouteNetlinkMessage::SetLink(up(link.index)),
        0,
        "bring up bridge",
        &network.bridge,
    );
    socket.send(&batch)?;
    Ok(Link { up: true, ..link })
}

/// Lets the host pass packets on, and lets those from its own 127.0.0.1 onto the bridge.
fn forward(bridge: &str) -> Result<(), KernelError> {
    // Never set back: by then somebody else may rely on it.
    sysctl("/proc/sys/net/ipv4/ip_forward", "1")?;
    sysctl(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")
}

fn sysctl(path: &str, value: &str) -> Result<(), KernelError> {
    if std::fs::read_to_string(path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    step!("write", ("{path}, {value}"), std::fs::write(path, value)).during("write sysctl", path)
}

/// The address of a link, with the route to the rest of its subnet that comes with it.
pub(crate) fn address(index: u32, ip: Ipv4Addr, subnet: &Subnet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = subnet.prefix;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(ip)),
        AddressAttribute::Address(IpAddr::V4(ip)),
        AddressAttribute::Broadcast(subnet.broadcast()),
    ];
    message
}

/// "Bring this link up."
pub(crate) fn up(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// The hardware address that goes with an IPv4 address: whoever gets the address next has the same, so that no
/// neighbour remembers a wrong one.
pub(crate) fn mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Removes links by name, all in one go. What is not there is gone already.
///
/// # Errors
/// What the kernel says other than `ENODEV`.
pub(crate) fn delete(socket: &Socket, names: &[&str]) -> Result<(), KernelError> {
    let mut batch = Batch::default();
    for name in names {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName((*name).to_owned()));
        batch.route(RouteNetlinkMessage::DelLink(message), 0, "delete link", *name);
    }
    let failed = socket.send_each(&batch)?;
    failed.into_values().find(|error| error.errno != Errno::ENODEV).map_or(Ok(()), Err)
}

/// A number that all links of this network on the host carry, so that they can be removed together.
pub(crate) fn group(network: &Network) -> u32 {
    // Not 0: that is every other link of the host.
    fingerprint(&[Path::new(&network.bridge)]) as u32 | 1 << 31
}

/// Removes the bridge and every cable in it. Each removal of a link waits some 25 ms for all processors to have let go
/// of it; this waits once.
///
/// # Errors
/// What the kernel says other than `ENODEV`.
pub(crate) fn delete_group(socket: &Socket, network: &Network) -> Result<(), KernelError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group(network)));
    let mut batch = Batch::default();
    let message = RouteNetlinkMessage::DelLink(message);
    batch.route(message, 0, "delete links of bridge", &network.bridge);
    match socket.send(&batch) {
        Err(error) if error.errno == Errno::ENODEV => Ok(()),
        other => other,
    }
}

/// Every destination that a route of this host knows, but for those of the link `except` and the default route. The
/// host's own addresses are among them, as routes of the table "local".
///
/// # Errors
/// What the kernel says.
pub(crate) fn destinations(
    socket: &Socket,
    except: Option<u32>,
) -> Result<Vec<(Ipv4Addr, u8)>, KernelError> {
    const GETROUTE: u16 = 26;
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    let routes = socket.dump(&question(GETROUTE, true, &encoded(&message), "list routes", ""))?;
    let mut found = Vec::new();
    for route in routes.iter().filter_map(|route| RouteMessage::parse(route.as_slice()).ok()) {
        let mut destination = None;
        let mut link = None;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                    destination = Some(*address);
                }
                RouteAttribute::Oif(index) => link = Some(*index),
                _ => {}
            }
        }
        if except.is_some() && link == except {
            continue;
        }
        found.extend(destination.map(|to| (to, route.header.destination_prefix_length)));
    }
    Ok(found)
}

fn encoded(message: &impl netlink_packet_core::Emitable) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}
