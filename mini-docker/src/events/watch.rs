//! Reading the journal, and waiting for what comes.

use std::ops::ControlFlow;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::journal::{self, Reader};
use super::{Event, Filter};
use crate::engine::Engine;

/// A time between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// What has happened before is not wanted.
    pub since: Timestamp,
    /// Nor is what happens later. None: for ever.
    pub until: Option<Timestamp>,
}

/// Tells of each event that is wanted, those of the past first, until there can be no more or `tell` breaks.
///
/// # Errors
/// If the journal cannot be read or watched.
pub fn watch(
    engine: &Engine,
    span: Span,
    filter: &Filter,
    tell: &mut dyn FnMut(&Event) -> Result<ControlFlow<()>>,
) -> Result<()> {
    // Before the first look: what comes after it wakes us.
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .context("watch the journal of events")?;
    let changes =
        AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_FROM;
    inotify
        .add_watch(&engine.run_root, changes)
        .with_context(|| format!("watch `{}`", engine.run_root.display()))?;
    let mut reader = Reader::new(journal::path(engine));
    loop {
        // First the time, then the events: none of before is left out.
        let now = Timestamp::now();
        for event in reader.read().context("read the journal of events")? {
            let at = event.at();
            let in_time = at >= span.since && span.until.is_none_or(|until| at <= until);
            if in_time && filter.fits(&event) && tell(&event)?.is_break() {
                return Ok(());
            }
        }
        let left = span.until.map(|until| until.duration_since(now));
        if left.is_some_and(|left| left <= SignedDuration::ZERO) {
            return Ok(());
        }
        wait(&inotify, left)?;
    }
}

/// Waits for a change, or for so long.
fn wait(inotify: &Inotify, left: Option<SignedDuration>) -> Result<()> {
    let timeout = match left {
        // Rounded up, so that the last look is not too early.
        Some(left) => i32::try_from(left.as_millis().saturating_add(1)).unwrap_or(i32::MAX),
        None => -1,
    };
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::NONE);
    match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno).context("wait for events"),
    }
    // What it says does not matter: that it says something does.
    while inotify.read_events().is_ok() {}
    Ok(())
}
