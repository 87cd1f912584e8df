//! The names of a registry: what people type, what stands in `config.json`, and the host that both mean.

use anyhow::{Result, anyhow};

/// Docker Hub, as images are named after it.
pub const HUB: &str = "docker.io";

/// What `config.json` and the helpers call Docker Hub: the address of its first index.
pub const HUB_KEY: &str = "https://index.docker.io/v1/";

/// The registry that a server's address or a key of `config.json` means: host and port, `docker.io` for Docker Hub.
///
/// Versions of Docker before 1.7 wrote keys as `https://host/v1/`; people type what they see in a browser.
pub fn registry(server: &str) -> &str {
    let server = ["https://", "http://"]
        .iter()
        .find_map(|scheme| {
            let head = server.get(..scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then(|| &server[scheme.len()..])
        })
        .unwrap_or(server);
    match server.split('/').next().unwrap_or_default() {
        "index.docker.io" => HUB,
        host => host,
    }
}

/// The key of a registry in `config.json`.
pub fn key(registry: &str) -> &str {
    match self::registry(registry) {
        HUB => HUB_KEY,
        host => host,
    }
}

/// The registry that was typed; Docker Hub if nothing was.
///
/// # Errors
/// If it is no host with an optional port.
pub fn parse(server: Option<&str>) -> Result<&str> {
    let Some(server) = server.filter(|server| !server.is_empty()) else { return Ok(HUB) };
    let host = registry(server);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let name_is_good = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
                && name.bytes().all(plain)
        }
    };
    let port_is_good = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if name_is_good && port_is_good {
        return Ok(host);
    }
    Err(anyhow!(
        "`{}` is no registry (hint: a host with an optional port, such as localhost:5000)",
        server.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_mean_one_registry() {
        for (server, host, key_of_it) in [
            ("docker.io", HUB, HUB_KEY),
            ("index.docker.io", HUB, HUB_KEY),
            ("https://index.docker.io/v1/", HUB, HUB_KEY),
            ("https://docker.io", HUB, HUB_KEY),
            ("registry-1.docker.io", "registry-1.docker.io", "registry-1.docker.io"),
            ("https://host:5000/", "host:5000", "host:5000"),
            ("HTTP://host/v2/", "host", "host"),
            ("localhost:5000/team/web", "localhost:5000", "localhost:5000"),
            ("[::1]:5000", "[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(registry(server), host, "{server}");
            assert_eq!(key(server), key_of_it, "{server}");
            assert_eq!(parse(Some(server)).unwrap(), host, "{server}");
        }
        assert_eq!(parse(None).unwrap(), HUB);
        assert_eq!(parse(Some("")).unwrap(), HUB);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let wrong =
            ["https://", "-u", "user@host", "a b", "host:", "host:x", "host:0", "[::1", "é"];
        for server in wrong {
            let error = parse(Some(server)).expect_err(server).to_string();
            assert!(error.contains(&format!("`{server}` is no registry (hint: ")), "{error}");
        }
    }
}
