//! What running containers use, between two looks: `docker stats` computes it in its daemon, here the command does.
//!
//! ```text
//!   CPU %    CPU time of the container / CPU time of the machine, both since the last look, x CPUs x 100
//!   MEM      memory in use without page cache that could be dropped at once, of the limit or of the machine's memory
//!   NET I/O  bytes received and sent by all interfaces of its network namespace but loopback
//! ```
//!
//! Sources: proc_stat(5), proc_pid_net(5), the kernel's `admin-guide/cgroup-v2.rst`.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use syscalls::pidfd;

use crate::container;
use crate::engine::Engine;
use crate::record::Record;
use crate::state::Looker;

/// Counters of a container at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Percent of one CPU since the look before: 200 is all of two CPUs. None at the first look.
    pub cpu: Option<f64>,
    /// Bytes of memory in use.
    pub memory: u64,
    /// Bytes that it may use: its limit, or the machine's memory.
    pub memory_limit: u64,
    /// Bytes received from networks.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes read from block devices.
    pub read: u64,
    /// Bytes written to them.
    pub written: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Usage {
    /// Percent of what it may use.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 {
            0.0
        } else {
            self.memory as f64 / self.memory_limit as f64 * 100.0
        }
    }
}

/// CPU time, µs: of a container, and of the whole machine at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTimes {
    own: u64,
    machine: u64,
    cpus: u64,
}

/// Looks at containers again and again.
#[derive(Debug)]
pub struct Meter<'engine> {
    engine: &'engine Engine,
    looker: Looker<'engine>,
    /// Of each container at the last look.
    before: BTreeMap<String, CpuTimes>,
}

impl<'engine> Meter<'engine> {
    /// One that has not looked yet.
    pub fn new(engine: &'engine Engine) -> Self {
        Self { engine, looker: Looker::new(engine), before: BTreeMap::new() }
    }

    /// Looks at a container. None if it does not run.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn look(&mut self, record: &Record) -> Result<Option<Usage>> {
        let process = container::process(self.engine, record)?;
        let (Some(process), Some(pid)) = (process, record.pid()) else {
            self.before.remove(&record.id);
            return Ok(None);
        };
        let Some(cgroup) = self.looker.cgroup(record) else { return Ok(None) };
        let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let stats = cgroup.stats();
        let (machine, cpus) = machine_time(&stat);
        let now = CpuTimes { own: stats.cpu_usage_us, machine, cpus };
        let before = self.before.insert(record.id.clone(), now);
        let (received, sent) = match record.network.mode.as_str() {
            // The host's traffic is not the container's.
            "host" => (0, 0),
            _ => std::fs::read_to_string(format!("/proc/{pid}/net/dev"))
                .map(|text| traffic(&text))
                .unwrap_or_default(),
        };
        // Only now is it known that all of this was that process: while it lives its pid is nobody else's.
        if pidfd::send_raw(process.as_fd(), 0).is_err() {
            return Ok(None);
        }
        Ok(Some(Usage {
            cpu: before.map(|before| percent(before, now)),
            memory: stats.memory_current.saturating_sub(stats.memory_inactive_file),
            memory_limit: memory_limit(stats.memory_limit, machine_memory()?),
            received,
            sent,
            read: stats.io_read_bytes,
            written: stats.io_write_bytes,
            pids: stats.pids_current,
        }))
    }
}

/// As Docker computes it: the container's share of the machine's time, in percent of one CPU.
fn percent(before: CpuTimes, now: CpuTimes) -> f64 {
    let own = now.own.saturating_sub(before.own) as f64;
    let machine = now.machine.saturating_sub(before.machine) as f64;
    if machine > 0.0 { own / machine * now.cpus as f64 * 100.0 } else { 0.0 }
}

/// A limit above what there is limits nothing.
fn memory_limit(limit: Option<u64>, machine: u64) -> u64 {
    limit.filter(|limit| *limit < machine || machine == 0).unwrap_or(machine)
}

/// Time of all CPUs, idle or not, in µs, and how many there are. The first line of /proc/stat is in ticks of USER_HZ,
/// 100 a second: user nice system idle iowait irq softirq; what follows is part of user and nice, or the hypervisor's.
fn machine_time(stat: &str) -> (u64, u64) {
    let mut lines = stat.lines();
    let ticks: u64 = lines
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .map(|line| {
            line.split_whitespace().take(7).filter_map(|tick| tick.parse::<u64>().ok()).sum()
        })
        .unwrap_or_default();
    let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
    (ticks * 10_000, cpus as u64)
}

/// The machine's memory in bytes: `MemTotal` of /proc/meminfo.
fn machine_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    Ok(kib.unwrap_or_default() * 1024)
}

/// Bytes received and sent: /proc/PID/net/dev has two lines of headings, then `eth0: RECEIVED ... SENT ...`, where what
/// is sent is the ninth number.
fn traffic(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for (name, numbers) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> =
            numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        if let (Some(received), Some(sent)) = (numbers.first(), numbers.get(8)) {
            sum = (sum.0 + received, sum.1 + sent);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_percent_is_of_one_cpu() {
        let times = |own, machine| CpuTimes { own, machine, cpus: 4 };
        for (before, now, expected) in [
            // One second of the machine is four of its CPUs.
            (times(0, 0), times(1_000_000, 4_000_000), 100.0),
            (times(500, 4_000_000), times(2_000_500, 8_000_000), 200.0),
            (times(7, 4_000_000), times(7, 8_000_000), 0.0),
            // No time has passed, or a counter was set back.
            (times(0, 9), times(5, 9), 0.0),
            (times(9, 0), times(5, 9), 0.0),
        ] {
            assert_eq!(percent(before, now), expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn the_machines_time_is_of_all_its_cpus() {
        let stat = "cpu  10 20 30 40 50 60 70 1000 2000 3000\n\
                    cpu0 5 10 15 20 25 30 35 0 0 0\ncpu1 5 10 15 20 25 30 35 0 0 0\nintr 1 2\n";
        assert_eq!(machine_time(stat), (2_800_000, 2));
        assert_eq!(machine_time(""), (0, 0));
        let (now, cpus) = machine_time(&std::fs::read_to_string("/proc/stat").unwrap());
        assert!(now > 0 && cpus >= 1);
    }

    #[test]
    fn a_limit_above_the_machines_memory_is_none() {
        for (limit, machine, expected) in
            [(None, 100, 100), (Some(64), 100, 64), (Some(200), 100, 100), (Some(64), 0, 64)]
        {
            assert_eq!(memory_limit(limit, machine), expected);
        }
        assert!(machine_memory().unwrap() > 1 << 20);
        let usage = |memory, memory_limit| Usage { memory, memory_limit, ..Usage::default() };
        assert_eq!(usage(16, 64).memory_percent(), 25.0);
        assert_eq!(usage(16, 0).memory_percent(), 0.0);
    }

    #[test]
    fn loopback_is_no_network() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
            lo: 999 9 0 0 0 0 0 0 999 9 0 0 0 0 0 0\n  \
            eth0: 1500 10 0 0 0 0 0 0 700 5 0 0 0 0 0 0\n  eth1:20 1 0 0 0 0 0 0 3 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (1520, 703));
        assert_eq!(traffic(""), (0, 0));
    }
}
