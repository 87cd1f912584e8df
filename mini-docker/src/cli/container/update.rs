//! `update`: other limits, or another restart policy, for containers that exist.

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies, Limits};
use clap::Args;
use nix::errno::Errno;

use crate::cli::table;
use crate::container::{self, human};
use crate::containers::Containers;
use crate::create::options::{LimitFlags, size_parser};
use crate::create::{parse_restart, update_limits};
use crate::engine::Engine;
use crate::events;
use crate::failure::{self, Failure, code};
use crate::record::{Record, RestartPolicy};

#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    /// CPUs' worth of time: 0.5 is half of one
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<f64>,
    /// Length of a scheduling period, in microseconds
    #[arg(long, value_name = "US", conflicts_with = "cpus")]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US", conflicts_with = "cpus", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Relative weight against other containers (1024 is usual)
    #[arg(short = 'c', long, value_name = "WEIGHT")]
    cpu_shares: Option<u64>,
    /// CPUs that may be used: 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit: 64m, 1g
    #[arg(short, long, value_name = "BYTES", value_parser = size_parser(), allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Memory to shrink to when the host runs short
    #[arg(long, value_name = "BYTES", value_parser = size_parser())]
    memory_reservation: Option<i64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size_parser(), allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Number of processes and threads; -1 for unlimited
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Relative weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = clap::value_parser!(u16).range(10..=1000))]
    blkio_weight: Option<u16>,
    /// When to start it again: `no`, `on-failure[:TIMES]`, `always`, `unless-stopped`
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    /// Names or ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Update {
    pub(in crate::cli) fn run(self, engine: &Engine) -> Result<u8> {
        let restart = self.restart.as_deref().map(parse_restart).transpose()?;
        let flags = self.limits();
        if restart.is_none() && !names_a_limit(&flags) {
            return Err(Failure::new("you must provide one or more flags when using this command")
                .hint("as in mini-docker update -m 256m NAME; see `mini-docker update --help`")
                .into());
        }
        let mut worst = 0;
        for key in &self.containers {
            match update(engine, key, &flags, restart) {
                Ok(()) => table::print(&format!("{key}\n")),
                Err(error) => worst = failure::report(&error, code::OTHER),
            }
        }
        Ok(worst)
    }

    fn limits(&self) -> LimitFlags {
        LimitFlags {
            cpus: self.cpus,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            memory: self.memory,
            memory_reservation: self.memory_reservation,
            memory_swap: self.memory_swap,
            pids_limit: self.pids_limit,
            blkio_weight: self.blkio_weight,
            ..LimitFlags::default()
        }
    }
}

fn names_a_limit(flags: &LimitFlags) -> bool {
    flags.cpus.is_some()
        || flags.cpu_period.is_some()
        || flags.cpu_quota.is_some()
        || flags.cpu_shares.is_some()
        || flags.cpuset_cpus.is_some()
        || flags.cpuset_mems.is_some()
        || flags.memory.is_some()
        || flags.memory_reservation.is_some()
        || flags.memory_swap.is_some()
        || flags.pids_limit.is_some()
        || flags.blkio_weight.is_some()
}

/// All of it or nothing: first the kernel is asked, then it is written down.
fn update(
    engine: &Engine,
    key: &str,
    flags: &LimitFlags,
    restart: Option<RestartPolicy>,
) -> Result<()> {
    let containers = Containers::new(engine);
    let id = containers.find(key)?.id;
    // Under the lock of the record, so that of two updates one comes after the other.
    let record = containers.edit(&id, true, |record| {
        if let Some(policy) = restart {
            if record.auto_remove && policy != RestartPolicy::No {
                return Err(Failure::new(format!(
                    "the restart policy of container {} cannot be updated: it was made with --rm",
                    record.name
                ))
                .hint("what is removed when it ends cannot be started again")
                .into());
            }
            record.restart = policy;
        }
        if !names_a_limit(flags) {
            return Ok(());
        }
        let mut spec = containers.load_spec(&id)?;
        let mut linux = spec.linux().clone().context("the spec has no `linux` part")?;
        let mut resources = linux.resources().clone().unwrap_or_default();
        let before = crate::spec::limits(&resources);
        let written = update_limits(&mut resources, flags)?;
        linux.set_resources(Some(resources));
        spec.set_linux(Some(linux));
        // Asked for in CPUs, or as a share of a period: `inspect` says which.
        if let Some(cpus) = flags.cpus {
            record.asked.nano_cpus = (cpus * 1e9) as i64;
        } else if flags.cpu_period.is_some() || flags.cpu_quota.is_some() {
            record.asked.nano_cpus = 0;
        }
        if container::process(engine, record)?.is_some() {
            apply(engine, record, &written, &before)?;
        }
        containers.save_spec(&id, &spec, true)
    })?;
    // A monitor that is about to start it again asks its record.
    container::wake(engine, &id);
    events::container(engine, &record, "update", &[]);
    Ok(())
}

/// Writes limits into the cgroup. What the kernel has taken before it refused something is put back.
fn apply(engine: &Engine, record: &Record, written: &Limits, before: &Limits) -> Result<()> {
    let path = format!("{}/{}", engine.cgroup_parent(), record.id);
    let cgroup = Cgroup::open(&Hierarchies::detect()?, &path)?;
    let Err(error) = cgroup.update(written) else { return Ok(()) };
    cgroup.update(&back(written, before)).ok();
    let uses = cgroup.stats().memory_current;
    match (&error, written.memory) {
        (cgroups::Error::Kernel(kernel), Some(limit))
            if kernel.errno == Errno::EBUSY && limit >= 0 =>
        {
            Err(Failure::new(format!(
                "cannot lower the memory limit of container {} to {}: it uses {}, and the kernel cannot take that away",
                record.name,
                human(limit as u64),
                human(uses)
            ))
            .hint("give it more, or have the program free memory first")
            .into())
        }
        _ => Err(anyhow::Error::from(error).context(format!("update container {}", record.name))),
    }
}

/// The limits of before, for those that were to change; what was not limited is not limited.
fn back(written: &Limits, before: &Limits) -> Limits {
    let memory = written.memory.map(|_| before.memory.unwrap_or(-1));
    Limits {
        cpu_quota_us: written.cpu_quota_us.map(|_| before.cpu_quota_us.unwrap_or(-1)),
        cpu_period_us: written.cpu_period_us.map(|_| before.cpu_period_us.unwrap_or(100_000)),
        cpu_shares: written.cpu_shares.map(|_| before.cpu_shares.unwrap_or(1024)),
        cpuset_cpus: written.cpuset_cpus.as_ref().and(before.cpuset_cpus.clone()),
        cpuset_mems: written.cpuset_mems.as_ref().and(before.cpuset_mems.clone()),
        memory,
        memory_swap: memory.and(before.memory_swap.or(before.memory.is_none().then_some(-1))),
        pids: written.pids.map(|_| before.pids.unwrap_or(-1)),
        ..Limits::default()
    }
}
