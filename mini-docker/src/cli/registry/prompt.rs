//! Questions to a person at a terminal.
//!
//! While a password is typed the terminal does not show it, and must again afterwards, also if the user gives up:
//! signals are read from a descriptor meanwhile, so that ctrl-c leaves through the same door as an answer.

use std::io::{IsTerminal, stdin};
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use crate::failure::{self, Failure};

/// More than the kernel takes for one line (termios(3), canonical mode).
const LONGEST_LINE: usize = 4096;

/// A line that is shown while it is typed, without its end. The end of input is an empty line.
///
/// # Errors
/// If a signal came that ends programs (the code is 128+n), or the terminal is gone.
pub(super) fn line(question: &str) -> Result<String> {
    failure::ask(question);
    read(&Signals::hold()?)
}

/// A line that is not shown.
///
/// # Errors
/// As [`line`], and if the terminal's settings cannot be changed.
pub(super) fn secret(question: &str) -> Result<String> {
    // Declared first, dropped last: what is pending may end us once the terminal is as it was.
    let signals = Signals::hold()?;
    let _hidden = Hidden::begin()?;
    failure::ask(question);
    let answer = read(&signals);
    failure::ask("\n");
    answer
}

fn read(signals: &Signals) -> Result<String> {
    let input = stdin();
    let mut line = Vec::new();
    let mut buffer = [0; LONGEST_LINE];
    loop {
        let mut fds = [
            PollFd::new(signals.fd.as_fd(), PollFlags::POLLIN),
            PollFd::new(input.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other.context("wait for an answer")?,
        };
        if let Some(signal) = signals.came() {
            return Err(Failure::new("interrupted").code(128 + signal as u8).into());
        }
        if !fds[1].any().unwrap_or(false) {
            continue;
        }
        match nix::unistd::read(input.as_fd(), &mut buffer) {
            Err(Errno::EINTR) => continue,
            Ok(0) => break,
            other => line.extend_from_slice(&buffer[..other.context("read the answer")?]),
        }
        if line.ends_with(b"\n") {
            break;
        }
    }
    let line = String::from_utf8(line).map_err(|_| Failure::new("the answer is not UTF-8"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal does not show what is typed until this is dropped.
struct Hidden {
    saved: Termios,
}

impl Hidden {
    fn begin() -> Result<Self> {
        let terminal = stdin();
        let saved = termios::tcgetattr(terminal.as_fd()).context("read terminal settings")?;
        let mut hidden = saved.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // TCSAFLUSH: what was typed before the question, and seen, is no answer.
        termios::tcsetattr(terminal.as_fd(), SetArg::TCSAFLUSH, &hidden)
            .context("hide what is typed")?;
        Ok(Self { saved })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let terminal = stdin();
        if terminal.is_terminal() {
            termios::tcsetattr(terminal.as_fd(), SetArg::TCSADRAIN, &self.saved).ok();
        }
    }
}

/// Signals that would end or stop this process, held back.
struct Signals {
    fd: SignalFd,
    previous: SigSet,
}

/// These end the question; SIGTSTP (ctrl-z) waits until it is answered.
const END: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

impl Signals {
    fn hold() -> Result<Self> {
        let ends: SigSet = END.into_iter().collect();
        let mut held = ends;
        held.add(Signal::SIGTSTP);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&ends, flags).context("open a signal descriptor")?;
        let mut previous = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut previous))
            .context("hold signals")?;
        Ok(Self { fd, previous })
    }

    fn came(&self) -> Option<i32> {
        self.fd.read_signal().ok().flatten().map(|info| info.ssi_signo as i32)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None).ok();
    }
}
