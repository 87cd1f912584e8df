//! What a cgroup has used, and what happened to it.
//!
//! | | v1 | v2 |
//! |---|---|---|
//! | CPU time | `cpuacct.usage` (ns), `cpuacct.stat` (ticks) | `cpu.stat` (µs) |
//! | throttling | `cpu.stat`: `throttled_time` (ns) | `cpu.stat`: `throttled_usec` |
//! | memory | `memory.usage_in_bytes`, `memory.max_usage_in_bytes` | `memory.current`, `memory.peak` (5.19) |
//! | OOM kills | `oom_kill` in `memory.oom_control` (4.13) | `oom_kill` in `memory.events` |
//! | io | `blkio.throttle.io_service_bytes_recursive` | `io.stat` |

use syscalls::KernelError;

use crate::group::{Group, keyed};
use crate::{Controller, Version};

/// Counters of a cgroup. What this kernel or this cgroup has no counter for is 0 or `None`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Stats {
    /// CPU time used, µs.
    pub cpu_usage_us: u64,
    /// Part of it spent in user mode, µs.
    pub cpu_user_us: u64,
    /// Part of it spent in the kernel, µs.
    pub cpu_system_us: u64,
    /// Periods of the CPU quota that have passed.
    pub nr_periods: u64,
    /// Periods in which the quota was used up.
    pub nr_throttled: u64,
    /// Time that threads waited for the next period, µs, summed over CPUs.
    pub throttled_us: u64,
    /// Bytes of memory in use, page cache included.
    pub memory_current: u64,
    /// Largest value it has had.
    pub memory_peak: Option<u64>,
    /// Limit in bytes, `None` if unlimited.
    pub memory_limit: Option<u64>,
    /// Page cache that the kernel can drop at once; `docker stats` subtracts it from the memory in use.
    pub memory_inactive_file: u64,
    /// Swap in use, bytes.
    pub swap_current: u64,
    /// Processes and threads.
    pub pids_current: u64,
    /// Limit of them, `None` if unlimited.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub io_read_bytes: u64,
    /// Bytes written to block devices.
    pub io_write_bytes: u64,
    /// Read operations.
    pub io_reads: u64,
    /// Write operations.
    pub io_writes: u64,
}

/// Reads everything; `group` finds the directory of a controller.
pub(crate) fn read<'a>(group: impl Fn(Controller) -> Option<&'a Group>) -> Stats {
    let mut stats = Stats::default();
    if let Some(group) = group(Controller::Cpuacct) {
        cpu_time(group, &mut stats);
    }
    if let Some(group) = group(Controller::Cpu) {
        let text = group.get("cpu.stat").unwrap_or_default();
        stats.nr_periods = keyed(&text, "nr_periods").unwrap_or(0);
        stats.nr_throttled = keyed(&text, "nr_throttled").unwrap_or(0);
        stats.throttled_us = keyed(&text, "throttled_usec")
            .or_else(|| keyed(&text, "throttled_time").map(|ns| ns / 1000))
            .unwrap_or(0);
    }
    if let Some(group) = group(Controller::Memory) {
        memory(group, &mut stats);
    }
    if let Some(group) = group(Controller::Pids) {
        stats.pids_current = number(group, "pids.current").unwrap_or(0);
        stats.pids_limit = number(group, "pids.max");
    }
    if let Some(group) = group(Controller::Io) {
        match group.version {
            Version::V1 => {
                let text = |file| group.get(file).unwrap_or_default();
                let bytes = text("blkio.throttle.io_service_bytes_recursive");
                let count = text("blkio.throttle.io_serviced_recursive");
                (stats.io_read_bytes, stats.io_write_bytes) = blkio(&bytes);
                (stats.io_reads, stats.io_writes) = blkio(&count);
            }
            Version::V2 => io_stat(&group.get("io.stat").unwrap_or_default(), &mut stats),
        }
    }
    stats
}

