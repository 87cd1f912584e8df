//! Who is killed first when memory is short: /proc/PID/oom_score_adj (proc_pid_oom_score_adj(5)).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::getpid;
use syscalls::{During, KernelError, step};

/// Sets the calling process's value, -1000 (never) to 1000 (first); children and programs it
/// executes inherit it.
///
/// The file is reached through the /proc of the root that the caller is in, which may be the
/// container's: so it is opened only if it is a real procfs with nothing mounted over the way (a
/// fake one could send the write elsewhere, CVE-2025-52881). /proc/self is a link and would be
/// refused, hence the number: /proc must belong to the caller's pid namespace.
///
/// # Errors
/// `EACCES` (some kernels: `EPERM`) for a value below the lowest that a process with
/// CAP_SYS_RESOURCE has set, `EINVAL` beyond the range, `ENOENT` without /proc, `ENOTTY` if /proc
/// is something else, `EXDEV` if something covers the file.
pub fn set_oom_score_adj(value: i32) -> Result<(), KernelError> {
    let written = open_own("oom_score_adj").map(File::from).and_then(|mut file| {
        let write = file.write_all(value.to_string().as_bytes());
        let write = write.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw));
        step!("write", ("oom_score_adj, {value}"), write)
    });
    written.during("set oom_score_adj", value).map_err(|error| match error.errno {
        Errno::EACCES | Errno::EPERM => error.with_detail(
            "a lower value than now needs CAP_SYS_RESOURCE, which the caller lacks: \
             it may only make itself more likely to be killed",
        ),
        Errno::EINVAL => error.with_detail("must be between -1000 and 1000"),
        Errno::ENOTTY => error.with_detail("/proc is not a proc file system"),
        Errno::EXDEV => error.with_detail("something is mounted over the file in /proc"),
        _ => error,
    })
}

fn open_own(name: &str) -> Result<OwnedFd, Errno> {
    let place = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let proc = open(Path::new("/proc"), place, Mode::empty())?;
    if fstatfs(&proc)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(Errno::ENOTTY);
    }
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_XDEV
            | ResolveFlag::RESOLVE_NO_SYMLINKS,
    );
    openat2(proc.as_fd(), format!("{}/{name}", getpid()).as_str(), how)
}
