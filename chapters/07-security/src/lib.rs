//! Chapter 07: root inside is not root outside. The last steps of the child before exec.
//!
//! After the chapters before this one a process sees little. What it may *do* is still all that
//! root may: load a kernel module, set the clock, read the disk as a block device. Linux has split
//! root into some forty capabilities (capabilities(7)); a container gets fourteen of them, and this
//! chapter takes the others away, from all five sets, in the only order that works. Read in this
//! order:
//!
//! 1. [`Capability`] (`capability.rs`): names and numbers;
//! 2. [`compute`] (`compute.rs`): Docker's rules for `--cap-add` and `--cap-drop`;
//! 3. [`confine`] (`confine.rs`): the story, step by step: limits, keyring, bounding set, user,
//!    capabilities, no-new-privileges;
//! 4. [`Rlimit`] (`rlimit.rs`) and [`set_oom_score_adj`] (`oom.rs`): limits of one process;
//! 5. [`run_from_read_only_mount`] (`own_binary.rs`): the host's binary, out of reach;
//! 6. [`user`]: who `USER` and `--user` mean, by the image's own /etc/passwd.
//!
//! Not here yet: the filter of system calls (seccomp), which has a part of its own.

mod capability;
mod compute;
mod confine;
mod oom;
mod own_binary;
mod rlimit;
pub mod user;

pub use capability::{Capability, available};
pub use compute::{DEFAULT, Unknown, compute, compute_from};
pub use confine::{CapSets, Caps, Confinement, User, apply_caps, confine};
pub use oom::set_oom_score_adj;
pub use own_binary::run_from_read_only_mount;
pub use rlimit::{Rlimit, RlimitError};
pub use syscalls::KernelError;
