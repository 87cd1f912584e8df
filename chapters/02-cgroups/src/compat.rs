//! For kernels without `cgroup.kill` (v1 always; v2 before Linux 5.14): killing by hand.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use syscalls::{During, KernelError};

use crate::freezer;
use crate::group::Group;

/// Sends SIGKILL to each process that `list` names while none of them can fork, then lets them run into it.
///
/// Frozen, a process can neither fork nor, on v1, end: so the list is complete and no pid in it is used again
/// meanwhile. Without a freezer the caller's loop has to win the race.
pub(crate) fn kill_each(
    freezer: Option<&Group>,
    list: impl FnOnce() -> Vec<Pid>,
) -> Result<(), KernelError> {
    if let Some(group) = freezer {
        match freezer::freeze(group) {
            // Something in there does not stop. It may still die.
            Err(error) if error.errno == Errno::EBUSY => {}
            other => other?,
        }
    }
    let mut outcome = Ok(());
    for pid in list() {
        match kill(pid, Signal::SIGKILL) {
            Err(Errno::ESRCH) => {}
            other => outcome = outcome.and(other.during("kill process", pid)),
        }
    }
    if let Some(group) = freezer {
        freezer::thaw(group)?;
    }
    outcome
}
