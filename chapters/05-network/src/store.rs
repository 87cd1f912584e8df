//! The networks of one state root, and containers that come and go. All under one lock.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syscalls::error::During;
use syscalls::step;

use crate::endpoint::{self, Endpoint};
use crate::error::Error;
use crate::ipam::{self, Claims};
use crate::netlink::Socket;
use crate::ports;
use crate::publish::{Protocol, Publish};
use crate::records::{self, Place, fingerprint};
use crate::subnet::{self, Subnet};
use crate::{bridge, conntrack, firewall};

/// Name of the network that containers get when nothing is said.
pub const DEFAULT: &str = "bridge";

/// A network of containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name for the user.
    pub name: String,
    /// 64 hex digits.
    pub id: String,
    /// Name of its link on the host, at most 15 bytes.
    pub bridge: String,
    /// Its addresses.
    pub subnet: Subnet,
    /// The host's address in it: the first.
    pub gateway: Ipv4Addr,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// What a container wants of a network.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Id of the container, 64 hex digits.
    pub container: String,
    /// Its host name.
    pub hostname: String,
    /// Further names in this network.
    pub aliases: Vec<String>,
    /// A certain address of the subnet.
    pub ip: Option<Ipv4Addr>,
    /// A certain hardware address.
    pub mac: Option<[u8; 6]>,
    /// Ports to publish.
    pub ports: Vec<Publish>,
}

/// What a container has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Prefix length of the subnet.
    pub prefix: u8,
    /// The way out, an address of the host.
    pub gateway: Ipv4Addr,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// The published ports, all with a number on the host.
    pub ports: Vec<Publish>,
    /// Name of the interface in the container.
    pub interface: String,
    /// Name of the other end on the host.
    pub host_interface: String,
}

/// The networks of one state root.
#[derive(Debug)]
pub struct Store {
    run: PathBuf,
    bridge: String,
}

