//! Which number on the host a port becomes, and who has it already.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use network::{Error, Request};
use testkit::{Outcome, Sandbox};

use crate::world::{Container, From, Netns, Result, kernel_state, request, store, tcp};

pub(crate) fn ranges_and_free_ports(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let many = Container::new(&store, &network, &["8000-8002:80-82", "90", "91"])?;
    let numbers: Vec<u16> = many.net.ports.iter().filter_map(|port| port.host_port).collect();
    assert_eq!(numbers[..3], [8000, 8001, 8002]);
    assert!(numbers[3] != numbers[4] && numbers[3..].iter().all(|port| *port > 1024));
    let host = Ipv4Addr::LOCALHOST.into();
    for (port, inside) in numbers.iter().zip([80, 81, 82, 90, 91]) {
        tcp(&From::Host, (host, *port), &many.netns, inside)?;
    }
    // One of a range: the first that is free. 8003 is the test's own.
    let _taken = TcpListener::bind(("0.0.0.0", 8003))?;
    let next = Container::new(&store, &network, &["8000-8010:80"])?;
    assert_eq!(next.net.ports[0].host_port, Some(8004));
    assert_eq!(next.net.ports[0].host_port_last, None);
    tcp(&From::Host, (host, 8004), &next.netns, 80)?;
    // As many as there can be: the elements do not fit into one message.
    let all = Container::new(&store, &network, &["10000-12999:10000-12999/udp"])?;
    assert_eq!(all.net.ports.len(), 3000);
    store.disconnect(&network, &all.id)?;
    Ok(())
}

pub(crate) fn conflicts_are_told(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let mut first = request(&["8080:80", "127.0.0.1:9000:90"]);
    first.container = "c0ffee".repeat(11)[..64].to_owned();
    let netns = Netns::new()?;
    store.connect(&network, &first, netns.fd())?;
    let before = kernel_state()?;
    let _host = (TcpListener::bind(("127.0.0.1", 7000))?, UdpSocket::bind(("0.0.0.0", 7001))?);
    let netns = Netns::new()?;
    let mut told = String::new();
    for publish in [
        "8080:81",
        "127.0.0.1:8080:81",
        "9000:80",
        "7000:80",
        "7001:80/udp",
        "8080-8080:90",
        "192.0.2.1:8081:80",
        "[::1]:8081:80",
    ] {
        let error = store.connect(&network, &request(&[publish]), netns.fd()).unwrap_err();
        tell(&mut told, publish, &error)?;
    }
    let twice = request(&["8081:80", "127.0.0.1:8081:81"]);
    tell(&mut told, "8081 twice", &store.connect(&network, &twice, netns.fd()).unwrap_err())?;
    insta::assert_snapshot!("conflicts", told);
    assert_eq!(kernel_state()?, before, "a refused container left something");
    // What only looks alike is no conflict.
    store.connect(&network, &request(&["8080:81/udp", "127.0.0.2:9000:1"]), netns.fd())?;
    Ok(())
}

fn tell(told: &mut String, what: &str, error: &Error) -> Result<()> {
    writeln!(told, "-p {what}\n    {error}")?;
    if let Some(hint) = error.hint() {
        writeln!(told, "    hint: {hint}")?;
    }
    Ok(())
}

pub(crate) fn addresses_can_be_chosen_once(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let netns = [Netns::new()?, Netns::new()?, Netns::new()?];
    let with = |ip: [u8; 4]| Request {
        ip: Some(ip.into()),
        mac: Some([2, 0, 0, 0, 0, 7]),
        container: format!("{:064}", ip[3]),
        ..request(&[])
    };
    let chosen = store.connect(&network, &with([172, 17, 0, 9]), netns[0].fd())?;
    assert_eq!((chosen.ip, chosen.mac), ([172, 17, 0, 9].into(), [2, 0, 0, 0, 0, 7]));
    assert!(netns[0].sh("ip -o link show dev eth0")?.contains("02:00:00:00:00:07"));
    // The next one goes on from there, not from the start.
    let next = store.connect(&network, &request(&[]), netns[1].fd())?;
    assert_eq!(next.ip, Ipv4Addr::new(172, 17, 0, 10));
    let mut told = String::new();
    for ip in [[172, 17, 0, 9], [172, 17, 0, 1], [172, 17, 255, 255], [10, 0, 0, 1]] {
        let request = Request { container: "f".repeat(64), ..with(ip) };
        let error = store.connect(&network, &request, netns[2].fd()).unwrap_err();
        writeln!(told, "--ip {}", Ipv4Addr::from(ip))?;
        writeln!(told, "    {error}\n    hint: {}", error.hint().unwrap())?;
    }
    insta::assert_snapshot!("addresses", told);
    Ok(())
}
