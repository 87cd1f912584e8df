//! Packets that arrive, and packets that do not.

use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use testkit::{Outcome, Sandbox};

use crate::world::{Container, From, Netns, request, sh, store, tcp, udp, world};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const UPLINK: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 1));
const WORLD: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 2));

pub(crate) fn two_containers_ping_each_other(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let (one, two) =
        (Container::new(&store, &network, &[])?, Container::new(&store, &network, &[])?);
    assert_ne!(one.net.ip, two.net.ip);
    // The very first packet must not be lost: its repetition would come a second later.
    one.netns.sh(&format!("ping -c 1 -W 0.5 {}", two.net.ip))?;
    two.netns.sh(&format!("ping -c 1 -W 0.5 {}", one.net.ip))?;
    one.netns.sh(&format!("ping -c 1 -W 0.5 {}", network.gateway))?;
    one.netns.sh("ping -c 1 -W 0.5 127.0.0.1")?;
    sh(&format!("ping -c 1 -W 0.5 {}", one.net.ip))?;
    let links = one.netns.sh("ip -o link show dev eth0")?;
    let mac = one.net.mac.map(|byte| format!("{byte:02x}")).join(":");
    assert!(links.contains(&mac) && links.contains("state UP"), "{links}");
    Ok(())
}

pub(crate) fn the_host_reaches_a_published_port(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _world = world()?;
    let web = Container::new(&store, &network, &["8080:80"])?;
    let gateway = IpAddr::V4(network.gateway);
    for to in [LOCALHOST, Ipv4Addr::new(127, 3, 2, 1).into(), gateway, UPLINK] {
        let seen = tcp(&From::Host, (to, 8080), &web.netns, 80)
            .map_err(|error| format!("to {to}: {error}"))?;
        assert_eq!(seen, if to == UPLINK { UPLINK } else { gateway }, "to {to}");
    }
    // Directly as well, and a port that is not published at all.
    assert_eq!(tcp(&From::Host, (web.ip(), 81), &web.netns, 81)?, gateway);
    tcp(&From::Host, (LOCALHOST, 81), &web.netns, 81).unwrap_err();
    Ok(())
}

/// Twice: where br_netfilter is loaded, packets are translated inside the bridge already.
pub(crate) fn containers_reach_a_published_port(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _world = world()?;
    let web = Container::new(&store, &network, &["8080:80"])?;
    let other = Container::new(&store, &network, &[])?;
    let gateway = IpAddr::V4(network.gateway);
    let switch = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    for bridge_netfilter in ["0", "1"] {
        if switch.exists() {
            std::fs::write(switch, bridge_netfilter)?;
        }
        for caller in [&other, &web] {
            for to in [gateway, UPLINK] {
                let seen = tcp(&From::There(&caller.netns), (to, 8080), &web.netns, 80)
                    .map_err(|error| format!("from {} to {to}: {error}", caller.net.ip))?;
                assert_eq!(seen, gateway, "otherwise the answer would not come through the host");
            }
        }
        let direct = tcp(&From::There(&other.netns), (web.ip(), 80), &web.netns, 80)?;
        assert_eq!(direct, other.ip());
    }
    Ok(())
}

/// A lost first packet is repeated after a second: more than all the rest of a start together.
pub(crate) fn the_first_packet_arrives(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _keeps_the_bridge = Container::new(&store, &network, &[])?;
    let _listener = TcpListener::bind((network.gateway, 7000))?;
    let patience = Duration::from_millis(700);
    for round in 0..40 {
        // Everything that takes time is done before, so that the packet follows on the heels of `connect`.
        let netns = Netns::new()?;
        netns.sh("ip link set lo up")?;
        let request = request(&["8080:80"]);
        let inside = netns.within(|| TcpListener::bind("0.0.0.0:80"))??;
        let start;
        if round % 2 == 0 {
            store.connect(&network, &request, netns.fd())?;
            start = Instant::now();
            TcpStream::connect_timeout(&(LOCALHOST, 8080).into(), patience)?;
        } else {
            store.connect(&network, &request, netns.fd())?;
            start = Instant::now();
            let to = (network.gateway, 7000).into();
            netns.within(|| TcpStream::connect_timeout(&to, patience))??;
        }
        assert!(start.elapsed() < patience / 2, "round {round}: {:?}", start.elapsed());
        drop(inside);
        store.disconnect(&network, &request.container)?;
    }
    Ok(())
}

pub(crate) fn outside_reaches_what_is_published_only(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let world = world()?;
    let web = Container::new(&store, &network, &["8080:80"])?;
    let seen = tcp(&From::There(&world), (UPLINK, 8080), &web.netns, 80)?;
    assert_eq!(seen, WORLD, "the container sees who calls");
    // A neighbour that knows the way to the subnet still finds closed doors.
    world.sh(&format!("ip route add {} via 10.9.9.1", network.subnet))?;
    tcp(&From::There(&world), (web.ip(), 81), &web.netns, 81).unwrap_err();
    // Port 8080 of somebody else is none of our business.
    sh("ip route add 10.7.7.0/24 via 10.9.9.2")?;
    world.sh("ip addr add 10.7.7.7/32 dev lo")?;
    let elsewhere = Ipv4Addr::new(10, 7, 7, 7).into();
    assert_eq!(tcp(&From::There(&web.netns), (elsewhere, 8080), &world, 8080)?, UPLINK);
    assert_eq!(tcp(&From::Host, (elsewhere, 8080), &world, 8080)?, UPLINK);
    Ok(())
}