/// How often the kernel has killed a process of this cgroup because memory ran out.
pub(crate) fn oom_kills(group: &Group) -> Result<u64, KernelError> {
    let file = match group.version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    Ok(keyed(&group.read(file)?, "oom_kill").unwrap_or(0))
}

fn cpu_time(group: &Group, stats: &mut Stats) {
    match group.version {
        Version::V1 => {
            stats.cpu_usage_us = number(group, "cpuacct.usage").unwrap_or(0) / 1000;
            let text = group.get("cpuacct.stat").unwrap_or_default();
            // In ticks of USER_HZ, which is 100 in every ABI of Linux that we build for: 10000 µs.
            stats.cpu_user_us = keyed(&text, "user").unwrap_or(0) * 10_000;
            stats.cpu_system_us = keyed(&text, "system").unwrap_or(0) * 10_000;
        }
        Version::V2 => {
            let text = group.get("cpu.stat").unwrap_or_default();
            stats.cpu_usage_us = keyed(&text, "usage_usec").unwrap_or(0);
            stats.cpu_user_us = keyed(&text, "user_usec").unwrap_or(0);
            stats.cpu_system_us = keyed(&text, "system_usec").unwrap_or(0);
        }
    }
}

fn memory(group: &Group, stats: &mut Stats) {
    let text = group.get("memory.stat").unwrap_or_default();
    match group.version {
        Version::V1 => {
            stats.memory_current = number(group, "memory.usage_in_bytes").unwrap_or(0);
            stats.memory_peak = number(group, "memory.max_usage_in_bytes");
            // "Unlimited" is the largest multiple of the page size: nobody has that much memory.
            stats.memory_limit =
                number(group, "memory.limit_in_bytes").filter(|bytes| *bytes < 1 << 62);
            stats.memory_inactive_file = keyed(&text, "total_inactive_file").unwrap_or(0);
            stats.swap_current = keyed(&text, "total_swap").unwrap_or(0);
        }
        Version::V2 => {
            stats.memory_current = number(group, "memory.current").unwrap_or(0);
            stats.memory_peak = number(group, "memory.peak");
            stats.memory_limit = number(group, "memory.max");
            stats.memory_inactive_file = keyed(&text, "inactive_file").unwrap_or(0);
            stats.swap_current = number(group, "memory.swap.current").unwrap_or(0);
        }
    }
}

/// A file with one number; `None` if it is missing or says `max`.
fn number(group: &Group, file: &str) -> Option<u64> {
    group.get(file).ok()?.trim().parse().ok()
}

/// Sums of reads and writes over all devices: lines `8:0 Read 4096`.
fn blkio(text: &str) -> (u64, u64) {
    let sum = |kind: &str| -> u64 {
        text.lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                (words.next()? == kind).then(|| words.next()?.parse::<u64>().ok()).flatten()
            })
            .sum()
    };
    (sum("Read"), sum("Write"))
}

/// Sums over all devices: lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_stat(text: &str, stats: &mut Stats) {
    for (key, value) in text.split_whitespace().filter_map(|word| word.split_once('=')) {
        let Ok(value) = value.parse::<u64>() else { continue };
        match key {
            "rbytes" => stats.io_read_bytes += value,
            "wbytes" => stats.io_write_bytes += value,
            "rios" => stats.io_reads += value,
            "wios" => stats.io_writes += value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_is_summed_over_devices() {
        let v1 = "8:0 Read 4096\n8:0 Write 10\n8:0 Total 4106\n254:0 Read 4\n254:0 Write 1\nTotal 4111\n";
        assert_eq!(blkio(v1), (4100, 11));
        let mut stats = Stats::default();
        io_stat(
            "8:0 rbytes=4096 wbytes=7 rios=2 wios=1 dbytes=0 dios=0\n254:0 rbytes=4\n",
            &mut stats,
        );
        assert_eq!(
            (stats.io_read_bytes, stats.io_write_bytes, stats.io_reads, stats.io_writes),
            (4100, 7, 2, 1)
        );
    }
}
