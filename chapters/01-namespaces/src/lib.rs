//! Chapter 01: a process that sees its own pids, hostname, mounts, IPC, network, users, cgroups and
//! clocks.
//!
//! A namespace is a property of a process, and every process has one of each kind. A new process
//! with new ones is one call, `clone3(2)`; the rest of this chapter is about the two processes on
//! its two sides, which must wait for each other and tell each other what went wrong. Read in this
//! order:
//!
//! 1. [`Kind`], [`IdMap`], [`Plan`] (`plan.rs`): what the new process is to see;
//! 2. [`spawn()`] (`spawn.rs`): the story. Parent and child, step by step;
//! 3. `channel.rs`: what they say to each other: "maps written", "go", "this step failed", and end
//!    of file, "exec happened";
//! 4. [`Init`] (`init.rs`): the parent's handle on the child, a guard that kills what was never
//!    released;
//! 5. [`exec`] and `diagnose.rs`: the last step, and honest words where it fails;
//! 6. [`reaper`]: the PID 1 that `--init` puts in front of the program;
//! 7. [`join()`] (`join.rs`): into the namespaces of a process that runs already;
//! 8. [`inspect`]: what an observer outside can see of all that.

mod channel;
mod diagnose;
pub mod exec;
mod idmap;
mod init;
pub mod inspect;
mod join;
mod plan;
pub mod reaper;
mod spawn;

pub use init::Init;
pub use join::{join, join_pidfd};
pub use plan::{Beside, IdMap, Kind, Plan, TimeOffsets};
pub use spawn::{Child, spawn};
pub use syscalls::KernelError;
pub use syscalls::process::Exit;
