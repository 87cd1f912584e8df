//! Limits of a container that exists: the flags of `update`, checked as those of `run`, over what it has.

use anyhow::Result;
use cgroups::Limits;
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
};

use super::super::options::LimitFlags;

/// Changes the resources of a spec as the flags say, and returns what has to be written into the cgroup of a container
/// that runs: all of a kind of limit (memory for instance) of which one has changed, since the kernel ties them together.
///
/// # Errors
/// A failure with a hint if a limit cannot be, alone or beside those that stay.
pub(crate) fn update(resources: &mut LinuxResources, flags: &LimitFlags) -> Result<Limits> {
    let mut changed = Limits::default();
    change_cpu(resources, flags)?;
    change_memory(resources, flags)?;
    if let Some(limit) = flags.pids_limit {
        resources.set_pids(Some(LinuxPidsBuilder::default().limit(limit).build()?));
    }
    if let Some(weight) = flags.blkio_weight {
        let mut block = match resources.block_io() {
            Some(block) => block.clone(),
            None => LinuxBlockIoBuilder::default().build()?,
        };
        block.set_weight(Some(weight));
        resources.set_block_io(Some(block));
    }
    let all = crate::spec::limits(resources);
    if flags.cpus.is_some() || flags.cpu_quota.is_some() || flags.cpu_period.is_some() {
        (changed.cpu_quota_us, changed.cpu_period_us) = (all.cpu_quota_us, all.cpu_period_us);
    }
    changed.cpu_shares = flags.cpu_shares.and(all.cpu_shares);
    changed.cpuset_cpus = flags.cpuset_cpus.is_some().then_some(all.cpuset_cpus).flatten();
    changed.cpuset_mems = flags.cpuset_mems.is_some().then_some(all.cpuset_mems).flatten();
    if flags.memory.is_some() || flags.memory_swap.is_some() {
        (changed.memory, changed.memory_swap) = (all.memory, all.memory_swap);
    }
    changed.memory_reservation = flags.memory_reservation.and(all.memory_reservation);
    changed.pids = flags.pids_limit.and(all.pids);
    changed.blkio_weight = flags.blkio_weight.and(all.blkio_weight);
    Ok(changed)
}

fn change_cpu(resources: &mut LinuxResources, flags: &LimitFlags) -> Result<()> {
    let (quota, period) = super::cpu(flags)?;
    let mut cpu = match resources.cpu() {
        Some(cpu) => cpu.clone(),
        None => LinuxCpuBuilder::default().build()?,
    };
    cpu.set_quota(quota.or(cpu.quota()));
    cpu.set_period(period.or(cpu.period()));
    cpu.set_shares(flags.cpu_shares.or(cpu.shares()));
    cpu.set_cpus(flags.cpuset_cpus.clone().or(cpu.cpus().clone()));
    cpu.set_mems(flags.cpuset_mems.clone().or(cpu.mems().clone()));
    resources.set_cpu(Some(cpu));
    Ok(())
}

fn change_memory(resources: &mut LinuxResources, flags: &LimitFlags) -> Result<()> {
    let mut memory = match resources.memory() {
        Some(memory) => *memory,
        None => LinuxMemoryBuilder::default().build()?,
    };
    // 0 means "as it is", as in Docker.
    let or = |new: Option<i64>, old: Option<i64>| new.filter(|bytes| *bytes != 0).or(old);
    memory.set_limit(or(flags.memory, memory.limit()));
    memory.set_swap(or(flags.memory_swap, memory.swap()));
    memory.set_reservation(or(flags.memory_reservation, memory.reservation()));
    super::memory(&LimitFlags {
        // No limit is none that others could be above of.
        memory: memory.limit().filter(|bytes| *bytes > 0),
        memory_swap: memory.swap(),
        memory_reservation: memory.reservation(),
        ..LimitFlags::default()
    })?;
    resources.set_memory(Some(memory));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::options::IsolationFlags;

    const MIB: i64 = 1 << 20;

    fn resources(flags: &LimitFlags) -> LinuxResources {
        super::super::resources(flags, &IsolationFlags::default()).unwrap()
    }

    #[test]
    fn what_is_not_named_stays_and_what_belongs_together_is_written_together() {
        let first = LimitFlags {
            memory: Some(64 * MIB),
            memory_swap: Some(128 * MIB),
            cpus: Some(0.5),
            pids_limit: Some(50),
            ..LimitFlags::default()
        };
        let mut resources = resources(&first);
        let flags = LimitFlags { memory: Some(32 * MIB), ..LimitFlags::default() };
        let written = update(&mut resources, &flags).unwrap();
        let expected =
            Limits { memory: Some(32 * MIB), memory_swap: Some(128 * MIB), ..Limits::default() };
        assert_eq!(written, expected);
        let all = crate::spec::limits(&resources);
        assert_eq!((all.cpu_quota_us, all.pids), (Some(50_000), Some(50)));
        let flags = LimitFlags { cpu_quota: Some(20_000), ..LimitFlags::default() };
        let written = update(&mut resources, &flags).unwrap();
        assert_eq!((written.cpu_quota_us, written.cpu_period_us), (Some(20_000), Some(100_000)));
        assert_eq!(written.memory, None);
    }

    #[test]
    fn new_limits_must_agree_with_those_that_stay() {
        let first = LimitFlags {
            memory: Some(64 * MIB),
            memory_swap: Some(64 * MIB),
            memory_reservation: Some(48 * MIB),
            ..LimitFlags::default()
        };
        for (memory, swap, message) in [
            (Some(128 * MIB), None, "--memory-swap 67108864 is below --memory 134217728"),
            (Some(32 * MIB), None, "--memory-reservation is above --memory"),
            (None, Some(32 * MIB), "--memory-swap 33554432 is below --memory 67108864"),
            (Some(MIB), None, "--memory 1048576 is below 6 MiB"),
        ] {
            let flags = LimitFlags { memory, memory_swap: swap, ..LimitFlags::default() };
            let before = resources(&first);
            let mut after = before.clone();
            assert_eq!(update(&mut after, &flags).unwrap_err().to_string(), message);
        }
    }
}
