//! The parts that root was split into (capabilities(7)).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use syscalls::capability::in_bounding;

/// Defines the enum together with the table of its names, in the order of `linux/capability.h`: the
/// discriminant is the kernel's number.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// A capability, by its kernel name. Its number is the discriminant.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Capability { $($(#[$doc])* $name,)+ }

        impl Capability {
            /// Every capability that Linux has had a name for, in the order of their numbers (41,
            /// Linux 5.9).
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// `CAP_CHOWN`
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }
    };
}

capabilities! {
    /// Change the owner of files.
    CAP_CHOWN,
    /// Read, write, execute files whatever their mode.
    CAP_DAC_OVERRIDE,
    /// Read files and search folders whatever their mode.
    CAP_DAC_READ_SEARCH,
    /// Do to files of others what only their owner may.
    CAP_FOWNER,
    /// Keep set-user-id bits when a file changes.
    CAP_FSETID,
    /// Signal processes of others.
    CAP_KILL,
    /// Change group ids.
    CAP_SETGID,
    /// Change user ids.
    CAP_SETUID,
    /// Drop from the bounding set, and add to the inheritable one.
    CAP_SETPCAP,
    /// Change the immutable and append-only flags.
    CAP_LINUX_IMMUTABLE,
    /// Listen on ports below 1024.
    CAP_NET_BIND_SERVICE,
    /// Not used.
    CAP_NET_BROADCAST,
    /// Configure links, addresses, routes, firewall.
    CAP_NET_ADMIN,
    /// Raw and packet sockets.
    CAP_NET_RAW,
    /// Lock memory.
    CAP_IPC_LOCK,
    /// Ignore permissions of System V IPC objects.
    CAP_IPC_OWNER,
    /// Load and unload kernel modules.
    CAP_SYS_MODULE,
    /// Raw I/O ports and memory.
    CAP_SYS_RAWIO,
    /// chroot(2); enter a mount namespace.
    CAP_SYS_CHROOT,
    /// Trace any process.
    CAP_SYS_PTRACE,
    /// Process accounting.
    CAP_SYS_PACCT,
    /// Mount, namespaces, and a hundred other things.
    CAP_SYS_ADMIN,
    /// Reboot, load a new kernel.
    CAP_SYS_BOOT,
    /// Raise priorities.
    CAP_SYS_NICE,
    /// Go beyond limits and quotas.
    CAP_SYS_RESOURCE,
    /// Set the clock.
    CAP_SYS_TIME,
    /// Configure terminals; vhangup(2).
    CAP_SYS_TTY_CONFIG,
    /// Make device nodes.
    CAP_MKNOD,
    /// Leases on files of others.
    CAP_LEASE,
    /// Write to the audit log.
    CAP_AUDIT_WRITE,
    /// Configure auditing.
    CAP_AUDIT_CONTROL,
    /// Put capabilities on files.
    CAP_SETFCAP,
    /// Override mandatory access control.
    CAP_MAC_OVERRIDE,
    /// Configure mandatory access control.
    CAP_MAC_ADMIN,
    /// Read the kernel's log.
    CAP_SYSLOG,
    /// Set timers that wake the machine.
    CAP_WAKE_ALARM,
    /// Prevent suspension.
    CAP_BLOCK_SUSPEND,
    /// Read the audit log.
    CAP_AUDIT_READ,
    /// Performance counters (Linux 5.8).
    CAP_PERFMON,
    /// Load bpf programs (Linux 5.8).
    CAP_BPF,
    /// Checkpoint and restore (Linux 5.9).
    CAP_CHECKPOINT_RESTORE,
}

impl Capability {
    /// The kernel's number.
    pub fn index(self) -> u8 {
        self as u8
    }

    /// The bit in the kernel's masks and in /proc/PID/status.
    pub fn bit(self) -> u64 {
        1 << self.index()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Any case, with or without `CAP_`. The error is for [`compute`](crate::compute) to make words of.
impl FromStr for Capability {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let upper = text.trim().to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let named = |capability: &&Self| capability.name().strip_prefix("CAP_") == Some(short);
        Self::ALL.iter().find(named).copied().ok_or(())
    }
}

/// The kernel's mask of a set.
pub(crate) fn mask(set: &BTreeSet<Capability>) -> u64 {
    set.iter().fold(0, |mask, capability| mask | capability.bit())
}

/// What the calling process could hand to a program that it executes: its bounding set. Root of a
/// full machine has all that the kernel knows; root of an outer container has less.
pub fn available() -> BTreeSet<Capability> {
    // EINVAL: an older kernel that does not know this one.
    let given = |capability: &Capability| in_bounding(capability.index()) == Ok(true);
    Capability::ALL.iter().copied().filter(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(Capability::ALL.len(), 41);
        assert_eq!(Capability::CAP_SYS_ADMIN.index(), 21);
        assert_eq!(Capability::CAP_SETFCAP.index(), 31);
        assert_eq!(Capability::CAP_CHECKPOINT_RESTORE.bit(), 1 << 40);
    }

    #[test]
    fn names_in_every_spelling() {
        for text in ["CAP_NET_ADMIN", "net_admin", " Cap_Net_Admin "] {
            assert_eq!(text.parse(), Ok(Capability::CAP_NET_ADMIN));
        }
        assert_eq!("NET ADMIN".parse::<Capability>(), Err(()));
        for capability in Capability::ALL {
            assert_eq!(capability.to_string().parse(), Ok(*capability));
        }
    }
}
