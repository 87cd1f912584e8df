//! Two network namespaces that ping each other through a bridge; one of them publishes a port.
//!
//! Nothing here is a container but the network: each "host" is a child process in a namespace of its own that only
//! waits. Run as root:
//!
//! ```text
//! cargo run -p network --example two-hosts            # the story
//! cargo run -p network --example two-hosts -- 'ip route; ping -c 1 172.17.0.3'   # a script of yours in host one
//! ```

use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;

use network::{Request, Store, parse_publish};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use syscalls::clone::{CloneArgs, Cloned, clone3};

/// A process in a new network namespace that does nothing until we end.
fn host() -> Result<File, Box<dyn Error>> {
    match clone3(&CloneArgs { namespaces: CloneFlags::CLONE_NEWNET, cgroup: None })? {
        Cloned::Child => {
            let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            loop {
                nix::unistd::pause();
            }
        }
        Cloned::Parent { pid, .. } => Ok(File::open(format!("/proc/{pid}/ns/net"))?),
    }
}

/// Runs a script in the namespace and shows it, as a terminal would.
fn run(netns: &File, script: &str) -> Result<(), Box<dyn Error>> {
    let home = File::open("/proc/self/ns/net")?;
    println!("one$ {script}");
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let status = Command::new("sh").args(["-c", script]).status();
    setns(home, CloneFlags::CLONE_NEWNET)?;
    if status?.success() { Ok(()) } else { Err("the script failed".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let script = std::env::args().nth(1);
    let folder = std::env::temp_dir().join(format!("two-hosts-{}", std::process::id()));
    let store = Store::open(&folder.join("state"), &folder.join("run"))?;
    let network = store.default_bridge()?;
    println!("network {} with gateway {}", network.subnet, network.gateway);

    let hosts = [host()?, host()?];
    let mut connected = Vec::new();
    for (netns, (name, publish)) in hosts.iter().zip([("one", None), ("two", Some("8080:80"))]) {
        let request = Request {
            container: format!("{name:0<64}"),
            hostname: name.to_owned(),
            ports: publish.map(parse_publish).transpose()?.unwrap_or_default(),
            ..Request::default()
        };
        let got = store.connect(&network, &request, netns.as_fd())?;
        let ports: Vec<String> = got.ports.iter().map(ToString::to_string).collect();
        println!("{name}: {}/{} {}", got.ip, got.prefix, ports.join(" "));
        connected.push((request.container, got));
    }

    let story = format!("ip -br -4 address; ping -c 1 {} | grep loss", connected[1].1.ip);
    let outcome = run(&hosts[0], script.as_deref().unwrap_or(&story));

    // The last one takes bridge, table and leases along.
    for (container, _) in &connected {
        store.disconnect(&network, container)?;
    }
    std::fs::remove_dir_all(&folder)?;
    outcome
}
