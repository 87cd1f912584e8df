//! Stopping every process of a cgroup at once, without a signal that any of them could see.
//!
//! | | v1 | v2 (Linux 5.2) |
//! |---|---|---|
//! | write | `FROZEN` or `THAWED` to `freezer.state` | `1` or `0` to `cgroup.freeze` |
//! | done when | `freezer.state` reads `FROZEN`, no more `FREEZING` | `cgroup.events` says `frozen 1` |
//! | a frozen process | cannot even be killed | can be killed |

use std::time::{Duration, Instant};

use nix::errno::Errno;
use syscalls::KernelError;

use crate::Version;
use crate::group::{Group, keyed};

/// Stops the processes and waits until all have stopped.
pub(crate) fn freeze(group: &Group) -> Result<(), KernelError> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut pause = Duration::from_micros(50);
    match group.version {
        // v1: a fork at the wrong moment leaves FREEZING for ever; writing again catches the new process.
        Version::V1 => group.write("freezer.state", "FROZEN")?,
        Version::V2 => group.write("cgroup.freeze", "1")?,
    }
    while !is_frozen(group)? {
        if Instant::now() > deadline {
            thaw(group)?;
            return Err(KernelError::new("freeze cgroup", group.path.display(), Errno::EBUSY)
                .with_detail("a process did not stop within 5 s, all run again"));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
        if group.version == Version::V1 {
            group.write("freezer.state", "FROZEN")?;
        }
    }
    Ok(())
}

/// Lets the processes run again.
pub(crate) fn thaw(group: &Group) -> Result<(), KernelError> {
    match group.version {
        Version::V1 => group.write("freezer.state", "THAWED"),
        Version::V2 => group.write("cgroup.freeze", "0"),
    }
}

/// Whether all processes stand still.
pub(crate) fn is_frozen(group: &Group) -> Result<bool, KernelError> {
    Ok(match group.version {
        Version::V1 => group.read("freezer.state")?.trim() == "FROZEN",
        Version::V2 => keyed(&group.read("cgroup.events")?, "frozen") == Some(1),
    })
}
