//! What the values of the settings must be, and the keys that Docker has.

use std::net::IpAddr;

use serde_json::Value;

/// Keys that are settings here.
const OURS: [&str; 5] = [
    "insecure-registries",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
];

/// Keys of Docker's daemon.json that mean nothing here, from the reference of dockerd, 20.10 to 29.
const DOCKERS: [&str; 95] = [
    "allow-direct-routing",
    "allow-nondistributable-artifacts",
    "api-cors-header",
    "authorization-plugins",
    "bip",
    "bip6",
    "bridge",
    "bridge-accept-fwmark",
    "builder",
    "cdi-spec-dirs",
    "cgroup-parent",
    "cluster-advertise",
    "cluster-store",
    "cluster-store-opts",
    "containerd",
    "containerd-namespace",
    "containerd-plugins-namespace",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cri-containerd",
    "data-root",
    "debug",
    "default-address-pools",
    "default-cgroupns-mode",
    "default-gateway",
    "default-gateway-v6",
    "default-ipc-mode",
    "default-network-opts",
    "default-runtime",
    "default-shm-size",
    "default-ulimits",
    "dns",
    "dns-opts",
    "dns-search",
    "exec-opts",
    "exec-root",
    "experimental",
    "features",
    "firewall-backend",
    "fixed-cidr",
    "fixed-cidr-v6",
    "graph",
    "group",
    "host-gateway-ip",
    "host-gateway-ips",
    "hosts",
    "http-proxy",
    "https-proxy",
    "icc",
    "init",
    "init-path",
    "ip",
    "ip-forward",
    "ip-forward-no-drop",
    "ip-masq",
    "ip6tables",
    "iptables",
    "ipv6",
    "labels",
    "live-restore",
    "log-driver",
    "log-format",
    "log-level",
    "log-opts",
    "metrics-addr",
    "min-api-version",
    "mtu",
    "network-control-plane-mtu",
    "network-diagnostic-port",
    "no-new-privileges",
    "no-proxy",
    "node-generic-resources",
    "nri-opts",
    "oom-score-adjust",
    "pidfile",
    "proxies",
    "raw-logs",
    "rootless",
    "runtimes",
    "seccomp-profile",
    "selinux-enabled",
    "shutdown-timeout",
    "storage-driver",
    "storage-opts",
    "swarm-default-advertise-addr",
    "swarm-raft-election-tick",
    "swarm-raft-heartbeat-tick",
    "tls",
    "tlscacert",
    "tlscert",
    "tlskey",
    "tlsverify",
    "userland-proxy",
    "userland-proxy-path",
    "userns-remap",
];

/// As similar as two words must be, from 0 to 1, to take one for the other.
const SIMILAR: f64 = 0.85;

/// Whether Docker has this key; if not, which one was probably meant.
pub(super) fn is_dockers(key: &str) -> Result<(), String> {
    if DOCKERS.contains(&key) {
        return Ok(());
    }
    let nearest = OURS
        .iter()
        .chain(&DOCKERS)
        .map(|known| (strsim::jaro_winkler(key, known), known))
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(similarity, _)| *similarity >= SIMILAR);
    let hint = match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!(
            "settings are {}; other keys of Docker's daemon.json are ignored",
            OURS.join(", ")
        ),
    };
    Err(format!("unknown key `{}` (hint: {hint})", key.escape_debug()))
}

/// A whole number, not below 0.
pub(super) fn number(key: &str, value: &Value) -> Result<u32, String> {
    value
        .as_u64()
        .and_then(|number| number.try_into().ok())
        .ok_or_else(|| format!("`{key}` must be a whole number from 0 on, not {value}"))
}

/// A list of strings, each as `check` gives it back.
pub(super) fn list(
    key: &str,
    value: &Value,
    check: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let wrong = |value: &Value| {
        format!("`{key}` must be a list of strings, not {value} (hint: write \"{key}\": [\"...\"])")
    };
    let entries = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(entries) => entries,
        _ => return Err(wrong(value)),
    };
    entries
        .iter()
        .map(|entry| match entry.as_str() {
            Some(text) => check(text).map_err(|reason| {
                format!("`{key}` has `{}`: {reason}", without_password(text).escape_debug())
            }),
            None => Err(wrong(value)),
        })
        .collect()
}

/// The URL of a mirror, without a slash at its end.
pub(super) fn mirror(text: &str) -> Result<String, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(format!("a mirror needs a scheme (hint: https://{text})"));
    };
    if !matches!(scheme, "http" | "https") {
        return Err("a mirror is reached by http:// or https://".to_owned());
    }
    if rest.contains('@') {
        return Err(
            "a mirror has no user and password in its URL (hint: mini-docker login)".to_owned()
        );
    }
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains(['/', '?', '#']) {
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(format!("a mirror is a host, without path or query (hint: {scheme}://{host})"));
    }
    is_host(host).then(|| format!("{scheme}://{host}")).ok_or_else(|| "it names no host".to_owned())
}

/// `host`, `host:port`, or a network, `10.0.0.0/8`.
pub(super) fn insecure(text: &str) -> Result<String, String> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        return Err(format!("a registry is named without a scheme (hint: {host})"));
    }
    if let Some((address, length)) = text.split_once('/') {
        let longest = address.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { 32 } else { 128 });
        let length = length.parse::<u32>().ok();
        return match (longest, length) {
            (Some(longest), Some(length)) if length <= longest => Ok(text.to_owned()),
            (Some(_), _) => Err("no network in CIDR form (hint: such as 10.0.0.0/8)".to_owned()),
            (None, _) => Err(format!("a registry is a host, without path (hint: {address})")),
        };
    }
    is_host(text).then(|| text.to_owned()).ok_or_else(|| {
        "it is no host (hint: host, host:port, or a network such as 10.0.0.0/8)".to_owned()
    })
}

/// `text` has neither scheme nor path.
fn is_host(text: &str) -> bool {
    !text.is_empty() && crate::credentials::server::parse(Some(text)).is_ok()
}

/// A URL as it may be shown.
fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://...@{host}"),
        _ => text.to_owned(),
    }
}
