//! `logs -f`: what is there, and what comes until the container ends.
//!
//! The monitor is told first, while the log is held still. It answers, so from then on it announces every file that it
//! begins; the files that are opened next, with the log still held, are those before. Each line is in exactly one of
//! them.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::files::{Lines, hold_still};
use super::show::{Printer, Stop};
use crate::failure;
use crate::wire::{Event, Request, Visitor};

/// Shows a log until the container's monitor says that it has ended, or is gone itself.
pub(super) fn follow(
    visitor: &Visitor,
    path: &Path,
    max_file: u32,
    printer: &mut Printer<'_>,
) -> Result<(), Stop> {
    let still = hold_still(path)?;
    let mut follower = Follower { visitor, ended: false, news: VecDeque::new() };
    follower.say_where_we_are();
    while !follower.ended && follower.news.is_empty() {
        follower.hear()?;
    }
    let mut files = still.open_all(path, max_file)?;
    drop(still);
    printer.choose(&mut files)?;
    let Some(mut current) = files.pop() else { return Err(Stop::NoLog) };
    for mut full in files {
        printer.finish(&mut full)?;
    }
    loop {
        // What was announced was begun after the current file was full.
        while let Some(news) = follower.news.pop_front() {
            match news {
                News::More => {}
                News::Next(file) => {
                    printer.finish(&mut current)?;
                    current = Lines::new(file);
                }
                News::Words(text) => {
                    printer.copy(&mut current)?;
                    printer.flush()?;
                    failure::tell(&text);
                }
            }
        }
        printer.copy(&mut current)?;
        printer.flush()?;
        if follower.ended {
            return Ok(());
        }
        follower.say_where_we_are();
        while !follower.ended && follower.news.is_empty() {
            if !follower.wait(printer.selection.until)? {
                printer.copy(&mut current)?;
                return Ok(());
            }
            follower.hear()?;
        }
    }
}

/// What is new.
enum News {
    /// There is more to read.
    More,
    /// The log goes on there.
    Next(File),
    /// For the user, at this place.
    Words(String),
}

struct Follower<'v> {
    visitor: &'v Visitor,
    /// Nothing more is written.
    ended: bool,
    news: VecDeque<News>,
}

impl Follower<'_> {
    /// Everything is read. If the monitor does not hear it any more, that is heard next.
    fn say_where_we_are(&self) {
        self.visitor.say(&Request::Follow).ok();
    }

    /// Waits for the monitor. False at the time that was asked for.
    fn wait(&self, until: Option<Timestamp>) -> Result<bool, Stop> {
        let stdout = std::io::stdout();
        loop {
            let timeout = match until {
                None => PollTimeout::NONE,
                Some(until) => {
                    let left = until.duration_since(Timestamp::now()).as_millis();
                    if left < 0 {
                        return Ok(false);
                    }
                    // A millisecond more: an entry of the last one is still wanted.
                    PollTimeout::try_from(left + 1).unwrap_or(PollTimeout::MAX)
                }
            };
            let mut fds = [
                PollFd::new(self.visitor.as_fd(), PollFlags::POLLIN),
                // Only to see that nobody reads any more.
                PollFd::new(stdout.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut fds, timeout) {
                Ok(0) | Err(Errno::EINTR) => continue,
                other => other.context("wait for the container")?,
            };
            let happened = |index: usize| fds[index].revents().unwrap_or(PollFlags::empty());
            if happened(1).contains(PollFlags::POLLERR) {
                return Err(Stop::Nobody(Errno::EPIPE));
            }
            if !happened(0).is_empty() {
                return Ok(true);
            }
        }
    }

    fn hear(&mut self) -> Result<(), Stop> {
        match self.visitor.hear().context("hear the monitor")? {
            Some((Event::Grown, _)) => self.news.push_back(News::More),
            Some((Event::Rotated, Some(file))) => self.news.push_back(News::Next(file)),
            Some((Event::Say(text), _)) => self.news.push_back(News::Words(text)),
            Some((Event::Exited(_) | Event::Failed(_), _)) | None => self.ended = true,
            Some(_) => {}
        }
        Ok(())
    }
}
