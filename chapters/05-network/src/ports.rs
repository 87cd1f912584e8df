//! Which number on the host a published port becomes, and who has it already.

use std::net::{IpAddr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

use crate::publish::{Protocol, Publish};

/// Why a port cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A container has it; its id.
    Container(String),
    /// A program of the host has it, or the same request asks for it twice.
    Host,
    /// The address does not belong to this host.
    NoSuchAddress,
    /// Every port of the range is taken.
    Range,
    /// The kernel says something else.
    Kernel(Errno),
}

/// Finds the number on the host of each requested port.
///
/// `taken` tells which container has a port of the host. Whether a program of the host has it, the kernel says: a port
/// that can be bound is free. It is bound for a moment only; what a program binds later sees no packets, as they go to
/// the container.
///
/// # Errors
/// The port that cannot be had, and why.
pub(crate) fn resolve(
    wanted: &[Publish],
    taken: &dyn Fn(IpAddr, Protocol, u16) -> Option<String>,
) -> Result<Vec<Publish>, (Publish, Refusal)> {
    let mut resolved: Vec<Publish> = Vec::with_capacity(wanted.len());
    for publish in wanted {
        let attempt = |port: u16| -> Result<u16, Refusal> {
            let port = bind(publish.address(), publish.protocol, port)?;
            // Those found so far are free on the host, but no longer free.
            let twice = resolved.iter().any(|other| {
                other.protocol == publish.protocol
                    && other.host_port == Some(port)
                    && overlap(other.address(), publish.address())
            });
            match taken(publish.address(), publish.protocol, port) {
                Some(by) => Err(Refusal::Container(by)),
                None if twice => Err(Refusal::Host),
                None => Ok(port),
            }
        };
        let free = |attempt: Result<u16, Refusal>| match attempt {
            Err(Refusal::Container(_) | Refusal::Host) => None,
            decided => Some(decided),
        };
        let found = match (publish.host_port.unwrap_or(0), publish.host_port_last) {
            // The kernel chooses among its ephemeral ports (ip(7), ip_local_port_range), at random.
            (0, _) => (0..4096).find_map(|_| free(attempt(0))).unwrap_or(Err(Refusal::Range)),
            (first, Some(last)) => {
                (first..=last).find_map(|port| free(attempt(port))).unwrap_or(Err(Refusal::Range))
            }
            (port, None) => attempt(port),
        };
        let port = found.map_err(|refusal| (publish.clone(), refusal))?;
        resolved.push(Publish { host_port: Some(port), host_port_last: None, ..publish.clone() });
    }
    Ok(resolved)
}

/// Whether two addresses to listen on have one in common.
pub(crate) fn overlap(one: IpAddr, other: IpAddr) -> bool {
    one == other || one.is_unspecified() || other.is_unspecified()
}

/// Binds a port (0: any) for a moment and returns its number. Without SO_REUSEADDR: bound is taken, listening or not.
fn bind(address: IpAddr, protocol: Protocol, port: u16) -> Result<u16, Refusal> {
    let refusal = |errno| match errno {
        Errno::EADDRINUSE => Refusal::Host,
        Errno::EADDRNOTAVAIL => Refusal::NoSuchAddress,
        errno => Refusal::Kernel(errno),
    };
    let IpAddr::V4(address) = address else { return Err(Refusal::NoSuchAddress) };
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let socket =
        socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None).map_err(refusal)?;
    let to = SockaddrIn::from(SocketAddrV4::new(address, port));
    socket::bind(socket.as_raw_fd(), &to).map_err(refusal)?;
    let bound: SockaddrIn = socket::getsockname(socket.as_raw_fd()).map_err(refusal)?;
    Ok(bound.port())
}
