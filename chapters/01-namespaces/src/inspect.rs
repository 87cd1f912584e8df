//! What an observer outside sees of a process's namespaces: the checks of this chapter are made of
//! it.

use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::unistd::Pid;
use syscalls::{During, KernelError};

use crate::Kind;

/// The number of a namespace, as in `readlink /proc/PID/ns/uts`: unique on a running system
/// (ioctl_ns(2)).
///
/// # Errors
/// `ENOENT` if there is no such process, or the kernel has no such kind.
pub fn inode(pid: Pid, kind: Kind) -> Result<u64, KernelError> {
    let path = format!("/proc/{pid}/ns/{kind}");
    std::fs::metadata(&path).map(|meta| meta.ino()).during("look at namespace", &path)
}

/// Whether a process is in another namespace of this kind than the caller.
///
/// # Errors
/// As [`inode`].
pub fn is_new(pid: Pid, kind: Kind) -> Result<bool, KernelError> {
    Ok(inode(pid, kind)? != inode(Pid::this(), kind)?)
}

/// The kinds in which a process is in another namespace than the caller. A kind that the kernel
/// does not have is none.
///
/// # Errors
/// `ENOENT` if there is no such process, `EACCES` if the caller may not look.
pub fn differences(pid: Pid) -> Result<Vec<Kind>, KernelError> {
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        match inode(Pid::this(), kind) {
            Err(error) if error.errno == Errno::ENOENT => {}
            ours => {
                if ours? != inode(pid, kind)? {
                    kinds.push(kind);
                }
            }
        }
    }
    Ok(kinds)
}

/// The pids of a process, from the caller's pid namespace inwards: two entries in a container, the
/// last one its own.
///
/// # Errors
/// `ENOENT` if there is no such process.
pub fn pids(pid: Pid) -> Result<Vec<Pid>, KernelError> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).during("read process", &path)?;
    nspid(&status).ok_or(Errno::EPROTO).during("read process", &path)
}

/// The line `NSpid:` of /proc/PID/status (proc_pid_status(5), Linux 4.1).
fn nspid(status: &str) -> Option<Vec<Pid>> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nested_pids() {
        let status = "Name:\tsh\nNStgid:\t4711\t1\nNSpid:\t4711\t1\nNSpgid:\t4711\t1\n";
        assert_eq!(nspid(status), Some(vec![Pid::from_raw(4711), Pid::from_raw(1)]));
        assert_eq!(nspid("Name:\tsh\n"), None);
    }
}
