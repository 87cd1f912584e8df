//! Runs closures inside a cgroup, as a container runtime does: born in it on v2, joined first thing on v1.

use std::os::fd::OwnedFd;

use cgroups::{Cgroup, Hierarchies, Limits};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::clone::{CloneArgs, Cloned, clone3};
use testkit::Sandbox;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// How a process in a cgroup ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Killed(Signal),
}

/// A child; killed when the test gives up on it.
pub(crate) struct Running {
    pub(crate) pid: Pid,
    _pidfd: OwnedFd,
    waited: bool,
}

impl Running {
    pub(crate) fn wait(mut self) -> Result<End, Failure> {
        self.waited = true;
        match waitpid(self.pid, None)? {
            WaitStatus::Exited(_, code) => Ok(End::Code(code)),
            WaitStatus::Signaled(_, signal, _) => Ok(End::Killed(signal)),
            other => Err(format!("{other:?}").into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.waited {
            nix::sys::signal::kill(self.pid, Signal::SIGKILL).ok();
            waitpid(self.pid, None).ok();
        }
    }
}

/// Starts `body` in the cgroup; its value is the exit status (99: it could not get in).
pub(crate) fn start(cgroup: &Cgroup, body: impl FnOnce() -> i32) -> Result<Running, Failure> {
    start_in(cgroup, CloneFlags::empty(), body)
}

/// The same in new namespaces.
pub(crate) fn start_in(
    cgroup: &Cgroup,
    namespaces: CloneFlags,
    body: impl FnOnce() -> i32,
) -> Result<Running, Failure> {
    let joiner = cgroup.joiner();
    match clone3(&CloneArgs { namespaces, cgroup: cgroup.clone_fd() })? {
        Cloned::Parent { pid, pidfd } => Ok(Running { pid, _pidfd: pidfd, waited: false }),
        Cloned::Child => {
            let code = match joiner.join_self() {
                Ok(()) => body(),
                Err(error) => {
                    eprintln!("child: {error}");
                    99
                }
            };
            std::process::exit(code)
        }
    }
}

/// Starts and waits.
pub(crate) fn run(cgroup: &Cgroup, body: impl FnOnce() -> i32) -> Result<End, Failure> {
    start(cgroup, body)?.wait()
}

/// A child of a child: `false` if the kernel refuses to fork with EAGAIN, otherwise it waits for ever.
pub(crate) fn fork_sleeper() -> Result<bool, nix::errno::Errno> {
    match clone3(&CloneArgs { namespaces: CloneFlags::empty(), cgroup: None }) {
        Ok(Cloned::Child) => sleep_for_ever(),
        Ok(Cloned::Parent { .. }) => Ok(true),
        Err(nix::errno::Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno),
    }
}

pub(crate) fn sleep_for_ever() -> ! {
    loop {
        nix::unistd::pause();
    }
}

/// The hierarchies and a fresh cgroup of this test.
pub(crate) fn fresh(sandbox: &Sandbox, limits: &Limits) -> Result<(Hierarchies, Cgroup), Failure> {
    let h = Hierarchies::detect()?;
    let cgroup = Cgroup::create(&h, &format!("{}/c", sandbox.name), limits)?;
    Ok((h, cgroup))
}

/// A number that differs from run to run, so that nothing can be right by being written down.
pub(crate) fn random(from: u64, below: u64) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    from + u64::from(now.subsec_nanos()) / 7 % (below - from)
}

/// Waits until something holds; `false` after five seconds.
pub(crate) fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..1000).any(|_| {
        let now = holds();
        if !now {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        now
    })
}

/// Whether any hierarchy has a directory of this path.
pub(crate) fn exists(h: &Hierarchies, path: &str) -> bool {
    h.iter().any(|one| one.parent.join(path).exists())
}
