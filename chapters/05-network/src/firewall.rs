//! A network's nftables table: who is translated into whom, and what may pass.
//!
//! Publishing a port adds an element to a map, never a rule: the cost for a packet is one look-up, however many ports
//! there are, and removing a container removes exactly its elements.
//!
//! ```text
//! from outside ──> raw ──> prerouting ─(dnat)─> routing ──> forward ──> postrouting ──> bridge ──> container
//! from the host itself ──────> output ─(dnat)─> routing ──────────────> postrouting ──> bridge ──> container
//! container ──> bridge ──> raw ──> prerouting ─> routing ──> forward ──> postrouting ─(masquerade)─> outside
//! ```

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use syscalls::KernelError;

use crate::netlink::Socket;
use crate::nft::{self, Element, Expr, Hook, Transaction, Type};
use crate::publish::{Protocol, Publish};
use crate::store::Network;
use crate::subnet::Subnet;

/// Published on every address of the host: protocol . port -> container address . port.
const ANY: &str = "published";
/// Published on one address of the host: address . protocol . port -> container address . port.
const ONE: &str = "published_on";
const PUBLISH: &str = "publish";

/// Name of the table of a network, as `nft list ruleset` shows it.
pub(crate) fn table(network: &Network) -> String {
    format!("mini-docker-{}", network.bridge)
}

/// Creates the table with the ports of `endpoints`.
///
/// # Errors
/// `EOPNOTSUPP` or `ENOENT` if the kernel lacks a part of nftables; its name is in the error.
pub(crate) fn create<'a>(
    socket: &Socket,
    network: &Network,
    endpoints: impl Iterator<Item = (Ipv4Addr, &'a [Publish])>,
) -> Result<(), KernelError> {
    let name = table(network);
    let mut change = Transaction::new(&name);
    change.create_table();
    change.create_map(ANY, &[Type::Protocol, Type::Port], &[Type::Address, Type::Port]);
    let parts = [Type::Address, Type::Protocol, Type::Port];
    change.create_map(ONE, &parts, &[Type::Address, Type::Port]);
    rules(&mut change, &network.bridge, &network.subnet);
    for (ip, ports) in endpoints {
        add(&mut change, ip, ports);
    }
    change.commit(socket)
}

/// The rules never change while the table lives.
fn rules(change: &mut Transaction<'_>, bridge: &str, subnet: &Subnet) {
    let from_bridge = || [meta(nft::META_IIFNAME), Expr::Is(interface(bridge))];
    let to_bridge = || [meta(nft::META_OIFNAME), Expr::Is(interface(bridge))];
    let not_from_bridge = || [meta(nft::META_IIFNAME), Expr::IsNot(interface(bridge))];
    let not_to_bridge = || [meta(nft::META_OIFNAME), Expr::IsNot(interface(bridge))];
    let from_container = || address(SOURCE, subnet.address, subnet.prefix);
    let loopback = |field| address(field, Ipv4Addr::new(127, 0, 0, 0), 8);
    let accept = || [Expr::Verdict(nft::ACCEPT)];
    let drop = || [Expr::Verdict(nft::DROP)];

    // route_localnet lets 127.0.0.0/8 pass the bridge for the host's own sake. A container that forges such packets
    // would reach what listens on the host's loopback only.
    change.create_chain("raw", Some(Hook { kind: "filter", number: PREROUTING, priority: -300 }));
    rule(change, "raw", &[&from_bridge(), &loopback(DESTINATION), &drop()]);

    change.create_chain(PUBLISH, None);
    let key = [protocol(nft::REG_SECOND), destination_port(nft::REG_THIRD)];
    let on = [destination(), key[0].clone(), key[1].clone(), Expr::Lookup(ONE), Expr::Dnat];
    rule(change, PUBLISH, &[&on]);
    // Only what is meant for the host itself: otherwise no container could reach port 443 of anybody else.
    let local = [Expr::FibDestinationType, Expr::Is(libc_u32(libc::RTN_LOCAL.into()))];
    let key = [protocol(nft::REG_FIRST), destination_port(nft::REG_SECOND)];
    rule(change, PUBLISH, &[&local, &key, &[Expr::Lookup(ANY), Expr::Dnat]]);

    for (name, number) in [("prerouting", PREROUTING), ("output", OUTPUT)] {
        change.create_chain(name, Some(Hook { kind: "nat", number, priority: -100 }));
        rule(change, name, &[&[Expr::Jump(PUBLISH)]]);
    }

    change.create_chain(
        "postrouting",
        Some(Hook { kind: "nat", number: POSTROUTING, priority: 100 }),
    );
    // The way out: the world answers to the host, not to 172.17.0.2.
    rule(change, "postrouting", &[&from_container(), &not_to_bridge(), &[Expr::Masquerade]]);
    // Through a published port back into the same bridge: the answer must come back through the host as well, or the
    // caller sees an answer from somebody it never spoke to.
    let published = dnatted();
    let hairpin: [&[Expr]; 4] = [&from_container(), &to_bridge(), &published, &[Expr::Masquerade]];
    rule(change, "postrouting", &hairpin);
    // From the host's own 127.0.0.1: a container could only answer to its own.
    rule(change, "postrouting", &[&loopback(SOURCE), &to_bridge(), &[Expr::Masquerade]]);

    // Nobody outside speaks to a port that is not published, even with a route to the subnet.
    change.create_chain("forward", Some(Hook { kind: "filter", number: FORWARD, priority: 0 }));
    rule(change, "forward", &[&to_bridge(), &established(), &accept()]);
    rule(change, "forward", &[&to_bridge(), &published, &accept()]);
    rule(change, "forward", &[&to_bridge(), &not_from_bridge(), &drop()]);
}

