//! Making and removing the directories of a cgroup, and finding the processes in them.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use syscalls::{During, KernelError, step};

use crate::enable::{enable, make};
use crate::group::{Group, children};
use crate::{Controller, Error, Hierarchy, Version, cpuset};

/// How long a cgroup may take to become empty after SIGKILL.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Makes a fresh directory in one hierarchy, ready for limits.
pub(crate) fn directory(hierarchy: &Hierarchy, path: &str) -> Result<Group, Error> {
    let place = hierarchy.parent.join(path);
    // Whoever removes the last container removes the parent as well: it may vanish between two of our steps.
    for attempt in 0.. {
        match fresh(hierarchy, &place) {
            Err(Error::Kernel(error)) if error.errno == Errno::ENOENT && attempt < 16 => {}
            other => {
                other?;
                break;
            }
        }
    }
    Ok(Group::open(place, hierarchy.version, hierarchy.controllers.clone())?)
}

fn fresh(hierarchy: &Hierarchy, place: &Path) -> Result<(), Error> {
    if hierarchy.version == Version::V2 {
        enable(&hierarchy.parent, place, &hierarchy.controllers)?;
    }
    let mode = Mode::from_bits_truncate(0o755);
    let mkdir = || step!("mkdir", ("{place:?}, 0755"), nix::unistd::mkdir(place, mode));
    match mkdir() {
        Err(Errno::EEXIST) => {
            remove_dir(place)?;
            mkdir()
        }
        Err(Errno::ENOENT) => {
            let mut parents: Vec<&Path> = place
                .ancestors()
                .skip(1)
                .take_while(|dir| *dir != hierarchy.parent.as_path())
                .collect();
            parents.reverse();
            parents.into_iter().try_for_each(make)?;
            mkdir()
        }
        other => other,
    }
    .during("create cgroup", place.display())?;
    if hierarchy.version == Version::V1 && hierarchy.controllers.contains(&Controller::Cpuset) {
        cpuset::inherit(&hierarchy.parent, place)?;
    }
    Ok(())
}

/// The processes in a directory and below it, as seen from our pid namespace.
pub(crate) fn procs_below(path: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    // A process outside of our pid namespace reads as 0: it cannot be named.
    let pids = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0);
    let mut found: Vec<Pid> = pids.map(Pid::from_raw).collect();
    found.extend(children(path).iter().flat_map(|child| procs_below(child)));
    found
}

/// rmdir; content if there is nothing.
pub(crate) fn remove_dir(path: &Path) -> Result<(), KernelError> {
    match step!(
        "unlinkat",
        ("{path:?}, AT_REMOVEDIR"),
        nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, path, nix::unistd::UnlinkatFlags::RemoveDir)
    ) {
        Err(Errno::ENOENT) => Ok(()),
        other => other.during("remove cgroup", path.display()),
    }
}

/// Removes the cgroups that the container itself has made, deepest first, then the directory. A process that has just
/// died may hold it for a moment.
pub(crate) fn remove_tree(path: &Path) -> Result<(), KernelError> {
    for child in children(path) {
        remove_tree(&child)?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match remove_dir(path) {
            Err(error) if error.errno == Errno::EBUSY && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// Other containers in a parent keep it: that is `EBUSY` and no error.
pub(crate) fn remove_empty_parents(top: &Path, place: &Path) {
    for parent in place.ancestors().skip(1).take_while(|dir| *dir != top) {
        if remove_dir(parent).is_err() {
            return;
        }
    }
}
