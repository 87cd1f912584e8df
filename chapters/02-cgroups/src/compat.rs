//! For kernels without `cgroup.kill` (v1 always; v2 before Linux 5.14): killing by hand. And for containers that have
//! made cgroups of their own: a place for one more process.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use syscalls::{During, KernelError};

use crate::freezer;
use crate::group::{Group, open_dir};

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

/// The v2 cgroup of a process, which lies below this one or is this one.
///
/// A cgroup that hands controllers down to its children has no processes of its own (admin-guide/cgroup-v2.rst, "No
/// Internal Process Constraint"): what a container that has done so (systemd in a container, or one that starts
/// containers) cannot take in any more, clone3(2) says with `EBUSY`. Then the place is where its first process is.
///
/// # Errors
/// `EXDEV` if the process is somewhere else, `ENOENT` if it has ended.
pub(crate) fn cgroup_beside(group: &Group, path: &str, pid: Pid) -> Result<OwnedFd, KernelError> {
    let file = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&file).during("read", &file)?;
    let below = below(&text, path).ok_or(Errno::EXDEV).during("find cgroup of process", pid)?;
    open_dir(&group.path.join(below))
}

/// What of the v2 path in /proc/PID/cgroup lies behind `path`. Where the mount point is in the tree of the host does not
/// matter: `path` has the container's id in it.
fn below<'a>(text: &'a str, path: &str) -> Option<&'a Path> {
    let place = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (_, rest) = place.split_once(&format!("/{path}"))?;
    let below = match rest.strip_prefix('/') {
        None if rest.is_empty() => "",
        other => other?,
    };
    let below = Path::new(below);
    below.components().all(|part| matches!(part, Component::Normal(_))).then_some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_lies_below_the_containers_own() {
        for (text, expected) in [
            ("0::/all/1a2b\n", Some("")),
            ("0::/all/1a2b/init/x\n", Some("init/x")),
            ("1:name=x:/y\n0::/machine/all/1a2b/init\n", Some("init")),
            ("0::/all/1a2bc/init\n", None),
            ("0::/other\n", None),
            ("0::/all/1a2b/../../x\n", None),
            ("1:pids:/all/1a2b/init\n", None),
        ] {
            assert_eq!(below(text, "all/1a2b"), expected.map(Path::new), "{text}");
        }
    }
}
