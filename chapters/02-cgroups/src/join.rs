//! v1: a process enters each hierarchy by a write of its own, before it does anything else.

use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::write;
use syscalls::{During, KernelError, step};

use crate::group::Group;

/// Descriptors of `cgroup.procs`, opened by the parent and used by the child.
#[derive(Debug)]
pub struct Joiner {
    procs: Vec<(String, Result<OwnedFd, KernelError>)>,
}

impl Joiner {
    pub(crate) fn new<'a>(groups: impl Iterator<Item = &'a Group>) -> Self {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let open = |group: &Group| {
            let name = group.path.display().to_string();
            let fd = openat(&group.dir, "cgroup.procs", flags, Mode::empty());
            (name.clone(), fd.during("open cgroup.procs", name))
        };
        Self { procs: groups.map(open).collect() }
    }

    /// Moves the caller in: the first thing a new child does. One write per hierarchy, `0` meaning "me".
    ///
    /// # Errors
    /// What the kernel says of the first hierarchy that refuses: `ENOENT` if the cgroup was removed.
    pub fn join_self(&self) -> Result<(), KernelError> {
        for (name, fd) in &self.procs {
            let fd = fd.as_ref().map_err(Clone::clone)?;
            step!("write", ("{name}/cgroup.procs \"0\""), write(fd, b"0"))
                .during("join cgroup", name)?;
        }
        Ok(())
    }
}
