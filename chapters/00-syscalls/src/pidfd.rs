//! Descriptors that name a process: a pid may be used again, a pidfd never speaks of another process.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::check;

/// Opens a pidfd for a running process (`pidfd_open(2)`, Linux 5.3). It polls readable when the process has ended.
///
/// # Errors
/// `ESRCH` if there is no such process.
pub fn open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: only integers are passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to exactly that process (`pidfd_send_signal(2)`, Linux 5.1).
///
/// # Errors
/// `ESRCH` if the process has ended, `EPERM` if the caller may not.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> Result<(), Errno> {
    send_raw(pidfd, signal as i32)
}

/// Sends a signal by number, for those that have no name (real-time signals).
///
/// # Errors
/// As [`send_signal`]; `EINVAL` for a number that is no signal.
pub fn send_raw(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: a null siginfo asks the kernel to fill it in as for kill(2); the descriptor is borrowed for the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}
