//! Many at once, and some of them killed.

use std::time::Duration;

use network::Store;
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::{Outcome, Sandbox};

use crate::world::{Container, Netns, Result, kernel_state, request, sh, store};

/// A process of its own that does `work`; it ends with 0 if that went well.
fn process(work: impl FnOnce() -> Result<()>) -> Result<Pid> {
    match clone3(&CloneArgs { namespaces: CloneFlags::empty(), cgroup: None })? {
        Cloned::Child => {
            let done = work();
            if let Err(error) = &done {
                eprintln!("{error}");
            }
            std::process::exit(i32::from(done.is_err()));
        }
        Cloned::Parent { pid, .. } => Ok(pid),
    }
}

pub(crate) fn fifty_at_once(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let before = kernel_state()?;
    let mut containers = Vec::new();
    for _ in 0..50 {
        containers.push((Netns::new()?, request(&["80", "9000-9999:90"])));
    }
    let each = |work: &dyn Fn(&Store, &Netns, &network::Request) -> Result<()>| -> Outcome {
        let start = |(netns, request): &(Netns, _)| process(|| work(&store, netns, request));
        let pids: Vec<Pid> = containers.iter().map(start).collect::<Result<_>>()?;
        for pid in pids {
            assert_eq!(waitpid(pid, None)?, WaitStatus::Exited(pid, 0));
        }
        Ok(())
    };
    each(&|store, netns, request| Ok(store.connect(&network, request, netns.fd()).map(drop)?))?;
    let endpoints = store.endpoints(&network)?;
    let mut addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.ip).collect();
    addresses.dedup();
    assert_eq!(addresses.len(), 50);
    let mut ports: Vec<_> =
        endpoints.iter().flat_map(|endpoint| &endpoint.ports).map(|port| port.host_port).collect();
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), 100);
    for (netns, _) in &containers {
        netns.sh(&format!("ping -c 1 -W 1 {}", addresses[7]))?;
    }
    each(&|store, _, request| Ok(store.disconnect(&network, &request.container)?))?;
    assert_eq!(kernel_state()?, before);
    Ok(())
}

pub(crate) fn killed_in_the_middle(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let before = kernel_state()?;
    let survivor = request(&["8080:80"]);
    let house = Netns::new()?;
    let mut interrupted = 0;
    for round in 0..60 {
        let netns = Netns::new()?;
        let doomed = request(&["8081:80", "8082:80/udp"]);
        let pid = process(|| {
            store.connect(&network, &doomed, netns.fd())?;
            Ok(store.disconnect(&network, &doomed.container)?)
        })?;
        std::thread::sleep(Duration::from_micros(round * 150));
        kill(pid, Signal::SIGKILL).ok();
        if matches!(waitpid(pid, None)?, WaitStatus::Signaled(..)) {
            interrupted += 1;
        }
        if round % 3 == 0 {
            // The next command comes before anybody has tidied up.
            store.connect(&network, &survivor, house.fd())?;
            store.reclaim(&|id| id == survivor.container)?;
            assert_eq!(store.endpoints(&network)?.len(), 1);
            house.sh(&format!("ping -c 1 -W 1 {}", network.gateway))?;
            store.disconnect(&network, &survivor.container)?;
        } else {
            store.reclaim(&|_| false)?;
        }
        assert_eq!(kernel_state()?, before, "round {round}");
    }
    assert!(interrupted > 10, "only {interrupted} of 60 were killed in the middle");
    Ok(())
}

pub(crate) fn half_a_bridge_is_made_anew(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    sh(&format!("ip link add {} type bridge", network.bridge))?;
    let one = Container::new(&store, &network, &[])?;
    one.netns.sh(&format!("ping -c 1 -W 0.5 {}", network.gateway))?;
    Ok(())
}