impl Store {
    /// Opens the networks recorded in `state` (kept) and `run` (gone with the next boot, as what it speaks of).
    ///
    /// The default state root's bridge is `mdk0`; another one's has a name made from the two paths, so that several
    /// state roots live on one host.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(state: &Path, run: &Path) -> Result<Self, Error> {
        fs::create_dir_all(run).during("create directory", run.display())?;
        let standard = state == Path::new("/var/lib/mini-docker/networks")
            && run == Path::new("/run/mini-docker/networks");
        let bridge = if standard {
            "mdk0".to_owned()
        } else {
            let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            format!("mdk{:010x}", fingerprint(&[&canonical(state), &canonical(run)]))
        };
        Ok(Self { run: run.to_owned(), bridge })
    }

    /// The network of containers that ask for none. Its record is made at the first use, its link by the first
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`Error::NoSubnet`] if routes of the host overlap all the networks that are tried.
    pub fn default_bridge(&self) -> Result<Network, Error> {
        let place = self.place(DEFAULT);
        match place.network()? {
            Some(network) => Ok(network),
            None => {
                let _lock = records::lock(&self.run)?;
                self.recorded(&place, &Socket::route()?)
            }
        }
    }

    /// The network of that name.
    ///
    /// # Errors
    /// [`Error::UnknownNetwork`].
    pub fn get(&self, name: &str) -> Result<Network, Error> {
        if name == DEFAULT {
            return self.default_bridge();
        }
        let known = self.list()?.into_iter().find(|network| {
            network.name == name || (name.len() >= 4 && network.id.starts_with(name))
        });
        known.ok_or_else(|| Error::UnknownNetwork(name.to_owned()))
    }

    /// All networks.
    ///
    /// # Errors
    /// As [`default_bridge`](Self::default_bridge).
    pub fn list(&self) -> Result<Vec<Network>, Error> {
        Ok(vec![self.default_bridge()?])
    }

    /// The containers in a network.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn endpoints(&self, network: &Network) -> Result<Vec<Endpoint>, Error> {
        self.place(&network.name).endpoints()
    }

    /// Connects a container: bridge and table if it is the first one, address, cable, route, ports.
    ///
    /// A container that is connected already, a leftover of a crash, is disconnected first. On failure nothing is
    /// left. The one thing that stays for good is `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// [`Error::PortTaken`] and its like, [`Error::AddressTaken`], [`Error::NoAddress`]; else what the kernel says.
    pub fn connect(
        &self,
        network: &Network,
        request: &Request,
        netns: BorrowedFd<'_>,
    ) -> Result<Connected, Error> {
        let lock = self.run.join("lock");
        let _lock = step!("flock", ("{}, LOCK_EX", lock.display()), records::lock(&self.run))?;
        let place = self.place(&network.name);
        let route = Socket::route()?;
        let mut network = self.recorded(&place, &route)?;
        if let Some(stale) = place.endpoint(&request.container)? {
            remove(&place, &network, &route, &stale)?;
        }
        // From here on a later `reclaim` finds whatever is made.
        fs::create_dir_all(place.endpoint_dir())
            .during("create directory", place.endpoint_dir().display())?;
        let done = (|| {
            let link = complete_bridge(&place, &mut network, &route)?;
            let endpoint = allot(&place, &network, request)?;
            place.write_endpoint(&endpoint)?;
            let attached = attach(&place, &network, &route, link, &endpoint, netns);
            if attached.is_err() {
                // The first error is the one to tell; what could not be undone is left to `reclaim`.
                let _ = remove(&place, &network, &route, &endpoint);
            }
            attached.map(|()| endpoint)
        })();
        match done {
            Ok(endpoint) => Ok(Connected {
                ip: endpoint.ip,
                prefix: network.subnet.prefix,
                gateway: network.gateway,
                mac: endpoint.mac,
                host_interface: endpoint.host_interface(),
                interface: endpoint::INTERFACE.to_owned(),
                ports: endpoint.ports,
            }),
            Err(error) => {
                let _ = take_down_if_empty(&place, &network, &route);
                Err(error)
            }
        }
    }

    /// Disconnects a container, whether its network namespace still exists or not. With the last one everything of the
    /// network goes. A container that is not connected is no error.
    ///
    /// It takes tens of milliseconds, most of it spent asleep in the kernel, which removes no link before every
    /// processor has let go of it: whoever waits for a container's end should be told of it first.
    ///
    /// # Errors
    /// What the kernel says; then the record is still there for another try.
    pub fn disconnect(&self, network: &Network, container: &str) -> Result<(), Error> {
        let _lock = records::lock(&self.run)?;
        let place = self.place(&network.name);
        let Some(network) = place.network()? else { return Ok(()) };
        let Some(endpoint) = place.endpoint(container)? else { return Ok(()) };
        let route = Socket::route()?;
        remove(&place, &network, &route, &endpoint)?;
        take_down_if_empty(&place, &network, &route)
    }

    /// Removes what dead containers left: cables, ports, addresses, and the bridge if none remains. Returns their ids.
    ///
    /// `alive` is asked under the lock of this store, so it must not call the store.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn reclaim(&self, alive: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let place = self.place(DEFAULT);
        if !place.endpoint_dir().exists() {
            return Ok(Vec::new());
        }
        let _lock = records::lock(&self.run)?;
        let Some(network) = place.network()? else { return Ok(Vec::new()) };
        let route = Socket::route()?;
        let mut gone = Vec::new();
        for endpoint in place.endpoints()? {
            if !alive(&endpoint.container) {
                remove(&place, &network, &route, &endpoint)?;
                gone.push(endpoint.container);
            }
        }
        take_down_if_empty(&place, &network, &route)?;
        Ok(gone)
    }

    /// The record of the network; made, with a subnet that is free, if there is none.
    fn recorded(&self, place: &Place, route: &Socket) -> Result<Network, Error> {
        if let Some(network) = place.network()? {
            return Ok(network);
        }
        let subnet =
            subnet::first_free(&bridge::destinations(route, None)?).ok_or(Error::NoSubnet)?;
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| std::io::Error::other(error.to_string()))
            .during("get random bytes", "")?;
        let network = Network {
            name: DEFAULT.to_owned(),
            id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            bridge: self.bridge.clone(),
            subnet,
            gateway: subnet.gateway(),
            mtu: 1500,
        };
        place.write_network(&network)?;
        Ok(network)
    }

    fn place(&self, name: &str) -> Place {
        Place::new(&self.run, name)
    }
}

/// The bridge of the network, complete: found, or made with a subnet that nobody else has.
fn complete_bridge(
    place: &Place,
    network: &mut Network,
    route: &Socket,
) -> Result<bridge::Link, Error> {
    match bridge::find(route, &network.bridge)? {
        Some(link) if link.up => return Ok(link),
        // Somebody was killed while making it.
        Some(_) => bridge::delete(route, &[&network.bridge])?,
        None => {}
    }
    // Not for ever: a routing daemon might answer each new subnet with a route of its own.
    for _ in 0..8 {
        let taken = bridge::destinations(route, None)?;
        if taken.iter().any(|&(to, prefix)| network.subnet.overlaps(to, prefix)) {
            network.subnet = subnet::first_free(&taken).ok_or(Error::NoSubnet)?;
            network.gateway = network.subnet.gateway();
            place.write_network(network)?;
        }
        let link = bridge::create(route, network)?;
        // Another state root may have chosen the same in the meantime: whoever sees the other one gives way.
        let others = bridge::destinations(route, Some(link.index))?;
        if !others.iter().any(|&(to, prefix)| network.subnet.overlaps(to, prefix)) {
            return Ok(link);
        }
        bridge::delete(route, &[&network.bridge])?;
    }
    Err(Error::NoSubnet)
}

