//! Who looks after a step: hands on its output, and ends it with the build.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use namespaces::{Exit, Init};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use syscalls::tty::Size;

use super::coordinate::cancelled;
use crate::container::start::Attendant;
use crate::terminal::{MOST_AT_ONCE, Signals, pipe, set_nonblocking};

/// Hands on what the process writes, and ends it when the build is to end.
pub(super) struct Attendance<'t> {
    pipes: Option<[OwnedFd; 2]>,
    tell: &'t mut dyn FnMut(&[u8]),
}

impl<'t> Attendance<'t> {
    /// `tell` gets what the process writes.
    pub(super) fn new(tell: &'t mut dyn FnMut(&[u8])) -> Self {
        Self { pipes: None, tell }
    }
}

impl Attendant for Attendance<'_> {
    fn size(&self) -> Size {
        Size { rows: 24, cols: 80 }
    }

    fn streams(&mut self) -> Result<[Option<OwnedFd>; 3]> {
        let (out, out_end) = pipe()?;
        let (err, err_end) = pipe()?;
        set_nonblocking(out.as_fd())?;
        set_nonblocking(err.as_fd())?;
        self.pipes = Some([out, err]);
        Ok([None, Some(out_end), Some(err_end)])
    }

    fn serve(
        &mut self,
        init: &mut Init,
        signals: &Signals,
        _master: Option<OwnedFd>,
    ) -> Result<Exit> {
        let mut open: Vec<OwnedFd> = self.pipes.take().into_iter().flatten().collect();
        let mut buffer = vec![0; MOST_AT_ONCE];
        let (mut ended, mut ends) = (None, None);
        loop {
            let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(open.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
            if ended.is_none() {
                fds.push(PollFd::new(init.pidfd.as_fd(), PollFlags::POLLIN));
            }
            // Whoever still has a pipe open when process 1 has ended ends with it.
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("wait for the step"),
            }
            drop(fds);
            while let Some(signal) = signals.next() {
                if ends_a_build(signal) {
                    ends = Some(signal);
                    syscalls::pidfd::send_raw(init.pidfd.as_fd(), nix::libc::SIGKILL).ok();
                }
            }
            let mut still = Vec::new();
            for fd in open {
                match nix::unistd::read(&fd, &mut buffer) {
                    Ok(0) => {}
                    Ok(length) => {
                        (self.tell)(&buffer[..length]);
                        still.push(fd);
                    }
                    Err(Errno::EAGAIN | Errno::EINTR) => still.push(fd),
                    Err(errno) => return Err(errno).context("read output"),
                }
            }
            open = still;
            if ended.is_none() {
                ended = init.try_wait()?;
            }
            if let Some(exit) = ended.filter(|_| open.is_empty()) {
                return match ends {
                    Some(signal) => Err(cancelled(signal)),
                    None => Ok(exit),
                };
            }
        }
    }
}

fn ends_a_build(signal: i32) -> bool {
    [nix::libc::SIGINT, nix::libc::SIGTERM, nix::libc::SIGHUP, nix::libc::SIGQUIT].contains(&signal)
}
