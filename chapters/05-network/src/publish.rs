//! Published ports: what a user writes after `-p`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The transport of a port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// tcp(7).
    #[default]
    Tcp,
    /// udp(7).
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// A port of the container that is to be reached through the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publish {
    /// The one address of the host; `None` or 0.0.0.0: all of them.
    pub host_ip: Option<IpAddr>,
    /// Port on the host; `None` or 0: any free one.
    pub host_port: Option<u16>,
    /// With a first port in [`host_port`](Self::host_port): any free one from there to here (`-p 8000-8010:80`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port_last: Option<u16>,
    /// Port in the container.
    pub container_port: u16,
    /// TCP unless said otherwise.
    pub protocol: Protocol,
}

/// `0.0.0.0:8080->80/tcp`, as `docker ps` shows it.
impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = SocketAddr::new(self.address(), self.host_port.unwrap_or(0));
        write!(f, "{host}->{}/{}", self.container_port, self.protocol)
    }
}

impl Publish {
    /// The address on the host, 0.0.0.0 for all.
    pub fn address(&self) -> IpAddr {
        self.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}

/// A `-p` that cannot be understood: one line, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid port mapping `{text}`: {reason}")]
pub struct ParseError {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

const FORMAT: &str = "write [ADDRESS:][HOST_PORT:]CONTAINER_PORT[/tcp|/udp], for example 8080:80, \
                      127.0.0.1:5353:53/udp or 8000-8010:80-90";

/// Reads Docker's `-p` grammar: `[[ADDRESS:][HOST_PORT[-LAST]]:]CONTAINER_PORT[-LAST][/PROTOCOL]`.
///
/// Two ranges of the same length are paired port by port; a range on the host for one port means any free one of it.
/// An IPv6 address stands in brackets.
///
/// # Errors
/// [`ParseError`] with a line and a hint.
pub fn parse_publish(text: &str) -> Result<Vec<Publish>, ParseError> {
    let error = |reason: String, hint: &str| ParseError {
        text: text.to_owned(),
        reason,
        hint: hint.to_owned(),
    };
    let (rest, protocol) = match text.rsplit_once('/') {
        Some((rest, name)) => (rest, name),
        None => (text, "tcp"),
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        other => {
            return Err(error(format!("unknown protocol `{other}`"), "the protocol is tcp or udp"));
        }
    };
    let (before, container) = match rest.rsplit_once(':') {
        Some((before, container)) => (Some(before), container),
        None => (None, rest),
    };
    if container.is_empty() {
        return Err(error("no container port".into(), FORMAT));
    }
    let (address, host) = match before.map(|before| (before.rsplit_once(':'), before)) {
        None => (None, ""),
        Some((Some((address, host)), _)) => (Some(address), host),
        Some((None, host)) => (None, host),
    };
    let host_ip = address.filter(|address| !address.is_empty()).map(|address| {
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        match bare {
            Some(six) => six.parse().map(IpAddr::V6),
            None => address.parse().map(IpAddr::V4),
        }
        .map_err(|_| {
            let hint = if address.contains("::") || address.starts_with('[') {
                "an IPv6 address stands in brackets: [::1]:8080:80"
            } else if address.contains(':') {
                FORMAT
            } else {
                "use an address of this host, not a name: 127.0.0.1:8080:80"
            };
            error(format!("`{address}` is not an IP address"), hint)
        })
    });
    let host_ip = host_ip.transpose()?;
    let range = |what: &str, ports: &str| {
        parse_range(ports).map_err(|reason| error(format!("{what} port {reason}"), FORMAT))
    };
    let (first, last) = range("container", container)?;
    if first == 0 {
        return Err(error("container port 0".into(), "name the port on which the program listens"));
    }
    let publish = |host_port, host_port_last, container_port| Publish {
        host_ip,
        host_port,
        host_port_last,
        container_port,
        protocol,
    };
    if host.is_empty() {
        return Ok((first..=last).map(|port| publish(None, None, port)).collect());
    }
    let (host_first, host_last) = range("host", host)?;
    if host_first == 0 {
        if host_last > 0 {
            return Err(error("host port 0 in a range".into(), FORMAT));
        }
        return Ok((first..=last).map(|port| publish(None, None, port)).collect());
    }
    if last - first == host_last - host_first {
        let pairs = (host_first..=host_last).zip(first..=last);
        return Ok(pairs.map(|(host, port)| publish(Some(host), None, port)).collect());
    }
    if first == last {
        return Ok(vec![publish(Some(host_first), Some(host_last), first)]);
    }
    let (on_host, inside) = (host_last - host_first + 1, last - first + 1);
    Err(error(
        format!("{on_host} ports on the host for {inside} in the container"),
        "both ranges must have the same length, or the container one port",
    ))
}

/// `80` or `80-90`.
fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(port) if digits => Ok(port),
            _ if digits => Err(format!("`{text}` is greater than 65535")),
            _ => Err(format!("`{text}` is not a number")),
        }
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("range `{text}` runs backwards"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<String> {
        let publish = |port: &Publish| match port.host_port_last {
            Some(last) => format!("{port} (up to {last})"),
            None => port.to_string(),
        };
        parse_publish(text).unwrap().iter().map(publish).collect()
    }

    #[test]
    fn the_grammar_as_a_table() {
        let table: [(&str, &[&str]); 16] = [
            ("80", &["0.0.0.0:0->80/tcp"]),
            ("80/udp", &["0.0.0.0:0->80/udp"]),
            ("8080:80", &["0.0.0.0:8080->80/tcp"]),
            ("8080:80/TCP", &["0.0.0.0:8080->80/tcp"]),
            (":80", &["0.0.0.0:0->80/tcp"]),
            ("0:80", &["0.0.0.0:0->80/tcp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1:8080->80/tcp"]),
            ("127.0.0.1::80", &["127.0.0.1:0->80/tcp"]),
            ("127.0.0.1:0:80", &["127.0.0.1:0->80/tcp"]),
            (":8080:80", &["0.0.0.0:8080->80/tcp"]),
            ("[::1]:8080:80", &["[::1]:8080->80/tcp"]),
            ("8000-8001:80-81/udp", &["0.0.0.0:8000->80/udp", "0.0.0.0:8001->81/udp"]),
            ("80-81", &["0.0.0.0:0->80/tcp", "0.0.0.0:0->81/tcp"]),
            ("127.0.0.1::80-81", &["127.0.0.1:0->80/tcp", "127.0.0.1:0->81/tcp"]),
            ("8000-8010:80", &["0.0.0.0:8000->80/tcp (up to 8010)"]),
            ("65535:65535", &["0.0.0.0:65535->65535/tcp"]),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("1-65535:1-65535").len(), 65535);
    }

    #[test]
    fn mistakes_get_a_line_and_a_hint() {
        let mistakes = [
            "",
            ":",
            "http",
            "8080:",
            "8080:80:90:100",
            "80/sctp",
            "80/",
            "/tcp",
            "65536",
            "8080:-80",
            "+80",
            "80-",
            "90-80",
            "8000-8002:80-81",
            "0-5:80-85",
            "8080:0",
            "localhost:8080:80",
            "1.2.3:8080:80",
            "::1:8080:80",
            "[::1:8080:80",
            "8080;80",
            "٨٠",
        ];
        let mut told = String::new();
        for text in mistakes {
            let error = parse_publish(text).unwrap_err();
            let _ = writeln!(told, "{error}\n    hint: {}", error.hint);
        }
        insta::assert_snapshot!(told);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-z:./\\[\\]-]{0,24}") {
            let _ = parse_publish(&text);
        }

        #[test]
        fn what_is_written_is_read(
            ip: Option<[u8; 4]>,
            host in 1u16..,
            container in 1u16..,
            count in 0u16..20,
            udp: bool,
        ) {
            let count = count.min(u16::MAX - host).min(u16::MAX - container);
            let address = ip.map(|ip| format!("{}:", Ipv4Addr::from(ip))).unwrap_or_default();
            let suffix = if udp { "/udp" } else { "" };
            let text = format!(
                "{address}{host}-{}:{container}-{}{suffix}", host + count, container + count
            );
            let ports = parse_publish(&text).unwrap();
            prop_assert_eq!(ports.len(), usize::from(count) + 1);
            for (n, port) in (0..).zip(ports) {
                let expected = Publish {
                    host_ip: ip.map(|ip| IpAddr::V4(ip.into())),
                    host_port: Some(host + n),
                    host_port_last: None,
                    container_port: container + n,
                    protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
                };
                prop_assert_eq!(port, expected);
            }
        }
    }
}
