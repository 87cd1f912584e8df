//! Whose kernel parameters a container may set: only those of namespaces that it shares with nobody.

use anyhow::Result;
use oci_spec::runtime::{Linux, LinuxNamespaceType};

use crate::failure::Failure;

/// Refuses kernel parameters that belong to the machine, the host or another container: writing one would change it
/// there. `own` says whether the container has a namespace of a kind to itself.
///
/// # Errors
/// A failure that names the first such parameter.
pub(crate) fn own_sysctls(linux: &Linux, own: impl Fn(LinuxNamespaceType) -> bool) -> Result<()> {
    use rootfs::sysctl::Namespace;
    let mut names: Vec<&String> = linux.sysctl().iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    for name in names {
        let (kind, words) = match rootfs::sysctl::namespace(name) {
            Some(Namespace::Net) => (LinuxNamespaceType::Network, "network"),
            Some(Namespace::Ipc) => (LinuxNamespaceType::Ipc, "IPC"),
            Some(Namespace::Uts) => (LinuxNamespaceType::Uts, "UTS"),
            None => {
                return Err(Failure::new(format!(
                    "kernel parameter `{name}` belongs to the whole machine, not to one container"
                ))
                .hint("a container has its own net.*, fs.mqueue.*, kernel.shm*, kernel.msg* and kernel.sem*")
                .into());
            }
        };
        if !own(kind) {
            return Err(Failure::new(format!(
                "kernel parameter `{name}` is not the container's own: it shares its {words} namespace"
            ))
            .hint(format!("set it where it belongs, or give the container its own {words} namespace"))
            .into());
        }
    }
    Ok(())
}

/// Whether the container has a new namespace of that kind, shared with nobody.
pub(crate) fn is_own(linux: &Linux, kind: LinuxNamespaceType) -> bool {
    let mut namespaces = linux.namespaces().iter().flatten();
    namespaces.any(|namespace| namespace.typ() == kind && namespace.path().is_none())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use oci_spec::runtime::{LinuxBuilder, LinuxNamespaceBuilder, Spec};

    use super::super::files;
    use super::*;

    #[test]
    fn kernel_parameters_need_a_namespace_of_ones_own() {
        let network = |path: Option<&str>| {
            let mut namespace =
                LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).build().unwrap();
            namespace.set_path(path.map(PathBuf::from));
            namespace
        };
        let parameters = |name: &str, namespaces: Vec<oci_spec::runtime::LinuxNamespace>| {
            let linux = LinuxBuilder::default()
                .namespaces(namespaces)
                .sysctl(std::collections::HashMap::from([(name.to_owned(), "1".to_owned())]))
                .build()
                .unwrap();
            let mut spec = Spec::default();
            spec.set_mounts(None).set_linux(Some(linux));
            files(&spec, None).map(|files| files.plan.sysctls.len())
        };
        let name = "net.core.somaxconn";
        assert_eq!(parameters(name, vec![network(None)]).unwrap(), 1);
        parameters(name, vec![]).unwrap_err();
        parameters(name, vec![network(Some("/proc/1/ns/net"))]).unwrap_err();
        parameters("kernel.msgmax", vec![network(None)]).unwrap_err();
        parameters("kernel.panic", vec![network(None)]).unwrap_err();
    }
}
