//! What flags said, for those who look at the container later.

use super::options::Options;
use crate::record::Asked;

/// The flags whose words the spec does not keep.
pub(super) fn asked(options: &Options) -> Asked {
    let Options { isolation, limits, network, storage, .. } = options;
    Asked {
        background: options.background,
        // Without a source it is an anonymous volume, which Docker lists among the volumes of `Config` only.
        binds: storage.volume.iter().filter(|text| text.contains(':')).cloned().collect(),
        volumes_from: storage.volumes_from.clone(),
        tmpfs: storage.tmpfs.clone(),
        cap_add: capabilities(&isolation.cap_add),
        cap_drop: capabilities(&isolation.cap_drop),
        privileged: isolation.privileged,
        devices: isolation.device.clone(),
        security_opt: isolation.security_opt.clone(),
        sysctls: isolation.sysctl.clone(),
        ipc: isolation.ipc.clone().unwrap_or_default(),
        nano_cpus: limits.cpus.map_or(0, |cpus| (cpus * 1e9) as i64),
        publish_all: network.publish_all,
        cidfile: options.cidfile.iter().map(|path| path.to_string_lossy().into_owned()).collect(),
    }
}

/// As Docker's daemon keeps them: with `CAP_`, in capitals, sorted, each once; `ALL` is no capability.
fn capabilities(flags: &[String]) -> Vec<String> {
    let mut names: Vec<String> = flags
        .iter()
        .map(|flag| flag.to_ascii_uppercase())
        .map(|name| match name.as_str() {
            "ALL" => name,
            _ if name.starts_with("CAP_") => name,
            _ => format!("CAP_{name}"),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::options::{IsolationFlags, LimitFlags, StorageFlags};

    #[test]
    fn flags_are_kept_in_dockers_words() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let options = Options {
            isolation: IsolationFlags {
                cap_add: strings(&["net_admin", "ALL", "CAP_CHOWN", "CHOWN"]),
                ..IsolationFlags::default()
            },
            limits: LimitFlags { cpus: Some(0.5), ..LimitFlags::default() },
            storage: StorageFlags {
                volume: strings(&["/anonymous", "data:/data:ro"]),
                ..StorageFlags::default()
            },
            ..Options::default()
        };
        let asked = asked(&options);
        assert_eq!(asked.cap_add, ["ALL", "CAP_CHOWN", "CAP_NET_ADMIN"]);
        assert_eq!(asked.binds, ["data:/data:ro"]);
        assert_eq!(asked.nano_cpus, 500_000_000);
        // What was not asked for takes no room in the record.
        assert_eq!(serde_json::to_string(&Asked::default()).unwrap(), "{}");
    }
}
