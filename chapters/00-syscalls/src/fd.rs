//! Descriptors: what an exec may not pass on.

use nix::errno::Errno;

use crate::check;

/// Marks every descriptor from `first` on as close-on-exec (`close_range(2)`, Linux 5.9; the flag 5.11).
///
/// Marked rather than closed: the error pipe must live until exec has succeeded. A descriptor that leaks into a
/// container is a door to the host (CVE-2024-21626).
///
/// # Errors
/// `ENOSYS` before Linux 5.9, `EINVAL` before 5.11.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed before an exec, so no owned descriptor becomes invalid.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}
