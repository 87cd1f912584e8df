//! Chapter 00: the system calls a container is made of, as far as `nix` does not wrap them.
//!
//! This is the only crate of the workspace that may say `unsafe`. Each call or family of calls has one file; each
//! function is safe to call, takes borrowed file descriptors, returns owned ones, and reports the kernel's `errno`.
//! What `nix` wraps already (`setns`, `pivot_root`, `sethostname`, `openat2`, ...) is called through `nix` by the
//! chapters themselves.
//!
//! Read in this order:
//!
//! 1. [`clone`]: a process, its namespaces and its cgroup in one call;
//! 2. [`mount`]: the mount API of Linux 5.2, where a mount is a file descriptor before it has a place;
//! 3. [`inroot`]: paths that cannot leave a root, whatever links lie on the way (`openat2`);
//! 4. [`fd`], [`pidfd`], [`process`], [`capability`], [`tty`], [`keyring`], [`memory`], [`bpf`]: small families;
//! 5. [`error`] and [`trace`]: how every chapter reports a failed step and tells of a successful one.

pub mod bpf;
pub mod capability;
pub mod clone;
pub mod error;
pub mod fd;
pub mod inroot;
pub mod keyring;
pub mod memory;
pub mod mount;
pub mod pidfd;
pub mod process;
pub mod trace;
pub mod tty;

pub use error::{During, KernelError};

use nix::errno::Errno;

/// Turns the return value of `syscall(2)` into a result: -1 means "look at errno".
fn check(returned: libc::c_long) -> Result<libc::c_long, Errno> {
    if returned == -1 { Err(Errno::last()) } else { Ok(returned) }
}
