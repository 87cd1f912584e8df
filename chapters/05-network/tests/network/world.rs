//! Namespaces that play containers and the world outside.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use network::{Connected, Network, Request, Store, parse_publish};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::Sandbox;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A network namespace that lives as long as this value, held by a child that only waits.
pub(crate) struct Netns {
    pid: Pid,
    fd: File,
}

impl Netns {
    pub(crate) fn new() -> Result<Self> {
        match clone3(&CloneArgs { namespaces: CloneFlags::CLONE_NEWNET, cgroup: None })? {
            Cloned::Child => {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).ok();
                loop {
                    nix::unistd::pause();
                }
            }
            Cloned::Parent { pid, .. } => {
                Ok(Self { pid, fd: File::open(format!("/proc/{pid}/ns/net"))? })
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Runs `work` in there; sockets that it makes stay there.
    pub(crate) fn within<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let home = File::open("/proc/self/ns/net")?;
        setns(&self.fd, CloneFlags::CLONE_NEWNET)?;
        let result = work();
        setns(&home, CloneFlags::CLONE_NEWNET)?;
        Ok(result)
    }

    /// Runs a shell script in there and returns what it printed; it must succeed.
    pub(crate) fn sh(&self, script: &str) -> Result<String> {
        let output = self.within(|| Command::new("sh").args(["-ec", script]).output())??;
        text(script, output)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        kill(self.pid, Signal::SIGKILL).ok();
        waitpid(self.pid, None).ok();
    }
}

/// Runs a shell script on the host.
pub(crate) fn sh(script: &str) -> Result<String> {
    text(script, Command::new("sh").args(["-ec", script]).output()?)
}

fn text(script: &str, output: Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("{script}: {} {error}", output.status).into())
}

pub(crate) fn store(sandbox: &Sandbox) -> Result<Store> {
    Ok(Store::open(&sandbox.path("state"), &sandbox.path("run"))?)
}

/// A new id of 64 hex digits, another one each time.
pub(crate) fn id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{:05x}{number:05x}{:054}", std::process::id() & 0xfffff, 0)
}

pub(crate) fn request(publish: &[&str]) -> Request {
    let ports = publish.iter().flat_map(|text| parse_publish(text).unwrap()).collect();
    Request { container: id(), hostname: "test".into(), ports, ..Request::default() }
}

/// A container that is nothing but a network namespace.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) netns: Netns,
    pub(crate) net: Connected,
}

impl Container {
    pub(crate) fn new(store: &Store, network: &Network, publish: &[&str]) -> Result<Self> {
        let netns = Netns::new()?;
        let request = request(publish);
        let net = store.connect(network, &request, netns.fd())?;
        Ok(Self { id: request.container, netns, net })
    }

    pub(crate) fn ip(&self) -> IpAddr {
        self.net.ip.into()
    }
}

/// The world: a namespace with a cable to the host. The host is 10.9.9.1 there, the world 10.9.9.2.
pub(crate) fn world() -> Result<Netns> {
    let world = Netns::new()?;
    sh(&format!(
        "ip link add uplink type veth peer name eth0 netns {}
         ip addr add 10.9.9.1/24 dev uplink; ip link set uplink up",
        world.pid()
    ))?;
    world.sh("ip addr add 10.9.9.2/24 dev eth0; ip link set eth0 up; ip link set lo up")?;
    Ok(world)
}

/// How long to wait for an answer that does not come.
const PATIENCE: Duration = Duration::from_millis(700);

/// Where somebody calls from.
pub(crate) enum From<'a> {
    Host,
    There(&'a Netns),
}

impl From<'_> {
    fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        match self {
            From::Host => Ok(work()),
            From::There(netns) => netns.within(work),
        }
    }
}

/// Connects from `client` to `to`, while the server listens on `port` in `server`. A word goes there and back. Returns
/// the address that the server sees.
pub(crate) fn tcp(
    client: &From<'_>,
    to: (IpAddr, u16),
    server: &Netns,
    port: u16,
) -> Result<IpAddr> {
    let listener = server.within(|| TcpListener::bind(("0.0.0.0", port)))??;
    let address = SocketAddr::from(to);
    let mut client = client.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
    listener.set_nonblocking(true)?;
    // What answered was perhaps somebody else.
    let (mut accepted, peer) = listener.accept()?;
    accepted.set_nonblocking(false)?;
    client.write_all(b"ping")?;
    let mut word = [0; 4];
    accepted.read_exact(&mut word)?;
    accepted.write_all(&word)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.read_exact(&mut word)?;
    assert_eq!(&word, b"ping");
    Ok(peer.ip())
}

/// The same with datagrams.
pub(crate) fn udp(
    client: &From<'_>,
    to: (IpAddr, u16),
    server: &Netns,
    port: u16,
) -> Result<IpAddr> {
    let listener = server.within(|| UdpSocket::bind(("0.0.0.0", port)))??;
    let client = client.run(|| UdpSocket::bind(("0.0.0.0", 0)))??;
    for socket in [&listener, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    client.connect(SocketAddr::from(to))?;
    client.send(b"ping")?;
    let mut word = [0; 16];
    let (length, peer) = listener.recv_from(&mut word)?;
    listener.send_to(&word[..length], peer)?;
    assert_eq!(client.recv(&mut word)?, 4);
    Ok(peer.ip())
}

/// What a test must leave as it was: links, routes, rules.
pub(crate) fn kernel_state() -> Result<String> {
    sh("ip -j link; ip -j address; ip -j route show table all; nft list ruleset")
}
