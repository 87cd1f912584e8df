//! Forgets connections that were translated before a port changed hands.
//!
//! The maps are asked for the first packet of a connection only; after that the kernel's connection table decides. A
//! UDP client that goes on from the same port never makes a new "connection": it would go on talking to a container
//! that is gone, or past one that has just been published. TCP has a clean beginning and needs none of this.

use std::net::Ipv4Addr;

use netlink_packet_core::NlasIterator;
use nix::errno::Errno;
use syscalls::KernelError;

use crate::netlink::{Batch, Socket, question};
use crate::publish::{Protocol, Publish};

/// The subsystem "connection tracking" (1) of netfilter's netlink: linux/netfilter/nfnetlink_conntrack.h.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// `struct nfgenmsg` for IPv4.
const IPV4: [u8; 4] = [2, 0, 0, 0];
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`: who spoke first and to whom, and the same from the other side.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// One direction of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tuple {
    source: Option<Ipv4Addr>,
    protocol: u8,
    destination_port: u16,
}

/// Forgets the UDP connections to these ports of the host, and those that a container at `ip` answered.
///
/// # Errors
/// What the kernel says, but for `EOPNOTSUPP` and `EINVAL`: a kernel that cannot list connections.
pub(crate) fn forget(socket: &Socket, ip: Ipv4Addr, ports: &[Publish]) -> Result<(), KernelError> {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let numbers: Vec<u16> = udp.filter_map(|port| port.host_port).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    let ask = question(GET, true, &IPV4, "list connections", "udp");
    let connections = match socket.dump(&ask) {
        Err(error) if matches!(error.errno, Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(()),
        other => other?,
    };
    let mut batch = Batch::default();
    for connection in &connections {
        let Some((original, reply, raw)) = tuples(connection) else { continue };
        let stale = numbers.contains(&original.destination_port) || reply.source == Some(ip);
        if original.protocol == libc::IPPROTO_UDP as u8 && stale {
            // The kernel knows the connection again by its first direction, as it printed it.
            let payload = [&IPV4, raw].concat();
            batch.raw(DELETE, 0, &payload, true, "forget connection", "udp");
        }
    }
    if batch.len() == 0 {
        return Ok(());
    }
    let failed = socket.send_each(&batch)?;
    // It may have timed out by itself meanwhile.
    failed.into_values().find(|error| error.errno != Errno::ENOENT).map_or(Ok(()), Err)
}

/// Both directions of a listed connection, and the bytes of the first, with attribute header.
fn tuples(connection: &[u8]) -> Option<(Tuple, Tuple, &[u8])> {
    let attributes = connection.get(IPV4.len()..)?;
    let (mut original, mut reply, mut raw) = (None, None, None);
    let mut offset = 0;
    for attribute in NlasIterator::new(attributes).flatten() {
        let length = usize::from(attribute.length());
        match attribute.kind() {
            ORIGINAL => {
                original = tuple(attribute.value());
                raw = attributes.get(offset..offset + length);
            }
            REPLY => reply = tuple(attribute.value()),
            _ => {}
        }
        offset += length.next_multiple_of(4);
    }
    Some((original?, reply?, raw?))
}

/// CTA_TUPLE_IP (1) with the source address (1), CTA_TUPLE_PROTO (2) with protocol (1) and destination port (3).
fn tuple(value: &[u8]) -> Option<Tuple> {
    let mut tuple = Tuple::default();
    for part in NlasIterator::new(value).flatten() {
        for field in NlasIterator::new(part.value()).flatten() {
            let bytes = field.value();
            match (part.kind(), field.kind()) {
                (1, 1) => tuple.source = <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from),
                (2, 1) => tuple.protocol = *bytes.first()?,
                (2, 3) => tuple.destination_port = u16::from_be_bytes(bytes.try_into().ok()?),
                _ => {}
            }
        }
    }
    Some(tuple)
}
