//! `clone3(2)`: a new process in new namespaces and, on cgroup v2, in its cgroup, all in one call.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

use crate::check;

/// Places the child in the cgroup of [`CloneArgs::cgroup`] (Linux 5.7). `libc::CLONE_INTO_CGROUP` overflows to 0 on
/// gnu targets, so the value of `linux/sched.h` stands here.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What the child gets.
#[derive(Debug, Clone, Copy)]
pub struct CloneArgs<'fd> {
    /// `CLONE_NEW*`: the namespaces to create. Flags that share memory or the descriptor table are refused.
    pub namespaces: CloneFlags,
    /// A cgroup v2 directory to be born in (Linux 5.7): no later move, which would cost a grace period.
    pub cgroup: Option<BorrowedFd<'fd>>,
}

/// Which side of the call we are on.
#[derive(Debug)]
pub enum Cloned {
    /// The caller.
    Parent {
        /// The child's pid as the caller sees it.
        pid: Pid,
        /// Names the child for as long as it is open, even after the pid is used again (pidfd, Linux 5.2).
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// The flags with which the child shares something with the parent that Rust believes it owns alone.
const SHARING: CloneFlags = CloneFlags::CLONE_VM
    .union(CloneFlags::CLONE_FILES)
    .union(CloneFlags::CLONE_FS)
    .union(CloneFlags::CLONE_SIGHAND)
    .union(CloneFlags::CLONE_THREAD)
    .union(CloneFlags::CLONE_VFORK);

/// Creates a child process with a copy of the caller's memory, as fork(2) does, in new namespaces.
///
/// Source: clone(2), "The clone3() system call", Linux 5.3.
///
/// # Errors
/// - `EINVAL` if the flags would share memory or descriptors with the child (refused here).
/// - `EDEADLK` if the caller has more than one thread (refused here): the child would get one thread and every lock
///   as the others left it, an allocator's included.
/// - `EPERM`, `ENOSPC`, `EUSERS`: may not create, or no more, namespaces; `EAGAIN`: no more processes;
///   `EBUSY`, `EOPNOTSUPP`: the cgroup cannot take processes; `ENOSYS`: the kernel is older than 5.3.
pub fn clone3(args: &CloneArgs<'_>) -> Result<Cloned, Errno> {
    if args.namespaces.intersects(SHARING) {
        return Err(Errno::EINVAL);
    }
    if threads()? != 1 {
        return Err(Errno::EDEADLK);
    }
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args consists of integers, for which all bits zero is a value (and means "not asked for").
    let mut raw: libc::clone_args = unsafe { std::mem::zeroed() };
    raw.flags = (args.namespaces.bits() as u32 as u64) | libc::CLONE_PIDFD as u64;
    raw.pidfd = &raw mut pidfd as u64;
    raw.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = args.cgroup {
        raw.flags |= CLONE_INTO_CGROUP;
        raw.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `raw` lives until the call returns and its size is given; the kernel writes only to `pidfd`. Without
    // CLONE_VM and with one thread the child continues with its own copy of everything, so no Rust value is shared.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const raw, std::mem::size_of::<libc::clone_args>())
    };
    match check(pid)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: Pid::from_raw(pid as i32),
            // SAFETY: the call succeeded with CLONE_PIDFD, so the kernel stored a descriptor that is now ours.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// Number of threads of the calling process, from the link count of /proc/self/task (proc(5)): one call, no parsing.
///
/// Where /proc is not mounted the answer is 1: only a program that does nothing but set up containers gets there.
fn threads() -> Result<u64, Errno> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata("/proc/self/task") {
        Ok(task) => Ok(task.nlink().saturating_sub(2)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
    }
}
