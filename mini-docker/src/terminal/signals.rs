//! Signals: their names, and how those meant for the container are collected.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::failure::Failure;

/// Reads a signal by name or number: `SIGTERM`, `term`, `15`.
///
/// # Errors
/// A failure with a hint for anything else.
pub fn parse_signal(text: &str) -> Result<i32> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    // The real-time signals have no names in the kernel; bash and Docker count from both ends (signal(7)).
    let real_time = name
        .strip_prefix("SIGRTMIN+")
        .map(|plus| (34, plus))
        .or_else(|| name.strip_prefix("SIGRTMAX-").map(|minus| (-64, minus)));
    let number = match (name.parse::<Signal>(), text.parse::<i32>(), real_time) {
        (Ok(signal), _, _) => Some(signal as i32),
        (_, Ok(number), _) => Some(number),
        (_, _, Some((base, offset))) => {
            offset.parse::<i32>().ok().map(|offset| (base + offset).abs())
        }
        _ => None,
    };
    number.filter(|number| (1..=64).contains(number)).ok_or_else(|| {
        Failure::new(format!("unknown signal `{text}`"))
            .hint("a name as in kill -l (TERM, SIGHUP, RTMIN+3) or a number from 1 to 64")
            .into()
    })
}

/// Blocks the signals that are passed on and receives them from a descriptor instead. Blocked before the container is
/// made, so that none is lost between the start and the loop.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
    /// Came before there was a process to pass them on to.
    early: RefCell<VecDeque<i32>>,
    previous: SigSet,
}

/// Signals that belong to this process alone: faults, job control of the user's shell, and what poll tells anyway.
const OWN: [Signal; 12] = [
    Signal::SIGCHLD,
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
    Signal::SIGPIPE,
];

/// Signals that mean: end what you do.
const END: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

impl Signals {
    /// Begins to collect.
    ///
    /// # Errors
    /// If the kernel refuses a descriptor.
    pub fn collect() -> Result<Self> {
        Self::collect_except(&OWN)
    }

    /// As [`collect`](Self::collect), with the signal of ctrl-z: whoever has changed the terminal puts it right first.
    ///
    /// # Errors
    /// If the kernel refuses a descriptor.
    pub fn collect_for_terminal() -> Result<Self> {
        let own: Vec<Signal> =
            OWN.into_iter().filter(|signal| *signal != Signal::SIGTSTP).collect();
        Self::collect_except(&own)
    }

    fn collect_except(own: &[Signal]) -> Result<Self> {
        let mut set = SigSet::all();
        for own in own {
            set.remove(*own);
        }
        let mut previous = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), Some(&mut previous))
            .context("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags).context("open a signal descriptor")?;
        Ok(Self { fd, early: RefCell::default(), previous })
    }

    /// Asked between the long steps of a start, when there is no process yet that could be told: does the user want it to
    /// end? Other signals wait for the process.
    ///
    /// # Errors
    /// A failure with the exit code 128+n if SIGINT, SIGTERM, SIGHUP or SIGQUIT has come.
    pub fn check(&self) -> Result<()> {
        while let Some(number) = self.received() {
            if let Some(signal) = END.into_iter().find(|signal| *signal as i32 == number) {
                return Err(Failure::new(format!(
                    "{signal} came before the container had started"
                ))
                .code(128 + number as u8)
                .into());
            }
            self.early.borrow_mut().push_back(number);
        }
        Ok(())
    }

    /// The first of those that mean the end, if one has come.
    pub(crate) fn next_end(&self) -> Option<i32> {
        while let Some(number) = self.next() {
            if END.iter().any(|signal| *signal as i32 == number) {
                return Some(number);
            }
        }
        None
    }

    /// In a copy of this process that does not collect: signals do again what they usually do.
    pub(crate) fn leave(&self) {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None).ok();
    }

    fn received(&self) -> Option<i32> {
        self.fd.read_signal().ok().flatten().map(|info| info.ssi_signo as i32)
    }

    /// The next signal that has come: its number.
    pub(crate) fn next(&self) -> Option<i32> {
        let early = self.early.borrow_mut().pop_front();
        early.or_else(|| self.received())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // What is pending was meant for a container that has ended.
        while let Ok(Some(_)) = self.fd.read_signal() {}
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.previous), None).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("HUP", 1),
            ("RTMIN+3", 37),
            ("SIGRTMAX-2", 62),
        ] {
            assert_eq!(parse_signal(text).unwrap(), number, "{text}");
        }
        for wrong in ["", "0", "65", "SIGNOPE", "-9", "RTMIN+99"] {
            parse_signal(wrong).unwrap_err();
        }
    }
}
