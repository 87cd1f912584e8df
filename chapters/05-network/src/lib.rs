//! Chapter 05: an address of its own.
//!
//! A process in a new network namespace (clone(2), `CLONE_NEWNET`) has a network stack of its own: links, addresses,
//! routes, firewall rules, port numbers, all empty but for a loopback interface that is down. This chapter plugs it in.
//! Told in order, with the file that does it:
//!
//! 1. One lock per state root (`store.rs`, `records.rs`): a hundred containers may start at once.
//! 2. **Bridge** (`bridge.rs`), if this is the first container: a software switch, in which the host itself has an
//!    address, the containers' gateway. Its subnet overlaps no route of the host (`subnet.rs`). `ip_forward` and
//!    `route_localnet` are switched on.
//! 3. **Address and ports** (`ipam.rs`, `publish.rs`, `ports.rs`, `records.rs`): claimed by symbolic links, and all of it written down before
//!    anything is made, so that a crash at any instruction leaves a record of what may exist.
//! 4. **Cable** (`endpoint.rs`): a veth pair, one end in the bridge, the other born in the container's namespace under
//!    its final name `eth0`; one message.
//! 5. **Inside** (`endpoint.rs`): loopback up, `eth0` up, address, default route; one batch on a socket that was made in
//!    the container's namespace.
//! 6. **Out and in** (`firewall.rs`): masquerading for the way out; a published port is one element of a map.
//! 7. Names (`files.rs`): the texts of `/etc/hosts` and `/etc/resolv.conf`.
//!
//! With the last container everything goes: table, bridge, leases. What a dead container left, [`Store::reclaim`]
//! removes.
//!
//! `netlink.rs` and `nft.rs` are the two languages in which all this is said: requests to the kernel about links,
//! addresses and routes, and programs for its packet filter. No other program is called.
//!
//! ```no_run
//! use std::{fs::File, os::fd::AsFd, path::Path};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = network::Store::open(Path::new("/tmp/state"), Path::new("/tmp/run"))?;
//! let network = store.default_bridge()?;
//! let request = network::Request {
//!     container: "0123456789abcdef".repeat(4),
//!     ports: network::parse_publish("8080:80")?,
//!     ..Default::default()
//! };
//! let netns = File::open("/proc/1234/ns/net")?;
//! let connected = store.connect(&network, &request, netns.as_fd())?;
//! println!("{} is reached through {}", connected.ip, connected.ports[0]);
//! store.disconnect(&network, &request.container)?;
//! # Ok(())
//! # }
//! ```

mod bridge;
mod conntrack;
mod endpoint;
mod error;
pub mod files;
mod firewall;
mod ipam;
mod netlink;
mod nft;
mod ports;
mod publish;
mod records;
mod store;
mod subnet;

pub use endpoint::{Endpoint, loopback_up};
pub use error::Error;
pub use firewall::forward_blocked;
pub use publish::{ParseError, Protocol, Publish, parse_publish};
pub use store::{Connected, DEFAULT, Network, Request, Store};
pub use subnet::{Subnet, SubnetError};
