//! Descriptors: what an exec may not pass on.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

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

/// Receives one open file that was sent over a socket with `SCM_RIGHTS` (unix(7)). None if the other end was closed
/// without sending one.
///
/// # Errors
/// As recvmsg(2).
pub fn receive(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    receive_message(socket, &mut [0], MsgFlags::empty()).map(|(_, file)| file)
}

/// Receives a message: its length, 0 at the end of the conversation, and the open file that came with it
/// (`SCM_RIGHTS`, unix(7)).
///
/// # Errors
/// As recvmsg(2): `EAGAIN` with `MSG_DONTWAIT` if there is none.
pub fn receive_message(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: MsgFlags,
) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = nix::cmsg_space!(RawFd);
    let mut buffer = [std::io::IoSliceMut::new(buffer)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffer, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(&fd) = fds.first()
        {
            // SAFETY: the kernel has just made this descriptor for us, and there is room for one only.
            return Ok((message.bytes, Some(unsafe { OwnedFd::from_raw_fd(fd) })));
        }
    }
    Ok((message.bytes, None))
}

/// Closes every descriptor from 3 on except those of `keep`: for a process that goes on without its parent and must
/// hold nothing of what that one was given, such as the end of somebody's pipe.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for last in keep.into_iter().filter(|fd| *fd >= 3).map(Some).chain([None]) {
        let before = last.map_or(u32::MAX, |last| last - 1);
        if first <= before {
            // SAFETY: the caller says which descriptors it still owns; the others belong to nobody in this process any
            // more.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, before, 0) })?;
        }
        first = last.map_or(u32::MAX, |last| last + 1);
    }
    Ok(())
}
