//! Terminals: a pair made inside the container's own devpts, its size, and who controls it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::check;

/// Size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub rows: u16,
    /// Width.
    pub cols: u16,
}

/// The size of the terminal behind `fd` (`TIOCGWINSZ`, ioctl_tty(2)).
///
/// # Errors
/// `ENOTTY` if it is not a terminal.
pub fn size(fd: BorrowedFd<'_>) -> Result<Size, Errno> {
    let mut raw = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which `raw` is.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) };
    check(returned.into())?;
    Ok(Size { rows: raw.ws_row, cols: raw.ws_col })
}

/// Sets the size; the foreground process group of the terminal gets SIGWINCH if it changed.
///
/// # Errors
/// `ENOTTY` if it is not a terminal.
pub fn set_size(fd: BorrowedFd<'_>, size: Size) -> Result<(), Errno> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which `raw` is.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) };
    check(returned.into()).map(drop)
}

/// Unlocks a new terminal pair, so that its other side may be opened (`TIOCSPTLCK`).
///
/// # Errors
/// `ENOTTY` if `master` is not the master side of a pair.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    let returned = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    check(returned.into()).map(drop)
}

/// Opens the other side of a pair by its master, never by a path that the container could have replaced
/// (`TIOCGPTPEER`, Linux 4.13).
///
/// # Errors
/// `EIO` while the pair is locked, `ENOTTY` if `master` is not a master side.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes open flags by value and returns a new descriptor.
    let fd = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) };
    check(fd.into())?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes the terminal the controlling terminal of the calling session leader (`TIOCSCTTY`).
///
/// # Errors
/// `EPERM` if the caller does not lead a session (`setsid(2)` first) or has a terminal already.
pub fn set_controlling(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes an integer by value: 0, do not steal it from another session.
    let returned = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(returned.into()).map(drop)
}
