//! What a process does to itself between clone3 and its end: signals back to default, domain name,
//! a last word without clean-up; and how its parent learns of that end.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::check;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit(2) with this code, 0 to 255.
    Code(i32),
    /// This signal ended it; a number, since real-time signals have no names.
    Signal(i32),
}

impl Exit {
    /// The code a shell would show in `$?`: 128+n after signal n.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// For whom [`wait`] waits.
#[derive(Debug, Clone, Copy)]
pub enum Target<'fd> {
    /// Any child.
    Any,
    /// The child behind this pidfd (`P_PIDFD`, Linux 5.4).
    Process(BorrowedFd<'fd>),
}

/// Collects a child that has ended (`waitid(2)`), so that its pid is free again. `None` if none has
/// and `block` is false.
///
/// # Errors
/// `ECHILD` if there is no such child, `EINTR` if a signal handler ran.
pub fn wait(target: Target<'_>, block: bool) -> Result<Option<(Pid, Exit)>, Errno> {
    let (kind, id) = match target {
        Target::Any => (libc::P_ALL, 0),
        Target::Process(pidfd) => (libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t),
    };
    let flags = libc::WEXITED | if block { 0 } else { libc::WNOHANG };
    // SAFETY: siginfo_t consists of integers and pointers, for which all bits zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: waitid writes one siginfo_t, which `info` is.
    check(unsafe { libc::waitid(kind, id, &raw mut info, flags) }.into())?;
    // SAFETY: waitid filled in the SIGCHLD variant, or left the zeros above if it has nothing to
    // tell.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let exit = if info.si_code == libc::CLD_EXITED { Exit::Code } else { Exit::Signal };
    Ok((pid != 0).then(|| (Pid::from_raw(pid), exit(status))))
}

/// Gives every signal its default action. exec(2) does that for handlers, but an *ignored* signal
/// stays ignored in the new program: Rust ignores SIGPIPE, and `yes | head` in a container would
/// never end (signal(7)).
///
/// All 64 by the kernel's own call: the C library's refuses the two signals that it keeps for
/// itself, and a parent may have left those ignored as well.
pub fn default_signals() {
    /// `struct sigaction` of the kernel: handler (0 is SIG_DFL), flags, restorer where there is
    /// one, mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for signal in 1..=64 {
        // SAFETY: SIG_DFL runs no code of ours; the kernel reads no more than 32 bytes and writes
        // nothing (null). It refuses SIGKILL and SIGSTOP, which are always at their default.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8usize,
            )
        };
    }
}

/// Sets the NIS domain name of the caller's UTS namespace (`setdomainname(2)`): at most 64 bytes.
///
/// # Errors
/// `EINVAL` if it is too long, `EPERM` without CAP_SYS_ADMIN over the namespace.
pub fn set_domainname(name: &str) -> Result<(), Errno> {
    // SAFETY: pointer and length are those of one slice.
    check(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}

/// Changes what `ps` shows as the command line of this process, for one that stays behind with another task than it
/// was called for. A title that is longer than the old command line is cut. What `std::env::args` says afterwards is of
/// no use.
///
/// # Errors
/// If `/proc/self/stat` (proc_pid_stat(5): `arg_start` and `arg_end` since Linux 3.5) cannot be read.
pub fn set_title(title: &str) -> std::io::Result<()> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let field = |number: usize| {
        // The name, the second field, may hold anything but is the only one in parentheses.
        let rest = stat.rsplit(')').next()?;
        rest.split_whitespace().nth(number - 3)?.parse::<usize>().ok()
    };
    let (Some(start), Some(end)) = (field(48), field(49)) else {
        return Err(std::io::ErrorKind::InvalidData.into());
    };
    let place = std::ptr::with_exposed_provenance_mut::<u8>(start);
    let length = title.len().min(end.saturating_sub(start + 1));
    // SAFETY: the kernel has put the arguments there, one after the other on the stack of the first thread, writable and
    // never freed. Rust's standard library copies them whenever it is asked for them, which nobody does meanwhile: the
    // caller has one thread.
    unsafe { std::ptr::write_bytes(place, 0, end.saturating_sub(start)) };
    // SAFETY: as above; the title is not longer than that place.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), place, length) };
    Ok(())
}

/// Ends the process at once (`_exit(2)`): no buffer of the parent, copied by clone3, is written a
/// second time.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit takes an integer and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from `first` on and calls `then`, which never returns: for a process
/// that stays behind with nothing but its task, such as PID 1 of a container.
///
/// `then` is a plain function with a `Copy` argument, so it cannot bring an owned descriptor along.
pub fn close_from_and<T: Copy>(first: u32, argument: T, then: fn(T) -> !) -> ! {
    // SAFETY: owned descriptors become invalid here, but no code that has one runs again: `then`
    // does not return, and a panic in it is stopped below.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    let _stop = AbortOnUnwind;
    then(argument)
}

/// Ends the process when dropped, that is if a panic passes by.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}
