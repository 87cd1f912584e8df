//! The rungs: each is the one before it and one thing more.

/// How much of a container a start makes. A rung includes all that are smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// clone3 without a flag, execve, waitid: the price of any process.
    Process,
    /// Mount, UTS, IPC and PID namespaces, a host name, and the dialogue between parent and child (chapter 01).
    Namespaces,
    /// A network stack of its own with `lo` up: what `--network none` has.
    NetworkNamespace,
    /// A cgroup with limits on memory and pids and Docker's device rules, and a cgroup namespace (chapter 02).
    Cgroup,
    /// A folder as `/`, with /proc, /dev, /sys and masked paths (chapter 03).
    Rootfs,
    /// An overlay of three layers and a writable one in the place of the folder (chapter 04).
    Layers,
    /// An address: a veth pair into a bridge that other containers keep alive (chapter 05).
    Veth,
    /// The same as the first container of its network, which makes the bridge and, being the last one too, removes it.
    Bridge,
    /// One published port.
    Port,
    /// A bind mount and a named volume (chapter 06).
    Volumes,
    /// Docker's capabilities and no others (chapter 07).
    Security,
}

impl Rung {
    /// From the bottom up.
    pub const ALL: [Self; 11] = [
        Self::Process,
        Self::Namespaces,
        Self::NetworkNamespace,
        Self::Cgroup,
        Self::Rootfs,
        Self::Layers,
        Self::Veth,
        Self::Bridge,
        Self::Port,
        Self::Volumes,
        Self::Security,
    ];

    /// A short name without spaces; sorts in the ladder's order.
    pub fn id(self) -> &'static str {
        match self {
            Self::Process => "00-process",
            Self::Namespaces => "01-namespaces",
            Self::NetworkNamespace => "01-network-namespace",
            Self::Cgroup => "02-cgroup",
            Self::Rootfs => "03-rootfs",
            Self::Layers => "04-layers",
            Self::Veth => "05-veth",
            Self::Bridge => "05-bridge",
            Self::Port => "05-port",
            Self::Volumes => "06-volumes",
            Self::Security => "07-security",
        }
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Process => "process: clone3, exec, wait",
            Self::Namespaces => "+ namespaces (mnt uts ipc pid)",
            Self::NetworkNamespace => "+ network namespace, lo",
            Self::Cgroup => "+ cgroup: memory, pids, devices",
            Self::Rootfs => "+ rootfs: /proc /dev /sys, pivot",
            Self::Layers => "+ layers: overlay of three",
            Self::Veth => "+ network: veth, address",
            Self::Bridge => "+ bridge made and removed",
            Self::Port => "+ one published port",
            Self::Volumes => "+ volumes: a bind, a named one",
            Self::Security => "+ capabilities",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Rung;

    #[test]
    fn the_list_is_in_order_and_complete() {
        assert!(Rung::ALL.is_sorted());
        assert_eq!(Rung::ALL.last(), Some(&Rung::Security));
        assert_eq!(Rung::ALL.len(), Rung::Security as usize + 1);
    }
}
