//! PORTS: what is published, and what is only exposed.

/// A port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    /// In the container.
    pub(super) inside: u16,
    /// Address and port on the host. None: exposed only.
    pub(super) host: Option<(String, u16)>,
    /// `tcp` or `udp`.
    pub(super) protocol: String,
}

impl Port {
    /// Reads `0.0.0.0:8080->80/tcp`, `[::]:53->53/udp` or `80/tcp`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, inside) = match text.split_once("->") {
            Some((host, inside)) => {
                let (address, port) = host.rsplit_once(':')?;
                let address = address.trim_matches(['[', ']']).to_owned();
                (Some((address, port.parse().ok()?)), inside)
            }
            None => (None, text),
        };
        let (inside, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
        Some(Self { inside: inside.parse().ok()?, host, protocol: protocol.to_owned() })
    }
}

/// Neighbours that are shown as one, `0.0.0.0:80-82->80-82/tcp`: the same number on the host as inside, or none there.
struct Range {
    first: u16,
    last: u16,
    address: Option<String>,
    protocol: String,
}

/// As Docker's `DisplayablePorts`: ranges that a gap has ended, then the other ranges, then ports with another number on
/// the host.
pub(super) fn shown(ports: &[Port]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort();
    sorted.dedup();
    let (mut open, mut done, mut mapped): (Vec<Range>, Vec<String>, Vec<String>) =
        Default::default();
    for Port { inside, host, protocol } in sorted {
        let address = match host {
            Some((address, port)) if port != inside => {
                mapped.push(format!("{}:{port}->{inside}/{protocol}", bracketed(&address)));
                continue;
            }
            host => host.map(|(address, _)| address),
        };
        let same = |range: &&mut Range| range.address == address && range.protocol == protocol;
        match open.iter_mut().find(same) {
            Some(range) if inside == range.last || inside == range.last + 1 => range.last = inside,
            Some(range) => {
                done.push(range.text());
                (range.first, range.last) = (inside, inside);
            }
            None => open.push(Range { first: inside, last: inside, address, protocol }),
        }
    }
    done.extend(open.iter().map(Range::text));
    done.extend(mapped);
    done.join(", ")
}

impl Range {
    fn text(&self) -> String {
        let Self { first, last, address, protocol } = self;
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address {
            Some(address) => format!("{}:{range}->{range}/{protocol}", bracketed(address)),
            None => format!("{range}/{protocol}"),
        }
    }
}

fn bracketed(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shown_as_docker_shows_them() {
        for (ports, expected) in [
            (&[][..], ""),
            (&["0.0.0.0:8080->80/tcp"], "0.0.0.0:8080->80/tcp"),
            (&["0.0.0.0:80->80/tcp"], "0.0.0.0:80->80/tcp"),
            (&["80/tcp", "443/tcp"], "80/tcp, 443/tcp"),
            (&["443/tcp", "81/tcp", "80/tcp", "82/tcp"], "80-82/tcp, 443/tcp"),
            (
                &["0.0.0.0:81->81/tcp", "0.0.0.0:80->80/tcp", "0.0.0.0:80->80/udp"],
                "0.0.0.0:80-81->80-81/tcp, 0.0.0.0:80->80/udp",
            ),
            // Only those with the same number on both sides are one range.
            (
                &["0.0.0.0:8081->81/tcp", "0.0.0.0:8080->80/tcp"],
                "0.0.0.0:8080->80/tcp, 0.0.0.0:8081->81/tcp",
            ),
            (
                &["127.0.0.1:80->80/tcp", "0.0.0.0:81->81/tcp", "0.0.0.0:90->82/tcp", "83/tcp"],
                "127.0.0.1:80->80/tcp, 0.0.0.0:81->81/tcp, 83/tcp, 0.0.0.0:90->82/tcp",
            ),
            (&["[::]:53->53/udp", "[::1]:5353->53/udp"], "[::]:53->53/udp, [::1]:5353->53/udp"),
        ] {
            let parsed: Vec<Port> = ports.iter().map(|text| Port::parse(text).unwrap()).collect();
            assert_eq!(shown(&parsed), expected, "{ports:?}");
        }
        for wrong in ["", "x/tcp", "80->x/tcp", "0.0.0.0:99999->80/tcp"] {
            assert_eq!(Port::parse(wrong), None, "{wrong}");
        }
    }
}
