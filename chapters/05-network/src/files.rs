//! The three files that give names to addresses: `/etc/hosts`, `/etc/resolv.conf` and where the latter comes from.
//!
//! Pure: text in, text out. Who writes them where is not this chapter's business.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Asked when the host has no name server that a container can reach. Docker's choice.
const PUBLIC: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// Which file of the host holds name servers that a container can use, given the text of `/etc/resolv.conf`.
///
/// systemd-resolved puts its own local address 127.0.0.53 there and keeps the real servers in a second file.
pub fn resolv_conf_source(etc_resolv_conf: &str) -> &'static str {
    let mut servers = fields(etc_resolv_conf, "nameserver").peekable();
    if servers.peek().is_some() && servers.all(|server| server == "127.0.0.53") {
        "/run/systemd/resolve/resolv.conf"
    } else {
        "/etc/resolv.conf"
    }
}

/// The container's `/etc/resolv.conf`, resolv.conf(5).
///
/// What is given replaces what the host has; a search domain `.` means none at all. Of the host's name servers those
/// on a loopback or IPv6 address are left out, since the container has its own loopback and no IPv6 address; if none
/// remains, two public ones stand in. With the host's network (`host_network`) all of them stay.
pub fn resolv_conf(
    host: &str,
    nameservers: &[IpAddr],
    search: &[String],
    options: &[String],
    host_network: bool,
) -> String {
    let mut text = String::new();
    if nameservers.is_empty() {
        let reachable = |server: &&str| match server.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => host_network || !address.is_loopback(),
            // `fe80::1%eth0` is no IpAddr, but an IPv6 address all the same.
            _ => host_network,
        };
        let mut servers: Vec<&str> = fields(host, "nameserver").filter(reachable).collect();
        if servers.is_empty() && !host_network {
            servers.extend(PUBLIC);
        }
        for server in servers {
            line(&mut text, "nameserver", server);
        }
    } else {
        for server in nameservers {
            line(&mut text, "nameserver", &server.to_string());
        }
    }
    // The last `search` or `domain` line counts (resolv.conf(5)).
    let of_host = |name| lines(host, name).last().unwrap_or_default();
    let domains = match search {
        [] => {
            [of_host("search"), of_host("domain")].into_iter().find(|domains| !domains.is_empty())
        }
        [dot] if dot == "." => None,
        given => Some(given.join(" ")),
    };
    if let Some(domains) = domains {
        line(&mut text, "search", &domains);
    }
    let options = if options.is_empty() {
        lines(host, "options").collect::<Vec<_>>().join(" ")
    } else {
        options.join(" ")
    };
    if !options.is_empty() {
        line(&mut text, "options", &options);
    }
    text
}

/// The container's `/etc/hosts`, hosts(5). `extra` holds pairs of a name and an address (`--add-host`).
pub fn hosts(
    hostname: &str,
    domain: Option<&str>,
    ip: Option<IpAddr>,
    extra: &[(String, String)],
) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    ff00::0\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    for (name, address) in extra {
        let _ = writeln!(text, "{address}\t{name}");
    }
    if let Some(ip) = ip {
        let _ = match domain.filter(|domain| !domain.is_empty()) {
            Some(domain) => writeln!(text, "{ip}\t{hostname}.{domain} {hostname}"),
            None => writeln!(text, "{ip}\t{hostname}"),
        };
    }
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} {value}");
}

/// The rest of each line that begins with `name`, single spaces between its words.
fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.collect::<Vec<_>>().join(" "))
    })
}

/// The second word of each line that begins with `name`.
fn fields<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "# made by hand\n\
                        domain old.example\n\
                        nameserver 127.0.0.1\n\
                        nameserver 10.0.0.53\n\
                        nameserver fe80::1%eth0\n\
                        search  corp.example   lab.example\n\
                        options ndots:2\n";

    fn texts(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn name_servers_that_a_container_can_reach() {
        assert_eq!(
            resolv_conf(HOST, &[], &[], &[], false),
            "nameserver 10.0.0.53\nsearch corp.example lab.example\noptions ndots:2\n"
        );
        assert_eq!(
            resolv_conf(HOST, &[], &[], &[], true),
            "nameserver 127.0.0.1\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\n\
             search corp.example lab.example\noptions ndots:2\n"
        );
        let public = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";
        assert_eq!(resolv_conf("", &[], &[], &[], false), public);
        assert_eq!(resolv_conf("nameserver ::1\n", &[], &[], &[], false), public);
        assert_eq!(resolv_conf("", &[], &[], &[], true), "");
    }

    #[test]
    fn what_is_given_replaces_what_the_host_has() {
        let given = resolv_conf(
            HOST,
            &["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
            &texts(&["a.example", "b.example"]),
            &texts(&["timeout:1", "use-vc"]),
            false,
        );
        assert_eq!(
            given,
            "nameserver 127.0.0.1\nnameserver ::1\nsearch a.example b.example\n\
             options timeout:1 use-vc\n"
        );
        let none = resolv_conf(HOST, &[], &texts(&["."]), &[], false);
        assert_eq!(none, "nameserver 10.0.0.53\noptions ndots:2\n");
        let domain = resolv_conf("domain d.example\nnameserver 10.0.0.1\n", &[], &[], &[], false);
        assert_eq!(domain, "nameserver 10.0.0.1\nsearch d.example\n");
    }

    #[test]
    fn systemd_keeps_the_real_servers_elsewhere() {
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        assert_eq!(resolv_conf_source(stub), "/run/systemd/resolve/resolv.conf");
        assert_eq!(resolv_conf_source(HOST), "/etc/resolv.conf");
        assert_eq!(resolv_conf_source(""), "/etc/resolv.conf");
        assert_eq!(
            resolv_conf_source("nameserver 127.0.0.53\nnameserver 10.0.0.1\n"),
            "/etc/resolv.conf"
        );
    }

    #[test]
    fn the_container_knows_its_own_name() {
        let ip = Some("172.17.0.2".parse().unwrap());
        let extra = [("db".to_owned(), "10.0.0.5".to_owned())];
        let text = hosts("web", Some("example.org"), ip, &extra);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"), "{text}");
        assert!(text.ends_with("10.0.0.5\tdb\n172.17.0.2\tweb.example.org web\n"), "{text}");
        assert!(hosts("web", Some(""), ip, &[]).ends_with("172.17.0.2\tweb\n"));
        assert!(hosts("web", None, None, &[]).ends_with("ip6-allrouters\n"));
    }
}
