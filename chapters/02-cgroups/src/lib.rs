//! Chapter 02: a process that may use only so much CPU, memory, pids and io.
//!
//! A control group ("cgroup") is a directory in a filesystem of the kernel. `mkdir` makes one, writing a number into
//! one of its files sets a limit, writing a pid into `cgroup.procs` puts a process in, `rmdir` removes it. Everything
//! such a process starts is born in the same cgroup, so the limit holds for the container as a whole.
//!
//! There are two versions. In **v1** each controller has a tree of its own (`/sys/fs/cgroup/memory`, `.../pids`, ...)
//! and a process has a place in each. In **v2** there is one tree, and a directory hands controllers down to its
//! children by name. A **hybrid** host mounts both. Here one file stands for each controller, with both versions side
//! by side, so that the difference can be read off.
//!
//! The story of a start, in order:
//!
//! 1. [`Hierarchies::detect`] (`hierarchy.rs`): which trees are mounted, and which controller lives in which;
//! 2. [`Cgroup::create`] (`cgroup.rs`, `tree.rs`): `mkdir` in every tree that is needed; on v2 the controllers are first enabled
//!    from the top down (`enable.rs`);
//! 3. the limits are written while the cgroup is still empty: `cpu.rs`, `cpuset.rs`, `memory.rs`, `pids.rs`, `io.rs`,
//!    `devices.rs` (with `bpf.rs`, its compiler for v2);
//! 4. the process is *born inside*: v2 by [`Cgroup::clone_fd`] and `CLONE_INTO_CGROUP`; v1 knows no such thing, so the
//!    child's first act is [`Joiner::join_self`] (`join.rs`). Either way no instruction of the container runs outside;
//! 5. [`container_mounts`] (`mounts.rs`): what the container itself sees at `/sys/fs/cgroup`;
//! 6. while it runs: [`Cgroup::stats`], [`Cgroup::oom_kills`] (`stats.rs`), [`Cgroup::freeze`] (`freezer.rs`),
//!    [`Cgroup::update`], [`Cgroup::kill`];
//! 7. [`Cgroup::remove`], which dropping the guard does too; [`reclaim`] (`reclaim.rs`) for what a killed runtime left.
//!
//! Sources: cgroups(7), the kernel's `admin-guide/cgroup-v2.rst` and `admin-guide/cgroup-v1/*.rst`.

mod bpf;
mod cgroup;
mod compat;
mod cpu;
mod cpuset;
mod devices;
mod enable;
mod freezer;
mod group;
mod hierarchy;
mod io;
mod join;
mod limits;
mod memory;
mod mounts;
mod pids;
mod reclaim;
mod stats;
mod tree;

pub use cgroup::Cgroup;
pub use cpu::weight_of_shares;
pub use devices::default_device_rules;
pub use group::Version;
pub use hierarchy::{Controller, Hierarchies, Hierarchy, Mode};
pub use io::weight_of_blkio;
pub use join::Joiner;
pub use limits::{DeviceRule, Error, Limits, Throttle};
pub use mounts::container_mounts;
pub use reclaim::reclaim;
pub use stats::Stats;
