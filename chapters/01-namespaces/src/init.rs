//! The parent's handle on the child.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use syscalls::process::{Exit, Target, wait};
use syscalls::{During, KernelError, pidfd, step};

use crate::Kind;
use crate::channel::{Channel, Word};

/// The first process of a container, seen from its parent.
///
/// Dropping it before the exec kills the child and collects it: whatever fails on the parent's
/// side, no half-made container stays behind. After [`wait_exec`](Self::wait_exec) has seen the
/// exec, dropping it does nothing.
#[derive(Debug)]
pub struct Init {
    /// Its pid as the caller sees it.
    pub pid: Pid,
    /// Names the process for as long as it is open; polls readable when it has ended.
    pub pidfd: OwnedFd,
    /// `None` only at the end of [`into_running`](Self::into_running).
    channel: Option<Channel>,
    /// Whether dropping kills.
    armed: bool,
    ended: Option<Exit>,
}

impl Init {
    pub(crate) fn new(pid: Pid, pidfd: OwnedFd, channel: Channel) -> Self {
        Self { pid, pidfd, channel: Some(channel), armed: true, ended: None }
    }

    fn channel(&self) -> Result<&Channel, KernelError> {
        self.channel.as_ref().ok_or(Errno::EBADF).during("use channel", "")
    }

    pub(crate) fn say(&self, word: Word) -> Result<(), KernelError> {
        let pid = self.pid;
        step!("sendto", ("child {pid}: {word:?}"), self.channel()?.say(word))
            .during("tell the child", format!("{word:?}"))
    }

    /// Opens one of its namespaces: keeps it alive, and can be joined or handed to netlink.
    ///
    /// The pid cannot have been used again: the process is our child and was not collected.
    ///
    /// # Errors
    /// `ENOENT` if it has ended, `EACCES` if the caller may not look.
    pub fn namespace(&self, kind: Kind) -> Result<OwnedFd, KernelError> {
        let path = format!("/proc/{}/ns/{kind}", self.pid);
        step!("openat", ("{path}"), File::open(&path))
            .map(OwnedFd::from)
            .during("open namespace", &path)
    }

    /// Says that the parent's half is done;
    /// [`Child::wait_for_parent`](crate::Child::wait_for_parent) returns. A child that has failed
    /// meanwhile is no error here: [`wait_exec`](Self::wait_exec) has its words.
    ///
    /// # Errors
    /// Those of send(2) on a local socket, hence none in practice.
    pub fn go(&mut self) -> Result<(), KernelError> {
        self.say(Word::Go)
    }

    /// Waits until the child's program runs.
    ///
    /// A child that was killed before its exec looks the same here, since its end of the channel
    /// closes too; [`wait`](Self::wait) tells.
    ///
    /// # Errors
    /// The step that failed in the child, in the child's words; the child has ended.
    pub fn wait_exec(&mut self) -> Result<(), KernelError> {
        let outcome = step!("recvfrom", "child: exec?", self.channel()?.outcome())
            .during("wait for exec", self.pid)?;
        match outcome {
            Some(error) => Err(error),
            None => {
                self.armed = false;
                Ok(())
            }
        }
    }

    /// Waits for the end of the process and collects it.
    ///
    /// # Errors
    /// `ECHILD` if somebody else has collected it.
    pub fn wait(&mut self) -> Result<Exit, KernelError> {
        loop {
            match self.collect(true) {
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => {}
                Err(error) if error.errno == Errno::EINTR => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`wait`](Self::wait), but returns `None` at once if it still runs.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Option<Exit>, KernelError> {
        self.collect(false)
    }

    fn collect(&mut self, block: bool) -> Result<Option<Exit>, KernelError> {
        if self.ended.is_none() {
            let pid = self.pid;
            let target = Target::Process(self.pidfd.as_fd());
            let found = step!("waitid", ("P_PIDFD {pid}"), wait(target, block))
                .during("wait for process", pid)?;
            if let Some((_, exit)) = found {
                self.ended = Some(exit);
                self.armed = false;
            }
        }
        Ok(self.ended)
    }

    /// Gives up the guard: the process goes on on its own, whatever becomes of the caller.
    pub fn into_running(mut self) -> (Pid, OwnedFd) {
        self.armed = false;
        // A type with Drop cannot be taken apart: the channel, no longer needed, takes the place of
        // the pidfd.
        let place = self.channel.take().map(OwnedFd::from);
        let pidfd = match place {
            Some(place) => std::mem::replace(&mut self.pidfd, place),
            None => unreachable!("only this function takes the channel, and it consumes self"),
        };
        (self.pid, pidfd)
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // ESRCH: it has ended by itself, and only waits to be collected.
        pidfd::send_signal(self.pidfd.as_fd(), Signal::SIGKILL).ok();
        while wait(Target::Process(self.pidfd.as_fd()), true) == Err(Errno::EINTR) {}
    }
}