/// Adds the ports of a container.
///
/// # Errors
/// `EEXIST` if a port is in the map already; then none is added.
pub(crate) fn publish(
    socket: &Socket,
    network: &Network,
    ip: Ipv4Addr,
    ports: &[Publish],
) -> Result<(), KernelError> {
    let name = table(network);
    let mut change = Transaction::new(&name);
    add(&mut change, ip, ports);
    change.commit(socket)
}

fn add(change: &mut Transaction<'_>, ip: Ipv4Addr, ports: &[Publish]) {
    for map in [ANY, ONE] {
        change.add_elements(map, &elements(map, ip, ports));
    }
}

/// Removes the ports of a container. What is not there is gone already.
///
/// # Errors
/// What the kernel says other than `ENOENT`.
pub(crate) fn unpublish(
    socket: &Socket,
    network: &Network,
    ip: Ipv4Addr,
    ports: &[Publish],
) -> Result<(), KernelError> {
    let name = table(network);
    let remove = |ports: &[Publish]| {
        let mut change = Transaction::new(&name);
        for map in [ANY, ONE] {
            change.delete_elements(map, &elements(map, ip, ports));
        }
        change.commit(socket)
    };
    match remove(ports) {
        // One element that somebody else has removed would keep the others alive: one by one, then.
        Err(error) if error.errno == Errno::ENOENT => {
            ports.iter().try_for_each(|port| gone_is_fine(remove(std::slice::from_ref(port))))
        }
        other => other,
    }
}

/// Removes the whole table, if it is there. Asked first, since a transaction that fails waits for those before it.
///
/// # Errors
/// What the kernel says other than `ENOENT`.
pub(crate) fn delete(socket: &Socket, network: &Network) -> Result<(), KernelError> {
    let name = table(network);
    if !nft::table_exists(socket, &name)? {
        return Ok(());
    }
    let mut change = Transaction::new(&name);
    change.delete_table();
    gone_is_fine(change.commit(socket))
}

fn gone_is_fine(result: Result<(), KernelError>) -> Result<(), KernelError> {
    result.or_else(|error| if error.errno == Errno::ENOENT { Ok(()) } else { Err(error) })
}

