//! `port`: where the ports of a container are published.

use anyhow::Result;
use clap::Args;

use crate::cli::table;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::failure::Failure;

#[derive(Debug, Args)]
pub(in crate::cli) struct Port {
    /// Name or id
    container: String,
    /// Port in the container: 80, 53/udp [default: all]
    #[arg(value_name = "PORT[/PROTO]")]
    port: Option<String>,
}

impl Port {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let record = Containers::new(engine).find(&self.container)?;
        let mut published: Vec<Published<'_>> =
            record.network.ports.iter().filter_map(|text| Published::parse(text)).collect();
        published.sort();
        let text: String = match &self.port {
            None => {
                published.iter().map(|one| format!("{} -> {}\n", one.name(), one.host)).collect()
            }
            Some(text) => {
                let (port, protocol) = parse(text)?;
                let is_it = |one: &&Published<'_>| (one.port, one.protocol) == (port, protocol);
                published.iter().filter(is_it).map(|one| format!("{}\n", one.host)).collect()
            }
        };
        if let Some(port) = self.port.filter(|_| text.is_empty()) {
            let protocol = if port.contains('/') { "" } else { "/tcp" };
            let hint = match record.is_active() {
                true => {
                    format!("published are those that `mini-docker port {}` lists", record.name)
                }
                false => "its ports are published while it runs".to_owned(),
            };
            return Err(Failure::new(format!(
                "no public port '{port}{protocol}' published for {}",
                self.container
            ))
            .hint(hint)
            .into());
        }
        table::print(&text);
        Ok(0)
    }
}

/// A port of a container and its place on the host.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Published<'t> {
    port: u16,
    protocol: &'t str,
    host: &'t str,
}

impl<'t> Published<'t> {
    /// Reads `0.0.0.0:8080->80/tcp`, as the record has it.
    fn parse(text: &'t str) -> Option<Self> {
        let (host, inside) = text.split_once("->")?;
        let (port, protocol) = inside.split_once('/')?;
        Some(Self { port: port.parse().ok()?, protocol, host })
    }

    fn name(&self) -> String {
        format!("{}/{}", self.port, self.protocol)
    }
}

fn parse(text: &str) -> Result<(u16, &str), Failure> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match port.parse::<u16>() {
        Ok(port) if port > 0 && matches!(protocol, "tcp" | "udp" | "sctp") => Ok((port, protocol)),
        _ => Err(Failure::new(format!("invalid port `{text}`"))
            .hint("PORT or PORT/PROTO, as in 80 and 53/udp")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_sorted_as_numbers() {
        let mut all: Vec<Published<'_>> = [
            "0.0.0.0:1->443/tcp",
            "127.0.0.1:9->80/udp",
            "0.0.0.0:2->80/tcp",
            "[::]:2->80/tcp",
            "nonsense",
        ]
        .iter()
        .filter_map(|text| Published::parse(text))
        .collect();
        all.sort();
        let shown: Vec<String> =
            all.iter().map(|one| format!("{} {}", one.name(), one.host)).collect();
        assert_eq!(
            shown,
            ["80/tcp 0.0.0.0:2", "80/tcp [::]:2", "80/udp 127.0.0.1:9", "443/tcp 0.0.0.0:1"]
        );
    }

    #[test]
    fn a_port_without_a_protocol_is_tcp() {
        assert_eq!(parse("80").unwrap(), (80, "tcp"));
        assert_eq!(parse("53/udp").unwrap(), (53, "udp"));
        for wrong in ["", "0", "80/icmp", "x", "65536", "80/", "-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
