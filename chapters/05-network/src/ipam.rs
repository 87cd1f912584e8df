//! Who has which address and which port: names that can be taken once.
//!
//! A claim is a symbolic link, `leases/172.17.0.2 -> <container id>`. Making one is a single step that fails if the name
//! is there already, so after a crash a claim is either there in full or not at all, and no file needs to be parsed.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use syscalls::KernelError;
use syscalls::error::During;

use crate::ports;
use crate::publish::{Protocol, Publish};
use crate::subnet::Subnet;

/// The claims of one network, below its run directory.
pub(crate) struct Claims {
    leases: PathBuf,
    ports: PathBuf,
    last: PathBuf,
}

impl Claims {
    /// The claims of the network whose records are in `dir`.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { leases: dir.join("leases"), ports: dir.join("ports"), last: dir.join("last") }
    }

    /// Makes the directories, if need be.
    pub(crate) fn prepare(&self) -> Result<(), KernelError> {
        for dir in [&self.leases, &self.ports] {
            fs::create_dir_all(dir).during("create directory", dir.display())?;
        }
        Ok(())
    }

    /// The next free address: after the one given out last, so that an address rests as long as possible.
    pub(crate) fn free_address(&self, subnet: &Subnet) -> Option<Ipv4Addr> {
        // Only a hint: whatever is wrong with it, the search begins at the first address.
        let last = fs::read_to_string(&self.last).ok().and_then(|text| text.parse().ok());
        subnet.hosts_after(last.unwrap_or(subnet.address)).find(|ip| self.holder(*ip).is_none())
    }

    /// The container that has the address.
    pub(crate) fn holder(&self, ip: Ipv4Addr) -> Option<String> {
        id(&self.leases.join(ip.to_string()))
    }

    /// All ports that containers have, with the container's id.
    pub(crate) fn ports(&self) -> Result<Vec<(IpAddr, Protocol, u16, String)>, KernelError> {
        let mut found = Vec::new();
        for entry in entries(&self.ports)? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy();
            let mut parts = name.split('-');
            let protocol = match parts.next() {
                Some("tcp") => Protocol::Tcp,
                Some("udp") => Protocol::Udp,
                _ => continue,
            };
            let address = parts.next().and_then(|address| address.parse().ok());
            let port = parts.next().and_then(|port| port.parse().ok());
            if let (Some(address), Some(port), Some(id)) = (address, port, id(&entry)) {
                found.push((address, protocol, port, id));
            }
        }
        Ok(found)
    }

    /// Takes an address and resolved ports for a container.
    pub(crate) fn take(
        &self,
        container: &str,
        ip: Ipv4Addr,
        ports: &[Publish],
    ) -> Result<(), KernelError> {
        let lease = self.leases.join(ip.to_string());
        symlink(container, &lease).during("lease address", ip)?;
        for port in ports {
            symlink(container, self.port(port)).during("reserve port", port)?;
        }
        fs::write(&self.last, ip.to_string()).during("write", self.last.display())
    }

    /// Gives back what [`take`](Self::take) took, as far as this container has it.
    pub(crate) fn give_back(
        &self,
        container: &str,
        ip: Ipv4Addr,
        ports: &[Publish],
    ) -> Result<(), KernelError> {
        let ports = ports.iter().map(|port| self.port(port));
        for claim in std::iter::once(self.leases.join(ip.to_string())).chain(ports) {
            if id(&claim).as_deref() == Some(container) {
                remove(&claim)?;
            }
        }
        Ok(())
    }

    /// Removes all that is left of a network without containers.
    pub(crate) fn clear(&self) -> Result<(), KernelError> {
        for dir in [&self.leases, &self.ports] {
            for claim in entries(dir)? {
                remove(&claim)?;
            }
            match fs::remove_dir(dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                other => other.during("remove directory", dir.display())?,
            }
        }
        remove(&self.last)
    }

    fn port(&self, port: &Publish) -> PathBuf {
        let number = port.host_port.unwrap_or(0);
        self.ports.join(format!("{}-{}-{number}", port.protocol, port.address()))
    }
}

/// The container that has a port of the host among `claimed`, if the two addresses have one in common.
pub(crate) fn port_holder(
    claimed: &[(IpAddr, Protocol, u16, String)],
    address: IpAddr,
    protocol: Protocol,
    port: u16,
) -> Option<String> {
    let same = claimed.iter().find(|(other, other_protocol, number, _)| {
        *number == port && *other_protocol == protocol && ports::overlap(*other, address)
    });
    same.map(|(.., id)| id.clone())
}

/// Where a claim points to.
fn id(claim: &Path) -> Option<String> {
    fs::read_link(claim).ok().and_then(|target| target.into_os_string().into_string().ok())
}

/// The paths in a directory; none if it is not there.
pub(crate) fn entries(dir: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let list = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.during("list directory", dir.display())?,
    };
    list.map(|entry| entry.map(|entry| entry.path()).during("list directory", dir.display()))
        .collect()
}

/// Removes a file or link that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), KernelError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.during("remove", path.display()),
    }
}
