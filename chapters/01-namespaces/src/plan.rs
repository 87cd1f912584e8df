//! What the new process is to see: namespaces to create and to join, and what to write into them.

use std::fmt;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use syscalls::KernelError;

/// A kind of namespace (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Which mounts exist (mount_namespaces(7)).
    Mount,
    /// Host and domain name (uts_namespaces(7)).
    Uts,
    /// System V IPC and POSIX message queues (ipc_namespaces(7)).
    Ipc,
    /// Process ids (pid_namespaces(7)). The first process is PID 1: when it ends, the kernel kills
    /// all others.
    Pid,
    /// Links, addresses, routes, ports, firewall (network_namespaces(7)).
    Net,
    /// User and group ids and capabilities over everything else that is created with it
    /// (user_namespaces(7)).
    User,
    /// Where /proc/PID/cgroup begins (cgroup_namespaces(7)).
    Cgroup,
    /// Offsets of the monotonic and boot clocks (time_namespaces(7), Linux 5.6).
    Time,
}

impl Kind {
    /// All kinds, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Mount,
        Self::Uts,
        Self::Ipc,
        Self::Pid,
        Self::Net,
        Self::User,
        Self::Cgroup,
        Self::Time,
    ];

    /// The flag of clone3(2), unshare(2) and setns(2).
    pub fn flag(self) -> CloneFlags {
        match self {
            Self::Mount => CloneFlags::CLONE_NEWNS,
            Self::Uts => CloneFlags::CLONE_NEWUTS,
            Self::Ipc => CloneFlags::CLONE_NEWIPC,
            Self::Pid => CloneFlags::CLONE_NEWPID,
            Self::Net => CloneFlags::CLONE_NEWNET,
            Self::User => CloneFlags::CLONE_NEWUSER,
            Self::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            // CLONE_NEWTIME of linux/sched.h; nix does not name it. It lies in the bits where
            // clone(2) keeps the exit signal, so clone3, unshare and setns take it and clone does
            // not.
            Self::Time => CloneFlags::from_bits_retain(0x80),
        }
    }

    /// The name in /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// The name in /proc/PID/ns: `mnt`, `uts`, ...
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.proc_name())
    }
}

/// The flags of several kinds together.
pub(crate) fn flags(kinds: impl IntoIterator<Item = Kind>) -> CloneFlags {
    kinds.into_iter().fold(CloneFlags::empty(), |flags, kind| flags | kind.flag())
}

/// A range of ids of a user namespace and what they are outside: one line of /proc/PID/uid_map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside.
    pub inside: u32,
    /// First id outside, in the namespace of the process that writes the map.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// What a new time namespace adds to the clocks of the parent's (time_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeOffsets {
    /// Seconds on CLOCK_MONOTONIC.
    pub monotonic_s: i64,
    /// Seconds on CLOCK_BOOTTIME: what uptime(1) shows.
    pub boottime_s: i64,
}

/// A running process, and which of its namespaces another one is to be in.
#[derive(Debug)]
pub struct Beside {
    /// The process: nobody else can be behind its descriptor, as could behind a pid.
    pub pidfd: OwnedFd,
    /// The kinds in which it differs from the caller, see [`crate::inspect::differences`]: the
    /// kernel refuses to join one's own user namespace.
    pub kinds: Vec<Kind>,
}

/// Namespaces of the process that [`spawn()`](crate::spawn()) makes. What is in no list stays
/// shared with the caller.
#[derive(Debug, Default)]
pub struct Plan {
    /// To create. [`Kind::Cgroup`] is created by [`Child::enter_cgroup_namespace`](crate::Child),
    /// once the child is in its cgroup.
    pub create: Vec<Kind>,
    /// To join, by an open /proc/PID/ns file.
    pub join: Vec<(Kind, OwnedFd)>,
    /// To join: those of a running process, all of them in one call of the child (but the pid
    /// namespace, in which it is born).
    pub beside: Option<Beside>,
    /// User ids, at most 340 ranges; needed with, and only with, a new [`Kind::User`].
    pub uid_map: Vec<IdMap>,
    /// Group ids, likewise.
    pub gid_map: Vec<IdMap>,
    /// Host name, at most 64 bytes; only with a new [`Kind::Uts`], or it would rename the host.
    pub hostname: Option<String>,
    /// NIS domain name, at most 64 bytes; likewise.
    pub domainname: Option<String>,
    /// Clock offsets; only with a new [`Kind::Time`]. Without them its clocks are those of the
    /// parent.
    pub time_offsets: Option<TimeOffsets>,
}

