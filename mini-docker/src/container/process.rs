//! A container's first process: found, and told from others that have got its pid.

use std::os::fd::{BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use syscalls::During;

use crate::containers::Containers;
use crate::engine::Engine;
use crate::record::Record;

/// `PF_EXITING` of `linux/sched.h`.
const EXITING: u64 = 0x4;

/// Its first process. The descriptor names this process and no later one of the same pid. None if it does not run.
///
/// # Errors
/// As pidfd_open(2).
pub fn process(engine: &Engine, record: &Record) -> Result<Option<OwnedFd>> {
    let containers = Containers::new(engine);
    let Some(pid) = record.pid() else { return Ok(None) };
    let pidfd = match syscalls::pidfd::open(Pid::from_raw(pid)) {
        Err(Errno::ESRCH) => return Ok(None),
        other => other.during("open process", pid)?,
    };
    // While its supervisor holds it, the pid belongs to it, unless its end was seen and is not written down yet.
    let now = containers.load(&record.id).ok().and_then(|record| record.pid());
    let is_its_own = now == Some(pid) && containers.is_held(&record.id) && is_in(pid, &record.id);
    Ok(is_its_own.then_some(pidfd))
}

/// Whether a process has ended, collected or not.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO)
        .is_ok_and(|ready| ready > 0)
}

/// Whether a process is in the cgroup of a container, or in one below it. One that has ended is in none.
fn is_in(pid: i32, id: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().any(|line| line.split('/').any(|part| part == id))
}

/// Whether a process is on its way out: the kernel ends all others of its pid namespace first, and those that are
/// children of processes outside must be collected before it can go.
pub(crate) fn is_ending(pid: Pid) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The flags are the seventh field behind the name, which is in parentheses (proc_pid_stat(5)).
    let flags = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(6));
    flags.and_then(|flags| flags.parse::<u64>().ok()).is_none_or(|flags| flags & EXITING != 0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_ending() {
        assert!(!is_ending(Pid::this()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        while !is_ending(pid) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert!(is_ending(pid));
    }
}
