//! What the tests have in common.

use std::ffi::CString;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use namespaces::exec::{Command, exec};
use namespaces::{Init, KernelError, Plan, spawn};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// The command `sh -c SCRIPT` with the caller's PATH.
pub(crate) fn sh(script: &str) -> Command {
    command(&["/bin/bash", "-c", script])
}

/// A command with the caller's PATH.
pub(crate) fn command(argv: &[&str]) -> Command {
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    Command {
        argv: argv.iter().map(|word| CString::new(*word).unwrap()).collect(),
        env: vec![CString::new(path).unwrap()],
    }
}

/// A container that is killed at the end of the test.
pub(crate) struct Running(pub(crate) Init);

impl Deref for Running {
    type Target = Init;
    fn deref(&self) -> &Init {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Init {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        syscalls::pidfd::send_signal(self.0.pidfd.as_fd(), Signal::SIGKILL).ok();
        self.0.wait().ok();
    }
}

/// Starts `command` in the namespaces of `plan`.
pub(crate) fn start(plan: &Plan, command: &Command) -> Result<Running, KernelError> {
    let mut init = spawn(plan, None, |child| {
        child.wait_for_parent()?;
        Err(exec(command))
    })?;
    init.go()?;
    init.wait_exec()?;
    Ok(Running(init))
}

/// A process that does nothing for long.
pub(crate) fn start_idle(plan: &Plan) -> Result<Running, KernelError> {
    start(plan, &command(&["sleep", "1000"]))
}

/// Whether the process behind a pidfd ends within five seconds.
pub(crate) fn ends(pidfd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(5000u16)) == Ok(1)
}

/// Waits until `condition` holds, for five seconds at most.
pub(crate) fn eventually(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(5) {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    condition()
}