/// The elements of `ports` that belong into `map`. A port without a number yet has none.
fn elements(map: &str, ip: Ipv4Addr, ports: &[Publish]) -> Vec<Element> {
    let mine = ports.iter().filter_map(|port| {
        let host = match port.host_ip {
            Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
            Some(IpAddr::V6(_)) => return None,
            _ => None,
        };
        if host.is_some() != (map == ONE) {
            return None;
        }
        let number = match port.protocol {
            Protocol::Tcp => libc::IPPROTO_TCP,
            Protocol::Udp => libc::IPPROTO_UDP,
        };
        let mut key = host.map(|address| address.octets().to_vec()).unwrap_or_default();
        key.extend([number as u8, 0, 0, 0]);
        key.extend(padded(port.host_port?));
        Some(Element { key, value: [ip.octets(), padded(port.container_port)].concat() })
    });
    mine.collect()
}

/// A port number in network order in a register of four bytes.
fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// Why forwarded packets may be dropped by somebody else's rules, in words for the user.
///
/// nftables has no "accept for good": a packet passes if *every* chain at the forward hook lets it. Where another
/// chain's policy is "drop" (Docker's iptables rules, ufw, firewalld), that chain must allow our bridge. Rules of
/// iptables-legacy are not seen here.
pub fn forward_blocked() -> Option<String> {
    let chains = Socket::netfilter().and_then(|socket| nft::base_chains(&socket)).ok()?;
    // NFPROTO_INET and NFPROTO_IPV4: what IPv4 packets meet.
    let blocking = chains.iter().find(|chain| {
        chain.hook == FORWARD && chain.policy == nft::DROP as u32 && matches!(chain.family, 1 | 2)
    })?;
    let family = if blocking.family == 1 { "inet" } else { "ip" };
    Some(format!(
        "the chain `{family} {} {}` of this host drops forwarded packets that no rule of its own accepts; \
         containers may not reach the outside, nor published ports be reached from there",
        blocking.table, blocking.name
    ))
}

const PREROUTING: u32 = libc::NF_INET_PRE_ROUTING as u32;
const FORWARD: u32 = libc::NF_INET_FORWARD as u32;
const OUTPUT: u32 = libc::NF_INET_LOCAL_OUT as u32;
const POSTROUTING: u32 = libc::NF_INET_POST_ROUTING as u32;
/// Offsets of the addresses in the IPv4 header.
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;

fn rule(change: &mut Transaction<'_>, chain: &str, parts: &[&[Expr]]) {
    change.add_rule(chain, &parts.concat());
}

fn meta(key: u32) -> Expr {
    Expr::Meta { key, reg: nft::REG_FIRST }
}

/// An interface name fills sixteen bytes.
fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}

fn libc_u32(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// "The address at this offset lies in that network."
fn address(offset: u32, network: Ipv4Addr, prefix: u8) -> [Expr; 3] {
    let mask = u32::MAX << (32 - u32::from(prefix));
    [
        Expr::Payload { base: 1, offset, len: 4, reg: nft::REG_FIRST },
        Expr::Mask(mask.to_be_bytes().to_vec()),
        Expr::Is(network.octets().to_vec()),
    ]
}

fn destination() -> Expr {
    Expr::Payload { base: 1, offset: DESTINATION, len: 4, reg: nft::REG_FIRST }
}

fn protocol(reg: u32) -> Expr {
    Expr::Meta { key: nft::META_L4PROTO, reg }
}

/// TCP and UDP have it at the same place.
fn destination_port(reg: u32) -> Expr {
    Expr::Payload { base: 2, offset: 2, len: 2, reg }
}

/// "The connection came through a published port": IPS_DST_NAT of the conntrack status.
fn dnatted() -> [Expr; 3] {
    const IPS_DST_NAT: u32 = 0x20;
    bits(nft::CT_STATUS, IPS_DST_NAT)
}

/// "An answer, or an error about a connection that was allowed": states established (2) and related (4).
fn established() -> [Expr; 3] {
    bits(nft::CT_STATE, 2 | 4)
}

fn bits(key: u32, mask: u32) -> [Expr; 3] {
    [Expr::Ct { key }, Expr::Mask(libc_u32(mask)), Expr::IsNot(libc_u32(0))]
}
