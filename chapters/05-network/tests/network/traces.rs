//! What is there while containers live, and what is left afterwards.

use std::fs;

use testkit::{Outcome, Sandbox};

use crate::world::{Container, From, Netns, kernel_state, request, sh, store, tcp};

pub(crate) fn the_table_reads_well(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _one = Container::new(&store, &network, &["8080:80", "127.0.0.1:5353:53/udp"])?;
    let table = sh(&format!("nft list table ip mini-docker-{}", network.bridge))?;
    insta::assert_snapshot!("table", table.replace(&network.bridge, "mdk0"));
    Ok(())
}

pub(crate) fn the_last_one_takes_everything_along(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let before = kernel_state()?;
    let one = Container::new(&store, &network, &["8080:80", "8081:80/udp"])?;
    let with_one = kernel_state()?;
    let two = Container::new(&store, &network, &["8082:80", "127.0.0.1:8083:80"])?;
    assert_ne!(kernel_state()?, with_one);
    store.disconnect(&network, &two.id)?;
    assert_eq!(kernel_state()?, with_one, "exactly the second one's things are gone");
    // A network namespace that is gone has taken the cable along; the rest must go all the same.
    drop(one.netns);
    store.disconnect(&network, &one.id)?;
    assert_eq!(kernel_state()?, before);
    store.disconnect(&network, &one.id)?;
    store.disconnect(&network, "unknown")?;
    let mut left: Vec<_> = fs::read_dir(sandbox.path("run/bridge"))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    left.sort();
    assert_eq!(left, ["network.json"]);
    // And it can begin again.
    Container::new(&store, &network, &["8080:80"])?;
    Ok(())
}

pub(crate) fn a_failed_connect_leaves_nothing(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let netns = Netns::new()?;
    let mut request = request(&["8080:80"]);
    request.container = "ab".repeat(32);
    sh("ip link add mdvababababab type bridge")?;
    let before = kernel_state()?;
    let error = store.connect(&network, &request, netns.fd()).unwrap_err().to_string();
    // The link that was in the way belongs to somebody else, but it has our name.
    assert_eq!(
        error,
        format!(
            "create veth pair `mdvababababab and eth0 in {}`: File exists (EEXIST)",
            network.bridge
        )
    );
    let after = kernel_state()?;
    assert!(!after.contains(&network.bridge), "{after}");
    assert_ne!(before, after, "the name is ours, so the leftover is removed");
    store.connect(&network, &request, netns.fd())?;
    store.disconnect(&network, &request.container)?;
    // A descriptor that is no network namespace: the kernel says so, and again nothing is left.
    let before = kernel_state()?;
    let file = fs::File::open("/proc/self/ns/mnt")?;
    let error = store.connect(&network, &request, std::os::fd::AsFd::as_fd(&file)).unwrap_err();
    assert!(error.to_string().contains("(EINVAL)"), "{error}");
    assert_eq!(kernel_state()?, before);
    // The step that fails is named even in the middle of a batch, with what the kernel says about it.
    netns.sh("ip link add eth1 type bridge; ip link set eth1 up
              ip addr add 192.0.2.1/24 dev eth1; ip route add default via 192.0.2.2")?;
    let error = store.connect(&network, &request, netns.fd()).unwrap_err().to_string();
    assert_eq!(error, format!("add route `default via {}`: File exists (EEXIST)", network.gateway));
    assert_eq!(kernel_state()?, before);
    Ok(())
}

pub(crate) fn a_taken_subnet_is_avoided(sandbox: &Sandbox) -> Outcome {
    sh("ip link add office type bridge; ip link set office up
        ip addr add 172.17.5.1/24 dev office; ip route add 172.18.0.0/15 dev office")?;
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    assert_eq!(network.subnet.to_string(), "172.20.0.0/16");
    // A route that comes between the record and the first container.
    sh("ip route add 172.20.7.0/24 dev office")?;
    let one = Container::new(&store, &network, &[])?;
    assert_eq!(one.net.ip.to_string(), "172.21.0.2");
    assert_eq!(store.default_bridge()?.subnet.to_string(), "172.21.0.0/16");
    sh("ip route add 172.16.0.0/12 dev office; ip route add 192.168.0.0/16 dev office")?;
    store.disconnect(&network, &one.id)?;
    let netns = Netns::new()?;
    let error = store.connect(&network, &request(&[]), netns.fd()).unwrap_err();
    assert_eq!(error, network::Error::NoSubnet);
    Ok(())
}

pub(crate) fn two_state_roots_live_side_by_side(sandbox: &Sandbox) -> Outcome {
    let open = |name: &str| {
        network::Store::open(&sandbox.path(name), &sandbox.path(format!("{name}-run")))
    };
    let (one, two) = (open("one")?, open("two")?);
    let (first, second) = (one.default_bridge()?, two.default_bridge()?);
    assert_ne!(first.bridge, second.bridge);
    let a = Container::new(&one, &first, &["8080:80"])?;
    let b = Container::new(&two, &second, &["8081:80"])?;
    assert_ne!(a.net.gateway, b.net.gateway);
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    tcp(&From::Host, (host, 8080), &a.netns, 80)?;
    tcp(&From::Host, (host, 8081), &b.netns, 80)?;
    one.disconnect(&first, &a.id)?;
    tcp(&From::Host, (host, 8081), &b.netns, 80)?;
    Ok(())
}

pub(crate) fn a_flushed_ruleset_comes_back(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let one = Container::new(&store, &network, &["8080:80"])?;
    sh("nft flush ruleset")?;
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    tcp(&From::Host, (host, 8080), &one.netns, 80).unwrap_err();
    let two = Container::new(&store, &network, &["8081:80"])?;
    tcp(&From::Host, (host, 8080), &one.netns, 80)?;
    tcp(&From::Host, (host, 8081), &two.netns, 80)?;
    // An element that somebody has removed does not keep its neighbour alive, nor the other container's from it.
    let three = Container::new(&store, &network, &["8082:80", "8083:80"])?;
    let table = format!("ip mini-docker-{}", network.bridge);
    sh(&format!("nft delete element {table} published '{{ tcp . 8082 }}'"))?;
    store.disconnect(&network, &three.id)?;
    let map = sh(&format!("nft list map {table} published"))?;
    assert!(map.contains("8080") && map.contains("8081") && !map.contains("8083"), "{map}");
    sh("nft flush ruleset")?;
    store.disconnect(&network, &one.id)?;
    store.disconnect(&network, &two.id)?;
    assert_eq!(sh("nft list ruleset")?, "");
    Ok(())
}

pub(crate) fn a_forward_policy_is_told(sandbox: &Sandbox) -> Outcome {
    let store = store(sandbox)?;
    let network = store.default_bridge()?;
    let _one = Container::new(&store, &network, &[])?;
    assert_eq!(network::forward_blocked(), None, "our own chain is no trouble");
    sh("nft add table ip filter
        nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'")?;
    let told = network::forward_blocked().unwrap();
    assert!(told.starts_with("the chain `ip filter FORWARD` of this host drops"), "{told}");
    Ok(())
}
