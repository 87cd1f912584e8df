//! A container that stands still for a moment, and runs on whatever becomes of us.

use std::fs::File;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use cgroups::{Cgroup, Hierarchies};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2, setsid};
use syscalls::clone::{CloneArgs, Cloned, clone3};
use syscalls::process::exit_now;

use crate::engine::Engine;
use crate::record::Record;

/// A frozen container. Dropped, it runs on; if this process is killed, a second one lets it run on.
#[derive(Debug)]
pub(crate) struct Paused {
    cgroup: Cgroup,
    /// Its other end is the watcher's: it closes with us.
    alive: Option<OwnedFd>,
    watcher: Pid,
}

impl Paused {
    /// Freezes a container. None if it has ended, or is frozen already, which is then somebody else's.
    ///
    /// # Errors
    /// If a process does not stop within five seconds.
    pub(crate) fn new(engine: &Engine, record: &Record) -> Result<Option<Self>> {
        let path = format!("{}/{}", engine.cgroup_parent(), record.id);
        let cgroup = match Cgroup::open(&Hierarchies::detect()?, &path) {
            Err(cgroups::Error::Kernel(error)) if error.errno == Errno::ENOENT => return Ok(None),
            other => other?,
        };
        if cgroup.is_frozen()? {
            return Ok(None);
        }
        let (read, alive) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
        let nothing_new = CloneArgs { namespaces: CloneFlags::empty(), cgroup: None };
        let watcher = match clone3(&nothing_new).context("create a process")? {
            Cloned::Child => {
                drop(alive);
                watch(read, &cgroup)
            }
            Cloned::Parent { pid, .. } => pid,
        };
        drop(read);
        // From here on dropping thaws.
        let paused = Self { cgroup, alive: Some(alive), watcher };
        match paused.cgroup.freeze() {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => Ok(None),
            other => {
                other?;
                Ok(Some(paused))
            }
        }
    }
}

/// The second process: waits until the first has gone, then thaws. To thaw what runs is nothing.
fn watch(read: OwnedFd, cgroup: &Cgroup) -> ! {
    // ctrl-c is for everybody in the terminal's foreground group.
    setsid().ok();
    // Nobody writes: the end of the pipe is the end of the first process.
    std::io::copy(&mut File::from(read), &mut std::io::sink()).ok();
    cgroup.thaw().ok();
    // Not exit(3): what the command has not printed yet it prints itself.
    exit_now(0)
}

impl Drop for Paused {
    fn drop(&mut self) {
        // A container that has ended needs no thaw; what else fails, the watcher tries once more.
        self.cgroup.thaw().ok();
        drop(self.alive.take());
        waitpid(self.watcher, None).ok();
    }
}