pub(crate) fn the_way_out_wears_the_hosts_address(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let world = world()?;
    let container = Container::new(&store, &network, &[])?;
    assert_eq!(tcp(&From::There(&container.netns), (WORLD, 443), &world, 443)?, UPLINK);
    assert_eq!(udp(&From::There(&container.netns), (WORLD, 53), &world, 53)?, UPLINK);
    container.netns.sh("ping -c 1 -W 1 10.9.9.2")?;
    Ok(())
}

pub(crate) fn udp_goes_the_same_ways(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let world = world()?;
    let dns = Container::new(&store, &network, &["5353:53/udp"])?;
    let other = Container::new(&store, &network, &[])?;
    let gateway = IpAddr::V4(network.gateway);
    assert_eq!(udp(&From::Host, (LOCALHOST, 5353), &dns.netns, 53)?, gateway);
    assert_eq!(udp(&From::There(&world), (UPLINK, 5353), &dns.netns, 53)?, WORLD);
    assert_eq!(udp(&From::There(&other.netns), (gateway, 5353), &dns.netns, 53)?, gateway);
    // The TCP port of the same number is not published.
    tcp(&From::Host, (LOCALHOST, 5353), &dns.netns, 53).unwrap_err();
    Ok(())
}

/// A UDP client that keeps its port never begins anew as far as the kernel's connection table knows.
pub(crate) fn a_udp_client_follows_the_port(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _keeps_the_bridge = Container::new(&store, &network, &[])?;
    let client = UdpSocket::bind(("127.0.0.1", 0))?;
    let call = |server: &Netns| -> crate::world::Result<()> {
        let server = server.within(|| UdpSocket::bind(("0.0.0.0", 53)))??;
        server.set_read_timeout(Some(Duration::from_millis(700)))?;
        client.send_to(b"question", ("127.0.0.1", 5353))?;
        server.recv_from(&mut [0; 16])?;
        Ok(())
    };
    let nobody = Netns::new()?;
    call(&nobody).unwrap_err();
    let first = Container::new(&store, &network, &["5353:53/udp"])?;
    call(&first.netns).map_err(|error| format!("published later: {error}"))?;
    store.disconnect(&network, &first.id)?;
    let program = UdpSocket::bind(("127.0.0.1", 5353))?;
    program.set_read_timeout(Some(Duration::from_millis(700)))?;
    client.send_to(b"question", ("127.0.0.1", 5353))?;
    program.recv(&mut [0; 16]).map_err(|error| format!("a program of the host: {error}"))?;
    drop(program);
    let second = Container::new(&store, &network, &["5353:53/udp"])?;
    assert_ne!(first.net.ip, second.net.ip);
    call(&second.netns).map_err(|error| format!("moved: {error}"))?;
    Ok(())
}

pub(crate) fn one_address_of_the_host_is_only_that(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let world = world()?;
    let private = Container::new(&store, &network, &["127.0.0.1:8080:80"])?;
    let public = Container::new(&store, &network, &["10.9.9.1:8080:80"])?;
    tcp(&From::Host, (LOCALHOST, 8080), &private.netns, 80)?;
    tcp(&From::Host, (LOCALHOST, 8080), &public.netns, 80).unwrap_err();
    tcp(&From::There(&world), (UPLINK, 8080), &public.netns, 80)?;
    tcp(&From::There(&world), (UPLINK, 8080), &private.netns, 80).unwrap_err();
    Ok(())
}

/// `route_localnet` on the bridge would let a container that forges its packets reach 127.0.0.1 of the host.
pub(crate) fn the_hosts_loopback_stays_closed(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let hostile = Container::new(&store, &network, &[])?;
    hostile.netns.sh(&format!(
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet
         ip addr flush dev lo; ip route add 127.0.0.0/8 via {}",
        network.gateway
    ))?;
    let _secret = TcpListener::bind(("127.0.0.1", 7777))?;
    let to = (Ipv4Addr::LOCALHOST, 7777).into();
    let attack =
        hostile.netns.within(|| TcpStream::connect_timeout(&to, Duration::from_millis(700)))?;
    assert!(attack.is_err(), "a container reached the host's loopback");
    Ok(())
}

pub(crate) fn none_has_loopback(_: &Sandbox) -> Outcome {
    let netns = Netns::new()?;
    netns.sh("ping -c 1 -W 0.5 127.0.0.1").unwrap_err();
    network::loopback_up(netns.fd())?;
    netns.sh("ping -c 1 -W 0.5 127.0.0.1")?;
    assert_eq!(netns.sh("ip -br link")?.lines().count(), 1);
    Ok(())
}
