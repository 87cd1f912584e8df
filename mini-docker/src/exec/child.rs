//! What the new process does between clone3 and exec. It is a copy of the parent with one thread, and in the container's
//! namespaces already; until exec nobody in there can look into it (see [`namespaces::spawn()`]).

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{fchdir, setsid};
use syscalls::{During, KernelError, inroot, step};

use super::{Ends, Job};
use crate::container::child::{give_streams, own_streams};
use crate::terminal::send_fd;

/// Becomes the program. Returns only if a step failed.
///
/// # Errors
/// The step that failed, on what, and the kernel's answer.
pub(super) fn become_program(
    child: &namespaces::Child,
    job: &Job,
    joiner: &cgroups::Joiner,
    ends: Ends,
) -> Result<Infallible, KernelError> {
    if let Some(lock) = ends.lock {
        nix::unistd::close(lock).during("close", "the parent's lock")?;
    }
    // Limits first: what follows is charged to the container.
    joiner.join_self()?;
    // A session of its own: the user's terminal is not the container's.
    step!("setsid", "", setsid()).during("begin a session", "")?;
    match ends.terminal {
        Some((socket, size)) => {
            let (master, slave) = rootfs::new_terminal(size)?;
            send_fd(socket.as_fd(), master.as_fd()).during("send", "terminal")?;
            rootfs::make_controlling(slave)?;
        }
        None => give_streams(ends.streams)?,
    }
    if job.confinement.user.uid != 0 {
        own_streams(job.confinement.user.uid)?;
    }
    child.wait_for_parent()?;
    enter_folder(&job.folder)?;
    security::confine(&job.confinement)?;
    step!("close_range", "3, ~0, CLOSE_RANGE_CLOEXEC", syscalls::fd::close_on_exec_from(3))
        .during("close", "descriptors")?;
    Err(namespaces::exec::exec(&job.command))
}

/// Enters the working directory. Descriptors of the host are still open: a path through /proc/self/fd would lead there
/// (CVE-2024-21626), so links of /proc are not followed, and what the kernel calls unreachable is refused.
fn enter_folder(folder: &Path) -> Result<(), KernelError> {
    let name = folder.display().to_string();
    let root = rootfs::staging()?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let place = step!(
        "openat2",
        ("root, {folder:?}, RESOLVE_IN_ROOT"),
        inroot::open(root.as_fd(), folder, flags, Mode::empty())
    )
    .during("open working directory", &name)?;
    step!("fchdir", ("{name}"), fchdir(&place)).during("change directory", &name)?;
    let here =
        step!("getcwd", "", inroot::current_directory()).during("find working directory", &name)?;
    if here.starts_with("/") {
        return Ok(());
    }
    Err(KernelError::new("enter working directory", here.display(), Errno::EXDEV)
        .with_detail("it lies outside of the container"))
}
