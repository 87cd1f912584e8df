//! What can go wrong when a container is connected, and what to do then.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use syscalls::KernelError;

use crate::ports::Refusal;
use crate::publish::Publish;
use crate::subnet::Subnet;

/// Why a network could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No network of that name.
    #[error("network `{0}` not found")]
    UnknownNetwork(String),
    /// Every subnet that is tried overlaps a route of this host.
    #[error(
        "no free subnet: routes of this host overlap 172.17.0.0/16 to 172.31.0.0/16 and 192.168.0.0/16"
    )]
    NoSubnet,
    /// Every address of the subnet is in use.
    #[error("no free address in {0}")]
    NoAddress(Subnet),
    /// The address that was asked for cannot be a container's.
    #[error("address {ip} is not one that a container can have in {subnet}")]
    AddressOutside {
        /// What was asked for.
        ip: Ipv4Addr,
        /// The network's addresses.
        subnet: Subnet,
    },
    /// Another container has the address that was asked for.
    #[error("address {ip} is already in use by container {}", short(container))]
    AddressTaken {
        /// What was asked for.
        ip: Ipv4Addr,
        /// Who has it.
        container: String,
    },
    /// Another container, or a program of the host, has the port. The words are Docker's.
    #[error("bind for {} failed: port is already allocated", socket(publish))]
    PortTaken {
        /// What was asked for.
        publish: Publish,
        /// The container that has it; `None`: a program of the host, or the same command asked twice.
        container: Option<String>,
    },
    /// Every port of the range is taken.
    #[error("bind for {} failed: all ports are allocated", range(publish))]
    PortsTaken {
        /// What was asked for.
        publish: Publish,
    },
    /// The port was asked for on an address that is not this host's.
    #[error("bind for {} failed: {} is not an address of this host", socket(publish), publish.address())]
    NotOurAddress {
        /// What was asked for.
        publish: Publish,
    },
    /// IPv6 comes later.
    #[error(
        "bind for {} failed: publishing on IPv6 addresses is not supported yet",
        socket(publish)
    )]
    Ipv6 {
        /// What was asked for.
        publish: Publish,
    },
    /// A record that is not what was written.
    #[error("damaged record `{}`: {reason}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A step that the kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl Error {
    pub(crate) fn port(publish: Publish, refusal: Refusal) -> Self {
        match refusal {
            _ if publish.address().is_ipv6() => Error::Ipv6 { publish },
            Refusal::Container(id) => Error::PortTaken { publish, container: Some(id) },
            Refusal::Host => Error::PortTaken { publish, container: None },
            Refusal::Range => Error::PortsTaken { publish },
            Refusal::NoSuchAddress => Error::NotOurAddress { publish },
            Refusal::Kernel(errno) => {
                Error::Kernel(KernelError::new("bind port", socket(&publish), errno))
            }
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::UnknownNetwork(_) => "the default network is called `bridge`".to_owned(),
            Error::NoSubnet => "remove a route (ip route), or use --network host".to_owned(),
            Error::NoAddress(_) => "remove containers that are no longer needed".to_owned(),
            Error::AddressOutside { subnet, .. } => format!(
                "the first address, {}, is the gateway's; the last is for broadcasts",
                subnet.gateway()
            ),
            Error::AddressTaken { .. } => "leave --ip away to get a free one".to_owned(),
            Error::PortTaken { container: Some(id), .. } => {
                format!("container {} has it; stop that one or choose another port", short(id))
            }
            Error::PortTaken { publish, container: None } => format!(
                "see who has it: ss -{}lnp 'sport = :{}'",
                if publish.protocol == crate::Protocol::Tcp { 't' } else { 'u' },
                publish.host_port.unwrap_or(0)
            ),
            Error::PortsTaken { .. } => "use a larger range, or no host port at all".to_owned(),
            Error::NotOurAddress { .. } => {
                "the addresses of this host: ip address; 0.0.0.0 stands for all".to_owned()
            }
            Error::Ipv6 { .. } => "use an IPv4 address, or none".to_owned(),
            Error::Record { .. } => "stop the containers and remove the file".to_owned(),
            Error::Kernel(error) if error.step.contains("nftables") => {
                "does this kernel have nf_tables with nat, masquerade and fib? (modprobe nft_chain_nat \
                 nft_masq nft_fib_ipv4)"
                    .to_owned()
            }
            Error::Kernel(_) => return None,
        })
    }
}

/// The first twelve digits of an id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn socket(publish: &Publish) -> String {
    format!("{}:{}", publish.address(), publish.host_port.unwrap_or(0))
}

fn range(publish: &Publish) -> String {
    match publish.host_port_last {
        Some(last) => format!("{}-{last}", socket(publish)),
        None => socket(publish),
    }
}
