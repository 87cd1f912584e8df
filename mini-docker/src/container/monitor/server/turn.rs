//! One turn of the monitor's loop: wait until something happens, and see to it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use namespaces::{Exit, Init};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::{FOR_EVER, MOST_INPUT, Server, ends};
use crate::container::act;
use crate::health::Checker;
use crate::terminal::Signals;

impl Server {
    pub(super) fn handle(
        &mut self,
        happened: &[(Source, PollFlags)],
        init: Option<&Init>,
    ) -> Result<()> {
        // What closes shifts the others: from the last to the first.
        for (source, events) in happened.iter().rev() {
            match *source {
                Source::Exit | Source::Signals | Source::Health => {}
                Source::Door => self.see_door(),
                Source::Guest(index) => {
                    if events.contains(PollFlags::POLLOUT) {
                        self.guests.say_more(index);
                    }
                    if events
                        .intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
                    {
                        self.hear(index, init);
                    }
                }
                Source::Output(index) => {
                    if !self.read_output(index) {
                        self.outputs.remove(index);
                    }
                }
                Source::Terminal => {
                    if events.contains(PollFlags::POLLOUT) {
                        self.feed();
                    }
                    if events
                        .intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
                    {
                        self.read_terminal();
                    }
                }
                Source::Stdin => self.feed(),
            }
        }
        if self.guests.take_gone() {
            self.end_input_of_gone();
        }
        Ok(())
    }

    /// The monitor was told to end, by a shutdown of the machine perhaps: so is its container, politely first.
    pub(super) fn see_signals(&mut self, init: &Init, signals: &Signals) {
        while let Some(number) = signals.next() {
            if ends(number) && self.leaving.is_none() {
                self.leaving = Some(Instant::now() + self.patience.unwrap_or(FOR_EVER));
                syscalls::pidfd::send_raw(init.pidfd.as_fd(), self.stop_signal).ok();
                // What stands still hears nothing.
                act::thaw(&self.engine, &self.id).ok();
            }
        }
    }

    /// One turn: wait for something to happen and carry it.
    pub(super) fn turn(&mut self, init: &mut Init, signals: &Signals) -> Result<Option<Exit>> {
        let (mut sources, mut fds) = (Vec::with_capacity(8), Vec::with_capacity(8));
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::new(fd, flags));
        };
        watch(Source::Exit, init.pidfd.as_fd(), PollFlags::POLLIN);
        watch(Source::Signals, signals.as_fd(), PollFlags::POLLIN);
        if let Some(door) = self.door() {
            watch(Source::Door, door.as_fd(), PollFlags::POLLIN);
        }
        let hears = self.input.len() < MOST_INPUT;
        self.guests.watch(hears, |index, fd, flags| watch(Source::Guest(index), fd, flags));
        // A visitor that does not read stops the container's writing, as a full pipe would.
        let reads = !self.guests.are_full();
        let wants_input = !self.input.is_empty();
        if reads {
            for (index, output) in self.outputs.iter().enumerate() {
                watch(Source::Output(index), output.from.as_fd(), PollFlags::POLLIN);
            }
        }
        if let Some(terminal) = &self.terminal {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, reads);
            flags.set(PollFlags::POLLOUT, wants_input);
            if !flags.is_empty() {
                watch(Source::Terminal, terminal.master.as_fd(), flags);
            }
        }
        if let Some(stdin) = self.stdin.as_ref().filter(|_| wants_input) {
            watch(Source::Stdin, stdin.as_fd(), PollFlags::POLLOUT);
        }
        for fd in self.health.iter().flat_map(Checker::fds) {
            watch(Source::Health, fd, PollFlags::POLLIN);
        }
        let check = self.health.as_ref().and_then(Checker::deadline);
        let timeout = match self.leaving.into_iter().chain(check).min() {
            Some(until) => PollTimeout::try_from(until.saturating_duration_since(Instant::now()))
                .unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        };
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(None),
            other => other.context("wait for the container")?,
        };
        let happened = happened(&sources, &fds);
        drop(fds);
        if self.leaving.is_some_and(|until| Instant::now() >= until) {
            syscalls::pidfd::send_raw(init.pidfd.as_fd(), Signal::SIGKILL as i32).ok();
            act::thaw(&self.engine, &self.id).ok();
            self.leaving = Some(Instant::now() + Duration::from_secs(10));
        }
        self.see_signals(init, signals);
        self.handle(&happened, Some(init))?;
        if let Some(health) = &mut self.health {
            self.restart_wish |= health.turn(init, self.stop_signal);
        }
        if happened.iter().any(|(source, _)| matches!(source, Source::Exit)) {
            return Ok(init.try_wait()?);
        }
        Ok(None)
    }
}

/// What poll has to say of whom.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Exit,
    Signals,
    Door,
    Guest(usize),
    Output(usize),
    Terminal,
    Stdin,
    Health,
}

pub(super) fn happened(sources: &[Source], fds: &[PollFd<'_>]) -> Vec<(Source, PollFlags)> {
    sources
        .iter()
        .copied()
        .zip(fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())))
        .filter(|(_, events)| !events.is_empty())
        .collect()
}