impl Plan {
    /// Whether `kind` is to be created.
    pub fn creates(&self, kind: Kind) -> bool {
        self.create.contains(&kind)
    }

    /// Whether `kind` is to be joined.
    pub fn joins(&self, kind: Kind) -> bool {
        self.join.iter().any(|(joined, _)| *joined == kind)
            || self.beside.as_ref().is_some_and(|beside| beside.kinds.contains(&kind))
    }

    /// Refuses what the kernel would accept and nobody wants.
    ///
    /// # Errors
    /// `EINVAL` with the reason.
    pub(crate) fn check(&self) -> Result<(), KernelError> {
        let refuse = |kind: Kind, reason: &str| {
            Err(KernelError::new("plan namespace", kind, Errno::EINVAL).with_detail(reason))
        };
        if let Some(kind) = self.create.iter().find(|kind| self.joins(**kind)) {
            return refuse(*kind, "it is to be created and to be joined");
        }
        let mapped = !self.uid_map.is_empty() || !self.gid_map.is_empty();
        if mapped && !self.creates(Kind::User) {
            return refuse(Kind::User, "a map needs a new user namespace");
        }
        if self.creates(Kind::User) && (self.uid_map.is_empty() || self.gid_map.is_empty()) {
            return refuse(Kind::User, "without a map nobody inside is root, or anybody");
        }
        let named = self.hostname.is_some() || self.domainname.is_some();
        if named && !self.creates(Kind::Uts) {
            return refuse(Kind::Uts, "a name needs a new UTS namespace, or the host gets it");
        }
        if self.time_offsets.is_some() && !self.creates(Kind::Time) {
            return refuse(Kind::Time, "clock offsets need a new time namespace");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(plan: &Plan) -> String {
        plan.check().map_or_else(|error| error.detail, |()| String::new())
    }

    #[test]
    fn refuses_what_would_change_the_host() {
        let hostname = Some("box".to_owned());
        let plan = Plan { hostname: hostname.clone(), ..Plan::default() };
        assert!(reason(&plan).contains("the host gets it"));
        assert_eq!(reason(&Plan { create: vec![Kind::Uts], hostname, ..Plan::default() }), "");
    }

    #[test]
    fn a_map_and_a_user_namespace_come_together() {
        let map = vec![IdMap { inside: 0, outside: 100_000, count: 65_536 }];
        let plan = Plan { uid_map: map.clone(), ..Plan::default() };
        assert!(reason(&plan).contains("needs a new user namespace"));
        let plan = Plan { create: vec![Kind::User], uid_map: map, ..Plan::default() };
        assert!(reason(&plan).contains("without a map"));
    }

    #[test]
    fn a_kind_is_created_or_joined() {
        let fd = OwnedFd::from(std::fs::File::open("/proc/self/ns/net").unwrap());
        let plan = Plan { create: vec![Kind::Net], join: vec![(Kind::Net, fd)], ..Plan::default() };
        assert!(reason(&plan).contains("to be joined"));
        let pidfd = OwnedFd::from(std::fs::File::open("/proc/self/ns/net").unwrap());
        let beside = Some(Beside { pidfd, kinds: vec![Kind::Ipc, Kind::Net] });
        let plan = Plan { create: vec![Kind::Net], beside, ..Plan::default() };
        assert!(reason(&plan).contains("to be joined"));
    }

    #[test]
    fn every_kind_has_its_own_flag() {
        assert_eq!(flags(Kind::ALL).bits().count_ones(), 8);
    }
}
