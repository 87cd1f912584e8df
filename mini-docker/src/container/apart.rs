//! A process of our own that lives on without the user: a monitor, or the keeper of an `exec`. It is a copy of the
//! command that needs it, and in that copy no code of the command runs any more.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::exit_now;

/// Exit code of a copy that has panicked: `EX_SOFTWARE` of sysexits.h. Nobody but a reader of strace sees it.
const PANICKED: i32 = 70;

/// Copies this process; `life` is what the copy does, and then it ends. Returns in the first process only.
///
/// # Errors
/// As clone3(2).
pub(crate) fn fork(what: &str, life: impl FnOnce()) -> Result<()> {
    let nothing_new = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
    match clone3(&nothing_new).with_context(|| format!("create the {what}"))? {
        Cloned::Parent { .. } => Ok(()),
        // Whatever happens, the copy never goes back into the code of the command that it was.
        Cloned::Child => {
            exit_now(if catch_unwind(AssertUnwindSafe(life)).is_ok() { 0 } else { PANICKED })
        }
    }
}

/// Leaves the user's world: session, streams, folder, and every descriptor but these. `name` is what ps(1) shows.
///
/// # Errors
/// The first thing that cannot be left.
pub(crate) fn leave_the_user(keep: &[BorrowedFd<'_>], name: &CStr) -> Result<()> {
    setsid().context("begin a session")?;
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .context("open /dev/null")?;
    dup2_stdin(&null).context("leave standard input")?;
    dup2_stdout(&null).context("leave standard output")?;
    dup2_stderr(&null).context("leave standard error")?;
    drop(null);
    chdir("/").context("leave the folder")?;
    syscalls::fd::close_all_but(keep).context("close descriptors")?;
    nix::sys::prctl::set_name(name).ok();
    Ok(())
}
