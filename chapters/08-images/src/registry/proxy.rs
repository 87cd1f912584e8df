//! Which proxy leads to a host: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, upper or lower case.
//!
//! ureq reads these variables too, but takes one proxy for both schemes and knows no networks in `NO_PROXY`; Docker's
//! users expect the rules of Go (golang.org/x/net/http/httpproxy), which these are.

use std::net::IpAddr;

use ureq::Proxy;

use super::url::Origin;

/// The proxies of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    https: Option<String>,
    http: Option<String>,
    none: Vec<String>,
}

impl Proxies {
    pub(super) fn from_environment() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            variable(name)
                .or_else(|| variable(&name.to_ascii_lowercase()))
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        let all = find("ALL_PROXY");
        let none = find("NO_PROXY").unwrap_or_default();
        Self {
            https: find("HTTPS_PROXY").or_else(|| all.clone()),
            http: find("HTTP_PROXY").or(all),
            none: none.split([',', ' ']).map(|one| one.trim().to_ascii_lowercase()).collect(),
        }
    }

    /// The proxy for a host, with its name for people.
    ///
    /// # Errors
    /// If the variable holds no URL of a proxy. Its value is not told: it may hold a password.
    pub(super) fn to(&self, origin: &Origin) -> Result<Option<(Proxy, String)>, String> {
        let (variable, value) = match origin.https {
            true => ("HTTPS_PROXY", &self.https),
            false => ("HTTP_PROXY", &self.http),
        };
        let Some(value) = value else { return Ok(None) };
        if is_loopback(origin.bare_host()) || self.none.iter().any(|rule| excludes(rule, origin)) {
            return Ok(None);
        }
        let proxy = Proxy::new(value)
            .map_err(|_| format!("{variable} (or ALL_PROXY) is no URL of a proxy"))?;
        let name = format!("{}:{}", proxy.host(), proxy.port());
        Ok(Some((proxy, name)))
    }
}

/// `*`, `host`, `.domain`, `*.domain`, an address, a network; all but a network may have a port behind.
fn excludes(rule: &str, origin: &Origin) -> bool {
    if rule == "*" {
        return true;
    }
    let host = origin.bare_host();
    if rule.contains('/') {
        return host.parse().is_ok_and(|address| in_network(address, rule));
    }
    let (name, port) = match rule.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            (name, port.parse().ok())
        }
        _ => (rule, None),
    };
    if port.is_some_and(|port: u16| port != origin.port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_start_matches('*');
    match name.strip_prefix('.') {
        Some(domain) => !domain.is_empty() && host.ends_with(name),
        None => {
            host == name
                || (!name.is_empty()
                    && host.strip_suffix(name).is_some_and(|sub| sub.ends_with('.')))
        }
    }
}

/// Whether a host is this machine: 127.0.0.0/8, ::1, `localhost`.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an address is in a network, `10.0.0.0/8` or `fd00::/8`.
pub(super) fn in_network(address: IpAddr, network: &str) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let (address, base, width) = match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            (address.to_bits().into(), base.to_bits().into(), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => (address.to_bits(), base.to_bits(), 128),
        _ => return false,
    };
    let differ: u128 = address ^ base;
    length <= width && differ.checked_shr(width - length).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::super::url::Url;
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::new(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        })
    }

    fn name(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.to(&Url::parse(url).unwrap().origin).unwrap().map(|(_, name)| name)
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let all = proxies(&[("ALL_PROXY", "socks5://s:1"), ("https_proxy", "http://u:p@h")]);
        assert_eq!(name(&all, "https://r.example/").as_deref(), Some("h:80"));
        assert_eq!(name(&all, "http://r.example/").as_deref(), Some("s:1"));
        for loopback in ["http://127.9.9.9:5000/", "https://localhost/", "http://[::1]:5000/"] {
            assert_eq!(name(&all, loopback), None);
        }
        assert_eq!(name(&proxies(&[("HTTP_PROXY", "h:8")]), "https://r.example/"), None);
        let wrong = proxies(&[("HTTPS_PROXY", "gopher://u:secret@x")]);
        let error = wrong.to(&Url::parse("https://r.example/").unwrap().origin).unwrap_err();
        assert_eq!(error, "HTTPS_PROXY (or ALL_PROXY) is no URL of a proxy");
    }

    #[test]
    fn no_proxy_has_the_rules_of_go() {
        for (rule, host, direct) in [
            ("*", "r.example", true),
            ("r.example", "r.example", true),
            ("R.example", "a.r.example", true),
            ("example", "counterexample", false),
            (".r.example", "r.example", false),
            (".r.example", "a.r.example", true),
            ("*.r.example", "a.r.example", true),
            ("r.example:5000", "r.example:5000", true),
            ("r.example:5000", "r.example", false),
            ("x, 10.1.2.3", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "10.200.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "11.0.0.1", true),
            ("fd00::/8", "[fd12::1]:5000", true),
            ("fd00::/8", "[fe80::1]", false),
            ("fd12::1", "[fd12::1]", true),
            ("10.0.0.0/99", "10.0.0.0", false),
            ("/", "10.0.0.0", false),
            ("", "r.example", false),
        ] {
            let proxies = proxies(&[("HTTPS_PROXY", "http://h:1"), ("no_proxy", rule)]);
            let answer = name(&proxies, &format!("https://{host}/"));
            assert_eq!(answer.is_none(), direct, "{rule} for {host}");
        }
    }
}
