//! What may be limited, in the units that Docker's flags and the OCI runtime spec use, and what can go wrong.

use syscalls::KernelError;

use crate::Controller;

/// Limits of one cgroup. `None` and empty lists leave the kernel's default, which is no limit.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Limits {
    /// CPU time in µs that may be used in each period; -1 is unlimited. At least 1000.
    pub cpu_quota_us: Option<i64>,
    /// The period in µs, 1000 to 1000000; the kernel's default is 100000.
    pub cpu_period_us: Option<u64>,
    /// Docker's `--cpu-shares`, 2 to 262144, default 1024: the part of a contended CPU. Becomes a weight on v2
    /// ([`crate::weight_of_shares`]). 0 means "not given".
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, as a list: `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used, as a list.
    pub cpuset_mems: Option<String>,
    /// Bytes of memory; -1 is unlimited, 0 "not given". Beyond it the kernel reclaims, then kills.
    pub memory: Option<i64>,
    /// Bytes that are spared from reclaim (v2 `memory.low`), or to which memory is pushed back under pressure (v1 soft
    /// limit).
    pub memory_reservation: Option<i64>,
    /// Docker's `--memory-swap`: bytes of memory *and* swap together; -1 is unlimited. If it is missing or 0 and
    /// `memory` is given, it is twice `memory`.
    pub memory_swap: Option<i64>,
    /// Number of processes and threads; -1 and 0 are unlimited.
    pub pids: Option<i64>,
    /// Docker's `--blkio-weight`, 10 to 1000. 0 means "not given".
    pub blkio_weight: Option<u16>,
    /// Bytes per second read from a device.
    pub read_bps: Vec<Throttle>,
    /// Bytes per second written to a device.
    pub write_bps: Vec<Throttle>,
    /// Operations per second reading from a device.
    pub read_iops: Vec<Throttle>,
    /// Operations per second writing to a device.
    pub write_iops: Vec<Throttle>,
    /// What may be done with which device; for each kind of access the last rule that matches decides, and what no
    /// rule names is allowed. Empty: no restriction. Written at creation only, [`crate::Cgroup::update`] leaves it.
    pub devices: Vec<DeviceRule>,
}

impl Limits {
    /// The controllers without which these limits cannot be written.
    pub fn controllers(&self) -> Vec<Controller> {
        let asked = [
            (
                Controller::Cpu,
                self.cpu_quota_us.is_some()
                    || self.cpu_period_us.is_some()
                    || self.cpu_shares.is_some_and(|shares| shares != 0),
            ),
            (Controller::Cpuset, self.cpuset_cpus.is_some() || self.cpuset_mems.is_some()),
            (
                Controller::Memory,
                [self.memory, self.memory_reservation, self.memory_swap]
                    .iter()
                    .any(|limit| limit.is_some_and(|bytes| bytes != 0)),
            ),
            (Controller::Pids, self.pids.is_some_and(|count| count > 0)),
            (
                Controller::Io,
                self.blkio_weight.is_some_and(|weight| weight != 0) || self.throttles(),
            ),
            (Controller::Devices, !self.devices.is_empty()),
        ];
        asked.into_iter().filter_map(|(controller, asked)| asked.then_some(controller)).collect()
    }

    fn throttles(&self) -> bool {
        [&self.read_bps, &self.write_bps, &self.read_iops, &self.write_iops]
            .iter()
            .any(|list| !list.is_empty())
    }
}

/// A rate for one block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Major number of the whole disk (not of a partition).
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// Bytes or operations per second; 0 takes a limit away.
    pub rate: u64,
}

/// One line of the device list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allows, or denies.
    pub allow: bool,
    /// `b` for block, `c` for character devices, `a` for all.
    pub kind: char,
    /// Major number, or any.
    pub major: Option<i64>,
    /// Minor number, or any.
    pub minor: Option<i64>,
    /// Any of `r` (open for reading), `w` (open for writing), `m` (mknod). Empty means all three.
    pub access: String,
}

/// Why a cgroup could not be made, opened or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no cgroup filesystem at all.
    #[error(
        "no cgroup hierarchy is mounted\nhint: on a current kernel `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NotMounted,
    /// A limit was asked for whose controller this kernel or this place does not have.
    #[error("the {controller} controller is not available here\nhint: {hint}")]
    MissingController {
        /// Its v2 name.
        controller: &'static str,
        /// What to look at.
        hint: String,
    },
    /// The controller is there but the kernel was built or started without this file of it.
    #[error("this kernel cannot limit {what}: `{file}` is missing\nhint: {hint}")]
    Unsupported {
        /// What was to be limited.
        what: &'static str,
        /// The file of the cgroup that is not there.
        file: &'static str,
        /// What to look at.
        hint: &'static str,
    },
    /// A value that cannot be meant.
    #[error("invalid {what} `{value}`: {reason}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// As it was given.
        value: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The kernel refused a step.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}