/// Chooses address and ports.
fn allot(place: &Place, network: &Network, request: &Request) -> Result<Endpoint, Error> {
    let claims = Claims::new(place.dir());
    claims.prepare()?;
    let ip = match request.ip {
        Some(ip) if !network.subnet.is_host(ip) => {
            return Err(Error::AddressOutside { ip, subnet: network.subnet });
        }
        Some(ip) => match claims.holder(ip) {
            Some(container) => return Err(Error::AddressTaken { ip, container }),
            None => ip,
        },
        None => claims.free_address(&network.subnet).ok_or(Error::NoAddress(network.subnet))?,
    };
    let claimed = if request.ports.is_empty() { Vec::new() } else { claims.ports()? };
    let taken = |address: IpAddr, protocol: Protocol, port: u16| {
        ipam::port_holder(&claimed, address, protocol, port)
    };
    let ports = ports::resolve(&request.ports, &taken)
        .map_err(|(publish, refusal)| Error::port(publish, refusal))?;
    Ok(Endpoint {
        container: request.container.clone(),
        hostname: request.hostname.clone(),
        aliases: request.aliases.clone(),
        ip,
        mac: request.mac.unwrap_or_else(|| bridge::mac(ip)),
        ports,
    })
}

/// Makes what the endpoint's record promises.
fn attach(
    place: &Place,
    network: &Network,
    route: &Socket,
    link: bridge::Link,
    endpoint: &Endpoint,
    netns: BorrowedFd<'_>,
) -> Result<(), Error> {
    Claims::new(place.dir()).take(&endpoint.container, endpoint.ip, &endpoint.ports)?;
    endpoint::plug_in(route, network, link, endpoint, netns)?;
    endpoint::configure(network, endpoint, netns)?;
    endpoint::settle(route, network, endpoint)?;
    let netfilter = Socket::netfilter()?;
    if crate::nft::table_exists(&netfilter, &firewall::table(network))? {
        if !endpoint.ports.is_empty() {
            firewall::publish(&netfilter, network, endpoint.ip, &endpoint.ports)?;
        }
    } else {
        // The first container; or somebody has flushed the host's ruleset, and the others' ports with it.
        let all = place.endpoints()?;
        let ports = all.iter().map(|endpoint| (endpoint.ip, endpoint.ports.as_slice()));
        firewall::create(&netfilter, network, ports)?;
    }
    Ok(conntrack::forget(&netfilter, endpoint.ip, &endpoint.ports)?)
}

/// Undoes [`attach`], as far as it got, and forgets the endpoint last.
fn remove(
    place: &Place,
    network: &Network,
    route: &Socket,
    endpoint: &Endpoint,
) -> Result<(), Error> {
    let netfilter = Socket::netfilter()?;
    if place.endpoint_paths()?.len() <= 1 {
        // The last one. Table and links are removed as a whole, since each single removal makes the kernel wait for all
        // processors.
        firewall::delete(&netfilter, network)?;
        bridge::delete_group(route, network)?;
    } else if !endpoint.ports.is_empty() {
        firewall::unpublish(&netfilter, network, endpoint.ip, &endpoint.ports)?;
    }
    conntrack::forget(&netfilter, endpoint.ip, &endpoint.ports)?;
    bridge::delete(route, &[&endpoint.host_interface()])?;
    Claims::new(place.dir()).give_back(&endpoint.container, endpoint.ip, &endpoint.ports)?;
    Ok(ipam::remove(&place.endpoint_path(&endpoint.container))?)
}

/// With the last container go the table, the bridge and the leases. The network's own record stays.
fn take_down_if_empty(place: &Place, network: &Network, route: &Socket) -> Result<(), Error> {
    if !place.endpoint_paths()?.is_empty() {
        return Ok(());
    }
    firewall::delete(&Socket::netfilter()?, network)?;
    bridge::delete(route, &[&network.bridge])?;
    Claims::new(place.dir()).clear()?;
    let dir = place.endpoint_dir();
    for leftover in ipam::entries(&dir)? {
        ipam::remove(&leftover)?;
    }
    match fs::remove_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => Ok(other.during("remove directory", dir.display())?),
    }
}
