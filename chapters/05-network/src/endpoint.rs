//! A container's cable: one end in the bridge, the other one born inside the container as `eth0`.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};
use syscalls::error::During;
use syscalls::{KernelError, step};

use crate::bridge;
use crate::netlink::{Batch, Socket};
use crate::publish::Publish;
use crate::store::Network;

/// Name of the container's interface.
pub(crate) const INTERFACE: &str = "eth0";
/// `lo` is the first link of every network namespace.
const LOOPBACK: u32 = 1;

/// A container in a network, as recorded before anything of it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Id of the container, 64 hex digits.
    pub container: String,
    /// The container's host name.
    pub hostname: String,
    /// Further names in this network.
    pub aliases: Vec<String>,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its published ports, all with a number on the host.
    pub ports: Vec<Publish>,
}

impl Endpoint {
    /// Name of the host's end of the cable: it tells the container's id to who looks at `ip link`.
    pub fn host_interface(&self) -> String {
        // Names of links have at most 15 bytes; 40 bits of a random id do not meet by chance.
        format!("mdv{}", self.container.chars().take(10).collect::<String>())
    }
}

/// Plugs the container in: both ends of the cable, with their names and places, in one message.
///
/// The host's end is up at once. The peer cannot be (`ENOTCONN`): when it is born, its other end is not there yet.
///
/// # Errors
/// `EEXIST` if one of the names is taken, `EINVAL` if `netns` is no network namespace.
pub(crate) fn plug_in(
    socket: &Socket,
    network: &Network,
    link: bridge::Link,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(INTERFACE.to_owned()),
        LinkAttribute::Mtu(network.mtu),
        LinkAttribute::Address(endpoint.mac.to_vec()),
        // Born there, not moved there: moving waits for every packet that may be under way.
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(endpoint.host_interface()),
        LinkAttribute::Mtu(network.mtu),
        LinkAttribute::Group(bridge::group(network)),
        LinkAttribute::Controller(link.index),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    let mut batch = Batch::default();
    batch.route(
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
        "create veth pair",
        format!("{} and {INTERFACE} in {}", endpoint.host_interface(), network.bridge),
    );
    // Where br_netfilter is loaded (by Docker, Kubernetes), a container's packet to its own published port is turned
    // round inside the bridge, and must leave by the port by which it came.
    let mut port = LinkMessage::default();
    port.attributes = vec![
        LinkAttribute::IfName(endpoint.host_interface()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
        ]),
    ];
    let port = RouteNetlinkMessage::NewLink(port);
    batch.route(port, 0, "set hairpin mode of bridge port", endpoint.host_interface());
    socket.send(&batch)
}

/// Has the kernel finish its work on the cable, so that the very first packet passes.
///
/// That a link has got a carrier the kernel notes at once; that packets may pass, a worker of its own says some time
/// later. Until then they are dropped, and an address request is repeated after a whole second. Who asks for a link is
/// answered after that work is done (`linkwatch_sync_dev` in `rtnl_getlink`, Linux 6.8); before 6.8 the worker is merely
/// quick.
///
/// # Errors
/// `ENODEV` if the link has vanished.
pub(crate) fn settle(
    socket: &Socket,
    network: &Network,
    endpoint: &Endpoint,
) -> Result<(), KernelError> {
    let mut batch = Batch::default();
    for name in [endpoint.host_interface(), network.bridge.clone()] {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.clone()));
        batch.route(RouteNetlinkMessage::GetLink(message), 0, "look for link", name);
    }
    socket.send(&batch)
}

/// The container's side: loopback up, the address, the way out.
///
/// # Errors
/// `EEXIST` if it has such an address or default route already.
pub(crate) fn configure(
    network: &Network,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let socket = socket_in(netns)?;
    let missing = || KernelError::new("look for link", INTERFACE, Errno::ENODEV);
    let link = bridge::find(&socket, INTERFACE)?.ok_or_else(missing)?;
    let new = NLM_F_CREATE | NLM_F_EXCL;
    let mut batch = Batch::default();
    batch.route(RouteNetlinkMessage::SetLink(bridge::up(LOOPBACK)), 0, "bring up link", "lo");
    let eth0 = RouteNetlinkMessage::SetLink(bridge::up(link.index));
    batch.route(eth0, 0, "bring up link", INTERFACE);
    batch.route(
        RouteNetlinkMessage::NewAddress(bridge::address(link.index, endpoint.ip, &network.subnet)),
        new,
        "add address",
        format!("{}/{} {INTERFACE}", endpoint.ip, network.subnet.prefix),
    );
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![
        RouteAttribute::Gateway(RouteAddress::Inet(network.gateway)),
        RouteAttribute::Oif(link.index),
    ];
    let way_out = format!("default via {}", network.gateway);
    batch.route(RouteNetlinkMessage::NewRoute(route), new, "add route", way_out);
    socket.send(&batch)
}

/// Brings `lo` up in a network namespace: all that `--network none` has.
///
/// # Errors
/// `EPERM` without CAP_NET_ADMIN there, `EINVAL` if `netns` is no network namespace.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<(), KernelError> {
    let mut batch = Batch::default();
    batch.route(RouteNetlinkMessage::SetLink(bridge::up(LOOPBACK)), 0, "bring up link", "lo");
    socket_in(netns)?.send(&batch)
}

/// A netlink socket speaks of the network namespace in which it was made, wherever its owner goes: so the caller enters
/// the container's for two system calls only. Other threads are not concerned (setns(2)).
fn socket_in(netns: BorrowedFd<'_>) -> Result<Socket, KernelError> {
    let own = "/proc/thread-self/ns/net";
    let home = open(own, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during("open", own)?;
    step!("setns", "netns of the container, CLONE_NEWNET", setns(netns, CloneFlags::CLONE_NEWNET))
        .during("enter network namespace", "")?;
    let socket = Socket::route();
    // It cannot be refused: whoever may leave a namespace may come back to its own.
    step!("setns", "own netns, CLONE_NEWNET", setns(home.as_fd(), CloneFlags::CLONE_NEWNET))
        .during("return to network namespace", own)?;
    socket
}
